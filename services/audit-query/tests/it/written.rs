//! A small archive, written without the archiver.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use countersign_audit_query::{Archive, table};
use countersign_domain::archive::{
    Entry, EntryKind, FileEntry, Headers, Leaves, ManifestKey, Position, Removed, Row, Scrub,
    ScrubError, Scrubbed, Span, Stored, leaf, row,
};
use countersign_domain::merkle::Tree;
use countersign_schemas::{Address, Digest, JsonObject, Stream, Timestamp};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

pub(crate) const INTENT: &str = "01920000-0000-7000-8000-000000000001";
pub(crate) const OTHER: &str = "01920000-0000-7000-8000-000000000002";
pub(crate) const BLOCKED: &str = "01920000-0000-7000-8000-000000000003";

pub(crate) struct Nothing;

impl Scrub for Nothing {
    fn text(&self, text: &str) -> Result<Scrubbed<String>, ScrubError> {
        Ok(Scrubbed {
            value: text.to_owned(),
            kinds: Vec::new(),
        })
    }

    fn json(&self, object: &JsonObject) -> Result<Scrubbed<JsonObject>, ScrubError> {
        Ok(Scrubbed {
            value: object.clone(),
            kinds: Vec::new(),
        })
    }
}

/// The row of an event, `second` seconds after ten o'clock.
pub(crate) fn event(subject: &str, second: u64, body: &Value) -> Row {
    let start: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    let payload = body.to_string();
    let stored = Stored {
        stream: Address::parse(subject).unwrap().stream(),
        incarnation: &"abc".parse().unwrap(),
        seq: 0,
        stored_at: start.plus(Duration::from_secs(second)),
        subject,
        headers: Headers::default(),
        payload: payload.as_bytes(),
    };
    row(&stored, &Nothing)
}

/// The schema of the files: texts as plain texts.
fn file_schema() -> SchemaRef {
    let fields: Vec<Field> = table::schema()
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Utf8View => field.as_ref().clone().with_data_type(DataType::Utf8),
            _ => field.as_ref().clone(),
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let mut decoder = arrow::json::ReaderBuilder::new(file_schema())
        .build_decoder()
        .unwrap();
    decoder.serialize(rows).unwrap();
    decoder.flush().unwrap().unwrap()
}

pub(crate) fn key() -> ManifestKey {
    ManifestKey::from_bytes(&[7; 32])
}

/// An archive with one entry for each group of rows, all of one stream.
pub(crate) struct Written {
    dir: tempfile::TempDir,
    prev: Option<Digest>,
    n: u64,
    tree: Tree,
    files: Vec<FileEntry>,
    rows: Vec<Row>,
}

