//! Messages of the streams, as tests look at them.

use async_nats::HeaderMap;
use countersign_runtime::bus::{Bus, ReplayFrom};
use futures::StreamExt as _;
use serde_json::Value;

/// A stored message with a JSON body.
#[derive(Debug, Clone)]
pub struct Event {
    /// Where it lies.
    pub subject: String,
    /// Its sequence, where the way it came tells.
    pub seq: u64,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; null where it is no JSON.
    pub body: Value,
}

impl Event {
    pub(crate) fn new(subject: &str, seq: u64, headers: Option<&HeaderMap>, body: &[u8]) -> Self {
        Self {
            subject: subject.to_owned(),
            seq,
            headers: headers.cloned().unwrap_or_default(),
            body: serde_json::from_slice(body).unwrap_or(Value::Null),
        }
    }

    /// Whether it is this event, such as `tool.approved`.
    #[must_use]
    pub fn is(&self, event: &str) -> bool {
        self.subject
            .strip_prefix(event)
            .is_some_and(|rest| rest.starts_with('.'))
    }

    /// Whether nothing more follows it in the chain of its intent.
    #[must_use]
    pub fn is_end(&self) -> bool {
        ["tool.completed", "tool.blocked", "tool.revoked"]
            .iter()
            .any(|event| self.is(event))
    }

    /// A text of the body, empty where there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.body
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The event's name: the subject's first two tokens.
    #[must_use]
    pub fn name(&self) -> String {
        self.subject
            .split('.')
            .take(2)
            .collect::<Vec<_>>()
            .join(".")
    }
}

/// Reads whole streams, with the credential of the archiver.
pub struct Observer {
    bus: Bus,
}

impl Observer {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Every message that `stream` holds now over `filter`, oldest first.
    ///
    /// # Panics
    /// When the stream cannot be read.
    pub async fn read(&self, stream: &str, filter: &str) -> Vec<Event> {
        let replay = self
            .bus
            .replay(stream, &[filter], ReplayFrom::Start)
            .await
            .expect("the archiver may read");
        let mut found = Vec::new();
        if replay.is_empty() {
            return found;
        }
        let mut messages = replay.messages();
        while let Some(next) = messages.next().await {
            let next = next.expect("the stream is readable to its end");
            let message = &next.message;
            found.push(Event::new(
                &message.subject,
                message.seq,
                Some(&message.headers),
                &message.payload,
            ));
            if next.pending == 0 {
                break;
            }
        }
        found
    }

    /// Every event of our services.
    ///
    /// # Panics
    /// As for [`Self::read`].
    pub async fn events(&self) -> Vec<Event> {
        self.read("CS_EVENTS", ">").await
    }
}
