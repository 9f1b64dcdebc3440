//! Each service killed with SIGKILL between its publishes and its acks, at points drawn at
//! random, and started again.

use std::time::Duration;

use countersign_tests::process::{ARCHIVER, CHECKER, COORDINATOR, EXECUTOR, SERVICES};
use countersign_tests::worker::NEVER_ANSWERS;
use countersign_tests::{Deployment, PATIENCE, eventually};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::{invariants, load};

/// Kills in one run.
const KILLS: usize = 3;
/// Longest pause before a kill.
const PAUSE_MAX_MS: u64 = 400;

/// The points of the kills; the seed is printed so that a failure can be run again with
/// `COUNTERSIGN_TEST_SEED`.
pub(crate) fn points(service: &str) -> Vec<Duration> {
    let seed = std::env::var("COUNTERSIGN_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| rand::rng().random());
    eprintln!("killing {service} with COUNTERSIGN_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    (0..KILLS)
        .map(|_| Duration::from_millis(random.random_range(0..PAUSE_MAX_MS)))
        .collect()
}

async fn survives_kills_of(services: &[&str]) {
    let mut deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let pauses = points(&services.join(" and "));
    let kills = async {
        for pause in pauses {
            // sleep: the point of a kill is a point in time, drawn at random.
            tokio::time::sleep(pause).await;
            for service in services {
                deployment.service(service).kill();
            }
            for service in services {
                deployment.service(service).restart();
            }
        }
    };
    let ids = load::during(&agent, kills).await;
    load::all_end(&agent, &ids).await;
    invariants::hold(&deployment, &ids).await;
}

#[tokio::test]
async fn the_checker_dies_under_load() {
    survives_kills_of(&[CHECKER]).await;
}

#[tokio::test]
async fn the_coordinator_dies_under_load() {
    survives_kills_of(&[COORDINATOR]).await;
}

#[tokio::test]
async fn the_executor_dies_under_load() {
    survives_kills_of(&[EXECUTOR]).await;
}

#[tokio::test]
async fn the_archiver_dies_under_load() {
    survives_kills_of(&[ARCHIVER]).await;
}

#[tokio::test]
async fn an_executor_that_dies_after_its_claim_leaves_an_unknown_outcome_and_no_second_run() {
    let mut deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let input = json!({"account": NEVER_ANSWERS, "amount": 1});
    let id = agent.publish(&agent.intent("ledger.book", input)).await;
    eventually(PATIENCE, "the worker has the call", async || {
        deployment.journal().counts().get(&id).copied()
    })
    .await;
    deployment.service(EXECUTOR).kill();
    deployment.service(EXECUTOR).restart();
    let end = agent.end_within(load::END, &id).await;
    assert!(end.is("tool.completed"), "{end:?}");
    assert_eq!(end.text("/outcome"), "unknown");
    let observer = deployment.observer().await;
    eventually(PATIENCE, "people are told to look", async || {
        let filter = format!("handoff.outcome.*.{id}");
        observer.read("CS_EVENTS", &filter).await.pop()
    })
    .await;
    invariants::hold(&deployment, &[id]).await;
}

#[tokio::test]
async fn everything_dies_at_once() {
    survives_kills_of(&SERVICES).await;
}
