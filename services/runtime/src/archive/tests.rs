//! A directory as a store; buckets have tests of their own against a real server.

use std::fs;
use std::io::{Read as _, Write as _};

use countersign_domain::archive::Entry;
use tempfile::TempDir;

use super::*;

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(&Place::from(dir.path())).unwrap();
    store.prepare().unwrap();
    (dir, store)
}

fn temporary(store: &Store, text: &str) -> NamedTempFile {
    let mut file = store.temporary().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn a_name_is_given_once_and_keeps_its_bytes() {
    let (dir, store) = store();
    let name = "archive/v1/a/b/x";
    for (text, expected) in [("one", Created::Now), ("two", Created::Before)] {
        let file = temporary(&store, text);
        assert_eq!(store.create_from(&file, name).unwrap(), expected);
    }
    let many = [
        (name.to_owned(), b"3".to_vec()),
        ("tile/y".to_owned(), b"4".to_vec()),
    ];
    let created = store.create_all(&many).unwrap();
    assert_eq!(created, [Created::Before, Created::Now]);
    let mut text = String::new();
    store
        .fetch(name)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "one");
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn what_is_there_is_listed_read_bounded_replaced_and_removed() {
    let (_dir, store) = store();
    assert_eq!(store.list("tile").unwrap(), []);
    assert_eq!(store.read("tile/0/000.p/3", 9).unwrap(), None);
    let partial = [1, 2].map(|width| (format!("tile/0/000.p/{width}"), vec![0; 32 * width]));
    store.create_all(&partial).unwrap();
    let mut listed = store.list("tile").unwrap();
    listed.sort_by_key(|file| file.bytes);
    let listed: Vec<_> = listed
        .into_iter()
        .map(|file| (file.path, file.bytes))
        .collect();
    let named = [("tile/0/000.p/1", 32), ("tile/0/000.p/2", 64)];
    assert_eq!(listed, named.map(|(path, bytes)| (path.to_owned(), bytes)));
    let long = store.read("tile/0/000.p/2", 40).unwrap().unwrap();
    assert_eq!(long.len(), 41, "its length is wrong");
    for text in ["one", "two"] {
        let seen = store.see("checkpoint", 9).unwrap();
        assert!(store.swap("checkpoint", text.as_bytes(), seen).unwrap());
        assert_eq!(
            store.read("checkpoint", 9).unwrap().unwrap(),
            text.as_bytes()
        );
    }
    store.remove_dir("tile").unwrap();
    store.remove_dir("tile").unwrap();
    for _ in 0..2 {
        store.remove("checkpoint").unwrap();
    }
    assert!(store.fetch("checkpoint").unwrap_err().is_missing());
}

#[test]
fn entries_are_read_in_order_as_far_as_they_are_there() {
    let (dir, store) = store();
    assert_eq!(store.last_entry().unwrap(), 0);
    for n in [1, 3] {
        fs::write(dir.path().join(Entry::path(n)), n.to_string()).unwrap();
    }
    fs::write(dir.path().join("manifest/note.txt"), "x").unwrap();
    assert_eq!(store.last_entry().unwrap(), 3);
    let found = store.entries(1..=4).unwrap();
    assert_eq!(
        found,
        [Some(b"1".to_vec()), None, Some(b"3".to_vec()), None]
    );
    let long = fs::File::create(dir.path().join(Entry::path(4))).unwrap();
    long.set_len(17 * 1024 * 1024).unwrap();
    let error = store.entry(4).unwrap_err().to_string();
    assert!(error.contains("larger than any"), "{error}");
}

#[test]
fn a_place_without_a_manifest_is_no_archive_and_an_unwritable_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::of_dir(dir.path());
    assert!(store.find_manifest().unwrap_err().is_missing());
    let file = dir.path().join("manifest");
    fs::write(&file, b"").unwrap();
    assert!(store.find_manifest().unwrap_err().is_no_directory());
    let error = Store::of_dir(&file).prepare().unwrap_err().to_string();
    assert!(error.contains("manifest"), "{error}");
}
