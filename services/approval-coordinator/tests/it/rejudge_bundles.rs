//! The rules change while a bundle is decided, or gathered: each item is judged again, and
//! only what they still allow is emitted. The checker is played here.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use countersign_domain::approvals::{Gathering, Stop};
use countersign_domain::policy::Bundle;
use countersign_domain::policy::protocol::RecheckRequest;
use countersign_runtime::bus::Bucket;
use countersign_runtime::bus::layout::APPROVALS;
use countersign_schemas::events::{
    ApprovalRequested, ApprovalResolved, ApprovalState, BasisKind, BlockedCode, Handoff,
    ToolApproved, ToolBlocked, Verdict, VoteChoice,
};
use countersign_schemas::{ApprovalId, Digest, IntentId};
use futures::StreamExt as _;
use serde_json::json;
use tokio::task::JoinHandle;

use super::rejudge::reply;
use super::vote;
use super::world::{World, eventually};

use Verdict::{Allow, Ask};

/// A checker that lets everything run but `denied`.
async fn checker(world: &World, by: Digest, denied: Vec<IntentId>) -> Result<JoinHandle<()>> {
    let client = world.checker.client().clone();
    let mut questions = client.subscribe("cs.policy.recheck").await?;
    client.flush().await?;
    Ok(tokio::spawn(async move {
        while let Some(message) = questions.next().await {
            let question = serde_json::from_slice::<RecheckRequest>(&message.payload);
            let (Ok(question), Some(to)) = (question, message.reply) else {
                return;
            };
            let runs = !denied.contains(&question.intent_id);
            let answer = reply(by, question.intent_id, runs);
            let body = serde_json::to_vec(&answer).unwrap_or_default();
            client.publish(to, body.into()).await.ok();
        }
    }))
}

fn id(name: &str) -> Result<ApprovalId> {
    Ok(ApprovalId::for_bundle(&"billing".parse()?, &name.parse()?))
}

/// Judges the items of a bundle by an earlier bundle of rules, of a tool that is the same in
/// the one in force.
async fn judge(
    world: &World,
    rules: &Bundle,
    name: &str,
    kinds: &[Verdict],
    only: std::ops::Range<usize>,
) -> Result<Vec<IntentId>> {
    let tool = rules.catalog().tool(&"mail.send".parse()?);
    let tool = tool.context("the company sends mail")?.digest();
    let mut intents = Vec::new();
    for index in only {
        let kind = *kinds.get(index).context("an item")?;
        let place = json!({"tool_digest": tool,
            "bundle": {"id": name, "size": kinds.len(), "index": index}});
        intents.push(world.judge(kind, place).await?);
    }
    Ok(intents)
}

async fn approved(world: &World, intent: IntentId) -> Result<ToolApproved> {
    let subject = format!("tool.approved.billing.{intent}");
    world.event(&subject).await
}

async fn blocked(world: &World, intent: IntentId) -> Result<ToolBlocked> {
    let subject = format!("tool.blocked.billing.{intent}");
    world.event(&subject).await
}

