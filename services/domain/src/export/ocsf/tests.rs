//! Every column has its place, and what the schema requires is there.

use super::*;
use crate::archive::{COLUMNS, Level, Redaction};

/// A row with a value in every column.
fn full() -> Row {
    let text = |word: &str| Some(word.to_owned());
    Row {
        stream: "CS_EVENTS".to_owned(),
        incarnation: "abc".to_owned(),
        seq: 7,
        leaf_index: 41,
        time: "2026-11-22T10:00:00.123456Z".parse().unwrap(),
        claimed_time: Some("2026-11-22T09:59:59Z".parse().unwrap()),
        event: "tool.completed".to_owned(),
        intent_id: text("01920000-0000-7000-8000-000000000001"),
        session_id: text("session-1"),
        trace_id: text("4bf92f3577b34da6a3ce929d0e0e4736"),
        span_id: text("00f067aa0ba902b7"),
        agent_id: text("billing"),
        requester_id: text("sam"),
        requester_verified: Some(true),
        actor_kind: text("service"),
        actor_id: text("executor-1"),
        via: text("inbox"),
        approval_id: text("a-1"),
        approval_kind: text("action"),
        window_id: text("w-1"),
        bundle_id: text("b-1"),
        tool_name: text("crm.update_contact"),
        operation: text("update"),
        resource: text("customer/C-1042"),
        purpose: text("Mend the address"),
        verdict: text("ask"),
        decision: text("approved"),
        reason_codes: vec!["timeout".to_owned(), "retried".to_owned()],
        policy_ids: vec!["crm-1".to_owned()],
        policy_digest: text("sha256:00"),
        tool_digest: text("sha256:01"),
        input_redacted: text("{\"to\":\"[email:k1:0123456789ab]\",\"total\":1.5}"),
        input_digest: text("sha256:02"),
        output_summary: text("Changed \"one\"\nfield."),
        output_redacted: text("{\"ok\":true}"),
        outcome: text("failed"),
        error_code: text("worker_error"),
        changes: text("[{\"field\":\"street\",\"resource\":\"customer/C-1042\"}]"),
        duration_ms: Some(12),
        redactions: vec![Redaction {
            kind: "email".to_owned(),
            path: "input_redacted/to".to_owned(),
            count: 1,
        }],
        fingerprints: vec!["email:k1:0123456789ab".to_owned()],
        surrogates: vec!["tok_email_x".to_owned()],
        truncated: true,
        original_bytes: 300_000,
        level: Level::RequestResponse,
        schema_version: 1,
    }
}

fn exported(rows: &[Row]) -> Vec<Value> {
    let mut events = OcsfEvents::default();
    rows.iter()
        .map(|row| serde_json::from_slice(&events.event(row).unwrap()).unwrap())
        .collect()
}

fn bare(event: &str) -> Row {
    Row {
        stream: "CS_EVENTS".to_owned(),
        incarnation: "abc".to_owned(),
        event: event.to_owned(),
        level: Level::Request,
        ..Row::default()
    }
}

