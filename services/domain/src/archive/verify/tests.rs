//! Every way to tamper with a chain that needs no file.

use super::*;
use crate::archive::manifest::{Leaves, ManifestKey, Removed, Span};
use crate::merkle::{Checkpoint, leaf_hash};
use countersign_schemas::Timestamp;

fn key() -> ManifestKey {
    ManifestKey::from_bytes(&[7; 32])
}

fn file(first_seq: u64, rows: u64, first_leaf: u64) -> FileEntry {
    let mut file = FileEntry {
        path: String::new(),
        sha256: Digest::of_bytes(&first_seq.to_be_bytes()),
        bytes: 100,
        rows,
        spans: vec![Span {
            stream: "CS_EVENTS".to_owned(),
            incarnation: "abc".parse().unwrap(),
            first_seq,
            last_seq: first_seq + rows - 1,
        }],
        leaves: vec![Leaves {
            first: first_leaf,
            last: first_leaf + rows - 1,
        }],
        min_time: Timestamp::EPOCH,
        max_time: Timestamp::EPOCH,
    };
    file.path = file.expected_path();
    file
}

/// A tree of so many rows.
fn tree(rows: u64) -> Tree {
    let mut tree = Tree::default();
    for row in 0..rows {
        tree.push(leaf_hash(&row.to_be_bytes()));
    }
    tree
}

/// A chain of `count` entries with two rows each.
fn chain(count: u64, key: &ManifestKey) -> Vec<Vec<u8>> {
    let mut prev = None;
    (1..=count)
        .map(|n| {
            let leaves = (n - 1) * 2;
            let file = file(leaves + 1, 2, leaves);
            let entry = Entry {
                n,
                prev,
                kind: EntryKind::Add,
                created: Timestamp::EPOCH,
                positions: vec![Position {
                    stream: file.spans[0].stream.clone(),
                    incarnation: file.spans[0].incarnation.clone(),
                    seq: file.spans[0].last_seq,
                    last_message_hmac: Digest::of_bytes(b"m"),
                }],
                files: vec![file],
                removes: Vec::new(),
                tree: tree(leaves + 2),
                signer: String::new(),
            };
            let bytes = key.sign(entry).unwrap().bytes().unwrap();
            prev = Some(Digest::of_bytes(&bytes));
            bytes
        })
        .collect()
}

fn verify(entries: &[Vec<u8>], anchors: &[Anchor]) -> Result<ChainState, BadPlace> {
    verify_chain(entries.iter().map(Vec::as_slice), &key().public(), anchors)
        .map(|walked| walked.state)
}

fn anchor(entries: &[Vec<u8>], n: u64) -> Anchor {
    let bytes = &entries[usize::try_from(n).unwrap() - 1];
    Anchor::entry("the state file".to_owned(), n, Digest::of_bytes(bytes))
}

/// Signs entry `n` of a chain again after a change, as the owner of `key` could.
fn rewrite(bytes: &[u8], key: &ManifestKey, change: impl FnOnce(&mut Entry)) -> Vec<u8> {
    let mut entry = SignedEntry::parse(bytes).unwrap().entry;
    change(&mut entry);
    key.sign(entry).unwrap().bytes().unwrap()
}

#[test]
fn an_honest_chain_is_whole() {
    let entries = chain(4, &key());
    let state = verify(&entries, &[anchor(&entries, 2), anchor(&entries, 4)]).unwrap();
    assert_eq!((state.n, state.tree.size()), (4, 8));
    assert_eq!(state.position("CS_EVENTS").unwrap().seq, 8);
    assert_eq!(verify(&[], &[]).unwrap(), ChainState::default());
}

#[test]
fn a_dropped_swapped_or_replayed_entry_is_named() {
    let entries = chain(4, &key());
    let mut dropped = entries.clone();
    dropped.remove(1);
    assert_eq!(
        verify(&dropped, &[]),
        Err(BadPlace::Number { n: 2, found: 3 })
    );
    let mut swapped = entries.clone();
    swapped.swap(1, 2);
    assert_eq!(
        verify(&swapped, &[]),
        Err(BadPlace::Number { n: 2, found: 3 })
    );
    let mut replayed = entries.clone();
    replayed.push(entries[1].clone());
    assert_eq!(
        verify(&replayed, &[]),
        Err(BadPlace::Number { n: 5, found: 2 })
    );
}

