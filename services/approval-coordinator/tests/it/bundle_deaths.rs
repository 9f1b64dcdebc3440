//! Bundles whose coordinator dies, in every state of theirs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use countersign_domain::approvals::{Approval, Ballot, BundleCourse};
use countersign_runtime::bus::layout::APPROVALS;
use countersign_runtime::bus::{Bucket, Outgoing};
use countersign_schemas::events::{
    ApprovalRequested, ApprovalResolved, ApprovalState, BlockedCode, Verdict, VoteChoice,
};
use countersign_schemas::{Address, ApprovalId, Digest, IntentId, SeqToken};
use serde_json::json;

use super::bundle_names::{gathered, gathering_key};
use super::bundles::{
    approved, asked, blocked, id, in_one_piece, judge, judge_all, say_yes, sequences,
};
use super::vote;
use super::world::{World, company};

use Verdict::{Allow, Ask};

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_survives_a_restart_in_every_state() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let first = judge(&world, "b", 2, 0, Ask).await?;
    world.until_gathered("b").await?;
    running.stop().await?;

    let second = judge(&world, "b", 2, 1, Allow).await?;
    let running = world.coordinator().await?;
    asked(&world, "b").await?;
    let lee = world.person("lee").await?;
    let digest = world.digest(&lee, "lee", &id("b")?).await?;
    running.stop().await?;

    let key = id("b")?;
    granted_by_one_who_died(&world, &key, digest).await?;
    ensure!(world.head(first).await?.is_none());

    world.clock.advance(Duration::from_secs(60));
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    approved(&world, first).await?;
    approved(&world, second).await?;
    let told = format!("approval.resolved.{key}");
    world.event::<ApprovalResolved>(&told).await?;
    ensure!(world.life_in_bucket(&key).await? == "90000");
    one.stop().await?;
    two.stop().await?;
    ensure!(world.count("tool.*.billing.*").await? == 2);
    Ok(())
}

/// Somebody stored the yes and died before anything followed from it.
async fn granted_by_one_who_died(
    world: &World,
    key: &ApprovalId,
    digest: Digest,
) -> Result<Approval> {
    let approval = voted_by_one_who_died(world, key, digest, None).await?;
    ensure!(approval.state() == ApprovalState::Approved);
    Ok(approval)
}

/// The same with a vote for these items only.
async fn voted_by_one_who_died(
    world: &World,
    key: &ApprovalId,
    digest: Digest,
    items: Option<Vec<IntentId>>,
) -> Result<Approval> {
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    let entry = bucket.get(key.as_str()).await?.context("kept")?;
    let mut approval: Approval = serde_json::from_slice(&entry.value)?;
    cast_on(&mut approval, digest, items, world)?;
    let value = serde_json::to_vec(&approval)?;
    bucket
        .update(key.as_str(), value.into(), entry.revision)
        .await?;
    Ok(approval)
}

/// Whether the end of `approval` lies before every decision on these intents.
async fn told_first(world: &World, approval: &ApprovalId, intents: &[IntentId]) -> Result<bool> {
    let told = format!("approval.resolved.{approval}");
    let told = world.any(&told).await?.seq;
    let decided = sequences(world, intents).await?;
    Ok(decided.iter().all(|decision| told < *decision))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_approval_is_told_before_any_decision_that_follows_from_it() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let intents = judge_all(&world, "b", &[Ask, Ask, Ask]).await?;
    asked(&world, "b").await?;
    say_yes(&world, "b", "lee", Some(intents[..2].to_vec())).await?;
    approved(&world, intents[0]).await?;
    approved(&world, intents[1]).await?;
    blocked(&world, intents[2]).await?;
    ensure!(told_first(&world, &id("b")?, &intents).await?);

    let alone = world.judge(Ask, json!({})).await?;
    let its = ApprovalId::for_intent(alone);
    let requested = format!("approval.requested.{its}");
    let requested: ApprovalRequested = world.event(&requested).await?;
    let lee = world.person("lee").await?;
    let ballot = vote(&its, requested.digest, VoteChoice::Approve);
    ensure!(world.vote(&lee, "lee", &ballot).await?.counted);
    approved(&world, alone).await?;
    ensure!(told_first(&world, &its, &[alone]).await?);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_told_before_its_coordinator_died_is_decided_by_the_next() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let intents = judge_all(&world, "b", &[Ask, Ask]).await?;
    asked(&world, "b").await?;
    let lee = world.person("lee").await?;
    let key = id("b")?;
    let digest = world.digest(&lee, "lee", &key).await?;
    running.stop().await?;

    let approval = granted_by_one_who_died(&world, &key, digest).await?;
    tell(&world, &approval).await?;
    ensure!(world.head(intents[0]).await?.is_none());

    world.clock.advance(Duration::from_secs(60));
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    for intent in &intents {
        approved(&world, *intent).await?;
    }
    one.stop().await?;
    two.stop().await?;
    ensure!(told_first(&world, &key, &intents).await?);
    ensure!(world.count("approval.resolved.*").await? == 1, "told once");
    ensure!(world.count("tool.*.billing.*").await? == 2);
    Ok(())
}