#[test]
fn every_column_has_its_place() {
    let event = exported(&[full()]).remove(0);
    for (place, value) in [
        ("/class_uid", json!(6003)),
        ("/category_uid", json!(6)),
        ("/type_uid", json!(600_303)),
        ("/activity_name", json!("Update")),
        ("/time", json!(1_795_341_600_123_u64)),
        (
            "/metadata/original_time",
            json!("2026-11-22T10:00:00.123456Z"),
        ),
        ("/metadata/uid", json!("CS_EVENTS/abc/7")),
        ("/metadata/sequence", json!(7)),
        ("/metadata/log_name", json!("CS_EVENTS")),
        ("/metadata/event_code", json!("tool.completed")),
        (
            "/metadata/correlation_uid",
            json!("01920000-0000-7000-8000-000000000001"),
        ),
        ("/metadata/is_truncated", json!(true)),
        ("/metadata/untruncated_size", json!(300_000)),
        ("/metadata/log_version", json!("1")),
        ("/ai_agent/uid", json!("billing")),
        ("/ai_agent/instance_uid", json!("session-1")),
        ("/trace/uid", json!("4bf92f3577b34da6a3ce929d0e0e4736")),
        ("/actor/user/uid", json!("sam")),
        ("/actor/app_uid", json!("executor-1")),
        ("/actor/authorizations/0/policy/uid", json!("crm-1")),
        ("/actor/authorizations/0/decision", json!("approved")),
        ("/actor/authorizations/1/policy/uid", json!("a-1")),
        ("/actor/authorizations/1/policy/type", json!("action")),
        ("/api/operation", json!("crm.update_contact")),
        (
            "/api/request/uid",
            json!("01920000-0000-7000-8000-000000000001"),
        ),
        ("/api/request/data/to", json!("[email:k1:0123456789ab]")),
        ("/api/request/data/total", json!(1.5)),
        ("/api/response/data/ok", json!(true)),
        ("/api/response/error", json!("worker_error")),
        ("/message", json!("Changed \"one\"\nfield.")),
        ("/status_id", json!(2)),
        ("/status_code", json!("worker_error")),
        ("/status_detail", json!("timeout, retried")),
        ("/severity_id", json!(3)),
        ("/duration", json!(12)),
        ("/resources/0/uid", json!("customer/C-1042")),
        ("/src_endpoint/svc_name", json!("inbox")),
        ("/observables/0/value", json!("email:k1:0123456789ab")),
        ("/observables/1/value", json!("tok_email_x")),
        ("/unmapped/changes/0/field", json!("street")),
        ("/unmapped/outcome", json!("failed")),
        ("/unmapped/leaf_index", json!(41)),
        ("/unmapped/redactions/0/type", json!("email")),
    ] {
        assert_eq!(event.pointer(place), Some(&value), "{place}");
    }
    let row = serde_json::to_value(full()).unwrap();
    for column in COLUMNS {
        let name = column.name;
        assert!(!row[name].is_null(), "{name} is tried");
        let kept = MAPPED.contains(&name) || event["unmapped"].get(name).is_some();
        assert!(kept, "{name} is lost");
    }
}

#[test]
fn the_documentation_names_every_column_with_a_place() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/export.md");
    let told = std::fs::read_to_string(file).unwrap();
    for name in MAPPED {
        assert!(told.contains(&format!("`{name}`")), "{name}");
    }
}

/// Every attribute that the published definition of the class, its objects and its
/// profiles requires (ocsf-schema 1.9.0: base_event, application, api_activity, metadata,
/// product, actor, api, request, network_endpoint, ai_agent, attestation, fingerprint,
/// prev_event), for rows with everything and with next to nothing.
#[test]
fn required_attributes_are_there() {
    let rows = [full(), bare("archive.committed"), bare("control.freeze")];
    let events = exported(&rows);
    for (at, event) in events.iter().enumerate() {
        for place in [
            "/activity_id",
            "/category_uid",
            "/class_uid",
            "/type_uid",
            "/severity_id",
            "/time",
            "/metadata/version",
            "/metadata/product/name",
            "/actor/app_name",
            "/api/operation",
            "/src_endpoint/name",
            "/attestation/fingerprint/algorithm_id",
            "/attestation/fingerprint/value",
        ] {
            assert!(event.pointer(place).is_some(), "{place} of {at}");
        }
        for (object, place) in [
            ("/ai_agent", "/ai_agent/uid"),
            ("/trace", "/trace/uid"),
            ("/api/request", "/api/request/uid"),
            ("/attestation/prev_event", "/attestation/prev_event/uid"),
            ("/observables/0", "/observables/0/type_id"),
        ] {
            let holds = event.pointer(object).is_none() || event.pointer(place).is_some();
            assert!(holds, "{place} of {at}");
        }
        assert!(!event.to_string().contains(":null"), "{event}");
    }
    assert_eq!(events[1]["api"]["operation"], "archive.committed");
    assert!(events[1].get("ai_agent").is_none());
}

