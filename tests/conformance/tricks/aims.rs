//! What each identity may send, and what its tricks aim at.

use super::*;

/// Stands for an intent of somebody else in the subjects aimed at.
pub(super) const AIM: &str = "0190b3a0-0000-7000-8000-0000000000ff";

/// Begins the id of each pending message.
pub(super) const PENDING_MARK: &str = "0190b3a0-0000-7000-8000-1";

/// Messages in front of each durable consumer: more than are pulled.
pub(super) const PENDING: usize = 40;

/// Where a forger would like something to appear.
pub(super) fn aims() -> Vec<String> {
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
pub(super) struct Carrier {
    pub(super) kind: &'static str,
    pub(super) subject: String,
    pub(super) body: Vec<u8>,
}

fn carrier(kind: &'static str, subject: impl Into<String>, body: impl ToString) -> Carrier {
    Carrier {
        kind,
        subject: subject.into(),
        body: body.to_string().into_bytes(),
    }
}

/// What an identity says in its own voice: a stored subject that is its own.
pub(super) fn voice(principal: &Principal) -> Option<String> {
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

pub(super) fn carriers(principal: &Principal) -> Vec<Carrier> {
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
pub(super) fn header_tricks() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
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
