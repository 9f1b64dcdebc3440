//! Whom our services ask: a guardrail and a worker that repeat all that they were given.

use std::collections::BTreeSet;

use async_nats::HeaderMap;
use countersign_runtime::bus::{Bus, ConnectOptions};
use countersign_runtime::identity::{self, Principal, ServerAccess};
use countersign_schemas::headers;
use countersign_schemas::subjects::service::WORK_QUEUE;
use countersign_tests::Deployment;
use futures::StreamExt as _;
use serde_json::json;

/// A tool whose fields the catalog classes, with a guardrail outside.
pub(crate) const CATALOG: &str = r#"
[tools."letter.send"]
operation = "send"
description = "Sends a letter."
summary = "Letter to {/name}"
resource = "letter/{/name}"
worker = { kind = "nats" }
timeout_s = 5
output = { "/said" = "internal" }
guardrails = [{ kind = "external", name = "names", deadline_ms = 5000, ask = "finance" }]
[tools."letter.send".input]
type = "object"
required = ["name"]
[tools."letter.send".input.properties]
name = { type = "string" }
street = { type = "string" }
pin = { type = "string" }
note = { type = "string" }
[tools."letter.send".fields]
"/name" = { class = "personal:person", shown = "full" }
"/street" = { class = "personal:address", shown = "redacted" }
"/pin" = { class = "secret" }
"/note" = { class = "internal", shown = "full" }
"#;
/// Who may send letters.
pub(crate) const POLICY: &str = r#"
@id("letters")
@because("mailers may send letters")
permit (principal in Role::"mailer", action == Action::"letter.send", resource == Tool::"letter.send");
"#;
/// The note of a letter that the worker does not send, and says so at length.
pub(crate) const FAILS: &str = "not to be sent";

/// Serves the guardrail `names` and the tool `letter.send`.
pub(crate) async fn serve(deployment: &Deployment) {
    let client = connect(deployment).await.client().clone();
    let asked = client.subscribe("cs.guardrail.names").await.unwrap();
    let called = client.queue_subscribe("work.letter.send", WORK_QUEUE.to_owned());
    let called = called.await.unwrap();
    client.flush().await.unwrap();
    tokio::spawn(async move {
        let mut all = futures::stream::select(asked, called);
        while let Some(message) = all.next().await {
            let given = String::from_utf8_lossy(&message.payload);
            let said = given.into_owned();
            let mut head = HeaderMap::new();
            let answer = match message.subject.starts_with("work.") {
                true if said.contains(FAILS) => {
                    head.insert(headers::SERVICE_ERROR, said.as_str());
                    head.insert(headers::SERVICE_ERROR_CODE, said.as_str());
                    json!(said)
                }
                true => json!({"said": said, "changes": [
                    {"resource": said, "field": "name", "before": said, "after": said},
                ]}),
                false => json!({"result": "ask", "message": said, "need": said}),
            };
            let reply = message.reply.unwrap();
            let body = answer.to_string().into();
            client
                .publish_with_headers(reply, head, body)
                .await
                .unwrap();
        }
    });
}

async fn connect(deployment: &Deployment) -> Bus {
    let tools: BTreeSet<_> = ["letter.send".parse().unwrap()].into();
    let guardrails = ["names".parse().unwrap()].into();
    let who = Principal::worker("chatterbox", tools, guardrails).unwrap();
    let access = ServerAccess {
        url: deployment.url(),
        tls_ca: None,
    };
    let files = deployment.files();
    identity::add(files, &access, who.clone()).await.unwrap();
    let options = ConnectOptions {
        url: deployment.url(),
        name: "chatterbox".to_owned(),
        credential: files.seed(&who).unwrap().unwrap(),
        tls_ca: None,
    };
    Bus::connect(options).await.unwrap()
}
