//! One archived event: the row that the archiver writes and SQL reads.

use countersign_schemas::Timestamp;
use serde::{Deserialize, Serialize};

/// The schema version of the row itself; a reader refuses a newer one.
pub const ROW_VERSION: i64 = 1;

/// How much of the event the row holds, in the words of the Kubernetes audit policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Who, when and where; nothing that a sender wrote.
    #[default]
    Metadata,
    /// What was asked or decided, redacted.
    Request,
    /// What came back as well, redacted.
    RequestResponse,
}

impl Level {
    /// The word in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Request => "request",
            Self::RequestResponse => "request_response",
        }
    }
}

/// How often one kind of value was redacted at one place of the row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redaction {
    /// The kind, such as `email`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Column, and JSON Pointer inside it where it is JSON.
    pub path: String,
    /// How many values.
    pub count: i64,
}

/// One archived event. The meaning of each field is in [`super::COLUMNS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "every field is a column and documented once, in the column table"
)]
pub struct Row {
    pub stream: String,
    pub incarnation: String,
    pub seq: i64,
    pub leaf_index: i64,
    pub time: Timestamp,
    pub claimed_time: Option<Timestamp>,
    pub event: String,
    pub intent_id: Option<String>,
    pub session_id: Option<String>,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    pub agent_id: Option<String>,
    pub requester_id: Option<String>,
    pub requester_verified: Option<bool>,
    pub actor_kind: Option<String>,
    pub actor_id: Option<String>,
    pub via: Option<String>,
    pub approval_id: Option<String>,
    pub approval_kind: Option<String>,
    pub window_id: Option<String>,
    pub bundle_id: Option<String>,
    pub tool_name: Option<String>,
    pub operation: Option<String>,
    pub resource: Option<String>,
    pub purpose: Option<String>,
    pub verdict: Option<String>,
    pub decision: Option<String>,
    pub reason_codes: Vec<String>,
    pub policy_ids: Vec<String>,
    pub policy_digest: Option<String>,
    pub tool_digest: Option<String>,
    pub input_redacted: Option<String>,
    pub input_digest: Option<String>,
    pub output_summary: Option<String>,
    pub output_redacted: Option<String>,
    pub outcome: Option<String>,
    pub error_code: Option<String>,
    pub changes: Option<String>,
    pub duration_ms: Option<i64>,
    pub redactions: Vec<Redaction>,
    pub fingerprints: Vec<String>,
    pub surrogates: Vec<String>,
    pub truncated: bool,
    pub original_bytes: i64,
    pub level: Level,
    pub schema_version: i64,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            stream: String::new(),
            incarnation: String::new(),
            seq: 0,
            leaf_index: 0,
            time: Timestamp::EPOCH,
            claimed_time: None,
            event: String::new(),
            intent_id: None,
            session_id: None,
            trace_id: None,
            span_id: None,
            agent_id: None,
            requester_id: None,
            requester_verified: None,
            actor_kind: None,
            actor_id: None,
            via: None,
            approval_id: None,
            approval_kind: None,
            window_id: None,
            bundle_id: None,
            tool_name: None,
            operation: None,
            resource: None,
            purpose: None,
            verdict: None,
            decision: None,
            reason_codes: Vec::new(),
            policy_ids: Vec::new(),
            policy_digest: None,
            tool_digest: None,
            input_redacted: None,
            input_digest: None,
            output_summary: None,
            output_redacted: None,
            outcome: None,
            error_code: None,
            changes: None,
            duration_ms: None,
            redactions: Vec::new(),
            fingerprints: Vec::new(),
            surrogates: Vec::new(),
            truncated: false,
            original_bytes: 0,
            level: Level::Metadata,
            schema_version: ROW_VERSION,
        }
    }
}

impl Row {
    /// About how many bytes the row holds in memory, for bounded buffers.
    #[must_use]
    pub fn weight(&self) -> usize {
        // The fixed part of a row with its small identifiers is below 1 KiB.
        const FIXED_BYTES: usize = 1024;
        let texts = [
            &self.purpose,
            &self.input_redacted,
            &self.output_summary,
            &self.output_redacted,
            &self.changes,
        ];
        let long: usize = texts.into_iter().flatten().map(String::len).sum();
        let lists: usize = [
            &self.reason_codes,
            &self.policy_ids,
            &self.fingerprints,
            &self.surrogates,
        ]
        .into_iter()
        .flatten()
        .map(|text| text.len() + size_of::<String>())
        .sum();
        FIXED_BYTES + long + lists + self.redactions.len() * size_of::<Redaction>()
    }
}
