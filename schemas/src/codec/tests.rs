//! Both encodings of real events, and what happens to bytes that are not quite one.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::events::{
    ApprovalRequested, ApprovalVote, ArchiveCommitted, ControlDone, PolicyChecked, ToolRequested,
    ToolWithdrawn,
};
use crate::json::JsonFault;

const INTENT: &str = "01936b6a-7c00-7123-8abc-0123456789ab";

fn body(input: &Value) -> Vec<u8> {
    let body = json!({
        "schema_version": 1, "intent_id": INTENT, "tool": "crm.update_contact",
        "input": input, "requester": {"id": "lee@example.com"}, "purpose": "Fix é",
        "expires_at": "2026-11-22T10:00:00.000001Z",
    });
    serde_json::to_vec(&body).unwrap()
}

fn request(input: &Value) -> ToolRequested {
    decode(&body(input)).unwrap()
}

fn refusal(bytes: &[u8]) -> DecodeError {
    decode::<ToolRequested>(bytes).unwrap_err()
}

fn fault(error: &DecodeError) -> DatumFault {
    match error {
        DecodeError::Datum { fault, .. } => fault.fault(),
        other => panic!("{other}"),
    }
}

#[test]
fn an_intent_survives_both_encodings() {
    let event = request(&json!({"id": "C-1", "n": 1.5, "deep": [{"a": null}]}));
    for encoding in [Encoding::Json, Encoding::Avro] {
        let bytes = encode(&event, encoding).unwrap();
        assert_eq!(
            decode::<ToolRequested>(&bytes).unwrap(),
            event,
            "{encoding}"
        );
    }
}

/// The lists that JSON leaves out where they are empty.
#[test]
fn an_empty_list_survives_both_encodings() {
    let mut checked: PolicyChecked =
        decode(include_bytes!("../../golden/policy.checked/v1.json")).unwrap();
    let ask = checked.ask.as_mut().unwrap();
    (ask.remind_after_s, ask.escalation, ask.business_hours) = Default::default();
    let mut asked: ApprovalRequested =
        decode(include_bytes!("../../golden/approval.requested/v1.json")).unwrap();
    (asked.escalation, asked.reminders, asked.business_hours) = Default::default();
    for encoding in [Encoding::Json, Encoding::Avro] {
        let bytes = encode(&checked, encoding).unwrap();
        assert_eq!(decode::<PolicyChecked>(&bytes).unwrap(), checked);
        let bytes = encode(&asked, encoding).unwrap();
        assert_eq!(decode::<ApprovalRequested>(&bytes).unwrap(), asked);
    }
}

#[test]
fn the_first_byte_tells_the_encoding() {
    assert_eq!(refusal(b""), DecodeError::Empty);
    assert_eq!(refusal(b" {}"), DecodeError::Encoding { first: b' ' });
    assert_eq!(refusal(b"\xc3\x02"), DecodeError::Encoding { first: 0xc3 });
}

