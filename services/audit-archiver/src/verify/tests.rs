//! Every way to tamper with an archive, each found and named.

use std::fs;
use std::path::PathBuf;

use countersign_domain::archive::{EntryError, ManifestKey, Row, SignedEntry};
use countersign_schemas::{Digest, Stream, Timestamp};

use super::*;
use crate::encode::{About, write_file};
use crate::state::State;
use crate::tests::{Place, items, key};
use crate::tiles::CHECKPOINT;

/// An archive of three entries.
fn archive() -> Place {
    let place = Place::new();
    let mut writer = place.writer();
    for seqs in [1..=3, 4..=6, 7..=9] {
        let created = Timestamp::EPOCH;
        writer.commit(items(Stream::Events, seqs), created).unwrap();
    }
    place
}

fn anchors(place: &Place) -> Vec<Anchor> {
    let path = place.state_file();
    State::read(&path)
        .unwrap()
        .map(|state| state.anchor(&path))
        .into_iter()
        .collect()
}

fn check(place: &Place) -> Result<Report, VerifyError> {
    verify(place.archive(), &key().public(), &anchors(place), false)
}

fn bad(place: &Place) -> BadPlace {
    match check(place).unwrap_err() {
        VerifyError::Bad(found) => found,
        other => panic!("{other}"),
    }
}

fn entry_path(place: &Place, n: u64) -> PathBuf {
    place.archive().join(Entry::path(n))
}

fn file_path(place: &Place, n: usize) -> (String, PathBuf) {
    let path = place.entries()[n - 1].files[0].path.clone();
    let full = place.archive().join(&path);
    (path, full)
}

