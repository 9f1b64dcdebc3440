//! The tricks that the server's own features offer, tried by every identity: reply-to on
//! whatever it may send, and the headers that make JetStream write, wipe or copy.
//!
//! The golden text says what each led to. The rule above it: nothing that an outsider does
//! ends in one of our streams, or on a foreign subject, where a reader would believe it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use countersign_runtime::identity::{Principal, Role, Service};
use countersign_schemas::Address;
use countersign_schemas::subjects::service::WORK_QUEUE;
use countersign_tests::raw::{Delivered, Raw};
use serde_json::{Value, json};

use crate::golden;
use crate::stage::Stage;

/// An intent of the agent `billing` that was approved.
const OWN: &str = "0190b3a0-0000-7000-8000-000000000001";
/// Stands for an intent of somebody else in the subjects aimed at.
const AIM: &str = "0190b3a0-0000-7000-8000-0000000000ff";
/// Streams and buckets, by their server names.
const STREAMS: [&str; 10] = [
    "CS_INTENTS",
    "CS_CONTROL",
    "CS_ORDERS",
    "CS_EVENTS",
    "CS_TIMERS",
    "KV_CS_APPROVALS",
    "KV_CS_FACTS",
    "KV_CS_LABELS",
    "KV_CS_LEDGERS",
    "KV_CS_WINDOWS",
];
/// Those of them that the checker reads, and not the coordinator.
const OF_CHECKER: [&str; 3] = ["KV_CS_FACTS", "KV_CS_LABELS", "KV_CS_LEDGERS"];

/// What people may listen to.
const PERSON_HEARS: [&str; 9] = [
    "handoff.>",
    "approval.requested.*",
    "approval.voted.>",
    "approval.resolved.*",
    "window.opened.>",
    "window.closed.>",
    "control.applied.>",
    "control.done.>",
    "control.refused.>",
];
/// Begins the id of each pending message.
const PENDING_MARK: &str = "0190b3a0-0000-7000-8000-1";
/// Messages in front of each durable consumer: more than are pulled.
const PENDING: usize = 40;

/// Where a forger would like something to appear.
fn aims() -> Vec<String> {
    vec![
        format!("tool.approved.crm.{AIM}"),
        format!("policy.checked.crm.{AIM}"),
        format!("out.tool.approved.crm.{AIM}"),
        "tool.requested.crm".to_owned(),
        "tool.withdrawn.crm".to_owned(),
        "approval.vote.mia".to_owned(),
        "approval.vote.mia.inbox".to_owned(),
        "control.freeze.mia".to_owned(),
        "control.unfreeze.mia".to_owned(),
        "outcome.found.mia".to_owned(),
        format!("handoff.approval.finance.{AIM}"),
        format!("approval.resolved.a-{AIM}"),
        "timer.fired.aim".to_owned(),
        "$KV.CS_APPROVALS.aim".to_owned(),
        "$KV.CS_FACTS.orders.aim".to_owned(),
        "$KV.CS_LABELS.any.crm".to_owned(),
        "$KV.CS_LEDGERS.aim".to_owned(),
        "$KV.CS_WINDOWS.aim".to_owned(),
        "work.crm.read".to_owned(),
    ]
}

/// Something that makes the server, or a service, send an answer.
struct Carrier {
    kind: &'static str,
    subject: String,
    body: Vec<u8>,
}

fn carrier(kind: &'static str, subject: impl Into<String>, body: impl ToString) -> Carrier {
    Carrier {
        kind,
        subject: subject.into(),
        body: body.to_string().into_bytes(),
    }
}

/// What an identity says in its own voice: a stored subject that is its own.
fn voice(principal: &Principal) -> Option<String> {
    Some(match (principal.role(), principal.name()) {
        (Role::Agent, name) => format!("tool.requested.{name}"),
        (Role::Approver, name) => format!("approval.vote.{name}"),
        (Role::Operator, name) => format!("control.freeze.{name}"),
        (Role::Bridge, name) => format!("approval.vote.lee.{name}"),
        (Role::Service, "policy-checker") => format!("policy.checked.billing.{OWN}"),
        (Role::Service, "approval-coordinator") => format!("tool.blocked.billing.{OWN}"),
        (Role::Service, "tool-executor") => format!("tool.started.billing.{OWN}"),
        (Role::Service, "audit-archiver") => "archive.committed.1".to_owned(),
        (Role::Service, "audit-query") => "audit.accessed.own".to_owned(),
        _ => return None,
    })
}

