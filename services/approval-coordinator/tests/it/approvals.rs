//! People decide, nobody decides, and nobody is asked.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use countersign_domain::approvals::{Approval, ViewReply};
use countersign_runtime::bus::{Bucket, layout};
use countersign_schemas::events::{
    ApprovalResolved, ApprovalState, ApprovalVoted, BasisKind, BlockedCode, Handoff, ToolApproved,
    ToolBlocked, Verdict, VoteChoice,
};
use countersign_schemas::{ApprovalId, Digest};
use serde_json::json;

use super::{SOON, vote};
use crate::world::World;

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
    let ask = json!({"ask": {"approvers": [{"team": "support", "quorum": 1}], "expires_in_s": SOON,
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
    let ask = json!({"ask": {"approvers": [{"team": "support", "quorum": 1}], "expires_in_s": SOON,
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
