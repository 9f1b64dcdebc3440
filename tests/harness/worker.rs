//! Workers: they demand permit and claim token, keep a journal and do nothing else.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_nats::{Client, ConnectOptions, HeaderMap, Message};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use bytes::Bytes;
use countersign_domain::keys::KeySet;
use countersign_domain::permit::{Admitted, SeenTokens, WorkGate, WorkHeaders};
use countersign_runtime::bus::log_in;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::identity::{self, Signing};
use countersign_schemas::JsonObject;
use countersign_schemas::headers;
use countersign_schemas::subjects::service::WORK_QUEUE;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::PATIENCE;
use crate::deployment::{NAME, NATS_TOOLS, seed};
use crate::journal::{Journal, Run};

/// An input with this account is worked on and never answered.
pub const NEVER_ANSWERS: &str = "never-answers";
/// An input with this account fails in words.
pub const FAILS: &str = "fails";
/// An input with this account comes back in everything that a worker can say.
pub const ECHOES: &str = "echoes";
/// An input with this account fails with its own memo as the reason.
pub const FAILS_ALOUD: &str = "fails-aloud";

/// What every worker has: the gate and the journal.
struct Bench {
    gate: WorkGate,
    keys: PathBuf,
    seen: Mutex<SeenTokens>,
    journal: Journal,
}

impl Bench {
    fn new(files: &identity::Deployment, worker: &str, journal: Journal) -> Self {
        let dir = files.dir().join("keys");
        let (permits, claims) = published(&dir);
        let worker = worker.parse().expect("a name");
        Self {
            gate: WorkGate::new(permits, claims, NAME, worker),
            keys: dir,
            seen: Mutex::default(),
            journal,
        }
    }