fn carriers(principal: &Principal) -> Vec<Carrier> {
    let pull = |stream: &str, durable: &str| {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}");
        carrier(
            "pull",
            subject,
            json!({"batch": 1, "expires": 1_000_000_000}),
        )
    };
    let direct = |filter: &str| {
        let subject = format!("$JS.API.DIRECT.GET.CS_EVENTS.{filter}");
        carrier("direct get", subject, "")
    };
    let read = |stream: &str| {
        let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
        carrier("read", subject, json!({"seq": 1}))
    };
    let micro = |subject: &str| carrier("micro request", subject, "{}");
    let mut all: Vec<Carrier> = voice(principal)
        .into_iter()
        .map(|subject| carrier("publish", subject, "{}"))
        .collect();
    all.extend(match (principal.role(), principal.name()) {
        (Role::Agent, name) => vec![direct(&format!("tool.*.{name}.{OWN}"))],
        (Role::Approver, name) => vec![
            direct(&format!("approval.requested.a-{OWN}")),
            micro(&format!("cs.approval.view.{name}")),
            micro(&format!("cs.audit.query.{name}")),
        ],
        (Role::Operator, name) => vec![
            direct(&format!("approval.requested.a-{OWN}")),
            micro(&format!("cs.identity.changed.{name}")),
            micro(&format!("cs.health.{name}")),
            micro(&format!("cs.policy.push.{name}")),
        ],
        (Role::Bridge, name) => vec![
            pull("CS_EVENTS", &format!("bridge-{name}")),
            micro(&format!("cs.approval.view.{name}")),
        ],
        (Role::Worker, _) => vec![],
        (Role::Service, "setup") => vec![carrier("read", "$JS.API.STREAM.INFO.CS_EVENTS", "")],
        (Role::Service, "policy-checker") => {
            vec![pull("CS_INTENTS", "policy-checker"), read("CS_INTENTS")]
        }
        (Role::Service, "approval-coordinator") => {
            vec![
                pull("CS_INTENTS", "approval-coordinator"),
                read("CS_EVENTS"),
            ]
        }
        (Role::Service, "tool-executor") => vec![
            pull("CS_EVENTS", "tool-executor"),
            read("CS_EVENTS"),
            micro("cs.policy.recheck"),
        ],
        (Role::Service, "audit-archiver") => vec![read("CS_INTENTS")],
        (Role::Service, "audit-query") => vec![micro("cs.audit.tail")],
        (Role::Service, _) => vec![carrier("read", "$SYS.REQ.SERVER.PING", "")],
    });
    all
}

/// Headers that make JetStream do more than store.
fn header_tricks() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let aim = format!("tool.approved.crm.{AIM}");
    let text = |value: &str| value.to_owned();
    vec![
        (
            "schedule",
            vec![
                ("Nats-Schedule", text("@at 2020-01-01T00:00:00Z")),
                ("Nats-Schedule-Target", aim.clone()),
            ],
        ),
        ("rollup of all", vec![("Nats-Rollup", text("all"))]),
        ("rollup of the subject", vec![("Nats-Rollup", text("sub"))]),
        ("time to live", vec![("Nats-TTL", text("1s"))]),
        ("counter", vec![("Nats-Incr", text("1"))]),
        (
            "atomic batch",
            vec![
                ("Nats-Batch-Id", text("b")),
                ("Nats-Batch-Sequence", text("1")),
                ("Nats-Batch-Commit", text("1")),
            ],
        ),
        ("message trace", vec![("Nats-Trace-Dest", aim.clone())]),
        (
            "message trace alone",
            vec![("Nats-Trace-Dest", aim), ("Nats-Trace-Only", text("true"))],
        ),
        ("dedupe poisoning", vec![("Nats-Msg-Id", text("poison"))]),
    ]
}

