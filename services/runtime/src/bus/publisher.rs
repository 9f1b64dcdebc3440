//! Pipelined publishing: many messages in flight over one wildcard inbox, each resolved
//! with its own ack.
//!
//! The client's own publish makes a subscription or a task for each message, which halves
//! the throughput of a relay; one inbox with a token per message does not.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::subject::Subject as NatsSubject;
use async_nats::{Client, Message};
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::failure::{BusError, Failure};
use super::outgoing::Outgoing;

/// How long an ack may take. Longer than a leader election, so that a publish during one
/// is answered rather than given up.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often overdue acks are looked for.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// JetStream: wrong last sequence.
const ERR_WRONG_LAST_SEQUENCE: u64 = 10_071;
/// JetStream: wrong last sequence while a rival is still in flight; names no sequence.
const ERR_WRONG_LAST_SEQUENCE_NOW: u64 = 10_164;
/// JetStream: no message found or stream full: maximum messages, bytes or per subject,
/// or the account's share is used up.
const ERR_STREAM_FULL: &[u64] = &[10_002, 10_047, 10_077, 10_122];
/// JetStream: the message as a whole or its headers are too large.
const ERR_TOO_LARGE: &[u64] = &[10_054, 10_097];
/// The status of a request that is wrong in itself: it will be refused for ever.
const STATUS_BAD_REQUEST: u16 = 400;

/// Why a message was not stored, or not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Another message is there already; `last` is its sequence.
    #[error("the stream has moved on to sequence {last}")]
    Conflict {
        /// The last sequence over the filter.
        last: u64,
    },
    /// A message with this id is stored already, at `seq`. Ids are random, so this is
    /// either one's own earlier attempt or somebody who guessed or copied the id.
    #[error("a message with this id is stored already, at sequence {seq}")]
    Duplicate {
        /// The sequence of the message that has the id.
        seq: u64,
    },
    /// The server does not let this credential publish there.
    #[error("the credential may not publish on `{subject}`")]
    Refused {
        /// Where.
        subject: String,
    },
    /// The stream takes no more.
    #[error("the stream is full: {text}")]
    Full {
        /// What the server said.
        text: String,
    },
    /// Larger than the server takes.
    #[error("the message is larger than the server takes: {text}")]
    TooLarge {
        /// What the client or server said.
        text: String,
    },
    /// No ack in time: it may or may not be stored.
    #[error("no answer from the server in {} s", ACK_TIMEOUT.as_secs())]
    Timeout,
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
    /// The message itself is wrong, so that sending it again would change nothing.
    #[error("the server will never take the message: {text} ({code})")]
    Rejected {
        /// JetStream's error code.
        code: u64,
        /// What the server said.
        text: String,
    },
    /// Anything else that the server said; it may pass.
    #[error("the server refused the message: {text} ({code})")]
    Server {
        /// JetStream's error code.
        code: u64,
        /// What the server said.
        text: String,
    },
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let what = format!("cannot store a message: {error}");
        match error {
            PublishError::Refused { .. } => Self::fatal(what),
            // A stranger chooses the sizes, so one large output must not stop the service.
            PublishError::TooLarge { .. } | PublishError::Rejected { .. } => Self::poison(what),
            PublishError::Full { .. } => Self::transient_in(what, Duration::from_secs(5)),
            PublishError::Conflict { .. }
            | PublishError::Duplicate { .. }
            | PublishError::Timeout
            | PublishError::Closed
            | PublishError::Server { .. } => Self::transient(what),
        }
    }
}

struct Waiting {
    subject: NatsSubject,
    answer: oneshot::Sender<Result<u64, PublishError>>,
}

#[derive(Default)]
struct InFlight {
    next: u64,
    waiting: HashMap<u64, Waiting>,
    deadlines: VecDeque<(Instant, u64)>,
}

/// Sends messages and resolves each with the sequence under which it is stored.
#[derive(Clone)]
pub struct Publisher {
    client: Client,
    inbox: Arc<str>,
    in_flight: Arc<Mutex<InFlight>>,
}

