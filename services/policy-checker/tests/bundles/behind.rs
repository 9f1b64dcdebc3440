//! What a service does that cannot tell whether its bundle is still the one in force.

use anyhow::{Context as _, Result, ensure};
use countersign_domain::policy::{Bundle, pack};
use countersign_runtime::bus::layout::POLICY;
use countersign_runtime::bus::{Bucket, layout};
use countersign_runtime::policy::Behind;
use countersign_runtime::policy::shelf::{Kept, Published, Shelf};
use countersign_schemas::Timestamp;
use countersign_schemas::events::Verdict;
use serde_json::{Value, json};

use crate::recheck::recheck;
use crate::world::{Files, World, bundle_with, closed, digest, eventually};

/// A release to come writes more about a publication than this one can read: what is in
/// force then may be anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_cannot_be_read_ends_the_bundle_before_it() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    let open = bundle_with("tests/none.toml", "")?;
    let opened = digest(&open)?;
    ensure!(world.push(&open, opened).await?.is_ok());
    let policy = world.policy().await?;
    let bucket = Bucket::new(&world.bus, POLICY);
    let sound = bucket
        .get("current")
        .await?
        .context("nothing is published")?;
    let mut newer: Value = serde_json::from_slice(&sound.value)?;
    newer["only_after"] = json!("2026-12-01T00:00:00Z");
    bucket.put("current", newer.to_string().into()).await?;
    let behind = policy.refresh().await.err();
    ensure!(behind == Some(Behind::Unusable), "{behind:?}");
    ensure!(
        policy.now().bundle().is_ok(),
        "a moment's trouble stops nobody"
    );
    let asked = world.verdict().await?.intent_id;
    let refused = recheck(&world, "support", asked).await.err();
    let refused = refused.context("a checker that is behind answered")?;
    ensure!(refused.to_string() == "503", "{refused}");

    eventually(
        "the bundle that may be outdated serves no more",
        async || Ok(policy.now().bundle().is_err().then_some(())),
    )
    .await?;
    eventually("the checker says so", async || {
        let verdict = world.verdict().await?;
        Ok((verdict.verdict == Verdict::Deny).then_some(()))
    })
    .await?;
    bucket.put("current", sound.value.clone()).await?;
    let by = policy.refresh().await?;
    ensure!(by.bundle().map(Bundle::digest) == Ok(opened));
    checker.stop().await
}

/// Revisions begin again in a bucket that was made anew, so the first push into it may have
/// the one of the last push before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_revision_of_a_new_bucket_is_another_publication() -> Result<()> {
    let world = World::start().await?;
    let shelf = Shelf::new(&world.bus);
    let put = async |files: &Files| -> Result<u64> {
        let packed = pack(files)?;
        let kept = Kept {
            digest: digest(files)?,
            parts: 1,
            bytes: packed.len(),
            operator: "kim".parse()?,
            at: Timestamp::EPOCH,
            leaving: false,
        };
        shelf.keep(&kept, &packed).await?;
        let published = Published {
            digest: kept.digest,
            parts: kept.parts,
            bytes: kept.bytes,
            previous: None,
            operator: kept.operator,
            at: kept.at,
        };
        Ok(shelf.publish(&published, 0).await?)
    };
    let open = bundle_with("tests/none.toml", "")?;
    let before = put(&open).await?;
    let policy = world.policy().await?;
    ensure!(policy.now().bundle().map(Bundle::digest) == Ok(digest(&open)?));
    world
        .bus
        .jetstream()
        .delete_stream(format!("KV_{POLICY}"))
        .await?;
    layout::ensure(&world.bus, layout::LayoutOptions::default()).await?;
    ensure!(put(&closed()?).await? == before, "the case is another one");
    let by = policy.refresh().await?;
    ensure!(by.bundle().map(Bundle::digest) == Ok(digest(&closed()?)?));
    Ok(())
}
