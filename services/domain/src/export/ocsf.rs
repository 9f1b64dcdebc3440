//! A row as an event of the Open Cybersecurity Schema Framework: API Activity (6003) with
//! the profiles `ai_operation` and `record_integrity`, and `trace` where there is one.
//!
//! What the class has no place for stands under its column's name in `unmapped`, so that
//! nothing of a row is lost. docs/export.md has the table.

use countersign_schemas::Digest;
use countersign_schemas::digest::canonical_json;
use serde_json::{Map, Value, json};

use crate::archive::{Level, Row, leaf_bytes};

/// The version of the schema.
pub const OCSF_VERSION: &str = "1.9.0";
const CLASS: u64 = 6003;
const CATEGORY: u64 = 6;
/// Who wrote the record.
const PRODUCT: &str = "Countersign";
/// The columns that have a place of their own in the class; all others are `unmapped`.
const MAPPED: [&str; 23] = [
    "stream",
    "seq",
    "time",
    "event",
    "intent_id",
    "session_id",
    "trace_id",
    "agent_id",
    "requester_id",
    "actor_id",
    "approval_id",
    "approval_kind",
    "tool_name",
    "operation",
    "resource",
    "input_redacted",
    "output_summary",
    "output_redacted",
    "error_code",
    "duration_ms",
    "truncated",
    "schema_version",
    "policy_ids",
];

/// The events of one export: each holds the fingerprint of the one before.
#[derive(Debug, Clone, Default)]
pub struct OcsfEvents {
    /// Names the chain: the id of its first event.
    chain: Option<String>,
    before: Option<Value>,
}

impl OcsfEvents {
    /// The next event, one line of canonical JSON (RFC 8785) without its end.
    ///
    /// # Errors
    /// When the row has no canonical form.
    pub fn event(&mut self, row: &Row) -> Result<Vec<u8>, serde_json::Error> {
        let mut event = event(row);
        let uid = uid(row);
        let chain = self.chain.get_or_insert_with(|| uid.clone());
        let mut attestation = json!({ "chain_uid": chain });
        put(&mut attestation, "prev_event", self.before.take());
        put(&mut event, "attestation", Some(attestation));
        let fingerprint = json!({
            "algorithm": "SHA-256",
            "algorithm_id": 3,
            "value": Digest::of_bytes(&canonical_json(&event)?).hex(),
        });
        self.before = Some(json!({
            "uid": uid,
            "type_uid": event.get("type_uid"),
            "fingerprint": fingerprint,
        }));
        if let Some(attestation) = event.get_mut("attestation") {
            put(attestation, "fingerprint", Some(fingerprint));
        }
        canonical_json(&event)
    }
}

fn uid(row: &Row) -> String {
    format!("{}/{}/{}", row.stream, row.incarnation, row.seq)
}

/// Sets a field that has a value.
fn put(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(name.to_owned(), value);
    }
}

fn event(row: &Row) -> Value {
    let (activity, activity_name) = activity(row);
    let (severity, severity_name) = severity(row);
    let mut event = json!({
        "category_uid": CATEGORY,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": CLASS * 100 + activity,
        "severity_id": severity,
        "severity": severity_name,
        "time": row.time.millis(),
        "message": row.output_summary.as_deref().unwrap_or(&row.event),
        "metadata": metadata(row),
        "actor": actor(row),
        "api": api(row),
        "src_endpoint": source(row),
        "unmapped": unmapped(row),
    });
    if let Some((id, caption)) = status(row) {
        put(&mut event, "status_id", Some(json!(id)));
        put(&mut event, "status", Some(json!(caption)));
    }
    let code = row.error_code.as_ref().or(row.reason_codes.first());
    put(&mut event, "status_code", code.map(|code| json!(code)));
    let detail = (!row.reason_codes.is_empty()).then(|| json!(row.reason_codes.join(", ")));
    put(&mut event, "status_detail", detail);
    put(&mut event, "duration", row.duration_ms.map(|ms| json!(ms)));
    put(&mut event, "ai_agent", agent(row));
    let trace = row.trace_id.as_ref().map(|id| json!({ "uid": id }));
    put(&mut event, "trace", trace);
    let resource = row.resource.as_ref();
    put(
        &mut event,
        "resources",
        resource.map(|uid| json!([{ "uid": uid }])),
    );
    put(&mut event, "observables", observables(row));
    event
}

