//! The executor against a real nats-server and real workers.
//!
//! Workers demand permit and claim token and keep a journal: what is checked is what they
//! did, not what the executor says of it.

#[cfg(test)]
mod fixture;
#[cfg(test)]
#[path = "it/freeze.rs"]
mod freeze;
#[cfg(test)]
mod world;

use std::sync::Arc;
use std::time::Duration;

use countersign_runtime::clock::{Clock as _, ManualClock};
use countersign_schemas::Address;
use countersign_schemas::events::{Outcome, RevokedCode, ToolCompleted, ToolStarted};
use serde_json::{Value, json};

use world::World;

fn error_code(completed: &ToolCompleted) -> &str {
    completed
        .error
        .as_ref()
        .map_or("", |error| error.code.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_intent_runs_once_and_shows_what_it_may() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");
    let raw = world.intent("crm.read", json!({"id": "C-1"}));
    let claimed_on = world.approve(&raw).await;

    let completed = world.completed(&raw).await;
    assert_eq!(completed.outcome, Outcome::Succeeded);
    let output = completed.output.unwrap().to_value();
    assert_eq!(output["id"], "C-1");
    assert!(output["phone"].as_str().unwrap().starts_with("[phone:k1:"));
    assert!(output.get("score").is_none());
    let change = completed.changes.first().unwrap();
    assert!(change.after.as_ref().unwrap().starts_with("[email:k1:"));

    let runs = world.runs(&raw);
    let [run] = runs.as_slice() else {
        panic!("{runs:?}")
    };
    assert!(run.claim_seq > claimed_on);
    assert_eq!(run.attempt, 1);
    assert_eq!(run.key, raw.intent_id.to_string());
    assert_eq!(run.trace, world::TRACE);
    let started: ToolStarted = world.at(run.claim_seq).await;
    assert_eq!(started.executor.as_str(), "executor-1");
    assert!(started.lease_until > world.now());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_refuses_has_failed_in_redacted_words() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");
    for tool in ["crm.read", "mail.send"] {
        let raw = world.intent(tool, json!({"id": "fails"}));
        world.approve(&raw).await;
        let completed = world.completed(&raw).await;
        assert_eq!(completed.outcome, Outcome::Failed, "{tool}");
        let error = completed.error.unwrap();
        assert!(
            ["409", "http_409"].contains(&error.code.as_str()),
            "{error:?}"
        );
        assert!(error.message.contains("closed by [email:k1:"), "{error:?}");
        assert!(!completed.output_summary.contains("jane.roe"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_nobody_knows() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");
    let silent = world.intent("crm.slow", json!({"id": "silent"}));
    let broken = world.intent("mail.send", json!({"id": "breaks"}));
    world.approve(&silent).await;
    world.approve(&broken).await;

    let completed = world.completed(&silent).await;
    assert_eq!(completed.outcome, Outcome::Unknown);
    assert_eq!(error_code(&completed), "timeout");
    let completed = world.completed(&broken).await;
    assert_eq!(completed.outcome, Outcome::Unknown);
    assert_eq!(error_code(&completed), "http_503");
    assert_eq!(world.runs(&silent).len(), 1);
    assert_eq!(world.runs(&broken).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_reached_a_worker_has_failed() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");
    for tool in ["mail.nowhere", "mail.closed"] {
        let raw = world.intent(tool, json!({"id": "C-1"}));
        world.approve(&raw).await;
        let completed = world.completed(&raw).await;
        assert_eq!(completed.outcome, Outcome::Failed, "{tool}");
        assert_eq!(error_code(&completed), "unavailable", "{tool}");
    }
    world.stop_nats_worker();
    let raw = world.intent("crm.read", json!({"id": "C-1"}));
    world.approve(&raw).await;
    assert_eq!(error_code(&world.completed(&raw).await), "unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_tool_is_tried_again_under_the_same_claim() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");
    let raw = world.intent("mail.retry", json!({"id": "breaks-once"}));
    world.approve(&raw).await;
    let completed = world.completed(&raw).await;
    assert_eq!(completed.outcome, Outcome::Succeeded);
    let runs = world.runs(&raw);
    let attempts: Vec<u32> = runs.iter().map(|run| run.attempt).collect();
    assert_eq!(attempts, [1, 2]);
    let first = runs.first().unwrap();
    assert!(runs.iter().all(|run| run.claim_seq == first.claim_seq));
    assert!(runs.iter().all(|run| run.key == first.key));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_genuine_permit_for_this_input_nothing_runs() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");

    let forged = world.intent("crm.read", json!({"id": "C-1"}));
    let request = world.request(&forged).await;
    let decision = fixture::forged(&forged, &world.bundle, request, world.now());
    world.decide(&decision).await;

    let swapped = world.intent("crm.read", json!({"id": "C-2"}));
    let mut sent = swapped.clone();
    sent.input = fixture::object(json!({"id": "C-3"}));
    let request = world.request(&sent).await;
    let decision = fixture::approved(&swapped, &world.bundle, request, world.now());
    world.decide(&decision).await;

    for raw in [&forged, &swapped] {
        let revoked = world.revoked(raw).await;
        assert_eq!(revoked.code, RevokedCode::DigestMismatch);
        assert_eq!(revoked.agent.as_str(), fixture::AGENT);
        assert!(world.runs(raw).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_bundle_judged_runs_only_after_a_yes_of_the_checker() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");
    let older = fixture::bundle_with("an earlier one");
    let decide = async || {
        let raw = world.intent("crm.read", json!({"id": "C-1"}));
        let request = world.request(&raw).await;
        let decision = fixture::approved(&raw, &older, request, world.now());
        world.decide(&decision).await;
        raw
    };
    let unheard = decide().await;
    let revoked = world.revoked(&unheard).await;
    assert_eq!(revoked.code, RevokedCode::RecheckDenied, "silence is a no");
    assert!(world.runs(&unheard).is_empty());
    for runs in [false, true] {
        let checker = world.checker_that_says(runs).await;
        let raw = decide().await;
        if runs {
            assert_eq!(world.completed(&raw).await.outcome, Outcome::Succeeded);
        } else {
            assert_eq!(world.revoked(&raw).await.code, RevokedCode::RecheckDenied);
        }
        assert_eq!(world.runs(&raw).len(), usize::from(runs));
        checker.abort();
    }
}

/// Two checkers, of which one still goes by the bundle before: its yes does not count, and
/// where nobody else answers nothing runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_yes_by_another_bundle_than_the_one_in_force_lets_nothing_run() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");
    let older = fixture::bundle_with("an earlier one");
    let (old, new) = (older.digest(), world.bundle.digest());
    for (bundles, runs) in [(vec![old], false), (vec![old, new], true)] {
        let checkers = world.checkers(bundles, true, || ()).await;
        let raw = world.intent("crm.read", json!({"id": "C-1"}));
        let request = world.request(&raw).await;
        let decision = fixture::approved(&raw, &older, request, world.now());
        world.decide(&decision).await;
        if runs {
            assert_eq!(world.completed(&raw).await.outcome, Outcome::Succeeded);
        } else {
            let revoked = world.revoked(&raw).await;
            assert_eq!(revoked.code, RevokedCode::RecheckDenied);
            let why = &revoked.reasons.first().unwrap().message;
            assert!(why.contains("another bundle"), "{revoked:?}");
        }
        assert_eq!(world.runs(&raw).len(), usize::from(runs));
        checkers.abort();
    }
}

/// Asking takes time, and what it was asked for may be over by then.
#[tokio::test(flavor = "multi_thread")]
async fn what_expires_while_the_checker_thinks_is_not_claimed() {
    let world = World::start().await;
    let clock = Arc::new(ManualClock::new(world.now()));
    let _executor = world.executor_by("executor-1", Arc::clone(&clock)).await;
    let older = fixture::bundle_with("an earlier one");
    let thinking = Arc::clone(&clock);
    let in_force = vec![world.bundle.digest()];
    let slow = move || thinking.advance(Duration::from_secs(2));
    let _checker = world.checkers(in_force, true, slow).await;
    let mut raw = world.intent("crm.read", json!({"id": "C-1"}));
    raw.expires_at = Some(clock.now().plus(Duration::from_secs(1)));
    let request = world.request(&raw).await;
    let decision = fixture::approved(&raw, &older, request, clock.now());
    world.decide(&decision).await;
    assert_eq!(world.revoked(&raw).await.code, RevokedCode::PermitExpired);
    assert!(world.runs(&raw).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_or_over_is_revoked() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");

    let gone = world.intent("crm.read", json!({"id": "C-1"}));
    let mut request = world.request(&gone).await;
    request.seq += 1_000;
    let decision = fixture::approved(&gone, &world.bundle, request, world.now());
    world.decide(&decision).await;
    assert_eq!(world.revoked(&gone).await.code, RevokedCode::InputGone);

    let reborn = world.intent("crm.read", json!({"id": "C-1"}));
    let mut request = world.request(&reborn).await;
    request.incarnation = "earlier".parse().unwrap();
    let decision = fixture::approved(&reborn, &world.bundle, request, world.now());
    world.decide(&decision).await;
    assert_eq!(world.revoked(&reborn).await.code, RevokedCode::InputGone);

    let over = world.intent("crm.read", json!({"id": "C-1"}));
    let request = world.request(&over).await;
    let long_ago = world.now().minus(Duration::from_secs(600));
    let decision = fixture::approved(&over, &world.bundle, request, long_ago);
    world.decide(&decision).await;
    assert_eq!(world.revoked(&over).await.code, RevokedCode::PermitExpired);
    for raw in [&gone, &reborn, &over] {
        assert!(world.runs(raw).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_executors_run_each_intent_once() {
    const INTENTS: usize = 60;
    let world = World::start().await;
    let _executors = ["executor-1", "executor-2", "executor-3"].map(|id| world.executor(id));
    let mut raws = Vec::new();
    for number in 0..INTENTS {
        let raw = world.intent("crm.read", json!({"id": format!("C-{number}")}));
        world.approve(&raw).await;
        raws.push(raw);
    }
    for raw in &raws {
        assert_eq!(world.completed(raw).await.outcome, Outcome::Succeeded);
        assert_eq!(world.runs(raw).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_another_moved_on_is_left_alone() {
    let world = World::start().await;
    let raw = world.intent("crm.read", json!({"id": "C-1"}));
    let decided = world.approve(&raw).await;
    let started = world.started_by("executor-9", &raw);
    let claim = world.link(&raw, "started", &started, decided).await;
    let _executor = world.executor("executor-1");
    world.all_inputs_done().await;
    assert!(world.runs(&raw).is_empty());
    assert_eq!(world.head(&raw).await.seq, claim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_second_try_does_not_say_that_the_first_did_nothing() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");
    let raw = world.intent("mail.retry", json!({"id": "breaks-then-fails"}));
    world.approve(&raw).await;
    let completed = world.completed(&raw).await;
    assert_eq!(completed.outcome, Outcome::Unknown);
    assert_eq!(error_code(&completed), "http_503");
    assert!(world.runs(&raw).len() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_stream_is_nearly_full_nothing_is_claimed() {
    let world = World::start_with(200_000).await;
    world.fill().await;
    let _executor = world.executor("executor-1");
    let raw = world.intent("crm.read", json!({"id": "C-1"}));
    world.approve(&raw).await;
    world.until_given_back().await;
    assert!(world.head(&raw).await.subject.starts_with("tool.approved."));
    assert!(world.runs(&raw).is_empty());
    world.make_room().await;
    assert_eq!(world.completed(&raw).await.outcome, Outcome::Succeeded);
    assert_eq!(world.runs(&raw).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_too_deep_to_store_is_still_a_success() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");
    let raw = world.intent("crm.read", json!({"id": "deep"}));
    world.approve(&raw).await;
    let completed = world.completed(&raw).await;
    assert_eq!(completed.outcome, Outcome::Succeeded);
    assert_eq!(completed.output, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_bytes_on_a_claim_do_not_let_it_run_a_second_time() {
    let world = World::start().await;
    let raw = world.intent("crm.read", json!({"id": "C-1"}));
    let decided = world.approve(&raw).await;
    let started = world.started_by("executor-9", &raw);
    let claim = world.link(&raw, "started", &started, decided).await;
    let subject = Address::ToolCompleted {
        agent: fixture::agent(),
        intent: raw.intent_id,
    };
    let bytes = br#"{"stream":"CS_INTENTS","seq":1}"#;
    world.raw(subject.subject().as_str(), bytes).await;
    let _executor = world.executor("executor-1");
    world.all_inputs_done().await;
    assert!(world.runs(&raw).is_empty());
    assert_eq!(world.head(&raw).await.seq, claim + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_bytes_on_a_claim_do_not_stop_its_outcome() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");
    let raw = world.intent("crm.read", json!({"id": "waits"}));
    world.approve(&raw).await;
    world.until_running(&raw).await;
    // What a reply-to trick leaves behind: a bare ack on a subject of ours.
    let subject = Address::ToolStarted {
        agent: fixture::agent(),
        intent: raw.intent_id,
    };
    let bytes = br#"{"stream":"CS_INTENTS","seq":1}"#;
    world.raw(subject.subject().as_str(), bytes).await;
    world.let_go();
    assert_eq!(world.completed(&raw).await.outcome, Outcome::Succeeded);
    assert_eq!(world.runs(&raw).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_decision_becomes_a_dead_letter() {
    let world = World::start().await;
    let _executor = world.executor("executor-1");
    let raw = world.intent("crm.read", json!({"id": "C-1"}));
    let subject = Address::ToolApproved {
        agent: fixture::agent(),
        intent: raw.intent_id,
    };
    world
        .raw(
            subject.subject().as_str(),
            br#"{"stream":"CS_INTENTS","seq":1}"#,
        )
        .await;
    let letter: Value = world.eventually("deadletter.*.*").await;
    assert_eq!(letter["service"], "tool-executor");
    assert!(world.runs(&raw).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_in_the_spool_is_told_after_a_restart() {
    let world = World::start().await;
    let raw = world.intent("crm.read", json!({"id": "C-1"}));
    let decided = world.approve(&raw).await;
    let claim = world
        .link(
            &raw,
            "started",
            &world.started_by("executor-1", &raw),
            decided,
        )
        .await;
    let kept = world.outcome(&raw, Outcome::Succeeded);
    world.leave_in_spool("executor-1", claim, &kept);
    let _executor = world.executor("executor-1");
    assert_eq!(world.completed(&raw).await, kept);
    world.eventually_empty("executor-1").await;
    assert!(world.runs(&raw).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_after_the_sweep_is_late() {
    let world = World::start().await;
    let raw = world.intent("crm.read", json!({"id": "C-1"}));
    let decided = world.approve(&raw).await;
    let claim = world
        .link(
            &raw,
            "started",
            &world.started_by("executor-1", &raw),
            decided,
        )
        .await;
    let swept = world.outcome(&raw, Outcome::Unknown);
    world.link(&raw, "completed", &swept, claim).await;
    let kept = world.outcome(&raw, Outcome::Succeeded);
    world.leave_in_spool("executor-1", claim, &kept);
    let _executor = world.executor("executor-1");
    let late: Value = world.eventually("outcome.late.*.*").await;
    assert_eq!(late["outcome"], "succeeded");
    assert_eq!(world.completed(&raw).await.outcome, Outcome::Unknown);
    world.eventually_empty("executor-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_what_runs_and_begins_nothing_new() {
    let world = World::start().await;
    let mut executor = world.executor("executor-1");
    let raw = world.intent("crm.read", json!({"id": "waits"}));
    world.approve(&raw).await;
    world.until_running(&raw).await;
    executor.shutdown.cancel();
    let later = world.intent("crm.read", json!({"id": "C-2"}));
    world.approve(&later).await;
    world.let_go();
    (&mut executor.task).await.unwrap().unwrap();
    assert_eq!(world.completed(&raw).await.outcome, Outcome::Succeeded);
    assert!(world.runs(&later).is_empty());
    assert!(
        world
            .head(&later)
            .await
            .subject
            .starts_with("tool.approved.")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_wrong_clock_nothing_is_claimed() {
    let world = World::start().await;
    let wrong = Arc::new(ManualClock::new(world.now().plus(Duration::from_secs(60))));
    let _executor = world.careful_executor("executor-1", wrong).await;
    let raw = world.intent("crm.read", json!({"id": "C-1"}));
    world.approve(&raw).await;
    world.until_given_back().await;
    assert!(world.head(&raw).await.subject.starts_with("tool.approved."));
    assert!(world.runs(&raw).is_empty());
}
