//! What comes while nobody decides, and in whose place people vote: reminders, further
//! teams and ends come once, whoever restarts and however many coordinators there are.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use countersign_domain::approvals::{Approval, ViewReply};
use countersign_domain::decision::Decision;
use countersign_runtime::bus::layout::APPROVALS;
use countersign_runtime::bus::{Bucket, Cas, Outgoing};
use countersign_schemas::events::{
    ApprovalRequested, ApprovalResolved, ApprovalState, BlockedCode, Handoff, ToolApproved,
    ToolBlocked, ToolRevoked, Verdict, VoteChoice,
};
use countersign_schemas::{Address, ApprovalId, IntentId};
use serde_json::{Value, json};

use crate::ends::withdraw;
use crate::world::{Running, World, eventually};
use crate::{SOON, vote};

/// An ask of `team` with more of its fields.
fn ask(team: &str, more: Value) -> Value {
    let mut ask = json!({"approvers": [{"team": team, "quorum": 1}], "expires_in_s": 600,
        "chat_may_approve": false, "self_allowed": false, "excluded": []});
    if let (Some(ask), Value::Object(more)) = (ask.as_object_mut(), more) {
        ask.extend(more);
    }
    json!({ "ask": ask })
}

async fn opened(world: &World, changes: Value) -> Result<(IntentId, ApprovalId)> {
    let intent = world.judge(Verdict::Ask, changes).await?;
    let id = ApprovalId::for_intent(intent);
    world
        .event::<ApprovalRequested>(&format!("approval.requested.{id}"))
        .await?;
    world.any(&format!("handoff.approval.*.{id}")).await?;
    Ok((intent, id))
}

async fn stored(world: &World, id: &ApprovalId) -> Result<(Approval, u64, Bucket)> {
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    let entry = bucket.get(id.as_str()).await?.context("kept")?;
    let approval = serde_json::from_slice(&entry.value)?;
    Ok((approval, entry.revision, bucket))
}

/// Stores `approval` as a coordinator does that dies right after.
async fn store(bucket: &Bucket, approval: &Approval, revision: u64) -> Result<()> {
    let value = serde_json::to_vec(approval)?;
    let kept = bucket
        .update(approval.id().as_str(), value.into(), revision)
        .await?;
    ensure!(matches!(kept, Cas::Stored(_)));
    Ok(())
}

/// `approval` with another value at `pointer`, as a death leaves it.
fn with(approval: &Approval, pointer: &str, value: Value) -> Result<Approval> {
    let mut all = serde_json::to_value(approval)?;
    *all.pointer_mut(pointer).context("a field of an approval")? = value;
    Ok(serde_json::from_value(all)?)
}

async fn until_settled(world: &World, id: &ApprovalId) -> Result<Approval> {
    let look = || async {
        let (approval, ..) = stored(world, id).await?;
        Ok(approval.is_settled().then_some(approval))
    };
    eventually("the approval is settled", look).await
}

async fn two(world: &World) -> Result<[Running; 2]> {
    Ok([world.coordinator().await?, world.coordinator().await?])
}

