//! Issuers and tokens to try mandates with.

mod keys;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_schemas::Timestamp;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::{Value, json};

use super::{Algorithm, Issuer, IssuerKeys, IssuerKeysError, TYPE};
use crate::keys::SigningKey;

pub(crate) const ISSUER: &str = "https://id.northwind.example";
pub(crate) const NOW: i64 = 1_800_000_000;

/// A key with which an issuer signs.
pub(crate) struct Signer {
    pub(crate) kid: &'static str,
    pub(crate) alg: Algorithm,
    key: EncodingKey,
}

impl Signer {
    pub(crate) fn new(alg: Algorithm, kid: &'static str) -> Self {
        let der = |text| STANDARD.decode(text).unwrap();
        let key = match alg {
            Algorithm::EdDsa => EncodingKey::from_secret(&[7; 32]),
            Algorithm::Es256 => EncodingKey::from_ec_der(&der(keys::P256)),
            Algorithm::Rs256 => EncodingKey::from_rsa_der(&der(keys::RSA)),
        };
        Self { kid, alg, key }
    }

    fn library(&self) -> jsonwebtoken::Algorithm {
        self.alg.as_str().parse().unwrap()
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match self.alg {
            Algorithm::EdDsa => {
                let x = SigningKey::from_seed(&[7; 32]).public().to_bytes();
                json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(x)})
            }
            Algorithm::Es256 | Algorithm::Rs256 => {
                serde_json::to_value(Jwk::from_encoding_key(&self.key, self.library()).unwrap())
                    .unwrap()
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = match self.alg {
            Algorithm::EdDsa => {
                let key = SigningKey::from_seed(&[7; 32]);
                URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()))
            }
            Algorithm::Es256 | Algorithm::Rs256 => {
                jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.library()).unwrap()
            }
        };
        format!("{signed}.{signature}")
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.alg.as_str(), "typ": TYPE, "kid": self.kid})
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    pub(crate) fn issuer(&self) -> Issuer {
        Issuer {
            id: ISSUER.to_owned(),
            audience: "countersign".to_owned(),
            algorithms: Algorithm::ALL.to_vec(),
            keys: Some(set(&[self.jwk()]).unwrap()),
        }
    }
}

pub(crate) fn set(jwks: &[Value]) -> Result<IssuerKeys, IssuerKeysError> {
    IssuerKeys::from_jwks(json!({"keys": jwks}).to_string().as_bytes())
}

/// What a sound mandate says.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "countersign", "sub": "kim@northwind.example",
        "act": {"sub": "support"}, "jti": "m-1", "iat": NOW - 60, "exp": NOW + 600,
        "scope": "openid tool:mail.send operation:read", "facts": {"case": "T-7", "vip": true}
    })
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000).unwrap()
}