impl Publisher {
    pub(crate) async fn start(client: Client) -> Result<Self, BusError> {
        let inbox = client.new_inbox();
        let acks = client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(|error| BusError::request("cannot subscribe to the ack inbox", error))?;
        let publisher = Self {
            client,
            inbox: Arc::from(inbox.as_str()),
            in_flight: Arc::default(),
        };
        tokio::spawn(resolve_acks(acks, Arc::downgrade(&publisher.in_flight)));
        Ok(publisher)
    }

    /// Sends a message and waits for its ack.
    ///
    /// # Errors
    /// See [`PublishError`]; after `Timeout` and `Closed` it may be stored all the same.
    pub async fn publish(&self, message: Outgoing) -> Result<u64, PublishError> {
        let (token, answer) = self.register(message.subject.clone());
        let reply = format!("{}.{token}", self.inbox);
        let sent = self
            .client
            .publish_with_reply_and_headers(
                message.subject,
                reply,
                message.headers,
                message.payload,
            )
            .await;
        if let Err(error) = sent {
            self.lock().waiting.remove(&token);
            return Err(send_error(&error));
        }
        answer.await.unwrap_or(Err(PublishError::Closed))
    }

    /// Sends a message without asking for an ack: the last one of a batch answers for all.
    pub(super) async fn send(&self, message: Outgoing) -> Result<(), PublishError> {
        self.client
            .publish_with_headers(message.subject, message.headers, message.payload)
            .await
            .map_err(|error| send_error(&error))
    }

    /// Fails at once every message in flight to `subject`: the server says so only on the
    /// connection, never to the publish itself.
    pub(crate) fn refuse(&self, subject: &str) {
        let mut in_flight = self.lock();
        let tokens: Vec<u64> = in_flight
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.subject.as_str() == subject)
            .map(|(token, _)| *token)
            .collect();
        for token in tokens {
            if let Some(waiting) = in_flight.waiting.remove(&token) {
                let subject = subject.to_owned();
                waiting
                    .answer
                    .send(Err(PublishError::Refused { subject }))
                    .ok();
            }
        }
    }

    fn register(
        &self,
        subject: NatsSubject,
    ) -> (u64, oneshot::Receiver<Result<u64, PublishError>>) {
        let (answer, receiver) = oneshot::channel();
        let mut in_flight = self.lock();
        let token = in_flight.next;
        in_flight.next = token.wrapping_add(1);
        in_flight.waiting.insert(token, Waiting { subject, answer });
        in_flight
            .deadlines
            .push_back((Instant::now() + ACK_TIMEOUT, token));
        (token, receiver)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InFlight> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn send_error(error: &async_nats::client::PublishError) -> PublishError {
    match error.kind() {
        async_nats::client::PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge {
            text: error.to_string(),
        },
        async_nats::client::PublishErrorKind::InvalidSubject => PublishError::Rejected {
            code: 0,
            text: error.to_string(),
        },
        async_nats::client::PublishErrorKind::Send => PublishError::Closed,
    }
}

async fn resolve_acks(
    mut acks: async_nats::Subscriber,
    in_flight: std::sync::Weak<Mutex<InFlight>>,
) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            ack = acks.next() => {
                let (Some(ack), Some(in_flight)) = (ack, in_flight.upgrade()) else { return };
                resolve_one(&ack, &in_flight);
            }
            _ = sweep.tick() => {
                let Some(in_flight) = in_flight.upgrade() else { return };
                time_out(&in_flight, Instant::now());
            }
        }
    }
}

fn resolve_one(ack: &Message, in_flight: &Mutex<InFlight>) {
    let token = ack
        .subject
        .rsplit('.')
        .next()
        .and_then(|text| text.parse().ok());
    let Some(token) = token else { return };
    let waiting = in_flight
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .waiting
        .remove(&token);
    if let Some(waiting) = waiting {
        waiting.answer.send(read_ack(ack)).ok();
    }
}

fn time_out(in_flight: &Mutex<InFlight>, now: Instant) {
    let mut in_flight = in_flight.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some((deadline, token)) = in_flight.deadlines.front().copied() {
        let overdue = deadline <= now;
        // Entries that were answered long ago leave the queue here as well.
        if !overdue && in_flight.waiting.contains_key(&token) {
            return;
        }
        in_flight.deadlines.pop_front();
        if overdue && let Some(waiting) = in_flight.waiting.remove(&token) {
            waiting.answer.send(Err(PublishError::Timeout)).ok();
        }
    }
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<AckError>,
}