/// What a tool does, where the class has a word for it; the event's name where no tool is
/// called.
fn activity(row: &Row) -> (u64, String) {
    match row.operation.as_deref() {
        Some("create") => (1, "Create".to_owned()),
        Some("read") => (2, "Read".to_owned()),
        Some("update") => (3, "Update".to_owned()),
        Some("delete") => (4, "Delete".to_owned()),
        Some(other) => (99, other.to_owned()),
        None => (99, row.event.clone()),
    }
}

fn severity(row: &Row) -> (u64, &'static str) {
    match (row.event.as_str(), row.outcome.as_deref()) {
        ("archive.gap" | "deadletter", _) | (_, Some("unknown")) => (4, "High"),
        (_, Some("failed")) => (3, "Medium"),
        ("tool.blocked" | "tool.refused" | "tool.revoked", _) => (2, "Low"),
        _ => (1, "Informational"),
    }
}

/// How it ended, where the event is an end. A message of which only the metadata could be
/// kept says nothing that counts.
fn status(row: &Row) -> Option<(u64, &'static str)> {
    if row.level == Level::Metadata {
        return None;
    }
    match (row.outcome.as_deref(), row.event.as_str()) {
        (Some("succeeded"), _) => Some((1, "Success")),
        (Some("failed"), _) => Some((2, "Failure")),
        (Some(_), _) => Some((0, "Unknown")),
        (None, "tool.blocked" | "tool.refused" | "tool.revoked") => Some((2, "Failure")),
        (None, "tool.approved") => Some((1, "Success")),
        (None, _) => None,
    }
}

fn metadata(row: &Row) -> Value {
    let mut profiles = vec!["ai_operation", "record_integrity"];
    if row.trace_id.is_some() {
        profiles.push("trace");
    }
    let mut metadata = json!({
        "version": OCSF_VERSION,
        "product": {"name": PRODUCT, "vendor_name": PRODUCT},
        "profiles": profiles,
        "uid": uid(row),
        "log_name": row.stream,
        "log_version": row.schema_version.to_string(),
        "event_code": row.event,
        "sequence": row.seq,
        "original_time": row.time.to_string(),
    });
    let intent = row.intent_id.as_ref().map(|id| json!(id));
    put(&mut metadata, "correlation_uid", intent);
    if row.truncated {
        put(&mut metadata, "is_truncated", Some(json!(true)));
        let size = json!(row.original_bytes);
        put(&mut metadata, "untruncated_size", Some(size));
    }
    metadata
}

/// On whose behalf: the requester, else the person who acts. What acts is the application.
fn actor(row: &Row) -> Value {
    let is_person = row.actor_kind.as_deref() == Some("person");
    let person = row.actor_id.as_ref().filter(|_| is_person);
    let mut actor = json!({ "app_name": PRODUCT });
    let user = row.requester_id.as_ref().or(person);
    put(&mut actor, "user", user.map(|uid| json!({ "uid": uid })));
    let app = row.actor_id.as_ref().filter(|_| !is_person);
    put(&mut actor, "app_uid", app.map(|uid| json!(uid)));
    let authorizations = authorizations(row, person);
    put(
        &mut actor,
        "authorizations",
        (!authorizations.is_empty()).then(|| json!(authorizations)),
    );
    actor
}