/// Its first reason begins so, and it says why by the rules in force.
fn says(block: &ToolBlocked, begins: &str) -> Result<()> {
    let words: Vec<&str> = block
        .reasons
        .iter()
        .map(|one| one.message.as_str())
        .collect();
    let first = words.first().context("a reason")?;
    ensure!(first.starts_with(begins), "{words:?}");
    ensure!(words.contains(&"No mail leaves during the audit."));
    ensure!(block.code == BlockedCode::GuardrailViolated, "{block:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_approved_bundle_only_what_the_rules_deny_now_is_blocked() -> Result<()> {
    let world = World::start().await?;
    let rules = world.publish_another_bundle().await?;
    let running = world.coordinator_that_follows().await?;
    let kinds = [Ask, Allow, Ask];
    let intents = judge(&world, &rules, "payroll", &kinds, 0..3).await?;
    let checker = checker(&world, rules.digest(), vec![intents[1]]).await?;
    let id = id("payroll")?;
    let requested: ApprovalRequested = world.event(&format!("approval.requested.{id}")).await?;
    let lee = world.person("lee").await?;
    let yes = vote(&id, requested.digest, VoteChoice::Approve);
    let voted = world.vote(&lee, "lee", &yes).await?;
    ensure!(voted.state == ApprovalState::Partial, "{voted:?}");
    ensure!(voted.message.contains("1 of 3 items stopped"), "{voted:?}");

    for intent in [intents[0], intents[2]] {
        let approved = approved(&world, intent).await?;
        ensure!(approved.basis.kind == BasisKind::Person);
    }
    let block = blocked(&world, intents[1]).await?;
    says(&block, "People said yes, but the rules changed")?;
    let end: ApprovalResolved = world.event(&format!("approval.resolved.{id}")).await?;
    ensure!(end.intents == [intents[0], intents[2]], "{end:?}");
    ensure!(world.count("tool.*.billing.*").await? == 3);
    checker.abort();
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_allowed_is_judged_again_when_its_bundle_is_whole() -> Result<()> {
    let world = World::start().await?;
    let rules = world.publish_another_bundle().await?;
    let running = world.coordinator_that_follows().await?;
    let kinds = [Allow; 3];
    let mut intents = judge(&world, &rules, "batch", &kinds, 0..2).await?;
    let checker = checker(&world, rules.digest(), vec![intents[0]]).await?;
    intents.extend(judge(&world, &rules, "batch", &kinds, 2..3).await?);
    for intent in [intents[1], intents[2]] {
        let approved = approved(&world, intent).await?;
        ensure!(approved.basis.kind == BasisKind::Policy);
    }
    let block = blocked(&world, intents[0]).await?;
    says(&block, "It was allowed, but the rules changed")?;
    let told = format!("handoff.blocked.support.{}", intents[0]);
    world.event::<Handoff>(&told).await?;
    world.until_settled("batch").await?;
    ensure!(world.count("tool.*.billing.*").await? == 3);
    checker.abort();
    running.stop().await
}

/// Whoever stored first what runs has decided: a coordinator that dies before it emits leaves
/// that to the next, which judges nothing again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_of_a_bundle_is_stored_before_any_of_it_is_emitted() -> Result<()> {
    let world = World::start().await?;
    let rules = world.publish_another_bundle().await?;
    let running = world.coordinator_that_follows().await?;
    let kinds = [Allow; 2];
    let mut intents = judge(&world, &rules, "batch", &kinds, 0..1).await?;
    world.until_gathered("batch").await?;
    running.stop().await?;
    // The second is there, judged again, and nothing is emitted yet.
    intents.extend(judge(&world, &rules, "batch", &kinds, 1..2).await?);
    let (checked, stored) = world.verdict_on(intents[1]).await?;
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    let key = id("batch")?.as_str().replace("b-", "g-");
    let entry = bucket.get(&key).await?.context("gathered")?;
    let mut bundle = Gathering::read(&entry.value)?;
    let place = checked.bundle.clone().context("a place")?;
    bundle.add(&checked, &place, stored, None);
    let no = reply(rules.digest(), intents[0], false);
    bundle.judge_again(vec![(intents[0], Stop::of(&no).context("a stop")?)]);
    let value = serde_json::to_vec(&bundle)?;
    bucket.update(&key, value.into(), entry.revision).await?;

    let checker = checker(&world, rules.digest(), Vec::new()).await?;
    let running = world.coordinator_that_follows().await?;
    approved(&world, intents[1]).await?;
    let block = eventually("the other is blocked", || async {
        world.clock.advance(Duration::from_secs(1));
        Ok(world.head(intents[0]).await?.map(|head| head.subject))
    })
    .await?;
    ensure!(block == format!("tool.blocked.billing.{}", intents[0]));
    checker.abort();
    running.stop().await
}