    /// Lets a call through once, and writes it down before it is answered.
    fn admit(
        &self,
        tool: &str,
        header: impl Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Result<JsonObject, String> {
        let refuse = |code: &str| {
            self.journal.refused(tool, code);
            code.to_owned()
        };
        let input: JsonObject = serde_json::from_slice(body).map_err(|_| refuse("unreadable"))?;
        let proofs = [
            headers::WORK_INTENT,
            headers::WORK_PERMIT,
            headers::WORK_CLAIM,
        ]
        .map(header);
        let [intent, permit, claim] = &proofs;
        let proofs = WorkHeaders {
            intent: intent.as_deref(),
            permit: permit.as_deref(),
            claim: claim.as_deref(),
        };
        let (permits, claims) = published(&self.keys);
        self.gate.trust(permits, claims);
        let mut seen = self.seen.lock().expect("no admission panicked");
        let Admitted { permit, claim } = self
            .gate
            .admit(
                &tool.parse().map_err(|_| refuse("unknown tool"))?,
                proofs,
                &input,
                &mut seen,
                SystemClock.now(),
            )
            .map_err(|refusal| refuse(refusal.code()))?;
        self.journal.ran(Run {
            intent: permit.jti.to_string(),
            tool: tool.to_owned(),
            input: json!(input),
            claim_seq: claim.claim_seq,
        });
        Ok(input)
    }
}

/// The public keys that lie in `dir` now: those of permits and those of claim tokens.
fn published(dir: &Path) -> (KeySet, KeySet) {
    let keys = |signing: Signing| {
        let text = std::fs::read_to_string(signing.public(dir)).expect("init wrote the keys");
        KeySet::from_jwks(&text).expect("a JWKS")
    };
    (keys(Signing::Permit), keys(Signing::Claim))
}

/// What a tool answers; `None` where it never does.
fn work(tool: &str, input: &JsonObject) -> Option<Result<Value, String>> {
    let text = |key: &str| input.0.get(key).and_then(Value::as_str).unwrap_or_default();
    match (tool, text("account")) {
        (_, NEVER_ANSWERS) => None,
        (_, FAILS) => Some(Err("the account is closed".to_owned())),
        (_, ECHOES) => Some(Ok(echo(text("memo")))),
        // Words of a failure travel in a header, which has one line.
        (_, FAILS_ALOUD) => Some(Err(text("memo").replace('\n', " "))),
        ("crm.read_contact", _) => Some(Ok(json!({
            "contact_id": text("contact_id"),
            "phone": "+49 30 901820",
            "internal_score": 7,
        }))),
        ("crm.update_contact", _) => Some(Ok(json!({
            "changes": [{
                "resource": format!("contact/{}", text("id")),
                "field": "phone",
                "before": "+49 30 901820",
                "after": text("phone"),
            }],
        }))),
        ("mail.send", _) => Some(Ok(json!({"message_id": "m-1"}))),
        _ => Some(Ok(json!({"booking": "b-1"}))),
    }
}

/// A text in every place of an output and of its changes.
fn echo(text: &str) -> Value {
    json!({
        "booking": text,
        text: text,
        "changes": [{"resource": text, "field": text, "before": text, "after": text}],
    })
}

/// A worker on `work.<tool>` with a credential of its own.
#[derive(Debug)]
pub struct NatsWorker {
    task: JoinHandle<()>,
}

impl NatsWorker {
    pub(crate) async fn start(files: &identity::Deployment, url: &str, journal: Journal) -> Self {
        let client = log_in(ConnectOptions::new(), &seed(files, "worker", "workshop"))
            .expect("a credential")
            .name("workshop")
            .custom_inbox_prefix("_INBOX_workshop")
            .connection_timeout(PATIENCE)
            .connect(crate::client::urls(url))
            .await
            .expect("the server accepts the worker");
        let mut calls = Vec::new();
        for tool in NATS_TOOLS {
            let subject = format!("work.{tool}");
            let queue = WORK_QUEUE.to_owned();
            let heard = client.queue_subscribe(subject, queue).await;
            calls.push(heard.expect("a subscription"));
        }
        client.flush().await.expect("the subscriptions stand");
        let bench = Arc::new(Bench::new(files, NATS_WORKER, journal));
        let mut calls = futures::stream::select_all(calls);
        let task = tokio::spawn(async move {
            while let Some(call) = calls.next().await {
                answer(&client, &bench, call).await;
            }
        });
        Self { task }
    }
}

impl Drop for NatsWorker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(client: &Client, bench: &Bench, call: Message) {
    let tool = call.subject.strip_prefix("work.").unwrap_or_default();
    let header = |name: &str| {
        let headers = call.headers.as_ref()?;
        headers.get(name).map(ToString::to_string)
    };
    let done = match bench.admit(tool, header, &call.payload) {
        Ok(input) => work(tool, &input),
        Err(_) => Some(Err("a permit and a claim token are needed".to_owned())),
    };
    let (Some(done), Some(reply)) = (done, call.reply.clone()) else {
        return;
    };
    let mut headers = HeaderMap::new();
    let body = match done {
        Ok(output) => Bytes::from(output.to_string()),
        Err(words) => {
            headers.insert(headers::SERVICE_ERROR, words.as_str());
            headers.insert(headers::SERVICE_ERROR_CODE, "409");
            Bytes::new()
        }
    };
    // A server that was just killed takes no answer; the executor then says `unknown`.
    drop(client.publish_with_headers(reply, headers, body).await);
}

/// A worker behind HTTP.
#[derive(Debug)]
pub struct HttpWorker {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl HttpWorker {
    /// Starts it on a free port.
    ///
    /// # Panics
    /// When it cannot listen or the deployment has no keys.
    pub async fn start(files: &identity::Deployment, journal: Journal) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let bench = Arc::new(Bench::new(files, HTTP_WORKER, journal));
        let app = Router::new()
            .route("/messages", post(send))
            .with_state(bench);
        let task = tokio::spawn(async move {
            axum::serve(listener, app)
                .await
                .expect("the listener lives as long as the test");
        });
        Self { address, task }
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for HttpWorker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send(
    State(bench): State<Arc<Bench>>,
    headers: axum::http::HeaderMap,
    body: Bytes,
) -> axum::response::Response {
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
    let done = match bench.admit("mail.send", header, &body) {
        Ok(input) => work("mail.send", &input),
        Err(code) => return (StatusCode::FORBIDDEN, code).into_response(),
    };
    match done {
        Some(Ok(output)) => axum::Json(output).into_response(),
        Some(Err(words)) => (StatusCode::CONFLICT, words).into_response(),
        None => std::future::pending().await,
    }
}

/// The worker that a claim token for a `nats` tool names.
const NATS_WORKER: &str = "nats";
/// The worker that a claim token for a tool of the `http` service `mail` names.
const HTTP_WORKER: &str = "mail";
