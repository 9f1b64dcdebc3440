//! What operators find out about outcomes that nobody knew.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use countersign_domain::approvals::{IntentOutcome, ViewReply};
use countersign_runtime::bus::{Bus, Outgoing};
use countersign_schemas::events::{
    ControlRefused, Handoff, Outcome, OutcomeFound, OutcomeReconciled, ToolApproved, ToolCompleted,
    Verdict,
};
use countersign_schemas::{Address, IntentId};
use serde_json::json;

use super::ends::claim;
use super::world::World;

/// An intent that was claimed and never heard of again.
async fn lost(world: &World) -> Result<IntentId> {
    let intent = world.judge(Verdict::Allow, json!({})).await?;
    world
        .event::<ToolApproved>(&format!("tool.approved.billing.{intent}"))
        .await?;
    let seq = world.head(intent).await?.context("approved")?.seq;
    claim(world, intent, seq).await?;
    world.clock.advance(Duration::from_secs(46));
    let end: ToolCompleted = world
        .event(&format!("tool.completed.billing.{intent}"))
        .await?;
    ensure!(end.outcome == Outcome::Unknown);
    Ok(intent)
}

async fn say(world: &World, olga: &Bus, intent: IntentId, outcome: Outcome) -> Result<u64> {
    let found = OutcomeFound {
        schema_version: 1,
        intent_id: intent,
        agent: "billing".parse()?,
        outcome,
        reason: "it is in the outbox".to_owned(),
    };
    let address = Address::OutcomeFound {
        operator: "olga".parse()?,
    };
    let out = Outgoing::event(&address, &found, &world.meta("olga")?)?;
    Ok(olga.publisher().publish(out).await?)
}

async fn refusal(world: &World, seq: u64) -> Result<ControlRefused> {
    world.event(&format!("control.refused.*.{seq}")).await
}

async fn shown(world: &World, olga: &Bus, intent: IntentId) -> Result<IntentOutcome> {
    let ask = json!({"op": "outcome", "intent_id": intent});
    match world.ask_view(olga, "olga", ask).await? {
        ViewReply::Outcome { outcome_of } => Ok(outcome_of),
        other => anyhow::bail!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_is_recorded_once_told_and_stands() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let olga = world.operator().await?;
    let intent = lost(&world).await?;
    let before = shown(&world, &olga, intent).await?;
    ensure!(before.outcome == Some(Outcome::Unknown) && before.found.is_none());

    say(&world, &olga, intent, Outcome::Succeeded).await?;
    let subject = format!("outcome.reconciled.billing.{intent}");
    let record: OutcomeReconciled = world.event(&subject).await?;
    ensure!(record.outcome == Outcome::Succeeded && record.operator.as_str() == "olga");
    let told: Handoff = world
        .event(&format!("handoff.outcome.support.{intent}-found"))
        .await?;
    ensure!(told.text.contains("olga found at"), "{}", told.text);
    ensure!(shown(&world, &olga, intent).await?.found == Some(record));

    // The same again is no fault and no second record; another one is refused.
    say(&world, &olga, intent, Outcome::Succeeded).await?;
    let seq = say(&world, &olga, intent, Outcome::Failed).await?;
    let refused = refusal(&world, seq).await?;
    ensure!(refused.code == "already_reconciled", "{refused:?}");
    ensure!(refused.message.contains("olga found"), "{refused:?}");
    ensure!(world.count(&subject).await? == 1);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_or_no_finding_is_refused_in_words() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let olga = world.operator().await?;
    let denied = world.judge(Verdict::Deny, json!({})).await?;
    world.any(&format!("tool.blocked.billing.{denied}")).await?;
    let nowhere = IntentId::new_at(world.now());
    for (intent, part) in [(denied, "never ran"), (nowhere, "there is no intent")] {
        let seq = say(&world, &olga, intent, Outcome::Failed).await?;
        let refused = refusal(&world, seq).await?;
        ensure!(refused.code == "not_unknown", "{refused:?}");
        ensure!(refused.message.contains(part), "{refused:?}");
    }
    let out = Outgoing::raw("outcome.found.olga", b"{".to_vec().into());
    let seq = olga.publisher().publish(out).await?;
    ensure!(refusal(&world, seq).await?.code == "unreadable");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_coordinators_record_one_of_two_findings() -> Result<()> {
    let world = World::start().await?;
    let first = world.coordinator().await?;
    let second = world.coordinator().await?;
    let olga = world.operator().await?;
    let intent = lost(&world).await?;
    let one = say(&world, &olga, intent, Outcome::Succeeded).await?;
    let two = say(&world, &olga, intent, Outcome::Failed).await?;
    let subject = format!("outcome.reconciled.billing.{intent}");
    let record: OutcomeReconciled = world.event(&subject).await?;
    let loser = match record.outcome {
        Outcome::Succeeded => two,
        Outcome::Failed | Outcome::Unknown => one,
    };
    let refused = refusal(&world, loser).await?;
    ensure!(refused.code == "already_reconciled", "{refused:?}");
    ensure!(world.count(&subject).await? == 1);
    first.stop().await?;
    second.stop().await
}
