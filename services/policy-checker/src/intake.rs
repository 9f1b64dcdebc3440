//! Reading an intent, and telling a copy from other content. Pure.

use std::time::Duration;

use countersign_domain::redact::Redactor;
use countersign_runtime::bus::Oldest;
use countersign_schemas::codec;
use countersign_schemas::digest::canonical_json;
use countersign_schemas::events::{RefusedCode, ToolRequested};
use countersign_schemas::headers::ce_type;
use countersign_schemas::json::parse_strict;
use countersign_schemas::limits::{BODY_BYTES_MAX, CLOCK_SKEW_SECONDS, INTENT_FUTURE_SECONDS_MAX};
use countersign_schemas::{IntentId, Timestamp};
use serde::Deserialize;

/// Why a message gets no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The code on the wire.
    pub(crate) code: RefusedCode,
    /// A sentence for the sender; never a value of the message.
    pub(crate) message: String,
    /// The intent, where it could be read.
    pub(crate) intent: Option<IntentId>,
}

impl Refusal {
    pub(crate) fn new(
        code: RefusedCode,
        intent: Option<IntentId>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            intent,
        }
    }

    /// The id is used already, with other content or by another agent.
    pub(crate) fn conflict(intent: IntentId, how: &str) -> Self {
        let message = format!("this intent id is already used {how}; choose a new id");
        Self::new(RefusedCode::IntentConflict, Some(intent), message)
    }
}

/// Reads the body of a message on `tool.requested.*`. `told` is its `ce-type` header: an
/// agent may leave it out, since its identity is in the subject, but not get it wrong.
pub(crate) fn read(body: &[u8], told: Option<&str>) -> Result<ToolRequested, Refusal> {
    if body.len() > BODY_BYTES_MAX {
        let message = format!(
            "the body has {} bytes; at most {BODY_BYTES_MAX} are judged",
            body.len()
        );
        return Err(Refusal::new(
            RefusedCode::TooLarge,
            intent_in(body),
            message,
        ));
    }
    let wanted = ce_type::<ToolRequested>();
    if told.is_some_and(|told| told != wanted) {
        let message =
            format!("the header `ce-type` is not `{wanted}`; send it so, or leave it out");
        return Err(Refusal::new(
            RefusedCode::Unreadable,
            intent_in(body),
            message,
        ));
    }
    codec::decode::<ToolRequested>(body)
        .map_err(|error| Refusal::new(RefusedCode::Unreadable, intent_in(body), error.to_string()))
}

#[derive(Deserialize)]
struct OnlyId {
    intent_id: IntentId,
}

/// The intent that a message names although it cannot be judged, if it can be told.
fn intent_in(body: &[u8]) -> Option<IntentId> {
    serde_json::from_slice::<OnlyId>(body)
        .ok()
        .map(|found| found.intent_id)
}

/// Refuses an intent with a secret or a personal value as a name. Names stand in subjects, in
/// every event and before everybody's eyes, where nothing can be redacted; a requester may be
/// named by mail address.
pub(crate) fn telling_name(request: &ToolRequested, redactor: &Redactor) -> Option<Refusal> {
    let bundle = request.bundle.as_ref().map(|bundle| bundle.id.as_str());
    let names = [
        ("tool", Some(request.tool.as_str()), ""),
        ("requester", Some(request.requester.id.as_str()), "email"),
        ("bundle", bundle, ""),
    ];
    let (what, kind) = names.into_iter().find_map(|(what, name, may)| {
        let findings = redactor.text(name?).findings.redactions();
        let told = findings.into_iter().find(|found| found.kind != may)?;
        Some((what, told.kind))
    })?;
    Some(Refusal::new(
        RefusedCode::Unreadable,
        Some(request.intent_id),
        format!(
            "the name of the {what} looks like a value of the type {kind}, and names are shown \
             to everybody; use a name that tells nothing"
        ),
    ))
}