#[derive(Deserialize)]
struct AckError {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

fn read_ack(ack: &Message) -> Result<u64, PublishError> {
    if ack.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
        return Err(PublishError::Server {
            code: 503,
            text: "no stream takes this subject".to_owned(),
        });
    }
    let parsed: Ack = serde_json::from_slice(&ack.payload).map_err(|_| PublishError::Server {
        code: 0,
        text: "the answer is not a JetStream ack".to_owned(),
    })?;
    match parsed.error {
        None if parsed.duplicate => Err(PublishError::Duplicate { seq: parsed.seq }),
        None => Ok(parsed.seq),
        Some(error) => Err(ack_error(error)),
    }
}

fn ack_error(error: AckError) -> PublishError {
    let text = error.description;
    match error.err_code {
        ERR_WRONG_LAST_SEQUENCE => PublishError::Conflict {
            last: text
                .rsplit(' ')
                .next()
                .and_then(|seq| seq.parse().ok())
                .unwrap_or_default(),
        },
        ERR_WRONG_LAST_SEQUENCE_NOW => PublishError::Conflict { last: 0 },
        code if ERR_TOO_LARGE.contains(&code) => PublishError::TooLarge { text },
        code if ERR_STREAM_FULL.contains(&code) => PublishError::Full { text },
        code if error.code == STATUS_BAD_REQUEST => PublishError::Rejected { code, text },
        code => PublishError::Server { code, text },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(err_code: u64, text: &str) -> PublishError {
        status_of(503, err_code, text)
    }

    fn status_of(code: u16, err_code: u64, text: &str) -> PublishError {
        ack_error(AckError {
            code,
            err_code,
            description: text.to_owned(),
        })
    }

    #[test]
    fn a_conflict_names_the_sequence_that_won() {
        assert_eq!(
            error_of(10_071, "wrong last sequence: 42"),
            PublishError::Conflict { last: 42 }
        );
    }

    #[test]
    fn every_class_of_refusal_has_its_own_treatment() {
        let full = Failure::from(error_of(10_077, "maximum messages exceeded"));
        assert!(matches!(full, Failure::Transient { retry_in, .. } if retry_in.as_secs() == 5));
        let large = Failure::from(error_of(10_054, "message size exceeds maximum allowed"));
        assert!(matches!(large, Failure::Poison { .. }));
        let headers = Failure::from(error_of(10_097, "header size exceeds maximum allowed"));
        assert!(matches!(headers, Failure::Poison { .. }));
        let other = Failure::from(error_of(10_000, "something else"));
        assert!(matches!(other, Failure::Transient { .. }));
        let wrong = Failure::from(status_of(400, 10_060, "expected stream does not match"));
        assert!(matches!(wrong, Failure::Poison { .. }));
        // A rival in flight and an id in process are no fault of the message.
        let rival = Failure::from(status_of(400, 10_164, "wrong last sequence"));
        assert!(matches!(rival, Failure::Transient { .. }));
        let id = Failure::from(status_of(409, 10_158, "duplicate message id is in process"));
        assert!(matches!(id, Failure::Transient { .. }));
    }

    #[test]
    fn overdue_messages_are_answered_and_answered_ones_forgotten() {
        let in_flight = Mutex::new(InFlight::default());
        let (answer, mut receiver) = oneshot::channel();
        let now = Instant::now();
        {
            let mut state = in_flight.lock().unwrap();
            state.deadlines.push_back((now, 1));
            state.deadlines.push_back((now + ACK_TIMEOUT, 2));
            state.waiting.insert(
                1,
                Waiting {
                    subject: NatsSubject::from("a.b"),
                    answer,
                },
            );
        }
        time_out(&in_flight, now);
        assert_eq!(receiver.try_recv().unwrap(), Err(PublishError::Timeout));
        assert!(in_flight.lock().unwrap().deadlines.is_empty());
    }
}
