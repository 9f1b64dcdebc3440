//! One time window over two coordinators, one of which is killed again and again: at any
//! time, and exactly on either side of what follows from a use.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_domain::windows::Window;
use countersign_runtime::bus::Bucket;
use countersign_runtime::bus::layout::{COORDINATOR_EVENTS, WINDOWS};
use countersign_tests::process::{COORDINATOR, SERVICES};
use countersign_tests::{Agent, Approver, Deployment, Event, PATIENCE, Relay, eventually};
use futures::StreamExt as _;
use futures::future::{join, join_all};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::kills;

/// Uses of the window.
const USES: usize = 20;
/// Intents that want one.
const INTENTS: usize = 60;
/// Intents that are published together.
const WAVE: usize = 8;
/// What each intent books.
const AMOUNT: usize = 500_000;
/// Uses of the window where every kill takes some waves.
const MANY_USES: usize = 100;
/// Kills on either side.
const ROUNDS: usize = 2;
/// What a killed coordinator held comes again after half a minute, and then is done.
const END: Duration = Duration::from_secs(150);

async fn book(agent: &Agent) -> String {
    let input = json!({"account": "9", "amount": AMOUNT});
    agent
        .publish_until_stored(&agent.intent("ledger.book", input))
        .await
}

/// Has Dora approve one intent and open a window with it.
async fn open(agent: &Agent, dora: &Approver, limits: Value) {
    let first = book(agent).await;
    let asked = dora.asked(&first).await;
    let (approval, digest) = (asked.text("/approval_id"), asked.text("/digest"));
    let voted = dora.vote_for_window(approval, digest, limits).await;
    assert_eq!(voted.body["counted"], json!(true), "{}", voted.body);
    agent.end(&first).await;
}

/// Whether the intent ran under the window; else people were asked.
async fn ran(agent: &Agent, dora: &Approver, id: &str) -> bool {
    eventually(END, &format!("an end of {id}, or an ask"), async || {
        if let Some(last) = agent.last(id).await {
            return last.is_end().then(|| {
                assert_eq!(last.text("/outcome"), "succeeded", "{last:?}");
                true
            });
        }
        let question = json!({"op": "show", "approval_id": format!("a-{id}")});
        let shown = dora.view(&question).await;
        (shown["approval"]["state"] == "pending").then_some(false)
    })
    .await
}

#[tokio::test]
async fn a_window_is_used_exactly_while_a_coordinator_is_killed() {
    let mut deployment = Deployment::without_services(&[]).await;
    for name in SERVICES.into_iter().chain([COORDINATOR]) {
        deployment.launch(name);
    }
    deployment.ready().await;
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    let limits = json!({"seconds": 3_000, "max_uses": USES});
    open(&agent, &dora, limits).await;
    let kills = async {
        for pause in kills::points("one of two coordinators") {
            // sleep: the point of a kill is a point in time, drawn at random.
            tokio::time::sleep(pause).await;
            deployment.service(COORDINATOR).kill();
            deployment.service(COORDINATOR).restart();
        }
    };
    let publishing = futures::stream::iter(0..INTENTS)
        .map(async |_| book(&agent).await)
        .buffer_unordered(WAVE)
        .collect::<Vec<String>>();
    let (ids, ()) = join(publishing, kills).await;
    let mut used = 0;
    for id in &ids {
        used += usize::from(ran(&agent, &dora, id).await);
    }
    assert_eq!(used, USES, "each use once, and each of them used");
    eventually(END, "the list tells each use", async || {
        let listed = dora.view(&json!({"op": "windows"})).await;
        (listed["windows"][0]["uses"] == json!(USES)).then_some(())
    })
    .await;
    let counts = deployment.journal().counts();
    let twice = ids
        .iter()
        .find(|id| counts.get(*id).is_some_and(|runs| *runs > 1));
    assert_eq!(twice, None, "run twice");
}

/// Where a coordinator dies that lets an intent run under a window.
#[derive(Clone, Copy)]
enum Dies {
    /// The use is stored; the decision is not.
    BeforeTheDecision,
    /// The decision is stored; its input is not acked.
    BeforeTheAck,
}

const DECIDED: &str = "tool.approved.billing.";

fn is_ack(subject: &str) -> bool {
    let of = format!(
        ".{}.{}.",
        COORDINATOR_EVENTS.stream.name(),
        COORDINATOR_EVENTS.name
    );
    subject.starts_with("$JS.ACK.") && subject.contains(&of)
}

/// Two coordinators, of which the one that [`Deployment::service`] gives goes through the
/// relay.
async fn two_coordinators() -> (Deployment, Relay) {
    let mut deployment = Deployment::without_services(&[]).await;
    let server = deployment.url();
    let relay = Relay::start(&server).await;
    deployment.set("COUNTERSIGN_NATS__URL", &relay.url());
    deployment.launch(COORDINATOR);
    deployment.set("COUNTERSIGN_NATS__URL", &server);
    for name in SERVICES {
        deployment.launch(name);
    }
    deployment.ready().await;
    (deployment, relay)
}

/// Publishes one wave of intents after the other until `over`; their ids.
async fn waves_until<T>(agent: &Agent, over: impl Future<Output = T>) -> (Vec<String>, T) {
    let stop = CancellationToken::new();
    let publishing = async {
        let mut ids = Vec::new();
        while !stop.is_cancelled() {
            let wave = join_all((0..WAVE).map(|_| book(agent))).await;
            let decided = join_all(wave.iter().map(|id| agent.decision(id)));
            stop.run_until_cancelled(decided).await;
            ids.extend(wave);
        }
        ids
    };
    let over = async {
        let over = over.await;
        stop.cancel();
        over
    };
    join(publishing, over).await
}