/// Refuses an id that is dated too far from the time at which its message was stored.
pub(crate) fn out_of_time(
    intent: IntentId,
    stored_at: Timestamp,
    horizon: Duration,
) -> Option<Refusal> {
    let made = intent.made_at();
    let message = if made > stored_at.plus(Duration::from_secs(INTENT_FUTURE_SECONDS_MAX)) {
        format!(
            "the intent id is dated more than {INTENT_FUTURE_SECONDS_MAX} s ahead of the server's clock; set the clock and choose a new id"
        )
    } else if stored_at > made.plus(horizon + Duration::from_secs(CLOCK_SKEW_SECONDS)) {
        format!(
            "the intent id is older than {} s; choose a new id",
            horizon.as_secs()
        )
    } else {
        return None;
    };
    Some(Refusal::new(
        RefusedCode::IntentOutOfTime,
        Some(intent),
        message,
    ))
}

/// Refuses an id whose verdict may have been purged: it is dated before what is left of the
/// events, with the margin that ids have ahead of the clock.
pub(crate) fn forgotten(intent: IntentId, oldest: Oldest) -> Option<Refusal> {
    let margin = Duration::from_secs(INTENT_FUTURE_SECONDS_MAX + CLOCK_SKEW_SECONDS);
    let known = match oldest {
        Oldest::NothingPurged => true,
        Oldest::StoredAt(first) => intent.made_at() >= first.plus(margin),
        Oldest::Empty => false,
    };
    (!known).then(|| {
        Refusal::new(
            RefusedCode::IntentOutOfTime,
            Some(intent),
            "the intent id is so old that a decision about it may have been purged; choose a \
             new id"
                .to_owned(),
        )
    })
}

/// Whether two bodies say the same: every field, in whatever order, spacing or encoding.
pub(crate) fn same_content(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    match (content(one), content(other)) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => decoded(one).is_some_and(|one| decoded(other) == Some(one)),
    }
}

/// The canonical form of a JSON body, with the fields that we do not know.
fn content(body: &[u8]) -> Option<Vec<u8>> {
    canonical_json(&parse_strict(body).ok()?).ok()
}

