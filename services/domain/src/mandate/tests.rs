//! Every trick that a token could play on its reader.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_schemas::AgentId;
use countersign_schemas::events::Operation;
use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixtures::*;
use super::*;

fn check(issuer: Issuer, token: &str) -> Result<Mandate, MandateError> {
    Issuers::new(vec![issuer]).verify(token, &support(), at(NOW))
}

fn support() -> AgentId {
    "support".parse().unwrap()
}

/// The largest whole number that every reader of JSON keeps.
const EXACT_MAX: i64 = (1 << 53) - 1;

/// What comes of the sound claims with one of them changed; `null` takes it away.
fn with(name: &str, value: Value) -> Result<Mandate, MandateError> {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    let mut claims = claims();
    claims[name] = value;
    if let Value::Object(all) = &mut claims {
        all.retain(|_, value| !value.is_null());
    }
    check(signer.issuer(), &signer.token(&claims))
}

#[test]
fn each_algorithm_proves_a_sound_mandate() {
    for alg in Algorithm::ALL {
        let signer = Signer::new(alg, "k1");
        let token = signer.token(&claims());
        let mandate = check(signer.issuer(), &token).unwrap();
        assert_eq!(mandate.person().as_str(), "kim@northwind.example");
        assert_eq!((mandate.issuer(), mandate.id()), (ISSUER, "m-1"));
        assert_eq!(mandate.facts()["case"], "T-7");
        assert_eq!(mandate.expires_at(), at(NOW + 600));
        // Every signed byte counts, and so does every byte of the signature.
        for part in 0..3 {
            let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
            let middle = parts[part].len() / 2;
            let mut bytes = std::mem::take(&mut parts[part]).into_bytes();
            bytes[middle] = if bytes[middle] == b'A' { b'B' } else { b'A' };
            parts[part] = String::from_utf8(bytes).unwrap();
            assert!(
                check(signer.issuer(), &parts.join(".")).is_err(),
                "{alg:?} part {part}"
            );
        }
    }
}

#[test]
fn a_token_chooses_neither_its_algorithm_nor_its_key() {
    let signers = Algorithm::ALL.map(|alg| Signer::new(alg, "k1"));
    for signer in &signers {
        for other in &signers {
            // Signed by one key and naming the algorithm of another.
            let mut header = signer.header();
            header["alg"] = json!(other.alg.as_str());
            let token = signer.sign(&header.to_string(), &claims().to_string());
            let mut issuer = signer.issuer();
            let expected = (signer.alg != other.alg).then_some(MandateError::UnknownKey);
            assert_eq!(check(issuer.clone(), &token).err(), expected);
            issuer.algorithms = vec![other.alg];
            issuer.keys = signer.issuer().keys;
            let sound = check(issuer, &signer.token(&claims()));
            let expected = (signer.alg != other.alg).then_some(MandateError::WrongAlgorithm);
            assert_eq!(sound.err(), expected);
        }
    }
}

#[test]
fn no_signature_and_a_shared_secret_prove_nothing() {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    for alg in [
        "none", "None", "NONE", "HS256", "HS384", "HS512", "RS512", "PS256", "ES384", "eddsa", "",
    ] {
        let mut header = signer.header();
        header["alg"] = json!(alg);
        let token = signer.sign(&header.to_string(), &claims().to_string());
        assert_eq!(
            check(signer.issuer(), &token).unwrap_err(),
            MandateError::WrongAlgorithm,
            "{alg}"
        );
        let bare = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert_eq!(
            check(signer.issuer(), &bare).unwrap_err(),
            MandateError::WrongAlgorithm,
            "{alg}"
        );
    }
    // The published key as the secret of an HMAC, under the honest name of the key.
    let rsa = Signer::new(Algorithm::Rs256, "k1");
    let encode = |part: String| URL_SAFE_NO_PAD.encode(part);
    let header = json!({"alg": "HS256", "typ": TYPE, "kid": "k1"});
    let signed = format!(
        "{}.{}",
        encode(header.to_string()),
        encode(claims().to_string())
    );
    let secret = EncodingKey::from_secret(rsa.jwk()["n"].as_str().unwrap().as_bytes());
    let tag =
        jsonwebtoken::crypto::sign(signed.as_bytes(), &secret, jsonwebtoken::Algorithm::HS256);
    let token = format!("{signed}.{}", tag.unwrap());
    assert_eq!(
        check(rsa.issuer(), &token).unwrap_err(),
        MandateError::WrongAlgorithm
    );
    // The same bytes with the algorithm of the key in the header.
    let empty = rsa.sign(&rsa.header().to_string(), &claims().to_string());
    let empty = format!("{}.", empty.rsplit_once('.').unwrap().0);
    assert_eq!(
        check(rsa.issuer(), &empty).unwrap_err(),
        MandateError::BadSignature
    );
}