#[test]
fn a_directory_that_is_no_archive_is_not_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    for none in [dir.path().join("nothing"), dir.path().to_owned()] {
        let found = verify(&none, &key().public(), &[], true);
        match found.unwrap_err() {
            VerifyError::Store(error) => assert!(error.is_missing(), "{error}"),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn an_honest_archive_is_whole() {
    let report = check(&archive()).unwrap();
    assert_eq!((report.entries, report.files, report.rows), (3, 3, 9));
    assert!(report.tail_proved);
}

#[test]
fn an_edited_cell_a_cut_file_and_a_dropped_file_are_named() {
    let place = archive();
    let (path, full) = file_path(&place, 2);
    let honest = fs::read(&full).unwrap();
    let mut edited = honest.clone();
    let middle = edited.len() / 2;
    edited[middle] ^= 1;
    for bytes in [edited, honest[..middle].to_vec()] {
        fs::write(&full, bytes).unwrap();
        assert!(matches!(bad(&place), BadPlace::FileChanged { n: 2, path: p, .. } if p == path));
    }
    fs::remove_file(&full).unwrap();
    assert_eq!(bad(&place), BadPlace::FileMissing { n: 2, path });
}

#[test]
fn dropped_swapped_and_replayed_entries_are_named() {
    let place = archive();
    let (second, third) = (entry_path(&place, 2), entry_path(&place, 3));
    let (two, three) = (fs::read(&second).unwrap(), fs::read(&third).unwrap());
    fs::remove_file(&second).unwrap();
    assert_eq!(bad(&place), BadPlace::Missing { n: 2, later: 3 });
    fs::write(&second, &three).unwrap();
    fs::write(&third, &two).unwrap();
    assert_eq!(bad(&place), BadPlace::Number { n: 2, found: 3 });
    fs::write(&second, &two).unwrap();
    fs::write(&third, &three).unwrap();
    fs::write(entry_path(&place, 4), &two).unwrap();
    assert_eq!(bad(&place), BadPlace::Number { n: 4, found: 2 });
}

#[test]
fn a_cut_tail_is_named_and_without_an_anchor_it_is_not_called_whole() {
    let place = archive();
    fs::remove_file(entry_path(&place, 3)).unwrap();
    assert!(matches!(
        bad(&place),
        BadPlace::TailCut { end: 2, n: 3, .. }
    ));
    // Nothing is left that was signed for the third entry.
    fs::write(place.archive().join(CHECKPOINT), checkpoint_of(&place, 2)).unwrap();
    fs::remove_file(place.archive().join("tile/0/000.p/9")).unwrap();
    let blind = |allow| verify(place.archive(), &key().public(), &[], allow);
    assert!(matches!(blind(false), Err(VerifyError::TailNotProvable)));
    let report = blind(true).unwrap();
    assert!(!report.tail_proved);
}

#[test]
fn an_old_anchor_proves_no_tail() {
    let place = archive();
    let digest = Digest::of_bytes(&fs::read(entry_path(&place, 1)).unwrap());
    let old = Anchor::entry("a witness".to_owned(), 1, digest);
    let report = verify(place.archive(), &key().public(), &[old], false).unwrap();
    assert!(!report.tail_proved);
}

/// The checkpoint as it was after entry `n`.
fn checkpoint_of(place: &Place, n: usize) -> String {
    let tree = &place.entries()[n - 1].tree;
    key().checkpoint("northwind", tree).unwrap()
}

#[test]
fn a_checkpoint_of_more_rows_than_there_are_shows_the_cut_without_any_anchor() {
    let place = archive();
    fs::remove_file(entry_path(&place, 3)).unwrap();
    let found = verify(place.archive(), &key().public(), &[], true).unwrap_err();
    let named = matches!(
        found,
        VerifyError::Bad(BadPlace::RowsCut {
            end: 2,
            rows: 6,
            size: 9,
            ..
        })
    );
    assert!(named, "{found}");
}

#[test]
fn a_checkpoint_that_is_older_removed_forged_or_of_other_rows_is_named() {
    let place = archive();
    let path = place.archive().join(CHECKPOINT);
    let (old, honest) = (checkpoint_of(&place, 2), fs::read_to_string(&path).unwrap());
    let forged = ManifestKey::from_bytes(&[9; 32]);
    let forged = forged.checkpoint("northwind", &place.entries()[2].tree);
    for (note, word) in [
        (old, "knows 9"),
        (forged.unwrap(), "no pinned key"),
        (
            honest.replace("northwind\n9", "northwind\n8"),
            "no pinned key",
        ),
        (String::new(), "not a checkpoint"),
    ] {
        fs::write(&path, note).unwrap();
        let found = bad(&place);
        assert!(matches!(found, BadPlace::Checkpoint { .. }), "{found}");
        assert!(found.to_string().contains(word), "{found}");
    }
    fs::remove_file(&path).unwrap();
    assert!(bad(&place).to_string().contains("removed"));
    let mut tree = Tree::default();
    (0..9).for_each(|_| tree.push([1; 32]));
    fs::write(&path, key().checkpoint("northwind", &tree).unwrap()).unwrap();
    assert!(matches!(
        bad(&place),
        BadPlace::OtherRows { n: 3, size: 9, .. }
    ));
}

#[test]
fn an_edited_dropped_or_unsigned_tile_is_named() {
    let place = Place::new();
    let mut writer = place.writer();
    for seqs in [1..=100, 101..=600] {
        writer
            .commit(items(Stream::Events, seqs), Timestamp::EPOCH)
            .unwrap();
    }
    for tile in ["tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"] {
        let path = place.archive().join(tile);
        let honest = fs::read(&path).unwrap();
        let mut edited = honest.clone();
        edited[40] ^= 1;
        let path_is = |found: &str| found == tile;
        for bytes in [
            edited,
            honest[..32].to_vec(),
            [honest.clone(), vec![0]].concat(),
        ] {
            fs::write(&path, bytes).unwrap();
            let found = bad(&place);
            let named = matches!(&found, BadPlace::TileChanged { path } if path_is(path));
            assert!(named, "{found}");
        }
        fs::remove_file(&path).unwrap();
        let found = bad(&place);
        let named = matches!(&found, BadPlace::TileMissing { path } if path_is(path));
        assert!(named, "{found}");
        fs::write(&path, honest).unwrap();
    }
    check(&place).unwrap();
    let left = place.archive().join("tile/0/002.p/87");
    fs::write(&left, [0; 87 * 32]).unwrap();
    let found = bad(&place);
    assert!(found.to_string().contains("tile/0/002.p/87"), "{found}");
}

/// Edits a file and recomputes every hash from there on, signing with `key`.
fn rewrite_from(place: &Place, n: usize, key: &ManifestKey) {
    let entries = place.entries();
    let mut prev = None;
    for (at, mut entry) in entries.into_iter().enumerate() {
        entry.prev = prev;
        if at + 1 == n {
            let file = &mut entry.files[0];
            let old = place.archive().join(&file.path);
            let mut bytes = fs::read(&old).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            file.sha256 = Digest::of_bytes(&bytes);
            file.path = file.expected_path();
            fs::write(place.archive().join(&file.path), &bytes).unwrap();
        }
        let bytes = key.sign(entry).unwrap().bytes().unwrap();
        let place = entry_path(place, u64::try_from(at).unwrap() + 1);
        fs::write(place, &bytes).unwrap();
        prev = Some(Digest::of_bytes(&bytes));
    }
}

#[test]
fn an_edit_with_every_hash_recomputed_needs_the_key() {
    let place = archive();
    rewrite_from(&place, 2, &ManifestKey::from_bytes(&[9; 32]));
    assert!(matches!(
        bad(&place),
        BadPlace::Entry {
            n: 1,
            error: EntryError::UnknownSigner(_)
        }
    ));
}

#[test]
fn an_edit_by_the_thief_of_the_key_is_found_by_the_anchor() {
    let place = archive();
    rewrite_from(&place, 2, &key());
    assert!(matches!(bad(&place), BadPlace::Rewritten { n: 3, .. }));
}

#[test]
fn unsigned_hashes_recomputed_do_not_help() {
    let place = archive();
    let path = entry_path(&place, 2);
    let mut signed = SignedEntry::parse(&fs::read(&path).unwrap()).unwrap();
    signed.entry.files[0].sha256 = Digest::of_bytes(b"else");
    signed.entry.files[0].path = signed.entry.files[0].expected_path();
    fs::write(&path, signed.bytes().unwrap()).unwrap();
    assert_eq!(
        bad(&place),
        BadPlace::Entry {
            n: 2,
            error: EntryError::BadSignature
        }
    );
}

#[test]
fn without_a_pinned_key_nothing_is_called_whole() {
    let place = archive();
    let none = ManifestPublicKeys::default();
    let error = verify(place.archive(), &none, &anchors(&place), true).unwrap_err();
    assert!(matches!(error, VerifyError::NoKey));
    assert!(error.to_string().contains("manifest.pub"));
}

/// The owner of the key writes another word into a row and signs again, with the tree as
/// it was, and nothing outside knows better.
#[test]
fn a_row_written_anew_does_not_give_the_tree_that_was_signed() {
    let place = archive();
    let mut entries = place.entries();
    let mut prev = None;
    for (at, entry) in entries.iter_mut().enumerate() {
        entry.prev = prev;
        if at == 1 {
            let mut rows: Vec<Row> = items(Stream::Events, 4..=6)
                .into_iter()
                .flat_map(|item| item.rows)
                .collect();
            for (row, leaf) in rows.iter_mut().zip(3..) {
                row.leaf_index = leaf;
            }
            rows[1].purpose = Some("another".to_owned());
            let about = About {
                spans: entry.files[0].spans.clone(),
                leaves: entry.files[0].leaves.clone(),
            };
            let mut bytes = Vec::new();
            let file = &mut entry.files[0];
            (file.sha256, file.bytes) = write_file(&rows, &about, &mut bytes).unwrap();
            file.path = file.expected_path();
            fs::write(place.archive().join(&file.path), &bytes).unwrap();
        }
        let bytes = key().sign(entry.clone()).unwrap().bytes().unwrap();
        fs::write(entry_path(&place, u64::try_from(at).unwrap() + 1), &bytes).unwrap();
        prev = Some(Digest::of_bytes(&bytes));
    }
    let found = verify(place.archive(), &key().public(), &[], true).unwrap_err();
    assert!(
        matches!(found, VerifyError::Bad(BadPlace::Tree { n: 2 })),
        "{found}"
    );
}