async fn stop(coordinators: [Running; 2]) -> Result<()> {
    for running in coordinators {
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reminders_and_the_next_team_come_at_their_times_and_once() -> Result<()> {
    let world = World::start().await?;
    let coordinators = two(&world).await?;
    let steps = json!([{"after_s": SOON, "team": "heads", "instead_of": ["support"]}]);
    let more = json!({"remind_after_s": [1, SOON + 1], "escalation": steps});
    let (intent, id) = opened(&world, ask("support", more)).await?;
    let eve = world.person("eve").await?;
    let digest = world.digest(&eve, "eve", &id).await?;
    let approve = vote(&id, digest, VoteChoice::Approve);
    let early = world.vote(&eve, "eve", &approve).await?;
    ensure!(early.code == "not_a_member", "{early:?}");

    let first = format!("handoff.reminder.support.{id}-1");
    let first: Handoff = world.event(&first).await?;
    ensure!(first.text.contains("reminder 1"), "{}", first.text);
    let next: Handoff = world.event(&format!("handoff.approval.heads.{id}")).await?;
    ensure!(next.text.contains("in place of support"), "{}", next.text);
    ensure!(next.people == ["eve".parse()?], "{:?}", next.people);
    for team in ["support", "heads"] {
        let second = format!("handoff.reminder.{team}.{id}-2");
        world.event::<Handoff>(&second).await?;
    }
    let counted = world.vote(&eve, "eve", &approve).await?;
    ensure!(
        counted.counted && counted.state == ApprovalState::Approved,
        "{counted:?}"
    );
    world
        .event::<ToolApproved>(&format!("tool.approved.billing.{intent}"))
        .await?;
    world.any(&format!("handoff.resolved.heads.{id}")).await?;
    until_settled(&world, &id).await?;
    stop(coordinators).await?;
    ensure!(world.count("handoff.reminder.>").await? == 3);
    ensure!(world.count("handoff.approval.>").await? == 2);
    ensure!(world.count("handoff.resolved.>").await? == 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_noted_before_a_crash_is_told_after_it_and_what_was_told_is_not() -> Result<()> {
    let world = World::start().await?;
    let coordinators = two(&world).await?;
    let steps = json!([{"after_s": 200, "team": "heads", "instead_of": ["support"]}]);
    let more = json!({"remind_after_s": [100, 300], "escalation": steps});
    let (_, id) = opened(&world, ask("support", more)).await?;
    stop(coordinators).await?;

    // Dies between noting and telling.
    let (mut approval, revision, bucket) = stored(&world, &id).await?;
    let noted = approval.created_at().plus(Duration::from_secs(250));
    ensure!(approval.advance(noted) && approval.untold().len() == 2);
    store(&bucket, &approval, revision).await?;
    world.clock.advance(Duration::from_secs(250));
    let coordinators = two(&world).await?;
    world
        .event::<Handoff>(&format!("handoff.reminder.support.{id}-1"))
        .await?;
    world
        .event::<Handoff>(&format!("handoff.approval.heads.{id}"))
        .await?;
    let told = || async {
        let (approval, ..) = stored(&world, &id).await?;
        Ok(approval.untold().is_empty().then_some(()))
    };
    eventually("it is noted that they were told", told).await?;
    stop(coordinators).await?;

    // Dies between telling and noting that: nothing is told twice.
    let (mut approval, revision, bucket) = stored(&world, &id).await?;
    approval = with(
        &approval,
        "/timetable/told",
        json!({"reminders": 0, "steps": 0}),
    )?;
    ensure!(approval.untold().len() == 2);
    store(&bucket, &approval, revision).await?;
    let coordinators = two(&world).await?;
    eventually("it is noted again", told).await?;
    ensure!(world.count("handoff.reminder.>").await? == 2);
    ensure!(world.count(&format!("handoff.approval.*.{id}")).await? == 2);

    // The second reminder goes to both teams, and comes though the timer was lost.
    world.clock.advance(Duration::from_secs(60));
    for team in ["support", "heads"] {
        world
            .event::<Handoff>(&format!("handoff.reminder.{team}.{id}-2"))
            .await?;
    }
    stop(coordinators).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_sees_votes_and_is_named_with_whom_they_voted_for() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let (intent, id) = opened(&world, ask("board", json!({}))).await?;
    let asked: Handoff = world.event(&format!("handoff.approval.board.{id}")).await?;
    ensure!(
        asked.people == ["lee".parse()?, "eve".parse()?],
        "{:?}",
        asked.people
    );
    let eve = world.person("eve").await?;
    let show = json!({"op": "show", "approval_id": id.as_str()});
    let ViewReply::Shown { approval } = world.ask_view(&eve, "eve", show).await? else {
        bail!("not shown")
    };
    ensure!(approval.view.is_some() && approval.listed.may_vote);
    let list = json!({"op": "list", "mine": true});
    let ViewReply::Listed { approvals, .. } = world.ask_view(&eve, "eve", list).await? else {
        bail!("not listed")
    };
    ensure!(approvals.len() == 1);
    let approve = vote(&id, approval.digest, VoteChoice::Approve);
    let counted = world.vote(&eve, "eve", &approve).await?;
    ensure!(
        counted.counted && counted.on_behalf_of == Some("lee".parse()?),
        "{counted:?}"
    );
    let resolved: ApprovalResolved = world.event(&format!("approval.resolved.{id}")).await?;
    ensure!(
        resolved.message == "approved by eve for lee",
        "{}",
        resolved.message
    );
    let approved: ToolApproved = world
        .event(&format!("tool.approved.billing.{intent}"))
        .await?;
    ensure!(approved.basis.approvers == ["eve".parse()?]);
    let lee = world.person("lee").await?;
    let late = world.vote(&lee, "lee", &approve).await?;
    ensure!(
        late.code == "already_resolved" && late.message.contains("eve for lee"),
        "{late:?}"
    );
    ensure!(late.on_behalf_of.is_none());
    running.stop().await
}

/// How an approval ends in the table below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Approved,
    Denied,
    Expired,
    Cancelled,
}

/// Where the coordinator dies that brings the end about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    /// What causes the end is stored, and nobody has handled it.
    Unhandled,
    /// Nothing but the end in the bucket.
    Untold,
    /// The event that tells it, too.
    Undecided,
    /// The decision, too, and nobody who was asked has heard of it.
    Unheard,
    /// Everything, but not that everything is stored.
    Unsettled,
}

const ENDS: [End; 4] = [End::Approved, End::Denied, End::Expired, End::Cancelled];
/// Those first that are done while the coordinator runs.
const DEATHS: [Dies; 5] = [
    Dies::Unsettled,
    Dies::Unhandled,
    Dies::Untold,
    Dies::Undecided,
    Dies::Unheard,
];

impl End {
    fn state(self) -> ApprovalState {
        match self {
            Self::Approved => ApprovalState::Approved,
            Self::Denied => ApprovalState::Denied,
            Self::Expired => ApprovalState::Expired,
            Self::Cancelled => ApprovalState::Cancelled,
        }
    }

    /// What causes it, stored while nobody handles it.
    async fn cause(self, world: &World, id: &ApprovalId, intent: IntentId) -> Result<()> {
        let (approval, ..) = stored(world, id).await?;
        let choice = match self {
            Self::Approved => VoteChoice::Approve,
            Self::Denied => VoteChoice::Deny,
            Self::Expired => return world.until_fired(id).await,
            Self::Cancelled => return withdraw(world, intent).await.map(drop),
        };
        let lee = world.person("lee").await?;
        let vote = vote(id, approval.digest(), choice);
        world.cast(&lee, "lee", &vote).await.map(drop)
    }
}

/// One line of the table.
struct Line {
    end: End,
    dies: Dies,
    intent: IntentId,
    id: ApprovalId,
}

/// Opens an approval for each line, and brings those to their end whose coordinator dies
/// only after it. The others wait for as long as the coordinator runs.
async fn opened_lines(world: &World) -> Result<Vec<Line>> {
    let running = world.coordinator().await?;
    let mut lines = Vec::new();
    for dies in DEATHS {
        for end in ENDS {
            let life = match (end, dies) {
                (End::Expired, Dies::Unsettled) => 1,
                (End::Expired, _) => 15,
                _ => 600,
            };
            let asked = ask("support", json!({ "expires_in_s": life }));
            let (intent, id) = opened(world, asked).await?;
            if dies == Dies::Unsettled {
                end.cause(world, &id, intent).await?;
                until_settled(world, &id).await?;
            }
            lines.push(Line {
                end,
                dies,
                intent,
                id,
            });
        }
    }
    running.stop().await?;
    Ok(lines)
}

/// Leaves behind what a coordinator leaves behind that dies there.
async fn die(world: &World, line: &Line) -> Result<()> {
    let Line {
        end,
        dies,
        intent,
        id,
    } = line;
    if *dies == Dies::Unsettled {
        let (approval, revision, bucket) = stored(world, id).await?;
        let approval = with(&approval, "/settled", json!(false))?;
        return store(&bucket, &approval, revision).await;
    }
    end.cause(world, id, *intent).await?;
    if *dies == Dies::Unhandled {
        return Ok(());
    }
    let (mut approval, revision, bucket) = stored(world, id).await?;
    world.end_by_hand(&mut approval, end.state())?;
    store(&bucket, &approval, revision).await?;
    if *dies == Dies::Untold {
        return Ok(());
    }
    tell(world, &approval).await?;
    if *dies == Dies::Undecided {
        return Ok(());
    }
    let decisions = world.decisions_after(&approval)?;
    let decision = decisions.first().context("an end decides")?;
    let (address, meta) = (decision.address(), world.meta("approval-coordinator")?);
    let out = match decision {
        Decision::Approved(approved) => Outgoing::event(&address, approved.as_ref(), &meta)?,
        Decision::Blocked(blocked) => Outgoing::event(&address, blocked.as_ref(), &meta)?,
    };
    let filter = Address::chain_filter(decision.agent(), *intent);
    world
        .as_coordinator()
        .await?
        .append(out, &filter, 0)
        .await?;
    Ok(())
}

/// Stores the event that tells an end.
async fn tell(world: &World, approval: &Approval) -> Result<()> {
    let resolved = approval.resolved().context("an end is told")?;
    let address = Address::ApprovalResolved {
        approval: approval.id().clone(),
    };
    let out = Outgoing::event(&address, &resolved, &world.meta("approval-coordinator")?)?;
    let filter = address.subject().as_str().to_owned();
    world
        .as_coordinator()
        .await?
        .append(out, &filter, 0)
        .await?;
    Ok(())
}

/// Every end, with a death at every point before it is done, is carried to the same end by
/// two coordinators that come up together, and everything stands once.
#[tokio::test(flavor = "multi_thread")]
async fn every_end_survives_a_death_at_every_point_and_stands_once() -> Result<()> {
    let world = World::start().await?;
    let lines = opened_lines(&world).await?;
    for line in &lines {
        die(&world, line).await?;
    }
    let coordinators = two(&world).await?;
    for line in &lines {
        let what = format!("{:?} and death {:?}", line.end, line.dies);
        is_ended(&world, line).await.context(what)?;
    }
    stop(coordinators).await?;
    for Line { intent, id, .. } in &lines {
        ensure!(world.count(&format!("tool.*.billing.{intent}")).await? == 1);
        ensure!(world.count(&format!("approval.resolved.{id}")).await? == 1);
        ensure!(world.count(&format!("handoff.resolved.*.{id}")).await? == 1);
    }
    // An end is an end: another start changes nothing.
    let before = revisions(&world, &lines).await?;
    let coordinators = two(&world).await?;
    let (_, id) = opened(&world, ask("support", json!({}))).await?;
    ensure!(stored(&world, &id).await?.0.is_pending());
    stop(coordinators).await?;
    ensure!(revisions(&world, &lines).await? == before);
    Ok(())
}

async fn is_ended(world: &World, line: &Line) -> Result<()> {
    let Line {
        end, intent, id, ..
    } = line;
    let approval = until_settled(world, id).await?;
    ensure!(approval.state() == end.state(), "{}", approval.state());
    let resolved: ApprovalResolved = world.event(&format!("approval.resolved.{id}")).await?;
    ensure!(resolved.state == end.state(), "{resolved:?}");
    world.any(&format!("handoff.resolved.support.{id}")).await?;
    let code = match end {
        End::Approved => {
            let approved = format!("tool.approved.billing.{intent}");
            return world.event::<ToolApproved>(&approved).await.map(drop);
        }
        End::Denied => BlockedCode::DeniedByPerson,
        End::Expired => BlockedCode::ApprovalExpired,
        End::Cancelled => BlockedCode::Withdrawn,
    };
    let blocked: ToolBlocked = world
        .event(&format!("tool.blocked.billing.{intent}"))
        .await?;
    ensure!(blocked.code == code, "{blocked:?}");
    Ok(())
}

async fn revisions(world: &World, lines: &[Line]) -> Result<Vec<u64>> {
    let mut revisions = Vec::new();
    for line in lines {
        revisions.push(stored(world, &line.id).await?.1);
    }
    Ok(revisions)
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_that_came_before_a_restart_count_after_it() -> Result<()> {
    let world = World::start().await?;
    let coordinators = two(&world).await?;
    let two_of = json!({"approvers": [{"team": "support", "quorum": 2}]});
    let (intent, id) = opened(&world, ask("support", two_of)).await?;
    let lee = world.person("lee").await?;
    let digest = world.digest(&lee, "lee", &id).await?;
    let approve = vote(&id, digest, VoteChoice::Approve);
    ensure!(world.vote(&lee, "lee", &approve).await?.state == ApprovalState::Pending);
    stop(coordinators).await?;
    let coordinators = two(&world).await?;
    let again = world.vote(&lee, "lee", &approve).await?;
    ensure!(again.code == "already_voted", "{again:?}");
    let sam = world.person("sam").await?;
    let last = world.vote(&sam, "sam", &approve).await?;
    ensure!(last.state == ApprovalState::Approved, "{last:?}");
    let approved: ToolApproved = world
        .event(&format!("tool.approved.billing.{intent}"))
        .await?;
    ensure!(approved.basis.approvers == ["lee".parse()?, "sam".parse()?]);
    stop(coordinators).await
}

/// A withdrawal and a vote meet, with two coordinators: one of both wins, the other learns
/// so, and whatever was approved and withdrawn does not run.
#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_that_races_a_vote_has_one_end() -> Result<()> {
    let world = World::start().await?;
    let coordinators = two(&world).await?;
    let lee = world.person("lee").await?;
    for _ in 0..12 {
        let (intent, id) = opened(&world, ask("support", json!({}))).await?;
        let digest = world.digest(&lee, "lee", &id).await?;
        let approve = vote(&id, digest, VoteChoice::Approve);
        let (withdrawn, voted) =
            tokio::join!(withdraw(&world, intent), world.vote(&lee, "lee", &approve));
        withdrawn?;
        let voted = voted?;
        let approval = until_settled(&world, &id).await?;
        let ended = || async {
            let subject = world.subject_of_head(intent).await?;
            Ok((!subject.starts_with("tool.approved")).then_some(subject))
        };
        let end = eventually("an end without a run", ended).await?;
        match approval.state() {
            ApprovalState::Approved => {
                ensure!(
                    voted.counted && end.starts_with("tool.revoked"),
                    "{end} {voted:?}"
                );
            }
            ApprovalState::Cancelled => {
                ensure!(voted.code == "already_resolved", "{voted:?}");
                ensure!(end.starts_with("tool.blocked"), "{end}");
            }
            other => bail!("it ended {other}"),
        }
    }
    stop(coordinators).await
}

/// The intent's own deadline ends the approval, and between approval and claim the permit
/// ends no later.
#[tokio::test(flavor = "multi_thread")]
async fn the_intents_own_end_holds_while_it_waits_and_after_it_is_approved() -> Result<()> {
    let world = World::start().await?;
    let coordinators = two(&world).await?;
    let soon = world.now().plus(Duration::from_secs(5));
    let mut changes = ask("support", json!({}));
    changes["expires_at"] = json!(soon.to_string());
    let (waits, waiting) = opened(&world, changes).await?;
    let blocked: ToolBlocked = world
        .event(&format!("tool.blocked.billing.{waits}"))
        .await?;
    ensure!(blocked.code == BlockedCode::ApprovalExpired, "{blocked:?}");
    ensure!(until_settled(&world, &waiting).await?.state() == ApprovalState::Expired);

    let end = world.now().plus(Duration::from_secs(60));
    let mut changes = ask("support", json!({}));
    changes["expires_at"] = json!(end.to_string());
    let (intent, id) = opened(&world, changes).await?;
    let lee = world.person("lee").await?;
    let digest = world.digest(&lee, "lee", &id).await?;
    let approve = vote(&id, digest, VoteChoice::Approve);
    ensure!(world.vote(&lee, "lee", &approve).await?.state == ApprovalState::Approved);
    let approved: ToolApproved = world
        .event(&format!("tool.approved.billing.{intent}"))
        .await?;
    ensure!(
        approved.approved_until <= end,
        "{}",
        approved.approved_until
    );
    world.clock.advance(Duration::from_secs(400));
    let revoked = format!("tool.revoked.billing.{intent}");
    let revoked: ToolRevoked = world.event(&revoked).await?;
    ensure!(revoked.code.as_str() == "permit_expired", "{revoked:?}");
    // They were told that it may run.
    let told = format!("handoff.blocked.support.{intent}");
    let told: Handoff = world.event(&told).await?;
    ensure!(
        told.code == "permit_expired" && told.approval_id == Some(id),
        "{told:?}"
    );
    stop(coordinators).await
}
