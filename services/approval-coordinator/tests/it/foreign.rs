//! What others leave behind: bytes that are none of ours on a chain, and a checker that was
//! away when an intent was withdrawn.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use countersign_runtime::bus::Outgoing;
use countersign_schemas::events::{
    Handoff, Outcome, RevokedCode, ToolApproved, ToolBlocked, ToolCompleted, ToolRevoked, Verdict,
};
use countersign_schemas::{Address, IntentId};
use serde_json::json;

use super::ends::{claim, withdraw};
use super::world::World;

/// Lays bytes on a chain that say nothing of themselves.
async fn foreign(world: &World, event: &str, intent: IntentId) -> Result<()> {
    let subject = format!("{event}.billing.{intent}");
    let out = Outgoing::raw(&subject, b"{}".as_slice().into());
    world.executor.publisher().publish(out).await?;
    Ok(())
}

async fn approved(world: &World) -> Result<(IntentId, u64)> {
    let intent = world.judge(Verdict::Allow, json!({})).await?;
    let subject = format!("tool.approved.billing.{intent}");
    world.event::<ToolApproved>(&subject).await?;
    Ok((intent, world.head(intent).await?.context("approved")?.seq))
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_bytes_on_a_chain_take_no_intent_out_of_the_sweep() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let (claimed, seq) = approved(&world).await?;
    claim(&world, claimed, seq).await?;
    foreign(&world, "tool.completed", claimed).await?;
    let (unclaimed, _) = approved(&world).await?;
    foreign(&world, "tool.started", unclaimed).await?;
    // A restart reads all of it again.
    running.stop().await?;
    let running = world.coordinator().await?;

    world.clock.advance(Duration::from_secs(46));
    world
        .event::<Handoff>(&format!("handoff.outcome.support.{claimed}"))
        .await?;
    let end: ToolCompleted = world
        .event(&format!("tool.completed.billing.{claimed}"))
        .await?;
    ensure!(end.outcome == Outcome::Unknown);

    world.clock.advance(Duration::from_secs(300));
    let end: ToolRevoked = world
        .event(&format!("tool.revoked.billing.{unclaimed}"))
        .await?;
    ensure!(end.code == RevokedCode::PermitExpired);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_waits_for_a_checker_that_was_away() -> Result<()> {
    let world = World::start().await?;
    let intent = IntentId::new_at(world.now());
    let agent = "billing".parse()?;
    let request = Address::ToolRequested { agent }.subject();
    let out = Outgoing::raw(request.as_str(), b"{}".as_slice().into());
    world.agent.publisher().publish(out).await?;
    let seq = withdraw(&world, intent).await?;
    world.clock.advance(Duration::from_secs(300));
    let running = world.coordinator().await?;
    world.until_withdrawals_came_back().await?;
    let refusals = format!("tool.refused.billing.*.{seq}");
    ensure!(
        world.count(&refusals).await? == 0,
        "refused before it was judged"
    );

    world.judge_this(intent, Verdict::Allow, json!({})).await?;
    let blocked = world.any(&format!("tool.*.billing.{intent}")).await?;
    if blocked.subject.starts_with("tool.blocked") {
        let subject = format!("tool.blocked.billing.{intent}");
        let end: ToolBlocked = world.event(&subject).await?;
        ensure!(end.code.as_str() == "withdrawn");
    } else {
        let subject = format!("tool.revoked.billing.{intent}");
        let end: ToolRevoked = world.event(&subject).await?;
        ensure!(end.code == RevokedCode::Withdrawn);
    }
    running.stop().await
}
