//! Every publication is on record once, whoever dies between the bucket and the record.

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::stream::DiscardPolicy;
use countersign_domain::policy::pack;
use countersign_domain::policy::protocol::{PushReply, PushRequest};
use countersign_runtime::bus::layout::{self, LayoutOptions, POLICY};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::policy::shelf::{Kept, Published, Shelf};
use countersign_schemas::events::Verdict;
use countersign_schemas::{Digest, Stream};

use crate::world::{Files, World, bundle_with, closed, digest, eventually};

/// The bucket changes as by a checker that dies before it tells.
async fn published_and_died(world: &World, files: &Files, whole: bool) -> Result<Digest> {
    let shelf = Shelf::new(&world.bus);
    let before = shelf.current().await?;
    let (packed, digest) = (pack(files)?, digest(files)?);
    let kept = Kept {
        digest,
        parts: 1,
        bytes: packed.len(),
        operator: "kim".parse()?,
        at: SystemClock.now(),
        leaving: false,
    };
    if whole {
        shelf.keep(&kept, &packed).await?;
    }
    let revision = before.as_ref().map_or(0, |(revision, _)| *revision);
    let published = Published {
        digest,
        parts: kept.parts,
        bytes: kept.bytes,
        previous: before.map(|(_, published)| published.digest),
        operator: kept.operator,
        at: kept.at,
    };
    shelf.publish(&published, revision).await?;
    Ok(digest)
}

/// How often the record tells of a bundle.
async fn told(world: &World, digest: Digest) -> Result<usize> {
    let subject = format!("policy.published.{}", digest.hex());
    let jetstream = world.bus.jetstream();
    let stream = jetstream.get_stream(Stream::Events.name()).await?;
    let mut subjects = stream.info_with_subjects(subject).await?;
    let mut count = 0;
    while let Some(found) = futures::TryStreamExt::try_next(&mut subjects).await? {
        count += found.1;
    }
    Ok(count)
}

async fn is_told(world: &World, digest: Digest, times: usize) -> Result<()> {
    eventually("the record", async || {
        let count = told(world, digest).await?;
        ensure!(count <= times, "{count} records of one publication");
        Ok((count == times).then_some(()))
    })
    .await
}

fn variant(word: &str) -> Result<Files> {
    bundle_with(
        "policies/variant.cedar",
        &format!(
            "// {word}\n@id(\"variant\")\n@because(\"{word}\")\nforbid (principal == Agent::\"ops\", action == Action::\"docs.search\", resource);\n"
        ),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_is_on_record_once_whoever_dies_before_telling() -> Result<()> {
    let world = World::start().await?;
    // Nobody lives who could tell; the next one to start does.
    let first = published_and_died(&world, &variant("one")?, true).await?;
    ensure!(told(&world, first).await? == 0);
    let (one, two) = (world.checker().await?, world.checker().await?);
    is_told(&world, first, 1).await?;
    one.stop().await?;
    two.stop().await?;

    // What is replaced at once by a checker that has not even seen it.
    let second = published_and_died(&world, &variant("two")?, true).await?;
    let checker = world.checker().await?;
    let third = variant("three")?;
    ensure!(world.push(&third, digest(&third)?).await?.is_ok());
    is_told(&world, second, 1).await?;
    is_told(&world, digest(&third)?, 1).await?;
    ensure!(told(&world, first).await? == 1);
    checker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_checker_can_load_is_on_record_too() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    let torn = published_and_died(&world, &variant("torn")?, false).await?;
    is_told(&world, torn, 1).await?;
    ensure!(world.verdict().await?.verdict == Verdict::Allow);
    let next = variant("next")?;
    let pushed = world.push(&next, digest(&next)?).await?;
    let Ok(PushReply::Published { previous, .. }) = pushed else {
        anyhow::bail!("not published: {pushed:?}");
    };
    ensure!(previous == Some(torn));
    is_told(&world, digest(&next)?, 1).await?;
    ensure!(told(&world, torn).await? == 1);
    checker.stop().await
}

/// A bucket that was made anew counts from 1 again: the same bundle is told again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_in_a_new_bucket_is_on_record_again() -> Result<()> {
    let world = World::start().await?;
    for _ in 0..3 {
        published_and_died(&world, &variant("other")?, true).await?;
    }
    let files = variant("same")?;
    let same = published_and_died(&world, &files, true).await?;
    let checker = world.checker().await?;
    is_told(&world, same, 1).await?;
    checker.stop().await?;
    let jetstream = world.bus.jetstream();
    jetstream.delete_stream(format!("KV_{POLICY}")).await?;
    layout::ensure(&world.bus, LayoutOptions::default()).await?;
    ensure!(published_and_died(&world, &files, true).await? == same);
    let checker = world.checker().await?;
    is_told(&world, same, 2).await?;
    checker.stop().await
}

/// The bucket forgets the bundle's part at the very moment in which it is put in force.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_is_stored_but_not_in_force_here_says_so() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    let before = world.verdict().await?.policy_digest;
    let jetstream = world.bus.jetstream();
    let stream = jetstream.get_stream(format!("KV_{POLICY}")).await?;
    let mut config = stream.cached_info().config.clone();
    config.max_messages = 1;
    config.discard = DiscardPolicy::Old;
    jetstream.update_stream(config).await?;

    let closed = closed()?;
    let wanted = digest(&closed)?;
    let Err((status, message, _)) = world.push(&closed, wanted).await? else {
        anyhow::bail!("it says that the bundle is in force");
    };
    ensure!(
        status == "503" && message.contains("published") && message.contains("doctor"),
        "{status} {message}"
    );
    let status = world.ask(&PushRequest::Status {}).await;
    let Ok(PushReply::Status {
        published,
        in_force,
        ..
    }) = status
    else {
        anyhow::bail!("no status: {status:?}");
    };
    ensure!(published == Some(wanted) && in_force == Some(before));
    ensure!(
        !checker.health.is_ready(),
        "a checker that is behind says so"
    );
    is_told(&world, wanted, 1)
        .await
        .context("stored is published")?;
    ensure!(world.verdict().await?.policy_digest == before);
    checker.stop().await
}
