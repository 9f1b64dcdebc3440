//! Nothing lost, nothing twice, wherever the writer stops.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::tests::{Place, item, items, key};
use crate::tiles::read_note;
use crate::verify::{Report, verify};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn commit(writer: &mut Writer, items: Vec<Item>) -> Result<bool, CommitError> {
    writer.commit(items, at("2026-11-22T10:00:00Z"))
}

#[test]
fn each_stream_and_hour_has_its_file_and_the_entry_adds_up() {
    let place = Place::new();
    let mut writer = place.writer();
    let mut batch = items(Stream::Intents, 1..=3);
    batch.push(item(Stream::Intents, "abc", 4, 3_600));
    batch.push(item(Stream::Intents, "abc", 5, 3_601));
    batch.extend(items(Stream::Events, 1..=2));
    assert!(commit(&mut writer, batch).unwrap());
    let [entry] = place.entries().try_into().unwrap();
    let files: Vec<_> = entry
        .files
        .iter()
        .map(|file| (file.path.rsplit_once('-').unwrap().0, file.rows))
        .collect();
    let (ten, eleven) = (
        "archive/v1/date=2026-11-22/hour=10",
        "archive/v1/date=2026-11-22/hour=11",
    );
    assert_eq!(
        files,
        [
            (
                format!("{ten}/CS_INTENTS.abc-{:020}-{:020}", 1, 3).as_str(),
                3
            ),
            (
                format!("{eleven}/CS_INTENTS.abc-{:020}-{:020}", 4, 5).as_str(),
                2
            ),
            (
                format!("{ten}/CS_EVENTS.abc-{:020}-{:020}", 1, 2).as_str(),
                2
            ),
        ]
    );
    assert_eq!(entry.tree.size(), 7);
    assert_eq!(place.rows().len(), 7);
}

