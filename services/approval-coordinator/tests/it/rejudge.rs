//! The rules change while people decide: what they grant is judged again before anything is
//! emitted. The checker is played here, so that each answer comes when it is wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use countersign_domain::approvals::{Approval, Ballot, Stop};
use countersign_domain::policy::protocol::{RecheckReply, RecheckRequest};
use countersign_domain::policy::{Bundle, Directory};
use countersign_runtime::bus::layout::APPROVALS;
use countersign_runtime::bus::{Bucket, Bus};
use countersign_schemas::events::{
    ApprovalRequested, ApprovalResolved, ApprovalState, BlockedCode, Need, Reason, ToolApproved,
    ToolBlocked, Verdict, VoteChoice,
};
use countersign_schemas::{ApprovalId, Digest, IntentId, PersonId, SeqToken};
use futures::StreamExt as _;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::vote;
use crate::world::{PATIENCE, World, eventually};

/// What the checker answers to one question, or nothing.
type Script = Vec<Option<bool>>;

/// A checker that answers by `script`, once as many questions are there as it has answers;
/// then in turn, the last one for ever.
async fn checker(
    world: &World,
    by: Digest,
    script: Script,
) -> Result<(JoinHandle<()>, mpsc::UnboundedReceiver<RecheckRequest>)> {
    let client = world.checker.client().clone();
    let mut questions = client.subscribe("cs.policy.recheck").await?;
    client.flush().await?;
    let (told, asked) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let mut waiting = Vec::new();
        let mut script = script.into_iter().peekable();
        let mut first = script.len();
        while let Some(message) = questions.next().await {
            let Ok(question) = serde_json::from_slice::<RecheckRequest>(&message.payload) else {
                return;
            };
            told.send(question.clone()).ok();
            waiting.push((message.reply, question.intent_id));
            if waiting.len() < first {
                continue;
            }
            first = 0;
            for (to, intent) in waiting.drain(..) {
                let last = script.len() == 1;
                let runs = match last {
                    true => script.peek().copied().flatten(),
                    false => script.next().flatten(),
                };
                let (Some(to), Some(runs)) = (to, runs) else {
                    continue;
                };
                let body = serde_json::to_vec(&reply(by, intent, runs)).unwrap_or_default();
                client.publish(to, body.into()).await.ok();
            }
        }
    });
    Ok((task, asked))
}

pub(super) fn reply(by: Digest, intent_id: IntentId, runs: bool) -> RecheckReply {
    let reason = |code: &str, message: &str| Reason {
        code: code.to_owned(),
        message: message.to_owned(),
        policy_id: None,
    };
    let no = vec![
        reason("recheck_denied", "the rules in force no longer allow it"),
        reason("guardrail_violated", "No mail leaves during the audit."),
    ];
    RecheckReply {
        intent_id,
        runs,
        verdict: if runs { Verdict::Allow } else { Verdict::Deny },
        reasons: if runs { Vec::new() } else { no },
        needs: vec![Need {
            code: "rule".to_owned(),
            message: "The audit is over on Friday.".to_owned(),
        }],
        policy_digest: by,
        tool_digest: None,
    }
}

/// Something that waits for people, judged by an earlier bundle, of a tool that is the same
/// in the one in force.
async fn waiting(world: &World, bundle: &Bundle) -> Result<(IntentId, ApprovalId, Digest)> {
    let tool = bundle.catalog().tool(&"mail.send".parse()?);
    let tool = tool.context("the company sends mail")?.digest();
    let intent = world
        .judge(Verdict::Ask, json!({"tool_digest": tool}))
        .await?;
    let id = ApprovalId::for_intent(intent);
    let requested = format!("approval.requested.{id}");
    let requested: ApprovalRequested = world.event(&requested).await?;
    Ok((intent, id, requested.digest))
}

async fn cast(world: &World, as_: &Bus, who: &str, id: &ApprovalId, digest: Digest) -> Result<u64> {
    world
        .cast(as_, who, &vote(id, digest, VoteChoice::Approve))
        .await
}