#[test]
fn a_header_that_asks_for_more_is_refused() {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    let foreign = MandateError::ForeignHeader;
    let table = [
        ("crit", json!(["exp"]), foreign.clone()),
        ("crit", json!([]), foreign.clone()),
        ("b64", json!(false), foreign.clone()),
        ("jwk", signer.jwk(), foreign.clone()),
        ("jku", json!("https://evil.example/keys"), foreign.clone()),
        ("x5u", json!("https://evil.example/cert"), foreign.clone()),
        ("x5c", json!(["MII="]), foreign.clone()),
        ("zip", json!("DEF"), foreign.clone()),
        ("cty", json!("JWT"), foreign),
        ("typ", json!("JWT"), MandateError::WrongType),
        ("typ", json!("at+jwt"), MandateError::WrongType),
        ("typ", json!("permit+jwt"), MandateError::WrongType),
        ("typ", json!(7), MandateError::WrongType),
        ("typ", Value::Null, MandateError::WrongType),
        ("kid", json!("k2"), MandateError::UnknownKey),
        ("kid", json!(1), MandateError::NoKeyId),
        ("alg", json!(["EdDSA"]), MandateError::WrongAlgorithm),
    ];
    for (name, value, expected) in table {
        let mut header = signer.header();
        header[name] = value;
        let token = signer.sign(&header.to_string(), &claims().to_string());
        assert_eq!(
            check(signer.issuer(), &token).unwrap_err(),
            expected,
            "{header}"
        );
    }
    for typ in ["application/mandate+jwt", "Mandate+JWT"] {
        let mut header = signer.header();
        header["typ"] = json!(typ);
        header["x5t"] = json!("abc");
        let token = signer.sign(&header.to_string(), &claims().to_string());
        assert!(check(signer.issuer(), &token).is_ok(), "{typ}");
    }
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    let header = signer.header().to_string();
    let claims = claims().to_string();
    let doubled_claim = claims.replacen('{', "{\"sub\":\"lee@northwind.example\",", 1);
    let doubled_header = header.replacen('{', "{\"kid\":\"k9\",", 1);
    for (header, claims) in [
        (header.as_str(), doubled_claim.as_str()),
        (&doubled_header, &claims),
        (&header, "[]"),
        (&header, "{"),
        ("null", &claims),
    ] {
        let token = signer.sign(header, claims);
        assert_eq!(
            check(signer.issuer(), &token).unwrap_err(),
            MandateError::Malformed,
            "{claims}"
        );
    }
    let sound = signer.sign(&header, &claims);
    for token in [
        "",
        ".",
        "..",
        "a.b.c",
        "....",
        &sound.replace('.', ".."),
        &format!("{sound}.x"),
    ] {
        assert_eq!(
            check(signer.issuer(), token).unwrap_err(),
            MandateError::Malformed,
            "{token}"
        );
    }
    for token in [
        format!("{sound}="),
        format!(" {sound}"),
        format!("{sound} "),
    ] {
        assert!(check(signer.issuer(), &token).is_err(), "{token:?}");
    }
    let long = "x".repeat(jws::TOKEN_BYTES_MAX);
    assert_eq!(with("jti", json!(long)).unwrap_err(), MandateError::Long);
}

#[test]
fn every_claim_counts() {
    let bad = MandateError::BadClaim;
    let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    let facts: serde_json::Map<String, Value> =
        (0..65).map(|n| (format!("f{n}"), json!(1))).collect();
    let table = [
        (
            "iss",
            json!("https://other.example"),
            MandateError::UnknownIssuer,
        ),
        (
            "iss",
            json!(format!("{ISSUER}/")),
            MandateError::UnknownIssuer,
        ),
        ("iss", json!([ISSUER]), MandateError::UnknownIssuer),
        ("aud", json!("elsewhere"), MandateError::WrongAudience),
        (
            "aud",
            json!(["elsewhere", "Countersign"]),
            MandateError::WrongAudience,
        ),
        ("aud", json!([]), MandateError::WrongAudience),
        ("aud", json!(many), bad("aud")),
        ("aud", Value::Null, bad("aud")),
        ("act", json!({"sub": "billing"}), MandateError::WrongAgent),
        (
            "act",
            json!({"sub": "billing", "act": {"sub": "support"}}),
            MandateError::WrongAgent,
        ),
        ("act", json!("support"), bad("act")),
        ("act", Value::Null, bad("act")),
        ("sub", json!("no such form"), bad("sub")),
        ("sub", Value::Null, bad("sub")),
        ("jti", json!(""), bad("jti")),
        ("jti", json!("x".repeat(257)), bad("jti")),
        ("jti", Value::Null, bad("jti")),
        ("scope", Value::Null, bad("scope")),
        ("scope", json!(["operation:read"]), bad("scope")),
        ("scope", json!("a ".repeat(1_000)), bad("scope")),
        ("iat", Value::Null, bad("iat")),
        ("exp", Value::Null, bad("exp")),
        ("exp", json!("1800000600"), bad("exp")),
        ("exp", json!(1.5e9 + 0.5), bad("exp")),
        ("nbf", json!("soon"), bad("nbf")),
        ("facts", json!([]), bad("facts")),
        ("facts", json!({"a": null}), bad("facts")),
        ("facts", json!({"a": {"b": 1}}), bad("facts")),
        ("facts", json!({"a": ["b"]}), bad("facts")),
        ("facts", json!({"a.b": 1}), bad("facts")),
        ("facts", json!({"a": "x".repeat(1_001)}), bad("facts")),
        ("facts", Value::Object(facts), bad("facts")),
    ];
    for (name, value, expected) in table {
        assert_eq!(
            with(name, value.clone()).unwrap_err(),
            expected,
            "{name} {value}"
        );
    }
    assert!(with("aud", json!(["elsewhere", "countersign"])).is_ok());
    assert!(with("facts", Value::Null).unwrap().facts().is_empty());
    assert!(with("act", json!({"sub": "support", "act": {"sub": "billing"}})).is_ok());
}

