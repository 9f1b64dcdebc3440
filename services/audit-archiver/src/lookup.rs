//! `cs.audit.fingerprint.<operator>`: under which fingerprints a known value stands in the
//! archive. Who asks is the last word of the subject, which the server binds to the
//! operator's own key. Each answer is on record before it leaves, without the value.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use countersign_domain::redact::{Print, Redactor, VALUE_BYTES_MAX, prints};
use countersign_runtime::access::{self, NotRecorded};
use countersign_runtime::fingerprints;
use countersign_runtime::health::HealthPart;
use countersign_runtime::service::ServiceContext;
use countersign_schemas::events::AuditAccessed;
use countersign_schemas::{PersonId, headers, json};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// Where operators ask.
const SUBJECT: &str = "cs.audit.fingerprint.*";
/// Values that one operator may look up in [`SPAN`]: enough for a person with a list in
/// hand. Whoever tries all values of a kind gets 14,400 guesses a day, each on record.
pub const LOOK_UPS_MAX: usize = 10;
/// The time in which they count.
const SPAN: Duration = Duration::from_secs(60);
/// Operators whose look-ups are counted at once; more than any deployment has.
const OPERATORS_MAX: usize = 1_000;
/// Bytes of a request: JSON may write each byte of a value in six.
const REQUEST_BYTES_MAX: usize = 6 * VALUE_BYTES_MAX + 1024;

/// What an operator asks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FingerprintRequest {
    /// The value.
    pub value: String,
    /// The type under which it was redacted; every type where it is absent.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

impl fmt::Debug for FingerprintRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FingerprintRequest")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FingerprintReply {
    /// Each type and epoch, the newest epoch first.
    pub fingerprints: Vec<Print>,
}

/// The keys by which look-ups are answered and rows are marked.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The folder that they lie in.
    pub dir: PathBuf,
    /// What marks by the newest of them, and follows a rotation.
    pub redactor: Redactor,
}

/// Why a request is not answered: a code as in HTTP and a sentence without the value.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    status: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: &'static str, message: impl ToString) -> Self {
        Self {
            status,
            message: message.to_string(),
        }
    }
}

/// Follows the keys and answers until shutdown.
pub(crate) fn start(context: &ServiceContext, keys: Keys) {
    fingerprints::follow(context, &keys.dir, &keys.redactor);
    let health = context.health.part("fingerprints");
    let desk = Desk {
        context: context.clone(),
        dir: keys.dir,
    };
    tokio::spawn(desk.serve(health));
}

struct Desk {
    context: ServiceContext,
    dir: PathBuf,
}

impl Desk {
    /// Whatever goes wrong here never holds up the archive.
    async fn serve(self, health: HealthPart) {
        let client = self.context.bus.client();
        let asked = client
            // A second archiver shares the work.
            .queue_subscribe(SUBJECT, crate::NAME.to_owned())
            .await;
        let mut requests = match asked {
            Ok(requests) => requests,
            Err(error) => return health.failing(format!("cannot answer look-ups: {error}")),
        };
        // Ready means that the server knows of it: a question before that has no responder.
        if let Err(error) = client.flush().await {
            tracing::warn!(%error, "look-ups may not be answered yet");
        }
        health.ready();
        let mut turns = Turns::default();
        loop {
            tokio::select! {
                biased;
                () = self.context.shutdown.cancelled() => return,
                request = requests.next() => match request {
                    Some(request) => {
                        let answer = self.answer(&request, &mut turns).await;
                        self.reply(request, answer).await;
                    }
                    None => return health.failing("the subscription for look-ups ended".to_owned()),
                },
            }
        }
    }

    async fn answer(
        &self,
        request: &Message,
        turns: &mut Turns,
    ) -> Result<FingerprintReply, Refusal> {
        let person = operator(&request.subject)
            .ok_or_else(|| Refusal::new("400", "the subject names no operator"))?;
        let asked = read(&request.payload)?;
        if !turns.take(&person, Instant::now()) {
            tracing::warn!(%person, "an operator looks up more values than are answered");
            return Err(Refusal::new(
                "429",
                format!(
                    "at most {LOOK_UPS_MAX} values are looked up for one operator in a minute; \
                     try again in a minute"
                ),
            ));
        }
        let (newest, found) = self.find(asked).await?;
        let event = event(person, &newest, &found);
        access::record(&self.context, &event)
            .await
            .map_err(|error| {
                tracing::error!(%error, "a look-up is not answered");
                Refusal::new("503", NotRecorded::SENTENCE)
            })?;
        Ok(FingerprintReply {
            fingerprints: found,
        })
    }

    /// The newest epoch and what stands for the value in each.
    async fn find(&self, asked: FingerprintRequest) -> Result<(String, Vec<Print>), Refusal> {
        let dir = self.dir.clone();
        let found = spawn_blocking(move || {
            let keys = fingerprints::all(&dir).map_err(|error| {
                tracing::error!(%error, "a look-up is not answered");
                unavailable()
            })?;
            let newest = keys.first().map(|key| key.id().to_owned());
            let found = prints(&keys, &asked.value, asked.kind.as_deref())
                .map_err(|error| Refusal::new("400", error))?;
            Ok((newest.unwrap_or_default(), found))
        });
        found.await.map_err(|_| unavailable())?
    }

