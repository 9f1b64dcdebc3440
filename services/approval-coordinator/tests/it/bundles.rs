//! Bundles: gathered, asked about and approved as one, whoever races.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use countersign_domain::approvals::ViewReply;
use countersign_runtime::bus::{Bus, Outgoing, Together};
use countersign_schemas::events::{
    ApprovalKind, ApprovalRequested, ApprovalResolved, ApprovalState, BasisKind, BlockedCode,
    Handoff, ToolApproved, ToolBlocked, Verdict, VoteChoice,
};
use countersign_schemas::{Address, ApprovalId, IntentId};
use serde_json::{Value, json};

use super::ends::withdraw;
use super::world::{World, verdict};
use super::{SOON, vote};

use Verdict::{Allow, Ask, Deny};

pub(super) fn id(bundle: &str) -> Result<ApprovalId> {
    Ok(ApprovalId::for_bundle(
        &"billing".parse()?,
        &bundle.parse()?,
    ))
}

pub(super) fn place(bundle: &str, size: usize, index: usize) -> Value {
    json!({"bundle": {"id": bundle, "size": size, "index": index}})
}

/// Judges item `index` of a bundle as the checker does.
pub(super) async fn judge(
    world: &World,
    bundle: &str,
    size: usize,
    index: usize,
    kind: Verdict,
) -> Result<IntentId> {
    world.judge(kind, place(bundle, size, index)).await
}

pub(super) async fn judge_all(
    world: &World,
    bundle: &str,
    kinds: &[Verdict],
) -> Result<Vec<IntentId>> {
    let mut intents = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        intents.push(judge(world, bundle, kinds.len(), index, *kind).await?);
    }
    Ok(intents)
}

pub(super) async fn asked(world: &World, bundle: &str) -> Result<ApprovalRequested> {
    let id = id(bundle)?;
    world
        .event::<Handoff>(&format!("handoff.approval.support.{id}"))
        .await?;
    world.event(&format!("approval.requested.{id}")).await
}

pub(super) async fn approved(world: &World, intent: IntentId) -> Result<ToolApproved> {
    world
        .event(&format!("tool.approved.billing.{intent}"))
        .await
}

pub(super) async fn blocked(world: &World, intent: IntentId) -> Result<ToolBlocked> {
    world.event(&format!("tool.blocked.billing.{intent}")).await
}

/// The sequence of each decision.
pub(super) async fn sequences(world: &World, intents: &[IntentId]) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for intent in intents {
        found.push(world.head(*intent).await?.context("a decision")?.seq);
    }
    Ok(found)
}

/// One batch lies in one piece of the stream.
pub(super) fn in_one_piece(sequences: &[u64]) -> bool {
    sequences.is_sorted_by(|one, next| one + 1 == *next)
}