#[test]
fn time_is_the_time_of_storing_and_five_seconds_are_forgiven() {
    let month = 31 * 24 * 60 * 60;
    let expired = |seconds| MandateError::Expired { at: at(seconds) };
    let table = [
        ("exp", NOW - 4, None),
        ("exp", NOW - 5, Some(expired(NOW - 5))),
        ("exp", NOW - 3_600, Some(expired(NOW - 3_600))),
        ("exp", NOW - 60 + month, None),
        ("exp", NOW - 59 + month, Some(MandateError::LongLived)),
        ("exp", EXACT_MAX, Some(MandateError::LongLived)),
        ("iat", NOW + 5, None),
        ("iat", NOW + 6, Some(MandateError::NotYet)),
        ("iat", -EXACT_MAX, Some(MandateError::LongLived)),
        ("iat", EXACT_MAX, Some(MandateError::NotYet)),
        ("nbf", NOW + 5, None),
        ("nbf", NOW + 6, Some(MandateError::NotYet)),
    ];
    for (name, value, expected) in table {
        assert_eq!(with(name, json!(value)).err(), expected, "{name} {value}");
    }
}

#[test]
fn issuers_do_not_stand_in_for_each_other() {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    let mut other = Signer::new(Algorithm::Es256, "k1").issuer();
    other.id = "https://id.partner.example".to_owned();
    other.audience = "partner".to_owned();
    let agent = support();
    let both = Issuers::new(vec![other.clone(), signer.issuer()]);
    assert!(
        both.verify(&signer.token(&claims()), &agent, at(NOW))
            .is_ok()
    );
    // The key of one issuer under the name of the other, both keys called alike.
    let mut forged = claims();
    forged["iss"] = json!(other.id);
    forged["aud"] = json!("partner");
    let found = both.verify(&signer.token(&forged), &agent, at(NOW));
    assert_eq!(found.unwrap_err(), MandateError::UnknownKey);
    assert_eq!(
        Issuers::default().verify(&signer.token(&claims()), &agent, at(NOW)),
        Err(MandateError::UnknownIssuer)
    );
}

#[test]
fn keys_rotate_and_a_missing_one_is_noticed() {
    let (old, new) = (
        Signer::new(Algorithm::EdDsa, "old"),
        Signer::new(Algorithm::Es256, "new"),
    );
    let issuers = |keys: Option<IssuerKeys>| {
        Issuers::new(vec![Issuer {
            keys,
            ..old.issuer()
        }])
    };
    let of = |jwks: &[Value]| issuers(Some(set(jwks).unwrap()));
    let agent = support();
    let tokens = [old.token(&claims()), new.token(&claims())];
    let judged = |issuers: &Issuers| {
        tokens.each_ref().map(|token| {
            (
                issuers.verify(token, &agent, at(NOW)).err(),
                issuers.lacking(token).is_some(),
            )
        })
    };
    let unknown = || (Some(MandateError::UnknownKey), true);
    assert_eq!(judged(&of(&[old.jwk()])), [(None, false), unknown()]);
    assert_eq!(
        judged(&of(&[old.jwk(), new.jwk()])),
        [(None, false), (None, false)]
    );
    assert_eq!(judged(&of(&[new.jwk()])), [unknown(), (None, false)]);
    let gone = (Some(MandateError::NoKeys), true);
    assert_eq!(judged(&issuers(None)), [gone.clone(), gone]);
    // Strangers make nobody fetch anything.
    let mut foreign = claims();
    foreign["iss"] = json!("https://other.example");
    assert_eq!(issuers(None).lacking(&old.token(&foreign)), None);
    assert_eq!(issuers(None).lacking("a.b.c"), None);
}

