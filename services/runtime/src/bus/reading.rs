//! Reads from the leader of a stream. A replica may lag behind an ack, so nothing that
//! decides anything ever uses direct get.

use async_nats::HeaderMap;
use base64::Engine as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use countersign_domain::chain::Last;
use countersign_schemas::{Address, Stream, Timestamp, headers};
use serde::Deserialize;
use serde_json::json;

use super::connection::Bus;
use super::failure::BusError;

/// JetStream: no message found.
const ERR_NO_MESSAGE: u64 = 10_037;

/// What is left at the beginning of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oldest {
    /// All that was ever stored.
    NothingPurged,
    /// Messages from this time on.
    StoredAt(Timestamp),
    /// Nothing: all of it was purged.
    Empty,
}

/// A message as the leader of its stream holds it.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Where it lies.
    pub subject: String,
    /// Its sequence.
    pub seq: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Bytes,
}

impl StoredMessage {
    /// Its address, if it is one of ours.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        Address::parse(&self.subject)
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(async_nats::HeaderValue::as_str)
    }

    /// What a reader of chains and freezes goes by.
    #[must_use]
    pub fn as_last(&self) -> Last<'_> {
        Last {
            subject: &self.subject,
            seq: self.seq,
            ce_type: self.header(headers::CE_TYPE),
            body: &self.payload,
        }
    }
}

#[derive(Deserialize)]
struct Reply {
    message: Option<Raw>,
    error: Option<ReplyError>,
}

#[derive(Deserialize)]
struct ReplyError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct Raw {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: DateTime<Utc>,
}

impl Bus {
    /// The last message over `filter`, which may hold wildcards.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn last_by_subject(
        &self,
        stream: Stream,
        filter: &str,
    ) -> Result<Option<StoredMessage>, BusError> {
        self.get(stream.name(), json!({ "last_by_subj": filter }))
            .await
    }

    /// What is left at the beginning of `stream`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn oldest(&self, stream: Stream) -> Result<Oldest, BusError> {
        let found = self.jetstream().get_stream(stream.name()).await;
        let found = found.map_err(|error| {
            BusError::request(format!("cannot read the state of stream {stream}"), error)
        })?;
        let state = &found.cached_info().state;
        Ok(if state.first_sequence <= stream.first_seq() {
            Oldest::NothingPurged
        } else if state.messages == 0 {
            Oldest::Empty
        } else {
            Oldest::StoredAt(Timestamp::new(state.first_timestamp))
        })
    }

    /// The message at `seq`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn by_seq(
        &self,
        stream: Stream,
        seq: u64,
    ) -> Result<Option<StoredMessage>, BusError> {
        self.get(stream.name(), json!({ "seq": seq })).await
    }

    pub(crate) async fn get(
        &self,
        stream: &str,
        query: serde_json::Value,
    ) -> Result<Option<StoredMessage>, BusError> {
        let what = || format!("cannot read a message of {stream}");
        let reply = self
            .client()
            .request(
                format!("$JS.API.STREAM.MSG.GET.{stream}"),
                Bytes::from(query.to_string()),
            )
            .await
            .map_err(|error| BusError::request(what(), error))?;
        let reply: Reply = serde_json::from_slice(&reply.payload)
            .map_err(|error| BusError::request(what(), error))?;
        match (reply.message, reply.error) {
            (Some(raw), _) => stored(raw)
                .map(Some)
                .map_err(|error| BusError::request(what(), error)),
            (None, Some(error)) if error.err_code == ERR_NO_MESSAGE => Ok(None),
            (None, Some(error)) => Err(BusError::request(what(), error.description)),
            (None, None) => Err(BusError::request(what(), "the answer holds no message")),
        }
    }
}

fn stored(raw: Raw) -> Result<StoredMessage, base64::DecodeError> {
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text);
    Ok(StoredMessage {
        headers: parse_headers(&decode(&raw.hdrs)?),
        payload: Bytes::from(decode(&raw.data)?),
        subject: raw.subject,
        seq: raw.seq,
        stored_at: Timestamp::new(raw.time),
    })
}

/// Reads a stored header block: a version line, then `Name: value` lines.
fn parse_headers(block: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let text = String::from_utf8_lossy(block);
    for line in text.split("\r\n").skip(1) {
        if let Some((name, value)) = line.split_once(':')
            && let Ok(value) = value.trim().parse::<async_nats::HeaderValue>()
        {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_blocks_are_read() {
        let headers = parse_headers(b"NATS/1.0\r\nce-type: a.b\r\nX:  1 \r\nbroken\r\n\r\n");
        assert_eq!(headers.get("ce-type").unwrap().as_str(), "a.b");
        assert_eq!(headers.get("X").unwrap().as_str(), "1");
        assert!(headers.get("broken").is_none());
        assert!(parse_headers(b"").is_empty());
    }
}
