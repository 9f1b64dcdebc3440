//! The rows of the permission matrix.

use countersign_runtime::identity::Service;

const INTENT: &str = "0190b3a0-0000-7000-8000-000000000001";

/// Subjects that end in the name of a person.
const OF_PEOPLE: [&str; 12] = [
    "approval.vote",
    "window.requested",
    "window.closing",
    "control.freeze",
    "control.unfreeze",
    "outcome.found",
    "cs.approval.view",
    "cs.audit.query",
    "cs.audit.fingerprint",
    "cs.policy.push",
    "cs.identity.changed",
    "cs.health",
];
/// Subjects that end in an agent and an intent.
const OF_INTENTS: [&str; 9] = [
    "policy.checked",
    "tool.approved",
    "tool.blocked",
    "tool.started",
    "tool.completed",
    "tool.revoked",
    "outcome.late",
    "outcome.reconciled",
    "vault.revealed",
];
const OTHERS: [&str; 42] = [
    "approval.vote.lee.slack",
    "approval.vote.lee.inbox",
    "approval.vote.mia.slack",
    "approval.vote.mia.inbox",
    "cs.approval.view.slack",
    "cs.approval.view.inbox",
    "tool.requested.billing",
    "tool.requested.crm",
    "tool.withdrawn.billing",
    "tool.withdrawn.crm",
    "tool.refused.billing.abc.1",
    "tool.refused.crm.abc.1",
    "window.opened.billing.w1",
    "window.closed.billing.w1",
    "handoff.approval.finance.x",
    "control.applied.abc.1",
    "control.applied.abc.1.2",
    "control.done.abc.1",
    "control.refused.abc.1",
    "vault.tokenized.email.x",
    "vault.erased.x",
    "policy.published.x",
    "identity.changed.x",
    "audit.accessed.x",
    "archive.committed.1",
    "archive.purged.CS_EVENTS.x",
    "timer.deadline.x",
    "timer.fired.x",
    "$KV.CS_APPROVALS.x",
    "$KV.CS_POLICY.current",
    "$KV.CS_FACTS.x",
    "$KV.CS_LABELS.x",
    "$KV.CS_LEDGERS.x",
    "$KV.CS_WINDOWS.x",
    "cs.vault.tokenize",
    "cs.vault.reveal",
    "cs.policy.recheck",
    "cs.audit.tail",
    "cs.guardrail.names",
    "cs.guardrail.others",
    "work.crm.read",
    "work.mail.send",
];
const STREAMS: [&str; 11] = [
    "CS_INTENTS",
    "CS_CONTROL",
    "CS_ORDERS",
    "CS_EVENTS",
    "CS_TIMERS",
    "KV_CS_APPROVALS",
    "KV_CS_POLICY",
    "KV_CS_FACTS",
    "KV_CS_LABELS",
    "KV_CS_LEDGERS",
    "KV_CS_WINDOWS",
];
/// What the server does with a stream.
const STREAM_ACTS: [&str; 13] = [
    "STREAM.CREATE",
    "STREAM.UPDATE",
    "STREAM.INFO",
    "STREAM.PURGE",
    "STREAM.DELETE",
    "STREAM.MSG.GET",
    "STREAM.MSG.DELETE",
    "STREAM.SNAPSHOT",
    "STREAM.RESTORE",
    "STREAM.LEADER.STEPDOWN",
    "CONSUMER.CREATE",
    "CONSUMER.NAMES",
    "DIRECT.GET",
];
const CONSUMERS: [&str; 6] = [
    "policy-checker",
    "approval-coordinator",
    "tool-executor",
    "bridge-slack",
    "bridge-inbox",
    "own",
];
const OF_THE_SERVER: [&str; 21] = [
    "$JS.API.INFO",
    "$JS.API.STREAM.CREATE.OTHER",
    "$JS.API.STREAM.NAMES",
    "$SRV.PING",
    "$SRV.PING.approval-coordinator",
    "$SRV.PING.names",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.SERVER.x.RELOAD",
    "$SYS.REQ.SERVER.x.CONNZ",
    "$SYS.REQ.SERVER.x.KICK",
    "$SYS.REQ.USER.INFO",
    "$SYS.REQ.ACCOUNT.CORE.CONNZ",
    "$SYS.REQ.CLAIMS.UPDATE",
    "_INBOX.x",
    "_INBOX_billing.x",
    "_INBOX_crm.x",
    "_INBOX_lee.x",
    "_INBOX_tool-executor.x",
    "_R_.x",
    "out.tool.approved.billing.x",
    "out.policy.checked.billing.x",
];
const WILDCARDS: [&str; 35] = [
    ">",
    "*.>",
    "tool.>",
    "tool.*.>",
    "tool.*.*.>",
    "tool.*.billing.>",
    "tool.*.crm.>",
    "tool.requested.*",
    "policy.>",
    "approval.>",
    "approval.vote.>",
    "handoff.>",
    "window.>",
    "control.>",
    "outcome.>",
    "audit.>",
    "archive.>",
    "deadletter.>",
    "timer.>",
    "out.>",
    "work.>",
    "work.*.*",
    "cs.>",
    "$KV.>",
    "$JS.>",
    "$JS.API.>",
    "$JS.ACK.>",
    "$JS.EVENT.>",
    "$SRV.>",
    "$SYS.>",
    "_INBOX.>",
    "_INBOX_billing.>",
    "_INBOX_crm.>",
    "_INBOX_lee.>",
    "_R_.>",
];

