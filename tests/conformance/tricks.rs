//! The tricks that the server's own features offer, tried by every identity: reply-to on
//! whatever it may send, and the headers that make JetStream write, wipe or copy.
//!
//! The golden text says what each led to. The rule above it: nothing that an outsider does
//! ends in one of our streams, or on a foreign subject, where a reader would believe it.

mod aims;
mod watch;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use countersign_runtime::identity::{Principal, Role, Service};
use countersign_tests::raw::Raw;
use serde_json::{Value, json};

use crate::golden;
use crate::stage::Stage;
use aims::{AIM, PENDING, PENDING_MARK, aims, carriers, header_tricks, voice};
use watch::{Trace, Watch};

/// An intent of the agent `billing` that was approved.
const OWN: &str = "0190b3a0-0000-7000-8000-000000000001";

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
