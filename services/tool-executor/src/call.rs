//! One call of a worker, by the worker contract.
//!
//! The ends differ in what is known: a worker that answered did it or did not; where no
//! answer came after something was sent, nobody knows.

mod http;
mod nats;

use std::collections::BTreeMap;

use async_nats::Client;
use bytes::Bytes;
use countersign_domain::policy::{Tool, Worker};
use countersign_runtime::telemetry::TraceParent;
use countersign_schemas::{IntentId, JsonObject, ServiceId, headers, json};
use tokio::time::Instant;

/// The worker that a claim token names for a `nats` binding: the token's audience binds it
/// to the tool, and whoever may answer for a tool is the TOOLS account's business.
const NATS_WORKER: &str = "nats";

/// The code of a failure to which the worker gave none that can be told.
pub(crate) const TOOL_FAILED: &str = "tool_failed";

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// The tool did it and answered this; `None` where its answer cannot be read.
    Done(Option<JsonObject>),
    /// The tool did not do it, or was never reached.
    Failed(Trouble),
    /// Something was sent and no answer came: it may or may not have been done.
    Unknown(Trouble),
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Stable code; the worker's own where `code_is_theirs`, and then not redacted yet.
    pub(crate) code: String,
    /// Whether the worker chose the code.
    pub(crate) code_is_theirs: bool,
    /// A sentence; may hold the worker's own words, which are not redacted yet.
    pub(crate) message: String,
}

impl End {
    pub(crate) fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::Failed(Trouble {
            code: code.to_owned(),
            code_is_theirs: false,
            message: message.into(),
        })
    }

    pub(crate) fn unknown(code: &str, message: impl Into<String>) -> Self {
        Self::Unknown(Trouble {
            code: code.to_owned(),
            code_is_theirs: false,
            message: message.into(),
        })
    }

    /// The deadline passed while the worker had the call.
    fn timeout() -> Self {
        Self::unknown("timeout", "the worker did not answer in time")
    }

    /// It was too late before anything was sent.
    fn too_late() -> Self {
        Self::failed(
            "not_begun",
            "the time for the call was over before it began",
        )
    }
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// The tool.
    pub(crate) tool: &'a Tool,
    /// The intent.
    pub(crate) intent: IntentId,
    /// The exact input.
    pub(crate) input: &'a JsonObject,
    /// The permit.
    pub(crate) permit: &'a str,
    /// The claim token of this attempt.
    pub(crate) claim: &'a str,
    /// Trace context to send on.
    pub(crate) trace: Option<TraceParent>,
    /// When its first byte must have left; not after the deadline.
    pub(crate) begin_by: Instant,
    /// When the call is aborted.
    pub(crate) deadline: Instant,
}

impl Call<'_> {
    /// The headers of the contract.
    fn headers(&self) -> Vec<(&'static str, String)> {
        let intent = self.intent.to_string();
        let mut all = vec![
            (headers::WORK_INTENT, intent.clone()),
            (headers::WORK_PERMIT, self.permit.to_owned()),
            (headers::WORK_CLAIM, self.claim.to_owned()),
            (headers::IDEMPOTENCY_KEY, intent),
        ];
        if let Some(trace) = self.trace {
            all.push((headers::TRACEPARENT, trace.to_string()));
        }
        all
    }

    /// The body: the input as JSON.
    fn body(&self) -> Result<Bytes, End> {
        let body = serde_json::to_vec(self.input);
        body.map(Bytes::from)
            .map_err(|_| End::failed("not_begun", "the input cannot be written as JSON"))
    }

    /// Right before the first byte leaves.
    fn still_in_time(&self) -> Result<(), End> {
        if Instant::now() < self.begin_by {
            Ok(())
        } else {
            Err(End::too_late())
        }
    }
}

/// The ways to workers.
#[derive(Debug)]
pub(crate) struct Workers {
    nats: Client,
    http: http::Http,
}

impl Workers {
    /// Over this connection, and over HTTP to these base URLs.
    ///
    /// # Errors
    /// When no HTTP client can be built.
    pub(crate) fn new(nats: Client, bases: BTreeMap<String, String>) -> Result<Self, String> {
        Ok(Self {
            nats,
            http: http::Http::new(bases)?,
        })
    }

    /// The name of the tool's worker in claim tokens.
    ///
    /// # Errors
    /// When the catalog's name is not a worker's name, which the catalog already refuses.
    pub(crate) fn name(tool: &Tool) -> Result<ServiceId, countersign_schemas::ids::IdError> {
        match tool.worker() {
            Worker::Nats => NATS_WORKER.parse(),
            Worker::Http { service, .. } => service.parse(),
        }
    }

    /// Calls the worker once.
    pub(crate) async fn call(&self, call: &Call<'_>) -> End {
        let ended = match call.tool.worker() {
            Worker::Nats => nats::call(&self.nats, call).await,
            Worker::Http {
                method,
                service,
                path,
            } => {
                let route = http::Route {
                    method,
                    service,
                    path,
                };
                self.http.call(route, call).await
            }
        };
        ended.unwrap_or_else(|end| end)
    }
}

/// Reads the answer of a worker that did its work. It did it whatever the answer looks
/// like, so an unreadable one is still `Done`.
fn done(body: &[u8]) -> End {
    if body.iter().all(u8::is_ascii_whitespace) {
        return End::Done(Some(JsonObject::default()));
    }
    let value = json::parse_strict(body).ok();
    End::Done(value.and_then(JsonObject::from_value))
}

#[cfg(test)]
mod tests;
