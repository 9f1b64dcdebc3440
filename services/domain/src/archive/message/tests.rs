//! The row of every event, and that nothing planted in a message reaches one.

use std::collections::BTreeSet;

use countersign_schemas::{IntentId, JsonObject, ToolName};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::archive::scrub::{ScrubError, Scrubbed};
use crate::keys::HmacKey;

/// Replaces the word `SECRET…` by a mark, and gives up on the word `HARD`.
struct Words;

fn replace(text: &str) -> Result<Scrubbed<String>, ScrubError> {
    if text.contains("HARD") {
        return Err(ScrubError);
    }
    let found = text.matches("SECRET").count();
    Ok(Scrubbed {
        value: text.replace("SECRET", "[secret:k1:0123456789ab]"),
        kinds: vec!["secret".to_owned(); found],
    })
}

impl Scrub for Words {
    fn text(&self, text: &str) -> Result<Scrubbed<String>, ScrubError> {
        replace(text)
    }

    fn json(&self, object: &JsonObject) -> Result<Scrubbed<JsonObject>, ScrubError> {
        let clean = replace(&object.to_value().to_string())?;
        let value: Value = serde_json::from_str(&clean.value).map_err(|_| ScrubError)?;
        Ok(Scrubbed {
            value: JsonObject::from_value(value).ok_or(ScrubError)?,
            kinds: clean.kinds,
        })
    }
}

/// Never finds what it is looking for the first time.
struct Sleepy;

impl Scrub for Sleepy {
    fn text(&self, text: &str) -> Result<Scrubbed<String>, ScrubError> {
        Ok(Scrubbed {
            value: text.to_owned(),
            kinds: replace(text)?.kinds,
        })
    }

    fn json(&self, object: &JsonObject) -> Result<Scrubbed<JsonObject>, ScrubError> {
        Ok(Scrubbed {
            value: object.clone(),
            kinds: Vec::new(),
        })
    }
}

fn intent() -> IntentId {
    "01920000-0000-7000-8000-000000000001".parse().unwrap()
}

fn row_of(address: &Address, payload: &[u8], headers: Headers<'_>) -> Row {
    row_at(
        address.stream(),
        address.subject().as_str(),
        payload,
        headers,
        &Words,
    )
}

fn row_at(
    stream: Stream,
    subject: &str,
    payload: &[u8],
    headers: Headers<'_>,
    scrub: &dyn Scrub,
) -> Row {
    let stored = Stored {
        stream,
        incarnation: &"abc".parse().unwrap(),
        seq: 42,
        stored_at: "2026-11-22T10:00:00.000001Z".parse().unwrap(),
        subject,
        headers,
        payload,
    };
    row(&stored, scrub)
}

/// Address and body of every event, each with `SECRET` wherever a sender can write.
fn samples() -> Vec<(Address, Value)> {
    let all: Vec<Value> = serde_json::from_str(include_str!("samples.json")).unwrap();
    all.into_iter()
        .map(|sample| {
            let subject = sample["subject"].as_str().unwrap();
            (Address::parse(subject).unwrap(), sample["body"].clone())
        })
        .collect()
}

/// The columns of a row that say something, one a line.
fn shown(row: &Row) -> String {
    let Value::Object(map) = serde_json::to_value(row).unwrap() else {
        panic!("a row is an object")
    };
    map.iter()
        .filter(|(name, value)| {
            let same = [
                "stream",
                "incarnation",
                "seq",
                "leaf_index",
                "time",
                "schema_version",
                "original_bytes",
            ];
            !same.contains(&name.as_str())
                && !value.is_null()
                && **value != json!([])
                && **value != json!(false)
        })
        .map(|(name, value)| format!("{name} = {value}\n"))
        .collect()
}

#[test]
fn every_event_has_the_row_that_is_written_down() {
    let mut all = String::new();
    for (address, body) in samples() {
        let row = row_of(&address, body.to_string().as_bytes(), Headers::default());
        assert_ne!(row.level, Level::Metadata, "{}: {row:?}", address.subject());
        all.push_str(&format!("## {}\n{}\n", address.subject(), shown(&row)));
    }
    insta::assert_snapshot!("rows", all);
}

#[test]
fn every_event_of_the_contract_is_among_the_samples() {
    let seen: BTreeSet<&str> = samples()
        .iter()
        .map(|(address, _)| address.event())
        .collect();
    let all: BTreeSet<&str> = events::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(seen, all);
}

#[test]
fn nothing_planted_and_nothing_secret_is_in_any_row() {
    for (address, body) in samples() {
        let row = row_of(&address, body.to_string().as_bytes(), Headers::default());
        let text = serde_json::to_string(&row).unwrap();
        assert!(!text.contains("SECRET"), "{}: {text}", address.subject());
    }
}

