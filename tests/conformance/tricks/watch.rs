//! Looks for what the tricks left behind.

use std::collections::BTreeMap;

use countersign_schemas::Address;
use countersign_schemas::subjects::service::WORK_QUEUE;
use countersign_tests::raw::Delivered;

use super::*;

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

/// What a reader of the message makes of it (§12 of the contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reading {
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

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::NotBelieved => "not believed",
            Self::NoEvent => "no event",
            Self::Believed => "BELIEVED",
        }
    }
}

/// Looks for what the tricks left behind.
pub(super) struct Watch {
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
pub(super) struct Trace {
    pub(super) place: String,
    pub(super) subject: String,
    pub(super) reading: Reading,
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
    pub(super) fn fools(&self) -> bool {
        STREAMS.contains(&self.place.as_str()) || self.reading != Reading::NotBelieved
    }
}

impl Watch {
    pub(super) async fn start(stage: &Stage) -> Self {
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
    pub(super) async fn barrier(&mut self) {
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
    pub(super) async fn look(&mut self, own: &BTreeSet<String>) -> BTreeSet<Trace> {
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
