//! The permit's promises, each broken in turn.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_schemas::events::{
    Basis, BasisKind, CheckedRequester, Operation, RequestRef, Requester, RevokedCode,
    ToolApproved, ToolRequested,
};
use countersign_schemas::{Digest, IntentId, JsonObject, Timestamp, ToolName};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::input::{input_digest, salt_text};
use crate::keys::{KeySet, SigningKey};

const DEPLOYMENT: &str = "acme";

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn permit_keys() -> KeySet {
    KeySet::new([key(1).public()])
}

fn tool() -> ToolName {
    "crm.update_contact".parse().unwrap()
}

fn raw() -> ToolRequested {
    ToolRequested {
        schema_version: 1,
        intent_id: "019a0000-0000-7000-8000-000000000001".parse().unwrap(),
        tool: tool(),
        input: input(),
        requester: Requester {
            id: "dana@example.com".parse().unwrap(),
            mandate: None,
        },
        purpose: "fix the address".to_owned(),
        session_id: None,
        bundle: None,
        facts: None,
        expires_at: None,
        dry_run: None,
    }
}

fn input() -> JsonObject {
    JsonObject::from_value(json!({"id": "C-1", "city": "Utrecht"})).unwrap()
}

fn claims_for(raw: &ToolRequested) -> PermitClaims {
    let salt = salt_text([3; 16]);
    PermitClaims {
        iss: DEPLOYMENT.to_owned(),
        sub: "billing".parse().unwrap(),
        act: Actor {
            sub: raw.requester.id.clone(),
        },
        aud: audience(DEPLOYMENT, &raw.tool),
        jti: raw.intent_id,
        iat: now().seconds(),
        exp: now().plus(PERMIT_LIFE_DEFAULT).seconds(),
        input_digest: input_digest(raw.intent_id, &raw.tool, &raw.input, &salt).unwrap(),
        salt,
        tool_digest: Digest::of_bytes(b"tool"),
        policy_digest: Digest::of_bytes(b"policy"),
        basis: Basis {
            kind: BasisKind::Policy,
            policy_ids: vec!["read-is-fine".to_owned()],
            approvers: Vec::new(),
            approval_id: None,
            window_id: None,
        },
        reveal: Vec::new(),
        expose: vec!["/id".to_owned()],
    }
}

fn approved(claims: &PermitClaims, signer: &PermitSigner) -> ToolApproved {
    ToolApproved {
        schema_version: 1,
        intent_id: claims.jti,
        agent: claims.sub.clone(),
        requester: CheckedRequester {
            id: claims.act.sub.clone(),
            verified: false,
        },
        tool: tool(),
        operation: Operation::Update,
        input_digest: claims.input_digest,
        request: RequestRef {
            stream: "CS_INTENTS".to_owned(),
            incarnation: "abc".parse().unwrap(),
            seq: 7,
        },
        basis: claims.basis.clone(),
        approved_until: claims.until(),
        permit: signer.sign(claims).unwrap(),
        policy_digest: claims.policy_digest,
        tool_digest: claims.tool_digest,
    }
}

fn signer() -> PermitSigner {
    PermitSigner::new(key(1))
}

fn verifier() -> PermitVerifier {
    PermitVerifier::new(permit_keys())
}

fn permitted() -> Permitted {
    let decision = approved(&claims_for(&raw()), &signer());
    check(&decision, &raw(), &verifier(), DEPLOYMENT, now()).unwrap()
}

fn verify(token: &str, at: Timestamp) -> Result<PermitClaims, TokenError> {
    verifier().verify(token, &audience(DEPLOYMENT, &tool()), DEPLOYMENT, at)
}

#[test]
fn a_genuine_permit_opens_and_carries_its_claims() {
    let permitted = permitted();
    assert_eq!(permitted.claims(), &claims_for(&raw()));
    assert_eq!(permitted.input(), &input());
}

#[test]
fn times_are_judged_with_five_seconds_of_skew() {
    let token = signer().sign(&claims_for(&raw())).unwrap();
    let start = now();
    let end = now().plus(PERMIT_LIFE_DEFAULT);
    let second = Duration::from_secs(1);
    assert!(verify(&token, start.minus(5 * second)).is_ok());
    assert_eq!(
        verify(&token, start.minus(6 * second)),
        Err(TokenError::NotYet)
    );
    assert!(verify(&token, end.plus(4 * second)).is_ok());
    assert_eq!(
        verify(&token, end.plus(5 * second)),
        Err(TokenError::Expired { at: end })
    );
}

