//! Windows that take several people: one asks, the others are asked.

use anyhow::{Context as _, Result, ensure};
use countersign_domain::approvals::{Approval, Ballot, ViewReply};
use countersign_runtime::bus::Outgoing;
use countersign_runtime::bus::layout::APPROVALS;
use countersign_runtime::bus::{Bucket, Bus};
use countersign_schemas::events::{
    ApprovalKind, ApprovalRequested, ApprovalResolved, ApprovalState, ApprovalVoted,
    ControlRefused, Handoff, Verdict, VoteChoice, WindowClosing, WindowOpened,
};
use countersign_schemas::{Address, ApprovalId, IntentId, SeqToken};
use serde_json::json;

use crate::freeze::switch;
use crate::vote;
use crate::windows::{lifted, request};
use crate::world::{MAIL_TOOL, World, company, eventually, mail_policy};

/// The approval that a request at `seq` waits for.
async fn waiting(world: &World, seq: u64) -> Result<ApprovalRequested> {
    let answer: ApprovalVoted = world.event(&format!("approval.voted.*.*.{seq}")).await?;
    ensure!(
        answer.counted && answer.state == ApprovalState::Pending,
        "{answer:?}"
    );
    let id = &answer.approval_id;
    ensure!(id.as_str().ends_with(&format!("-{seq}")), "{id}");
    world.event(&format!("approval.requested.{id}")).await
}

async fn approve(world: &World, who: &str, id: &ApprovalId) -> Result<ApprovalVoted> {
    let bus = world.person(who).await?;
    let digest = world.digest(&bus, who, id).await?;
    world
        .vote(&bus, who, &vote(id, digest, VoteChoice::Approve))
        .await
}

async fn resolved(world: &World, id: &ApprovalId) -> Result<ApprovalResolved> {
    world.event(&format!("approval.resolved.{id}")).await
}

/// A mail that these many of support must grant, of the tool that the rules know.
async fn mail(world: &World, quorum: u32) -> Result<IntentId> {
    let ask = json!({"approvers": [{"team": "support", "quorum": quorum}], "expires_in_s": 600,
        "chat_may_approve": false, "self_allowed": false, "excluded": [],
        "window_max_s": 3_600});
    let changes = json!({"ask": ask, "tool_digest": world.tool_digest()?});
    world.judge(Verdict::Ask, changes).await
}