async fn resolved(world: &World, id: &ApprovalId) -> Result<ApprovalResolved> {
    world.event(&format!("approval.resolved.{id}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_in_force_deny_is_blocked_with_their_reason_though_people_said_yes()
-> Result<()> {
    let world = World::start().await?;
    let bundle = world.publish_another_bundle().await?;
    let running = world.coordinator_that_follows().await?;
    let (checker, mut asked) = checker(&world, bundle.digest(), vec![Some(false)]).await?;
    let (intent, id, digest) = waiting(&world, &bundle).await?;
    let lee = world.person("lee").await?;
    let voted = world
        .vote(&lee, "lee", &vote(&id, digest, VoteChoice::Approve))
        .await?;
    ensure!(
        voted.counted && voted.state == ApprovalState::Failed,
        "{voted:?}"
    );
    ensure!(voted.message.contains("during the audit"), "{voted:?}");

    let question = asked.recv().await.context("nobody asked")?;
    ensure!(question.intent_id == intent && question.agent.as_str() == "billing");
    let told = question.approval.context("it is told who approved")?;
    ensure!(told.votes.len() == 1 && told.votes.iter().all(|vote| vote.reason.is_none()));
    let blocked: ToolBlocked = world
        .event(&format!("tool.blocked.billing.{intent}"))
        .await?;
    ensure!(
        blocked.code == BlockedCode::GuardrailViolated,
        "{blocked:?}"
    );
    let words: Vec<&str> = blocked
        .reasons
        .iter()
        .map(|why| why.message.as_str())
        .collect();
    ensure!(
        words
            .first()
            .is_some_and(|why| why.starts_with("People said yes, but the rules changed")),
        "{words:?}"
    );
    ensure!(words.contains(&"No mail leaves during the audit."));
    let needs: Vec<&str> = blocked
        .needs
        .iter()
        .map(|need| need.message.as_str())
        .collect();
    ensure!(needs == ["The audit is over on Friday."], "{needs:?}");
    let end = resolved(&world, &id).await?;
    ensure!(
        end.state == ApprovalState::Failed && end.votes.len() == 1,
        "{end:?}"
    );
    ensure!(world.count(&format!("tool.*.billing.{intent}")).await? == 1);
    checker.abort();
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_in_force_still_grant_goes_on_and_what_they_judged_is_not_asked_about()
-> Result<()> {
    let world = World::start().await?;
    let bundle = world.publish_another_bundle().await?;
    let running = world.coordinator_that_follows().await?;
    let (checker, mut asked) = checker(&world, bundle.digest(), vec![Some(true)]).await?;
    let lee = world.person("lee").await?;
    let (intent, id, digest) = waiting(&world, &bundle).await?;
    cast(&world, &lee, "lee", &id, digest).await?;
    let approved: ToolApproved = world
        .event(&format!("tool.approved.billing.{intent}"))
        .await?;
    ensure!(approved.basis.approval_id == Some(id.clone()));
    ensure!(resolved(&world, &id).await?.state == ApprovalState::Approved);
    ensure!(
        asked
            .recv()
            .await
            .is_some_and(|one| one.intent_id == intent)
    );

    // The end is told before the decision: whoever asks again finds it.
    let end = world.any(&format!("approval.resolved.{id}")).await?.seq;
    let decided = world
        .any(&format!("tool.approved.billing.{intent}"))
        .await?;
    ensure!(end < decided.seq);

    let tool = bundle
        .catalog()
        .tool(&"mail.send".parse()?)
        .context("a tool")?;
    let same = json!({"tool_digest": tool.digest(), "policy_digest": bundle.digest()});
    let intent = world.judge(Verdict::Ask, same).await?;
    let id = ApprovalId::for_intent(intent);
    let requested = format!("approval.requested.{id}");
    let requested: ApprovalRequested = world.event(&requested).await?;
    cast(&world, &lee, "lee", &id, requested.digest).await?;
    let subject = format!("tool.approved.billing.{intent}");
    world.event::<ToolApproved>(&subject).await?;
    ensure!(
        asked.try_recv().is_err(),
        "the bundle in force had judged it"
    );
    checker.abort();
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_checker_is_silent_nothing_is_emitted_and_after_a_while_it_is_blocked()
-> Result<()> {
    let world = World::start().await?;
    let bundle = world.publish_another_bundle().await?;
    let running = world.coordinator_that_follows().await?;
    let lee = world.person("lee").await?;
    let (intent, id, digest) = waiting(&world, &bundle).await?;
    // It judges by a bundle that is in force no longer: as good as silence.
    let stale = Digest::of_bytes(b"stale");
    let (checker, mut asked) = checker(&world, stale, vec![Some(true)]).await?;
    let seq = cast(&world, &lee, "lee", &id, digest).await?;
    for _ in 0..3 {
        let again = tokio::time::timeout(PATIENCE, asked.recv()).await?;
        ensure!(again.is_some_and(|one| one.intent_id == intent));
        ensure!(
            world.head(intent).await?.is_none(),
            "it was emitted unjudged"
        );
    }
    world.clock.advance(Duration::from_secs(31));
    let blocked: ToolBlocked = world
        .event(&format!("tool.blocked.billing.{intent}"))
        .await?;
    ensure!(blocked.code == BlockedCode::Unavailable, "{blocked:?}");
    ensure!(
        blocked
            .needs
            .iter()
            .any(|need| need.message.contains("then a new intent"))
    );
    ensure!(resolved(&world, &id).await?.state == ApprovalState::Failed);
    world.any(&format!("approval.voted.{id}.*.{seq}")).await?;
    checker.abort();
    running.stop().await
}

/// Two coordinators hear different answers about one approval: one of the two is stored, and
/// everything that is emitted follows from it.
#[tokio::test(flavor = "multi_thread")]
async fn two_coordinators_that_hear_different_answers_decide_once() -> Result<()> {
    let world = World::start().await?;
    let bundle = world.publish_another_bundle().await?;
    let (one, two) = (
        world.coordinator_that_follows().await?,
        world.coordinator_that_follows().await?,
    );
    let (lee, sam) = (world.person("lee").await?, world.person("sam").await?);
    let ends = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    for round in 0..6 {
        let script = vec![Some(round % 2 == 0), Some(round % 2 == 1)];
        let (checker, _asked) = checker(&world, bundle.digest(), script).await?;
        let (intent, id, digest) = waiting(&world, &bundle).await?;
        let (left, right) = tokio::join!(
            cast(&world, &lee, "lee", &id, digest),
            cast(&world, &sam, "sam", &id, digest),
        );
        for seq in [left?, right?] {
            world.any(&format!("approval.voted.{id}.*.{seq}")).await?;
        }
        let end = resolved(&world, &id).await?;
        let head = eventually("a decision", || async { world.head(intent).await }).await?;
        let (kind, at) = match end.state {
            ApprovalState::Approved => ("approved", 0),
            _ => ("blocked", 1),
        };
        ensure!(
            head.subject == format!("tool.{kind}.billing.{intent}"),
            "{end:?} {head:?}"
        );
        ensure!(world.count(&format!("tool.*.billing.{intent}")).await? == 1);
        ends[at].fetch_add(1, Ordering::Relaxed);
        checker.abort();
    }
    let ends = ends.each_ref().map(|one| one.load(Ordering::Relaxed));
    ensure!(ends.iter().sum::<usize>() == 6, "{ends:?}");
    one.stop().await?;
    two.stop().await
}

/// A coordinator that dies between the stored end and its events leaves them to the next,
/// which asks nobody again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_emitted_whatever_the_rules_say_by_then() -> Result<()> {
    let world = World::start().await?;
    let bundle = world.publish_another_bundle().await?;
    let running = world.coordinator_that_follows().await?;
    let (intent, id, digest) = waiting(&world, &bundle).await?;
    running.stop().await?;
    let bucket = Bucket::new(&world.as_coordinator().await?, APPROVALS);
    let entry = bucket.get(id.as_str()).await?.context("no approval")?;
    let mut approval: Approval = serde_json::from_slice(&entry.value)?;
    let lee: PersonId = "lee".parse()?;
    let (via, message) = ("self".parse()?, SeqToken::new("abc".parse()?, 1));
    let vote = vote(&id, digest, VoteChoice::Approve);
    let ballot = Ballot {
        approver: &lee,
        via: &via,
        message: &message,
        stored_at: world.now(),
        reason: None,
        vote: &vote,
    };
    let support: Directory = bundle.directory().clone();
    let no = reply(bundle.digest(), intent, false);
    let stops = [(intent, Stop::of(&no).context("a stop")?)];
    let answer = approval.vote_in_vain(&ballot, &support, &stops);
    ensure!(
        answer.changed && approval.state() == ApprovalState::Failed,
        "{answer:?}"
    );
    let value = serde_json::to_vec(&approval)?;
    bucket
        .update(id.as_str(), value.into(), entry.revision)
        .await?;

    let (checker, mut asked) = checker(&world, bundle.digest(), vec![Some(true)]).await?;
    let running = world.coordinator_that_follows().await?;
    let head = eventually("a decision", || async {
        world.clock.advance(Duration::from_secs(1));
        world.head(intent).await
    })
    .await?;
    ensure!(
        head.subject == format!("tool.blocked.billing.{intent}"),
        "{head:?}"
    );
    let blocked: ToolBlocked = world.event(&head.subject).await?;
    ensure!(
        blocked.code == BlockedCode::GuardrailViolated,
        "{blocked:?}"
    );
    ensure!(asked.try_recv().is_err(), "it was judged again");
    checker.abort();
    running.stop().await
}
