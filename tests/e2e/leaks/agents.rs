//! Agents that say what was planted wherever they can.

use async_nats::HeaderMap;
use countersign_tests::worker::{ECHOES, FAILS_ALOUD};
use countersign_tests::{Agent, Approver, Deployment, Event};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::helpers::FAILS;
use super::places::Places;
use super::planted::{Planted, classed};
use super::store;

/// Intents at once.
const AT_ONCE: usize = 16;

/// Characters of the longest session id.
const SESSION_CHARS_MAX: usize = 128;

/// Each value in intents that run, fail, and wait for a person who sees and approves them.
pub(crate) async fn intents(deployment: &Deployment, values: &[Planted], places: &mut Places) {
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    let both = (&agent, &dora);
    let work = values.iter().map(async |planted| one(both, planted).await);
    let mut done = stream::iter(work).buffer_unordered(AT_ONCE);
    while let Some((name, shown)) = done.next().await {
        places.push(format!("what an approver sees of {name}"), shown);
    }
}

/// A booking with the text in every part that the agent chooses.
fn booking(agent: &Agent, account: &str, amount: i64, text: &str) -> Value {
    let input = json!({"account": account, "amount": amount, "memo": text});
    let mut intent = agent.intent("ledger.book", input);
    intent["purpose"] = json!(text);
    intent["facts"] = json!({"note": text, "deep": [{"er": text}], text: text});
    // A longer one would be refused.
    if text.chars().count() <= SESSION_CHARS_MAX {
        intent["session_id"] = json!(text);
    }
    intent
}

async fn one((agent, dora): (&Agent, &Approver), planted: &Planted) -> (String, String) {
    let text = planted.text.as_str();
    for account in [ECHOES, FAILS_ALOUD] {
        let id = agent.publish(&booking(agent, account, 1, text)).await;
        let end = agent.end(&id).await;
        assert!(end.is("tool.completed"), "{}: {}", planted.name, end.body);
    }
    let id = agent.publish(&booking(agent, "78", 100_000, text)).await;
    let asked = dora.asked(&id).await;
    let shown = see(dora, &asked).await;
    approve(dora, &asked, text).await;
    agent.end(&id).await;
    (planted.name.clone(), shown)
}

/// What an approver is shown of an approval, alone and in the list.
async fn see(dora: &Approver, asked: &Event) -> String {
    let show = json!({"op": "show", "approval_id": asked.text("/approval_id")});
    let mut shown = dora.view(&show).await;
    assert!(shown.is_object(), "{shown}");
    let list = dora.view(&json!({"op": "list"})).await;
    shown["list"] = list;
    shown.to_string()
}

/// Votes with reasons, once for another digest than what was shown.
async fn approve(dora: &Approver, asked: &Event, text: &str) {
    let wrong = format!("sha256:{}", "0".repeat(64));
    for digest in [wrong.as_str(), asked.text("/digest")] {
        let vote = json!({
            "schema_version": 1, "approval_id": asked.text("/approval_id"),
            "digest": digest, "vote": "approve", "reason": text,
        });
        let subject = "approval.vote.dora";
        store(dora.client(), subject, &HeaderMap::new(), vote.to_string()).await;
    }
}

/// Sentences in intents that are blocked, withdrawn or cannot be read.
pub(crate) async fn refused(deployment: &Deployment, text: &str) {
    let agent = deployment.agent("billing").await;
    let book = |input: Value| {
        let mut intent = booking(&agent, "77", 1, text);
        intent["input"] = input;
        intent
    };
    let mut dry = booking(&agent, "77", 1, text);
    dry["dry_run"] = json!(true);
    let mut unknown = booking(&agent, "77", 1, text);
    unknown["tool"] = json!("crm.nothing");
    for intent in [
        dry,
        unknown,
        book(json!({"account": "77", "amount": 1, text: text})),
        book(json!({"account": text, "amount": text, "memo": {"a": text}})),
        book(json!({text: [text, {text: 1}]})),
    ] {
        let id = agent.publish(&intent).await;
        let end = agent.end(&id).await;
        assert!(end.is("tool.blocked"), "{}", end.body);
    }
    withdrawn(deployment, &agent, text).await;
    unreadable(&agent, text).await;
}