/// What a reader of the message makes of it (§12 of the contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reading {
    /// Its type, agent or intent is not that of its subject.
    NotBelieved,
    /// Not an event: a trigger, a value or a task, which its reader checks by other means.
    NoEvent,
    /// It would be taken for what its subject says.
    Believed,
}

impl Reading {
    fn of(subject: &str, ce_type: Option<&str>, body: &[u8]) -> Self {
        let Some(address) = Address::parse(subject) else {
            return Self::NoEvent;
        };
        if ce_type != Some(&format!("dev.countersign.{}.v1", address.event())) {
            return Self::NotBelieved;
        }
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let same = ["agent", "intent_id"].iter().all(|key| {
            let told = body.get(key).and_then(Value::as_str);
            told.is_none_or(|told| subject.split('.').any(|token| token == told))
        });
        if same {
            Self::Believed
        } else {
            Self::NotBelieved
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NotBelieved => "not believed",
            Self::NoEvent => "no event",
            Self::Believed => "BELIEVED",
        }
    }
}

/// Looks for what the tricks left behind.
struct Watch {
    reader: Raw,
    checker: Raw,
    setup: Raw,
    next: BTreeMap<&'static str, u64>,
    agent: Raw,
    person: Raw,
    worker: Raw,
    voices: [Raw; 3],
    turn: u64,
}

/// Something that turned up where nobody who may write there put it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Trace {
    place: String,
    subject: String,
    reading: Reading,
}

impl Trace {
    fn new(place: &str, subject: &str, ce_type: Option<&str>, body: &[u8]) -> Self {
        Self {
            place: place.to_owned(),
            subject: subject.to_owned(),
            reading: Reading::of(subject, ce_type, body),
        }
    }

    /// Whether an outsider got further than onto a subject where nobody believes it.
    fn fools(&self) -> bool {
        STREAMS.contains(&self.place.as_str()) || self.reading != Reading::NotBelieved
    }
}

impl Watch {
    async fn start(stage: &Stage) -> Self {
        let mut agent = stage.raw_named(Role::Agent, "crm").await;
        agent.subscribe("tool.*.crm.>").await.unwrap();
        let mut person = stage.raw_named(Role::Approver, "idle").await;
        for subject in PERSON_HEARS {
            person.subscribe(subject).await.unwrap();
        }
        let mut worker = stage.raw_named(Role::Worker, "crm").await;
        let subject = "work.crm.read";
        worker.subscribe_in(subject, WORK_QUEUE).await.unwrap();
        let mut watch = Self {
            reader: stage.raw_named(Role::Service, "approval-coordinator").await,
            checker: stage.raw_named(Role::Service, "policy-checker").await,
            setup: stage.raw_named(Role::Service, "setup").await,
            next: STREAMS.map(|stream| (stream, 1)).into(),
            agent,
            person,
            worker,
            voices: [
                stage.raw_named(Role::Agent, "idle").await,
                stage.raw_named(Role::Approver, "idle").await,
                stage.raw_named(Role::Operator, "idle").await,
            ],
            turn: 0,
        };
        watch.look(&BTreeSet::new()).await;
        watch
    }