/// Cuts the coordinator off at the point where it is to die, and gives the intent that it
/// was about.
async fn cut_off(relay: &Relay, dies: Dies) -> String {
    let mut decided = None;
    let at = relay.cut_before(move |subject| {
        let intent = || subject.strip_prefix(DECIDED).map(str::to_owned);
        match dies {
            Dies::BeforeTheDecision => intent(),
            // The first ack after a decision may be its own; none before it is.
            Dies::BeforeTheAck if is_ack(subject) => decided.clone(),
            Dies::BeforeTheAck => {
                decided = decided.take().or_else(intent);
                None
            }
        }
    });
    let at = tokio::time::timeout(PATIENCE, at).await;
    at.expect("the coordinator uses the window")
}

async fn window(deployment: &Deployment, id: &str) -> Window {
    let bus = deployment.core(COORDINATOR).await;
    let entry = Bucket::new(&bus, WINDOWS).get(id).await;
    let entry = entry.expect("the coordinator may read").expect("a window");
    bus.close().await;
    serde_json::from_slice(&entry.value).expect("a window is JSON")
}

/// Looks that the coordinator stands where it is to die.
async fn stands_there(deployment: &Deployment, dies: Dies, of: &str, intent: &str) {
    let window = window(deployment, of).await;
    assert!(window.holds(intent.parse().unwrap()), "its use is stored");
    let observer = deployment.observer().await;
    let chain = format!("tool.*.billing.{intent}");
    match dies {
        Dies::BeforeTheDecision => {
            let found = observer.read("CS_EVENTS", &chain).await;
            assert!(found.is_empty(), "{found:?}");
        }
        Dies::BeforeTheAck => {
            eventually(PATIENCE, "the decision is stored", async || {
                observer.read("CS_EVENTS", &chain).await.pop()
            })
            .await;
        }
    }
    let input = format!("policy.checked.billing.{intent}");
    let input = observer.read("CS_EVENTS", &input).await[0].seq;
    let floor = deployment.consumer(COORDINATOR_EVENTS).await.ack_floor;
    assert!(floor.stream_sequence < input, "its input is not acked");
}

/// Looks that each intent was decided once at the most, and nobody was asked about what ran.
async fn decided_once(deployment: &Deployment, ran: &BTreeSet<String>, ids: &[String]) {
    let observer = deployment.observer().await;
    let told = async |filter: &str| -> Vec<Event> { observer.read("CS_EVENTS", filter).await };
    let (approved, blocked) = (told("tool.approved.>").await, told("tool.blocked.>").await);
    let asked = told("approval.requested.>").await;
    let runs = deployment.journal().counts();
    for id in ids {
        let decisions = approved.iter().chain(&blocked);
        let own = decisions.filter(|event| event.text("/intent_id") == id);
        let expected = usize::from(ran.contains(id));
        assert_eq!(own.count(), expected, "{id}");
        assert_eq!(runs.get(id).copied().unwrap_or_default(), expected, "{id}");
        let asked = asked.iter().filter(|event| event.subject.ends_with(id));
        assert_eq!(asked.count(), 1 - expected, "{id}");
    }
}

/// Kills a coordinator at each of the points in turn, while agents race for the window.
async fn is_used_exactly(limits: Value) {
    let (mut deployment, relay) = two_coordinators().await;
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    open(&agent, &dora, limits).await;
    let listed = dora.view(&json!({"op": "windows"})).await;
    let of = listed["windows"][0]["window_id"].as_str().unwrap();
    let mut ids = Vec::new();
    for _ in 0..ROUNDS {
        for dies in [Dies::BeforeTheDecision, Dies::BeforeTheAck] {
            let (wave, intent) = waves_until(&agent, cut_off(&relay, dies)).await;
            ids.extend(wave);
            stands_there(&deployment, dies, of, &intent).await;
            deployment.service(COORDINATOR).kill();
            deployment.service(COORDINATOR).restart();
        }
    }
    assert!(ids.len() < MANY_USES, "{} came before the end", ids.len());
    while ids.len() < MANY_USES + WAVE {
        ids.extend(join_all((0..WAVE).map(|_| book(&agent))).await);
    }
    let mut ran_under = BTreeSet::new();
    for id in &ids {
        if ran(&agent, &dora, id).await {
            ran_under.insert(id.clone());
        }
    }
    assert_eq!(ran_under.len(), MANY_USES, "each use once, and all of them");
    decided_once(&deployment, &ran_under, &ids).await;
    let window = window(&deployment, of).await;
    assert_eq!(window.used() as usize, MANY_USES);
    assert!(ran_under.iter().all(|id| window.holds(id.parse().unwrap())));
    if let Some(total) = window.total() {
        assert_eq!(total, (MANY_USES * AMOUNT).into());
    }
}

#[tokio::test]
async fn a_window_is_used_exactly_though_a_coordinator_dies_right_before_and_after_it_decides() {
    is_used_exactly(json!({"seconds": 3_000, "max_uses": MANY_USES})).await;
}

#[tokio::test]
async fn a_total_is_exact_though_a_coordinator_dies_right_before_and_after_it_decides() {
    let total = (MANY_USES * AMOUNT).to_string();
    is_used_exactly(json!({"seconds": 3_000, "max_total": total})).await;
}
