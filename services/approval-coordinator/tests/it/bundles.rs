//! Bundles: gathered, asked about and approved as one, whoever dies or races.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use countersign_domain::approvals::{Added, Approval, Ballot, BundleCourse, Gathering, ViewReply};
use countersign_runtime::bus::layout::APPROVALS;
use countersign_runtime::bus::{Bucket, Bus, Outgoing, Together};
use countersign_schemas::events::{
    ApprovalKind, ApprovalRequested, ApprovalResolved, ApprovalState, BasisKind, BlockedCode,
    Handoff, ToolApproved, ToolBlocked, Verdict, VoteChoice,
};
use countersign_schemas::{Address, ApprovalId, Digest, IntentId, SeqToken};
use serde_json::{Value, json};

use super::world::{World, company, eventually, verdict};
use super::{vote, withdraw};

use Verdict::{Allow, Ask, Deny};

fn id(bundle: &str) -> Result<ApprovalId> {
    Ok(ApprovalId::for_bundle(
        &"billing".parse()?,
        &bundle.parse()?,
    ))
}

fn place(bundle: &str, size: usize, index: usize) -> Value {
    json!({"bundle": {"id": bundle, "size": size, "index": index}})
}

/// Judges item `index` of a bundle as the checker does.
async fn judge(
    world: &World,
    bundle: &str,
    size: usize,
    index: usize,
    kind: Verdict,
) -> Result<IntentId> {
    world.judge(kind, place(bundle, size, index)).await
}

async fn judge_all(world: &World, bundle: &str, kinds: &[Verdict]) -> Result<Vec<IntentId>> {
    let mut intents = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        intents.push(judge(world, bundle, kinds.len(), index, *kind).await?);
    }
    Ok(intents)
}

async fn asked(world: &World, bundle: &str) -> Result<ApprovalRequested> {
    let id = id(bundle)?;
    world
        .event::<Handoff>(&format!("handoff.approval.support.{id}"))
        .await?;
    world.event(&format!("approval.requested.{id}")).await
}

async fn approved(world: &World, intent: IntentId) -> Result<ToolApproved> {
    world
        .event(&format!("tool.approved.billing.{intent}"))
        .await
}

async fn blocked(world: &World, intent: IntentId) -> Result<ToolBlocked> {
    world.event(&format!("tool.blocked.billing.{intent}")).await
}

/// The sequence of each decision.
async fn sequences(world: &World, intents: &[IntentId]) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for intent in intents {
        found.push(world.head(*intent).await?.context("a decision")?.seq);
    }
    Ok(found)
}

/// One batch lies in one piece of the stream.
fn in_one_piece(sequences: &[u64]) -> bool {
    sequences.is_sorted_by(|one, next| one + 1 == *next)
}

async fn say_yes(
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
    world.bundle_wait = Duration::from_secs(2);
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
async fn a_bundle_survives_a_restart_in_every_state() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let first = judge(&world, "b", 2, 0, Ask).await?;
    world.until_gathered("b").await?;
    running.stop().await?;

    let second = judge(&world, "b", 2, 1, Allow).await?;
    let running = world.coordinator().await?;
    asked(&world, "b").await?;
    let lee = world.person("lee").await?;
    let digest = world.digest(&lee, "lee", &id("b")?).await?;
    running.stop().await?;

    let key = id("b")?;
    granted_by_one_who_died(&world, &key, digest).await?;
    ensure!(world.head(first).await?.is_none());

    world.clock.advance(Duration::from_secs(60));
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    approved(&world, first).await?;
    approved(&world, second).await?;
    let told = format!("approval.resolved.{key}");
    world.event::<ApprovalResolved>(&told).await?;
    ensure!(world.life_in_bucket(&key).await? == "90000");
    one.stop().await?;
    two.stop().await?;
    ensure!(world.count("tool.*.billing.*").await? == 2);
    Ok(())
}

/// Somebody stored the yes and died before anything followed from it.
async fn granted_by_one_who_died(
    world: &World,
    key: &ApprovalId,
    digest: Digest,
) -> Result<Approval> {
    let approval = voted_by_one_who_died(world, key, digest, None).await?;
    ensure!(approval.state() == ApprovalState::Approved);
    Ok(approval)
}

/// The same with a vote for these items only.
async fn voted_by_one_who_died(
    world: &World,
    key: &ApprovalId,
    digest: Digest,
    items: Option<Vec<IntentId>>,
) -> Result<Approval> {
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    let entry = bucket.get(key.as_str()).await?.context("kept")?;
    let mut approval: Approval = serde_json::from_slice(&entry.value)?;
    cast_on(&mut approval, digest, items, world)?;
    let value = serde_json::to_vec(&approval)?;
    bucket
        .update(key.as_str(), value.into(), entry.revision)
        .await?;
    Ok(approval)
}

