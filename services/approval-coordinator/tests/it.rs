//! The coordinator against a real nats-server with the accounts and permissions of a
//! deployment: each test has a server of its own.

#[path = "it/ahead.rs"]
mod ahead;
#[path = "it/bundle_deaths.rs"]
mod bundle_deaths;
#[path = "it/bundle_names.rs"]
mod bundle_names;
#[path = "it/bundles.rs"]
mod bundles;
#[path = "it/foreign.rs"]
mod foreign;
#[path = "it/forms.rs"]
mod forms;
#[path = "it/found.rs"]
mod found;
#[path = "it/freeze.rs"]
mod freeze;
#[path = "it/members.rs"]
mod members;
#[path = "it/orders.rs"]
mod orders;
#[path = "it/rejudge.rs"]
mod rejudge;
#[path = "it/rejudge_bundles.rs"]
mod rejudge_bundles;
#[path = "it/silence.rs"]
mod silence;
#[path = "it/thaw.rs"]
mod thaw;
#[path = "it/theirs.rs"]
mod theirs;
#[path = "it/windows.rs"]
mod windows;
#[path = "it/world.rs"]
mod world;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use countersign_domain::approvals::{Approval, ViewReply};
use countersign_runtime::bus::layout;
use countersign_runtime::bus::{Append, Bucket, Outgoing};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::health::Health;
use countersign_schemas::events::{
    ApprovalRequested, ApprovalResolved, ApprovalState, ApprovalVote, ApprovalVoted, BasisKind,
    BlockedCode, ControlRefused, Handoff, Outcome, RefusedCode, RevokedCode, ToolApproved,
    ToolBlocked, ToolCompleted, ToolRefused, ToolRevoked, ToolStarted, ToolWithdrawn, Verdict,
    VoteChoice,
};
use countersign_schemas::{Address, ApprovalId, Digest, IntentId};
use serde_json::json;
use world::{World, verdict};

fn vote(id: &ApprovalId, digest: Digest, choice: VoteChoice) -> ApprovalVote {
    ApprovalVote {
        schema_version: 1,
        approval_id: id.clone(),
        digest,
        vote: choice,
        items: None,
        window: None,
        reason: Some("looks right".to_owned()),
    }
}