impl Written {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("manifest")).unwrap();
        Self {
            dir,
            prev: None,
            n: 0,
            tree: Tree::default(),
            files: Vec::new(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn add(&mut self, mut rows: Vec<Row>) {
        let first = self.tree.size();
        for row in &mut rows {
            row.stream = Stream::Events.name().to_owned();
            row.leaf_index = i64::try_from(self.tree.size()).unwrap();
            row.seq = row.leaf_index + 1;
            self.tree.push(leaf(row));
        }
        let file = self.file(&rows, first);
        self.rows.extend(rows);
        self.files.push(file.clone());
        self.commit(EntryKind::Add, file, Vec::new());
    }

    /// Puts all files into one, and removes those whose place it takes.
    pub(crate) fn compact(&mut self) {
        let rows = self.rows.clone();
        let file = self.file(&rows, 0);
        let old = std::mem::replace(&mut self.files, vec![file.clone()]);
        let removed = |file: &FileEntry| Removed {
            path: file.path.clone(),
            sha256: file.sha256,
        };
        self.commit(EntryKind::Replace, file, old.iter().map(removed).collect());
        for file in old {
            fs::remove_file(self.dir().join(file.path)).unwrap();
        }
    }

    /// Writes a file of rows, of which the first has this number.
    fn file(&self, rows: &[Row], first: u64) -> FileEntry {
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, file_schema(), None).unwrap();
        writer.write(&batch(rows)).unwrap();
        writer.close().unwrap();
        let times = rows.iter().map(|row| row.time);
        let mut file = FileEntry {
            path: String::new(),
            sha256: Digest::of_bytes(&bytes),
            bytes: u64::try_from(bytes.len()).unwrap(),
            rows: self.tree.size() - first,
            spans: vec![Span {
                stream: Stream::Events.name().to_owned(),
                incarnation: "abc".parse().unwrap(),
                first_seq: first + 1,
                last_seq: self.tree.size(),
            }],
            leaves: vec![Leaves {
                first,
                last: self.tree.size() - 1,
            }],
            min_time: times.clone().min().unwrap(),
            max_time: times.max().unwrap(),
        };
        file.path = file.expected_path();
        let path = self.dir().join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        file
    }

    fn commit(&mut self, kind: EntryKind, file: FileEntry, removes: Vec<Removed>) {
        self.n += 1;
        let entry = Entry {
            n: self.n,
            prev: self.prev,
            kind,
            created: Timestamp::EPOCH,
            positions: vec![Position {
                stream: file.spans[0].stream.clone(),
                incarnation: file.spans[0].incarnation.clone(),
                seq: file.spans[0].last_seq,
                last_message_hmac: Digest::of_bytes(b"m"),
            }],
            files: vec![file],
            removes,
            tree: self.tree.clone(),
            signer: String::new(),
        };
        let bytes = key().sign(entry).unwrap().bytes().unwrap();
        fs::write(self.dir().join(Entry::path(self.n)), &bytes).unwrap();
        self.prev = Some(Digest::of_bytes(&bytes));
    }

    pub(crate) fn open(&self) -> Archive {
        Archive::open(self.dir(), key().public()).unwrap()
    }
}

pub(crate) fn checked(intent: &str, verdict: &str) -> Value {
    let digest = Digest::of_bytes(b"x");
    json!({"schema_version": 1, "intent_id": intent,
        "request": {"stream": "CS_INTENTS", "incarnation": "abc", "seq": 7}, "agent": "billing",
        "requester": {"id": "sam", "verified": false}, "tool": "mail.send", "operation": "send",
        "purpose": "Send the invoice", "verdict": verdict,
        "reasons": [{"code": "unknown_domain", "message": "The domain is unknown.", "policy_id": "mail-1"}],
        "needs": [], "guardrails": [], "input_redacted": {"to": "[email:k1:0123456789ab]"},
        "input_shown": {}, "summary": "Mail to one address.", "input_digest": digest,
        "salt": "s", "input_match": "m", "policy_digest": digest, "tool_digest": digest,
        "requested_at": "2026-11-22T10:00:00Z"})
}

pub(crate) fn requested(intent: &str) -> Value {
    json!({"intent_id": intent, "tool": "mail.send", "input": {}, "purpose": "Send the invoice",
        "requester": {"id": "sam"}})
}

/// What an agent sends to rewrite an intent that it has sent before: other words for
/// everything, each later in the alphabet.
fn rewritten(intent: &str) -> Value {
    json!({"intent_id": intent, "tool": "zoo.feed", "input": {}, "purpose": "Something harmless",
        "requester": {"id": "zoe"}, "session_id": "zzz",
        "bundle": {"id": "zzz", "size": 2, "index": 0}})
}

/// The refusal of message `seq` of `agent`, whose intent was known with other content.
fn conflict(agent: &str, seq: u64, second: u64) -> Row {
    let request = json!({"stream": "CS_INTENTS", "incarnation": "abc", "seq": seq});
    event(
        &format!("tool.refused.{agent}.abc.{seq}"),
        second,
        &json!({"schema_version": 1, "intent_id": INTENT, "agent": agent, "request": request,
            "code": "intent_conflict", "message": "This id is taken."}),
    )
}

