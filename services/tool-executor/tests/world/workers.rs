//! Workers that demand permit and claim token, and do as the input's `id` says: `fails`,
//! `silent`, `breaks`, `breaks-once`, `breaks-then-fails`, `deep`, `waits`; anything else succeeds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_nats::{Client, HeaderMap, Message};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use countersign_domain::permit::{Admitted, SeenTokens, WorkGate, WorkHeaders};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::subjects::service::WORK_QUEUE;
use countersign_schemas::{IntentId, JsonObject, headers};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fixture;

/// Nobody listens there: only the system may.
const CLOSED: &str = "http://127.0.0.1:1";
const WORDS: &str = "the account was closed by jane.roe@example.com";

/// One admitted call.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) intent: IntentId,
    pub(crate) claim_seq: u64,
    pub(crate) attempt: u32,
    pub(crate) key: String,
    pub(crate) trace: String,
}

struct Bench {
    gate: WorkGate,
    seen: Mutex<SeenTokens>,
    runs: Arc<Mutex<Vec<Run>>>,
    go: watch::Receiver<bool>,
}

enum Answer {
    Output(Value),
    Fails,
    Breaks,
    Silent,
}

impl Bench {
    /// Lets a call through, writes it down and does it.
    async fn work(
        &self,
        tool: &str,
        header: impl Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Answer {
        let input: JsonObject = serde_json::from_slice(body).unwrap();
        let text = |name: &str| header(name).unwrap_or_default();
        let all = [
            headers::WORK_INTENT,
            headers::WORK_PERMIT,
            headers::WORK_CLAIM,
        ]
        .map(&header);
        let [intent, permit, claim] = &all;
        let proofs = WorkHeaders {
            intent: intent.as_deref(),
            permit: permit.as_deref(),
            claim: claim.as_deref(),
        };
        let tool = tool.parse().unwrap();
        let now = SystemClock.now();
        let admitted = self
            .gate
            .admit(&tool, proofs, &input, &mut self.seen.lock().unwrap(), now);
        let Admitted { permit, claim } = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => panic!("a call was refused: {refusal}"),
        };
        let attempt = claim.attempt;
        self.runs.lock().unwrap().push(Run {
            intent: permit.jti,
            claim_seq: claim.claim_seq,
            attempt,
            key: text(headers::IDEMPOTENCY_KEY),
            trace: text(headers::TRACEPARENT),
        });
        let id = input
            .0
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match id {
            "fails" => Answer::Fails,
            "silent" => Answer::Silent,
            "breaks" => Answer::Breaks,
            "breaks-once" | "breaks-then-fails" if attempt == 1 => Answer::Breaks,
            "breaks-then-fails" => Answer::Fails,
            "deep" => Answer::Output(json!({"id": deep()})),
            _ => {
                if id == "waits" {
                    // Its sender lives as long as the workers.
                    drop(self.go.clone().wait_for(|go| *go).await);
                }
                Answer::Output(output(id))
            }
        }
    }
}

/// As deep as an answer may be, so that no event can hold it.
fn deep() -> Value {
    (0..63).fold(json!(1), |inside, _| json!([inside]))
}

fn output(id: &str) -> Value {
    json!({
        "id": id,
        "phone": "+49 30 901820",
        "score": 7,
        "changes": [
            {"resource": format!("contact/{id}"), "field": "email", "after": "jane.roe@example.com"}
        ],
    })
}

pub(crate) struct Workers {
    runs: Arc<Mutex<Vec<Run>>>,
    go: watch::Sender<bool>,
    nats: JoinHandle<()>,
    http: JoinHandle<()>,
    address: SocketAddr,
}

impl Workers {
    pub(crate) async fn start(url: &str) -> Self {
        let runs = Arc::<Mutex<Vec<Run>>>::default();
        let go = watch::Sender::new(false);
        let bench = |worker: &str| {
            let worker = worker.parse().unwrap();
            let (permits, claims) = (fixture::permit_keys(), fixture::claim_keys());
            Arc::new(Bench {
                gate: WorkGate::new(permits, claims, fixture::DEPLOYMENT, worker),
                seen: Mutex::default(),
                runs: Arc::clone(&runs),
                go: go.subscribe(),
            })
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/box/{id}", post(http).put(http))
            .with_state(bench("mail"));
        Self {
            nats: nats(url, bench("nats")).await,
            http: tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }),
            runs,
            go,
            address,
        }
    }

    pub(crate) fn bases(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("mail".to_owned(), format!("http://{}/", self.address)),
            ("closed".to_owned(), CLOSED.to_owned()),
        ])
    }

    pub(crate) fn runs(&self, intent: IntentId) -> Vec<Run> {
        let runs = self.runs.lock().unwrap();
        runs.iter()
            .filter(|run| run.intent == intent)
            .cloned()
            .collect()
    }

    pub(crate) fn let_go(&self) {
        self.go.send_replace(true);
    }

    pub(crate) fn stop_nats(&self) {
        self.nats.abort();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.nats.abort();
        self.http.abort();
    }
}

async fn nats(url: &str, bench: Arc<Bench>) -> JoinHandle<()> {
    let client = async_nats::connect(url).await.unwrap();
    let mut calls = client
        .queue_subscribe("work.>", WORK_QUEUE.to_owned())
        .await
        .unwrap();
    // A way to the server and back, so that it knows the subscription; `flush` is none.
    let jetstream = async_nats::jetstream::new(client.clone());
    jetstream.query_account().await.unwrap();
    tokio::spawn(async move {
        while let Some(call) = calls.next().await {
            let (client, bench) = (client.clone(), Arc::clone(&bench));
            tokio::spawn(async move { answer(&client, &bench, call).await });
        }
    })
}

async fn answer(client: &Client, bench: &Bench, call: Message) {
    let tool = call.subject.strip_prefix("work.").unwrap();
    let header = |name: &str| Some(call.headers.as_ref()?.get(name)?.to_string());
    let mut map = HeaderMap::new();
    let body = match bench.work(tool, header, &call.payload).await {
        Answer::Output(output) => Bytes::from(output.to_string()),
        Answer::Fails => {
            map.insert(headers::SERVICE_ERROR, WORDS);
            map.insert(headers::SERVICE_ERROR_CODE, "409");
            Bytes::new()
        }
        Answer::Breaks | Answer::Silent => return,
    };
    let reply = call.reply.clone().unwrap();
    client.publish_with_headers(reply, map, body).await.unwrap();
}

async fn http(
    State(bench): State<Arc<Bench>>,
    Path(_id): Path<String>,
    method: axum::http::Method,
    map: axum::http::HeaderMap,
    body: Bytes,
) -> Response {
    let tool = if method == "PUT" {
        "mail.retry"
    } else {
        "mail.send"
    };
    let header = |name: &str| Some(map.get(name)?.to_str().ok()?.to_owned());
    match bench.work(tool, header, &body).await {
        Answer::Output(output) => axum::Json(output).into_response(),
        Answer::Fails => (StatusCode::CONFLICT, WORDS).into_response(),
        Answer::Breaks => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Answer::Silent => std::future::pending().await,
    }
}