fn cast_on(
    approval: &mut Approval,
    digest: Digest,
    items: Option<Vec<IntentId>>,
    world: &World,
) -> Result<()> {
    let mut ballot = vote(approval.id(), digest, VoteChoice::Approve);
    ballot.items = items;
    let ballot = Ballot {
        approver: &"lee".parse()?,
        via: &"self".parse()?,
        message: &SeqToken::new("abc".parse()?, 1),
        stored_at: world.now(),
        vote: &ballot,
        reason: None,
    };
    ensure!(approval.vote(&ballot, &company()?).changed);
    Ok(())
}

/// Stores the event that tells an end.
async fn tell(world: &World, approval: &Approval) -> Result<()> {
    let resolved = approval.resolved().context("an end")?;
    let address = Address::ApprovalResolved {
        approval: approval.id().clone(),
    };
    let meta = world.meta("approval-coordinator")?;
    let out = Outgoing::event(&address, &resolved, &meta)?;
    world.as_coordinator().await?.store_once(out).await?;
    Ok(())
}

/// Some items are granted and the others not: whether its coordinator dies before that is
/// told or after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_partial_end_survives_the_death_of_its_coordinator() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let mut bundles = Vec::new();
    for name in ["untold", "told"] {
        let intents = judge_all(&world, name, &[Ask, Ask, Ask]).await?;
        let digest = asked(&world, name).await?.digest;
        bundles.push((name, intents, digest));
    }
    running.stop().await?;
    for (name, intents, digest) in &bundles {
        let some = Some(intents[..2].to_vec());
        let approval = voted_by_one_who_died(&world, &id(name)?, *digest, some).await?;
        ensure!(approval.state() == ApprovalState::Partial);
        if *name == "told" {
            tell(&world, &approval).await?;
        }
    }
    world.clock.advance(Duration::from_secs(60));
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    for (name, intents, _) in &bundles {
        approved(&world, intents[0]).await?;
        approved(&world, intents[1]).await?;
        let left = blocked(&world, intents[2]).await?;
        ensure!(left.code == BlockedCode::DeniedByPerson, "{name}");
        ensure!(in_one_piece(&sequences(&world, &intents[..2]).await?));
        ensure!(told_first(&world, &id(name)?, intents).await?);
    }
    one.stop().await?;
    two.stop().await?;
    ensure!(world.count("approval.resolved.*").await? == 2);
    ensure!(world.count("tool.*.billing.*").await? == 6);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_was_whole_when_its_coordinator_died_is_finished_by_the_next() -> Result<()> {
    let world = World::start().await?;
    let intents = [(); 3].map(|()| IntentId::new_at(world.now()));
    let bundle = gathered(&world, &intents, Allow)?;
    ensure!(matches!(bundle.course(), BundleCourse::Emit(_)));
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    let value = serde_json::to_vec(&bundle)?;
    bucket.create(&gathering_key()?, value.into()).await?;
    // The message of its last item comes again, or, where that is lost, its time is over.
    world.clock.advance(Duration::from_secs(60));
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    for intent in &intents {
        approved(&world, *intent).await?;
    }
    one.stop().await?;
    two.stop().await?;
    ensure!(in_one_piece(&sequences(&world, &intents).await?));
    ensure!(world.count("tool.*.billing.*").await? == 3);
    Ok(())
}
