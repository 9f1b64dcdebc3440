//! From a stored message to its row. Every message has a row: what cannot be read, is too
//! large or contradicts its subject keeps its metadata.

use countersign_schemas::limits::BODY_BYTES_MAX;
use countersign_schemas::{Address, Digest, Incarnation, Stream, Timestamp, Token, events};

use super::describe::describe;
use super::draft::Draft;
use super::named::Named;
use super::row::{Level, Row};
use super::scrub::{Scrub, finish};
use crate::keys::HmacKey;

/// The event name of a row that stands for missing sequences.
pub const GAP_EVENT: &str = "archive.gap";

/// The headers that a row is made from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    /// `ce-type`.
    pub ce_type: Option<&'a str>,
    /// `ce-source`.
    pub ce_source: Option<&'a str>,
    /// `ce-time`.
    pub ce_time: Option<&'a str>,
    /// `traceparent`.
    pub traceparent: Option<&'a str>,
}

/// A message as the stream holds it.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// The stream.
    pub stream: Stream,
    /// Which life of it.
    pub incarnation: &'a Incarnation,
    /// The sequence there.
    pub seq: u64,
    /// When the server stored it.
    pub stored_at: Timestamp,
    /// Its subject.
    pub subject: &'a str,
    /// Its headers.
    pub headers: Headers<'a>,
    /// Its body.
    pub payload: &'a [u8],
}

impl Stored<'_> {
    /// What the manifest remembers of the last message of a stream: a restored stream
    /// with other messages at the same sequences does not have it. Keyed, because the body is
    /// raw: whoever reads the archive knows all the rest of it, and could otherwise try
    /// values until one fits.
    #[must_use]
    pub fn digest(&self, key: &HmacKey) -> Digest {
        let head = format!("{}\0{}\0", self.subject, self.stored_at.micros());
        Digest::of_bytes(&key.mac(&[head.as_bytes(), self.payload].concat()))
    }
}

/// The row of `stored`, with everything in it redacted by `scrub`.
///
/// Its `leaf_index` is 0 until the archive gives it a place.
#[must_use]
pub fn row(stored: &Stored<'_>, scrub: &dyn Scrub) -> Row {
    let address = Address::parse(stored.subject).filter(|at| at.stream() == stored.stream);
    let envelope = envelope(stored, address.as_ref());
    let told = match address {
        _ if stored.payload.len() > BODY_BYTES_MAX => Err("too_large"),
        Some(address) => tell(stored, &address, envelope.clone()),
        None => Err("unreadable"),
    };
    told.and_then(|draft| finish(draft, scrub).map_err(|_| "not_redactable"))
        .unwrap_or_else(|code| metadata(envelope, code))
}

/// The row of a message of which only the metadata can be kept, with the code that says why.
#[must_use]
pub fn bare_row(stored: &Stored<'_>, code: &str) -> Row {
    let address = Address::parse(stored.subject).filter(|at| at.stream() == stored.stream);
    metadata(envelope(stored, address.as_ref()), code)
}

/// The row that stands for the missing sequences `first..=last`, found when the message
/// after them arrived.
#[must_use]
pub fn gap(stream: Stream, incarnation: &Incarnation, first: u64, last: u64, at: Timestamp) -> Row {
    Row {
        stream: stream.name().to_owned(),
        incarnation: incarnation.to_string(),
        seq: signed(first),
        time: at,
        event: GAP_EVENT.to_owned(),
        actor_kind: Some("service".to_owned()),
        actor_id: Some("audit-archiver".to_owned()),
        output_summary: Some(format!("The stream holds no messages {first} to {last}.")),
        reason_codes: vec!["gap".to_owned()],
        truncated: true,
        ..Row::default()
    }
}

fn metadata(envelope: Row, code: &str) -> Row {
    Row {
        reason_codes: vec![code.to_owned()],
        truncated: true,
        level: Level::Metadata,
        ..envelope
    }
}

