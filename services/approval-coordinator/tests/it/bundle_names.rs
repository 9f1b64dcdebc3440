//! The name of a bundle is used once, whatever is forgotten of it.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use countersign_domain::approvals::{Added, BundleCourse, Gathering};
use countersign_runtime::bus::Bucket;
use countersign_runtime::bus::layout::APPROVALS;
use countersign_schemas::IntentId;
use countersign_schemas::events::{ApprovalState, BlockedCode, Verdict};

use super::bundles::{approved, asked, blocked, id, judge, judge_all, place, say_yes};
use super::world::{World, verdict};

use Verdict::{Allow, Ask};

/// The bundle `b` as it stands when `intents` have been taken in, without a coordinator.
pub(super) fn gathered(world: &World, intents: &[IntentId], kind: Verdict) -> Result<Gathering> {
    let (at, wait) = (world.now(), Duration::from_secs(1));
    let mut bundle: Option<Gathering> = None;
    for (index, intent) in intents.iter().enumerate() {
        let checked = verdict(kind, *intent, place("b", intents.len(), index))?;
        let place = checked.bundle.clone().context("a place")?;
        let bundle = match &mut bundle {
            Some(bundle) => bundle,
            None => {
                let opened = Gathering::open(&checked, &place, at, wait);
                bundle.insert(opened.map_err(|(_, why)| anyhow!(why))?)
            }
        };
        ensure!(bundle.add(&checked, &place, at, None) == Added::Taken);
    }
    bundle.context("a bundle")
}

/// Where the bundle `b` is gathered.
pub(super) fn gathering_key() -> Result<String> {
    Ok(id("b")?.as_str().replace("b-", "g-"))
}

/// Every item is blocked because another bundle had the name.
async fn blocked_for_its_name(world: &World, intents: &[IntentId]) -> Result<()> {
    for intent in intents {
        let block = blocked(world, *intent).await?;
        ensure!(block.code == BlockedCode::InvalidInput, "{block:?}");
        let why = &block.reasons.first().context("a reason")?.message;
        ensure!(why.contains("was used before; take a new one"), "{why}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_under_which_people_were_asked_is_not_used_again() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let first = judge_all(&world, "b", &[Ask, Ask]).await?;
    asked(&world, "b").await?;
    // The gathering is settled, and its life ends before people have decided.
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    world.until_settled("b").await?;
    bucket.remove(&gathering_key()?).await?;
    let second = judge_all(&world, "b", &[Ask, Allow]).await?;
    blocked_for_its_name(&world, &second).await?;
    ensure!(say_yes(&world, "b", "lee", None).await? == ApprovalState::Approved);
    for intent in first {
        approved(&world, intent).await?;
    }
    // Later the approval is forgotten too, and the events stay.
    ensure!(world.life_in_bucket(&id("b")?).await? == "90000");
    bucket.remove(id("b")?.as_str()).await?;
    let third = judge_all(&world, "b", &[Allow, Ask]).await?;
    blocked_for_its_name(&world, &third).await?;
    running.stop().await?;
    ensure!(world.count("approval.requested.*").await? == 1);
    ensure!(world.count("tool.*.billing.*").await? == 6);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_comes_again_when_its_gathering_is_forgotten_is_still_of_its_bundle()
-> Result<()> {
    let world = World::start().await?;
    let intents = [(); 2].map(|()| IntentId::new_at(world.now()));
    let bundle = gathered(&world, &intents, Ask)?;
    let BundleCourse::Ask(approval) = bundle.course() else {
        bail!("nobody is asked")
    };
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    let value = serde_json::to_vec(&approval)?;
    bucket.create(id("b")?.as_str(), value.into()).await?;
    for (index, intent) in intents.iter().enumerate() {
        world.judge_this(*intent, Ask, place("b", 2, index)).await?;
    }
    let other = judge(&world, "b", 2, 1, Ask).await?;
    let running = world.coordinator().await?;
    blocked_for_its_name(&world, &[other]).await?;
    world.until_verdicts_are_done().await?;
    ensure!(world.count("tool.*.billing.*").await? == 1, "they wait");
    ensure!(bucket.get(&gathering_key()?).await?.is_none());
    ensure!(say_yes(&world, "b", "lee", None).await? == ApprovalState::Approved);
    for intent in intents {
        approved(&world, intent).await?;
    }
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_bundle_that_finds_another_ones_approval_is_blocked() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let first = judge_all(&world, "b", &[Ask, Ask]).await?;
    asked(&world, "b").await?;
    let revision = world.until_settled("b").await?;
    running.stop().await?;
    // As a coordinator of an earlier version left it.
    let second = [(); 2].map(|()| IntentId::new_at(world.now()));
    let value = serde_json::to_vec(&gathered(&world, &second, Ask)?)?;
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    bucket
        .update(&gathering_key()?, value.into(), revision)
        .await?;
    world.clock.advance(Duration::from_secs(60));
    let running = world.coordinator().await?;
    blocked_for_its_name(&world, &second).await?;
    ensure!(say_yes(&world, "b", "lee", None).await? == ApprovalState::Approved);
    for intent in first {
        approved(&world, intent).await?;
    }
    running.stop().await
}
