//! Rows as a trail of draft-sharif-agent-audit-trail: records that hold the hash of the
//! one before and a signature, between a record that opens the trail and one that ends it
//! and says how many there are.
//!
//! Traps of the draft's verifier that the forms here avoid: a level that is no integer and
//! any number that is no integer stop it, times must not go back, and it neither needs a
//! signature nor sees that the end was cut off. So every record is signed, and each is
//! bound to the number of all records by its `batch` ([`super::Inclusion`]).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_schemas::digest::canonical_json;
use countersign_schemas::{Digest, Timestamp};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::DecodePrivateKey as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::archive::{Level, Row};
use crate::merkle::{Node, leaf_hash};

/// Most records of a trail, the first and the last included: what the draft's verifier
/// reads, and what bounds the tree that is held until the end.
pub const RECORDS_MAX: u64 = 1_000_000;
/// Largest integer that every JSON reader keeps as it is.
const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Who speaks where no agent does.
const RECORDER: &str = "countersign";
/// The archive knows neither.
const AGENT_VERSION: &str = "unknown";
const TRUST_LEVEL: u8 = 0;

/// A key cannot sign trails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a private key on P-256 in PKCS#8 PEM; `openssl genpkey -algorithm EC -pkeyopt \
     ec_paramgen_curve:P-256` makes one"
)]
pub struct TrailKeyError;

/// The key that signs a trail: ECDSA on P-256, as the draft asks.
pub struct TrailKey {
    key: SigningKey,
    kid: String,
}

impl TrailKey {
    /// Reads a PKCS#8 PEM.
    ///
    /// # Errors
    /// When it holds anything else.
    pub fn from_pem(pem: &str) -> Result<Self, TrailKeyError> {
        let key = SigningKey::from_pkcs8_pem(pem).map_err(|_| TrailKeyError)?;
        let (x, y) = coordinates(&key).ok_or(TrailKeyError)?;
        // The thumbprint of RFC 7638.
        let jwk = json!({"crv": "P-256", "kty": "EC", "x": x, "y": y});
        let digest = Digest::of_json(&jwk).map_err(|_| TrailKeyError)?;
        let kid = URL_SAFE_NO_PAD.encode(digest.as_bytes());
        Ok(Self { key, kid })
    }

    /// The public half, as `aat-verify --keys` takes it.
    #[must_use]
    pub fn public(&self) -> Value {
        let (x, y) = coordinates(&self.key).unwrap_or_default();
        json!({ self.kid.as_str(): {"alg": "ES256", "jwk_x_y": {"x": x, "y": y}} })
    }
}

impl std::fmt::Debug for TrailKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TrailKey({})", self.kid)
    }
}

fn coordinates(key: &SigningKey) -> Option<(String, String)> {
    let point = key.verifying_key().to_encoded_point(false);
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Some((text(point.x()?), text(point.y()?)))
}

/// A record could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// There is no canonical form.
    #[error("a row has no canonical JSON: {0}")]
    Form(#[from] serde_json::Error),
    /// The trail is too long for its verifier.
    #[error(
        "an agent audit trail holds at most {RECORDS_MAX} records, the most that its verifier \
         reads; narrow it by time or agent"
    )]
    TooLong,
    /// The rows do not come in their order.
    #[error(
        "a row is older than the one before it; end the statement with ORDER BY time, leaf_index"
    )]
    NotInOrder,
}

/// A record as it is written, and the leaf that stands for it in the tree of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Canonical JSON on one line, without its end.
    pub line: Vec<u8>,
    /// The hash of RFC 6962 over that line.
    pub leaf: Node,
}

/// A trail while it is written.
#[derive(Debug)]
pub struct Trail {
    key: TrailKey,
    session: Uuid,
    records: u64,
    before: Option<(Uuid, String)>,
    last: Timestamp,
}

/// What a record says besides its place in the trail.
struct Content<'a> {
    id: Uuid,
    time: Timestamp,
    agent: &'a str,
    action: Action,
    detail: Value,
}

impl Trail {
    /// A trail that `key` signs. `about` names what it was made from, so that another
    /// trail has another id.
    #[must_use]
    pub fn new(key: TrailKey, about: &str) -> Self {
        Self {
            key,
            session: named(&["trail", about]),
            records: 0,
            before: None,
            last: Timestamp::EPOCH,
        }
    }

    /// Names the trail.
    #[must_use]
    pub fn session(&self) -> String {
        self.session.to_string()
    }

    /// The record that opens it, at the time of the first row.
    ///
    /// # Errors
    /// When it has no canonical form.
    pub fn open(&mut self, first: Timestamp) -> Result<Record, TrailError> {
        self.last = first;
        let detail = json!({"event": "session_start", "recording_mode": "independent"});
        let action = Action::new("lifecycle", "concurrent", "success");
        self.own("open", action, detail)
    }

    /// The record of a row. Rows come in the order of their times.
    ///
    /// # Errors
    /// When the trail is too long, or the row is older than the one before it.
    pub fn record(&mut self, row: &Row) -> Result<Record, TrailError> {
        if row.time < self.last {
            return Err(TrailError::NotInOrder);
        }
        if self.records >= RECORDS_MAX - 1 {
            return Err(TrailError::TooLong);
        }
        self.last = row.time;
        let seq = row.seq.to_string();
        self.write(Content {
            id: named(&["row", &row.stream, &row.incarnation, &seq]),
            time: row.time,
            agent: row.agent_id.as_deref().unwrap_or(RECORDER),
            action: action(row),
            detail: detail(row)?,
        })
    }

    /// The record that ends it and says how many rows it holds.
    ///
    /// # Errors
    /// When it has no canonical form.
    pub fn end(&mut self) -> Result<Record, TrailError> {
        let rows = self.records.saturating_sub(1);
        let detail = json!({"event": "session_end", "rows": rows});
        let action = Action::new("lifecycle", "post_execution", "success");
        self.own("end", action, detail)
    }

    fn own(&mut self, word: &str, action: Action, detail: Value) -> Result<Record, TrailError> {
        self.write(Content {
            id: named(&[word, &self.session()]),
            time: self.last,
            agent: RECORDER,
            action,
            detail,
        })
    }

    fn write(&mut self, content: Content<'_>) -> Result<Record, TrailError> {
        let (parent, prev) = self.before.take().unzip();
        let action = content.action;
        let mut record = json!({
            "record_id": content.id,
            "timestamp": content.time.datetime().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
            "agent_id": content.agent,
            "agent_version": AGENT_VERSION,
            "session_id": self.session,
            "action_type": action.kind,
            "action_detail": content.detail,
            "outcome": action.outcome,
            "trust_level": TRUST_LEVEL,
            "parent_record_id": parent,
            "prev_hash": prev,
            "record_phase": action.phase,
            "sig_alg": "ES256",
            "signer_kid": self.key.kid,
        });
        let signature: Signature = self.key.key.sign(&canonical_json(&record)?);
        // Of the two that hold, the draft's own recorder writes the one with the lower half.
        let signature = signature.normalize_s().unwrap_or(signature);
        if let Some(record) = record.as_object_mut() {
            let signature = URL_SAFE_NO_PAD.encode(signature.to_bytes());
            record.insert("signature".to_owned(), json!(signature));
        }
        let line = canonical_json(&record)?;
        self.before = Some((content.id, Digest::of_bytes(&line).hex()));
        self.records = self.records.saturating_add(1);
        let leaf = leaf_hash(&line);
        Ok(Record { line, leaf })
    }
}

/// An id that the same parts always have.
fn named(parts: &[&str]) -> Uuid {
    let digest = Digest::of_bytes(parts.join("\0").as_bytes());
    let (id, _) = digest.as_bytes().split_at(16);
    uuid::Builder::from_custom_bytes(id.try_into().unwrap_or_default()).into_uuid()
}

/// In the words of the draft: what kind of action, before or after it was done, and how it
/// ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Action {
    kind: &'static str,
    phase: &'static str,
    outcome: &'static str,
}

impl Action {
    fn new(kind: &'static str, phase: &'static str, outcome: &'static str) -> Self {
        Self {
            kind,
            phase,
            outcome,
        }
    }
}

/// A message of which only the metadata could be kept did nothing and decided nothing.
fn action(row: &Row) -> Action {
    if row.level == Level::Metadata {
        return Action::new("error", "concurrent", "failure");
    }
    let before = |kind, outcome| Action::new(kind, "pre_execution", outcome);
    match row.event.as_str() {
        "tool.requested" => before("tool_call", "success"),
        "policy.checked" => before("decision", verdict(row)),
        "approval.requested" | "handoff" => before("escalation", "escalated"),
        "approval.vote" | "approval.voted" | "approval.resolved" => {
            before("decision", decision(row))
        }
        "tool.approved" => before("decision", "success"),
        "tool.blocked" | "tool.refused" | "tool.revoked" => before("decision", "denied"),
        "tool.started" => Action::new("tool_call", "concurrent", "success"),
        "tool.completed" | "outcome.late" | "outcome.reconciled" | "outcome.found" => {
            Action::new("tool_response", "post_execution", outcome(row))
        }
        "archive.gap" | "deadletter" => Action::new("error", "post_execution", "failure"),
        _ => Action::new("lifecycle", "concurrent", "success"),
    }
}

fn verdict(row: &Row) -> &'static str {
    match row.verdict.as_deref() {
        Some("allow") => "success",
        Some("ask") => "escalated",
        _ => "denied",
    }
}

fn decision(row: &Row) -> &'static str {
    match row.decision.as_deref() {
        Some("approve" | "approved" | "partial") => "success",
        Some("expired") => "timeout",
        Some("failed" | "cancelled") => "failure",
        _ => "denied",
    }
}

/// Nobody knows how it ended: the draft has no such word, and it was handed to people.
fn outcome(row: &Row) -> &'static str {
    match row.outcome.as_deref() {
        Some("succeeded") => "success",
        Some("failed") => "failure",
        _ => "escalated",
    }
}

/// Every column of the row that is there, by its name, and the intent and the digest of its
/// input under the draft's own names. Numbers are integers; one that JSON readers round is a text.
fn detail(row: &Row) -> Result<Value, serde_json::Error> {
    let mut detail = serde_json::to_value(row)?;
    if let Some(columns) = detail.as_object_mut() {
        columns.retain(|_, value| {
            !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty())
        });
        for value in columns.values_mut() {
            let large = value
                .as_i64()
                .is_some_and(|number| number.unsigned_abs() > INTEGER_MAX);
            if large {
                *value = json!(value.to_string());
            }
        }
        let aliases = [
            ("parent_call_id", &row.intent_id),
            ("parameters_hash", &row.input_digest),
        ];
        for (name, value) in aliases {
            if let Some(value) = value {
                columns.insert(name.to_owned(), json!(value));
            }
        }
    }
    Ok(detail)
}

#[cfg(test)]
mod tests;
