//! Mandates of rehearsals, such as the tests of a bundle: signed and checked like any
//! other, by an issuer that no deployment trusts.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_schemas::{AgentId, RequesterId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Algorithm, Issuer, IssuerKeys, Issuers, TYPE};
use crate::keys::{KeySet, SigningKey};

/// The seed of the key that signs in rehearsals. It is known to everybody, and nobody but
/// a rehearsal trusts it.
const SEED: [u8; 32] = [0; 32];
/// The issuer and the audience where nobody says.
const NAME: &str = "rehearsal";
/// How long such a mandate is valid: one judgement.
const LIFE: Duration = Duration::from_secs(60);

/// What a mandate says in a rehearsal.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// The claim `scope`.
    pub scope: String,
    /// The claim `facts`.
    #[serde(default)]
    pub facts: BTreeMap<String, Value>,
    /// The claim `iss`.
    pub issuer: Option<String>,
    /// The claim `jti`.
    pub id: Option<String>,
}

impl Stated {
    /// The mandate of `person` for `agent`, and the issuers that take it.
    #[must_use]
    pub fn signed(
        &self,
        agent: &AgentId,
        person: &RequesterId,
        at: Timestamp,
    ) -> (Issuers, String) {
        let key = SigningKey::from_seed(&SEED);
        let issuer = self.issuer.as_deref().unwrap_or(NAME);
        let header = json!({"alg": "EdDSA", "typ": TYPE, "kid": key.id()});
        let claims = json!({
            "iss": issuer, "aud": NAME, "sub": person, "act": {"sub": agent},
            "jti": self.id.as_deref().unwrap_or(NAME), "scope": self.scope,
            "iat": at.seconds(), "exp": at.plus(LIFE).seconds(), "facts": self.facts
        });
        let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
        let jwks = KeySet::new([key.public()]).to_jwks();
        let issuers = Issuers::new(vec![Issuer {
            id: issuer.to_owned(),
            audience: NAME.to_owned(),
            algorithms: vec![Algorithm::EdDsa],
            keys: IssuerKeys::from_jwks(jwks.as_bytes()).ok(),
        }]);
        (issuers, format!("{signed}.{signature}"))
    }
}