/// Whether the end of `approval` lies before every decision on these intents.
async fn told_first(world: &World, approval: &ApprovalId, intents: &[IntentId]) -> Result<bool> {
    let told = format!("approval.resolved.{approval}");
    let told = world.any(&told).await?.seq;
    let decided = sequences(world, intents).await?;
    Ok(decided.iter().all(|decision| told < *decision))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_approval_is_told_before_any_decision_that_follows_from_it() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let intents = judge_all(&world, "b", &[Ask, Ask, Ask]).await?;
    asked(&world, "b").await?;
    say_yes(&world, "b", "lee", Some(intents[..2].to_vec())).await?;
    approved(&world, intents[0]).await?;
    approved(&world, intents[1]).await?;
    blocked(&world, intents[2]).await?;
    ensure!(told_first(&world, &id("b")?, &intents).await?);

    let alone = world.judge(Ask, json!({})).await?;
    let its = ApprovalId::for_intent(alone);
    let requested = format!("approval.requested.{its}");
    let requested: ApprovalRequested = world.event(&requested).await?;
    let lee = world.person("lee").await?;
    let ballot = vote(&its, requested.digest, VoteChoice::Approve);
    ensure!(world.vote(&lee, "lee", &ballot).await?.counted);
    approved(&world, alone).await?;
    ensure!(told_first(&world, &its, &[alone]).await?);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_told_before_its_coordinator_died_is_decided_by_the_next() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let intents = judge_all(&world, "b", &[Ask, Ask]).await?;
    asked(&world, "b").await?;
    let lee = world.person("lee").await?;
    let key = id("b")?;
    let digest = world.digest(&lee, "lee", &key).await?;
    running.stop().await?;

    let approval = granted_by_one_who_died(&world, &key, digest).await?;
    tell(&world, &approval).await?;
    ensure!(world.head(intents[0]).await?.is_none());

    world.clock.advance(Duration::from_secs(60));
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    for intent in &intents {
        approved(&world, *intent).await?;
    }
    one.stop().await?;
    two.stop().await?;
    ensure!(told_first(&world, &key, &intents).await?);
    ensure!(world.count("approval.resolved.*").await? == 1, "told once");
    ensure!(world.count("tool.*.billing.*").await? == 2);
    Ok(())
}

fn cast_on(
    approval: &mut Approval,
    digest: Digest,
    items: Option<Vec<IntentId>>,
    world: &World,
) -> Result<()> {
    let mut ballot = vote(approval.id(), digest, VoteChoice::Approve);
    ballot.items = items;
    let ballot = Ballot {
        approver: &"lee".parse()?,
        via: &"self".parse()?,
        message: &SeqToken::new("abc".parse()?, 1),
        stored_at: world.now(),
        vote: &ballot,
        reason: None,
    };
    ensure!(approval.vote(&ballot, &company()?).changed);
    Ok(())
}

/// Stores the event that tells an end.
async fn tell(world: &World, approval: &Approval) -> Result<()> {
    let resolved = approval.resolved().context("an end")?;
    let address = Address::ApprovalResolved {
        approval: approval.id().clone(),
    };
    let meta = world.meta("approval-coordinator")?;
    let out = Outgoing::event(&address, &resolved, &meta)?;
    world.as_coordinator().await?.store_once(out).await?;
    Ok(())
}

/// Some items are granted and the others not: whether its coordinator dies before that is
/// told or after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_partial_end_survives_the_death_of_its_coordinator() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let mut bundles = Vec::new();
    for name in ["untold", "told"] {
        let intents = judge_all(&world, name, &[Ask, Ask, Ask]).await?;
        let digest = asked(&world, name).await?.digest;
        bundles.push((name, intents, digest));
    }
    running.stop().await?;
    for (name, intents, digest) in &bundles {
        let some = Some(intents[..2].to_vec());
        let approval = voted_by_one_who_died(&world, &id(name)?, *digest, some).await?;
        ensure!(approval.state() == ApprovalState::Partial);
        if *name == "told" {
            tell(&world, &approval).await?;
        }
    }
    world.clock.advance(Duration::from_secs(60));
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    for (name, intents, _) in &bundles {
        approved(&world, intents[0]).await?;
        approved(&world, intents[1]).await?;
        let left = blocked(&world, intents[2]).await?;
        ensure!(left.code == BlockedCode::DeniedByPerson, "{name}");
        ensure!(in_one_piece(&sequences(&world, &intents[..2]).await?));
        ensure!(told_first(&world, &id(name)?, intents).await?);
    }
    one.stop().await?;
    two.stop().await?;
    ensure!(world.count("approval.resolved.*").await? == 2);
    ensure!(world.count("tool.*.billing.*").await? == 6);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_was_whole_when_its_coordinator_died_is_finished_by_the_next() -> Result<()> {
    let world = World::start().await?;
    let intents = [(); 3].map(|()| IntentId::new_at(world.now()));
    let bundle = gathered(&world, &intents, Allow)?;
    ensure!(matches!(bundle.course(), BundleCourse::Emit(_)));
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    let value = serde_json::to_vec(&bundle)?;
    bucket.create(&gathering_key()?, value.into()).await?;
    // The message of its last item comes again, or, where that is lost, its time is over.
    world.clock.advance(Duration::from_secs(60));
    let (one, two) = (world.coordinator().await?, world.coordinator().await?);
    for intent in &intents {
        approved(&world, *intent).await?;
    }
    one.stop().await?;
    two.stop().await?;
    ensure!(in_one_piece(&sequences(&world, &intents).await?));
    ensure!(world.count("tool.*.billing.*").await? == 3);
    Ok(())
}