#[test]
fn a_cut_tail_is_seen_by_any_anchor_behind_the_cut() {
    let entries = chain(4, &key());
    let known = anchor(&entries, 4);
    let error = verify(&entries[..3], &[known]).unwrap_err();
    assert!(
        matches!(error, BadPlace::TailCut { end: 3, n: 4, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("the state file"));
}

/// A checkpoint of the archive when it had this tree.
fn checkpoint(tree: &Tree) -> Anchor {
    Anchor::rows("a witness".to_owned(), &Checkpoint::of("northwind", tree))
}

#[test]
fn an_old_checkpoint_must_be_a_prefix_also_of_an_archive_that_grew() {
    let entries = chain(4, &key());
    for rows in [2, 6, 8] {
        verify(&entries, &[checkpoint(&tree(rows))]).unwrap();
    }
    let mut other = Tree::default();
    (0..4).for_each(|_| other.push([9; 32]));
    // Of other rows, and of a number of rows at which no entry ends.
    for (bad, size) in [(&other, 4), (&tree(3), 3)] {
        let found = verify(&entries, &[checkpoint(bad)]).unwrap_err();
        let named = matches!(found, BadPlace::OtherRows { n: 2, size: of, .. } if of == size);
        assert!(named && found.to_string().contains("a witness"), "{found}");
    }
    let found = verify(&entries, &[checkpoint(&tree(9))]).unwrap_err();
    let named = matches!(
        found,
        BadPlace::RowsCut {
            end: 4,
            rows: 8,
            size: 9,
            ..
        }
    );
    assert!(named, "{found}");
}

#[test]
fn an_entry_signed_again_with_the_stolen_key_breaks_the_link_or_the_anchor() {
    let entries = chain(3, &key());
    let known = anchor(&entries, 3);
    let later = |entry: &mut Entry| entry.created = Timestamp::from_micros(1).unwrap();
    let mut middle = entries.clone();
    middle[1] = rewrite(&entries[1], &key(), later);
    assert_eq!(
        verify(&middle, &[]),
        Err(BadPlace::Link { n: 3, before: 2 })
    );
    let mut last = entries.clone();
    last[2] = rewrite(&entries[2], &key(), later);
    assert!(matches!(
        verify(&last, &[known]),
        Err(BadPlace::Rewritten { n: 3, .. })
    ));
}

#[test]
fn a_whole_chain_of_another_key_is_refused_also_when_its_hashes_are_right() {
    let forged = chain(3, &ManifestKey::from_bytes(&[9; 32]));
    assert!(matches!(
        verify(&forged, &[]),
        Err(BadPlace::Entry {
            n: 1,
            error: EntryError::UnknownSigner(_)
        })
    ));
}

#[test]
fn stripped_and_damaged_entries_are_refused() {
    let entries = chain(2, &key());
    let text = String::from_utf8(entries[1].clone()).unwrap();
    let stripped = text.replacen(r#""signature":""#, r#""signature":"A"#, 1);
    for bad in [
        stripped.into_bytes(),
        b"{}".to_vec(),
        text.replacen('8', "9", 1).into_bytes(),
    ] {
        let found = verify(&[entries[0].clone(), bad], &[]).unwrap_err();
        assert!(matches!(found, BadPlace::Entry { n: 2, .. }), "{found}");
    }
}

#[test]
fn an_entry_must_add_up_even_if_it_is_signed() {
    type Change = fn(&mut Entry);
    let changes: [(&str, Change); 9] = [
        ("counts", |entry| entry.tree = tree(5)),
        ("positions", |entry| entry.positions.clear()),
        ("positions", |entry| entry.positions[0].seq += 1),
        ("named after", |entry| {
            entry.files[0].path = "../x.parquet".to_owned()
        }),
        ("follow the rows", |entry| {
            entry.files[0].leaves[0].first += 1;
        }),
        ("of one piece", |entry| {
            let file = &mut entry.files[0];
            file.leaves.push(Leaves { first: 9, last: 9 });
            file.path = file.expected_path();
        }),
        ("removes files", |entry| {
            entry.removes = vec![removed(&file(1, 2, 0))];
        }),
        ("follow the rows", |entry| {
            entry.files[0] = file(1, 2, 0);
        }),
        ("begin after", |entry| {
            entry.files[0] = file(1, 2, 2);
        }),
    ];
    for (word, change) in changes {
        let entries = chain(2, &key());
        let second = rewrite(&entries[1], &key(), change);
        let found = verify(&[entries[0].clone(), second], &[]).unwrap_err();
        assert!(matches!(found, BadPlace::Ledger { n: 2, .. }), "{found}");
        assert!(found.to_string().contains(word), "{found}");
    }
}

#[test]
fn a_new_life_of_a_stream_begins_at_one() {
    let entries = chain(1, &key());
    let state = |first_seq| {
        let second = rewrite(&entries[0], &key(), |entry| {
            let mut file = file(first_seq, 2, 2);
            file.spans[0].incarnation = "xyz".parse().unwrap();
            file.path = file.expected_path();
            entry.positions[0].incarnation = file.spans[0].incarnation.clone();
            entry.positions[0].seq = file.spans[0].last_seq;
            entry.n = 2;
            entry.prev = Some(Digest::of_bytes(&entries[0]));
            entry.tree = tree(4);
            entry.files = vec![file];
        });
        verify(&[entries[0].clone(), second], &[])
    };
    assert_eq!(state(1).unwrap().position("CS_EVENTS").unwrap().seq, 2);
    assert!(
        state(5)
            .unwrap_err()
            .to_string()
            .contains("does not begin at sequence 1")
    );
}

fn removed(file: &FileEntry) -> Removed {
    Removed {
        path: file.path.clone(),
        sha256: file.sha256,
    }
}

/// Two entries of two rows, and a third that puts one file in the place of both.
fn compacted(change: impl FnOnce(&mut Entry)) -> Result<Walked, BadPlace> {
    let mut entries = chain(2, &key());
    let third = rewrite(&entries[1], &key(), |entry| {
        entry.n = 3;
        entry.prev = Some(Digest::of_bytes(&entries[1]));
        entry.kind = EntryKind::Replace;
        entry.removes = vec![removed(&file(1, 2, 0)), removed(&file(3, 2, 2))];
        let mut all = file(1, 4, 0);
        all.sha256 = Digest::of_bytes(b"compacted");
        all.path = all.expected_path();
        entry.files = vec![all];
        change(entry);
    });
    entries.push(third);
    verify_chain(entries.iter().map(Vec::as_slice), &key().public(), &[])
}

#[test]
fn a_replacement_keeps_every_row_and_only_the_new_file_counts() {
    let walked = compacted(|_| {}).unwrap();
    assert_eq!((walked.state.n, walked.state.tree.size()), (3, 4));
    let rows: Vec<u64> = walked.files.iter().map(|file| file.rows).collect();
    assert_eq!(rows, [4]);
}

#[test]
fn a_replacement_that_loses_doubles_or_renames_rows_is_refused() {
    type Change = fn(&mut Entry);
    let changes: [(&str, Change); 9] = [
        ("exactly the rows", |entry| drop(entry.removes.pop())),
        ("exactly the rows", |entry| entry.files.push(file(1, 2, 0))),
        ("exactly the rows", |entry| {
            entry.files = vec![file(1, 3, 0)];
        }),
        ("exactly the rows", |entry| {
            entry.files[0].spans[0].first_seq = 2;
            entry.files[0].path = entry.files[0].expected_path();
        }),
        ("none by files", |entry| entry.removes.clear()),
        ("by none", |entry| entry.files.clear()),
        ("not in the archive", |entry| {
            entry.removes[0].sha256 = Digest::of_bytes(b"other");
        }),
        ("changes their tree", |entry| entry.tree = tree(5)),
        ("changes their tree", |entry| entry.positions[0].seq = 9),
    ];
    for (word, change) in changes {
        let found = compacted(change).unwrap_err();
        assert!(matches!(found, BadPlace::Ledger { n: 3, .. }), "{found}");
        assert!(found.to_string().contains(word), "{found}");
    }
}
