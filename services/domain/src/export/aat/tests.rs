//! Trails: the chain, the signatures and the words of the draft.

use super::*;
use p256::ecdsa::VerifyingKey;
use p256::ecdsa::signature::Verifier as _;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};

fn key() -> TrailKey {
    let secret = p256::SecretKey::from_slice(&[7; 32]).unwrap();
    let pem = secret.to_pkcs8_pem(LineEnding::LF).unwrap();
    TrailKey::from_pem(&pem).unwrap()
}

fn row(seq: i64, event: &str) -> Row {
    Row {
        stream: "CS_EVENTS".to_owned(),
        incarnation: "abc".to_owned(),
        seq,
        event: event.to_owned(),
        level: Level::Request,
        time: Timestamp::from_micros(1_795_341_600_000_000 + seq).unwrap(),
        ..Row::default()
    }
}

fn written(rows: &[Row]) -> Vec<Record> {
    let mut trail = Trail::new(key(), "test");
    let first = rows.first().map_or(Timestamp::EPOCH, |row| row.time);
    let mut records = vec![trail.open(first).unwrap()];
    records.extend(rows.iter().map(|row| trail.record(row).unwrap()));
    records.push(trail.end().unwrap());
    records
}

fn read(record: &Record) -> Value {
    serde_json::from_slice(&record.line).unwrap()
}

#[test]
fn every_record_is_chained_and_signed() {
    let rows = [row(1, "tool.requested"), row(2, "tool.approved")];
    let records = written(&rows);
    let public = key().public();
    let (kid, half) = public.as_object().unwrap().iter().next().unwrap();
    let coordinate = |name: &str| {
        let text = half["jwk_x_y"][name].as_str().unwrap();
        URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let verifying = VerifyingKey::from_sec1_bytes(&point).unwrap();
    let secret = p256::SecretKey::from_slice(&[7; 32]).unwrap();
    assert_eq!(
        point,
        secret.public_key().to_encoded_point(false).as_bytes()
    );
    for (at, record) in records.iter().enumerate() {
        let mut said = read(record);
        assert_eq!(canonical_json(&said).unwrap(), record.line);
        let before = at.checked_sub(1).map(|before| &records[before]);
        let hash = before.map(|before| Digest::of_bytes(&before.line).hex());
        assert_eq!(said["prev_hash"], json!(hash));
        let parent = before.map(|before| read(before)["record_id"].clone());
        assert_eq!(said["parent_record_id"], json!(parent));
        assert_eq!(said["signer_kid"], kid.as_str());
        let signature = said.as_object_mut().unwrap().remove("signature").unwrap();
        let raw = URL_SAFE_NO_PAD.decode(signature.as_str().unwrap()).unwrap();
        let signature = Signature::from_slice(&raw).unwrap();
        assert!(signature.normalize_s().is_none(), "the lower half");
        let signed = canonical_json(&said).unwrap();
        verifying.verify(&signed, &signature).unwrap();
    }
    assert_eq!(records, written(&rows), "the same rows have the same bytes");
    let end = read(records.last().unwrap());
    assert_eq!(end["action_detail"]["rows"], 2);
    assert_eq!(end["session_id"], read(&records[0])["session_id"]);
}

#[test]
fn the_draft_has_a_word_for_every_event() {
    let kinds = [
        "tool_call",
        "tool_response",
        "decision",
        "escalation",
        "error",
        "lifecycle",
    ];
    let phases = ["pre_execution", "post_execution", "concurrent"];
    let outcomes = ["success", "failure", "timeout", "denied", "escalated"];
    for (event, _) in countersign_schemas::events::ALL {
        let action = action(&row(1, event));
        assert!(kinds.contains(&action.kind), "{event}");
        assert!(phases.contains(&action.phase), "{event}");
        assert!(outcomes.contains(&action.outcome), "{event}");
    }
    let mut forged = row(1, "tool.approved");
    forged.level = Level::Metadata;
    assert_eq!(
        action(&forged),
        Action::new("error", "concurrent", "failure")
    );
    let with = |event: &str, word: &str| {
        let word = Some(word.to_owned());
        Row {
            verdict: word.clone(),
            decision: word.clone(),
            outcome: word,
            ..row(1, event)
        }
    };
    for (event, word, kind, outcome) in [
        ("policy.checked", "allow", "decision", "success"),
        ("policy.checked", "ask", "decision", "escalated"),
        ("policy.checked", "deny", "decision", "denied"),
        ("approval.requested", "", "escalation", "escalated"),
        ("approval.vote", "approve", "decision", "success"),
        ("approval.vote", "deny", "decision", "denied"),
        ("approval.resolved", "approved", "decision", "success"),
        ("approval.resolved", "expired", "decision", "timeout"),
        ("approval.resolved", "cancelled", "decision", "failure"),
        ("tool.blocked", "blocked", "decision", "denied"),
        ("tool.completed", "succeeded", "tool_response", "success"),
        ("tool.completed", "failed", "tool_response", "failure"),
        ("tool.completed", "unknown", "tool_response", "escalated"),
        ("archive.gap", "", "error", "failure"),
        ("control.freeze", "", "lifecycle", "success"),
    ] {
        let action = action(&with(event, word));
        assert_eq!(
            (action.kind, action.outcome),
            (kind, outcome),
            "{event} {word}"
        );
    }
}

#[test]
fn what_is_absent_is_left_out_and_no_number_is_rounded() {
    let full = Row {
        intent_id: Some("i".to_owned()),
        input_digest: Some("sha256:00".to_owned()),
        input_redacted: Some("{\"total\":1.5}".to_owned()),
        duration_ms: Some(i64::MAX),
        agent_id: Some("billing".to_owned()),
        ..row(1, "tool.completed")
    };
    let records = written(&[row(1, "control.freeze"), full]);
    let bare = read(&records[1]);
    assert_eq!(bare["agent_id"], "countersign");
    assert_eq!(bare["action_detail"].get("intent_id"), None);
    assert_eq!(bare["action_detail"].get("reason_codes"), None);
    let said = read(&records[2]);
    assert_eq!(said["agent_id"], "billing");
    assert_eq!(said["trust_level"], 0);
    let detail = &said["action_detail"];
    assert_eq!(detail["parent_call_id"], "i");
    assert_eq!(detail["parameters_hash"], "sha256:00");
    assert_eq!(detail["input_redacted"], "{\"total\":1.5}");
    assert_eq!(detail["duration_ms"], i64::MAX.to_string());
}

#[test]
fn times_never_go_back() {
    let mut trail = Trail::new(key(), "test");
    let (first, second) = (row(1, "tool.requested"), row(2, "tool.requested"));
    trail.open(first.time).unwrap();
    trail.record(&second).unwrap();
    let error = trail.record(&first).unwrap_err();
    assert!(matches!(error, TrailError::NotInOrder));
}

#[test]
fn other_rows_and_other_trails_have_other_ids() {
    let ids: std::collections::HashSet<String> = [row(1, "a"), row(2, "a")]
        .iter()
        .flat_map(|row| written(std::slice::from_ref(row)))
        .map(|record| read(&record)["record_id"].to_string())
        .collect();
    assert_eq!(
        ids.len(),
        4,
        "two rows, and one opening and one end of the same trail"
    );
    let other = Trail::new(key(), "other").session();
    assert_ne!(other, Trail::new(key(), "test").session());
}

#[test]
fn other_keys_are_refused_and_none_is_printed() {
    assert!(TrailKey::from_pem("no key").is_err());
    let key = key();
    assert_eq!(format!("{key:?}"), format!("TrailKey({})", key.kid));
}
