//! Whoever dies or loses on the way: no row lost, none twice.

use std::sync::Barrier;
use std::thread;

use countersign_audit_archiver::{CommitError, Hooks, Step, Writer};
use countersign_domain::archive::BadPlace;
use countersign_runtime::archive::{Created, Store};
use countersign_schemas::Timestamp;

use crate::server::Bucket;
use crate::world::{World, items, strays};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_archivers_that_commit_at_once_one_learns_that_it_lost() {
    let Some(bucket) = Bucket::new() else { return };
    let world = World::at(bucket.place("race"));
    let rounds = 6;
    for round in 0..rounds {
        let batch = || items(round * 5 + 1..=round * 5 + 5);
        let open = |machine| Writer::open(world.options(machine, Hooks::default())).expect("opens");
        let (mut one, mut two) = (open("one"), open("two"));
        let start = Barrier::new(2);
        let commit = |writer: &mut Writer| {
            start.wait();
            writer.commit(
                batch(),
                Timestamp::from_micros(i64::from(u8::MAX)).expect("a time"),
            )
        };
        // Entries that differ, as those of two machines do.
        let other = |writer: &mut Writer| {
            start.wait();
            writer.commit(batch(), Timestamp::EPOCH)
        };
        let (one, two) = thread::scope(|scope| {
            let one = scope.spawn(|| commit(&mut one));
            let two = scope.spawn(|| other(&mut two));
            (one.join().expect("it ends"), two.join().expect("it ends"))
        });
        let lost = |done: &Result<bool, CommitError>| matches!(done, Err(CommitError::Lost(n)) if *n == round + 1);
        let won = |done: &Result<bool, CommitError>| matches!(done, Ok(true));
        assert!(
            won(&one) && lost(&two) || won(&two) && lost(&one),
            "{one:?} {two:?}"
        );
    }
    let last = world.writer();
    assert_eq!(last.head().n, rounds);
    assert_eq!(world.verified().rows, rounds * 5);
    assert_eq!(world.seqs().await, (1..=rounds * 5).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_commit_survives_a_crash() {
    let Some(bucket) = Bucket::new() else { return };
    for (index, step) in Step::ALL.iter().enumerate() {
        let world = World::at(bucket.place(&format!("crash/{index}")));
        world.commit(1..=300);
        let hooks = Hooks::new(move |at| at != *step);
        let mut dying = Writer::open(world.options("", hooks)).expect("it opens");
        let died = dying.commit(items(301..=310), Timestamp::EPOCH);
        assert!(matches!(died, Err(CommitError::Stopped(_))), "{step:?}");
        world.verified();
        let mut writer = world.writer();
        let left = items(writer.head().tree.size() + 1..=320);
        writer.commit(left, Timestamp::EPOCH).expect("it goes on");
        assert!(world.verified().tail_proved);
        assert_eq!(
            world.seqs().await,
            (1..=320).collect::<Vec<_>>(),
            "{step:?}"
        );
        assert_eq!(strays(&bucket.store(&format!("crash/{index}"))), [""; 0]);
    }
}

/// Puts every file of one prefix where it is missing or differs in another.
fn restore(from: &Store, to: &Store) {
    let most = 1024 * 1024;
    for file in to.list("").expect("a list") {
        to.remove(&file.path).expect("it goes");
    }
    for file in from.list("").expect("a list") {
        let bytes = from.read(&file.path, most).expect("bytes").expect("a file");
        let created = to.create_all(&[(file.path, bytes)]).expect("it is made");
        assert_eq!(created, [Created::Now]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_that_was_put_back_is_not_written_to() {
    let Some(bucket) = Bucket::new() else { return };
    let world = World::at(bucket.place("live"));
    let (live, old, new) = (
        bucket.store("live"),
        bucket.store("old"),
        bucket.store("new"),
    );
    world.commit(1..=3);
    restore(&live, &old);
    world.commit(4..=6);
    restore(&live, &new);
    restore(&old, &live);
    let refused = Writer::open(world.options("", Hooks::default())).expect_err("it was cut");
    let cut = matches!(
        &refused,
        CommitError::Damaged(BadPlace::TailCut { end: 1, n: 2, .. })
    );
    assert!(cut, "{refused}");
    assert!(refused.to_string().contains("audit verify"), "{refused}");
    assert_eq!(live.last_entry().expect("a number"), 1);
    restore(&new, &live);
    world.commit(7..=9);
    assert!(world.verified().tail_proved);
    assert_eq!(world.seqs().await, (1..=9).collect::<Vec<_>>());
}