#[test]
fn what_the_redactor_cannot_search_or_clean_leaves_metadata() {
    let (address, mut body) = samples().remove(0);
    body["purpose"] = json!("HARD");
    let subject = address.subject();
    let hard = row_of(&address, body.to_string().as_bytes(), Headers::default());
    body["purpose"] = json!("SECRET");
    let payload = body.to_string();
    let again = row_at(
        Stream::Intents,
        subject.as_str(),
        payload.as_bytes(),
        Headers::default(),
        &Sleepy,
    );
    for row in [hard, again] {
        assert_eq!(row.level, Level::Metadata);
        assert_eq!(row.reason_codes, ["not_redactable"]);
        assert_eq!(row.agent_id.as_deref(), Some("billing"));
        assert!(row.truncated && row.purpose.is_none() && row.tool_name.is_none());
    }
}

#[test]
fn bodies_that_are_not_the_event_keep_their_metadata() {
    let big = vec![b' '; BODY_BYTES_MAX + 1];
    let ack = br#"{"stream":"CS_INTENTS","seq":4}"#;
    let intent = intent();
    let cases: [(&str, &[u8], &str, &str); 7] = [
        (
            "tool.requested.billing",
            b"{",
            "tool.requested",
            "unreadable",
        ),
        (
            "tool.requested.billing",
            b"",
            "tool.requested",
            "unreadable",
        ),
        (
            "tool.requested.billing",
            &big,
            "tool.requested",
            "too_large",
        ),
        (
            "tool.approved.billing.evil",
            ack,
            "tool.approved",
            "unreadable",
        ),
        (
            &format!("tool.approved.billing.{intent}"),
            ack,
            "tool.approved",
            "unreadable",
        ),
        (
            "tool.requested.billing.x",
            b"{}",
            "tool.requested",
            "unreadable",
        ),
        ("else.thing", b"{}", "unknown", "unreadable"),
    ];
    for (subject, payload, event, code) in cases {
        let stream = if subject.starts_with("tool.approved") {
            Stream::Events
        } else {
            Stream::Intents
        };
        let row = row_at(stream, subject, payload, Headers::default(), &Words);
        assert_eq!(
            (row.event.as_str(), row.level),
            (event, Level::Metadata),
            "{subject}"
        );
        assert_eq!(row.reason_codes, [code], "{subject}");
        assert_eq!(row.original_bytes, i64::try_from(payload.len()).unwrap());
        assert!(row.truncated);
    }
}

#[test]
fn genuine_bytes_on_a_foreign_subject_are_not_told_as_its_events() {
    let checked = samples()
        .into_iter()
        .find(|(address, _)| address.event() == "policy.checked")
        .unwrap();
    let foreign = Address::PolicyChecked {
        agent: "crm".parse().unwrap(),
        intent: intent(),
    };
    let body = checked.1.to_string();
    let row = row_of(&foreign, body.as_bytes(), Headers::default());
    assert_eq!(row.reason_codes, ["identity_mismatch"]);
    assert_eq!(row.agent_id.as_deref(), Some("crm"));
    let headers = Headers {
        ce_type: Some("dev.countersign.tool.approved.v1"),
        ..Headers::default()
    };
    let row = row_of(&checked.0, body.as_bytes(), headers);
    assert_eq!(row.reason_codes, ["identity_mismatch"]);
    let other_stream = row_at(
        Stream::Intents,
        checked.0.subject().as_str(),
        body.as_bytes(),
        Headers::default(),
        &Words,
    );
    assert_eq!(other_stream.reason_codes, ["unreadable"]);
}

