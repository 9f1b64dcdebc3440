//! Nothing gets past the check that was not approved exactly so.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use countersign_domain::permit::Reveal;
use countersign_schemas::codec::Encoding;
use countersign_schemas::{IntentId, SeqToken, Stream};
use serde_json::json;

use super::*;
use crate::fixture;

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn raw() -> ToolRequested {
    fixture::requested("crm.read", json!({"id": "C-1"}), now())
}

fn stored_as(subject: &str, payload: Vec<u8>) -> StoredMessage {
    StoredMessage {
        subject: subject.to_owned(),
        seq: 1,
        stored_at: now(),
        headers: HeaderMap::new(),
        payload: Bytes::from(payload),
    }
}

fn stored(raw: &ToolRequested) -> StoredMessage {
    let body = codec::encode(raw, Encoding::Json).unwrap();
    stored_as("tool.requested.billing", body)
}

/// Examines under the bundle of the fixture, at `at`.
fn judged(
    approved: &ToolApproved,
    stored: Option<&StoredMessage>,
    bundle: &Bundle,
    at: Timestamp,
) -> Result<String, (RevokedCode, bool)> {
    let redactor = fixture::redactor();
    let permits = PermitVerifier::new(fixture::permit_keys());
    let trust = Trust {
        permits: &permits,
        deployment: fixture::DEPLOYMENT,
        bundle,
        redactor: &redactor,
    };
    examine(&trust, approved, stored, at)
        .map(|examined| match examined.recheck {
            true => format!("{} again", examined.tool.name()),
            false => examined.tool.name().to_string(),
        })
        .map_err(|refusal| (refusal.code, refusal.alarming))
}

#[test]
fn what_was_approved_may_run() {
    let bundle = fixture::bundle();
    let raw = raw();
    let approved = fixture::approved(&raw, &bundle, fixture::reference(1), now());
    let ended = judged(&approved, Some(&stored(&raw)), &bundle, now());
    assert_eq!(ended.unwrap(), "crm.read");
}

#[test]
fn a_stored_request_that_is_not_the_approved_one_is_an_alarm() {
    let bundle = fixture::bundle();
    let raw = raw();
    let approved = fixture::approved(&raw, &bundle, fixture::reference(1), now());
    let mut changed = raw.clone();
    changed.input = fixture::object(json!({"id": "C-2"}));
    let mut other_tool = raw.clone();
    other_tool.tool = "crm.slow".parse().unwrap();
    let body = codec::encode(&raw, Encoding::Json).unwrap();
    let mut padded = body.clone();
    padded.resize(limits::BODY_BYTES_MAX + 1, b' ');
    let twice = br#"{"intent_id":"x","intent_id":"y"}"#.to_vec();
    let wrong = [
        stored(&changed),
        stored(&other_tool),
        stored_as("tool.requested.crm", body.clone()),
        stored_as("tool.withdrawn.billing", body),
        stored_as("tool.requested.billing", padded),
        stored_as("tool.requested.billing", b"{".to_vec()),
        stored_as("tool.requested.billing", twice),
    ];
    for (case, message) in wrong.iter().enumerate() {
        let ended = judged(&approved, Some(message), &bundle, now());
        assert_eq!(
            ended,
            Err((RevokedCode::DigestMismatch, true)),
            "case {case}"
        );
    }
}

#[test]
fn a_forged_permit_is_an_alarm() {
    let bundle = fixture::bundle();
    let raw = raw();
    let forged = fixture::forged(&raw, &bundle, fixture::reference(1), now());
    let other_deployment = fixture::approved_with(&raw, &bundle, now(), |claims| {
        claims.iss = "other".to_owned();
        claims.aud = "other/crm.read".to_owned();
    });
    let other_agent = fixture::approved_with(&raw, &bundle, now(), |claims| {
        claims.sub = "crm".parse().unwrap();
    });
    for approved in [forged, other_deployment, other_agent] {
        let ended = judged(&approved, Some(&stored(&raw)), &bundle, now());
        assert_eq!(ended, Err((RevokedCode::DigestMismatch, true)));
    }
}

#[test]
fn what_is_over_is_over_without_an_alarm() {
    let bundle = fixture::bundle();
    let mut raw = raw();
    let approved = fixture::approved(&raw, &bundle, fixture::reference(1), now());
    let late = now().plus(Duration::from_secs(70));
    let ended = judged(&approved, Some(&stored(&raw)), &bundle, late);
    assert_eq!(ended, Err((RevokedCode::PermitExpired, false)));

    raw.expires_at = Some(now().plus(Duration::from_secs(3)));
    let approved = fixture::approved(&raw, &bundle, fixture::reference(1), now());
    let ended = judged(&approved, Some(&stored(&raw)), &bundle, now());
    assert!(ended.is_ok());
    let ended = judged(
        &approved,
        Some(&stored(&raw)),
        &bundle,
        now().plus(Duration::from_secs(3)),
    );
    assert_eq!(ended, Err((RevokedCode::PermitExpired, false)));

    let ended = judged(&approved, None, &bundle, now());
    assert_eq!(ended, Err((RevokedCode::InputGone, false)));
}

