//! The kill switch, as the coordinator carries it out.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use countersign_domain::approvals::{Approval, ViewReply};
use countersign_domain::freeze::FreezeView;
use countersign_runtime::bus::layout::APPROVALS;
use countersign_runtime::bus::{Append, Bucket, Bus, Outgoing};
use countersign_schemas::events::{
    ApprovalResolved, ApprovalState, ApprovalVoted, BasisKind, BlockedCode, ControlApplied,
    ControlDone, ControlRefused, FreezeScope, Handoff, RevokedCode, ToolApproved, ToolBlocked,
    ToolRevoked, Verdict, VoteChoice,
};
use countersign_schemas::{Address, ApprovalId, IntentId, SeqToken, Stream};
use serde_json::{Value, json};

use super::ends::claim;
use super::vote;
use super::world::World;

/// Publishes an order of olga; its sequence in `CS_ORDERS`.
pub(crate) async fn order(olga: &Bus, what: &str, body: &Value) -> Result<u64> {
    let body = serde_json::to_vec(body)?;
    let out = Outgoing::raw(&format!("control.{what}.olga"), body.into());
    Ok(olga.publisher().publish(out).await?)
}

/// Gives an order and waits until it is complete.
pub(crate) async fn switch(
    world: &World,
    olga: &Bus,
    what: &str,
    scope: Value,
) -> Result<ControlDone> {
    let seq = order(
        olga,
        what,
        &json!({"scope": scope, "reason": "looks wrong"}),
    )
    .await?;
    world.event(&format!("control.done.*.{seq}")).await
}

async fn allowed(world: &World, changes: Value) -> Result<(IntentId, u64)> {
    let intent = world.judge(Verdict::Allow, changes).await?;
    let subject = format!("tool.approved.billing.{intent}");
    world.event::<ToolApproved>(&subject).await?;
    Ok((intent, world.head(intent).await?.context("approved")?.seq))
}

async fn blocked(world: &World, intent: IntentId) -> Result<ToolBlocked> {
    world.event(&format!("tool.blocked.billing.{intent}")).await
}

async fn revoked(world: &World, intent: IntentId) -> Result<ToolRevoked> {
    world.event(&format!("tool.revoked.billing.{intent}")).await
}