#[test]
fn activities_ends_and_severities_follow_the_row() {
    // event, operation, outcome: type, activity, severity, status
    let table = "
        policy.checked create -         600301 Create         1 -
        policy.checked read   -         600302 Read           1 -
        policy.checked delete -         600304 Delete         1 -
        policy.checked send   -         600399 send           1 -
        control.freeze -      -         600399 control.freeze 1 -
        tool.blocked   -      -         600399 tool.blocked   2 2
        tool.approved  -      -         600399 tool.approved  1 1
        tool.completed -      succeeded 600399 tool.completed 1 1
        tool.completed -      unknown   600399 tool.completed 4 0
        archive.gap    -      -         600399 archive.gap    4 -";
    let there = |word: &str| (word != "-").then(|| word.to_owned());
    for line in table.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let row = Row {
            operation: there(words[1]),
            outcome: there(words[2]),
            ..bare(words[0])
        };
        let event = exported(&[row]).remove(0);
        assert_eq!(event["type_uid"].to_string(), words[3], "{line}");
        assert_eq!(event["activity_name"], words[4], "{line}");
        assert_eq!(event["severity_id"].to_string(), words[5], "{line}");
        let status = event.get("status_id").map(Value::to_string);
        assert_eq!(status, there(words[6]), "{line}");
    }
}

#[test]
fn a_decision_that_nobody_could_read_is_none() {
    let row = Row {
        level: Level::Metadata,
        ..bare("tool.approved")
    };
    assert_eq!(exported(&[row]).remove(0).get("status_id"), None);
}

#[test]
fn a_person_who_acts_is_the_user_and_never_lost() {
    let mut row = bare("approval.vote");
    row.actor_kind = Some("person".to_owned());
    row.actor_id = Some("lee".to_owned());
    row.approval_id = Some("a-1".to_owned());
    let event = exported(&[row.clone()]).remove(0);
    assert_eq!(event["actor"]["user"]["uid"], "lee");
    assert_eq!(event["actor"]["authorizations"][0]["policy"]["name"], "lee");
    row.requester_id = Some("sam".to_owned());
    let event = exported(&[row]).remove(0);
    assert_eq!(event["actor"]["user"]["uid"], "sam");
    assert_eq!(event["unmapped"]["actor_id"], "lee");
}

#[test]
fn each_event_holds_the_fingerprint_of_the_one_before() {
    let mut rows = vec![full(), bare("control.freeze"), bare("control.done")];
    rows[2].seq = 9;
    let events = exported(&rows);
    for (at, event) in events.iter().enumerate() {
        let attestation = &event["attestation"];
        assert_eq!(attestation["chain_uid"], "CS_EVENTS/abc/7");
        let before = at.checked_sub(1).map(|before| &events[before]);
        let expected = before.map(|before| &before["attestation"]["fingerprint"]);
        assert_eq!(attestation.pointer("/prev_event/fingerprint"), expected);
        // As the schema says: over the event without the fingerprint itself.
        let mut covered = event.clone();
        covered["attestation"]
            .as_object_mut()
            .unwrap()
            .remove("fingerprint");
        let digest = Digest::of_bytes(&canonical_json(&covered).unwrap());
        assert_eq!(attestation["fingerprint"]["value"], digest.hex());
    }
    assert_eq!(
        events[2]["attestation"]["prev_event"]["uid"],
        "CS_EVENTS/abc/0"
    );
}

#[test]
fn what_is_no_json_stays_a_text() {
    let row = Row {
        input_redacted: Some("not {json".to_owned()),
        ..bare("policy.checked")
    };
    let event = exported(&[row]).remove(0);
    assert_eq!(event["api"]["request"]["data"], "not {json");
    assert_eq!(event["api"]["request"]["uid"], "CS_EVENTS/abc/0");
}
