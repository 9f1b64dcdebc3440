//! People and our own services, who say what was planted wherever they can.

use async_nats::HeaderMap;
use countersign_schemas::{IntentId, Timestamp, headers};
use countersign_tests::Deployment;
use serde_json::{Value, json};

use super::places::Places;
use super::store;

/// What somebody says on a subject of their own.
type Said = Vec<(&'static str, Value)>;

/// Orders, votes, windows and findings with `text` in every part of them.
pub(crate) async fn orders(deployment: &Deployment, text: &str) {
    let olga = deployment.operator().await;
    let none = HeaderMap::new();
    for (what, answer) in [("freeze", "control.done"), ("unfreeze", "control.applied")] {
        let body = json!({"schema_version": 1, "scope": {"agent": "support"}, "reason": text});
        let subject = format!("control.{what}.olga");
        let seq = store(olga.client(), &subject, &none, body.to_string()).await;
        olga.answer(answer, seq).await;
    }
    let dora = deployment.approver("dora").await;
    for (client, name, said) in [
        (olga.client(), "olga", of_operator(text)),
        (dora.client(), "dora", of_approver(text)),
    ] {
        for (subject, mut body) in said {
            body["schema_version"] = json!(1);
            let subject = format!("{subject}.{name}");
            for body in [body.to_string(), format!("{{{text}"), text.to_owned()] {
                store(client, &subject, &none, body).await;
            }
        }
    }
}

fn of_operator(text: &str) -> Said {
    let id = IntentId::new_at(Timestamp::EPOCH);
    vec![
        (
            "control.freeze",
            json!({"scope": {"tool": text}, "reason": text}),
        ),
        (
            "control.freeze",
            json!({"scope": {text: text}, "reason": text, "x": text}),
        ),
        (
            "outcome.found",
            json!({"intent_id": id, "outcome": "failed", "reason": text}),
        ),
        (
            "outcome.found",
            json!({"intent_id": text, "outcome": text, "reason": text}),
        ),
    ]
}

fn of_approver(text: &str) -> Said {
    let approval = format!("a-{}", IntentId::new_at(Timestamp::EPOCH));
    let digest = format!("sha256:{}", "0".repeat(64));
    let window = |agent: &str, tool: &str| {
        json!({
            "agent": agent, "tools": [tool], "limits": {"seconds": 60}, "reason": text,
        })
    };
    let mut by = window("crm", "mail.send");
    by["requester"] = json!(text);
    vec![
        // Of an agent that asks for nothing here: a window lifts what people are asked.
        ("window.requested", window("crm", "ledger.book")),
        ("window.requested", by),
        ("window.requested", window(text, text)),
        (
            "window.closing",
            json!({"window_id": "w-abc-1", "reason": text}),
        ),
        ("window.closing", json!({"window_id": text, "reason": text})),
        (
            "approval.vote",
            json!({"approval_id": approval, "digest": digest, "vote": "deny", "reason": text}),
        ),
        (
            "approval.vote",
            json!({"approval_id": text, "digest": text, "vote": text, "reason": text}),
        ),
    ]
}

/// Closes what [`orders`] opened: nothing goes that is part of something open.
pub(crate) async fn close_windows(deployment: &Deployment) {
    let dora = deployment.approver("dora").await;
    let opened = deployment
        .observer()
        .await
        .read("CS_EVENTS", "window.opened.>")
        .await;
    assert!(!opened.is_empty());
    for event in opened {
        let closing = json!({"schema_version": 1, "window_id": event.text("/window_id")});
        let subject = "window.closing.dora";
        store(
            dora.client(),
            subject,
            &HeaderMap::new(),
            closing.to_string(),
        )
        .await;
    }
}

/// Questions with `text` in them, and what is answered.
pub(crate) async fn questions(deployment: &Deployment, text: &str, places: &mut Places) {
    let olga = deployment.operator().await;
    let dora = deployment.approver("dora").await;
    let sqls = [
        format!(
            "SELECT event FROM events WHERE purpose = '{}'",
            text.replace('\'', "''")
        ),
        text.to_owned(),
        format!("SELECT \"{}\" FROM events", text.replace('"', "")),
        format!("SELECT CAST('{}' AS BIGINT)", text.replace('\'', "")),
    ];
    for sql in sqls {
        // The answer may repeat to the asker what was asked.
        let asks = json!({"sql": sql}).to_string();
        let asked = dora.client().request("cs.audit.query.dora", asks.into());
        drop(asked.await);
    }
    let views = [
        json!({"op": "show", "approval_id": text}),
        json!({"op": text, "approval_id": text}),
        json!({"op": "outcome", "intent_id": text}),
    ];
    let mut asked: Vec<_> = views
        .iter()
        .map(|view| (dora.client(), "cs.approval.view.dora", view.to_string()))
        .collect();
    for subject in [
        "cs.policy.push.olga",
        "cs.identity.changed.olga",
        "cs.audit.fingerprint.olga",
    ] {
        for body in [
            text.to_owned(),
            json!({text: text, "value": text}).to_string(),
        ] {
            asked.push((olga.client(), subject, body));
        }
    }
    for (client, subject, body) in asked {
        let reply = client.request(subject, body.into()).await.unwrap();
        let told = format!(
            "{:?} {}",
            reply.headers,
            String::from_utf8_lossy(&reply.payload)
        );
        places.push(format!("an answer on {subject}"), told);
    }
}

/// What a broken service of ours might store: no other can read it, and it becomes a dead
/// letter. The subjects of what was stored.
pub(crate) async fn broken_services(deployment: &Deployment, text: &str) -> Vec<String> {
    let line = text.replace('\n', " ");
    let mut heads = HeaderMap::new();
    for name in [headers::CE_TYPE, "traceparent", "ce-id"] {
        heads.insert(name, line.as_str());
    }
    let id = || IntentId::new_at(Timestamp::EPOCH);
    let odd = json!({"schema_version": 1, "intent_id": text, "agent": text, text: text});
    let mut subjects = Vec::new();
    for (service, subject) in [
        ("policy-checker", "policy.checked.billing"),
        ("approval-coordinator", "tool.approved.billing"),
        ("approval-coordinator", "approval.requested"),
        ("tool-executor", "tool.completed.billing"),
    ] {
        let bus = deployment.core(service).await;
        for body in [odd.to_string(), format!("{{{text}")] {
            let id = match subject {
                "approval.requested" => format!("a-{}", id()),
                _ => id().to_string(),
            };
            let subject = format!("{subject}.{id}");
            store(bus.client(), &subject, &heads, body).await;
            subjects.push(subject);
        }
        bus.close().await;
    }
    subjects
}