#[test]
fn a_permit_longer_than_an_hour_is_no_permit() {
    let mut claims = claims_for(&raw());
    claims.exp = claims.iat + 3_601;
    let token = signer().sign(&claims).unwrap();
    assert_eq!(verify(&token, now()), Err(TokenError::TooLong));
}

#[test]
fn issuer_and_audience_are_demanded() {
    let token = signer().sign(&claims_for(&raw())).unwrap();
    let aud = audience(DEPLOYMENT, &tool());
    assert_eq!(
        verifier().verify(&token, &aud, "other", now()),
        Err(TokenError::WrongIssuer)
    );
    assert_eq!(
        verifier().verify(&token, "acme/other.tool", DEPLOYMENT, now()),
        Err(TokenError::WrongAudience)
    );
}

/// A token with a header and body of the attacker's choice, signed by `key`.
fn forged(header: &serde_json::Value, claims: &PermitClaims, key: &SigningKey) -> String {
    let encode = |value: &[u8]| URL_SAFE_NO_PAD.encode(value);
    let head = encode(header.to_string().as_bytes());
    let body = encode(&serde_json::to_vec(claims).unwrap());
    let signature = encode(&key.sign(format!("{head}.{body}").as_bytes()));
    format!("{head}.{body}.{signature}")
}

#[test]
fn algorithm_type_and_key_are_pinned() {
    let claims = claims_for(&raw());
    let kid = key(1).id().to_owned();
    let good = json!({"alg": "EdDSA", "typ": "permit+jwt", "kid": kid});
    assert!(verify(&forged(&good, &claims, &key(1)), now()).is_ok());
    let wrong = TokenError::WrongHeader {
        expected: "permit+jwt",
    };
    let cases = [
        (
            json!({"alg": "none", "typ": "permit+jwt", "kid": kid}),
            wrong.clone(),
        ),
        (
            json!({"alg": "HS256", "typ": "permit+jwt", "kid": kid}),
            wrong.clone(),
        ),
        (
            json!({"alg": "EdDSA", "typ": "JWT", "kid": kid}),
            wrong.clone(),
        ),
        (
            json!({"alg": "EdDSA", "typ": "claim+jwt", "kid": kid}),
            wrong,
        ),
        (
            json!({"alg": "EdDSA", "typ": "permit+jwt", "kid": "x"}),
            TokenError::UnknownKey,
        ),
        (
            json!({"alg": "EdDSA", "typ": "permit+jwt"}),
            TokenError::Malformed,
        ),
        (
            json!({"alg": "EdDSA", "typ": "permit+jwt", "kid": kid, "crit": ["b64"], "b64": false}),
            TokenError::Malformed,
        ),
        (
            json!({"alg": "EdDSA", "typ": "permit+jwt", "kid": kid, "jwk": {"kty": "OKP"}}),
            TokenError::Malformed,
        ),
    ];
    for (header, expected) in cases {
        let token = forged(&header, &claims, &key(1));
        assert_eq!(verify(&token, now()), Err(expected), "{header}");
    }
    let stolen_id = forged(&good, &claims, &key(2));
    assert_eq!(verify(&stolen_id, now()), Err(TokenError::BadSignature));
}

#[test]
fn rotation_keeps_old_keys_until_they_are_taken_out() {
    let token = signer().sign(&claims_for(&raw())).unwrap();
    let aud = audience(DEPLOYMENT, &tool());
    let both = PermitVerifier::new(KeySet::new([key(1).public(), key(2).public()]));
    let new_only = PermitVerifier::new(KeySet::new([key(2).public()]));
    assert!(both.verify(&token, &aud, DEPLOYMENT, now()).is_ok());
    assert_eq!(
        new_only.verify(&token, &aud, DEPLOYMENT, now()),
        Err(TokenError::UnknownKey)
    );
}

#[test]
fn a_rotation_reaches_every_clone_of_signer_and_verifier() {
    let (signer, verifier) = (signer(), verifier());
    let (aud, claims) = (audience(DEPLOYMENT, &tool()), claims_for(&raw()));
    let (desk, executor) = (signer.clone(), verifier.clone());
    let open = |token: &str| verifier.verify(token, &aud, DEPLOYMENT, now());

    signer.rotate(key(2));
    let token = desk.sign(&claims).unwrap();
    assert!(!executor.knows(&token), "published too late");
    assert_eq!(open(&token), Err(TokenError::UnknownKey));
    executor.trust(permit_keys().with(key(2).public()).unwrap());
    assert!(verifier.knows(&token));
    assert_eq!(open(&token), Ok(claims));
    for no_token in ["", "x", "e30.e30.e30"] {
        assert!(!verifier.knows(no_token));
    }
}

