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
use crate::subjects::{server_subjects, subjects, wildcards};

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
    for stream in Stream::ALL {
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
    golden::check("permissions.txt", &matrix(&Stage::start().await).await);
}

/// What every identity may do, asked of the server.
pub(crate) async fn matrix(stage: &Stage) -> String {
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
    out
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
                "$JS.API.CONSUMER.INFO.CS_ORDERS.approval-coordinator",
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