pub(super) async fn say_yes(
    world: &World,
    bundle: &str,
    who: &str,
    items: Option<Vec<IntentId>>,
) -> Result<ApprovalState> {
    let (id, person) = (id(bundle)?, world.person(who).await?);
    let digest = world.digest(&person, who, &id).await?;
    let mut ballot = vote(&id, digest, VoteChoice::Approve);
    ballot.items = items;
    let answer = world.vote(&person, who, &ballot).await?;
    ensure!(answer.counted, "{}", answer.message);
    Ok(answer.state)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_decided_as_one_by_two_coordinators() -> Result<()> {
    let world = World::start().await?;
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    let kinds = [Ask, Allow, Deny, Ask, Ask, Allow];
    let mut intents = Vec::new();
    for (index, kind) in kinds.iter().enumerate().take(5) {
        intents.push(judge(&world, "payroll", 6, index, *kind).await?);
    }
    let denied = blocked(&world, intents[2]).await?;
    ensure!(denied.code == BlockedCode::PolicyDenied, "blocked at once");
    ensure!(
        world.count("tool.*.billing.*").await? == 1,
        "the others wait"
    );
    intents.push(judge(&world, "payroll", 6, 5, Allow).await?);

    let asked = asked(&world, "payroll").await?;
    ensure!(asked.kind == ApprovalKind::Bundle && asked.items.len() == 5);
    let lee = world.person("lee").await?;
    let show = json!({"op": "show", "approval_id": id("payroll")?.as_str()});
    let ViewReply::Shown { approval } = world.ask_view(&lee, "lee", show).await? else {
        bail!("not shown")
    };
    let view = approval.view.context("a member sees all of it")?;
    ensure!(view.digest()? == approval.digest);
    ensure!(view.left_out.len() == 1 && view.left_out[0].index == 2);

    let some = [0, 1, 3, 5].map(|n| intents[n]);
    let state = say_yes(&world, "payroll", "lee", Some(some.to_vec())).await?;
    ensure!(state == ApprovalState::Partial);
    for intent in some {
        let approved = approved(&world, intent).await?;
        ensure!(approved.basis.kind == BasisKind::Person);
        ensure!(approved.basis.approval_id == Some(id("payroll")?));
    }
    let left = blocked(&world, intents[4]).await?;
    ensure!(left.code == BlockedCode::DeniedByPerson);
    let told = format!("approval.resolved.{}", id("payroll")?);
    let resolved: ApprovalResolved = world.event(&told).await?;
    ensure!(resolved.intents == some && resolved.kind == ApprovalKind::Bundle);
    ensure!(in_one_piece(&sequences(&world, &some).await?), "one batch");
    one.stop().await?;
    two.stop().await?;
    ensure!(
        world.count("tool.*.billing.*").await? == 6,
        "one decision each"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_policy_allows_is_approved_together_when_all_of_it_is_checked() -> Result<()> {
    let world = World::start().await?;
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    let mut all = Vec::new();
    for round in 0..5 {
        let name = format!("round-{round}");
        let mut intents = Vec::new();
        for index in (0..7).rev() {
            ensure!(world.count("tool.*.billing.*").await? == round * 7);
            intents.push(judge(&world, &name, 7, index, Allow).await?);
        }
        for intent in &intents {
            let approved = approved(&world, *intent).await?;
            ensure!(approved.basis.kind == BasisKind::Policy);
        }
        intents.reverse();
        ensure!(in_one_piece(&sequences(&world, &intents).await?), "{name}");
        all.extend(intents);
    }
    one.stop().await?;
    two.stop().await?;
    ensure!(world.count("tool.*.billing.*").await? == all.len());
    ensure!(
        world.count("approval.requested.*").await? == 0,
        "nobody is asked"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_never_becomes_whole_is_blocked_in_words() -> Result<()> {
    let mut world = World::start().await?;
    world.bundle_wait = Duration::from_secs(SOON);
    let running = world.coordinator().await?;
    let first = judge(&world, "half", 3, 0, Allow).await?;
    let denied = judge(&world, "half", 3, 2, Deny).await?;
    blocked(&world, denied).await?;
    running.stop().await?;
    world.until_timer_fired("bundle", &id("half")?).await?;
    ensure!(world.head(first).await?.is_none(), "nobody was there");

    let running = world.coordinator().await?;
    let block = blocked(&world, first).await?;
    ensure!(block.code == BlockedCode::BundleIncomplete);
    let why = &block.reasons[0].message;
    ensure!(why.contains("2 of 3 items came before"), "{why}");
    ensure!(why.contains("missing (counted from 0): 1."), "{why}");
    let late = judge(&world, "half", 3, 1, Allow).await?;
    let block = blocked(&world, late).await?;
    ensure!(block.code == BlockedCode::BundleIncomplete);
    ensure!(
        block.reasons[0].message.contains("had ended at"),
        "{block:?}"
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_does_not_fit_is_blocked_and_the_bundle_goes_on() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let first = judge(&world, "b", 2, 0, Allow).await?;
    world.until_gathered("b").await?;
    for (name, size, index, words) in [
        ("b", 3, 1, "the first item of the bundle said 2"),
        ("b", 2, 0, "Another intent has place 0"),
        ("c", 101, 0, "a bundle has 1 to 100"),
    ] {
        let other = judge(&world, name, size, index, Allow).await?;
        let block = blocked(&world, other).await?;
        ensure!(block.code == BlockedCode::InvalidInput);
        ensure!(block.reasons[0].message.contains(words), "{block:?}");
    }
    let dry = world.judge(Allow, {
        let mut place = place("b", 2, 1);
        place["dry_run"] = json!(true);
        place
    });
    let block = blocked(&world, dry.await?).await?;
    ensure!(block.code == BlockedCode::DryRun);
    approved(&world, first).await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_is_taken_out_and_the_others_run() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let first = judge(&world, "b", 4, 0, Ask).await?;
    world.until_gathered("b").await?;
    withdraw(&world, first).await?;
    ensure!(blocked(&world, first).await?.code == BlockedCode::Withdrawn);
    let mut rest = Vec::new();
    for index in 1..4 {
        rest.push(judge(&world, "b", 4, index, Ask).await?);
    }
    ensure!(asked(&world, "b").await?.items.len() == 3);
    withdraw(&world, rest[1]).await?;
    let block = blocked(&world, rest[1]).await?;
    ensure!(
        block.code == BlockedCode::Withdrawn,
        "at once, before people decide"
    );
    // What an approval is about was shown before: a yes to all of it is a yes to the rest.
    let state = say_yes(&world, "b", "lee", None).await?;
    ensure!(state == ApprovalState::Approved);
    approved(&world, rest[0]).await?;
    approved(&world, rest[2]).await?;
    ensure!(
        world
            .subject_of_head(rest[1])
            .await?
            .starts_with("tool.blocked")
    );
    let all = judge_all(&world, "c", &[Ask, Ask]).await?;
    asked(&world, "c").await?;
    for intent in all {
        withdraw(&world, intent).await?;
        ensure!(blocked(&world, intent).await?.code == BlockedCode::Withdrawn);
    }
    let told = format!("approval.resolved.{}", id("c")?);
    let resolved: ApprovalResolved = world.event(&told).await?;
    ensure!(resolved.state == ApprovalState::Cancelled);
    running.stop().await
}

/// Blocks an intent as a coordinator does, on its own chain.
async fn block(world: &World, bus: &Bus, intent: IntentId) -> Result<()> {
    let checked = verdict(Ask, intent, json!({}))?;
    let code = BlockedCode::Frozen;
    let decision = countersign_domain::decision::blocked(&checked, code, "Frozen.");
    let countersign_domain::decision::Decision::Blocked(event) = decision else {
        bail!("no block")
    };
    let agent = "billing".parse()?;
    let filter = Address::chain_filter(&agent, intent);
    let address = Address::ToolBlocked { agent, intent };
    let out = Outgoing::event(
        &address,
        event.as_ref(),
        &world.meta("approval-coordinator")?,
    )?;
    bus.append(out, &filter, 0).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_formed_again_without_what_has_moved() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let intents = judge_all(&world, "b", &[Ask, Ask, Ask, Ask]).await?;
    asked(&world, "b").await?;
    let bus = world.as_coordinator().await?;
    block(&world, &bus, intents[1]).await?;
    // Bytes that are none of ours keep nothing from being decided.
    let foreign = format!("tool.completed.billing.{}", intents[2]);
    let out = Outgoing::raw(&foreign, b"{}".as_slice().into());
    world.executor.publisher().publish(out).await?;
    say_yes(&world, "b", "lee", None).await?;
    let run = [intents[0], intents[2], intents[3]];
    for intent in run {
        approved(&world, intent).await?;
    }
    ensure!(in_one_piece(&sequences(&world, &run).await?), "one batch");
    ensure!(
        world
            .subject_of_head(intents[1])
            .await?
            .starts_with("tool.blocked")
    );
    ensure!(
        world
            .count(&format!("tool.*.billing.{}", intents[1]))
            .await?
            == 1
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_stored_whole_or_not_at_all() -> Result<()> {
    let world = World::start().await?;
    let bus = world.as_coordinator().await?;
    let out = |intent: &str, expected: u64| {
        let subject = format!("tool.approved.billing.{intent}");
        let filter = format!("tool.*.billing.{intent}");
        Outgoing::raw(&subject, b"{}".as_slice().into()).expecting(&filter, expected)
    };
    let both = vec![out("a", 0), out("b", 0)];
    ensure!(bus.append_together(both).await? == Together::Stored);
    let again = vec![out("c", 0), out("b", 0), out("d", 0)];
    ensure!(bus.append_together(again).await? == Together::Conflict);
    ensure!(world.count("tool.*.billing.*").await? == 2, "all or none");
    let last = vec![out("c", 0), out("b", 2)];
    ensure!(bus.append_together(last).await? == Together::Stored);
    ensure!(bus.append_together(Vec::new()).await.is_err());
    Ok(())
}

/// What a changed tool takes out of a bundle is told to whoever can help, though people go on
/// deciding the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_tool_takes_its_items_out_of_a_bundle_and_people_hear_of_it() -> Result<()> {
    let world = World::start().await?;
    let bundle = world.publish_another_bundle().await?;
    let running = world.coordinator_that_follows().await?;
    let tool = bundle.catalog().tool(&"mail.send".parse()?);
    let mut same = place("b", 2, 0);
    same["tool_digest"] = json!(tool.context("the company sends mail")?.digest());
    let same = world.judge(Ask, same).await?;
    let changed = judge(&world, "b", 2, 1, Ask).await?;
    ensure!(blocked(&world, changed).await?.code == BlockedCode::ToolChanged);
    let told = format!("handoff.blocked.support.{changed}");
    let told: Handoff = world.event(&told).await?;
    ensure!(
        told.code == "tool_changed" && told.intents == [changed],
        "{told:?}"
    );
    asked(&world, "b").await?;
    ensure!(world.head(same).await?.is_none(), "people still decide it");
    running.stop().await
}