/// The bundle `b` as it stands when `intents` have been taken in, without a coordinator.
fn gathered(world: &World, intents: &[IntentId], kind: Verdict) -> Result<Gathering> {
    let (at, wait) = (world.now(), Duration::from_secs(1));
    let mut bundle: Option<Gathering> = None;
    for (index, intent) in intents.iter().enumerate() {
        let checked = verdict(kind, *intent, place("b", intents.len(), index))?;
        let place = checked.bundle.clone().context("a place")?;
        let bundle = match &mut bundle {
            Some(bundle) => bundle,
            None => {
                let opened = Gathering::open(&checked, &place, at, wait);
                bundle.insert(opened.map_err(|(_, why)| anyhow!(why))?)
            }
        };
        ensure!(bundle.add(&checked, &place, at, None) == Added::Taken);
    }
    bundle.context("a bundle")
}

/// Where the bundle `b` is gathered.
fn gathering_key() -> Result<String> {
    Ok(id("b")?.as_str().replace("b-", "g-"))
}

/// Every item is blocked because another bundle had the name.
async fn blocked_for_its_name(world: &World, intents: &[IntentId]) -> Result<()> {
    for intent in intents {
        let block = blocked(world, *intent).await?;
        ensure!(block.code == BlockedCode::InvalidInput, "{block:?}");
        let why = &block.reasons.first().context("a reason")?.message;
        ensure!(why.contains("was used before; take a new one"), "{why}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_under_which_people_were_asked_is_not_used_again() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let first = judge_all(&world, "b", &[Ask, Ask]).await?;
    asked(&world, "b").await?;
    // The gathering is settled, and its life ends before people have decided.
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    world.until_settled("b").await?;
    bucket.remove(&gathering_key()?).await?;
    let second = judge_all(&world, "b", &[Ask, Allow]).await?;
    blocked_for_its_name(&world, &second).await?;
    ensure!(say_yes(&world, "b", "lee", None).await? == ApprovalState::Approved);
    for intent in first {
        approved(&world, intent).await?;
    }
    // Later the approval is forgotten too, and the events stay.
    ensure!(world.life_in_bucket(&id("b")?).await? == "90000");
    bucket.remove(id("b")?.as_str()).await?;
    let third = judge_all(&world, "b", &[Allow, Ask]).await?;
    blocked_for_its_name(&world, &third).await?;
    running.stop().await?;
    ensure!(world.count("approval.requested.*").await? == 1);
    ensure!(world.count("tool.*.billing.*").await? == 6);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_comes_again_when_its_gathering_is_forgotten_is_still_of_its_bundle()
-> Result<()> {
    let world = World::start().await?;
    let intents = [(); 2].map(|()| IntentId::new_at(world.now()));
    let bundle = gathered(&world, &intents, Ask)?;
    let BundleCourse::Ask(approval) = bundle.course() else {
        bail!("nobody is asked")
    };
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    let value = serde_json::to_vec(&approval)?;
    bucket.create(id("b")?.as_str(), value.into()).await?;
    for (index, intent) in intents.iter().enumerate() {
        world.judge_this(*intent, Ask, place("b", 2, index)).await?;
    }
    let other = judge(&world, "b", 2, 1, Ask).await?;
    let running = world.coordinator().await?;
    blocked_for_its_name(&world, &[other]).await?;
    eventually("every verdict is handled", || async {
        Ok((world.verdicts_waiting().await? == 0).then_some(()))
    })
    .await?;
    ensure!(world.count("tool.*.billing.*").await? == 1, "they wait");
    ensure!(bucket.get(&gathering_key()?).await?.is_none());
    ensure!(say_yes(&world, "b", "lee", None).await? == ApprovalState::Approved);
    for intent in intents {
        approved(&world, intent).await?;
    }
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_bundle_that_finds_another_ones_approval_is_blocked() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let first = judge_all(&world, "b", &[Ask, Ask]).await?;
    asked(&world, "b").await?;
    let revision = world.until_settled("b").await?;
    running.stop().await?;
    // As a coordinator of an earlier version left it.
    let second = [(); 2].map(|()| IntentId::new_at(world.now()));
    let value = serde_json::to_vec(&gathered(&world, &second, Ask)?)?;
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    bucket
        .update(&gathering_key()?, value.into(), revision)
        .await?;
    world.clock.advance(Duration::from_secs(60));
    let running = world.coordinator().await?;
    blocked_for_its_name(&world, &second).await?;
    ensure!(say_yes(&world, "b", "lee", None).await? == ApprovalState::Approved);
    for intent in first {
        approved(&world, intent).await?;
    }
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
