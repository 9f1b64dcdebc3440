//! `cs.identity.changed.<operator>`: an operator's tool reports that it added, removed or
//! rotated an identity, and the coordinator puts it on record.

use std::sync::Arc;

use bytes::Bytes;
use countersign_runtime::bus::{BusError, Failure};
use countersign_schemas::events::IdentityChanged;
use countersign_schemas::{Address, PersonId, Token, headers, json};
use futures::StreamExt as _;

use crate::office::{Office, trace_in};

/// What is answered.
const SUBJECT: &str = "cs.identity.changed.*";
/// Coordinators share the work: one of them answers.
const QUEUE: &str = "approval-coordinator";
/// Bytes of a report.
const REPORT_BYTES_MAX: usize = 4 * 1024;

/// Answers until shutdown.
pub(crate) async fn serve(office: Arc<Office>) -> Result<(), BusError> {
    let client = office.bus.client();
    let reports = client
        .queue_subscribe(SUBJECT, QUEUE.to_owned())
        .await
        .map_err(|error| BusError::Request {
            what: format!("cannot answer on `{SUBJECT}`"),
            reason: error.to_string(),
        })?;
    let mut reports = std::pin::pin!(reports.take_until(office.shutdown.cancelled()));
    while let Some(report) = reports.next().await {
        let Some(reply) = report.reply.clone() else {
            continue;
        };
        let sent = match office.record(&report).await {
            Ok(()) => {
                client
                    .publish(reply, Bytes::from_static(b"{\"ok\":true}"))
                    .await
            }
            Err((code, why)) => {
                let mut refused = async_nats::HeaderMap::new();
                refused.insert(headers::SERVICE_ERROR_CODE, code);
                refused.insert(headers::SERVICE_ERROR, why.as_str());
                client
                    .publish_with_headers(reply, refused, Bytes::new())
                    .await
            }
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "cannot answer a report of a changed identity");
        }
    }
    Ok(())
}

impl Office {
    async fn record(&self, report: &async_nats::Message) -> Result<(), (&'static str, String)> {
        let changed = read(report).map_err(|why| ("400", why))?;
        let id = report_id(report).ok_or(("400", "the message id is no token".to_owned()))?;
        let address = Address::IdentityChanged { id };
        let trace = report.headers.as_ref().and_then(trace_in);
        let stored = self.say(&address, &changed, trace.as_deref()).await;
        stored.map_err(|failure: Failure| {
            tracing::warn!(%failure, "a changed identity is not recorded");
            ("503", "it cannot be recorded now; try again".to_owned())
        })
    }
}

/// A report of the operator whose name is in the subject, and of nobody else.
fn read(report: &async_nats::Message) -> Result<IdentityChanged, String> {
    let operator: PersonId = report
        .subject
        .as_str()
        .rsplit('.')
        .next()
        .and_then(|token| token.parse().ok())
        .ok_or("the subject names no operator")?;
    if report.payload.len() > REPORT_BYTES_MAX {
        return Err("the report is too large".to_owned());
    }
    json::check_strict(&report.payload).map_err(|error| error.to_string())?;
    let changed: IdentityChanged = serde_json::from_slice(&report.payload)
        .map_err(|_| "the report is no identity.changed event as JSON".to_owned())?;
    if changed.operator != operator {
        return Err("the report names another operator than its subject".to_owned());
    }
    Ok(changed)
}

/// The sender's own message id, so that a report sent again is recorded once.
fn report_id(report: &async_nats::Message) -> Option<Token> {
    let own = report
        .headers
        .as_ref()
        .and_then(|all| all.get(headers::MSG_ID));
    match own {
        Some(id) => id.as_str().parse().ok(),
        None => format!("{:032x}", rand::random::<u128>()).parse().ok(),
    }
}
