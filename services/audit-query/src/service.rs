//! Answers people over NATS. Who asks is the last word of the subject, which the server
//! binds to the person's own key. Each look-up is stored before its answer leaves: an
//! answer that cannot be recorded is not given.

use std::sync::Arc;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use countersign_domain::archive::ManifestPublicKeys;
use countersign_runtime::access::{self, NotRecorded};
use countersign_runtime::archive::Place;
use countersign_runtime::service::{ServiceContext, ServiceError};
use countersign_schemas::events::AuditAccessed;
use countersign_schemas::{PersonId, headers};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use crate::archive::{Answer, Archive, QueryError};
use crate::output::{self, Format};
use crate::settings::Settings;

/// Where people ask.
const SUBJECT: &str = "cs.audit.query.*";
/// Queries at once: each may use the whole memory limit.
const AT_ONCE: usize = 2;
/// Requests that wait for their turn; more are told so.
const WAITING_MAX: usize = 64;
/// Largest answer over NATS: below what every server takes, headers included.
pub const REPLY_BYTES_MAX: usize = 1024 * 1024 - 16 * 1024;
/// Characters of a statement that are recorded.
const RECORDED_CHARS_MAX: usize = 2_000;

/// What a person asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// One reading statement.
    pub sql: String,
    /// `json` if absent; else `table`, `csv` or `parquet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// Why a request is not answered: a stable code and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl ToString) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

impl Refusal {
    /// The code in the answer's header: 4xx is the asker's to mend, 5xx is not.
    fn status(&self) -> &'static str {
        match self.code {
            "too_much" => "413",
            // Half of it might take as long.
            "too_slow" => "408",
            "busy" | "unavailable" | "not_recorded" => "503",
            _ => "400",
        }
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        let code = match &error {
            QueryError::NotReading(_) => "not_reading",
            QueryError::TooLong | QueryError::Sql(_) => "bad_statement",
            QueryError::Memory { .. } | QueryError::Rows { .. } => "too_much",
            QueryError::Time { .. } => "too_slow",
            QueryError::Open(_) | QueryError::File { .. } => "unavailable",
        };
        Self::new(code, error)
    }
}

/// Runs the query service until shutdown.
///
/// # Errors
/// When the subscription is refused or ends.
pub async fn run(context: ServiceContext, settings: Settings) -> Result<(), ServiceError> {
    let health = context.health.part("queries");
    let desk = Arc::new(Desk {
        context: context.clone(),
        settings,
        archive: Mutex::new(None),
        turns: Semaphore::new(AT_ONCE),
    });
    let mut requests = context
        .bus
        .client()
        // Several instances share the work.
        .queue_subscribe(SUBJECT, crate::NAME.to_owned())
        .await
        .map_err(|error| ServiceError::Unreachable(format!("cannot answer queries: {error}")))?;
    // Ready means that the subscription is on its way to the server: a question that comes
    // there before it has no responder, and the asker is told so.
    let flushed = context.bus.client().flush().await;
    flushed
        .map_err(|error| ServiceError::Unreachable(format!("cannot answer queries: {error}")))?;
    health.ready();
    let mut answering = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = context.shutdown.cancelled() => break,
            Some(done) = answering.join_next(), if !answering.is_empty() => {
                if let Err(error) = done {
                    tracing::error!(%error, "a query ended badly");
                }
            }
            request = requests.next() => match request {
                Some(request) if answering.len() >= WAITING_MAX => {
                    let busy = Refusal::new("busy", "too many queries are waiting; try again in a moment");
                    desk.reply(request, Err(busy)).await;
                }
                Some(request) => {
                    answering.spawn(Arc::clone(&desk).serve(request));
                }
                None => return Err(ServiceError::Unreachable("the subscription for queries ended".to_owned())),
            },
        }
    }
    while answering.join_next().await.is_some() {}
    Ok(())
}

/// What all requests share.
struct Desk {
    context: ServiceContext,
    settings: Settings,
    /// Opened by the first query: the archive may not exist yet when the service starts.
    archive: Mutex<Option<Archive>>,
    turns: Semaphore,
}

/// What is recorded of a look-up.
struct Asked {
    person: PersonId,
    statement: String,
}

impl Desk {
    async fn serve(self: Arc<Self>, request: Message) {
        let answer = self.answer(&request).await;
        self.reply(request, answer).await;
    }

    async fn answer(&self, request: &Message) -> Result<Vec<u8>, Refusal> {
        let person = person(&request.subject)
            .ok_or_else(|| Refusal::new("bad_request", "the subject names no person"))?;
        let (query, format) = read(&request.payload)?;
        let asked = Asked {
            person,
            statement: query.sql,
        };
        let turn = self.turns.acquire().await;
        let _turn = turn.map_err(|_| Refusal::new("unavailable", "the service is stopping"))?;
        let found = self.find(&asked.statement, format).await;
        self.record(asked, &found).await?;
        found.map(|(bytes, _)| bytes)
    }

    /// The answer as bytes, with its number of rows.
    async fn find(&self, statement: &str, format: Format) -> Result<(Vec<u8>, usize), Refusal> {
        let archive = self.archive().await?;
        let answer: Answer = archive.query(statement, self.settings.limits).await?;
        let bytes =
            output::write(&answer, format).map_err(|error| Refusal::new("bad_format", error))?;
        if bytes.len() > REPLY_BYTES_MAX {
            return Err(Refusal::new(
                "too_much",
                format!(
                    "the answer has {} bytes, more than the {REPLY_BYTES_MAX} that fit one \
                     message; select fewer columns or rows, or query the files with --archive",
                    bytes.len()
                ),
            ));
        }
        Ok((bytes, answer.rows()))
    }