#[test]
fn what_a_retired_key_signed_counts_until_the_keys_end() {
    let token = signer().sign(&claims_for(&raw())).unwrap();
    let aud = audience(DEPLOYMENT, &tool());
    let end = now().plus(Duration::from_secs(60));
    let keys = permit_keys().with(key(2).public()).unwrap();
    let keys = keys.retiring_all_but(key(2).id(), end);
    let verifier = PermitVerifier::new(keys);
    let open = |at| verifier.verify(&token, &aud, DEPLOYMENT, at);
    assert!(open(now()).is_ok());
    assert_eq!(open(end), Err(TokenError::UnknownKey));
}

proptest! {
    #[test]
    fn no_changed_byte_survives(position in 0_usize..2_000, flip in 1_u8..=127) {
        let token = signer().sign(&claims_for(&raw())).unwrap();
        let mut bytes = token.clone().into_bytes();
        let at = position % bytes.len();
        bytes[at] ^= flip;
        prop_assume!(bytes.is_ascii());
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(verify(&changed, now()).is_err());
    }

    #[test]
    fn garbage_is_refused_without_panic(text in "[A-Za-z0-9_.=-]{0,300}") {
        prop_assert!(verify(&text, now()).is_err());
    }
}

/// One way in which decision or request differ from the permit, and what is said of it.
type Spoil = (&'static str, fn(&mut ToolApproved, &mut ToolRequested));

fn refused_as_mismatch(spoils: &[Spoil]) {
    for (word, spoil) in spoils {
        let mut raw = raw();
        let mut decision = approved(&claims_for(&raw), &signer());
        spoil(&mut decision, &mut raw);
        let refusal = check(&decision, &raw, &verifier(), DEPLOYMENT, now()).unwrap_err();
        assert_eq!(refusal.code(), RevokedCode::DigestMismatch, "{word}");
        assert!(refusal.to_string().contains(word), "{refusal} / {word}");
        assert!(refusal.is_alarming());
        assert!(!refusal.to_string().contains("Utrecht"));
    }
}

#[test]
fn permit_and_decision_must_agree_in_every_part() {
    refused_as_mismatch(&[
        ("intent", |d, _| d.intent_id = IntentId::new_at(now())),
        ("agent", |d, _| d.agent = "crm".parse().unwrap()),
        ("requester", |d, _| d.requester.id = "eve".parse().unwrap()),
        ("input digest", |d, _| {
            d.input_digest = Digest::of_bytes(b"")
        }),
        ("tool digest", |d, _| d.tool_digest = Digest::of_bytes(b"")),
        ("policy", |d, _| d.policy_digest = Digest::of_bytes(b"")),
        ("basis", |d, _| d.basis.kind = BasisKind::Person),
        ("audience", |d, _| d.tool = "crm.delete".parse().unwrap()),
    ]);
}

#[test]
fn permit_and_request_must_agree_in_every_part() {
    refused_as_mismatch(&[
        ("intent", |_, r| r.intent_id = IntentId::new_at(now())),
        ("tool", |_, r| r.tool = "crm.delete".parse().unwrap()),
        ("requester", |_, r| r.requester.id = "eve".parse().unwrap()),
        ("dry run", |_, r| r.dry_run = Some(true)),
        ("stored input", |_, r| drop(r.input.0.remove("city"))),
    ]);
}

#[test]
fn an_expired_permit_is_no_alarm() {
    let decision = approved(&claims_for(&raw()), &signer());
    let late = now().plus(Duration::from_secs(3_600));
    let refusal = check(&decision, &raw(), &verifier(), DEPLOYMENT, late).unwrap_err();
    assert_eq!(refusal.code(), RevokedCode::PermitExpired);
    assert!(!refusal.is_alarming());
}

fn gate() -> WorkGate {
    let claims = KeySet::new([key(5).public()]);
    WorkGate::new(
        permit_keys(),
        claims,
        DEPLOYMENT,
        "crm-worker".parse().unwrap(),
    )
}

fn claim_token(attempt: u32) -> String {
    let claim = Claim {
        seq: 42,
        attempt,
        worker: "crm-worker".parse().unwrap(),
    };
    ClaimSigner::new(key(5))
        .sign(&permitted(), claim, now())
        .unwrap()
}

fn admit(
    headers: WorkHeaders<'_>,
    body: &JsonObject,
    seen: &mut SeenTokens,
    at: Timestamp,
) -> Result<Admitted, GateRefusal> {
    gate().admit(&tool(), headers, body, seen, at)
}

#[test]
fn the_gate_admits_a_claim_once_and_a_new_attempt_again() {
    let intent = raw().intent_id.to_string();
    let permit = signer().sign(&claims_for(&raw())).unwrap();
    let (first, second) = (claim_token(1), claim_token(2));
    let headers = |claim| WorkHeaders {
        intent: Some(&intent),
        permit: Some(&permit),
        claim: Some(claim),
    };
    let mut seen = SeenTokens::default();
    let admitted = admit(headers(&first), &input(), &mut seen, now()).unwrap();
    assert_eq!(admitted.claim.claim_seq, 42);
    assert_eq!(
        admit(headers(&first), &input(), &mut seen, now()),
        Err(GateRefusal::Replayed)
    );
    assert!(admit(headers(&second), &input(), &mut seen, now()).is_ok());
}

/// A call that differs from the good one in one place.
struct Call {
    intent: Option<String>,
    permit: Option<String>,
    claim: Option<String>,
    body: JsonObject,
    at: Timestamp,
}

/// The code of a refusal, and what provokes it.
type CallSpoil = (&'static str, fn(&mut Call));

fn good_call() -> Call {
    Call {
        intent: Some(raw().intent_id.to_string()),
        permit: Some(signer().sign(&claims_for(&raw())).unwrap()),
        claim: Some(claim_token(1)),
        body: input(),
        at: now(),
    }
}

#[test]
fn the_gate_refuses_whatever_does_not_belong_together() {
    let cases: &[CallSpoil] = &[
        ("permit_missing", |c| c.permit = None),
        ("permit_missing", |c| c.claim = None),
        ("permit_missing", |c| c.intent = None),
        ("permit_mismatch", |c| c.intent = Some("x".to_owned())),
        ("permit_invalid", |c| c.permit = c.claim.clone()),
        ("claim_invalid", |c| c.claim = c.permit.clone()),
        ("digest_mismatch", |c| drop(c.body.0.remove("id"))),
        ("claim_invalid", |c| {
            c.at = now().plus(Duration::from_secs(66))
        }),
        ("permit_invalid", |c| {
            c.at = now().minus(Duration::from_secs(6))
        }),
    ];
    for (number, (code, spoil)) in cases.iter().enumerate() {
        let mut call = good_call();
        spoil(&mut call);
        let headers = WorkHeaders {
            intent: call.intent.as_deref(),
            permit: call.permit.as_deref(),
            claim: call.claim.as_deref(),
        };
        let mut seen = SeenTokens::default();
        let refusal = admit(headers, &call.body, &mut seen, call.at).unwrap_err();
        assert_eq!(refusal.code(), *code, "case {number}");
    }
}

#[test]
fn the_gate_of_another_worker_refuses() {
    let intent = raw().intent_id.to_string();
    let permit = signer().sign(&claims_for(&raw())).unwrap();
    let claim = claim_token(1);
    let headers = WorkHeaders {
        intent: Some(&intent),
        permit: Some(&permit),
        claim: Some(&claim),
    };
    let claims = KeySet::new([key(5).public()]);
    let other = WorkGate::new(
        permit_keys(),
        claims,
        DEPLOYMENT,
        "mail-worker".parse().unwrap(),
    );
    let refusal = other
        .admit(
            &tool(),
            headers,
            &input(),
            &mut SeenTokens::default(),
            now(),
        )
        .unwrap_err();
    assert_eq!(refusal, GateRefusal::Mismatch("worker"));
}

#[test]
fn a_full_memory_refuses_and_forgets_only_what_expired() {
    let mut claim = ClaimClaims {
        iss: DEPLOYMENT.to_owned(),
        aud: audience(DEPLOYMENT, &tool()),
        jti: raw().intent_id,
        claim_seq: 0,
        attempt: 1,
        input_digest: Digest::of_bytes(b""),
        worker: "w".parse().unwrap(),
        exp: now().seconds() + 60,
    };
    let mut seen = SeenTokens::default();
    for seq in 0..65_536 {
        claim.claim_seq = seq;
        seen.note(&claim, now()).unwrap();
    }
    claim.claim_seq = 65_536;
    assert_eq!(seen.note(&claim, now()), Err(GateRefusal::Busy));
    let later = now().plus(Duration::from_secs(120));
    assert_eq!(seen.note(&claim, later), Ok(()));
}