    /// Puts one message through every stream: what came before it is stored by then.
    async fn barrier(&mut self) {
        self.turn += 1;
        let turn = self.turn;
        let [agent, person, operator] = &mut self.voices;
        agent
            .request("tool.requested.idle", &[], b"{}")
            .await
            .unwrap();
        person
            .request("approval.vote.idle", &[], b"{}")
            .await
            .unwrap();
        operator
            .request("control.freeze.idle", &[], b"{}")
            .await
            .unwrap();
        for subject in [
            format!("identity.changed.idle{turn}"),
            format!("timer.idle.{turn}"),
            format!("$KV.CS_APPROVALS.idle{turn}"),
            format!("$KV.CS_FACTS.idle{turn}"),
            format!("$KV.CS_LABELS.idle{turn}"),
            format!("$KV.CS_LEDGERS.idle{turn}"),
            format!("$KV.CS_WINDOWS.idle{turn}"),
        ] {
            let who = match subject.split('.').nth(1) {
                Some("CS_FACTS") => &mut self.setup,
                Some("CS_LABELS" | "CS_LEDGERS") => &mut self.checker,
                _ => &mut self.reader,
            };
            let ack = who.request(&subject, &[], b"{}").await.unwrap();
            assert!(
                !String::from_utf8_lossy(&ack.body).contains("error"),
                "{ack:?}"
            );
        }
    }

    /// Everything new that is not on a subject in `own`.
    async fn look(&mut self, own: &BTreeSet<String>) -> BTreeSet<Trace> {
        self.barrier().await;
        let mut traces = BTreeSet::new();
        for stream in STREAMS {
            for (subject, headers, body) in self.new_in(stream).await {
                if !subject.contains("idle") && !own.contains(&subject) {
                    let ce_type = header(&headers, "ce-type");
                    traces.insert(Trace::new(stream, &subject, ce_type.as_deref(), &body));
                }
            }
        }
        for (place, raw) in [
            ("AGENTS", &mut self.agent),
            ("PEOPLE", &mut self.person),
            ("TOOLS", &mut self.worker),
        ] {
            for message in raw.take_delivered().await.unwrap() {
                if !is_republish(&message) && !message.subject.contains("idle") {
                    let ce_type = message.header("ce-type");
                    traces.insert(Trace::new(place, &message.subject, ce_type, &message.body));
                }
            }
        }
        traces
    }

    async fn new_in(&mut self, stream: &'static str) -> Vec<(String, String, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let from = self.next[stream];
            let query = json!({"seq": from, "next_by_subj": ">"}).to_string();
            let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
            let reader = match OF_CHECKER.contains(&stream) {
                true => &mut self.checker,
                false => &mut self.reader,
            };
            let answer = reader
                .request(&subject, &[], query.as_bytes())
                .await
                .unwrap();
            let answer: Value = serde_json::from_slice(&answer.body).unwrap();
            let Some(message) = answer.get("message") else {
                return found;
            };
            let decode = |key: &str| {
                let text = message[key].as_str().unwrap_or_default();
                base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap()
            };
            self.next
                .insert(stream, message["seq"].as_u64().unwrap() + 1);
            found.push((
                message["subject"].as_str().unwrap().to_owned(),
                String::from_utf8(decode("hdrs")).unwrap(),
                decode("data"),
            ));
        }
    }
}

fn header(headers: &str, name: &str) -> Option<String> {
    headers.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim().to_owned())
    })
}

/// What the stream itself sent on after storing it, under its own name.
fn is_republish(message: &Delivered) -> bool {
    message.header("Nats-Stream") == Some("CS_EVENTS")
        && message.header("Nats-Subject") == Some(&message.subject)
        && message.header("Nats-Last-Sequence").is_some()
}

