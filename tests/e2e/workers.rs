//! The example workers, as users copy them: they run what was approved and refuse every
//! forgery, under the same codes as our own gate.

mod calls;
mod programs;

use async_nats::HeaderMap;
use countersign_domain::permit::{SeenTokens, WorkGate, WorkHeaders};
use countersign_runtime::bus::Bus;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::files;
use countersign_runtime::identity::{self, KeyStep, Signing, change_key};
use countersign_schemas::{JsonObject, headers};
use countersign_tests::deployment::NAME;
use countersign_tests::process::SERVICES;
use countersign_tests::python::Program;
use countersign_tests::{Deployment, PATIENCE, eventually};
use serde_json::{Value, json};

use calls::{Call, FORGERIES, Target, publish_a_retired_key};
use programs::{node_worker, python_worker};

/// A deployment whose worker for NATS tools is the one in Python.
async fn with_python(mut command: std::process::Command) -> (Deployment, Program) {
    let mut deployment = Deployment::prepared(&[], publish_a_retired_key).await;
    deployment.dismiss_nats_worker().await;
    let files = deployment.files().dir();
    command
        .arg(deployment.url())
        .arg(files.join("creds/worker-workshop.creds"))
        .arg(files.join("keys"))
        .arg(NAME);
    let (program, _) = Program::start(&mut command);
    (deployment, program)
}

/// The worker in Node, and its base URL.
fn with_node(
    mut command: std::process::Command,
    files: &identity::Deployment,
) -> (Program, String) {
    command
        .arg(files.dir().join("keys"))
        .args([NAME, "mail", "0"]);
    let (program, port) = Program::start(&mut command);
    (program, format!("http://127.0.0.1:{port}"))
}

/// The code of a refusal by the worker behind `work.<tool>`; `None` where it ran.
async fn over_nats(executor: &Bus, target: &Target, call: &Call) -> Option<String> {
    let mut proofs = HeaderMap::new();
    for (name, text) in call.headers() {
        proofs.insert(name, text.as_str());
    }
    let body = call.body.clone().into();
    let asked = executor.client();
    let reply = asked
        .request_with_headers(format!("work.{}", target.tool), proofs, body)
        .await;
    let reply = reply.unwrap();
    let header = |name| reply.headers.as_ref()?.get(name).map(ToString::to_string);
    let code = header(headers::SERVICE_ERROR_CODE);
    assert_eq!(code.is_some(), reply.payload.is_empty(), "{reply:?}");
    assert_eq!(code.is_some(), header(headers::SERVICE_ERROR).is_some());
    code
}