/// By which policies, and under which approval by whom.
fn authorizations(row: &Row, person: Option<&String>) -> Vec<Value> {
    let decision = row.decision.as_ref().or(row.verdict.as_ref());
    let by = |policy: Value| {
        let mut entry = json!({ "policy": policy });
        put(&mut entry, "decision", decision.map(|word| json!(word)));
        entry
    };
    let approval = row.approval_id.as_ref().map(|uid| {
        let mut policy = json!({ "uid": uid });
        put(&mut policy, "name", person.map(|name| json!(name)));
        let kind = row.approval_kind.as_ref();
        put(&mut policy, "type", kind.map(|kind| json!(kind)));
        by(policy)
    });
    let policies = row.policy_ids.iter().map(|uid| by(json!({ "uid": uid })));
    policies.chain(approval).collect()
}

fn agent(row: &Row) -> Option<Value> {
    let mut agent = json!({ "uid": row.agent_id.as_ref()? });
    let session = row.session_id.as_ref();
    put(&mut agent, "instance_uid", session.map(|id| json!(id)));
    Some(agent)
}

fn api(row: &Row) -> Value {
    let mut api = json!({ "operation": row.tool_name.as_deref().unwrap_or(&row.event) });
    if row.intent_id.is_some() || row.input_redacted.is_some() {
        let mut request = json!({ "uid": row.intent_id.clone().unwrap_or_else(|| uid(row)) });
        put(
            &mut request,
            "data",
            row.input_redacted.as_deref().map(embedded),
        );
        put(&mut api, "request", Some(request));
    }
    let mut response = json!({});
    let error = row.error_code.as_ref();
    put(&mut response, "error", error.map(|code| json!(code)));
    let data = row.output_redacted.as_deref().map(embedded);
    put(&mut response, "data", data);
    let is_empty = response.as_object().is_none_or(Map::is_empty);
    put(&mut api, "response", (!is_empty).then_some(response));
    api
}

/// JSON as JSON, anything else as the text that it is.
fn embedded(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// Where it came from: the agent or person by whose connection it was sent.
fn source(row: &Row) -> Value {
    let name = row.actor_id.as_ref().or(row.agent_id.as_ref());
    let mut source = json!({ "name": name.map_or(PRODUCT, String::as_str) });
    let via = row.via.as_ref();
    put(&mut source, "svc_name", via.map(|via| json!(via)));
    source
}

/// What equal values have in common: their fingerprints and surrogates.
fn observables(row: &Row) -> Option<Value> {
    let of = |name: &str, kind: &str, values: &[String]| -> Vec<Value> {
        let one =
            |value: &String| json!({"name": name, "type_id": 99, "type": kind, "value": value});
        values.iter().map(one).collect()
    };
    let mut all = of(
        "unmapped.fingerprints",
        "Keyed fingerprint",
        &row.fingerprints,
    );
    all.extend(of("unmapped.surrogates", "Surrogate", &row.surrogates));
    (!all.is_empty()).then(|| json!(all))
}

/// The columns without a place of their own, those that are absent left out; and the digest
/// by which the row stands in the archive's log.
fn unmapped(row: &Row) -> Value {
    let Ok(Value::Object(mut columns)) = serde_json::to_value(row) else {
        return json!({});
    };
    columns.retain(|name, value| {
        let absent = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        !absent && !MAPPED.contains(&name.as_str())
    });
    if let Some(changes) = row.changes.as_deref() {
        columns.insert("changes".to_owned(), embedded(changes));
    }
    let leaf = leaf_bytes(|_, column| (column.get)(row));
    let digest = Digest::of_bytes(&leaf).hex();
    columns.insert("leaf_sha256".to_owned(), json!(digest));
    if row.requester_id.is_some() {
        // The user is the requester then: who acted would be nowhere else.
        columns.insert("actor_id".to_owned(), json!(row.actor_id));
    }
    columns.retain(|_, value| !value.is_null());
    Value::Object(columns)
}

#[cfg(test)]
mod tests;