/// An ask approved by a person and run, the same id used by another agent, and used again
/// by the same one when all was done.
fn asked_and_run() -> Vec<Row> {
    let on = |event: &str| format!("{event}.billing.{INTENT}");
    let digest = Digest::of_bytes(b"x");
    let request = json!({"stream": "CS_INTENTS", "incarnation": "abc", "seq": 7});
    let requester = json!({"id": "sam", "verified": false});
    vec![
        event("tool.requested.billing", 0, &requested(INTENT)),
        event(&on("policy.checked"), 1, &checked(INTENT, "ask")),
        event("tool.requested.crm", 2, &requested(INTENT)),
        conflict("crm", 9, 3),
        event(
            &format!("approval.resolved.a-{INTENT}"),
            4,
            &json!({"schema_version": 1,
            "approval_id": format!("a-{INTENT}"), "kind": "action", "agent": "billing",
            "intents": [INTENT], "state": "approved", "votes": [{"approver": "lee", "via": "self",
            "vote": "approve", "at": "2026-11-22T10:00:04Z"}], "message": "lee approved.",
            "resolved_at": "2026-11-22T10:00:04Z"}),
        ),
        event(
            &on("tool.approved"),
            5,
            &json!({"schema_version": 1, "intent_id": INTENT,
            "agent": "billing", "requester": requester, "tool": "mail.send", "operation": "send",
            "input_digest": digest, "request": request, "basis": {"kind": "person",
            "policy_ids": ["mail-1"], "approvers": ["lee"], "approval_id": format!("a-{INTENT}")},
            "approved_until": "2026-11-22T10:05:00Z", "permit": "p", "policy_digest": digest,
            "tool_digest": digest}),
        ),
        event(
            &on("tool.started"),
            6,
            &json!({"schema_version": 1, "intent_id": INTENT,
            "agent": "billing", "tool": "mail.send", "executor": "executor-1",
            "lease_until": "2026-11-22T10:05:00Z"}),
        ),
        event(
            &on("tool.completed"),
            7,
            &json!({"schema_version": 1, "intent_id": INTENT,
            "agent": "billing", "tool": "mail.send", "outcome": "succeeded",
            "output_summary": "Sent.", "changes": [{"resource": "mail/9", "field": "state",
            "before": "draft", "after": "sent"}], "duration_ms": 12}),
        ),
        event("tool.requested.billing", 8, &rewritten(INTENT)),
        conflict("billing", 10, 9),
    ]
}

/// One blocked, one only requested, twice; and a forged decision that cannot be read.
pub(crate) fn blocked_and_open() -> Vec<Row> {
    vec![
        event("tool.requested.billing", 10, &requested(OTHER)),
        event("tool.requested.billing", 11, &requested(BLOCKED)),
        event(
            &format!("policy.checked.billing.{BLOCKED}"),
            12,
            &checked(BLOCKED, "deny"),
        ),
        event(
            &format!("tool.blocked.billing.{BLOCKED}"),
            13,
            &json!({"schema_version": 1,
            "intent_id": BLOCKED, "request": {"stream": "CS_INTENTS", "incarnation": "abc",
            "seq": 8}, "agent": "billing", "requester": {"id": "sam", "verified": false},
            "tool": "mail.send", "code": "policy_denied", "tried": "Tried to mail.",
            "reasons": [], "needs": [], "next_action": "none"}),
        ),
        event(
            &format!("tool.approved.billing.{OTHER}"),
            14,
            &json!({"stream": "CS_INTENTS", "seq": 4}),
        ),
        event("tool.requested.billing", 15, &rewritten(OTHER)),
    ]
}

pub(crate) fn story_archive() -> Written {
    let mut written = Written::new();
    written.add(asked_and_run());
    written.add(blocked_and_open());
    written
}