/// The canonical form of what we read in a body of either encoding.
fn decoded(body: &[u8]) -> Option<Vec<u8>> {
    canonical_json(&codec::decode::<ToolRequested>(body).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_schemas::codec::Encoding;
    use serde_json::{Value, json};

    fn body(at: Timestamp) -> Value {
        json!({"intent_id": IntentId::new_at(at), "tool": "docs.search", "input": {"query": "x"},
               "requester": {"id": "kim@x.example"}, "purpose": "to look it up"})
    }

    fn code(body: &[u8], told: Option<&str>) -> (RefusedCode, Option<IntentId>) {
        let refusal = read(body, told).unwrap_err();
        assert!(!refusal.message.contains("kim@x.example"), "{refusal:?}");
        (refusal.code, refusal.intent)
    }

    #[test]
    fn an_id_whose_verdict_may_be_purged_is_refused() {
        let made = Timestamp::EPOCH.plus(Duration::from_secs(1_000_000));
        let intent = IntentId::new_at(made);
        let refused = |oldest| forgotten(intent, oldest).map(|refusal| refusal.code);
        let first = |before: u64| Oldest::StoredAt(made.minus(Duration::from_secs(before)));
        let late = Some(RefusedCode::IntentOutOfTime);
        assert_eq!(refused(Oldest::NothingPurged), None);
        assert_eq!(refused(first(305)), None);
        assert_eq!(refused(first(304)), late);
        assert_eq!(refused(first(0)), late);
        assert_eq!(refused(Oldest::Empty), late);
    }

    #[test]
    fn sound_bodies_are_read_in_both_encodings() {
        let sound = body(Timestamp::EPOCH).to_string();
        let read_json = read(sound.as_bytes(), None).unwrap();
        assert!(read(sound.as_bytes(), Some("dev.countersign.tool.requested.v1")).is_ok());
        let avro = codec::encode(&read_json, Encoding::Avro).unwrap();
        assert_eq!(read(&avro, None).unwrap(), read_json);
        assert!(same_content(&avro, sound.as_bytes()));
    }

    #[test]
    fn a_name_that_tells_a_secret_is_refused_and_an_honest_one_is_not() {
        let key = countersign_domain::redact::FingerprintKey::new("k1", [7; 32]).unwrap();
        let redactor = Redactor::new(key);
        let told = |field: &str, value: Value| {
            let mut body = body(Timestamp::EPOCH);
            body[field] = value;
            let request = read(body.to_string().as_bytes(), None).unwrap();
            telling_name(&request, &redactor).map(|refusal| refusal.message)
        };
        let secret = format!("glpat-{}", "aB3dE5gH7jK9mN1pQ2rS");
        for (field, value) in [
            ("tool", json!(secret)),
            ("tool", json!("4111111111111111")),
            ("requester", json!({"id": secret})),
            ("requester", json!({"id": "4111-1111-1111-1111"})),
            ("bundle", json!({"id": secret, "size": 1, "index": 0})),
        ] {
            let message = told(field, value.clone()).unwrap();
            assert!(message.contains(field), "{message}");
            assert!(
                !message.contains("glpat") && !message.contains("4111"),
                "{message}"
            );
        }
        for (field, value) in [
            ("tool", json!("crm.update_contact")),
            ("requester", json!({"id": "kim@x.example"})),
            (
                "requester",
                json!({"id": "user_2NNEqL2nrIRdJ194ndJqAHwEfxC"}),
            ),
            (
                "requester",
                json!({"id": "0192f0c1-2d3e-7a4b-8c5d-6e7f8a9b0c1d"}),
            ),
            (
                "bundle",
                json!({"id": "march-2026_17", "size": 1, "index": 0}),
            ),
        ] {
            assert_eq!(told(field, value.clone()), None, "{value}");
        }
    }

    #[test]
    fn each_unsound_body_has_its_code_and_names_its_intent_where_it_can() {
        let sound = body(Timestamp::EPOCH);
        let intent = read(sound.to_string().as_bytes(), None).unwrap().intent_id;
        let mut long = sound.clone();
        long["purpose"] = json!("x".repeat(BODY_BYTES_MAX));
        assert_eq!(
            code(long.to_string().as_bytes(), None),
            (RefusedCode::TooLarge, Some(intent))
        );
        let other = Some("dev.countersign.tool.withdrawn.v1");
        assert_eq!(
            code(sound.to_string().as_bytes(), other),
            (RefusedCode::Unreadable, Some(intent))
        );
        let mut less = sound.clone();
        less.as_object_mut().unwrap().remove("tool");
        assert_eq!(
            code(less.to_string().as_bytes(), None),
            (RefusedCode::Unreadable, Some(intent))
        );
        let doubled = sound
            .to_string()
            .replacen("{\"query\"", "{\"query\":\"y\",\"query\"", 1);
        assert_eq!(code(doubled.as_bytes(), None).0, RefusedCode::Unreadable);
        for garbage in [
            &b""[..],
            b"{",
            b"[]",
            b"\xc3\x01garbage",
            b"\xff\xff",
            b"null",
        ] {
            assert_eq!(code(garbage, None), (RefusedCode::Unreadable, None));
        }
        let large = vec![b'{'; BODY_BYTES_MAX + 1];
        assert_eq!(code(&large, None), (RefusedCode::TooLarge, None));
    }

    #[test]
    fn ids_are_judged_by_the_time_of_storing() {
        let made: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let intent = IntentId::new_at(made);
        let horizon = Duration::from_secs(3_600);
        let word = |seconds: i64| {
            let span = Duration::from_secs(seconds.unsigned_abs());
            let at = if seconds < 0 {
                made.minus(span)
            } else {
                made.plus(span)
            };
            out_of_time(intent, at, horizon).map(|refusal| refusal.message)
        };
        for fits in [-300, 0, 3_600, 3_605] {
            assert_eq!(word(fits), None, "{fits}");
        }
        assert!(word(-301).unwrap().contains("ahead"));
        assert!(word(3_606).unwrap().contains("older"));
    }

    #[test]
    fn content_is_every_field_and_nothing_else() {
        let one = body(Timestamp::EPOCH);
        let text = one.to_string();
        assert!(same_content(
            text.as_bytes(),
            serde_json::to_string_pretty(&one).unwrap().as_bytes()
        ));
        for (field, value) in [
            ("purpose", json!("other")),
            ("unknown", json!(1)),
            ("dry_run", json!(true)),
            ("input", json!({"query": "y"})),
        ] {
            let mut other = one.clone();
            other[field] = value;
            assert!(
                !same_content(text.as_bytes(), other.to_string().as_bytes()),
                "{field}"
            );
        }
        assert!(!same_content(b"garbage", b"other garbage"));
    }
}