    async fn reply(&self, request: Message, answer: Result<FingerprintReply, Refusal>) {
        let Some(to) = request.reply else { return };
        let client = self.context.bus.client();
        let body = answer.and_then(|reply| {
            serde_json::to_vec(&reply).map_err(|error| Refusal::new("503", error))
        });
        let sent = match body {
            Ok(body) => client.publish(to, Bytes::from(body)).await,
            Err(refusal) => {
                let mut head = HeaderMap::new();
                head.insert(headers::SERVICE_ERROR_CODE, refusal.status);
                head.insert(headers::SERVICE_ERROR, refusal.message.as_str());
                client.publish_with_headers(to, head, Bytes::new()).await
            }
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "an answer to a look-up could not be sent");
        }
    }
}

fn unavailable() -> Refusal {
    Refusal::new(
        "503",
        "the fingerprint keys cannot be read, so nothing is looked up; the archiver's log says why",
    )
}

/// What is recorded: the fingerprints in the newest epoch, by which every look-up of the same
/// value is found, and never the value.
fn event(person: PersonId, newest: &str, found: &[Print]) -> AuditAccessed {
    let marks = found.iter().filter(|print| print.epoch == newest);
    let marks: String = marks
        .map(|print| format!(" [{}]", print.fingerprint))
        .collect();
    AuditAccessed {
        schema_version: 1,
        person,
        query: format!("fingerprint of a known value:{marks}"),
        rows: u64::try_from(found.len()).unwrap_or(u64::MAX),
        result: "ok".to_owned(),
    }
}

fn operator(subject: &str) -> Option<PersonId> {
    subject.strip_prefix("cs.audit.fingerprint.")?.parse().ok()
}

fn read(payload: &[u8]) -> Result<FingerprintRequest, Refusal> {
    let shape = "the request is JSON, {\"value\": …, \"type\": \"email\"}";
    if payload.len() > REQUEST_BYTES_MAX {
        return Err(Refusal::new(
            "400",
            countersign_domain::redact::LookupError::TooLong,
        ));
    }
    // What serde would say quotes the value.
    json::check_strict(payload).map_err(|_| Refusal::new("400", shape))?;
    serde_json::from_slice(payload).map_err(|_| Refusal::new("400", shape))
}

/// Who looked up how much in the last minute.
#[derive(Default)]
struct Turns(HashMap<PersonId, Vec<Instant>>);

impl Turns {
    /// Whether this operator may look up one more value now.
    fn take(&mut self, operator: &PersonId, now: Instant) -> bool {
        self.0.retain(|_, taken| {
            taken.retain(|at| now.duration_since(*at) < SPAN);
            !taken.is_empty()
        });
        if self.0.len() >= OPERATORS_MAX && !self.0.contains_key(operator) {
            return false;
        }
        let taken = self.0.entry(operator.clone()).or_default();
        if taken.len() >= LOOK_UPS_MAX {
            return false;
        }
        taken.push(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_is_the_last_word_of_the_subject() {
        let kim = operator("cs.audit.fingerprint.kim").unwrap();
        assert_eq!(kim.as_str(), "kim");
        for bad in [
            "cs.audit.fingerprint.",
            "cs.audit.fingerprint.kim.x",
            "cs.audit.query.kim",
            "kim",
        ] {
            assert_eq!(operator(bad), None, "{bad}");
        }
    }

    #[test]
    fn requests_are_strict_and_no_refusal_quotes_the_value() {
        let good = read(br#"{"value":"pat@example.com","type":"email"}"#).unwrap();
        assert_eq!(good.kind.as_deref(), Some("email"));
        assert!(!format!("{good:?}").contains("pat"));
        for bad in [
            &br#"{"value":"hunter2","as":"admin"}"#[..],
            br#"{"value":["hunter2"]}"#,
            br#"{"value":"a","value":"hunter2"}"#,
            br#"hunter2"#,
            b"{}",
        ] {
            let refused = read(bad).unwrap_err();
            assert!(!refused.message.contains("hunter2"), "{}", refused.message);
        }
        let long = format!(r#"{{"value":"{}"}}"#, "x".repeat(REQUEST_BYTES_MAX));
        assert_eq!(read(long.as_bytes()).unwrap_err().status, "400");
    }

    #[test]
    fn an_operator_looks_up_ten_values_in_a_minute_and_takes_no_turn_of_others() {
        let (kim, lee): (PersonId, PersonId) = ("kim".parse().unwrap(), "lee".parse().unwrap());
        let mut turns = Turns::default();
        let start = Instant::now();
        for n in 0..10 {
            assert!(turns.take(&kim, start + Duration::from_secs(n)));
        }
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(!turns.take(&kim, later(59)));
        assert!(turns.take(&lee, later(59)));
        assert!(turns.take(&kim, later(60)), "the first is a minute old");
        assert!(!turns.take(&kim, later(60)));
    }

    #[test]
    fn what_is_recorded_names_the_fingerprints_of_the_newest_epoch() {
        let print = |epoch: &str| Print {
            kind: "email".to_owned(),
            epoch: epoch.to_owned(),
            fingerprint: format!("email:{epoch}:9f2c41d07a3b"),
        };
        let event = event("kim".parse().unwrap(), "k2", &[print("k2"), print("k1")]);
        assert_eq!(
            event.query,
            "fingerprint of a known value: [email:k2:9f2c41d07a3b]"
        );
        assert_eq!((event.person.as_str(), event.rows), ("kim", 2));
    }
}