#[test]
fn headers_become_columns_only_where_they_are_well_formed() {
    let (address, body) = samples().remove(9);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let good = Headers {
        ce_type: Some("dev.countersign.policy.checked.v1"),
        ce_source: Some("/countersign/policy-checker"),
        ce_time: Some("2026-11-22T09:59:59Z"),
        traceparent: Some(trace),
    };
    let row = row_of(&address, body.to_string().as_bytes(), good);
    assert_eq!(
        row.trace_id.as_deref(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
    assert_eq!(row.span_id.as_deref(), Some("b7ad6b7169203331"));
    assert_eq!(row.actor_id.as_deref(), Some("policy-checker"));
    assert_eq!(row.claimed_time, "2026-11-22T09:59:59Z".parse().ok());
    let bad = Headers {
        ce_type: None,
        ce_source: Some("/countersign/SECRET word"),
        ce_time: Some("SECRET"),
        traceparent: Some("00-SECRET-x-01"),
    };
    let row = row_of(&address, body.to_string().as_bytes(), bad);
    assert_eq!(
        (row.trace_id, row.claimed_time, row.actor_id),
        (None, None, None)
    );
}

#[test]
fn a_requester_named_by_mail_address_keeps_the_name() {
    struct Mail;
    impl Scrub for Mail {
        fn text(&self, text: &str) -> Result<Scrubbed<String>, ScrubError> {
            let found = text.contains('@');
            Ok(Scrubbed {
                value: if found {
                    "[email:k1:0123456789ab]".to_owned()
                } else {
                    text.to_owned()
                },
                kinds: if found {
                    vec!["email".to_owned()]
                } else {
                    Vec::new()
                },
            })
        }
        fn json(&self, object: &JsonObject) -> Result<Scrubbed<JsonObject>, ScrubError> {
            Words.json(object)
        }
    }
    let (address, mut body) = samples().remove(0);
    body["requester"]["id"] = json!("sam@example.com");
    body["session_id"] = json!("for pat@example.com");
    let payload = body.to_string();
    let row = row_at(
        Stream::Intents,
        address.subject().as_str(),
        payload.as_bytes(),
        Headers::default(),
        &Mail,
    );
    assert_eq!(row.requester_id.as_deref(), Some("sam@example.com"));
    assert_eq!(row.session_id.as_deref(), Some("[email:k1:0123456789ab]"));
}

#[test]
fn long_texts_are_cut_and_say_so() {
    let (address, mut body) = samples().remove(0);
    body["purpose"] = json!("ü".repeat(TEXT_MAX + 5));
    let row = row_of(&address, body.to_string().as_bytes(), Headers::default());
    assert_eq!(row.purpose.unwrap().chars().count(), TEXT_MAX);
    assert!(row.truncated);
}

const TEXT_MAX: usize = crate::archive::scrub::TEXT_CHARS_MAX;

#[test]
fn missing_sequences_have_a_row_of_their_own() {
    let row = gap(
        Stream::Events,
        &"abc".parse().unwrap(),
        5,
        9,
        Timestamp::EPOCH,
    );
    assert_eq!((row.seq, row.event.as_str()), (5, GAP_EVENT));
    assert_eq!(
        row.output_summary.as_deref(),
        Some("The stream holds no messages 5 to 9.")
    );
}

#[test]
fn the_remembered_digest_covers_place_time_and_body() {
    let incarnation = "abc".parse().unwrap();
    let stored = Stored {
        stream: Stream::Events,
        incarnation: &incarnation,
        seq: 1,
        stored_at: Timestamp::EPOCH,
        subject: "a.b",
        headers: Headers::default(),
        payload: b"x",
    };
    let others = [
        Stored {
            subject: "a.c",
            ..stored
        },
        Stored {
            payload: b"y",
            ..stored
        },
        Stored {
            stored_at: Timestamp::from_micros(1).unwrap(),
            ..stored
        },
    ];
    let key = |byte| HmacKey::new("k1", [byte; 32]).unwrap();
    for other in others {
        assert_ne!(other.digest(&key(1)), stored.digest(&key(1)));
    }
    // Without the key nobody can test a guess at the body.
    assert_ne!(stored.digest(&key(1)), stored.digest(&key(2)));
    assert_eq!(stored.digest(&key(1)), stored.digest(&key(1)));
}

proptest! {
    #[test]
    fn any_bytes_on_any_subject_have_exactly_one_row(
        subject in "[a-z.*> ]{0,40}|tool\\.requested\\.[a-z]{1,8}|policy\\.checked\\.[a-z]{1,3}\\.[0-9a-f-]{36}",
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        trace in "[0-9a-f-]{0,60}",
    ) {
        let headers = Headers { traceparent: Some(&trace), ..Headers::default() };
        let row = row_at(Stream::Intents, &subject, &payload, headers, &Words);
        prop_assert_eq!(row.seq, 42);
        prop_assert_eq!(row.level, Level::Metadata);
    }

    #[test]
    fn any_tool_name_is_kept_or_left_out_but_never_breaks_the_row(name in "[A-Za-z0-9_-]{1,20}") {
        prop_assume!(!name.contains("SECRET") && !name.contains("HARD"));
        let (address, mut body) = samples().remove(0);
        let tool: ToolName = name.parse().unwrap();
        body["tool"] = json!(tool);
        let row = row_of(&address, body.to_string().as_bytes(), Headers::default());
        prop_assert_eq!(row.tool_name.as_deref(), Some(name.as_str()));
    }
}
