//! A store that ignores conditions, throttles, refuses, or loses its answers.

use std::collections::HashSet;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Mutex;

use countersign_audit_archiver::{CommitError, Hooks, Writer};
use countersign_runtime::archive::{Created, Store};
use countersign_schemas::Timestamp;

use crate::server::{Bucket, Fault, Request};
use crate::world::{World, items, strays};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_a_condition_is_refused_in_words() {
    let Some(bucket) = Bucket::new() else { return };
    for (header, told) in [("if-none-match", "If-None-Match"), ("if-match", "If-Match")] {
        let endpoint = bucket.proxy(move |_| Fault::Without(header));
        let world = World::at(bucket.through(&endpoint, header));
        let refused = Writer::open(world.options("", Hooks::default()));
        let CommitError::Store(refused) = refused.expect_err("it is refused") else {
            panic!("it is the store's fault");
        };
        assert!(refused.is_refusal(), "somebody must mend it: {refused}");
        let text = refused.to_string();
        assert!(text.contains(&format!("ignores {told}")), "{text}");
        assert!(text.contains("two archivers could both commit"), "{text}");
        assert_eq!(bucket.store(header).list("").expect("a list"), []);
    }
}

/// Something that goes wrong for each request the first time that it is made.
fn once(fault: Fault, of: impl Fn(&Request) -> bool + Send + Sync) -> impl Fn(&Request) -> Fault {
    let seen = Mutex::new(HashSet::new());
    move |request| {
        let name = (request.method.clone(), request.path.clone());
        let first = of(request) && seen.lock().expect("it is whole").insert(name);
        if first { fault } else { Fault::Nothing }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_throttles_loses_and_doubles_nothing() {
    let Some(bucket) = Bucket::new() else { return };
    for status in [429, 503] {
        let prefix = format!("slow/{status}");
        let endpoint = bucket.proxy(once(Fault::Refused(status), |_| true));
        let world = World::at(bucket.through(&endpoint, &prefix));
        let mut writer = world.writer();
        for first in [1, 4] {
            let done = writer.commit(items(first..=first + 2), Timestamp::EPOCH);
            assert!(done.expect("it is committed"));
        }
        assert_eq!(world.verified().entries, 2);
        assert_eq!(world.seqs().await, (1..=6).collect::<Vec<_>>());
        assert_eq!(strays(&bucket.store(&prefix)), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_known_as_our_own() {
    let Some(bucket) = Bucket::new() else { return };
    for (index, fault) in [Fault::DoneAnd(500), Fault::DoneInSilence]
        .into_iter()
        .enumerate()
    {
        let prefix = format!("lost/{index}");
        let endpoint = bucket.proxy(once(fault, |request| request.method == "PUT"));
        let world = World::at(bucket.through(&endpoint, &prefix));
        let mut writer = world.writer();
        for first in [1, 4, 7] {
            let done = writer.commit(items(first..=first + 2), Timestamp::EPOCH);
            assert!(done.expect("it was committed"), "{fault:?}");
        }
        let report = world.verified();
        assert_eq!((report.entries, report.files, report.rows), (3, 3, 9));
        assert!(report.tail_proved);
        assert_eq!(world.seqs().await, (1..=9).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lost_by_the_loser_does_not_make_it_the_winner() {
    let Some(bucket) = Bucket::new() else { return };
    let fault = once(Fault::DoneAnd(500), |request| request.puts("/manifest/"));
    let endpoint = bucket.proxy(fault);
    let (world, slow) = (
        World::at(bucket.place("race")),
        World::at(bucket.through(&endpoint, "race")),
    );
    let mut late = slow.writer();
    world.commit(1..=3);
    let lost = late.commit(items(1..=5), Timestamp::EPOCH);
    assert!(matches!(lost, Err(CommitError::Lost(1))), "{lost:?}");
    assert_eq!(world.seqs().await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_on_the_way_is_not_committed_and_later_goes_on() {
    let Some(bucket) = Bucket::new() else { return };
    for (index, part) in ["/archive/v1/", "/manifest/", "/tile/", "/checkpoint"]
        .into_iter()
        .enumerate()
    {
        let prefix = format!("refused/{index}");
        let endpoint = bucket.proxy(move |request| match request.puts(part) {
            true => Fault::Refused(403),
            false => Fault::Nothing,
        });
        let world = World::at(bucket.place(&prefix));
        world.commit(1..=3);
        let mut options = world.options("", Hooks::default());
        options.place = bucket.through(&endpoint, &prefix);
        let mut writer = Writer::open(options).expect("it opens");
        let refused = writer.commit(items(4..=6), Timestamp::EPOCH);
        let refused = refused.expect_err("it is refused").to_string();
        assert!(refused.contains(part.trim_start_matches('/')), "{refused}");
        assert!(refused.contains("403"), "{refused}");
        world.verified();
        let mut writer = world.writer();
        // After the entry the rows are committed, whatever could not follow it.
        let rest = items(writer.head().tree.size() + 1..=9);
        assert!(writer.commit(rest, Timestamp::EPOCH).expect("it goes on"));
        assert!(world.verified().tail_proved, "{part}");
        assert_eq!(world.seqs().await, (1..=9).collect::<Vec<_>>(), "{part}");
    }
}

fn large(store: &Store, seed: u8) -> tempfile::NamedTempFile {
    let mut file = store.temporary().expect("a file");
    let line: Vec<u8> = (0..=u8::MAX).map(|byte| byte ^ seed).collect();
    for _ in 0..(40 * 1024 * 1024 / line.len()) {
        file.write_all(&line).expect("it is written");
    }
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_too_large_for_one_request_is_created_once_and_reads_back() {
    let Some(bucket) = Bucket::new() else { return };
    let store = bucket.store("large");
    let file = large(&store, 1);
    let name = "archive/v1/date=2026-11-22/compact-x.parquet";
    assert_eq!(store.create_from(&file, name).expect("made"), Created::Now);
    let other = large(&store, 2);
    assert_eq!(
        store.create_from(&other, name).expect("told"),
        Created::Before
    );
    let (mut wrote, mut read) = (Vec::new(), Vec::new());
    let mut file = file.into_file();
    file.seek(SeekFrom::Start(0)).expect("it goes back");
    file.read_to_end(&mut wrote).expect("it is read");
    let mut found = store.fetch(name).expect("a file");
    found.read_to_end(&mut read).expect("it is read");
    assert!(wrote == read, "{} bytes of {}", read.len(), wrote.len());
    assert_eq!(
        store.read(name, 10).expect("bytes").expect("a file").len(),
        11
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_or_out_of_reach_is_told_and_not_taken_for_empty() {
    let Some(bucket) = Bucket::new() else { return };
    let endpoint = bucket.proxy(|_| Fault::Refused(403));
    let refused = Store::new(&bucket.through(&endpoint, "x")).expect("a store");
    let error = refused.find_manifest().expect_err("it is refused");
    assert!(error.is_refusal() && !error.is_missing(), "{error}");
    let empty = bucket.store("nothing").find_manifest();
    assert!(empty.expect_err("it is empty").is_missing());
    let refused = refused.read("manifest/1", 10).expect_err("it is refused");
    assert!(refused.to_string().contains("s3://"), "{refused}");
}
