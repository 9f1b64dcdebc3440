//! A message ready to be stored.

use async_nats::HeaderMap;
use async_nats::subject::Subject as NatsSubject;
use bytes::Bytes;
use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::headers;
use countersign_schemas::{Address, Event, ServiceId, Timestamp};

use super::failure::Failure;

/// What the sender says of itself in the headers of an event.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Which service.
    pub source: ServiceId,
    /// How bodies are written.
    pub encoding: Encoding,
    /// The time that the sender claims.
    pub claimed_at: Timestamp,
    /// W3C trace context to continue.
    pub traceparent: Option<String>,
}

/// What must be true of the stream for the message to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// Over which subjects.
    pub filter: String,
    /// The last sequence there; 0 for none.
    pub last_seq: u64,
}

/// A message ready to be stored.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub(crate) subject: NatsSubject,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
    pub(crate) expect: Option<Expect>,
}

impl Outgoing {
    /// An event under its address, with a random message id and CloudEvents headers.
    ///
    /// # Errors
    /// A poison failure when the event does not fit its own schema: parts of it come from
    /// strangers, and what they send must not stop a service.
    pub fn event<E: Event>(address: &Address, event: &E, meta: &Meta) -> Result<Self, Failure> {
        let body = codec::encode(event, meta.encoding)
            .map_err(|error| Failure::poison(format!("cannot encode {}: {error}", E::NAME)))?;
        let mut out = Self::raw(address.subject().as_str(), Bytes::from(body));
        let id = nuid();
        out.set(headers::MSG_ID, &id);
        out.set(headers::CE_SPECVERSION, "1.0");
        out.set(headers::CE_ID, &id);
        out.set(headers::CE_SOURCE, &format!("/countersign/{}", meta.source));
        out.set(headers::CE_TYPE, &headers::ce_type::<E>());
        out.set(headers::CE_TIME, &meta.claimed_at.to_string());
        if let Some(traceparent) = &meta.traceparent {
            out.set(headers::TRACEPARENT, traceparent);
        }
        Ok(out)
    }

    /// A message without headers on any subject; for key-value entries and timers.
    #[must_use]
    pub fn raw(subject: &str, payload: Bytes) -> Self {
        Self {
            subject: NatsSubject::from(subject),
            headers: HeaderMap::new(),
            payload,
            expect: None,
        }
    }

    /// Adds or replaces a header. A value that a header cannot hold is left out.
    pub fn set(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = value.parse::<async_nats::HeaderValue>() {
            self.headers
                .insert(async_nats::HeaderName::from_static(name), value);
        }
    }

    /// Demands that the last sequence over `filter` is `last_seq`.
    #[must_use]
    pub fn expecting(mut self, filter: &str, last_seq: u64) -> Self {
        self.set(headers::EXPECTED_LAST_SUBJECT_SEQ, &last_seq.to_string());
        if filter != self.subject.as_str() {
            self.set(headers::EXPECTED_LAST_SUBJECT_SEQ_SUBJECT, filter);
        }
        self.expect = Some(Expect {
            filter: filter.to_owned(),
            last_seq,
        });
        self
    }

    /// The subject it goes to.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.subject.as_str()
    }

    /// The body.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }
}

fn nuid() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_schemas::JsonObject;
    use countersign_schemas::events::ToolRequested;
    use serde_json::json;

    fn meta() -> Meta {
        Meta {
            source: "test".parse().unwrap(),
            encoding: Encoding::Json,
            claimed_at: Timestamp::EPOCH,
            traceparent: None,
        }
    }

    #[test]
    fn an_event_that_has_no_form_stops_no_service() {
        let deep = (0..80).fold(json!(1), |inner, _| json!([inner]));
        let mut request: ToolRequested = serde_json::from_value(json!({
            "schema_version": 1, "intent_id": "019a0000-0000-7000-8000-000000000001",
            "tool": "mail.send", "purpose": "x", "requester": {"id": "dana"}, "input": {}
        }))
        .unwrap();
        let agent = "billing".parse().unwrap();
        let address = Address::ToolRequested { agent };
        assert!(Outgoing::event(&address, &request, &meta()).is_ok());
        request.input = JsonObject::from_value(json!({ "a": deep })).unwrap();
        let failure = Outgoing::event(&address, &request, &meta()).unwrap_err();
        assert!(matches!(failure, Failure::Poison { .. }), "{failure}");
    }
}
