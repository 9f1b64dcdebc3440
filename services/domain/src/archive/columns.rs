//! The one table of columns: the archiver writes by it, SQL describes by it, the
//! documentation is generated from it.

use countersign_schemas::Timestamp;

use super::row::{Redaction, Row};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// True or false.
    Bool,
    /// Signed 64-bit integer.
    Int,
    /// Microseconds, UTC.
    Instant,
    /// List of texts.
    Texts,
    /// List of `{type, path, count}`.
    Redactions,
}

impl Kind {
    /// The type as SQL writes it.
    #[must_use]
    pub fn sql(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Bool => "BOOLEAN",
            Self::Int => "BIGINT",
            Self::Instant => "TIMESTAMP(6) WITH TIME ZONE",
            Self::Texts => "TEXT[]",
            Self::Redactions => "STRUCT(type TEXT, path TEXT, count BIGINT)[]",
        }
    }
}

/// The value of one column in one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// A text, or NULL.
    Text(Option<&'a str>),
    /// A truth value, or NULL.
    Bool(Option<bool>),
    /// A number, or NULL.
    Int(Option<i64>),
    /// An instant, or NULL.
    Instant(Option<Timestamp>),
    /// A list; empty is not NULL.
    Texts(&'a [String]),
    /// A list; empty is not NULL.
    Redactions(&'a [Redaction]),
}

impl Cell<'_> {
    /// The type of this value.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Bool(_) => Kind::Bool,
            Self::Int(_) => Kind::Int,
            Self::Instant(_) => Kind::Instant,
            Self::Texts(_) => Kind::Texts,
            Self::Redactions(_) => Kind::Redactions,
        }
    }
}

/// Rows of a row group: small enough that a look-up reads little, large enough that the
/// footer stays small. Measured: looking up one agent is three times as fast as with 500 k.
pub const GROUP_ROWS: usize = 128 * 1024;
/// Bytes of a row group before compression: bounds what a writer holds.
pub const GROUP_BYTES: usize = 64 * 1024 * 1024;
/// False positives of a bloom filter.
pub const BLOOM_FPP: f64 = 0.01;
/// Level of zstd: higher ones take longer and save next to nothing.
pub const ZSTD_LEVEL: i32 = 1;

/// How a column is laid out in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Few distinct values: dictionary coded.
    Words,
    /// Nearly every value differs (digests, JSON, sequences): no dictionary.
    Distinct,
    /// As [`Layout::Distinct`], and looked up by value: a bloom filter.
    Key,
}

/// One column of the table `events`.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether it is never NULL.
    pub required: bool,
    /// How it is laid out.
    pub layout: Layout,
    /// What it means.
    pub doc: &'static str,
    /// Its value in a row.
    pub get: fn(&Row) -> Cell<'_>,
}

macro_rules! cell {
    (Text, $row:ident, $field:ident) => {
        Cell::Text(Some(&$row.$field))
    };
    (OptText, $row:ident, $field:ident) => {
        Cell::Text($row.$field.as_deref())
    };
    (Bool, $row:ident, $field:ident) => {
        Cell::Bool(Some($row.$field))
    };
    (OptBool, $row:ident, $field:ident) => {
        Cell::Bool($row.$field)
    };
    (Int, $row:ident, $field:ident) => {
        Cell::Int(Some($row.$field))
    };
    (OptInt, $row:ident, $field:ident) => {
        Cell::Int($row.$field)
    };
    (Instant, $row:ident, $field:ident) => {
        Cell::Instant(Some($row.$field))
    };
    (OptInstant, $row:ident, $field:ident) => {
        Cell::Instant($row.$field)
    };
    (Texts, $row:ident, $field:ident) => {
        Cell::Texts(&$row.$field)
    };
    (Redactions, $row:ident, $field:ident) => {
        Cell::Redactions(&$row.$field)
    };
    (Level, $row:ident, $field:ident) => {
        Cell::Text(Some($row.$field.as_str()))
    };
}

macro_rules! shape {
    (Text) => {
        (Kind::Text, true)
    };
    (OptText) => {
        (Kind::Text, false)
    };
    (Bool) => {
        (Kind::Bool, true)
    };
    (OptBool) => {
        (Kind::Bool, false)
    };
    (Int) => {
        (Kind::Int, true)
    };
    (OptInt) => {
        (Kind::Int, false)
    };
    (Instant) => {
        (Kind::Instant, true)
    };
    (OptInstant) => {
        (Kind::Instant, false)
    };
    (Texts) => {
        (Kind::Texts, true)
    };
    (Redactions) => {
        (Kind::Redactions, true)
    };
    (Level) => {
        (Kind::Text, true)
    };
}

macro_rules! columns {
    ($($field:ident: $shape:ident, $layout:ident, $doc:literal;)*) => {
        /// Every column, in the order of the files.
        pub const COLUMNS: &[Column] = &[$(Column {
            name: stringify!($field),
            kind: shape!($shape).0,
            required: shape!($shape).1,
            layout: Layout::$layout,
            doc: $doc,
            get: |row| cell!($shape, row, $field),
        }),*];
    };
}