async fn frozen_now(world: &World, olga: &Bus) -> Result<Vec<FreezeView>> {
    match world
        .ask_view(olga, "olga", json!({"op": "freezes"}))
        .await?
    {
        ViewReply::Frozen { freezes, .. } => Ok(freezes),
        other => anyhow::bail!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_revokes_what_is_open_and_names_what_runs() -> Result<()> {
    let world = World::start().await?;
    let olga = world.operator().await?;
    let running = world.coordinator().await?;
    let (open, _) = allowed(&world, json!({})).await?;
    let (begun, seq) = allowed(&world, json!({})).await?;
    claim(&world, begun, seq).await?;
    let (other, _) = allowed(&world, json!({"tool": "crm.read"})).await?;
    let (for_lee, _) = allowed(
        &world,
        json!({"requester": {"id": "lee", "verified": true}}),
    )
    .await?;

    let done = switch(&world, &olga, "freeze", json!({"requester": "lee"})).await?;
    ensure!((done.revoked, done.running.len()) == (1, 0), "{done:?}");
    ensure!(revoked(&world, for_lee).await?.code == RevokedCode::Frozen);

    let done = switch(&world, &olga, "freeze", json!({"tool": "mail.send"})).await?;
    ensure!((done.revoked, done.stopped) == (1, 0), "{done:?}");
    ensure!(
        done.running == [begun] && done.running_more == 0,
        "{done:?}"
    );
    let told = revoked(&world, open).await?;
    ensure!(told.code == RevokedCode::Frozen, "{told:?}");
    ensure!(
        !serde_json::to_string(&told)?.contains("looks wrong"),
        "{told:?}"
    );
    ensure!(
        world
            .subject_of_head(other)
            .await?
            .starts_with("tool.approved.")
    );
    ensure!(
        world
            .subject_of_head(begun)
            .await?
            .starts_with("tool.started.")
    );

    // The same again changes nothing and succeeds.
    let again = switch(&world, &olga, "freeze", json!({"tool": "mail.send"})).await?;
    ensure!((again.revoked, again.running) == (0, vec![begun]));
    let shown = frozen_now(&world, &olga).await?;
    let covers: Vec<&str> = shown.iter().map(|one| one.covers.as_str()).collect();
    ensure!(covers == ["requester lee", "tool mail.send"], "{covers:?}");
    ensure!(shown.iter().all(|one| one.operator.as_str() == "olga"));
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_frozen_nothing_new_is_decided_and_what_waits_keeps_waiting() -> Result<()> {
    let world = World::start().await?;
    let olga = world.operator().await?;
    let lee = world.person("lee").await?;
    let running = world.coordinator().await?;
    let asked = world.judge(Verdict::Ask, json!({})).await?;
    let id = ApprovalId::for_intent(asked);
    let digest = world.digest(&lee, "lee", &id).await?;
    switch(&world, &olga, "freeze", json!({"agent": "billing"})).await?;

    let allow = world.judge(Verdict::Allow, json!({})).await?;
    let ask = world.judge(Verdict::Ask, json!({})).await?;
    let deny = world.judge(Verdict::Deny, json!({})).await?;
    for intent in [allow, ask] {
        let told = blocked(&world, intent).await?;
        ensure!(told.code == BlockedCode::Frozen, "{told:?}");
        ensure!(told.needs.iter().any(|need| need.code == "unfreeze"));
    }
    ensure!(blocked(&world, deny).await?.code != BlockedCode::Frozen);

    let frozen = said_frozen(&world, &lee).await?;
    ensure!(frozen.is_some_and(|why| why.contains("An operator froze")));
    let approve = vote(&id, digest, VoteChoice::Approve);
    for choice in [VoteChoice::Approve, VoteChoice::Deny] {
        let answer: ApprovalVoted = world.vote(&lee, "lee", &vote(&id, digest, choice)).await?;
        ensure!(!answer.counted && answer.code == "frozen", "{answer:?}");
        ensure!(answer.state == ApprovalState::Pending, "{answer:?}");
    }
    ensure!(world.head(asked).await?.is_none());

    // A release of another scope, or of everything, releases nothing here.
    for scope in [json!({}), json!({"tool": "mail.send"})] {
        switch(&world, &olga, "unfreeze", scope).await?;
        ensure!(world.vote(&lee, "lee", &approve).await?.code == "frozen");
    }
    switch(&world, &olga, "unfreeze", json!({"agent": "billing"})).await?;
    ensure!(said_frozen(&world, &lee).await?.is_none());
    let answer = world.vote(&lee, "lee", &approve).await?;
    ensure!(answer.counted, "{answer:?}");
    let decided: ToolApproved = world
        .event(&format!("tool.approved.billing.{asked}"))
        .await?;
    ensure!(decided.basis.kind == BasisKind::Person);
    ensure!(
        world
            .subject_of_head(allow)
            .await?
            .starts_with("tool.blocked."),
        "not revived"
    );
    let after = allowed(&world, json!({})).await?;
    ensure!(after.1 > 0 && frozen_now_is_empty(&world, &olga).await?);
    running.stop().await
}

async fn frozen_now_is_empty(world: &World, olga: &Bus) -> Result<bool> {
    Ok(frozen_now(world, olga).await?.is_empty())
}

/// What a list and a look say about a freeze of the one that waits.
async fn said_frozen(world: &World, lee: &Bus) -> Result<Option<String>> {
    let list = world.ask_view(lee, "lee", json!({"op": "list"})).await?;
    let ViewReply::Listed { approvals, .. } = list else {
        bail!("not listed")
    };
    let [one] = approvals.as_slice() else {
        bail!("{} are listed", approvals.len())
    };
    let show = json!({"op": "show", "approval_id": one.asked.approval_id.as_str()});
    let ViewReply::Shown { approval } = world.ask_view(lee, "lee", show).await? else {
        bail!("not shown")
    };
    ensure!(approval.listed.frozen == one.frozen);
    Ok(one.frozen.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_runs_on_while_frozen() -> Result<()> {
    let world = World::start().await?;
    let olga = world.operator().await?;
    let running = world.coordinator().await?;
    let ask = json!({"ask": {"approvers": [{"team": "support", "quorum": 1}], "expires_in_s": 3,
        "chat_may_approve": false, "self_allowed": false, "excluded": []}});
    let asked = world.judge(Verdict::Ask, ask).await?;
    world.any(&format!("approval.requested.a-{asked}")).await?;
    switch(&world, &olga, "freeze", json!({})).await?;
    let told = blocked(&world, asked).await?;
    ensure!(told.code == BlockedCode::ApprovalExpired, "{told:?}");
    let end: ApprovalResolved = world.event(&format!("approval.resolved.a-{asked}")).await?;
    ensure!(end.state == ApprovalState::Expired, "{end:?}");
    switch(&world, &olga, "unfreeze", json!({})).await?;
    let head = world.subject_of_head(asked).await?;
    ensure!(head.starts_with("tool.blocked."), "not revived");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_could_mean_something_else_is_refused_in_words() -> Result<()> {
    let world = World::start().await?;
    let olga = world.operator().await?;
    let running = world.coordinator().await?;
    for (body, code) in [
        (
            json!({"scope": {"agnet": "billing"}, "reason": "x"}),
            "unknown_scope",
        ),
        (
            json!({"scope": {"agent": null}, "reason": "x"}),
            "unknown_scope",
        ),
        (
            json!({"scope": {"agent": "a.b"}, "reason": "x"}),
            "unreadable",
        ),
        (json!({"scope": "all", "reason": "x"}), "unreadable"),
        (json!({"reason": "x"}), "unreadable"),
        (json!({"scope": {}}), "unreadable"),
        (json!({"scope": {}, "reason": "  "}), "reason"),
    ] {
        for what in ["freeze", "unfreeze"] {
            let seq = order(&olga, what, &body).await?;
            let refused: ControlRefused = world.event(&format!("control.refused.*.{seq}")).await?;
            ensure!(
                refused.code == code && refused.person.as_str() == "olga",
                "{refused:?}"
            );
            ensure!(refused.message.len() > 20, "{refused:?}");
        }
    }
    ensure!(world.count("control.applied.>").await? == 0);
    allowed(&world, json!({})).await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_operator_may_freeze() -> Result<()> {
    let world = World::start().await?;
    let lee = world.person("lee").await?;
    for subject in [
        "control.freeze.lee",
        "control.freeze.olga",
        "control.unfreeze.olga",
    ] {
        let body = br#"{"scope":{},"reason":"x"}"#.as_slice();
        for bus in [&lee, &world.agent] {
            let sent = bus
                .publisher()
                .publish(Outgoing::raw(subject, body.into()))
                .await;
            ensure!(sent.is_err(), "{subject}");
        }
    }
    let olga = world.operator().await?;
    let other = order(&olga, "freeze.lee.x", &json!({})).await;
    ensure!(other.is_err());
    Ok(())
}

/// Stores `control.applied` as a coordinator that dies right after it.
async fn applied(world: &World, seq: u64) -> Result<u64> {
    let dead = world.as_coordinator().await?;
    let life = dead.incarnation(Stream::Orders).await?;
    let event = ControlApplied {
        schema_version: 1,
        frozen: true,
        scope: FreezeScope::default(),
        operator: "olga".parse()?,
        reason: "looks wrong".to_owned(),
        applied_at: world.now(),
    };
    let address = Address::ControlApplied {
        seq: SeqToken::new(life, seq),
    };
    let out = Outgoing::event(&address, &event, &world.meta("approval-coordinator")?)?;
    match dead.store_once(out).await? {
        Append::Stored(at) => Ok(at),
        Append::Lost(_) => anyhow::bail!("stored before"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_coordinator_left_half_done_is_completed_once_with_the_right_counts() -> Result<()> {
    let world = World::start().await?;
    let first = world.coordinator().await?;
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(allowed(&world, json!({})).await?);
    }
    let [gone, before, after, withdrawn, ..] = open.as_slice() else {
        anyhow::bail!("six intents")
    };
    claim(&world, before.0, before.1).await?;
    first.stop().await?;

    let seq = 4_711;
    applied(&world, seq).await?;
    // It had revoked one; an executor claimed another, and one is withdrawn by its agent.
    claim(&world, after.0, after.1).await?;
    for (intent, code) in [
        (gone, RevokedCode::Frozen),
        (withdrawn, RevokedCode::Withdrawn),
    ] {
        revoke(&world, *intent, code).await?;
    }
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    let done: ControlDone = world.event(&format!("control.done.*.{seq}")).await?;
    ensure!((done.revoked, done.stopped) == (3, 1), "{done:?}");
    ensure!(done.running == [before.0], "{done:?}");
    one.stop().await?;
    two.stop().await?;

    // Whoever comes later finds it done, and the same freeze in force.
    let late = world.coordinator().await?;
    let intent = world.judge(Verdict::Allow, json!({})).await?;
    ensure!(blocked(&world, intent).await?.code == BlockedCode::Frozen);
    ensure!(world.count("control.done.>").await? == 1);
    ensure!(world.count("tool.revoked.>").await? == 4);
    late.stop().await
}

async fn revoke(world: &World, (intent, seq): (IntentId, u64), code: RevokedCode) -> Result<()> {
    let decided = world.head(intent).await?.context("a decision")?;
    let decided: ToolApproved = countersign_schemas::codec::decode(&decided.payload)?;
    let event = countersign_domain::decision::revoked(&decided, code, "x");
    let address = Address::ToolRevoked {
        agent: decided.agent.clone(),
        intent,
    };
    let out = Outgoing::event(&address, &event, &world.meta("approval-coordinator")?)?;
    let dead = world.as_coordinator().await?;
    let filter = Address::chain_filter(&decided.agent, intent);
    let stored = dead.append(out, &filter, seq).await?;
    ensure!(matches!(stored, Append::Stored(_)), "{stored:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_in_force_is_stored_again_every_half_horizon_until_it_is_released() -> Result<()> {
    let world = World::start().await?;
    let olga = world.operator().await?;
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    let body = json!({"scope": {"agent": "billing"}, "reason": "looks wrong"});
    let seq = order(&olga, "freeze", &body).await?;
    world
        .event::<ControlDone>(&format!("control.done.*.{seq}"))
        .await?;
    let half_horizon = Duration::from_secs(12 * 60 * 60 + 60);
    world.clock.advance(half_horizon);
    let again: ControlApplied = world.event(&format!("control.applied.*.{seq}.1")).await?;
    ensure!(again.frozen && again.scope.agent.is_some(), "{again:?}");
    let unfreeze = order(&olga, "unfreeze", &body).await?;
    world
        .event::<ControlDone>(&format!("control.done.*.{unfreeze}"))
        .await?;
    let repeated = format!("control.applied.*.{seq}.*");
    let times = world.count(&repeated).await?;
    world.clock.advance(half_horizon * 2);
    // Another one, later: by then both would have stored the first again.
    let later = order(
        &olga,
        "freeze",
        &json!({"scope": {"tool": "x"}, "reason": "x"}),
    )
    .await?;
    world
        .event::<ControlDone>(&format!("control.done.*.{later}"))
        .await?;
    world.clock.advance(half_horizon * 3);
    world
        .event::<ControlApplied>(&format!("control.applied.*.{later}.1"))
        .await?;
    ensure!(
        world.count(&repeated).await? == times,
        "stored again after its release"
    );
    one.stop().await?;
    two.stop().await
}

/// People said yes and heard that it may run; a freeze stops it after that, or in the moment
/// between their vote and the decision.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_approved_what_a_freeze_stops_hears_of_it() -> Result<()> {
    let world = World::start().await?;
    let lee = world.person("lee").await?;
    let running = world.coordinator().await?;
    let [late, between] = [
        world.judge(Verdict::Ask, json!({})).await?,
        world.judge(Verdict::Ask, json!({})).await?,
    ];
    let id = ApprovalId::for_intent(late);
    let digest = world.digest(&lee, "lee", &id).await?;
    world
        .vote(&lee, "lee", &vote(&id, digest, VoteChoice::Approve))
        .await?;
    world
        .event::<ToolApproved>(&format!("tool.approved.billing.{late}"))
        .await?;
    let id = ApprovalId::for_intent(between);
    world.digest(&lee, "lee", &id).await?;
    running.stop().await?;

    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    let entry = bucket.get(id.as_str()).await?.context("no approval")?;
    let mut approval: Approval = serde_json::from_slice(&entry.value)?;
    world.end_by_hand(&mut approval, ApprovalState::Approved)?;
    let value = serde_json::to_vec(&approval)?;
    bucket
        .update(id.as_str(), value.into(), entry.revision)
        .await?;
    applied(&world, 4_711).await?;
    let running = world.coordinator().await?;
    for intent in [late, between] {
        let told = format!("handoff.blocked.support.{intent}");
        let told: Handoff = world.event(&told).await?;
        ensure!(
            told.code == "frozen" && told.intents == [intent],
            "{told:?}"
        );
    }
    ensure!(revoked(&world, late).await?.code == RevokedCode::Frozen);
    ensure!(blocked(&world, between).await?.code == BlockedCode::Frozen);
    running.stop().await
}