async fn over_http(client: &reqwest::Client, url: &str, call: &Call) -> Option<String> {
    let mut request = client
        .post(format!("{url}/messages"))
        .body(call.body.clone());
    for (name, text) in call.headers() {
        request = request.header(name, text);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    match status {
        200 => None,
        403 => Some(body["code"].as_str().unwrap().to_owned()),
        other => panic!("{other}: {body}"),
    }
}

fn client() -> reqwest::Client {
    // Another test of this process may have been first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = reqwest::Client::builder().timeout(PATIENCE);
    builder.build().unwrap()
}

/// What every worker owes: the good call runs once, its next attempt runs again, and each
/// forgery is refused under its code and leaves the genuine call unused.
async fn demands_both_proofs(target: &Target, send: impl AsyncFn(&Call) -> Option<String>) {
    let good = target.good();
    assert_eq!(send(&good).await, None, "the good call");
    let replayed = send(&good).await;
    assert_eq!(replayed.as_deref(), Some("claim_replayed"));
    let mut again = good.clone();
    again.claim.claims["attempt"] = json!(2);
    assert_eq!(send(&again).await, None, "the next attempt");
    for (what, code, forge) in FORGERIES {
        let good = target.good();
        let mut forged = good.clone();
        forge(&mut forged, target);
        assert_eq!(send(&forged).await.as_deref(), Some(*code), "{what}");
        assert_eq!(send(&good).await, None, "the genuine call after {what}");
    }
}

#[tokio::test]
async fn our_own_gate_refuses_every_forgery() {
    let deployment = Deployment::prepared(&[], publish_a_retired_key).await;
    let target = Target::of(deployment.files(), "crm.read_contact", "nats");
    let keys = deployment.files().dir().join("keys");
    let keys = |signing: Signing| files::key_set("keys", &signing.public(&keys)).unwrap();
    let worker = target.worker.parse().unwrap();
    let gate = WorkGate::new(keys(Signing::Permit), keys(Signing::Claim), NAME, worker);
    let seen = std::sync::Mutex::new(SeenTokens::default());
    demands_both_proofs(&target, async |call| {
        let all = call.headers();
        let header = |name| {
            let found = all.iter().find(|(known, _)| *known == name);
            found
                .map(|(_, text)| text.as_str())
                .filter(|text| !text.is_empty())
        };
        let proofs = WorkHeaders {
            intent: header(headers::WORK_INTENT),
            permit: header(headers::WORK_PERMIT),
            claim: header(headers::WORK_CLAIM),
        };
        let Ok(body) = serde_json::from_str::<JsonObject>(&call.body) else {
            return Some("digest_mismatch".to_owned());
        };
        let tool = target.tool.parse().unwrap();
        let mut seen = seen.lock().unwrap();
        let admitted = gate.admit(&tool, proofs, &body, &mut seen, SystemClock.now());
        admitted.err().map(|refusal| refusal.code().to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_worker_refuses_every_forgery() {
    let Some(command) = python_worker() else {
        return;
    };
    let (deployment, _worker) = with_python(command).await;
    let target = Target::of(deployment.files(), "crm.read_contact", "nats");
    let executor = deployment.core("tool-executor").await;
    demands_both_proofs(&target, async |call| {
        over_nats(&executor, &target, call).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_worker_refuses_every_forgery() {
    let Some(command) = node_worker() else { return };
    let deployment = Deployment::prepared(&[], publish_a_retired_key).await;
    let (_worker, url) = with_node(command, deployment.files());
    let target = Target::of(deployment.files(), "mail.send", "mail");
    let client = client();
    demands_both_proofs(&target, async |call| over_http(&client, &url, call).await).await;
}

/// A key that was stolen counts no longer from the next call on, though no call with a key
/// that the worker does not know yet comes in between.
async fn trusts_no_stolen_key(
    files: &identity::Deployment,
    of: (&'static str, &'static str),
    send: impl AsyncFn(&Call) -> Option<String>,
) {
    let (tool, worker) = of;
    for (signing, code) in [
        (Signing::Claim, "claim_invalid"),
        (Signing::Permit, "permit_invalid"),
    ] {
        let before = Target::of(files, tool, worker);
        assert_eq!(send(&before.good()).await, None, "before the theft");
        let (dir, now) = (files.dir().join("keys"), SystemClock.now());
        change_key(files, &dir, signing, KeyStep::Replace, now).unwrap();
        let stolen = send(&before.good()).await;
        assert_eq!(stolen.as_deref(), Some(code));
        let after = Target::of(files, tool, worker);
        assert_eq!(send(&after.good()).await, None, "the new key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_worker_trusts_a_stolen_key_no_longer() {
    let Some(command) = python_worker() else {
        return;
    };
    let (deployment, _worker) = with_python(command).await;
    let executor = deployment.core("tool-executor").await;
    let of = ("crm.read_contact", "nats");
    trusts_no_stolen_key(deployment.files(), of, async |call| {
        let target = Target::of(deployment.files(), of.0, of.1);
        over_nats(&executor, &target, call).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_worker_trusts_a_stolen_key_no_longer() {
    let Some(command) = node_worker() else { return };
    let deployment = Deployment::prepared(&[], publish_a_retired_key).await;
    let (_worker, url) = with_node(command, deployment.files());
    let client = client();
    trusts_no_stolen_key(deployment.files(), ("mail.send", "mail"), async |call| {
        over_http(&client, &url, call).await
    })
    .await;
}

/// The examples behind the real services: what is approved runs, also when both keys were
/// rotated while they ran.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_workers_run_what_is_approved_before_and_after_a_rotation() {
    let (Some(python), Some(node)) = (python_worker(), node_worker()) else {
        return;
    };
    let (mut deployment, _python) = with_python(python).await;
    let (_node, url) = with_node(node, deployment.files());
    deployment.set(
        "COUNTERSIGN_TOOL_EXECUTOR__HTTP",
        &format!("{{mail=\"{url}\"}}"),
    );
    for name in SERVICES {
        deployment.launch(name);
    }
    deployment.ready().await;
    let agent = deployment.agent("billing").await;
    let observer = deployment.observer().await;
    let both_run = async || {
        let read = agent.intent("crm.read_contact", json!({"contact_id": "C-1042"}));
        let mail = json!({"to": "kim@acme.example", "subject": "hello", "body": "grüße"});
        let mail = agent.intent("mail.send", mail);
        let mut permit = String::new();
        for intent in [read, mail] {
            let id = agent.publish(&intent).await;
            let end = agent.end(&id).await;
            assert_eq!(end.text("/outcome"), "succeeded", "{}", end.body);
            let approved = format!("tool.approved.billing.{id}");
            let approved = observer.read("CS_EVENTS", &approved).await;
            permit = approved[0].text("/permit").to_owned();
        }
        permit.split('.').next().unwrap().to_owned()
    };
    let first = both_run().await;
    let files = deployment.files();
    for signing in [Signing::Permit, Signing::Claim] {
        let (dir, now) = (files.dir().join("keys"), SystemClock.now());
        change_key(files, &dir, signing, KeyStep::Rotate, now).unwrap();
    }
    eventually(
        PATIENCE,
        "permits are signed with the new key",
        async || (both_run().await != first).then_some(()),
    )
    .await;
}