async fn withdrawn(deployment: &Deployment, agent: &Agent, text: &str) {
    let dora = deployment.approver("dora").await;
    let id = agent.publish(&booking(agent, "78", 100_000, text)).await;
    dora.asked(&id).await;
    let none = HeaderMap::new();
    let odd = json!({"schema_version": 1, "intent_id": text, "reason": text});
    let whole = json!({"schema_version": 1, "intent_id": id, "reason": text});
    for body in [format!("{{{text}"), odd.to_string(), whole.to_string()] {
        store(agent.client(), "tool.withdrawn.billing", &none, body).await;
    }
    let end = agent.end(&id).await;
    assert_eq!(end.text("/code"), "withdrawn", "{}", end.body);
}

/// What nobody can read, is too large, or says what was planted where a name belongs.
async fn unreadable(agent: &Agent, text: &str) {
    let line = text.replace('\n', " ");
    let mut heads = HeaderMap::new();
    for name in ["ce-id", "ce-source", "ce-time", "traceparent", "x-note"] {
        heads.insert(name, line.as_str());
    }
    let whole = booking(agent, "77", 1, text);
    let subject = "tool.requested.billing";
    store(agent.client(), subject, &heads, whole.to_string()).await;
    agent.end(whole["intent_id"].as_str().unwrap()).await;
    let mut more = booking(agent, "77", 1, text);
    more[text] = json!({text: text});
    agent.end(&agent.publish(&more).await).await;

    heads.insert("ce-type", line.as_str());
    let whole = booking(agent, "77", 1, text);
    let large = json!({"purpose": text, "more": "x".repeat(300 * 1024)});
    let mut bodies = vec![
        (heads.clone(), whole.to_string()),
        (heads, format!("{{\"memo\": \"{text}\", oops")),
        (HeaderMap::new(), large.to_string()),
        (HeaderMap::new(), text.to_owned()),
        (HeaderMap::new(), json!([text]).to_string()),
        (HeaderMap::new(), format!("\u{c3}\u{1}{text}")),
    ];
    for field in [
        "tool",
        "intent_id",
        "requester",
        "schema_version",
        "expires_at",
        "dry_run",
        "bundle",
    ] {
        let mut odd = whole.clone();
        odd["intent_id"] = agent.intent("x.y", json!({}))["intent_id"].clone();
        odd[field] = match field {
            "requester" => json!({"id": text, text: text}),
            "bundle" => json!({"id": text, "size": 1, "index": 0}),
            _ => json!(text),
        };
        bodies.push((HeaderMap::new(), odd.to_string()));
    }
    for (heads, body) in bodies {
        let seq = store(agent.client(), subject, &heads, body).await;
        agent.refusal_at(seq).await;
    }
}

/// Secrets and personal values as names. Where they cannot be redacted they are refused.
pub(crate) async fn names(deployment: &Deployment, values: &[Planted]) {
    let agent = deployment.agent("crm").await;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    for planted in values {
        let value = planted.value.as_str();
        if value.len() > 64 || !value.chars().all(plain) || planted.name.contains(", ") {
            continue;
        }
        // What is a secret only by what stands around it is a name like any other.
        if planted.secret && !planted.text.starts_with("key ") {
            continue;
        }
        for (field, name) in [
            ("requester", json!({"id": value})),
            ("bundle", json!({"id": value, "size": 1, "index": 0})),
            ("tool", json!(value)),
        ] {
            let mut intent = agent.intent("crm.read_contact", json!({"contact_id": "1"}));
            intent[field] = name;
            let ack = agent.publish_bytes(intent.to_string()).await;
            let refused = agent.refusal(&ack).await;
            assert_eq!(refused.text("/code"), "unreadable", "{}", refused.body);
        }
    }
}

/// What only the catalog knows to be sensitive, repeated by the guardrail and the worker.
pub(crate) async fn letters(deployment: &Deployment, values: &[Planted], places: &mut Places) {
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    let [name, street, pin] = classed().map(|planted| planted.value);
    let notes = values.iter().map(|planted| planted.text.as_str());
    let note: Vec<&str> = notes.collect();
    for more in ["", FAILS] {
        let note = format!("{} {more}", note.join(" ; "));
        let input = json!({"name": name, "street": street, "pin": pin, "note": note});
        let id = agent.publish(&agent.intent("letter.send", input)).await;
        let asked = dora.asked(&id).await;
        places.push_shown(
            "what an approver sees of a letter",
            see(&dora, &asked).await,
        );
        approve(&dora, &asked, "it looks right").await;
        let end = agent.end(&id).await;
        assert!(end.is("tool.completed"), "{}", end.body);
    }
}