/// Subjects of the contract, with every token that names an identity once its own and
/// once another's.
pub(crate) fn subjects() -> Vec<String> {
    let approval = format!("a-{INTENT}");
    let people = OF_PEOPLE.iter().flat_map(|word| {
        let name = move |person: &str| format!("{word}.{person}");
        ["lee", "kim", "mia"].map(name)
    });
    let intents = OF_INTENTS.iter().flat_map(|word| {
        let name = move |agent: &str| format!("{word}.{agent}.{INTENT}");
        ["billing", "crm"].map(name)
    });
    let approvals = [
        format!("approval.requested.{approval}"),
        format!("approval.voted.{approval}.abc.1"),
        format!("approval.resolved.{approval}"),
    ];
    let letters = Service::ALL.map(|service| format!("deadletter.{}.x", service.name()));
    people
        .chain(intents)
        .chain(approvals)
        .chain(OTHERS.map(str::to_owned))
        .chain(letters)
        .collect()
}

/// Subjects of the server itself.
pub(crate) fn server_subjects() -> Vec<String> {
    let mut subjects = Vec::new();
    for stream in STREAMS {
        subjects.extend(STREAM_ACTS.map(|act| format!("$JS.API.{act}.{stream}")));
        for consumer in CONSUMERS {
            for act in ["CREATE", "INFO", "MSG.NEXT", "DELETE"] {
                subjects.push(format!("$JS.API.CONSUMER.{act}.{stream}.{consumer}"));
            }
            subjects.push(format!("$JS.ACK.{stream}.{consumer}.1.1.1.1.1"));
            subjects.push(format!("$JS.ACK._.hash.{stream}.{consumer}.1.1.1.1.1.x"));
        }
    }
    let direct = [
        format!("tool.*.billing.{INTENT}"),
        format!("tool.*.crm.{INTENT}"),
        format!("tool.*.*.{INTENT}"),
        "tool.>".to_owned(),
        "approval.requested.x".to_owned(),
        "window.opened.billing.w1".to_owned(),
        "control.applied.abc.1".to_owned(),
        "handoff.approval.finance.x".to_owned(),
        format!("policy.checked.billing.{INTENT}"),
        ">".to_owned(),
    ];
    subjects.extend(direct.map(|filter| format!("$JS.API.DIRECT.GET.CS_EVENTS.{filter}")));
    subjects.extend(OF_THE_SERVER.map(str::to_owned));
    subjects
}

/// Wildcards that somebody may try to listen on.
pub(crate) fn wildcards() -> Vec<String> {
    WILDCARDS.map(str::to_owned).into()
}
