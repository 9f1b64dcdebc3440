//! Metric names of the archiver. Each is registered with its unit and description.

use std::time::Duration;

use countersign_domain::archive::{Gate, Keep};
use countersign_schemas::Stream;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Rows committed.
pub const ROWS: &str = "countersign_archive_rows_total";
/// Manifest entries committed.
pub const COMMITS: &str = "countersign_archive_commits_total";
/// Time of a commit, in seconds.
pub const COMMIT_SECONDS: &str = "countersign_archive_commit_seconds";
/// Messages stored and not yet read, by stream.
pub const BEHIND: &str = "countersign_archive_behind_messages";

/// Files that were put together into larger ones.
pub const COMPACTED: &str = "countersign_archive_compacted_files_total";
/// Files removed because no entry had named them for the grace time.
pub const REMOVED: &str = "countersign_archive_removed_files_total";

/// Messages that stay in a stream, by what holds the first of them.
pub const KEPT: &str = "countersign_janitor_kept_messages";

/// Tells the exporter units and descriptions.
pub fn describe() {
    describe_counter!(ROWS, Unit::Count, "rows committed");
    describe_counter!(COMMITS, Unit::Count, "manifest entries committed");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "time of a commit");
    describe_counter!(
        COMPACTED,
        Unit::Count,
        "files put together into larger ones"
    );
    describe_counter!(REMOVED, Unit::Count, "files removed that no entry names");
    describe_gauge!(
        KEPT,
        Unit::Count,
        "messages that stay, by what holds the first"
    );
    describe_gauge!(BEHIND, Unit::Count, "messages stored and not yet read");
}

pub(crate) fn committed(rows: u64, took: Duration) {
    counter!(ROWS).increment(rows);
    counter!(COMMITS).increment(1);
    histogram!(COMMIT_SECONDS).record(took.as_secs_f64());
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of a message count")]
pub(crate) fn behind(stream: Stream, pending: u64) {
    gauge!(BEHIND, "stream" => stream.name()).set(pending as f64);
}

pub(crate) fn compacted(files: usize) {
    counter!(COMPACTED).increment(u64::try_from(files).unwrap_or(u64::MAX));
}

pub(crate) fn removed(files: usize) {
    counter!(REMOVED).increment(u64::try_from(files).unwrap_or(u64::MAX));
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of a message count")]
pub(crate) fn kept(stream: Stream, keep: &Keep, last: u64) {
    for code in Gate::CODES {
        let stays = if code == keep.gate.code() {
            last.saturating_add(1).saturating_sub(keep.from)
        } else {
            0
        };
        gauge!(KEPT, "stream" => stream.name(), "gate" => code).set(stays as f64);
    }
}
