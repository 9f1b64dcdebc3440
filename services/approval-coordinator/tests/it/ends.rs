//! Every approved intent ends, and what is withdrawn does not run.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use countersign_runtime::bus::{Append, Outgoing};
use countersign_schemas::events::{
    ApprovalResolved, ApprovalState, BlockedCode, Handoff, Outcome, RefusedCode, RevokedCode,
    ToolApproved, ToolBlocked, ToolCompleted, ToolRefused, ToolRevoked, ToolStarted, ToolWithdrawn,
    Verdict,
};
use countersign_schemas::{Address, ApprovalId, IntentId};
use serde_json::json;

use crate::world::World;

pub(crate) async fn claim(world: &World, intent: IntentId, expected: u64) -> Result<()> {
    let started = ToolStarted {
        schema_version: 1,
        intent_id: intent,
        agent: "billing".parse()?,
        tool: "mail.send".parse()?,
        executor: "executor-1".parse()?,
        lease_until: world.now().plus(Duration::from_secs(40)),
    };
    let address = Address::ToolStarted {
        agent: "billing".parse()?,
        intent,
    };
    let out = Outgoing::event(&address, &started, &world.meta("tool-executor")?)?;
    let filter = Address::chain_filter(&started.agent, intent);
    let stored = world.executor.append(out, &filter, expected).await?;
    ensure!(matches!(stored, Append::Stored(_)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_of_an_unknown_outcome_that_an_executor_found() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let mut told = Vec::new();
    for outcome in [Outcome::Failed, Outcome::Unknown] {
        let intent = world.judge(Verdict::Allow, json!({})).await?;
        world
            .event::<ToolApproved>(&format!("tool.approved.billing.{intent}"))
            .await?;
        let seq = world.head(intent).await?.context("approved")?.seq;
        claim(&world, intent, seq).await?;
        let claimed = world.head(intent).await?.context("claimed")?.seq;
        let completed = ToolCompleted {
            schema_version: 1,
            intent_id: intent,
            agent: "billing".parse()?,
            tool: "mail.send".parse()?,
            outcome,
            output: None,
            output_summary: "The connection broke after it was sent.".to_owned(),
            changes: Vec::new(),
            error: None,
            duration_ms: 10,
        };
        let address = Address::ToolCompleted {
            agent: "billing".parse()?,
            intent,
        };
        let out = Outgoing::event(&address, &completed, &world.meta("tool-executor")?)?;
        let filter = Address::chain_filter(&completed.agent, intent);
        let stored = world.executor.append(out, &filter, claimed).await?;
        ensure!(matches!(stored, Append::Stored(_)));
        told.push(format!("handoff.outcome.support.{intent}"));
    }
    let [failed, unknown] = told.as_slice() else {
        anyhow::bail!("two outcomes");
    };
    let handoff: Handoff = world.event(unknown).await?;
    ensure!(handoff.code == "unknown" && handoff.title.starts_with("Did it happen?"));
    ensure!(world.count(failed).await? == 0, "that one is known");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_approved_intent_gets_an_end() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let unclaimed = world.judge(Verdict::Allow, json!({})).await?;
    let lost = world.judge(Verdict::Allow, json!({})).await?;
    world
        .event::<ToolApproved>(&format!("tool.approved.billing.{unclaimed}"))
        .await?;
    world
        .event::<ToolApproved>(&format!("tool.approved.billing.{lost}"))
        .await?;
    let seq = world.head(lost).await?.context("approved")?.seq;
    claim(&world, lost, seq).await?;

    world.clock.advance(Duration::from_secs(46));
    let end: ToolCompleted = world
        .event(&format!("tool.completed.billing.{lost}"))
        .await?;
    ensure!(end.outcome == Outcome::Unknown);
    world
        .event::<Handoff>(&format!("handoff.outcome.support.{lost}"))
        .await?;
    ensure!(
        world
            .subject_of_head(unclaimed)
            .await?
            .starts_with("tool.approved")
    );
    running.stop().await?;

    world.clock.advance(Duration::from_secs(300));
    let running = world.coordinator().await?;
    let end: ToolRevoked = world
        .event(&format!("tool.revoked.billing.{unclaimed}"))
        .await?;
    ensure!(end.code == RevokedCode::PermitExpired);
    ensure!(world.count(&format!("tool.*.billing.{lost}")).await? == 3);
    running.stop().await
}

pub(crate) async fn withdraw(world: &World, intent: IntentId) -> Result<u64> {
    let event = ToolWithdrawn {
        schema_version: 1,
        intent_id: intent,
        reason: None,
    };
    let agent = "billing".parse()?;
    let out = Outgoing::event(
        &Address::ToolWithdrawn { agent },
        &event,
        &world.meta("billing")?,
    )?;
    Ok(world.agent.publisher().publish(out).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_does_not_run() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let waiting = world.judge(Verdict::Ask, json!({})).await?;
    let id = ApprovalId::for_intent(waiting);
    world
        .event::<Handoff>(&format!("handoff.approval.support.{id}"))
        .await?;
    let approved = world.judge(Verdict::Allow, json!({})).await?;
    world
        .event::<ToolApproved>(&format!("tool.approved.billing.{approved}"))
        .await?;

    withdraw(&world, waiting).await?;
    withdraw(&world, approved).await?;
    let blocked: ToolBlocked = world
        .event(&format!("tool.blocked.billing.{waiting}"))
        .await?;
    ensure!(blocked.code == BlockedCode::Withdrawn);
    let resolved: ApprovalResolved = world.event(&format!("approval.resolved.{id}")).await?;
    ensure!(resolved.state == ApprovalState::Cancelled);
    let revoked: ToolRevoked = world
        .event(&format!("tool.revoked.billing.{approved}"))
        .await?;
    ensure!(revoked.code == RevokedCode::Withdrawn);

    world.clock.advance(Duration::from_secs(40));
    let seq = withdraw(&world, IntentId::new_at(world.now())).await?;
    let refused: ToolRefused = world
        .event(&format!("tool.refused.billing.*.{seq}"))
        .await?;
    ensure!(refused.code == RefusedCode::IntentOutOfTime);
    running.stop().await
}