/// Stores genuine events, so that there is something to misdirect, and answers requests.
async fn prepare(stage: &Stage) {
    let mut setup = stage.raw_named(Role::Service, "setup").await;
    for name in ["slack", "inbox"] {
        let config = json!({
            "stream_name": "CS_EVENTS",
            "config": {
                "durable_name": format!("bridge-{name}"), "ack_policy": "explicit",
                "deliver_policy": "all", "filter_subject": "handoff.>",
                "ack_wait": 3_600_000_000_000_u64,
            },
        });
        let subject = format!("$JS.API.CONSUMER.CREATE.CS_EVENTS.bridge-{name}.handoff.>");
        let answer = setup
            .request(&subject, &[], config.to_string().as_bytes())
            .await
            .unwrap();
        assert!(
            !String::from_utf8_lossy(&answer.body).contains("error"),
            "{answer:?}"
        );
    }
    let mut coordinator = stage.raw_named(Role::Service, "approval-coordinator").await;
    for (event, rest) in [
        ("tool.approved", format!("billing.{OWN}")),
        ("approval.requested", format!("a-{OWN}")),
    ] {
        store(&mut coordinator, event, &rest).await;
    }
    for index in 0..PENDING {
        let id = format!("{PENDING_MARK}{index:011}");
        store(
            &mut coordinator,
            "handoff",
            &format!("approval.finance.{id}"),
        )
        .await;
        store(&mut coordinator, "tool.approved", &format!("billing.{id}")).await;
    }
    let mut agent = stage.raw_named(Role::Agent, "billing").await;
    for _ in 0..PENDING {
        // What a colluding agent would have a service send on: a forged approval.
        let forged = json!({"agent": "crm", "intent_id": AIM}).to_string();
        let headers = [("ce-type", "dev.countersign.tool.approved.v1")];
        for subject in ["tool.requested.billing", "tool.withdrawn.billing"] {
            agent
                .request(subject, &headers, forged.as_bytes())
                .await
                .unwrap();
        }
    }
}

async fn store(raw: &mut Raw, event: &str, rest: &str) {
    let ce_type = format!("dev.countersign.{event}.v1");
    let body = json!({"agent": "billing", "intent_id": OWN}).to_string();
    raw.request(
        &format!("{event}.{rest}"),
        &[("ce-type", &ce_type)],
        body.as_bytes(),
    )
    .await
    .unwrap();
}

/// Our services' side of the requests that outsiders may send.
async fn answerers(stage: &Stage) {
    use futures::StreamExt as _;
    for (service, subjects) in [
        (
            Service::ApprovalCoordinator,
            vec!["cs.approval.view.*", "cs.identity.changed.*", "cs.health.*"],
        ),
        (
            Service::PolicyChecker,
            vec!["cs.policy.recheck", "cs.policy.push.*"],
        ),
        (
            Service::AuditArchiver,
            vec!["cs.audit.tail", "cs.audit.fingerprint.*"],
        ),
        (Service::AuditQuery, vec!["cs.audit.query.*"]),
    ] {
        let bus = stage.bus(service).await;
        for subject in subjects {
            let mut requests = bus.client().subscribe(subject).await.unwrap();
            let client = bus.client().clone();
            tokio::spawn(async move {
                while let Some(request) = requests.next().await {
                    if let Some(reply) = request.reply {
                        client.publish(reply, "{}".into()).await.unwrap();
                        client.flush().await.unwrap();
                    }
                }
            });
        }
        bus.client().flush().await.unwrap();
    }
}

/// One line for each place and subject; which of the pending messages a pull brought is
/// left out.
fn outcome(traces: &BTreeSet<Trace>) -> String {
    if traces.is_empty() {
        return "nothing\n".to_owned();
    }
    let lines: BTreeSet<String> = traces
        .iter()
        .map(|trace| {
            let subject = trace.subject.replace(AIM, "<intent>");
            let subject = match subject.find(PENDING_MARK) {
                Some(place) => format!("{}<pulled>", &subject[..place]),
                None => subject,
            };
            format!("    {} {subject}: {}\n", trace.place, trace.reading.words())
        })
        .collect();
    format!("\n{}", Vec::from_iter(lines).concat())
}

async fn reply_tricks(stage: &Stage, watch: &mut Watch, who: &Principal, out: &mut String) -> bool {
    let own: BTreeSet<String> = voice(who).into_iter().collect();
    let mut fooled = false;
    for carrier in carriers(who) {
        let mut raw = stage.raw(who).await;
        for aim in aims() {
            let sent = raw
                .publish_with(&carrier.subject, Some(&aim), &[], &carrier.body)
                .await;
            sent.unwrap_or_else(|refused| panic!("{who}, {}: {refused}", carrier.kind));
        }
        // Answers come in order: after this one the others have been sent. What a pull
        // brings comes under its own subject.
        let inbox = raw.inbox("last");
        raw.subscribe(&inbox).await.unwrap();
        raw.publish_with(&carrier.subject, Some(&inbox), &[], &carrier.body)
            .await
            .unwrap();
        raw.next().await.unwrap();
        let traces = watch.look(&own).await;
        fooled |= traces.iter().any(Trace::fools);
        write!(out, "  reply-to on {}: {}", carrier.kind, outcome(&traces)).unwrap();
    }
    fooled
}

