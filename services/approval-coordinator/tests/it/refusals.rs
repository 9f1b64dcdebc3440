//! What the coordinator refuses, waits with, or ends by itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use countersign_runtime::bus::Outgoing;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::health::Health;
use countersign_schemas::events::{
    ApprovalRequested, ApprovalResolved, ApprovalState, BlockedCode, ControlRefused, ToolApproved,
    ToolBlocked, Verdict, VoteChoice,
};
use countersign_schemas::{Address, ApprovalId, Digest, IntentId};
use serde_json::json;

use super::vote;
use crate::world::{World, eventually, verdict};

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_handle_is_refused_in_words() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let lee = world.person("lee").await?;
    let unknown = ApprovalId::for_intent(IntentId::new_at(world.now()));
    let ballot = vote(&unknown, Digest::of_bytes(b""), VoteChoice::Approve);
    let cases = [
        (serde_json::to_vec(&ballot)?, "approval.vote.lee", "unknown"),
        (b"{".to_vec(), "approval.vote.lee", "unreadable"),
        (b"{}".to_vec(), "window.requested.lee", "unreadable"),
    ];
    for (body, subject, code) in cases {
        let seq = lee
            .publisher()
            .publish(Outgoing::raw(subject, body.into()))
            .await?;
        let refused: ControlRefused = world.event(&format!("control.refused.*.{seq}")).await?;
        ensure!(
            refused.code == code && refused.person.as_str() == "lee",
            "{refused:?}"
        );
    }
    let mut foreign = verdict(Verdict::Allow, IntentId::new_at(world.now()), json!({}))?;
    foreign.agent = "crm".parse()?;
    let address = Address::PolicyChecked {
        agent: "billing".parse()?,
        intent: foreign.intent_id,
    };
    let out = Outgoing::event(&address, &foreign, &world.meta("policy-checker")?)?;
    world.checker.store_once(out).await?;
    world.any("deadletter.approval-coordinator.*").await?;
    ensure!(world.head(foreign.intent_id).await?.is_none());
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_sends_stops_nobody_and_goes_no_further() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let deep = (0..62).fold(json!("x"), |inner, _| json!([inner]));
    let hidden = "\u{7f}".repeat(60 * 1024);
    for input in [json!({ "a": deep }), json!({ "a": hidden })] {
        let intent = world
            .judge(Verdict::Ask, json!({ "input_redacted": input }))
            .await?;
        let blocked: ToolBlocked = world
            .event(&format!("tool.blocked.billing.{intent}"))
            .await?;
        ensure!(blocked.code == BlockedCode::InvalidInput, "{blocked:?}");
    }

    world.clock.advance(Duration::from_secs(40));
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let long = "x".repeat(60 * 1024);
    let secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
    for (said, told) in [(long.as_str(), None), (secret, None), (good, Some(good))] {
        let intent = IntentId::new_at(world.now());
        let body = serde_json::to_vec(&json!({"schema_version": 1, "intent_id": intent}))?;
        let mut out = Outgoing::raw("tool.withdrawn.billing", body.into());
        out.set("traceparent", said);
        let seq = world.agent.publisher().publish(out).await?;
        let refused = world.any(&format!("tool.refused.billing.*.{seq}")).await?;
        ensure!(refused.header("traceparent") == told, "{refused:?}");
    }
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_while_the_clock_is_wrong_and_denies_are_told() -> Result<()> {
    let world = World::start().await?;
    let now = world.now();
    world.clock.set(now.minus(Duration::from_secs(600)));
    let running = world.careful_coordinator().await?;
    let allowed = world.judge(Verdict::Allow, json!({})).await?;
    let denied = world.judge(Verdict::Deny, json!({})).await?;
    world
        .event::<ToolBlocked>(&format!("tool.blocked.billing.{denied}"))
        .await?;
    ensure!(
        world.head(allowed).await?.is_none(),
        "signed with a wrong clock"
    );
    eventually("it is signed by a clock that is right", || async {
        // It stands still, so one comparison may find it wrong again.
        world.clock.set(SystemClock.now());
        world.head(allowed).await.map(|head| head.map(drop))
    })
    .await?;
    world
        .event::<ToolApproved>(&format!("tool.approved.billing.{allowed}"))
        .await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_verdict_waits_and_a_vote_of_no_bridge_is_refused() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let newer = IntentId::new_at(world.now());
    let mut out = Outgoing::raw(&format!("policy.checked.billing.{newer}"), "{}".into());
    out.set("ce-type", "dev.countersign.policy.checked.v2");
    world.checker.store_once(out).await?;
    // What comes after it is handled, and it is not put aside.
    let after = world.judge(Verdict::Allow, json!({})).await?;
    world
        .event::<ToolApproved>(&format!("tool.approved.billing.{after}"))
        .await?;
    ensure!(world.count("deadletter.>").await? == 0);
    // Its ack follows the event that was waited for.
    eventually("only the newer one waits", || async {
        Ok((world.verdicts_waiting().await? == 1).then_some(()))
    })
    .await?;

    let id = ApprovalId::for_intent(after);
    let body = serde_json::to_vec(&vote(&id, Digest::of_bytes(b""), VoteChoice::Approve))?;
    let bridge = world.bridge("self").await?;
    let out = Outgoing::raw("approval.vote.lee.self", body.into());
    let seq = bridge.publisher().publish(out).await?;
    let refused: ControlRefused = world.event(&format!("control.refused.*.{seq}")).await?;
    ensure!(refused.code == "unknown_bridge", "{refused:?}");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_tool_ends_what_waits_for_people() -> Result<()> {
    let world = World::start().await?;
    let (running, _) = world.coordinator_of(None).await?;
    let asked = world.judge(Verdict::Ask, json!({})).await?;
    let requested = format!("approval.requested.a-{asked}");
    world.event::<ApprovalRequested>(&requested).await?;
    world.publish_another_bundle().await?;
    let blocked: ToolBlocked = world
        .event(&format!("tool.blocked.billing.{asked}"))
        .await?;
    ensure!(blocked.code == BlockedCode::ToolChanged, "{blocked:?}");
    let resolved = format!("approval.resolved.a-{asked}");
    let resolved: ApprovalResolved = world.event(&resolved).await?;
    ensure!(resolved.state == ApprovalState::Cancelled, "{resolved:?}");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_policy_bundle_denies_are_told_and_nobody_can_vote() -> Result<()> {
    let world = World::start().await?;
    let broken = [None, Some("permit (principal, action")];
    for policy in broken {
        let (running, health) = world.coordinator_of(policy).await?;
        let denied = world.judge(Verdict::Deny, json!({})).await?;
        let blocked: ToolBlocked = world
            .event(&format!("tool.blocked.billing.{denied}"))
            .await?;
        ensure!(!blocked.reasons.is_empty());
        let policy = health.report().get("policy").cloned();
        ensure!(matches!(policy, Some(Health::Failing { .. })), "{policy:?}");
        let asked = world.judge(Verdict::Ask, json!({})).await?;
        let id = ApprovalId::for_intent(asked);
        let lee = world.person("lee").await?;
        let digest = world.digest(&lee, "lee", &id).await?;
        let approve = vote(&id, digest, VoteChoice::Approve);
        ensure!(world.vote(&lee, "lee", &approve).await?.code == "not_a_member");
        running.stop().await?;
    }
    Ok(())
}