#[test]
fn unknown_fields_are_ignored_but_still_strict() {
    let with = |extra: &str| {
        let mut text = String::from_utf8(body(&json!({}))).unwrap();
        text.insert_str(1, extra);
        text
    };
    let event: ToolRequested = decode(with(r#""colour":"red","#).as_bytes()).unwrap();
    assert_eq!(event, request(&json!({})));
    let error = refusal(with(r#""colour":1e999,"#).as_bytes());
    assert!(matches!(
        error,
        DecodeError::Json(JsonError {
            fault: JsonFault::Number,
            ..
        })
    ));
}

#[test]
fn the_schema_version_may_be_left_out_by_people_and_agents() {
    let text = format!(r#"{{"intent_id":"{INTENT}"}}"#);
    let event: ToolWithdrawn = decode(text.as_bytes()).unwrap();
    assert_eq!(event.schema_version, 1);
}

#[test]
fn refusals_name_the_rule_and_no_value() {
    let table = [
        (
            r#"{"intent_id":"secret-1"}"#,
            "a value is not a valid intent id",
        ),
        (r#"{"reason":"secret-1"}"#, "missing field `intent_id`"),
        (r#"{"intent_id":{"x":"secret-1"}}"#, "expected a string"),
        (
            r#"{"intent_id":"` is not expected secret-1"}"#,
            "a valid intent id",
        ),
    ];
    for (text, rule) in table {
        let error = decode::<ToolWithdrawn>(text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(rule), "{error}");
        assert!(!error.contains("secret-1"), "{error}");
    }
    let vote = format!(
        r#"{{"approval_id":"a-{INTENT}","digest":"sha256:{}","vote":"secret-1"}}"#,
        "0".repeat(64)
    );
    let error = decode::<ApprovalVote>(vote.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("expected") && error.contains("approve"),
        "{error}"
    );
    assert!(!error.contains("secret-1"), "{error}");
}

#[test]
fn another_schema_is_refused_by_its_fingerprint() {
    let withdrawn: ToolWithdrawn =
        decode(format!(r#"{{"intent_id":"{INTENT}"}}"#).as_bytes()).unwrap();
    let bytes = encode(&withdrawn, Encoding::Avro).unwrap();
    let error = refusal(&bytes);
    assert!(matches!(error, DecodeError::Fingerprint { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("schemas/avro/tool.requested/v1.avsc")
    );
}

#[test]
fn every_cut_and_every_extra_byte_is_refused() {
    let bytes = encode(&request(&json!({"a": "b"})), Encoding::Avro).unwrap();
    for end in 0..bytes.len() {
        assert!(
            decode::<ToolRequested>(&bytes[..end]).is_err(),
            "cut at {end}"
        );
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(fault(&refusal(&longer)), DatumFault::Trailing);
}

/// An intent in Avro whose `input` holds this text.
fn with_input_text(text: &str) -> Vec<u8> {
    let bytes = encode(&request(&json!({"k": "PLACE"})), Encoding::Avro).unwrap();
    let old = br#"{"k":"PLACE"}"#;
    let at = bytes
        .windows(old.len())
        .position(|part| part == old)
        .unwrap();
    let mut changed = bytes[..at - 1].to_vec();
    let mut rest = text.len() << 1;
    while rest >= 0x80 {
        changed.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    changed.push(u8::try_from(rest).unwrap());
    changed.extend_from_slice(text.as_bytes());
    changed.extend_from_slice(&bytes[at + old.len()..]);
    changed
}

#[test]
fn the_json_inside_avro_is_as_strict_as_outside() {
    assert!(decode::<ToolRequested>(&with_input_text(r#"{"a":1}"#)).is_ok());
    for text in [r#"{"a":1,"a":2}"#, r#"{"a":9007199254740993}"#, "{", ""] {
        let error = refusal(&with_input_text(text));
        assert!(
            matches!(fault(&error), DatumFault::Json(_)),
            "{text}: {error}"
        );
        assert!(error.to_string().contains("`/input`"), "{error}");
    }
    let list = refusal(&with_input_text("[1]"));
    assert_eq!(fault(&list), DatumFault::Kind("a JSON object"));
}

#[test]
fn depth_is_counted_alike_in_both_encodings() {
    let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
    let deepest = request(&nested(63));
    let mut too_deep = deepest.clone();
    too_deep.input = crate::JsonObject::from_value(nested(64)).unwrap();
    for encoding in [Encoding::Json, Encoding::Avro] {
        let bytes = encode(&deepest, encoding).unwrap();
        assert_eq!(decode::<ToolRequested>(&bytes).unwrap(), deepest);
        assert!(encode(&too_deep, encoding).is_err(), "{encoding}");
    }
    let text = format!("{}1{}", r#"{"a":"#.repeat(64), "}".repeat(64));
    assert!(matches!(
        fault(&refusal(&with_input_text(&text))),
        DatumFault::Json(_)
    ));
}

#[test]
fn what_readers_would_refuse_is_not_written() {
    let event = ControlDone {
        schema_version: 1,
        revoked: 1 << 53,
        stopped: 0,
        running: Vec::new(),
        running_more: 0,
        duration_ms: 0,
    };
    for encoding in [Encoding::Json, Encoding::Avro] {
        assert!(encode(&event, encoding).is_err(), "{encoding}");
    }
}

#[test]
fn a_claimed_length_costs_nothing() {
    let plan = Plan::of::<ArchiveCommitted>().unwrap();
    for claim in [&[0xfe, 0xff, 0xff, 0xff, 0x0f][..], &[0xff; 9], &[0x01]] {
        let mut bytes = plan.header.clone();
        bytes.extend_from_slice(&[2, 2]);
        bytes.extend_from_slice(claim);
        let error = decode::<ArchiveCommitted>(&bytes).unwrap_err();
        assert_eq!(fault(&error), DatumFault::Truncated, "{error}");
    }
}

#[test]
fn the_library_reads_what_we_write() {
    let event = request(&json!({"a": [true]}));
    let bytes = encode(&event, Encoding::Avro).unwrap();
    let schema = apache_avro::Schema::parse_str(ToolRequested::AVSC).unwrap();
    let mut rest = &bytes[AVRO_HEADER_BYTES..];
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema)
        .build()
        .unwrap();
    let theirs = reader.read_value(&mut rest).unwrap();
    assert!(rest.is_empty());
    let apache_avro::types::Value::Record(fields) = theirs else {
        panic!("a record");
    };
    let input = fields.iter().find(|(name, _)| name == "input").unwrap();
    assert_eq!(
        input.1,
        apache_avro::types::Value::String(r#"{"a":[true]}"#.to_owned())
    );
}

proptest! {
    #[test]
    fn no_bytes_make_the_avro_reader_panic(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let plan = Plan::of::<ToolRequested>().unwrap();
        let _verdict = decode::<ToolRequested>(&[plan.header.as_slice(), &tail].concat());
    }

    #[test]
    fn a_flipped_byte_is_refused_or_another_event(at in 0_usize..120, flip in 1_u8..) {
        let event = request(&json!({"a": "b"}));
        let mut bytes = encode(&event, Encoding::Avro).unwrap();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= flip;
            prop_assert!(decode::<ToolRequested>(&bytes).map_or(true, |other| other != event));
        }
    }

    #[test]
    fn any_integer_is_carried_or_refused(seq in any::<u64>()) {
        let event = ControlDone { schema_version: 1, revoked: seq, stopped: 0, running: Vec::new(), running_more: 0, duration_ms: 1 };
        match encode(&event, Encoding::Avro) {
            Ok(bytes) => prop_assert_eq!(decode::<ControlDone>(&bytes).unwrap(), event),
            Err(_) => prop_assert!(seq >= 1 << 53),
        }
    }
}
