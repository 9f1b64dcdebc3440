//! Somebody who gives mandates in these tests.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_domain::keys::{KeySet, SigningKey};
use countersign_domain::mandate::{Algorithm, TYPE};
use countersign_runtime::config::{MandateIssuer, Mandates};
use serde_json::{Value, json};

const ISSUER: &str = "https://id.northwind.example";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// Publishes the keys of these seeds in a file and gives the settings that trust them.
pub(crate) fn trusted(dir: &Path, seeds: &[u8]) -> Result<Mandates> {
    let path = dir.join("company.jwks");
    let keys = KeySet::new(seeds.iter().map(|seed| key(*seed).public()));
    std::fs::write(&path, keys.to_jwks())?;
    let issuer = MandateIssuer {
        issuer: ISSUER.to_owned(),
        audience: "countersign".to_owned(),
        jwks_file: Some(path),
        jwks_url: None,
        algorithms: Algorithm::ALL.to_vec(),
    };
    Ok(Mandates {
        issuers: BTreeMap::from([("company".to_owned(), issuer)]),
        ..Mandates::default()
    })
}

/// What a mandate says that kim gives to an agent at `now`, for ten minutes.
pub(crate) fn claims(agent: &str, now: i64) -> Value {
    json!({
        "iss": ISSUER, "aud": "countersign", "sub": "kim@northwind.example",
        "act": {"sub": agent}, "jti": "m-1", "iat": now, "exp": now + 600,
        "scope": "operation:read operation:update operation:send"
    })
}

/// A mandate signed with the key of this seed.
pub(crate) fn signed(claims: &Value, seed: u8) -> String {
    let key = key(seed);
    let header = json!({"alg": "EdDSA", "typ": TYPE, "kid": key.id()});
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(&header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}
