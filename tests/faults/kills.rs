//! Each service killed with SIGKILL, at points drawn at random and where it stands between a
//! publish and the ack of its input, and started again.

use std::time::Duration;

use countersign_runtime::bus::layout::{
    CHECKER_INTENTS, COORDINATOR_EVENTS, Durable, EXECUTOR_EVENTS,
};

use countersign_tests::process::{ARCHIVER, CHECKER, COORDINATOR, EXECUTOR, QUERY, SERVICES};
use countersign_tests::worker::NEVER_ANSWERS;
use countersign_tests::{Deployment, Event, PATIENCE, eventually};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::{invariants, load};

/// Kills in one run.
const KILLS: usize = 3;
/// Times that a service is stopped until it is met between a publish and its ack: each
/// meets one in about five.
const STOPS_MAX: usize = 200;
/// Longest pause before a stop.
const STOP_PAUSE_MAX_MS: u64 = 20;
/// How long the answer to a look-up is waited for that may have died on the way.
const ANSWER: Duration = Duration::from_secs(10);
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

/// The first input that a stopped service has not acked, if what it publishes for it is
/// stored already.
async fn published_and_not_acked(
    deployment: &Deployment,
    durable: Durable,
    output: &str,
) -> Option<u64> {
    let mut last = None;
    // Its last acks may still be on their way to the server.
    let info = eventually(PATIENCE, "the last acks are counted", async || {
        let now = deployment.consumer(durable).await;
        let state = (now.num_ack_pending, now.ack_floor.stream_sequence);
        (last.replace(state) == Some(state)).then_some(now)
    })
    .await;
    let observer = deployment.observer().await;
    let filter = durable.filters.first().copied().unwrap_or(">");
    let inputs = observer.read(durable.stream.name(), filter).await;
    let (floor, delivered) = (
        info.ack_floor.stream_sequence,
        info.delivered.stream_sequence,
    );
    let open = |input: &&Event| input.seq > floor && input.seq <= delivered;
    let input = inputs
        .iter()
        .find(open)
        .filter(|_| info.num_ack_pending > 0)?;
    let intent = input.text("/intent_id");
    let stored = observer
        .read("CS_EVENTS", &format!("{output}.*.{intent}"))
        .await;
    (!stored.is_empty()).then_some(input.seq)
}

/// Stops the service until it stands between a publish and the ack of its input, and kills
/// it there. Its input comes again, and nothing is done twice.
async fn survives_a_kill_between_publish_and_ack(service: &str, durable: Durable, output: &str) {
    let mut deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let mut met = None;
    let stops = async {
        for _ in 0..STOPS_MAX {
            let pause = rand::rng().random_range(0..STOP_PAUSE_MAX_MS);
            // sleep: the point of a stop is a point in time, drawn at random.
            tokio::time::sleep(Duration::from_millis(pause)).await;
            deployment.service(service).pause();
            met = published_and_not_acked(&deployment, durable, output).await;
            if met.is_some() {
                deployment.service(service).kill();
                deployment.service(service).restart();
                return;
            }
            deployment.service(service).go_on();
        }
    };
    let ids = load::during(&agent, stops).await;
    let seq = met.expect("the service was never met between a publish and its ack");
    // Nobody but a second life can have acked it: the first one was dead before.
    deployment.handled_within(load::END, durable, seq).await;
    load::all_end(&agent, &ids).await;
    invariants::hold(&deployment, &ids).await;
}

#[tokio::test]
async fn the_checker_dies_between_its_publish_and_its_ack() {
    survives_a_kill_between_publish_and_ack(CHECKER, CHECKER_INTENTS, "policy.checked").await;
}

#[tokio::test]
async fn the_coordinator_dies_between_its_publish_and_its_ack() {
    survives_a_kill_between_publish_and_ack(COORDINATOR, COORDINATOR_EVENTS, "tool.*").await;
}

#[tokio::test]
async fn the_executor_dies_between_its_publish_and_its_ack() {
    survives_a_kill_between_publish_and_ack(EXECUTOR, EXECUTOR_EVENTS, "tool.started").await;
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
        lee.look_up(ANSWER, "SELECT 1 AS first").await
    })
    .await;
    let pauses = points(QUERY);
    let mut answered = Vec::new();
    for (n, pause) in pauses.into_iter().take(KILLS).enumerate() {
        let asked = statement(n);
        let kill = async {
            // sleep: the point of a kill is a point in time, drawn at random.
            tokio::time::sleep(pause / 10).await;
            deployment.service(QUERY).kill();
            deployment.service(QUERY).restart();
        };
        let (answer, ()) = tokio::join!(lee.look_up(ANSWER, &asked), kill);
        answered.push(answer.is_some());
        eventually(PATIENCE, "a look-up is answered again", async || {
            lee.look_up(ANSWER, "SELECT 2 AS again").await
        })
        .await;
    }
    let last = "SELECT 3 AS last";
    assert!(lee.look_up(PATIENCE, last).await.is_some());
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