/// Who, when and where, from what the server itself has written or checked.
fn envelope(stored: &Stored<'_>, address: Option<&Address>) -> Row {
    let named = address.map(Named::by_subject).unwrap_or_default();
    let (trace_id, span_id) = stored.headers.traceparent.and_then(trace).unzip();
    let mut row = Row {
        stream: stored.stream.name().to_owned(),
        incarnation: stored.incarnation.to_string(),
        seq: signed(stored.seq),
        time: stored.stored_at,
        claimed_time: stored.headers.ce_time.and_then(|time| time.parse().ok()),
        event: address
            .map_or_else(|| guess_event(stored.subject), Address::event)
            .to_owned(),
        trace_id,
        span_id,
        original_bytes: i64::try_from(stored.payload.len()).unwrap_or(i64::MAX),
        ..Row::default()
    };
    name(&mut row, &named);
    if let Some(address) = address {
        actor(&mut row, address, stored.headers.ce_source);
    }
    row
}

/// The event that a malformed subject belongs to by its first words.
fn guess_event(subject: &str) -> &'static str {
    events::ALL
        .iter()
        .map(|(name, _)| *name)
        .find(|name| {
            subject
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.'))
        })
        .unwrap_or("unknown")
}

fn name(row: &mut Row, named: &Named) {
    row.agent_id = named.agent.as_ref().map(ToString::to_string);
    row.intent_id = named.intent.as_ref().map(ToString::to_string);
    row.approval_id = named.approval.as_ref().map(ToString::to_string);
    row.window_id = named.window.as_ref().map(ToString::to_string);
}

/// Who sent it, by the subject that the server binds to the sender's connection.
fn actor(row: &mut Row, address: &Address, source: Option<&str>) {
    let (kind, id) = match address {
        Address::ToolRequested { agent } | Address::ToolWithdrawn { agent } => {
            ("agent", Some(agent.to_string()))
        }
        Address::Vote { approver: person }
        | Address::VoteVia {
            approver: person, ..
        }
        | Address::WindowRequested { approver: person }
        | Address::WindowClosing { approver: person }
        | Address::Freeze { operator: person }
        | Address::Unfreeze { operator: person }
        | Address::OutcomeFound { operator: person } => ("person", Some(person.to_string())),
        _ => ("service", source.and_then(service)),
    };
    row.actor_kind = Some(kind.to_owned());
    row.actor_id = id;
    row.via = match address {
        Address::Vote { .. } => Some("self".to_owned()),
        Address::VoteVia { via, .. } => Some(via.to_string()),
        _ => None,
    };
}

/// The last part of `/countersign/<service>`.
fn service(source: &str) -> Option<String> {
    let name = source.strip_prefix("/countersign/")?;
    name.parse::<Token>().ok().map(String::from)
}

/// Trace and span id of a W3C `traceparent`.
fn trace(text: &str) -> Option<(String, String)> {
    let mut parts = text.split('-');
    let (_version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, len: usize| {
        part.len() == len
            && part
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    (hex(trace, 32) && hex(span, 16)).then(|| (trace.to_owned(), span.to_owned()))
}

/// What the event says, or why it cannot be told.
fn tell(stored: &Stored<'_>, address: &Address, envelope: Row) -> Result<Draft, &'static str> {
    if !type_agrees(stored.headers.ce_type, address) {
        return Err("identity_mismatch");
    }
    let mut draft = Draft {
        row: envelope,
        ..Draft::default()
    };
    let body = describe(address, stored.payload, &mut draft).ok_or("unreadable")?;
    let named = Named::by_subject(address)
        .agree(body)
        .ok_or("identity_mismatch")?;
    name(&mut draft.row, &named);
    Ok(draft)
}

/// A `ce-type` that is present must be that of the subject.
fn type_agrees(ce_type: Option<&str>, address: &Address) -> bool {
    ce_type.is_none_or(|text| {
        text.strip_prefix("dev.countersign.")
            .and_then(|rest| rest.rsplit_once(".v"))
            .is_some_and(|(event, _)| event == address.event())
    })
}

fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