columns! {
    stream: Text, Words, "Stream that stored the message: CS_INTENTS (agents), CS_CONTROL (people), CS_ORDERS (the kill switch) or CS_EVENTS (services).";
    incarnation: Text, Words, "Which life of the stream; sequences of a recreated stream never look like those of the old one.";
    seq: Int, Distinct, "Sequence in that life of the stream. (stream, incarnation, seq) is unique.";
    leaf_index: Int, Distinct, "Number of the row in the whole archive, from 0, without gaps.";
    time: Instant, Distinct, "When the server stored the message. Every decision counts by this time.";
    claimed_time: OptInstant, Distinct, "When the sender says it sent the message; never used to decide.";
    event: Text, Words, "Name of the event, such as tool.requested, policy.checked, tool.approved, tool.completed.";
    intent_id: OptText, Key, "The intent (one request for one tool call) that the event is about.";
    session_id: OptText, Distinct, "The agent's own session, as the agent names it.";
    trace_id: OptText, Distinct, "W3C trace id.";
    span_id: OptText, Distinct, "W3C span id of the sender.";
    agent_id: OptText, Words, "The agent that wants to act or acts, or that a control message is about.";
    requester_id: OptText, Words, "The person on whose behalf the agent says it acts.";
    requester_verified: OptBool, Words, "Whether a signed mandate proved the requester; false is a claim only.";
    actor_kind: OptText, Words, "Who made this event or decision: agent, person, policy, window or service.";
    actor_id: OptText, Words, "Name of that actor; several approvers are joined by a comma.";
    via: OptText, Words, "Through what a person spoke: self, or the name of a bridge.";
    approval_id: OptText, Key, "The approval that the event is about.";
    approval_kind: OptText, Words, "action, bundle or window.";
    window_id: OptText, Words, "The time window that the event is about or rests on.";
    bundle_id: OptText, Words, "The agent's name for intents that are decided together.";
    tool_name: OptText, Words, "The tool.";
    operation: OptText, Words, "read, create, update, delete, send or execute.";
    resource: OptText, Distinct, "The first resource that is changed, such as customer/C-1042.";
    purpose: OptText, Distinct, "Why, in the redacted words of the sender: purpose of an intent, reason of a vote or order.";
    verdict: OptText, Words, "The checker's finding: allow, deny or ask.";
    decision: OptText, Words, "On tool.approved and tool.blocked the one decision: approved or blocked. On approval.vote and approval.voted the vote, on approval.resolved the final state.";
    reason_codes: Texts, Words, "Stable codes of the reasons.";
    policy_ids: Texts, Words, "Policies that determined it.";
    policy_digest: OptText, Words, "The policy bundle that judged.";
    tool_digest: OptText, Words, "The tool definition that judged.";
    input_redacted: OptText, Distinct, "JSON of the input with every sensitive value redacted; only on policy.checked.";
    input_digest: OptText, Distinct, "Salted digest of the exact input.";
    output_summary: OptText, Distinct, "What the event says in redacted sentences: the summary, what was tried and why it stopped, the outcome.";
    output_redacted: OptText, Distinct, "JSON of the exposed output fields, redacted; of a window its limits, then its last count.";
    outcome: OptText, Words, "succeeded, failed or unknown.";
    error_code: OptText, Words, "Stable code of the failure.";
    changes: OptText, Distinct, "JSON list of {resource, field, before, after}, redacted.";
    duration_ms: OptInt, Distinct, "From the claim to the end, in milliseconds.";
    redactions: Redactions, Words, "What was redacted where in this row, and how often.";
    fingerprints: Texts, Distinct, "Keyed fingerprints <type>:<key id>:<digits> of the redacted values; equal values have equal ones.";
    surrogates: Texts, Distinct, "Vault tokens that stand in this row.";
    truncated: Bool, Words, "Whether the message held more than the row does.";
    original_bytes: Int, Distinct, "Size of the message body in bytes.";
    level: Level, Words, "metadata, request or request_response: how much of the event the row holds.";
    schema_version: Int, Words, "Version of this table.";
}

/// The columns as a Markdown table, for the documentation.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("| column | type | meaning |\n|---|---|---|\n");
    for column in COLUMNS {
        let null = if column.required { " NOT NULL" } else { "" };
        text.push_str(&format!(
            "| `{}` | {}{null} | {} |\n",
            column.name,
            column.kind.sql(),
            column.doc
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_those_of_the_contract_in_its_order() {
        let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(
            names.join(", "),
            "stream, incarnation, seq, leaf_index, time, claimed_time, event, intent_id, session_id, \
             trace_id, span_id, agent_id, requester_id, requester_verified, actor_kind, actor_id, via, \
             approval_id, approval_kind, window_id, bundle_id, tool_name, operation, resource, purpose, \
             verdict, decision, reason_codes, policy_ids, policy_digest, tool_digest, input_redacted, \
             input_digest, output_summary, output_redacted, outcome, error_code, changes, duration_ms, \
             redactions, fingerprints, surrogates, truncated, original_bytes, level, schema_version"
        );
    }

    #[test]
    fn every_accessor_yields_the_declared_type() {
        let row = Row::default();
        for column in COLUMNS {
            assert_eq!((column.get)(&row).kind(), column.kind, "{}", column.name);
        }
    }

    #[test]
    fn nothing_that_must_stay_secret_has_a_column() {
        for secret in [
            "permit",
            "salt",
            "input_shown",
            "input_match",
            "input",
            "mandate",
        ] {
            assert!(COLUMNS.iter().all(|column| column.name != secret));
        }
    }

    #[test]
    fn the_documentation_holds_this_very_table() {
        let text = markdown();
        assert_eq!(text.lines().count(), COLUMNS.len() + 2);
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/archive.md");
        let documented = std::fs::read_to_string(file).unwrap();
        assert!(
            documented.ends_with(&text),
            "docs/archive.md must end with:\n{text}"
        );
    }
}
