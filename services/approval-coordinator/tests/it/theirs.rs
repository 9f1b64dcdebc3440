//! What people were asked about stays theirs, and a window that cannot be read or is one too
//! many stands in nobody's way.

use anyhow::{Result, ensure};
use countersign_domain::approvals::Approval;
use countersign_domain::decision::Decision;
use countersign_runtime::bus::layout::{APPROVALS, WINDOWS};
use countersign_runtime::bus::{Bucket, Outgoing};
use countersign_schemas::events::{
    ApprovalResolved, ApprovalState, ApprovalVoted, BlockedCode, ToolBlocked, Verdict, VoteChoice,
};
use countersign_schemas::{Address, ApprovalId, IntentId};
use serde_json::{Value, json};

use crate::vote;
use crate::windows::{kept, liftable, lifted, limits, open, take_and_die, windows};
use crate::world::{World, eventually, verdict};

/// Leaves behind what a coordinator does that dies after it asked people about an ask that
/// came before the window.
async fn ask_and_die(world: &World, end: Option<ApprovalState>) -> Result<IntentId> {
    let intent = world.judge(Verdict::Ask, liftable()).await?;
    let checked = verdict(Verdict::Ask, intent, liftable())?;
    let mut approval = Approval::open(&checked, world.now())?;
    if let Some(end) = end {
        world.end_by_hand(&mut approval, end)?;
    }
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    let value = serde_json::to_vec(&approval)?;
    bucket.create(approval.id().as_str(), value.into()).await?;
    Ok(intent)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_window_overrules_people_who_were_asked_before_it_opened() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let opened = open(&world, liftable(), limits(1_800, None, None)).await?;
    running.stop().await?;
    let waits = ask_and_die(&world, None).await?;
    let denied = ask_and_die(&world, Some(ApprovalState::Denied)).await?;
    // A use that is stored, and not decided by, changes nothing of what people answered.
    let both = ask_and_die(&world, Some(ApprovalState::Denied)).await?;
    take_and_die(&world, &opened.window_id, both).await?;
    let running = world.coordinator().await?;
    for intent in [denied, both] {
        let blocked: ToolBlocked = world
            .event(&format!("tool.blocked.billing.{intent}"))
            .await?;
        ensure!(blocked.code == BlockedCode::DeniedByPerson, "{blocked:?}");
    }
    eventually("the use is given back", || async {
        let (window, _) = kept(&world.as_coordinator().await?, &opened.window_id).await?;
        Ok((!window.holds(both)).then_some(()))
    })
    .await?;
    ensure!(!lifted(&world, waits).await?, "people decide on it");
    let next = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(lifted(&world, next).await?, "what came later is lifted");
    let (window, _) = kept(&world.as_coordinator().await?, &opened.window_id).await?;
    ensure!(
        window.used() == 1 && window.holds(next),
        "no use for others"
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_about_what_a_window_has_decided() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let opened = open(&world, liftable(), limits(1_800, None, None)).await?;
    running.stop().await?;
    let bus = world.as_coordinator().await?;
    let (window, revision) = kept(&bus, &opened.window_id).await?;
    // Another coordinator decided by the window; this one does not know of any.
    let bucket = Bucket::new(&bus, WINDOWS);
    let gone = json!({"schema_version": 9}).to_string();
    bucket
        .update(opened.window_id.as_str(), gone.into(), revision)
        .await?;
    let intent = world.judge(Verdict::Ask, liftable()).await?;
    let checked = verdict(Verdict::Ask, intent, liftable())?;
    let decision = world.desk()?.under_window(&checked, &window, world.now())?;
    let Decision::Approved(approved) = &decision else {
        anyhow::bail!("{decision:?}");
    };
    let out = Outgoing::event(&decision.address(), approved.as_ref(), &world.meta("x")?)?;
    let filter = Address::chain_filter(&"billing".parse()?, intent);
    bus.append(out, &filter, 0).await?;
    let running = world.coordinator().await?;
    let id = ApprovalId::for_intent(intent);
    world.until_verdicts_are_done().await?;
    ensure!(!world.stored(&format!("approval.requested.{id}")).await?);
    // A coordinator that still reads its windows gives the verdict back; when it comes again
    // its decision is found, and no approval is made at all.
    let kept = Bucket::new(&bus, APPROVALS).get(id.as_str()).await?;
    if kept.is_some() {
        let end: ApprovalResolved = world.event(&format!("approval.resolved.{id}")).await?;
        ensure!(end.state == ApprovalState::Cancelled, "{end:?}");
    }
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_cannot_be_read_lifts_nothing_and_stops_nothing() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let opened = open(&world, liftable(), limits(1_800, None, None)).await?;
    let bus = world.as_coordinator().await?;
    let (window, revision) = kept(&bus, &opened.window_id).await?;
    let mut newer: Value = serde_json::to_value(&window)?;
    newer["schema_version"] = json!(9);
    let bucket = Bucket::new(&bus, WINDOWS);
    bucket
        .update(
            opened.window_id.as_str(),
            newer.to_string().into(),
            revision,
        )
        .await?;
    let intent = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(!lifted(&world, intent).await?, "people are asked");
    ensure!(
        windows(&world).await?.is_empty(),
        "the list goes on without it"
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_has_no_more_windows_than_people_can_see() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let opened = open(&world, liftable(), limits(1_800, None, None)).await?;
    let bus = world.as_coordinator().await?;
    let (window, _) = kept(&bus, &opened.window_id).await?;
    let bucket = Bucket::new(&bus, WINDOWS);
    for n in 1..100 {
        let id = format!("w-abc-{n}");
        let mut other: Value = serde_json::to_value(&window)?;
        other["id"] = json!(id);
        bucket.create(&id, other.to_string().into()).await?;
    }
    eventually("a hundred windows", || async {
        Ok((windows(&world).await?.len() == 100).then_some(()))
    })
    .await?;
    let lee = world.person("lee").await?;
    let mut other = liftable();
    other["tool"] = json!("mail.draft");
    let intent = world.judge(Verdict::Ask, other).await?;
    let id = ApprovalId::for_intent(intent);
    world.any(&format!("approval.requested.{id}")).await?;
    let digest = world.digest(&lee, "lee", &id).await?;
    let mut yes = vote(&id, digest, VoteChoice::Approve);
    yes.window = Some(limits(60, None, None));
    let refused: ApprovalVoted = world.vote(&lee, "lee", &yes).await?;
    ensure!(refused.code == "window_not_permitted", "{refused:?}");
    ensure!(refused.message.contains("100 windows"), "{refused:?}");
    let plain = vote(&id, digest, VoteChoice::Approve);
    let counted = world.vote(&lee, "lee", &plain).await?;
    ensure!(counted.counted, "{counted:?}");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_several_agents_are_each_used_as_often_as_they_say() -> Result<()> {
    let world = World::start().await?;
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    let opened = open(&world, liftable(), limits(1_800, Some(5), None)).await?;
    let bus = world.as_coordinator().await?;
    let (window, _) = kept(&bus, &opened.window_id).await?;
    let mut other: Value = serde_json::to_value(&window)?;
    (other["id"], other["agent"]) = (json!("w-abc-7"), json!("crm"));
    let bucket = Bucket::new(&bus, WINDOWS);
    bucket.create("w-abc-7", other.to_string().into()).await?;
    eventually("both windows", || async {
        Ok((windows(&world).await?.len() == 2).then_some(()))
    })
    .await?;
    let mut intents = Vec::new();
    for _ in 0..20 {
        for agent in ["billing", "crm"] {
            let mut changes = liftable();
            changes["agent"] = json!(agent);
            intents.push((agent, world.judge(Verdict::Ask, changes).await?));
        }
    }
    for (agent, intent) in intents {
        let decided = format!("tool.approved.{agent}.{intent}");
        let asked = format!("approval.requested.{}", ApprovalId::for_intent(intent));
        eventually(&decided, || async {
            let done = world.stored(&decided).await? || world.stored(&asked).await?;
            Ok(done.then_some(()))
        })
        .await?;
    }
    let first = 1; // by people, with the vote that opened the window
    ensure!(world.count("tool.approved.billing.*").await? == first + 5);
    ensure!(world.count("tool.approved.crm.*").await? == 5);
    one.stop().await?;
    two.stop().await
}