/// Waits until the window lifts a mail: every coordinator hears of it by the bucket, and
/// one that has not yet asks people.
async fn lifts_soon(world: &World) -> Result<()> {
    eventually("a window that lifts a mail", || async {
        let intent = mail(world, 2).await?;
        Ok(lifted(world, intent).await?.then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_two_people_opens_once_with_the_second_vote() -> Result<()> {
    let world = World::start().await?;
    let one = world.coordinator_asking("support:2").await?;
    let two = world.coordinator_asking("support:2").await?;
    let seq = request(&world, "lee", 600).await?;
    let asked = waiting(&world, seq).await?;
    let id = asked.approval_id.clone();
    ensure!(asked.kind == ApprovalKind::Window && asked.items.is_empty());
    ensure!(asked.requester.id.as_str() == "lee" && !asked.view_complete);
    let window = asked.window.context("what would open")?;
    ensure!(window.limits.seconds == 600 && window.limits.max_uses == Some(1));
    let told: Handoff = world
        .event(&format!("handoff.approval.support.{id}"))
        .await?;
    ensure!(told.text.contains("So far lee said yes"), "{}", told.text);
    ensure!(
        world.count("window.opened.>").await? == 0,
        "one is not enough"
    );
    let lee = world.person("lee").await?;
    match world.ask_view(&lee, "lee", json!({"op": "list"})).await? {
        ViewReply::Listed { approvals, .. } => {
            let listed = approvals.first().context("it is listed")?;
            ensure!(listed.asked.approval_id == id && listed.votes.len() == 1);
        }
        other => anyhow::bail!("{other:?}"),
    }
    // What it would lift is asked about as long as it waits.
    let early = mail(&world, 2).await?;
    ensure!(!lifted(&world, early).await?);
    let again = approve(&world, "lee", &id).await?;
    ensure!(!again.counted && again.code == "already_voted", "{again:?}");
    close(&world, &id, "not_open").await?;

    let voted = approve(&world, "sam", &id).await?;
    ensure!(voted.state == ApprovalState::Approved, "{voted:?}");
    let opened: WindowOpened = world.event("window.opened.billing.*").await?;
    ensure!(opened.window_id.as_str() == id.as_str() && opened.votes.len() == 2);
    ensure!(
        opened.opened_at == voted.voted_at,
        "its time counts from the approval"
    );
    ensure!(opened.approval_id.as_ref() == Some(&id));
    ensure!(resolved(&world, &id).await?.votes.len() == 2);
    lifts_soon(&world).await?;
    for filter in [
        "window.opened.>",
        "approval.requested.w-*",
        "approval.resolved.w-*",
    ] {
        let filter = filter.replace("w-*", id.as_str());
        ensure!(world.count(&filter).await? == 1, "{filter}");
    }
    one.stop().await?;
    two.stop().await
}

/// Tries to close what is not open.
async fn close(world: &World, id: &ApprovalId, code: &str) -> Result<()> {
    let closing = WindowClosing {
        schema_version: 1,
        window_id: id.as_str().parse()?,
        reason: None,
    };
    let address = Address::WindowClosing {
        approver: "sam".parse()?,
    };
    let out = Outgoing::event(&address, &closing, &world.meta("sam")?)?;
    let seq = world.person("sam").await?.publisher().publish(out).await?;
    let refused: ControlRefused = world.event(&format!("control.refused.*.{seq}")).await?;
    ensure!(refused.code == code, "{refused:?}");
    Ok(())
}

/// Leaves behind what a coordinator does that dies between a vote and what follows from it.
async fn vote_and_die(bus: &Bus, id: &ApprovalId, world: &World) -> Result<()> {
    let bucket = Bucket::new(bus, APPROVALS);
    let entry = bucket.get(id.as_str()).await?.context("no approval")?;
    let mut approval: Approval = serde_json::from_slice(&entry.value)?;
    let vote = vote(id, approval.digest(), VoteChoice::Approve);
    let (sam, via) = ("sam".parse()?, "self".parse()?);
    let ballot = Ballot {
        approver: &sam,
        via: &via,
        message: &SeqToken::new("abc".parse()?, 1),
        stored_at: world.now(),
        reason: None,
        vote: &vote,
    };
    let answer = approval.vote(&ballot, &company()?);
    ensure!(approval.state() == ApprovalState::Approved, "{answer:?}");
    let value = serde_json::to_vec(&approval)?.into();
    bucket.update(id.as_str(), value, entry.revision).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_the_last_vote_opens_the_window_once() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator_asking("support:2").await?;
    let seq = request(&world, "lee", 600).await?;
    let id = waiting(&world, seq).await?.approval_id;
    running.stop().await?;
    vote_and_die(&world.as_coordinator().await?, &id, &world).await?;
    let one = world.coordinator_asking("support:2").await?;
    let two = world.coordinator_asking("support:2").await?;
    let opened: WindowOpened = world.event(&format!("window.opened.billing.{id}")).await?;
    ensure!(opened.votes.len() == 2, "{opened:?}");
    ensure!(resolved(&world, &id).await?.state == ApprovalState::Approved);
    lifts_soon(&world).await?;
    ensure!(world.count("window.opened.>").await? == 1);
    one.stop().await?;
    two.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_beats_requests_for_windows_and_votes_on_them() -> Result<()> {
    let world = World::start().await?;
    let olga = world.operator().await?;
    let running = world.coordinator_asking("support:2").await?;
    let seq = request(&world, "lee", 600).await?;
    let id = waiting(&world, seq).await?.approval_id;
    let scope = || json!({"tool": "mail.send"});
    switch(&world, &olga, "freeze", scope()).await?;
    let seq = request(&world, "lee", 600).await?;
    let refused: ControlRefused = world.event(&format!("control.refused.*.{seq}")).await?;
    ensure!(refused.code == "frozen", "{refused:?}");
    let voted = approve(&world, "sam", &id).await?;
    ensure!(
        voted.code == "frozen" && voted.state == ApprovalState::Pending,
        "{voted:?}"
    );
    switch(&world, &olga, "unfreeze", scope()).await?;
    let voted = eventually("the vote counts again", || async {
        let voted = approve(&world, "sam", &id).await?;
        Ok((voted.code != "frozen").then_some(voted))
    })
    .await?;
    ensure!(voted.state == ApprovalState::Approved, "{voted:?}");
    ensure!(world.count("window.opened.>").await? <= 1);
    world.any(&format!("window.opened.billing.{id}")).await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_change_while_people_decide_judge_the_window_again() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator_asking("support:2").await?;
    let mut waits = Vec::new();
    for who in ["lee", "sam", "lee"] {
        let seq = request(&world, who, 600).await?;
        waits.push(waiting(&world, seq).await?.approval_id);
    }
    let [same, stricter, other] = waits.as_slice() else {
        anyhow::bail!("three windows wait");
    };
    let policies = "policies/all.cedar";
    let note = mail_policy("support:2") + "\n// nothing new\n";
    world.publish_with(policies, &note).await?;
    let voted = approve(&world, "sam", same).await?;
    ensure!(voted.state == ApprovalState::Approved, "{voted:?}");

    let never = mail_policy("support:2").replace("@window(\"1h\")", "");
    world.publish_with(policies, &never).await?;
    let voted = approve(&world, "lee", stricter).await?;
    ensure!(
        voted.counted && voted.state == ApprovalState::Failed,
        "{voted:?}"
    );
    ensure!(voted.message.contains("the rules changed"), "{voted:?}");

    let tool = MAIL_TOOL.replace("Sends a mail", "Sends a mail, also abroad");
    world.publish_with("catalog/tools.toml", &tool).await?;
    let ended = resolved(&world, other).await?;
    ensure!(ended.state == ApprovalState::Cancelled, "{ended:?}");
    ensure!(ended.message.contains("definition changed"), "{ended:?}");
    ensure!(world.count("window.opened.>").await? == 1, "only the first");
    running.stop().await
}
