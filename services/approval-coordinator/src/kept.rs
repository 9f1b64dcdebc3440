//! Values in buckets that another version of the coordinator may have written.

use std::time::Duration;

use countersign_runtime::bus::{Failure, metrics};

/// How long a message waits for a value that this version cannot read: a person may be
/// waiting for the answer to a vote, and a newer coordinator may take it.
const VALUE_RETRY: Duration = Duration::from_secs(5);

/// Gives the input back, with an alarm, where a value in a bucket is one that this version
/// cannot read: a newer coordinator wrote it, and goes on with it. Nothing is lost meanwhile.
pub(crate) fn known<T, E: std::fmt::Display>(what: &str, read: Result<T, E>) -> Result<T, Failure> {
    read.map_err(|error| {
        let what = unreadable_value(what, &error);
        Failure::transient_in(what, VALUE_RETRY)
    })
}

/// Raises the alarm that a value in a bucket cannot be read by this version; in words.
pub(crate) fn unreadable_value(what: &str, error: &dyn std::fmt::Display) -> String {
    let what = format!("cannot read {what}: {error}");
    metrics::alarm("unreadable_value", &what);
    what
}
