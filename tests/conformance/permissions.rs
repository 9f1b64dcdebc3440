//! The permission matrix: every identity against every subject, asked of a real server.
//! The golden text changes where a permission is widened or narrowed, one mark each.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use countersign_runtime::identity::{Principal, Role, Service};
use countersign_schemas::Stream;
use countersign_schemas::subjects::service::WORK_QUEUE;
use countersign_tests::raw::Raw;

use crate::golden;
use crate::stage::Stage;

const INTENT: &str = "0190b3a0-0000-7000-8000-000000000001";

/// What people say, with their name as last token.
const PEOPLE_SAY: &[&str] = &[
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
];

/// Events of one agent's intent.
const OF_INTENTS: &[&str] = &[
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

/// Everything else of the contract, with made-up identities.
const OTHERS: &[&str] = &[
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
    "cs.vault.tokenize",
    "cs.vault.reveal",
    "cs.policy.recheck",
    "cs.audit.tail",
    "cs.guardrail.names",
    "work.crm.read",
    "work.mail.send",
];

/// Acts of the JetStream API on a stream.
const STREAM_ACTS: &[&str] = &[
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

/// Other subjects of the server, and inboxes.
const SERVER_OTHERS: &[&str] = &[
    "$JS.API.INFO",
    "$JS.API.STREAM.CREATE.OTHER",
    "$JS.API.STREAM.NAMES",
    "$SRV.PING",
    "$SRV.PING.approval-coordinator",
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

/// Subjects of the contract, with every token that names an identity once its own and
/// once another's.
fn subjects() -> Vec<String> {
    let mut subjects: Vec<String> = Vec::new();
    let mut add = |text: String| subjects.push(text);
    for agent in ["billing", "crm"] {
        add(format!("tool.requested.{agent}"));
        add(format!("tool.withdrawn.{agent}"));
    }
    for (people, via) in [
        ("lee", "slack"),
        ("lee", "inbox"),
        ("mia", "slack"),
        ("mia", "inbox"),
    ] {
        add(format!("approval.vote.{people}.{via}"));
    }
    for word in PEOPLE_SAY {
        for person in ["lee", "kim", "mia"] {
            add(format!("{word}.{person}"));
        }
    }
    add("cs.approval.view.slack".to_owned());
    add("cs.approval.view.inbox".to_owned());
    for word in OF_INTENTS {
        for agent in ["billing", "crm"] {
            add(format!("{word}.{agent}.{INTENT}"));
        }
    }
    for text in OTHERS {
        add((*text).to_owned());
    }
    let approval = format!("a-{INTENT}");
    add(format!("approval.requested.{approval}"));
    add(format!("approval.voted.{approval}.abc.1"));
    add(format!("approval.resolved.{approval}"));
    for service in Service::ALL {
        add(format!("deadletter.{}.x", service.name()));
    }
    subjects
}

/// Subjects of the server itself.
fn server_subjects() -> Vec<String> {
    let mut subjects: Vec<String> = Vec::new();
    for stream in [
        "CS_INTENTS",
        "CS_CONTROL",
        "CS_EVENTS",
        "CS_TIMERS",
        "KV_CS_APPROVALS",
    ] {
        for act in STREAM_ACTS {
            subjects.push(format!("$JS.API.{act}.{stream}"));
        }
        let durables = [
            "policy-checker",
            "approval-coordinator",
            "tool-executor",
            "bridge-slack",
            "bridge-inbox",
            "own",
        ];
        for durable in durables {
            for act in ["CREATE", "INFO", "MSG.NEXT", "DELETE"] {
                subjects.push(format!("$JS.API.CONSUMER.{act}.{stream}.{durable}"));
            }
            subjects.push(format!("$JS.ACK.{stream}.{durable}.1.1.1.1.1"));
            subjects.push(format!("$JS.ACK._.hash.{stream}.{durable}.1.1.1.1.1.x"));
        }
    }
    for filter in [
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
    ] {
        subjects.push(format!("$JS.API.DIRECT.GET.CS_EVENTS.{filter}"));
    }
    for text in SERVER_OTHERS {
        subjects.push((*text).to_owned());
    }
    subjects
}

/// Wildcards that somebody may try to listen on.
fn wildcards() -> Vec<String> {
    [
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
    ]
    .map(str::to_owned)
    .into()
}

fn covers(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in filter.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[test]
fn every_stored_subject_stands_in_the_matrix() {
    let subjects = subjects();
    for stream in [
        Stream::Intents,
        Stream::Control,
        Stream::Events,
        Stream::Timers,
    ] {
        for filter in stream.subjects() {
            assert!(
                subjects.iter().any(|subject| covers(filter, subject)),
                "no row for {filter}"
            );
        }
    }
}

async fn marks(raw: &mut Raw, rows: &[String], publish: bool) -> Vec<String> {
    let mut marks = Vec::new();
    for subject in rows {
        let mut mark = String::new();
        if publish {
            let sent = raw.publish(subject, b"x").await;
            mark.push(if sent.is_ok() { 'p' } else { '.' });
        }
        let heard = raw.subscribe(subject).await.is_ok();
        mark.push(match heard {
            true => 's',
            false if raw.subscribe_in(subject, WORK_QUEUE).await.is_ok() => 'q',
            false => '.',
        });
        marks.push(mark);
    }
    marks
}

fn render(title: &str, rows: &[String], columns: &[Vec<String>]) -> String {
    let mut out = format!("\n## {title}\n\n");
    for (index, subject) in rows.iter().enumerate() {
        let cells: Vec<&str> = columns
            .iter()
            .map(|column| column[index].as_str())
            .collect();
        writeln!(out, "{subject:<60} {}", cells.join(" ")).expect("a String");
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn the_matrix_is_the_golden_one() {
    let stage = Stage::start().await;
    let sections = [
        ("subjects of the contract", subjects(), true),
        ("subjects of the server", server_subjects(), true),
        ("listening on many at once", wildcards(), false),
    ];
    let mut out = String::from(
        "Every identity against every subject, asked of a real server: p it may publish,\n\
         s it may subscribe, q only in the queue `workers`. Columns, in this order:\n\n",
    );
    let principals = stage.principals();
    for (index, principal) in principals.iter().enumerate() {
        writeln!(
            out,
            "{:>3}  {principal}, account {}",
            index + 1,
            principal.account()
        )
        .expect("a String");
    }
    for (title, rows, publish) in &sections {
        let mut columns = Vec::new();
        for principal in &principals {
            let mut raw = stage.raw(principal).await;
            columns.push(marks(&mut raw, rows, *publish).await);
        }
        out.push_str(&render(title, rows, &columns));
    }
    golden::check("permissions.txt", &out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_answers_and_can_say_nothing_else() {
    let stage = Stage::start().await;
    let mut worker = stage.raw_named(Role::Worker, "crm").await;
    let mut executor = stage.raw_named(Role::Service, "tool-executor").await;
    let [heard, another] = ["work.crm.read", "work.mail.send"];
    worker.subscribe_in(heard, WORK_QUEUE).await.unwrap();
    assert!(worker.subscribe_in(another, WORK_QUEUE).await.is_err());
    let inbox = executor.inbox("reply");
    executor.subscribe(&inbox).await.unwrap();
    executor
        .publish_with("work.crm.read", Some(&inbox), &[], b"{}")
        .await
        .unwrap();
    let request = stage.next(&mut worker).await;
    let reply = request.reply.expect("a request has a reply subject");
    worker.publish(&reply, b"{\"ok\":true}").await.unwrap();
    let answer = stage.next(&mut executor).await;
    assert_eq!(answer.body, b"{\"ok\":true}");
    let again = worker.publish(&reply, b"twice").await;
    assert!(again.is_err(), "a second answer is refused");
    assert!(worker.publish("tool.completed.crm.x", b"{}").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reaches_one_replica_of_a_worker_and_no_listener_beside_them() {
    const CALLS: usize = 20;
    let stage = Stage::start().await;
    let subject = "work.crm.read";
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let mut replica = stage.raw_named(Role::Worker, "crm").await;
        assert!(replica.subscribe(subject).await.is_err());
        assert!(replica.subscribe_in(subject, "elsewhere").await.is_err());
        replica.subscribe_in(subject, WORK_QUEUE).await.unwrap();
        replicas.push(replica);
    }
    let mut executor = stage.raw_named(Role::Service, "tool-executor").await;
    let inbox = executor.inbox("reply");
    for _ in 0..CALLS {
        executor
            .publish_with(subject, Some(&inbox), &[], b"{}")
            .await
            .unwrap();
    }
    let deadline = tokio::time::Instant::now() + crate::stage::PATIENCE;
    let mut heard = 0;
    while heard < CALLS {
        for replica in &mut replicas {
            heard += replica.take_delivered().await.unwrap().len();
        }
        assert!(tokio::time::Instant::now() < deadline, "heard {heard}");
    }
    // Whatever came a second time was sent before the last of these was heard.
    for replica in &mut replicas {
        heard += replica.take_delivered().await.unwrap().len();
    }
    assert_eq!(heard, CALLS);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_services_can_do_what_they_must() {
    let stage = Stage::start().await;
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (service, subjects) in [
        (
            Service::PolicyChecker,
            vec![
                "$JS.API.CONSUMER.INFO.CS_INTENTS.policy-checker",
                "$JS.API.STREAM.MSG.GET.CS_INTENTS",
            ],
        ),
        (
            Service::ApprovalCoordinator,
            vec![
                "$JS.API.CONSUMER.INFO.CS_INTENTS.approval-coordinator",
                "$JS.API.CONSUMER.INFO.CS_EVENTS.approval-coordinator",
                "$JS.API.CONSUMER.INFO.CS_CONTROL.approval-coordinator",
                "$JS.API.CONSUMER.INFO.CS_TIMERS.approval-coordinator",
                "$JS.API.CONSUMER.INFO.CS_EVENTS.tool-executor",
                "$JS.API.STREAM.INFO.KV_CS_APPROVALS",
            ],
        ),
        (
            Service::ToolExecutor,
            vec!["$JS.API.CONSUMER.INFO.CS_EVENTS.tool-executor"],
        ),
        (
            Service::AuditArchiver,
            vec![
                "$JS.API.CONSUMER.INFO.CS_EVENTS.tool-executor",
                "$JS.API.STREAM.INFO.CS_INTENTS",
                "$JS.API.STREAM.INFO.CS_EVENTS",
            ],
        ),
    ] {
        let mut raw = stage.raw(&Principal::Service(service)).await;
        for subject in subjects {
            let body: &[u8] = if subject.contains("MSG.GET") {
                b"{\"seq\":1}"
            } else {
                b""
            };
            if let Err(reason) = raw.request(subject, &[], body).await {
                let list = missing.entry(service.name().to_owned()).or_default();
                list.push(format!("{subject}: {reason}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
