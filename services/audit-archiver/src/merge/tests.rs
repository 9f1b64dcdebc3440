//! The same rows before and after, wherever the writer stops.

use std::fs;
use std::time::Duration;

use countersign_schemas::Stream;
use tokio::time::Instant;

use super::*;
use crate::commit::{CommitError, Item, Writer};
use crate::hooks::{Hooks, Step};
use crate::tests::{Place, item, key};
use crate::tidy::{Tidier, TidyError, TidyLimits};
use crate::verify::verify;

const QUIET: Duration = Duration::from_secs(600);
const GRACE: Duration = Duration::from_secs(7_200);

const LIMITS: TidyLimits = TidyLimits {
    compact_after: Some(QUIET),
    grace: GRACE,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Batches over three streams and two hours, so that rows of one hour lie between rows of
/// the other.
fn filled() -> (Place, Writer) {
    let place = Place::new();
    let mut writer = place.writer();
    for batch in 0..6_u64 {
        let mut items: Vec<Item> = Vec::new();
        for stream in [Stream::Intents, Stream::Control, Stream::Events] {
            for seq in batch * 5 + 1..=batch * 5 + 5 {
                let second = 3_500 + i64::try_from(seq).unwrap() * 10;
                items.push(item(stream, "abc", seq, second));
            }
        }
        writer.commit(items, Timestamp::EPOCH).unwrap();
    }
    (place, writer)
}

/// What is due after the archive has been quiet since before `now`.
fn merged(tidier: &mut Tidier, now: Timestamp) -> Option<Merged> {
    assert!(tidier.merge(at("2026-11-22T10:00:00Z")).unwrap().is_none());
    tidier.merge(now).unwrap()
}

fn compact(writer: &mut Writer, now: Timestamp) -> usize {
    let mut times = 0;
    while let Some(merged) = merged(&mut writer.tidier(LIMITS), now) {
        assert!(writer.replace(merged, now).unwrap());
        times += 1;
    }
    times
}

fn check(place: &Place) {
    let report = verify(place.archive(), &key().public(), &[], true).unwrap();
    assert_eq!(report.rows, u64::try_from(place.rows().len()).unwrap());
}

#[test]
fn hours_and_then_days_hold_the_same_rows_and_every_hash_stands() {
    let (place, mut writer) = filled();
    let (before, tree) = (place.rows(), writer.head().tree.clone());
    assert_eq!(writer.files().len(), 21);
    assert_eq!(compact(&mut writer, at("2026-11-22T13:00:00Z")), 2);
    assert_eq!(writer.files().len(), 2);
    assert_eq!(place.rows(), before);
    check(&place);
    assert_eq!(compact(&mut writer, at("2026-11-23T13:00:00Z")), 1);
    let files: Vec<&str> = writer
        .files()
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    assert!(
        files[0].starts_with("archive/v1/date=2026-11-22/compact-"),
        "{files:?}"
    );
    assert_eq!(files.len(), 1);
    assert_eq!((place.rows(), &writer.head().tree), (before, &tree));
    check(&place);
    let more = vec![item(Stream::Events, "abc", 31, 4_000)];
    assert!(writer.commit(more, Timestamp::EPOCH).unwrap());
    assert_eq!(place.rows().len(), 91);
    check(&place);
    check_reopened(&place);
}

fn check_reopened(place: &Place) {
    let writer = place.writer();
    assert_eq!(writer.files().len(), 2);
}

#[test]
fn every_step_of_a_replacement_survives_a_crash() {
    let now = at("2026-11-22T13:00:00Z");
    for step in Step::ALL {
        let (place, writer) = filled();
        drop(writer);
        let before = place.rows();
        let hooks = Hooks::new(move |at| at != *step);
        let mut dying = Writer::open(place.options(hooks)).unwrap();
        let merged = merged(&mut dying.tidier(LIMITS), now).unwrap();
        match dying.replace(merged, now) {
            Err(CommitError::Stopped(_)) => {}
            // A replacement writes its file before it is committed.
            other => assert!(other.unwrap(), "{step:?}"),
        }
        assert_eq!(place.rows(), before, "{step:?}");
        check(&place);
        let mut writer = place.writer();
        compact(&mut writer, now);
        assert_eq!(writer.files().len(), 2, "{step:?}");
        assert_eq!(place.rows(), before, "{step:?}");
        check(&place);
    }
}

#[test]
fn a_damaged_file_is_not_written_anew() {
    let (place, writer) = filled();
    let path = writer.files().iter().next().unwrap().path.clone();
    let full = place.archive().join(&path);
    let mut bytes = fs::read(&full).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&full, bytes).unwrap();
    let mut tidier = writer.tidier(LIMITS);
    assert!(tidier.merge(at("2026-11-22T10:00:00Z")).unwrap().is_none());
    let error = tidier.merge(at("2026-11-22T13:00:00Z")).unwrap_err();
    assert!(
        matches!(&error, TidyError::Merge(MergeError::Damaged(named)) if *named == path),
        "{error}"
    );
    assert!(error.to_string().contains("audit verify"));
}

#[test]
fn the_loser_of_a_replacement_leaves_the_winners_files_alone() {
    let (place, mut one) = filled();
    let mut two = place.writer();
    let now = at("2026-11-22T13:00:00Z");
    let late = merged(&mut two.tidier(LIMITS), now).unwrap();
    compact(&mut one, now);
    let before = place.rows();
    let error = two.replace(late, now).unwrap_err();
    assert!(matches!(error, CommitError::Lost(_)), "{error}");
    let mut two = place.writer();
    let mut stale = merged(&mut filled().1.tidier(LIMITS), now).unwrap();
    stale.inputs.truncate(1);
    assert!(!two.replace(stale, now).unwrap(), "its files are gone");
    assert_eq!(place.rows(), before);
    check(&place);
}

#[test]
fn what_nobody_names_goes_after_the_grace_time_and_nothing_else_does() {
    let (place, mut writer) = filled();
    let orphan = "archive/v1/date=2026-11-22/hour=10/orphan.parquet";
    fs::write(place.archive().join(orphan), b"x").unwrap();
    let mut tidier = writer.tidier(LIMITS);
    let start = Instant::now();
    assert_eq!(tidier.collect(start).unwrap(), 0);
    compact(&mut writer, at("2026-11-22T13:00:00Z"));
    let replaced = start + Duration::from_secs(60);
    assert_eq!(tidier.collect(replaced).unwrap(), 0);
    assert_eq!(tidier.collect(start + GRACE).unwrap(), 1);
    assert!(!place.archive().join(orphan).try_exists().unwrap());
    assert_eq!(tidier.collect(replaced + GRACE).unwrap(), 21);
    assert_eq!(tidier.collect(replaced + GRACE + GRACE).unwrap(), 0);
    check(&place);
}

/// A copy that was made while files were put together: the entry is there, its file is not.
#[test]
fn nothing_is_removed_while_a_file_is_missing() {
    let (place, mut writer) = filled();
    compact(&mut writer, at("2026-11-22T13:00:00Z"));
    let named = writer.files().iter().next().unwrap().path.clone();
    fs::remove_file(place.archive().join(&named)).unwrap();
    let mut tidier = writer.tidier(LIMITS);
    let start = Instant::now();
    for later in [Duration::ZERO, GRACE, GRACE + GRACE] {
        let error = tidier.collect(start + later).unwrap_err();
        assert!(error.to_string().contains(&named), "{error}");
    }
    let left = Root::new(&place.archive()).data_files().unwrap();
    assert_eq!(left.len(), 22);
}