    /// The archive as it is now; the query itself runs on a copy of its file list.
    async fn archive(&self) -> Result<Archive, Refusal> {
        let mut held = self.archive.lock().await;
        // One that has gone bad is opened, and refused, anew by the next query.
        let last = held.take();
        let (place, keys) = (self.settings.place.clone(), self.settings.pinned.clone());
        // Reading and checking entries would hold up a thread that others wait for.
        let read = tokio::task::spawn_blocking(move || refreshed(last, &place, keys)).await;
        let archive = read.map_err(|error| Refusal::new("unavailable", error))??;
        Ok(held.insert(archive).clone())
    }

    /// Stores the look-up, answered or refused, before anything leaves.
    async fn record(
        &self,
        asked: Asked,
        found: &Result<(Vec<u8>, usize), Refusal>,
    ) -> Result<(), Refusal> {
        let event = self.event(asked, found);
        access::record(&self.context, &event)
            .await
            .map_err(|error| {
                tracing::error!(%error, "a look-up is not answered");
                Refusal::new("not_recorded", NotRecorded::SENTENCE)
            })
    }

    fn event(&self, asked: Asked, found: &Result<(Vec<u8>, usize), Refusal>) -> AuditAccessed {
        // Half a value is found by nobody: what is cut is redacted before.
        let query = self.settings.scrub.text(&asked.statement).map_or_else(
            |_| "a statement that could not be redacted".to_owned(),
            |clean| clean.value.chars().take(RECORDED_CHARS_MAX).collect(),
        );
        AuditAccessed {
            schema_version: 1,
            person: asked.person,
            query,
            rows: found
                .as_ref()
                .map_or(0, |(_, rows)| u64::try_from(*rows).unwrap_or(u64::MAX)),
            result: found
                .as_ref()
                .map_or_else(|refusal| refusal.code.to_owned(), |_| "ok".to_owned()),
        }
    }

    async fn reply(&self, request: Message, answer: Result<Vec<u8>, Refusal>) {
        let Some(to) = request.reply else { return };
        let client = self.context.bus.client();
        let sent = match answer {
            Ok(bytes) => client.publish(to, Bytes::from(bytes)).await,
            Err(refusal) => {
                let mut head = HeaderMap::new();
                head.insert(headers::SERVICE_ERROR_CODE, refusal.status());
                head.insert(headers::SERVICE_ERROR, one_line(&refusal.message));
                let body = Bytes::from(refusal.message);
                client.publish_with_headers(to, head, body).await
            }
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "an answer could not be sent");
        }
    }
}

/// The archive with everything that is committed, opened if it is not yet.
fn refreshed(
    last: Option<Archive>,
    place: &Place,
    keys: ManifestPublicKeys,
) -> Result<Archive, QueryError> {
    let mut archive = match last {
        Some(archive) => archive,
        None => Archive::open(place, keys)?,
    };
    archive.refresh()?;
    Ok(archive)
}

/// Header values hold one line.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

fn person(subject: &str) -> Option<PersonId> {
    subject.strip_prefix("cs.audit.query.")?.parse().ok()
}

fn read(payload: &[u8]) -> Result<(QueryRequest, Format), Refusal> {
    let shape = "the request is JSON, {\"sql\": …, \"format\": \"json\"}";
    if payload.len() > crate::archive::SQL_BYTES_MAX.saturating_mul(2) {
        return Err(Refusal::from(QueryError::TooLong));
    }
    let request: QueryRequest =
        serde_json::from_slice(payload).map_err(|_| Refusal::new("bad_request", shape))?;
    let format = match &request.format {
        None => Format::Json,
        Some(word) => word
            .parse()
            .map_err(|error| Refusal::new("bad_request", error))?,
    };
    Ok((request, format))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn requests_are_strict() {
        let good = read(br#"{"sql":"SELECT 1"}"#).unwrap();
        assert_eq!((good.0.sql.as_str(), good.1), ("SELECT 1", Format::Json));
        let (_, csv) = read(br#"{"sql":"SELECT 1","format":"csv"}"#).unwrap();
        assert_eq!(csv, Format::Csv);
        for bad in [
            &b"SELECT 1"[..],
            b"{}",
            br#"{"sql":"SELECT 1","format":"xml"}"#,
            br#"{"sql":"SELECT 1","as":"admin"}"#,
        ] {
            assert_eq!(read(bad).unwrap_err().code, "bad_request");
        }
        let long = format!(r#"{{"sql":"{}"}}"#, "x".repeat(200_000));
        assert_eq!(read(long.as_bytes()).unwrap_err().code, "bad_statement");
    }

    #[test]
    fn the_person_is_the_last_word_of_the_subject() {
        assert_eq!(person("cs.audit.query.lee").unwrap().as_str(), "lee");
        for bad in [
            "cs.audit.query.",
            "cs.audit.query.lee.x",
            "cs.audit.query.*",
            "lee",
        ] {
            assert_eq!(person(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_what_less_might_mend_is_too_much() {
        let after = Duration::from_secs(7);
        for (error, code, status) in [
            (QueryError::Rows { max: 3 }, "too_much", "413"),
            (QueryError::Memory { bytes: 3 }, "too_much", "413"),
            (QueryError::Time { after }, "too_slow", "408"),
            (QueryError::TooLong, "bad_statement", "400"),
        ] {
            let refusal = Refusal::from(error);
            assert_eq!((refusal.code, refusal.status()), (code, status));
        }
    }

    #[test]
    fn header_values_are_one_line() {
        assert_eq!(one_line("a\r\nb:  c"), "a b: c");
    }
}
