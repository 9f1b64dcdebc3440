//! Messages as outsiders get them: live, or by direct get of the last one on a subject.

use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use countersign_runtime::bus::Bus;
use countersign_schemas::codec::decode;
use countersign_schemas::headers;
use countersign_schemas::{Address, Event, Stream};

use crate::exit::CliError;

/// How long one read may take; the next one is due by then.
const READ_TIMEOUT: Duration = Duration::from_secs(4);
/// The header in which direct get names the stored subject.
const STORED_SUBJECT: &str = "Nats-Subject";

/// A stored message with the subject under which it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Where it lies.
    pub(crate) address: Address,
    headers: HeaderMap,
    payload: Bytes,
}

impl Received {
    /// A message that came on a subscription; `None` if its subject is not ours.
    pub(crate) fn live(message: Message) -> Option<Self> {
        Some(Self {
            address: Address::parse(&message.subject)?,
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
        })
    }

    fn direct(message: Message) -> Option<Self> {
        let headers = message.headers?;
        Some(Self {
            address: Address::parse(headers.get(STORED_SUBJECT)?.as_str())?,
            headers,
            payload: message.payload,
        })
    }

    /// The event, if the message says that it is one and can be read.
    pub(crate) fn event<E: Event>(&self) -> Option<E> {
        let named = self.headers.get(headers::CE_TYPE)?.as_str();
        (named == headers::ce_type::<E>())
            .then(|| decode(&self.payload).ok())
            .flatten()
    }

    /// A message as it would come from the server.
    #[cfg(test)]
    pub(crate) fn for_test<E: Event>(address: Address, named: &str, event: &E) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(headers::CE_TYPE, named);
        let body =
            countersign_schemas::codec::encode(event, countersign_schemas::codec::Encoding::Json);
        Self {
            address,
            headers,
            payload: Bytes::from(body.unwrap_or_default()),
        }
    }
}

/// The last stored event over `filter`, which may hold wildcards.
///
/// A replica answers, so "none" may only mean "not yet".
pub(crate) async fn last_by_subject(bus: &Bus, filter: &str) -> Result<Option<Received>, CliError> {
    let unreachable = |reason: String| {
        CliError::Unreachable(format!(
            "cannot read the last event on `{filter}`: {reason}"
        ))
    };
    let subject = format!("$JS.API.DIRECT.GET.{}.{filter}", Stream::Events);
    let asked = bus.client().request(subject, Bytes::new());
    let reply = tokio::time::timeout(READ_TIMEOUT, asked)
        .await
        .map_err(|_| unreachable(format!("no answer in {} s", READ_TIMEOUT.as_secs())))?
        .map_err(|error| unreachable(error.to_string()))?;
    match reply.status {
        None => Ok(Received::direct(reply)),
        Some(StatusCode::NOT_FOUND) => Ok(None),
        Some(other) => Err(unreachable(format!("the server says {other}"))),
    }
}