#[test]
fn the_binary_answers() -> Result<()> {
    let binary = env!("CARGO_BIN_EXE_countersign-approval-coordinator");
    let missing = Command::new(binary)
        .args(["--config", "/nonexistent/countersign.toml"])
        .output()?;
    ensure!(missing.status.code() == Some(64), "{missing:?}");
    ensure!(String::from_utf8_lossy(&missing.stderr).contains("/nonexistent"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_and_decide_and_others_do_not() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let intent = world.judge(Verdict::Ask, json!({})).await?;
    let id = ApprovalId::for_intent(intent);
    let lee = world.person("lee").await?;
    let eve = world.person("eve").await?;

    world
        .event::<Handoff>(&format!("handoff.approval.support.{id}"))
        .await?;
    let ViewReply::Listed { approvals, more } = world
        .ask_view(&lee, "lee", json!({"op": "list", "mine": true}))
        .await?
    else {
        anyhow::bail!("no list")
    };
    ensure!(approvals.len() == 1 && more == 0 && approvals[0].may_vote);
    let show = json!({"op": "show", "approval_id": id.as_str()});
    let ViewReply::Shown { approval } = world.ask_view(&lee, "lee", show.clone()).await? else {
        anyhow::bail!("not shown")
    };
    let view = approval
        .view
        .clone()
        .context("a member sees the whole view")?;
    ensure!(view.digest()? == approval.digest);
    let ViewReply::Shown { approval: hidden } = world.ask_view(&eve, "eve", show).await? else {
        anyhow::bail!("not shown")
    };
    ensure!(hidden.view.is_none() && !hidden.listed.may_vote);

    let digest = approval.digest;
    let wrong = vote(&id, Digest::of_bytes(b"x"), VoteChoice::Approve);
    let right = vote(&id, digest, VoteChoice::Approve);
    ensure!(world.vote(&eve, "eve", &right).await?.code == "not_a_member");
    ensure!(world.vote(&lee, "lee", &wrong).await?.code == "wrong_digest");
    let counted = world.vote(&lee, "lee", &right).await?;
    ensure!(counted.counted && counted.state == ApprovalState::Approved);

    let approved: ToolApproved = world
        .event(&format!("tool.approved.billing.{intent}"))
        .await?;
    ensure!(approved.basis.kind == BasisKind::Person);
    ensure!(approved.basis.approvers == ["lee".parse()?]);
    let resolved: ApprovalResolved = world.event(&format!("approval.resolved.{id}")).await?;
    ensure!(resolved.state == ApprovalState::Approved);
    world
        .event::<Handoff>(&format!("handoff.resolved.support.{id}"))
        .await?;
    let sam = world.person("sam").await?;
    let late: ApprovalVoted = world.vote(&sam, "sam", &right).await?;
    ensure!(late.code == "already_resolved" && late.message.contains("approved by lee"));
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_survives_a_restart_and_is_no_denial() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let ask = json!({"ask": {"approvers": [{"team": "support", "quorum": 1}], "expires_in_s": 2,
        "chat_may_approve": false, "self_allowed": false, "excluded": []}});
    let intent = world.judge(Verdict::Ask, ask).await?;
    let id = ApprovalId::for_intent(intent);
    world
        .event::<Handoff>(&format!("handoff.approval.support.{id}"))
        .await?;
    running.stop().await?;
    world.until_fired(&id).await?;
    ensure!(
        world.head(intent).await?.is_none(),
        "nobody was there to decide"
    );

    let running = world.coordinator().await?;
    let blocked: ToolBlocked = world
        .event(&format!("tool.blocked.billing.{intent}"))
        .await?;
    ensure!(blocked.code == BlockedCode::ApprovalExpired);
    let resolved: ApprovalResolved = world.event(&format!("approval.resolved.{id}")).await?;
    ensure!(resolved.state == ApprovalState::Expired);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_in_time_counts_though_nobody_was_there_until_later() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let ask = json!({"ask": {"approvers": [{"team": "support", "quorum": 1}], "expires_in_s": 3,
        "chat_may_approve": false, "self_allowed": false, "excluded": []}});
    let intent = world.judge(Verdict::Ask, ask).await?;
    let id = ApprovalId::for_intent(intent);
    world
        .event::<Handoff>(&format!("handoff.approval.support.{id}"))
        .await?;
    let lee = world.person("lee").await?;
    let digest = world.digest(&lee, "lee", &id).await?;
    running.stop().await?;
    world
        .cast(&lee, "lee", &vote(&id, digest, VoteChoice::Approve))
        .await?;
    world.until_fired(&id).await?;
    let running = world.coordinator().await?;
    world
        .event::<ToolApproved>(&format!("tool.approved.billing.{intent}"))
        .await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn allowed_and_denied_are_decided_once_by_two_coordinators() -> Result<()> {
    let world = World::start().await?;
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    let mut intents = Vec::new();
    for n in 0..60 {
        let kind = if n % 3 == 0 {
            Verdict::Deny
        } else {
            Verdict::Allow
        };
        intents.push((kind, world.judge(kind, json!({})).await?));
    }
    for (kind, intent) in &intents {
        match kind {
            Verdict::Allow => {
                world
                    .event::<ToolApproved>(&format!("tool.approved.billing.{intent}"))
                    .await?;
            }
            _ => {
                world
                    .event::<ToolBlocked>(&format!("tool.blocked.billing.{intent}"))
                    .await?;
                world
                    .event::<Handoff>(&format!("handoff.blocked.support.{intent}"))
                    .await?;
            }
        }
    }
    one.stop().await?;
    two.stop().await?;
    let decisions = world.count("tool.*.billing.*").await?;
    ensure!(decisions == intents.len(), "{decisions} decisions");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_stored_before_a_crash_is_told_after_it() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let intent = world.judge(Verdict::Ask, json!({})).await?;
    let id = ApprovalId::for_intent(intent);
    world
        .event::<Handoff>(&format!("handoff.approval.support.{id}"))
        .await?;
    running.stop().await?;

    let bucket = Bucket::new(&world.as_coordinator().await?, layout::APPROVALS);
    let entry = bucket.get(id.as_str()).await?.context("kept")?;
    let mut approval: Approval = serde_json::from_slice(&entry.value)?;
    ensure!(approval.cancel("the last words of a coordinator", world.now()));
    let value = serde_json::to_vec(&approval)?;
    bucket
        .update(id.as_str(), value.into(), entry.revision)
        .await?;

    world.clock.advance(Duration::from_secs(60));
    let running = world.coordinator().await?;
    let blocked: ToolBlocked = world
        .event(&format!("tool.blocked.billing.{intent}"))
        .await?;
    ensure!(blocked.code == BlockedCode::Withdrawn);
    let resolved: ApprovalResolved = world.event(&format!("approval.resolved.{id}")).await?;
    ensure!(resolved.message == "the last words of a coordinator");
    world
        .event::<Handoff>(&format!("handoff.resolved.support.{id}"))
        .await?;
    // What has ended leaves the bucket an hour after the horizon, or it would fill it.
    ensure!(world.life_in_bucket(&id).await? == "90000");
    running.stop().await
}

async fn claim(world: &World, intent: IntentId, expected: u64) -> Result<()> {
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

async fn withdraw(world: &World, intent: IntentId) -> Result<u64> {
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
    world.clock.set(SystemClock.now());
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
    ensure!(world.verdicts_waiting().await? == 1);

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