#[test]
fn a_key_set_is_sound_or_not_used() {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    let with = |name: &str, value: Value| {
        let mut jwk = signer.jwk();
        jwk[name] = value;
        jwk
    };
    let rsa = Signer::new(Algorithm::Rs256, "r").jwk();
    let changed = |name: &str, value: Value| {
        let mut jwk = rsa.clone();
        jwk[name] = value;
        jwk
    };
    let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
    let mut off_curve = Signer::new(Algorithm::Es256, "e").jwk();
    off_curve["y"] = json!(URL_SAFE_NO_PAD.encode([1; 32]));
    for unsound in [
        vec![],
        vec![json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k1", "alg": "HS256"})],
        vec![with("use", json!("enc"))],
        vec![with("alg", json!("RS256"))],
        vec![with("key_ops", json!(["sign"]))],
        vec![with("kid", json!(7))],
        vec![with("crv", json!("X25519"))],
        vec![with("x", json!("AAAA"))],
        vec![with("x", json!(URL_SAFE_NO_PAD.encode([0; 32])))],
        vec![with("d", json!("c2VjcmV0"))],
        vec![signer.jwk(), signer.jwk()],
        vec![signer.jwk(), off_curve],
        vec![changed("n", json!(short))],
        vec![changed("e", json!("Aw"))],
        vec![changed("e", json!("AQ"))],
        vec![changed("e", json!("AQAA"))],
        vec![changed("p", json!("AQAB"))],
        (0..101)
            .map(|n| with("kid", json!(n.to_string())))
            .collect(),
    ] {
        assert!(set(&unsound).is_err(), "{unsound:?}");
    }
    assert!(IssuerKeys::from_jwks(b"{\"keys\":{}}").is_err());
    assert!(IssuerKeys::from_jwks(&vec![b' '; JWKS_BYTES_MAX + 1]).is_err());
    let strange = json!({"kty": "EC", "crv": "P-521", "kid": "x"});
    let oct = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k1"});
    assert!(set(&[strange, oct, signer.jwk(), rsa]).is_ok());
    assert!(!format!("{:?}", set(&[signer.jwk()]).unwrap()).contains("x:"));
}

#[test]
fn a_scope_covers_tools_and_operations_and_nothing_else() {
    let covers = |scope: &str, tool: &str, operation| {
        Scope::read(scope).covers(&tool.parse().unwrap(), operation)
    };
    let table = [
        ("tool:mail.send", "mail.send", Operation::Send, true),
        ("tool:mail.send", "mail.sender", Operation::Send, false),
        ("tool:mail.send", "mail", Operation::Send, false),
        ("tool:mail", "mail.send", Operation::Send, false),
        ("tool:*", "mail.send", Operation::Send, false),
        ("operation:send", "mail.send", Operation::Send, true),
        ("operation:read", "mail.send", Operation::Send, false),
        ("operation:*", "mail.send", Operation::Send, false),
        ("operation:Send", "mail.send", Operation::Send, false),
        (
            "operation:read tool:mail.send",
            "mail.send",
            Operation::Send,
            true,
        ),
        (
            "operation:read tool:mail.send",
            "crm.read",
            Operation::Read,
            true,
        ),
        (
            "operation:read tool:mail.send",
            "crm.edit",
            Operation::Update,
            false,
        ),
        (
            "openid profile send mail.send",
            "mail.send",
            Operation::Send,
            false,
        ),
        ("", "mail.send", Operation::Send, false),
    ];
    for (scope, tool, operation, expected) in table {
        assert_eq!(covers(scope, tool, operation), expected, "{scope} {tool}");
    }
}

#[test]
fn two_mandates_are_told_apart_by_issuer_and_id() {
    let one = with("jti", json!("a")).unwrap().key();
    assert_eq!(one, with("jti", json!("a")).unwrap().key());
    assert_ne!(one, with("jti", json!("b")).unwrap().key());
}

#[test]
fn errors_hold_nothing_of_the_token() {
    let planted = "planted-value";
    for name in ["iss", "aud", "sub", "jti", "scope", "exp", "act"] {
        let value = json!({ "planted-value": planted });
        let message = with(name, value).unwrap_err().to_string();
        assert!(!message.contains(planted), "{message}");
    }
}

proptest! {
    #[test]
    fn whatever_bytes_come_none_is_believed(token in "[-A-Za-z0-9_.]{0,200}") {
        let issuer = Signer::new(Algorithm::EdDsa, "k1").issuer();
        prop_assert!(check(issuer, &token).is_err());
    }
}
