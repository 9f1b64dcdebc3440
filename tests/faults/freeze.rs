//! The kill switch on the whole path: in the middle of traffic, with the leader of three
//! servers killed, and with services that stop or die at the worst moment. What ran is what
//! the worker's journal says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_runtime::bus::layout::COORDINATOR_ORDERS;
use countersign_tests::process::{COORDINATOR, EXECUTOR, SERVICES, program};
use countersign_tests::{Agent, Deployment, Event, Operator, PATIENCE, eventually};
use futures::StreamExt as _;
use futures::future::join;
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::load;

/// Intents that are published together.
const WAVE: usize = 64;
/// Longer than the executor lets a first byte leave after its claim.
const PAST_BEGINNING: Duration = Duration::from_millis(2_200);
/// A coordinator's start on a busy machine and the second after which an order is delivered
/// again: well below the half minute that any other message waits.
const PROMPT: Duration = Duration::from_secs(20);
/// Most intents of one flow, as a multiple of the fewest.
const FLOW_MAX: usize = 5;
/// Longest pause before a stop.
const STOP_PAUSE_MAX_MS: u64 = 20;
/// Times that the executor is stopped until it is met between a claim and its call.
const STOPS_MAX: usize = 200;
/// Times that it may be met when its NATS client has the call already and has not sent it: that
/// leaves when it goes on, and nothing can be told of it from here.
const LATE_MAX: usize = 5;

pub(crate) fn everything() -> Value {
    json!({})
}

/// One intent in flow.
pub(crate) fn nth(agent: &Agent, n: usize) -> Value {
    let input = json!({"account": format!("{n}"), "amount": 10});
    agent.intent("ledger.book", input)
}

/// Publishes `count` intents as fast as they are stored, and more until it is `over`; their
/// ids.
async fn flow(agent: &Agent, count: usize, over: &CancellationToken) -> Vec<String> {
    futures::stream::iter(0..count * FLOW_MAX)
        .take_while(|n| {
            let more = *n < count || !over.is_cancelled();
            std::future::ready(more)
        })
        .map(async |n| agent.publish_until_stored(&nth(agent, n)).await)
        .buffer_unordered(WAVE)
        .collect()
        .await
}

/// Waits until `count` intents of `billing` were approved.
pub(crate) async fn approved(deployment: &Deployment, count: usize) {
    let observer = deployment.observer().await;
    eventually(load::END, "intents are approved", async || {
        let found = observer.read("CS_EVENTS", "tool.approved.billing.>").await;
        (found.len() >= count).then_some(())
    })
    .await;
}

