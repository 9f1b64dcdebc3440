//! Nothing leaks: what is secret or personal stands in the raw messages, in what approvers are
//! shown, and nowhere else; and from there it goes.

mod agents;
mod commands;
mod files;
mod forms;
mod helpers;
mod people;
mod places;
mod planted;
mod purge;

use std::collections::BTreeSet;
use std::net::TcpListener;

use async_nats::{Client, HeaderMap};
use countersign_schemas::Stream;
use countersign_tests::process::{ARCHIVER, QUERY, SERVICES};
use countersign_tests::{Deployment, PATIENCE, eventually};
use serde_json::{Value, json};

use self::forms::Search;
use self::places::{Collector, Places};
use self::planted::Planted;

/// The streams of what outsiders say, as they say it.
const RAW: [Stream; 3] = [Stream::Intents, Stream::Control, Stream::Orders];

/// Stores any body on any subject; its sequence.
async fn store(client: &Client, subject: &str, headers: &HeaderMap, body: String) -> u64 {
    let mut headers = headers.clone();
    headers.insert("Nats-Msg-Id", uuid::Uuid::new_v4().to_string());
    let reply = client.request_with_headers(subject.to_owned(), headers, body.into());
    let ack: Value = serde_json::from_slice(&reply.await.unwrap().payload).unwrap();
    let seq = ack["seq"].as_u64();
    seq.unwrap_or_else(|| panic!("{subject}: {ack}"))
}

/// A deployment that says as much of itself as it can, and where each service serves metrics.
async fn talkative(endpoint: &str) -> (Deployment, Vec<String>) {
    let settings = [
        ("COUNTERSIGN_TELEMETRY__LEVEL", "debug"),
        ("COUNTERSIGN_TELEMETRY__OTLP_ENDPOINT", endpoint),
    ];
    let mut deployment = Deployment::prepared(&settings, |files| {
        let policy = files.dir().join("policy");
        std::fs::write(policy.join("catalog/letters.toml"), helpers::CATALOG).unwrap();
        std::fs::write(policy.join("policies/letters.cedar"), helpers::POLICY).unwrap();
    })
    .await;
    helpers::serve(&deployment).await;
    let mut addresses = Vec::new();
    for name in SERVICES.into_iter().chain([QUERY]) {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        deployment.set("COUNTERSIGN_TELEMETRY__METRICS_LISTEN", &address);
        deployment.launch(name);
        addresses.push(address);
    }
    deployment.ready().await;
    (deployment, addresses)
}

/// Whether a file of the deployment may hold nothing of what was planted: everything but the
/// streams of what outsiders say, the stream of events, which is read message by message, the
/// workers' own journal, and the bundle in which this test planted something.
fn must_be_clean(path: &str) -> bool {
    let raw = RAW.map(|stream| format!("/{stream}/"));
    let others = ["/CS_EVENTS/", "/broken/", "/journal.jsonl"];
    !raw.iter().any(|part| path.contains(part)) && !others.iter().any(|part| path.contains(part))
}

/// Plants everything everywhere.
async fn plant(deployment: &Deployment, values: &[Planted], places: &mut Places) -> Vec<String> {
    agents::intents(deployment, values, places).await;
    agents::letters(deployment, values, places).await;
    agents::names(deployment, values).await;
    let mut own = Vec::new();
    for text in planted::sentences(values) {
        agents::refused(deployment, &text).await;
        people::orders(deployment, &text).await;
        people::questions(deployment, &text, places).await;
        own.extend(people::broken_services(deployment, &text).await);
    }
    commands::run(deployment, &planted::sample(values), places);
    own
}

/// One last message in each raw stream, for the last one stays: the archiver knows its
/// stream again by it. Their sequences, and the last event of all, once it is archived.
async fn close(deployment: &Deployment) -> Vec<(Stream, u64)> {
    let agent = deployment.agent("crm").await;
    let olga = deployment.operator().await;
    let none = HeaderMap::new();
    people::close_windows(deployment).await;
    let input = json!({"contact_id": "last"});
    let intent = agent.intent("crm.read_contact", input).to_string();
    let order = json!({"schema_version": 1, "scope": {"agent": "support"}, "reason": "over"});
    let mut last = Vec::new();
    for (stream, client, subject, body) in [
        (
            Stream::Intents,
            agent.client(),
            "tool.requested.crm",
            intent,
        ),
        (
            Stream::Control,
            olga.client(),
            "outcome.found.olga",
            "{}".to_owned(),
        ),
        (
            Stream::Orders,
            olga.client(),
            "control.unfreeze.olga",
            order.to_string(),
        ),
    ] {
        let seq = store(client, subject, &none, body).await;
        let sql = format!("SELECT seq FROM events WHERE stream = '{stream}' AND seq = {seq}");
        deployment.rows_once_there(&sql, 1).await;
        last.push((stream, seq));
    }
    last
}

