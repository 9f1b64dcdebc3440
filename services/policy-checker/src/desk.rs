//! The checker's micro service: operators push bundles, the executor asks again.

use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::service::{Request, ServiceExt as _};
use bytes::Bytes;
use countersign_runtime::bus::BusError;
use countersign_schemas::headers;
use futures::StreamExt as _;
use serde::Serialize;

use crate::NAME;
use crate::checker::Checker;

/// Where operators push.
const PUSH: &str = "cs.policy.push.*";
/// Where the executor asks again; NATS lets nobody else.
const RECHECK: &str = "cs.policy.recheck";
/// Requests answered at once: operators are few, and what an executor asks again is what
/// it was about to run.
const AT_ONCE: usize = 32;

/// Why a request is not done: an HTTP status, a sentence, and a body where there is more
/// to say.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: &'static str,
    pub(crate) message: String,
    pub(crate) body: Bytes,
}

impl Refusal {
    /// The asker's to mend.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new("400", message)
    }

    /// Ours; it may pass.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new("503", message)
    }

    pub(crate) fn new(status: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            body: Bytes::new(),
        }
    }
}

/// Answers until shutdown.
pub(crate) async fn serve(
    checker: Arc<Checker>,
    shutdown: tokio_util::sync::CancellationToken,
) -> Result<(), BusError> {
    let failed = |error: async_nats::Error| BusError::Request {
        what: format!("cannot answer on `{PUSH}`"),
        reason: error.to_string(),
    };
    let service = checker
        .bus()
        .client()
        .service_builder()
        .description("Puts policy bundles in force and judges by them again")
        .start(NAME, env!("CARGO_PKG_VERSION"))
        .await
        .map_err(failed)?;
    let pushes = service
        .endpoint_builder()
        .name("push")
        .add(PUSH)
        .await
        .map_err(failed)?;
    let rechecks = service
        .endpoint_builder()
        .name("recheck")
        .add(RECHECK)
        .await
        .map_err(failed)?;
    let desk = &checker;
    let pushing = pushes
        .take_until(shutdown.cancelled())
        .for_each_concurrent(AT_ONCE, |request| push(Arc::clone(desk), request));
    let rechecking = rechecks
        .take_until(shutdown.cancelled())
        .for_each_concurrent(AT_ONCE, |request| recheck(Arc::clone(desk), request));
    tokio::join!(pushing, rechecking);
    service.stop().await.map_err(failed)
}

async fn push(checker: Arc<Checker>, request: Request) {
    let reply = checker.push(&request.message).await;
    respond(&request, reply).await;
}

async fn recheck(checker: Arc<Checker>, request: Request) {
    let reply = checker.recheck(&request.message.payload).await;
    respond(&request, reply).await;
}

async fn respond<T: Serialize>(request: &Request, reply: Result<T, Refusal>) {
    let written = reply.and_then(|reply| {
        serde_json::to_vec(&reply).map_err(|_| Refusal::new("500", "the answer cannot be written"))
    });
    let sent = match written {
        Ok(body) => request.respond(Ok(Bytes::from(body))).await,
        Err(refusal) => {
            let mut said = HeaderMap::new();
            said.insert(headers::SERVICE_ERROR_CODE, refusal.status);
            said.insert(headers::SERVICE_ERROR, one_line(&refusal.message).as_str());
            request.respond_with_headers(Ok(refusal.body), said).await
        }
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "an answer could not be sent");
    }
}

/// Header values hold one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