/// What the stream says to a message with these headers, if anything.
async fn said(raw: &mut Raw, watch: &mut Watch, subject: &str, headers: &[(&str, &str)]) -> String {
    let inbox = raw.inbox("ack");
    raw.subscribe(&inbox).await.unwrap();
    let sent = raw
        .publish_with(subject, Some(&inbox), headers, b"{}")
        .await;
    if let Err(reason) = sent {
        assert!(reason.contains("Permissions Violation"), "{reason}");
        return "no permission".to_owned();
    }
    watch.barrier().await;
    let answers = raw.take_delivered().await.unwrap();
    let Some(answer) = answers.iter().find(|message| message.subject == inbox) else {
        return "no answer".to_owned();
    };
    let ack: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match ack.pointer("/error/err_code") {
        Some(code) => format!("refused with {code}"),
        None => "stored as its own".to_owned(),
    }
}

async fn headers_tried(
    stage: &Stage,
    watch: &mut Watch,
    who: &Principal,
    out: &mut String,
) -> bool {
    let Some(subject) = voice(who) else {
        return false;
    };
    let own: BTreeSet<String> = [subject.clone()].into();
    for (name, headers) in header_tricks() {
        let mut raw = stage.raw(who).await;
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        let answer = said(&mut raw, watch, &subject, &headers).await;
        writeln!(out, "  {name}: {answer}").unwrap();
    }
    let traces = watch.look(&own).await;
    write!(out, "  left by these headers: {}", outcome(&traces)).unwrap();
    traces.iter().any(Trace::fools)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trick_of_an_outsider_is_believed() {
    golden::check("tricks.txt", &tricks(&Stage::start().await).await);
}

/// What each trick of each identity led to; an outsider's may not be believed.
pub(crate) async fn tricks(stage: &Stage) -> String {
    prepare(stage).await;
    answerers(stage).await;
    let mut watch = Watch::start(stage).await;
    let mut out = String::from(
        "What each identity reaches by tricks, besides its own subjects. A message that is\n\
         \"not believed\" fails the check that every reader makes: its type, agent and intent\n\
         must be those of its subject. Outsiders reach no stream but on their own subjects.\n\
         Our own services share an account, where an answer may be sent to any subject; what\n\
         stands between a stolen service credential and a run is that check and the permit.\n",
    );
    let mut fooled = Vec::new();
    for who in stage.principals() {
        writeln!(out, "\n## {who}, account {}\n", who.account()).unwrap();
        let by_reply = reply_tricks(stage, &mut watch, &who, &mut out).await;
        let by_header = headers_tried(stage, &mut watch, &who, &mut out).await;
        if (by_reply || by_header) && who.role() != Role::Service {
            fooled.push(who.to_string());
        }
    }
    assert!(fooled.is_empty(), "believed tricks of {fooled:?}:\n{out}");
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_message_id_costs_a_service_nothing() {
    let stage = Stage::start().await;
    let id = [("Nats-Msg-Id", "decision-1")];
    for (role, name, subject) in [
        (Role::Agent, "billing", "tool.requested.billing"),
        (Role::Operator, "kim", "control.freeze.kim"),
    ] {
        let mut raw = stage.raw_named(role, name).await;
        raw.request(subject, &id, b"{}").await.unwrap();
    }
    let mut coordinator = stage.raw_named(Role::Service, "approval-coordinator").await;
    let subject = format!("tool.approved.crm.{AIM}");
    let ack = coordinator.request(&subject, &id, b"{}").await.unwrap();
    let ack: Value = serde_json::from_slice(&ack.body).unwrap();
    assert_eq!(ack["stream"], "CS_EVENTS");
    assert_ne!(ack["duplicate"], true);
}