/// Adds all that is left behind, but for what `own` names.
async fn collect(
    deployment: &Deployment,
    addresses: &[String],
    own: &[String],
    places: &mut Places,
) {
    commands::show(deployment, places);
    places.endpoints(addresses).await;
    let events = deployment.observer().await.events().await;
    places.events(
        events
            .into_iter()
            .filter(|event| !own.contains(&event.subject)),
    );
    places.cells(deployment).await;
    let count = files::parquet(&deployment.archive(), places);
    assert!(count > RAW.len(), "{count} files in the archive");
    places.files(deployment.dir(), &must_be_clean);
}

/// What is looked for.
struct Searches {
    all: Search,
    /// What not even approvers see.
    secrets: Search,
}

/// The search finds what is there: where it may be, and where it was put to be found.
async fn controls(deployment: &Deployment, values: &[Planted], places: &Places, search: &Searches) {
    let classed = planted::classed();
    let names = values
        .iter()
        .chain(&classed)
        .map(|planted| planted.name.as_str());
    let raw = bodies(deployment, Stream::Intents).await;
    assert_eq!(search.all.names(&raw), names.collect());
    let shown = places.found_in("input_shown", &search.all);
    assert_eq!(shown, [classed[0].name.clone()].into());
    std::fs::write(deployment.dir().join("control.log"), &values[0].value).unwrap();
    let mut control = Places::default();
    control.files(deployment.dir(), &must_be_clean);
    assert_eq!(control.leaks(&search.all, &search.secrets).len(), 1);
}

/// Two days later the raw messages are gone, and what approvers were shown.
async fn purged(deployment: &mut Deployment, mut last: Vec<(Stream, u64)>, search: &Searches) {
    deployment.service(ARCHIVER).kill();
    let observer = deployment.observer().await;
    let checked = observer.read("CS_EVENTS", "policy.checked.>").await;
    let holds = |body: &Value| !search.all.names(body.to_string().as_bytes()).is_empty();
    let planted = checked.iter().filter(|event| holds(&event.body));
    last.push((
        Stream::Events,
        planted.map(|event| event.seq + 1).max().unwrap(),
    ));
    purge::purge(deployment, &last).await;
    for stream in RAW {
        let raw = bodies(deployment, stream).await;
        assert_eq!(search.all.find(&raw), BTreeSet::new(), "{stream}");
    }
    let mut kept = Places::default();
    kept.events(observer.events().await.into_iter());
    assert_eq!(kept.found_in("input_shown", &search.all), BTreeSet::new());
}

/// The messages that a stream holds.
async fn bodies(deployment: &Deployment, stream: Stream) -> Vec<u8> {
    let read = deployment.observer().await.read(stream.name(), ">").await;
    let texts = read
        .iter()
        .map(|event| format!("{:?}\n{}\n", event.headers, event.body));
    texts.collect::<String>().into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_planted_anywhere_stands_only_where_it_may_and_goes_from_there() {
    let collector = Collector::default();
    let (mut deployment, addresses) = talkative(&collector.start().await).await;
    let values = planted::values();
    let mut places = Places::default();
    let own = plant(&deployment, &values, &mut places).await;
    let last = close(&deployment).await;
    let traced = "traces are exported";
    eventually(PATIENCE, traced, async || {
        (!collector.seen().is_empty()).then_some(())
    })
    .await;
    collect(&deployment, &addresses, &own, &mut places).await;
    places.push("the traces", collector.seen());

    let classed = planted::classed();
    let all = || values.iter().chain(&classed);
    let search = Searches {
        all: Search::new(all()),
        secrets: Search::new(all().filter(|planted| planted.secret)),
    };
    let leaks = places.leaks(&search.all, &search.secrets);
    assert!(leaks.is_empty(), "{leaks:#?}");
    controls(&deployment, &values, &places, &search).await;
    purged(&mut deployment, last, &search).await;
}
