//! A message that comes again after it was refused, because the coordinator that answered it
//! died before its ack: who was told that nothing was done has done something else since.

use anyhow::{Result, bail, ensure};
use countersign_domain::approvals::ViewReply;
use countersign_domain::decision::{Decision, blocked};
use countersign_runtime::bus::Outgoing;
use countersign_runtime::bus::layout::{COORDINATOR_CONTROL, COORDINATOR_EVENTS};
use countersign_schemas::events::{
    ApprovalRequested, ApprovalState, ApprovalVoted, BlockedCode, ControlRefused, Verdict,
    VoteChoice,
};
use countersign_schemas::{Address, ApprovalId, Event, SeqToken, Stream};
use serde_json::json;

use super::vote;
use super::windows::{kept, liftable, lifted, limits, open, request, windows};
use crate::world::{World, eventually, verdict};

/// Takes what a person said as a coordinator would that dies after it stored `answer`.
async fn answer_and_die<E: Event>(
    world: &World,
    answer: impl FnOnce(SeqToken) -> (Address, E),
) -> Result<()> {
    let seq = world.take_and_give_back(COORDINATOR_CONTROL).await?;
    let bus = world.as_coordinator().await?;
    let token = SeqToken::new(bus.incarnation(Stream::Control).await?, seq);
    let (address, event) = answer(token);
    let out = Outgoing::event(&address, &event, &world.meta("approval-coordinator")?)?;
    bus.append(out, address.subject().as_str(), 0).await?;
    Ok(())
}

/// Waits until everything that people said is answered and acked.
async fn all_is_answered(world: &World) -> Result<()> {
    let bus = world.as_coordinator().await?;
    let stream = bus.jetstream().get_stream(Stream::Control.name()).await?;
    eventually("everything is answered", || async {
        let info = stream.consumer_info(COORDINATOR_CONTROL.name).await?;
        let done = info.num_pending == 0 && info.num_ack_pending == 0;
        Ok((done && info.delivered.stream_sequence > 0).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_that_was_answered_not_counted_never_counts() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let intent = world.judge(Verdict::Ask, json!({})).await?;
    let id = ApprovalId::for_intent(intent);
    let asked: ApprovalRequested = world.event(&format!("approval.requested.{id}")).await?;
    running.stop().await?;
    let lee = world.person("lee").await?;
    let yes = vote(&id, asked.digest, VoteChoice::Approve);
    world.cast(&lee, "lee", &yes).await?;
    let at = world.now();
    answer_and_die(&world, |seq| {
        let approval = id.clone();
        let told = ApprovalVoted {
            schema_version: 1,
            approval_id: id.clone(),
            approver: "lee".parse().expect("a person"),
            on_behalf_of: None,
            via: "self".parse().expect("a bridge"),
            vote: VoteChoice::Approve,
            counted: false,
            code: "frozen".to_owned(),
            message: "nothing was counted; vote again once it is released".to_owned(),
            reason: None,
            state: ApprovalState::Pending,
            voted_at: at,
        };
        (Address::ApprovalVoted { approval, seq }, told)
    })
    .await?;

    let running = world.coordinator().await?;
    all_is_answered(&world).await?;
    let ask = json!({"op": "show", "approval_id": id.as_str()});
    let ViewReply::Shown { approval } = world.ask_view(&lee, "lee", ask).await? else {
        bail!("something else was asked for");
    };
    ensure!(
        approval.listed.state == ApprovalState::Pending,
        "{approval:?}"
    );
    ensure!(approval.listed.votes.is_empty(), "{approval:?}");
    let again = world.vote(&lee, "lee", &yes).await?;
    ensure!(again.counted, "the same person votes anew: {again:?}");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_was_refused_is_not_opened_when_its_request_comes_again() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator_of_support().await?;
    running.stop().await?;
    let seq = request(&world, "lee", 600).await?;
    answer_and_die(&world, |token| {
        let told = ControlRefused {
            schema_version: 1,
            person: "lee".parse().expect("a person"),
            code: "frozen".to_owned(),
            message: "nothing was opened; ask again once it is released".to_owned(),
        };
        (Address::ControlRefused { seq: token }, told)
    })
    .await?;

    let running = world.coordinator_of_support().await?;
    all_is_answered(&world).await?;
    ensure!(
        world.count("window.opened.>").await? == 0,
        "opened by {seq}"
    );
    request(&world, "lee", 600).await?;
    world.any("window.opened.billing.*").await?;
    ensure!(windows(&world).await?.len() == 1);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_decided_takes_no_use_when_its_verdict_comes_again() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let opened = open(&world, liftable(), limits(1_800, Some(1), None)).await?;
    running.stop().await?;
    let intent = world.judge(Verdict::Ask, liftable()).await?;
    world.take_and_give_back(COORDINATOR_EVENTS).await?;
    let checked = verdict(Verdict::Ask, intent, liftable())?;
    let Decision::Blocked(block) = blocked(&checked, BlockedCode::Frozen, "all is frozen") else {
        bail!("approved");
    };
    let bus = world.as_coordinator().await?;
    let address = Address::ToolBlocked {
        agent: checked.agent.clone(),
        intent,
    };
    let out = Outgoing::event(
        &address,
        block.as_ref(),
        &world.meta("approval-coordinator")?,
    )?;
    let filter = Address::chain_filter(&checked.agent, intent);
    bus.append(out, &filter, 0).await?;
    let (_, before) = kept(&bus, &opened.window_id).await?;
    let running = world.coordinator().await?;
    world.until_verdicts_are_done().await?;
    let (window, after) = kept(&bus, &opened.window_id).await?;
    ensure!(window.used() == 0 && after == before, "its use was taken");
    let next = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(lifted(&world, next).await?, "it is there for another");
    running.stop().await
}
