//! The bucket of bundles while several checkers push and go back at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use countersign_domain::policy::PACKED_BYTES_MAX;
use countersign_runtime::bus::Bucket;
use countersign_runtime::bus::layout::POLICY;
use countersign_runtime::policy::shelf::{Kept, Published, Shelf, ShelfError};
use countersign_schemas::{Digest, Timestamp};

use crate::common::connect;
use crate::world::World;

/// Bundles that are pushed and gone back to; two of them fill the list.
const BUNDLES: usize = 6;
/// Attempts of each checker to put a bundle in force.
const ROUNDS: usize = 120;

/// A bundle of a few bytes that claims the room of the largest, so that others fall off
/// the list.
fn kept(name: usize) -> Result<(Kept, Vec<u8>)> {
    let packed = format!("bundle {name}").into_bytes();
    let kept = Kept {
        digest: Digest::of_bytes(&packed),
        parts: 1,
        bytes: PACKED_BYTES_MAX,
        operator: "kim".parse()?,
        at: Timestamp::EPOCH,
        leaving: false,
    };
    Ok((kept, packed))
}

fn published(kept: &Kept, packed: &[u8]) -> Published {
    Published {
        digest: kept.digest,
        parts: kept.parts,
        bytes: packed.len(),
        previous: None,
        operator: kept.operator.clone(),
        at: kept.at,
    }
}

/// As a checker pushes, and goes back to a bundle that is kept: look, write, replace, clear.
async fn put_in_force(shelf: &Shelf, name: usize) -> Result<bool> {
    let revision = shelf.current().await?.map_or(0, |(revision, _)| revision);
    let (kept, packed) = kept(name)?;
    match shelf.keep(&kept, &packed).await {
        Ok(()) => {}
        Err(ShelfError::Conflict) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let stored = shelf.publish(&published(&kept, &packed), revision).await;
    shelf.clear().await?;
    match stored {
        Ok(_) => Ok(true),
        Err(ShelfError::Conflict) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reads what is in force until told to stop; it must be whole for as long as it is.
async fn watch(shelf: Shelf, done: Arc<AtomicBool>) -> Result<usize> {
    let mut reads = 0;
    while !done.load(Ordering::Relaxed) {
        let Some((revision, published)) = shelf.current().await? else {
            continue;
        };
        match shelf.packed(&published).await {
            Ok(_) => reads += 1,
            Err(ShelfError::Incomplete) => {
                let again = shelf.current().await?.map(|(revision, _)| revision);
                ensure!(again != Some(revision), "what is in force lost its parts");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(reads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_pushes_and_goes_back_at_once_what_is_in_force_is_whole() -> Result<()> {
    let world = World::start().await?;
    let done = Arc::new(AtomicBool::new(false));
    let watcher = Shelf::new(&connect(&world.server, "watcher").await?);
    let watching = tokio::spawn(watch(watcher, Arc::clone(&done)));
    let (turn, won) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut checkers = tokio::task::JoinSet::new();
    for name in ["one", "two", "three"] {
        let shelf = Shelf::new(&connect(&world.server, name).await?);
        let (turn, won) = (Arc::clone(&turn), Arc::clone(&won));
        checkers.spawn(async move {
            for _ in 0..ROUNDS {
                let bundle = turn.fetch_add(5, Ordering::Relaxed) % BUNDLES;
                if put_in_force(&shelf, bundle).await? {
                    won.fetch_add(1, Ordering::Relaxed);
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = checkers.join_next().await {
        ended??;
    }
    done.store(true, Ordering::Relaxed);
    let reads = watching.await??;
    let won = won.load(Ordering::Relaxed);
    ensure!(won >= ROUNDS / 2 && reads > 0, "{won} won, {reads} reads");

    let shelf = Shelf::new(&world.bus);
    let (_, last) = shelf.current().await?.context("nothing is in force")?;
    shelf.packed(&last).await?;
    // One more publication is younger than everything: all that left goes with it.
    let next = usize::from(kept(0)?.0.digest == last.digest);
    ensure!(put_in_force(&shelf, next).await?);
    let listed: Vec<Digest> = shelf.kept().await?.iter().map(|one| one.digest).collect();
    let mut left = 0;
    for name in 0..BUNDLES {
        let digest = kept(name)?.0.digest;
        if !listed.contains(&digest) {
            left += 1;
            ensure!(
                shelf.part(digest, 0).await?.is_none(),
                "{name} is left behind"
            );
        }
    }
    ensure!(left > 0, "nothing ever fell off the list");
    Ok(())
}

/// The two interleavings of a push that drops a bundle and a way back to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_drops_a_bundle_and_a_way_back_to_it_exclude_each_other() -> Result<()> {
    let world = World::start().await?;
    let (pusher, other) = (
        Shelf::new(&world.bus),
        Shelf::new(&connect(&world.server, "other").await?),
    );
    for (back_first, base) in [(true, 0), (false, 10)] {
        let (old, packed) = kept(base)?;
        let old = Kept {
            bytes: packed.len(),
            ..old
        };
        let revision = pusher.current().await?.map_or(0, |(revision, _)| revision);
        pusher.keep(&old, &packed).await?;
        pusher.publish(&published(&old, &packed), revision).await?;
        ensure!(put_in_force(&pusher, base + 1).await?);
        // Both look at the same publication; the push drops the old bundle from the list.
        let (before, _) = pusher.current().await?.context("nothing is in force")?;
        let found = other.kept().await?;
        let found = found.into_iter().find(|one| one.digest == old.digest);
        let found = found.context("the old bundle is not kept")?;
        let held = other.packed_kept(&found).await?;
        let (next, bytes) = kept(base + 2)?;
        let push = published(&next, &bytes);
        pusher.keep(&next, &bytes).await?;
        let kept = pusher.kept().await?;
        ensure!(kept.iter().all(|one| one.digest != old.digest));
        if back_first {
            other.keep(&found, &held).await?;
            other.publish(&published(&old, &held), before).await?;
            let late = pusher.publish(&push, before).await;
            ensure!(matches!(late, Err(ShelfError::Conflict)), "{late:?}");
        } else {
            pusher.publish(&push, before).await?;
            pusher.clear().await?;
            ensure!(other.part(old.digest, 0).await?.is_none(), "it is cleared");
            other.keep(&found, &held).await?;
            let late = other.publish(&published(&old, &held), before).await;
            ensure!(matches!(late, Err(ShelfError::Conflict)), "{late:?}");
        }
        pusher.clear().await?;
        let (_, now) = other.current().await?.context("nothing is in force")?;
        other.packed(&now).await?;
        let kept = other.kept().await?;
        ensure!(
            kept.iter().any(|one| one.digest == now.digest),
            "not listed"
        );
    }
    Ok(())
}

/// A clearing that read everything before a push began takes nothing of what it writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_revision_that_was_seen_is_removed() -> Result<()> {
    let world = World::start().await?;
    let bucket = Bucket::new(&world.bus, POLICY);
    bucket.put("bundle.x.0", "old".into()).await?;
    let seen = bucket.get("bundle.x.0").await?.context("no entry")?;
    bucket.put("bundle.x.0", "new".into()).await?;
    let lost = bucket.remove_if("bundle.x.0", seen.revision).await?;
    let Some(entry) = bucket.get("bundle.x.0").await? else {
        bail!("the new value is gone: {lost:?}");
    };
    ensure!(entry.value == "new");
    bucket.remove_if("bundle.x.0", entry.revision).await?;
    ensure!(bucket.get("bundle.x.0").await?.is_none());
    Ok(())
}