fn intents(event: &Event, list: &str) -> BTreeSet<String> {
    let all = event.body.pointer(list).and_then(Value::as_array);
    let names = all.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

/// What the log says of one intent.
#[derive(Default)]
pub(crate) struct Chain {
    decided: u64,
    pub(crate) claimed: u64,
    ended: u64,
    end: String,
    code: String,
}

pub(crate) fn chains(events: &[Event]) -> BTreeMap<String, Chain> {
    let mut chains: BTreeMap<String, Chain> = BTreeMap::new();
    for event in events {
        let chain = chains
            .entry(event.text("/intent_id").to_owned())
            .or_default();
        match event.name().as_str() {
            "tool.approved" => chain.decided = event.seq,
            "tool.started" => chain.claimed = event.seq,
            "tool.completed" | "tool.revoked" | "tool.blocked" => {
                chain.ended = event.seq;
                chain.end = event.name();
                let code = if event.is("tool.completed") {
                    "/error/code"
                } else {
                    "/code"
                };
                chain.code = event.text(code).to_owned();
            }
            _ => {}
        }
    }
    chains
}

/// Checks a freeze of everything against the log and the journal: nothing ran whose claim
/// lies behind it, and the counts are those of the log.
pub(crate) async fn holds(deployment: &Deployment, operator: &Operator, order: u64) {
    let applied = operator.answer("control.applied", order).await;
    let done = operator.answer("control.done", order).await;
    let observer = deployment.observer().await;
    let chains = chains(&observer.read("CS_EVENTS", "tool.>").await);
    for run in deployment.journal().runs() {
        assert!(
            run.claim_seq < applied.seq,
            "{} ran on claim {} although frozen at {}",
            run.intent,
            run.claim_seq,
            applied.seq
        );
    }
    let (mut open, mut running) = (0, BTreeSet::new());
    for (id, chain) in &chains {
        let decided = chain.decided > 0 && chain.decided < applied.seq;
        let claimed = chain.claimed > 0 && chain.claimed < applied.seq;
        if claimed && chain.ended > applied.seq {
            running.insert(id.clone());
        }
        if decided && !claimed && !(chain.ended > 0 && chain.ended < applied.seq) {
            open += 1;
            let stopped = chain.end == "tool.revoked" && chain.code == "frozen"
                || ["frozen", "not_begun", "lease_expired"].contains(&chain.code.as_str());
            assert!(stopped, "{id}: {} {}", chain.end, chain.code);
        }
        assert!(chain.ended > 0, "{id} has no end");
    }
    let counted = |name: &str| done.body[name].as_u64().unwrap_or_default();
    assert_eq!(
        counted("revoked") + counted("stopped"),
        open,
        "{:?}",
        done.body
    );
    let named = intents(&done, "/running");
    assert!(named.is_subset(&running), "{named:?} and {running:?}");
    assert_eq!(
        named.len() as u64 + counted("running_more"),
        running.len() as u64,
        "{:?}",
        done.body
    );
    eprintln!(
        "frozen at {} of {} intents: {} revoked, {} stopped, {} running, {} ms",
        applied.seq,
        chains.len(),
        counted("revoked"),
        counted("stopped"),
        running.len(),
        counted("duration_ms")
    );
}

/// Freezes everything while `count` intents are in flow, and checks what ran. `give` gives the
/// order, and does right after it whatever trouble it likes.
async fn freeze_in_flow(
    deployment: &mut Deployment,
    count: usize,
    give: impl AsyncFnOnce(&mut Deployment, &Operator) -> u64,
) {
    let agent = deployment.agent("billing").await;
    let operator = deployment.operator().await;
    let over = CancellationToken::new();
    let freeze = async {
        approved(deployment, count / 4).await;
        let order = give(deployment, &operator).await;
        operator.answer("control.applied", order).await;
        over.cancel();
        operator.answer("control.done", order).await;
        order
    };
    let (ids, order) = join(flow(&agent, count, &over), freeze).await;
    load::all_end(&agent, &ids).await;
    holds(deployment, &operator, order).await;
    let ran = deployment.journal().counts();
    assert!(ran.values().all(|times| *times == 1), "nothing ran twice");
    let ran = ids.iter().filter(|id| ran.contains_key(*id)).count();
    assert!(ran > 0 && ran < ids.len(), "it came in the middle: {ran}");

    // After the release what is new runs, and what was stopped stays so.
    let order = operator.order("unfreeze", &everything()).await;
    operator.answer("control.done", order).await;
    let before = deployment.journal().counts().len();
    eventually(PATIENCE, "what is new runs", async || {
        let id = agent.publish_until_stored(&nth(&agent, 0)).await;
        let end = agent.end_within(load::END, &id).await;
        end.is("tool.completed").then_some(())
    })
    .await;
    let after = deployment.journal().counts();
    assert_eq!(after.len(), before + 1, "only the new one ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_that_is_claimed_behind_a_freeze_in_the_middle_of_traffic() {
    let mut deployment = Deployment::start().await;
    freeze_in_flow(&mut deployment, 2_000, async |_, operator| {
        operator.order("freeze", &everything()).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_that_is_claimed_after_the_command_has_returned() {
    let mut deployment = Deployment::start().await;
    freeze_in_flow(&mut deployment, 2_000, async |deployment, _| {
        let words = "--json freeze all --reason trouble --as olga --dir";
        let told = Command::new(program("countersign"))
            .args(words.split(' '))
            .arg(deployment.files().dir())
            .env("COUNTERSIGN_NATS__URL", deployment.url())
            .output()
            .await
            .expect("the command runs");
        let text = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(0), "{text}");
        let answer: Value = serde_json::from_slice(&told.stdout).expect("an answer");
        answer["sequence"].as_u64().expect("a sequence")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_holds_on_three_servers_whose_leader_dies_in_the_middle() {
    let mut deployment = Deployment::clustered(&[]).await;
    for name in SERVICES {
        deployment.launch(name);
    }
    deployment.ready().await;
    let leader = deployment.leader("CS_EVENTS").await;
    freeze_in_flow(&mut deployment, 2_000, async |deployment, operator| {
        let order = operator.order("freeze", &everything()).await;
        let server = deployment.cluster().servers().get_mut(leader);
        let server = server.expect("the leader is one of them");
        server.kill().expect("a server can be killed");
        order
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_is_completed_by_whoever_is_left_when_a_coordinator_dies_in_the_middle() {
    let mut deployment = Deployment::start().await;
    deployment.launch(COORDINATOR);
    freeze_in_flow(&mut deployment, 400, async |deployment, operator| {
        let order = operator.order("freeze", &everything()).await;
        operator.answer("control.applied", order).await;
        // The first of two, wherever it is; then the executor as well.
        deployment.service(COORDINATOR).kill();
        deployment.service(EXECUTOR).kill();
        deployment.service(EXECUTOR).restart();
        deployment.service(COORDINATOR).restart();
        order
    })
    .await;
}

/// Waits until `count` deliveries of orders are not acknowledged.
async fn orders_taken(deployment: &Deployment, count: usize) {
    eventually(PATIENCE, "an order is delivered", async || {
        let orders = deployment.consumer(COORDINATOR_ORDERS).await;
        (orders.num_ack_pending == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_dies_with_its_coordinator_is_in_force_seconds_later() {
    let mut deployment = Deployment::start().await;
    let operator = deployment.operator().await;
    deployment.service(COORDINATOR).pause();
    let order = operator.order("freeze", &everything()).await;
    // Stopped, it has the order and can do nothing with it; then it dies.
    orders_taken(&deployment, 1).await;
    deployment.service(COORDINATOR).kill();
    let begun = Instant::now();
    deployment.service(COORDINATOR).restart();
    operator.answer("control.applied", order).await;
    let took = begun.elapsed();
    eprintln!("in force {} ms after the death", took.as_millis());
    assert!(took < PROMPT, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_a_sleeping_coordinator_holds_is_given_to_another() {
    let mut deployment = Deployment::start().await;
    let operator = deployment.operator().await;
    deployment.service(COORDINATOR).pause();
    let order = operator.order("freeze", &everything()).await;
    orders_taken(&deployment, 1).await;
    let begun = Instant::now();
    deployment.launch(COORDINATOR);
    operator.answer("control.applied", order).await;
    let took = begun.elapsed();
    eprintln!("in force {} ms after another was started", took.as_millis());
    assert!(took < PROMPT, "{took:?}");
    deployment.service(COORDINATOR).go_on();
}

/// The claimed intents whose call had not left the executor when it was stopped.
async fn claimed_and_not_called(deployment: &Deployment) -> BTreeSet<String> {
    let mut last = None;
    // What had left it before is still on its way to the worker.
    let runs = eventually(PATIENCE, "the worker's journal is quiet", async || {
        let now = deployment.journal().counts();
        let quiet = last.as_ref() == Some(&now);
        last = Some(now.clone());
        quiet.then_some(now)
    })
    .await;
    let observer = deployment.observer().await;
    let chains = chains(&observer.read("CS_EVENTS", "tool.>").await);
    let open = chains
        .into_iter()
        .filter(|(id, chain)| chain.claimed > 0 && chain.ended == 0 && !runs.contains_key(id));
    open.map(|(id, _)| id).collect()
}

/// Stops the executor, past the time in which a claim may begin; the claimed intents whose
/// call has not come to the worker by then.
async fn stopped(deployment: &mut Deployment) -> BTreeSet<String> {
    deployment.service(EXECUTOR).pause();
    let mut met = claimed_and_not_called(deployment).await;
    if met.is_empty() {
        return met;
    }
    // What had left the executor before has come to the worker by then, however busy it was.
    // sleep: it is a span of time past which nothing begins.
    tokio::time::sleep(PAST_BEGINNING).await;
    let ran = deployment.journal().counts();
    met.retain(|id| !ran.contains_key(id));
    met
}

/// Stops the executor between claims and their calls, and lets it go on; how those ended that
/// did not run.
async fn held_back(deployment: &mut Deployment, agent: &Agent, freeze: bool) -> Vec<Event> {
    let operator = deployment.operator().await;
    let mut late = 0;
    for _ in 0..STOPS_MAX {
        let pause = rand::rng().random_range(0..STOP_PAUSE_MAX_MS);
        // sleep: the point of a stop is a point in time, drawn at random.
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let met = stopped(deployment).await;
        if met.is_empty() {
            deployment.service(EXECUTOR).go_on();
            continue;
        }
        if freeze {
            let order = operator.order("freeze", &everything()).await;
            let done = operator.answer("control.done", order).await;
            let named = intents(&done, "/running");
            assert!(met.is_subset(&named), "{met:?} and {named:?}");
        }
        deployment.service(EXECUTOR).go_on();
        let mut ends = Vec::new();
        for id in &met {
            ends.push(agent.end_within(load::END, id).await);
        }
        let ran = deployment.journal().counts();
        ends.retain(|end| !ran.contains_key(end.text("/intent_id")));
        if !ends.is_empty() {
            return ends;
        }
        late += 1;
        assert!(late <= LATE_MAX, "{met:?} ran after the time to begin");
        if freeze {
            let order = operator.order("unfreeze", &everything()).await;
            operator.answer("control.done", order).await;
        }
    }
    panic!("never met between a claim and its call");
}

async fn stopped_between_claim_and_call(freeze: bool) {
    let mut deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let mut held = Vec::new();
    let stops = async { held = held_back(&mut deployment, &agent, freeze).await };
    let ids = load::during(&agent, stops).await;
    load::all_end(&agent, &ids).await;
    for end in held {
        let code = end.text("/error/code");
        assert!(["not_begun", "lease_expired"].contains(&code), "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_stopped_between_claim_and_call_begins_nothing_later() {
    stopped_between_claim_and_call(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_slept_through_a_freeze_begins_nothing_later() {
    stopped_between_claim_and_call(true).await;
}