#[test]
fn a_changed_tool_or_policy_is_a_no() {
    let bundle = fixture::bundle();
    let raw = raw();
    let changed_tool = fixture::approved_with(&raw, &bundle, now(), |claims| {
        claims.tool_digest = countersign_schemas::Digest::of_bytes(b"another definition");
    });
    let ended = judged(&changed_tool, Some(&stored(&raw)), &bundle, now());
    assert_eq!(ended, Err((RevokedCode::ToolChanged, false)));

    let approved = fixture::approved(&raw, &bundle, fixture::reference(1), now());
    let later = fixture::bundle_with("changed since");
    let ended = judged(&approved, Some(&stored(&raw)), &later, now());
    assert_eq!(ended.unwrap(), "crm.read again");
}

#[test]
fn a_surrogate_never_reaches_a_worker() {
    let bundle = fixture::bundle();
    let surrogate = "tok_email_abcdefghijklmnopqrstuvwxyz";
    for input in [
        json!({"id": surrogate}),
        json!({"id": "C-1", "note": format!("write to {surrogate} today")}),
    ] {
        let raw = fixture::requested("crm.read", input, now());
        let approved = fixture::approved(&raw, &bundle, fixture::reference(1), now());
        let ended = judged(&approved, Some(&stored(&raw)), &bundle, now());
        assert_eq!(ended, Err((RevokedCode::RecheckDenied, false)));
    }
    let raw = raw();
    let reveals = fixture::approved_with(&raw, &bundle, now(), |claims| {
        claims.reveal.push(Reveal {
            pointer: "/id".to_owned(),
            class: "email".to_owned(),
            subject: None,
        });
    });
    let ended = judged(&reveals, Some(&stored(&raw)), &bundle, now());
    assert_eq!(ended, Err((RevokedCode::RecheckDenied, false)));
}

#[test]
fn refusals_never_repeat_a_value_of_the_input() {
    let bundle = fixture::bundle();
    let secret = "hunter2-hunter2";
    let raw = fixture::requested("crm.read", json!({"id": secret}), now());
    let approved = fixture::approved(&raw, &bundle, fixture::reference(1), now());
    let body = format!(r#"{{"intent_id": "{secret}", "{secret}": 1, "{secret}": 2}}"#);
    let message = stored_as("tool.requested.billing", body.into_bytes());
    let redactor = fixture::redactor();
    let permits = PermitVerifier::new(fixture::permit_keys());
    let trust = Trust {
        permits: &permits,
        deployment: fixture::DEPLOYMENT,
        bundle: &bundle,
        redactor: &redactor,
    };
    let refusal = examine(&trust, &approved, Some(&message), now()).unwrap_err();
    assert!(!refusal.message.contains(secret), "{}", refusal.message);
}

fn delivery(subject: &str, ce_type: Option<&str>, payload: Vec<u8>) -> Incoming {
    let mut headers = HeaderMap::new();
    if let Some(ce_type) = ce_type {
        headers.insert(headers::CE_TYPE, ce_type);
    }
    Incoming {
        address: Address::parse(subject).unwrap(),
        subject: subject.to_owned(),
        stream: Stream::Events,
        token: SeqToken::new("life".parse().unwrap(), 4),
        seq: 4,
        stored_at: now(),
        headers,
        payload: Bytes::from(payload),
        deliveries: 1,
    }
}

#[test]
fn a_decision_is_believed_only_where_it_belongs() {
    let bundle = fixture::bundle();
    let raw = raw();
    let approved = fixture::approved(&raw, &bundle, fixture::reference(1), now());
    let body = codec::encode(&approved, Encoding::Json).unwrap();
    let own = format!("tool.approved.billing.{}", raw.intent_id);
    let ce = Some("dev.countersign.tool.approved.v1");
    let read = read_approved(&delivery(&own, ce, body.clone()));
    assert_eq!(read.unwrap(), approved);

    let other = IntentId::new_at(now());
    let wrong = [
        delivery(&own, None, body.clone()),
        delivery(&own, Some("dev.countersign.tool.blocked.v1"), body.clone()),
        delivery(
            &format!("tool.approved.crm.{}", raw.intent_id),
            ce,
            body.clone(),
        ),
        delivery(&format!("tool.approved.billing.{other}"), ce, body.clone()),
        delivery(&format!("tool.started.billing.{}", raw.intent_id), ce, body),
        delivery(&own, ce, br#"{"stream":"CS_INTENTS","seq":4}"#.to_vec()),
    ];
    for (case, message) in wrong.iter().enumerate() {
        assert!(read_approved(message).is_err(), "case {case}");
    }
}
