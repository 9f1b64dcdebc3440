//! Each service killed with SIGKILL between its publishes and its acks, at points drawn at
//! random, and started again.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_runtime::bus::layout::Durable;
use countersign_tests::process::{
    ARCHIVER, CHECKER, COORDINATOR, EXECUTOR, QUERY, SERVICES, TAKES,
};
use countersign_tests::worker::NEVER_ANSWERS;
use countersign_tests::{Deployment, PATIENCE, eventually};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::{invariants, load};

/// Fewest kills in one run.
const KILLS_MIN: usize = 3;
/// Most kills in one run: until a service had messages in hand when it died.
const KILLS_MAX: usize = 12;
/// Longest pause before a kill.
const PAUSE_MAX_MS: u64 = 400;

/// The pauses before the kills; the seed is printed so that a failure can be run again with
/// `COUNTERSIGN_TEST_SEED`.
pub(crate) fn points(service: &str) -> Vec<Duration> {
    let seed = std::env::var("COUNTERSIGN_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| rand::rng().random());
    eprintln!("killing {service} with COUNTERSIGN_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    (0..KILLS_MAX)
        .map(|_| Duration::from_millis(random.random_range(0..PAUSE_MAX_MS)))
        .collect()
}

/// Those of `services` whose kills can be seen to have fallen between delivery and ack. The
/// archiver keeps no durable: it reads on from its manifest after every start.
fn taking(services: &[&str]) -> BTreeMap<&'static str, Durable> {
    let taken = |(service, _): &(&str, Durable)| services.contains(service);
    TAKES.into_iter().filter(taken).collect()
}

/// Messages that a dead service had in hand: delivered and never acknowledged.
async fn left_behind(deployment: &Deployment, durable: Durable) -> usize {
    let mut last = None;
    // Its last acks may still be on their way to the server.
    eventually(PATIENCE, "the last acks are counted", async || {
        let now = deployment.consumer(durable).await.num_ack_pending;
        (last.replace(now) == Some(now)).then_some(now)
    })
    .await
}

async fn survives_kills_of(services: &[&str]) {
    let mut deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let pauses = points(&services.join(" and "));
    let mut met = BTreeMap::new();
    let kills = async {
        for (kill, pause) in pauses.into_iter().enumerate() {
            // Where all die at once, most of them wait for the one before: one is enough.
            if kill >= KILLS_MIN && (taking(services).is_empty() || !met.is_empty()) {
                break;
            }
            // sleep: the point of a kill is a point in time, drawn at random.
            tokio::time::sleep(pause).await;
            for service in services {
                deployment.service(service).kill();
            }
            for (service, durable) in taking(services) {
                if left_behind(&deployment, durable).await > 0 {
                    met.insert(service, durable);
                }
            }
            for service in services {
                deployment.service(service).restart();
            }
        }
    };
    let ids = load::during(&agent, kills).await;
    assert!(
        taking(services).is_empty() || !met.is_empty(),
        "no kill fell between a delivery and its ack"
    );
    load::all_end(&agent, &ids).await;
    invariants::hold(&deployment, &ids).await;
    for (service, durable) in met {
        redelivered(&deployment, service, durable).await;
    }
}

/// What was in hand was delivered again: more deliveries than messages.
async fn redelivered(deployment: &Deployment, service: &str, durable: Durable) {
    let observer = deployment.observer().await;
    let filter = durable.filters.first().copied().unwrap_or(">");
    let messages = observer.read(durable.stream.name(), filter).await.len();
    let deliveries = deployment
        .consumer(durable)
        .await
        .delivered
        .consumer_sequence;
    assert!(
        deliveries > u64::try_from(messages).unwrap(),
        "{service}: {deliveries} deliveries of {messages} messages"
    );
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
async fn a_look_up_is_answered_after_the_query_service_died_and_recorded_once() {
    let mut deployment = Deployment::start().await;
    deployment.launch(QUERY);
    let lee = deployment.approver("lee").await;
    let statement = |n: usize| format!("SELECT count(*) AS n, 'look-up {n}' AS mine FROM events");
    eventually(PATIENCE, "a look-up is answered", async || {
        lee.look_up("SELECT 1 AS first").await
    })
    .await;
    let pauses = points(QUERY);
    let mut answered = Vec::new();
    for (n, pause) in pauses.into_iter().take(KILLS_MIN).enumerate() {
        let asked = statement(n);
        let kill = async {
            // sleep: the point of a kill is a point in time, drawn at random.
            tokio::time::sleep(pause / 10).await;
            deployment.service(QUERY).kill();
            deployment.service(QUERY).restart();
        };
        let (answer, ()) = tokio::join!(lee.look_up(&asked), kill);
        answered.push(answer.is_some());
        eventually(PATIENCE, "a look-up is answered again", async || {
            lee.look_up("SELECT 2 AS again").await
        })
        .await;
    }
    let last = "SELECT 3 AS last";
    assert!(lee.look_up(last).await.is_some());
    let observer = deployment.observer().await;
    let looked = observer.read("CS_EVENTS", "audit.accessed.>").await;
    let recorded = |text: &str| {
        let found = looked.iter().filter(|event| event.text("/query") == text);
        found.count()
    };
    for (n, answered) in answered.into_iter().enumerate() {
        // What was answered was recorded before; what died on the way may have been.
        let found = recorded(&statement(n));
        assert!(found <= 1 && found >= usize::from(answered), "{n}: {found}");
    }
    assert_eq!(recorded(last), 1);
    for event in &looked {
        deployment.archived_once(event).await;
    }
}

#[tokio::test]
async fn everything_dies_at_once() {
    survives_kills_of(&SERVICES).await;
}