#[test]
fn what_is_archived_already_is_left_out_and_a_hole_is_refused() {
    let place = Place::new();
    let mut writer = place.writer();
    commit(&mut writer, items(Stream::Events, 1..=4)).unwrap();
    assert!(!commit(&mut writer, items(Stream::Events, 2..=4)).unwrap());
    assert!(commit(&mut writer, items(Stream::Events, 3..=6)).unwrap());
    let error = commit(&mut writer, items(Stream::Events, 8..=9)).unwrap_err();
    assert!(
        matches!(
            error,
            CommitError::Order {
                expected: 7,
                found: 8,
                ..
            }
        ),
        "{error}"
    );
    let seqs: Vec<i64> = place.rows().into_iter().map(|(_, _, seq)| seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_new_life_of_a_stream_begins_at_one_beside_the_old() {
    let place = Place::new();
    let mut writer = place.writer();
    commit(&mut writer, items(Stream::Events, 1..=4)).unwrap();
    commit(&mut writer, vec![item(Stream::Events, "abc_2", 1, 9)]).unwrap();
    assert_eq!(place.rows().len(), 5);
    let error = commit(&mut writer, vec![item(Stream::Events, "xyz", 3, 9)]).unwrap_err();
    assert!(matches!(
        error,
        CommitError::Order {
            expected: 1,
            found: 3,
            ..
        }
    ));
}

#[test]
fn the_loser_of_an_entry_opens_again_and_goes_on() {
    let place = Place::new();
    let (mut one, mut two) = (place.writer(), place.writer());
    commit(&mut one, items(Stream::Events, 1..=3)).unwrap();
    let lost = commit(&mut two, items(Stream::Events, 1..=5)).unwrap_err();
    assert!(matches!(lost, CommitError::Lost(1)), "{lost}");
    let mut two = place.writer();
    assert!(commit(&mut two, items(Stream::Events, 1..=5)).unwrap());
    assert_eq!(place.rows().len(), 5);
    assert!(matches!(
        commit(&mut one, items(Stream::Control, 1..=1)),
        Err(CommitError::Lost(2))
    ));
}

#[test]
fn an_archive_whose_tail_was_cut_is_not_written_to() {
    let place = Place::new();
    let mut writer = place.writer();
    commit(&mut writer, items(Stream::Events, 1..=3)).unwrap();
    std::fs::remove_file(place.archive().join(Entry::path(1))).unwrap();
    let error = Writer::open(place.options(Hooks::default())).unwrap_err();
    assert!(error.to_string().contains("audit verify"), "{error}");
    assert!(matches!(
        error,
        CommitError::Damaged(BadPlace::TailCut { .. })
    ));
}

#[test]
fn a_file_of_our_name_with_other_bytes_is_noticed() {
    let place = Place::new();
    let stopped = Hooks::new(|step| step != Step::FileLinked);
    let mut writer = Writer::open(place.options(stopped)).unwrap();
    commit(&mut writer, items(Stream::Events, 1..=3)).unwrap_err();
    let hour = place.archive().join("archive/v1/date=2026-11-22/hour=10");
    let orphan = std::fs::read_dir(hour).unwrap().next().unwrap().unwrap();
    std::fs::write(orphan.path(), b"else").unwrap();
    let error = commit(&mut place.writer(), items(Stream::Events, 1..=3)).unwrap_err();
    assert!(
        matches!(
            error,
            CommitError::Damaged(BadPlace::FileChanged { n: 1, .. })
        ),
        "{error}"
    );
}

/// Everything a round does: how many messages of each stream arrive, and after how many
/// steps the writer dies, if it does.
type Round = (u8, u8, u8, Option<u8>);

const STREAMS: [Stream; 3] = [Stream::Intents, Stream::Orders, Stream::Events];

/// The sequences of the first `stored` messages of a stream.
fn sequences(stream: Stream, stored: u64) -> std::ops::Range<u64> {
    stream.first_seq()..stream.first_seq() + stored
}

/// Delivers like a stream: everything after the archive's position, in order.
fn deliver(writer: &Writer, stored: [u64; 3]) -> Vec<Item> {
    let mut batch = Vec::new();
    for (stream, stored) in STREAMS.into_iter().zip(stored) {
        let position = writer.head().position(stream.name()).map(|at| at.seq);
        let new = |seq: &u64| position.is_none_or(|at| *seq > at);
        for seq in sequences(stream, stored).filter(new) {
            let nth = seq - stream.first_seq() + 1;
            let minute = i64::try_from(nth).unwrap() * 100;
            batch.push(item(stream, "abc", seq, minute));
        }
    }
    batch
}

/// The archive as `audit verify` sees it.
fn whole(place: &Place) -> Report {
    let path = place.state_file();
    let state = State::read(&path).unwrap();
    let anchors: Vec<_> = state.iter().map(|state| state.anchor(&path)).collect();
    verify(place.archive(), &key().public(), &anchors, true).unwrap()
}

fn run_rounds(rounds: &[Round]) {
    let place = Place::new();
    let mut stored = [0_u64; 3];
    for (intents, orders, events, dies_after) in rounds {
        for (last, more) in stored.iter_mut().zip([intents, orders, events]) {
            *last += u64::from(*more);
        }
        let left = AtomicUsize::new(dies_after.map_or(usize::MAX, usize::from));
        let hooks = Hooks::new(move |_| {
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok()
        });
        let mut writer = Writer::open(place.options(hooks)).unwrap();
        let batch = deliver(&writer, stored);
        match commit(&mut writer, batch) {
            Ok(_) | Err(CommitError::Stopped(_)) => {}
            Err(error) => panic!("{error}"),
        }
        // Wherever it died, nothing looks tampered with.
        whole(&place);
    }
    let mut writer = place.writer();
    let batch = deliver(&writer, stored);
    commit(&mut writer, batch).unwrap();
    let rows = place.rows();
    let distinct: BTreeSet<_> = rows.iter().cloned().collect();
    let wanted: BTreeSet<_> = STREAMS
        .into_iter()
        .zip(stored)
        .flat_map(|(stream, stored)| sequences(stream, stored).map(move |seq| (stream, seq)))
        .map(|(stream, seq)| {
            (
                stream.name().to_owned(),
                "abc".to_owned(),
                i64::try_from(seq).unwrap(),
            )
        })
        .collect();
    assert_eq!(rows.len(), distinct.len(), "a row is there twice");
    assert_eq!(distinct, wanted);
    let report = whole(&place);
    assert!(report.tail_proved || rows.is_empty());
    assert_eq!(published(&place), u64::try_from(rows.len()).unwrap());
}

/// How many rows the checkpoint signs for.
fn published(place: &Place) -> u64 {
    let note = read_note(&place.archive().join(CHECKPOINT)).unwrap();
    note.map_or(0, |note| {
        key().public().open_checkpoint(&note).unwrap().size
    })
}

/// Every file under `tile`, relative to the archive.
fn tiles(place: &Place) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![place.archive().join("tile")];
    while let Some(dir) = dirs.pop() {
        for item in std::fs::read_dir(dir).into_iter().flatten() {
            let path = item.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let path = path.strip_prefix(place.archive()).unwrap();
                found.insert(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn unfinished_tiles_go_when_the_full_one_is_there() {
    let place = Place::new();
    let mut writer = place.writer();
    commit(&mut writer, items(Stream::Events, 1..=200)).unwrap();
    commit(&mut writer, items(Stream::Events, 201..=255)).unwrap();
    let partial = ["tile/0/000.p/200", "tile/0/000.p/255"].map(str::to_owned);
    assert_eq!(tiles(&place), partial.into());
    commit(&mut writer, items(Stream::Events, 256..=520)).unwrap();
    let full = [
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/8",
        "tile/1/000.p/2",
    ];
    assert_eq!(tiles(&place), full.map(str::to_owned).into());
    assert_eq!(whole(&place).rows, 520);
}

#[test]
fn an_interrupted_collection_and_lost_tiles_are_made_good_at_the_next_start() {
    let place = Place::new();
    let mut writer = place.writer();
    commit(&mut writer, items(Stream::Events, 1..=300)).unwrap();
    let complete = tiles(&place);
    std::fs::create_dir(place.archive().join("tile/0/000.p")).unwrap();
    drop(place.writer());
    assert_eq!(tiles(&place), complete);
    assert!(!place.archive().join("tile/0/000.p").try_exists().unwrap());
    std::fs::remove_dir_all(place.archive().join("tile")).unwrap();
    drop(place.writer());
    assert_eq!(tiles(&place), complete);
    whole(&place);
}

#[test]
fn a_tile_that_was_changed_is_not_written_on() {
    let place = Place::new();
    commit(&mut place.writer(), items(Stream::Events, 1..=3)).unwrap();
    let path = place.archive().join("tile/0/000.p/3");
    std::fs::write(&path, [0; 96]).unwrap();
    let error = Writer::open(place.options(Hooks::default())).unwrap_err();
    let named = matches!(&error, CommitError::Damaged(BadPlace::TileChanged { path })
        if path == "tile/0/000.p/3");
    assert!(named, "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn rows_in_are_rows_out_over_any_crashes(
        rounds in proptest::collection::vec(
            (0_u8..20, 0_u8..4, 0_u8..30, proptest::option::of(0_u8..12)), 1..6)
    ) {
        run_rounds(&rounds);
    }
}

#[test]
fn every_step_alone_survives_a_crash() {
    for (index, _) in Step::ALL.iter().enumerate() {
        let dies_after = Some(u8::try_from(index).unwrap());
        run_rounds(&[
            (3, 0, 0, None),
            (2, 0, 0, dies_after),
            (1, 1, 1, dies_after),
        ]);
    }
}
