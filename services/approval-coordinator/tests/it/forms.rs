//! Approvals that another version of the coordinator keeps in another form, as during an
//! update of one coordinator after the other.

use anyhow::{Context as _, Result, bail, ensure};
use countersign_domain::approvals::{Listed, ViewReply};
use countersign_runtime::bus::layout::{self, APPROVALS};
use countersign_runtime::bus::{Bucket, Cas};
use countersign_schemas::events::{
    ApprovalRequested, ApprovalResolved, ApprovalState, BlockedCode, Handoff, ToolApproved,
    ToolBlocked, Verdict, VoteChoice,
};
use countersign_schemas::{ApprovalId, IntentId};
use serde_json::{Value, json};

use super::vote;
use super::world::{World, eventually};

/// Something that waits for people.
async fn waiting(world: &World) -> Result<(IntentId, ApprovalId)> {
    let intent = world.judge(Verdict::Ask, json!({})).await?;
    let id = ApprovalId::for_intent(intent);
    let told = format!("handoff.approval.support.{id}");
    world.event::<Handoff>(&told).await?;
    Ok((intent, id))
}

/// Keeps an approval as `change` makes of it.
async fn keep(world: &World, id: &ApprovalId, change: impl FnOnce(Value) -> Value) -> Result<()> {
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    let entry = bucket.get(id.as_str()).await?.context("kept")?;
    let value = change(serde_json::from_slice(&entry.value)?).to_string();
    let kept = bucket
        .update(id.as_str(), value.into(), entry.revision)
        .await?;
    ensure!(matches!(kept, Cas::Stored(_)), "somebody else was first");
    Ok(())
}

fn with<'a>(mut value: Value, fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let fields = fields.into_iter();
    if let Some(all) = value.as_object_mut() {
        all.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    }
    value
}

fn in_form(number: u16) -> impl FnOnce(Value) -> Value {
    move |value| with(value, [("schema_version", number.into())])
}

/// What the version before bundles kept.
fn in_form_one(value: Value) -> Value {
    let at = |pointer: &str| value.pointer(pointer).cloned().unwrap_or_default();
    let old = [
        ("id", at("/id")),
        ("checked", at("/items/0/checked")),
        ("operation", at("/items/0/operation")),
        ("ask", at("/ask")),
        ("created_at", at("/created_at")),
        ("expires_at", at("/expires_at")),
        ("digest", at("/digest")),
        ("votes", at("/votes")),
        ("state", at("/state")),
        ("resolution", at("/resolution")),
        ("settled", at("/settled")),
    ];
    with(json!({"schema_version": 1}), old)
}

/// Waits until a message of people was given back and came again.
async fn until_votes_came_back(world: &World) -> Result<()> {
    let bus = world.as_coordinator().await?;
    let durable = layout::COORDINATOR_CONTROL;
    let stream = bus.jetstream().get_stream(durable.stream.name()).await?;
    eventually("a vote that comes again", || async {
        let info = stream.consumer_info(durable.name).await?;
        Ok((info.num_redelivered > 0).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_on_what_a_newer_version_keeps_waits_for_it_and_is_not_put_aside() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let (intent, id) = waiting(&world).await?;
    let requested: ApprovalRequested = world.event(&format!("approval.requested.{id}")).await?;
    let (_, other) = waiting(&world).await?;
    keep(&world, &id, in_form(3)).await?;
    let lee = world.person("lee").await?;
    let list = world.ask_view(&lee, "lee", json!({"op": "list"})).await?;
    let ViewReply::Listed { approvals, more } = list else {
        bail!("{list:?}")
    };
    ensure!(more == 1 && approvals.len() == 1, "{more} more");
    ensure!(approvals[0].asked.approval_id == other);
    let yes = vote(&id, requested.digest, VoteChoice::Approve);
    let seq = world.cast(&lee, "lee", &yes).await?;
    until_votes_came_back(&world).await?;
    ensure!(world.count("deadletter.>").await? == 0, "it was put aside");
    ensure!(world.head(intent).await?.is_none());

    keep(&world, &id, in_form(2)).await?;
    world.any(&format!("approval.voted.{id}.*.{seq}")).await?;
    let subject = format!("tool.approved.billing.{intent}");
    world.event::<ToolApproved>(&subject).await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_version_kept_is_listed_granted_and_expires() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let (granted, yes) = waiting(&world).await?;
    let (over, late) = waiting(&world).await?;
    running.stop().await?;
    keep(&world, &yes, in_form_one).await?;
    keep(&world, &late, in_form_one).await?;

    let running = world.coordinator().await?;
    let lee = world.person("lee").await?;
    let list = json!({"op": "list"});
    let ids = eventually("both are listed", || async {
        let ViewReply::Listed { approvals, .. } = world.ask_view(&lee, "lee", list.clone()).await?
        else {
            return Ok(None);
        };
        let id = |one: &Listed| one.asked.approval_id.clone();
        let ids: Vec<ApprovalId> = approvals.iter().map(id).collect();
        Ok((ids.len() == 2).then_some(ids))
    })
    .await?;
    ensure!(ids.contains(&yes) && ids.contains(&late));
    let digest = world.digest(&lee, "lee", &yes).await?;
    let voted = world
        .vote(&lee, "lee", &vote(&yes, digest, VoteChoice::Approve))
        .await?;
    ensure!(voted.state == ApprovalState::Approved, "{voted:?}");
    let subject = format!("tool.approved.billing.{granted}");
    world.event::<ToolApproved>(&subject).await?;

    // Without its timer: the index of what waits finds it.
    world.clock.advance(std::time::Duration::from_secs(700));
    let end: ApprovalResolved = world.event(&format!("approval.resolved.{late}")).await?;
    ensure!(end.state == ApprovalState::Expired, "{end:?}");
    world
        .event::<ToolBlocked>(&format!("tool.blocked.billing.{over}"))
        .await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_keeps_nothing_else_from_being_ended() -> Result<()> {
    let world = World::start().await?;
    let (running, _) = world.coordinator_of(None).await?;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let intent = world.judge(Verdict::Ask, json!({})).await?;
        let id = ApprovalId::for_intent(intent);
        let requested = format!("approval.requested.{id}");
        world.event::<ApprovalRequested>(&requested).await?;
        waiting.push((intent, id));
    }
    let (_, newer) = &waiting[0];
    keep(&world, newer, in_form(3)).await?;
    world.publish_another_bundle().await?;
    for (intent, _) in &waiting[1..] {
        let blocked: ToolBlocked = world
            .event(&format!("tool.blocked.billing.{intent}"))
            .await?;
        ensure!(blocked.code == BlockedCode::ToolChanged, "{blocked:?}");
    }
    ensure!(world.head(waiting[0].0).await?.is_none());
    running.stop().await
}
