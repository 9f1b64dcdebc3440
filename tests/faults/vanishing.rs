//! Executors that vanish: killed for good, or stopped and continued long after. Every
//! approved intent has its end all the same, and nothing runs that has one.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_tests::process::EXECUTOR;
use countersign_tests::worker::NEVER_ANSWERS;
use countersign_tests::{Agent, Deployment, Event, PATIENCE, eventually};
use serde_json::json;

use crate::{invariants, load};

/// Permits that end while a test waits.
const SETTINGS: [(&str, &str); 1] = [("COUNTERSIGN_APPROVAL_COORDINATOR__PERMIT_LIFE_S", "10")];
/// How long intents come before the executor vanishes.
const BEFORE: Duration = Duration::from_millis(300);

/// Intents of which the executor has claimed one for certain, when `vanish` is called.
async fn caught(
    deployment: &mut Deployment,
    agent: &Agent,
    vanish: impl FnOnce(&mut Deployment),
) -> Vec<String> {
    let input = json!({"account": NEVER_ANSWERS, "amount": 1});
    let held = agent.publish(&agent.intent("ledger.book", input)).await;
    eventually(PATIENCE, "the worker has the call", async || {
        deployment.journal().counts().get(&held).copied()
    })
    .await;
    let trouble = async {
        // sleep: the point at which it vanishes is a point in time.
        tokio::time::sleep(BEFORE).await;
        vanish(deployment);
    };
    let mut ids = load::during(agent, trouble).await;
    // Nobody is there to claim this one.
    let input = json!({"account": "unclaimed", "amount": 1});
    ids.push(agent.publish(&agent.intent("ledger.book", input)).await);
    ids.push(held);
    ids
}

/// How often each kind of end came: `tool.completed unknown`, `tool.revoked permit_expired`.
async fn ends(agent: &Agent, ids: &[String]) -> BTreeMap<String, usize> {
    let mut ends = BTreeMap::new();
    for id in ids {
        let end = agent.end_within(load::END, id).await;
        let word = format!(
            "{} {}{}",
            end.name(),
            end.text("/outcome"),
            end.text("/code")
        );
        *ends.entry(word).or_default() += 1;
    }
    ends
}

/// The chain of each intent, as subjects with sequences.
async fn chains(deployment: &Deployment) -> Vec<(u64, String)> {
    let observer = deployment.observer().await;
    let events = observer.read("CS_EVENTS", "tool.*.billing.*").await;
    events
        .iter()
        .map(|event| (event.seq, event.name()))
        .collect()
}

/// Something new goes all the way: the executor is there and has caught up.
async fn works_again(agent: &Agent) {
    let input = json!({"account": "after", "amount": 1});
    let id = agent.publish(&agent.intent("ledger.book", input)).await;
    let end = agent.end_within(load::END, &id).await;
    assert_eq!(end.text("/outcome"), "succeeded", "{end:?}");
}

fn swept(ends: &BTreeMap<String, usize>, what: &str) -> usize {
    let found = ends.iter().filter(|(word, _)| word.contains(what));
    found.map(|(_, count)| count).sum()
}

#[tokio::test]
async fn what_an_executor_had_that_is_killed_for_good_has_its_end_and_never_runs_again() {
    let mut deployment = Deployment::with_settings(&SETTINGS).await;
    let agent = deployment.agent("billing").await;
    let ids = caught(&mut deployment, &agent, |all| all.service(EXECUTOR).kill()).await;
    let ends = ends(&agent, &ids).await;
    assert!(swept(&ends, "unknown") > 0, "{ends:?}");
    assert!(swept(&ends, "permit_expired") > 0, "{ends:?}");
    let (runs, before) = (deployment.journal().counts(), chains(&deployment).await);

    deployment.service(EXECUTOR).restart();
    // Its start may take longer than the permits of this test live.
    deployment.ready().await;
    works_again(&agent).await;
    let after = deployment.journal().counts();
    assert!(
        ids.iter().all(|id| runs.get(id) == after.get(id)),
        "something ran after its end"
    );
    let still = chains(&deployment).await;
    assert_eq!(still.get(..before.len()), Some(before.as_slice()));
    assert_eq!(
        still.len(),
        before.len() + 3,
        "decision, claim and outcome of the new one"
    );
    invariants::hold(&deployment, &ids).await;
}

#[tokio::test]
async fn an_executor_that_stood_still_runs_nothing_that_has_ended_and_tells_late_what_it_knows() {
    let mut deployment = Deployment::with_settings(&SETTINGS).await;
    let agent = deployment.agent("billing").await;
    let ids = caught(&mut deployment, &agent, |all| all.service(EXECUTOR).pause()).await;
    let ends = ends(&agent, &ids).await;
    assert!(swept(&ends, "unknown") > 0, "{ends:?}");
    assert!(swept(&ends, "permit_expired") > 0, "{ends:?}");
    let (runs, before) = (deployment.journal().counts(), chains(&deployment).await);

    deployment.service(EXECUTOR).go_on();
    deployment.ready().await;
    works_again(&agent).await;
    // What it held when it stood still it tells at last, beside the chain.
    let observer = deployment.observer().await;
    let late = eventually(load::END, "a late outcome", async || {
        let late = observer.read("CS_EVENTS", "outcome.late.>").await;
        (!late.is_empty()).then_some(late)
    })
    .await;
    let known = |event: &Event| ids.iter().any(|id| id == event.text("/intent_id"));
    assert!(late.iter().all(known), "{late:?}");
    let after = deployment.journal().counts();
    assert!(
        ids.iter().all(|id| runs.get(id) == after.get(id)),
        "something ran after its end"
    );
    let still = chains(&deployment).await;
    assert_eq!(
        still.get(..before.len()),
        Some(before.as_slice()),
        "an end was not the end"
    );
    invariants::hold(&deployment, &ids).await;
}
