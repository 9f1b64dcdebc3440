//! Who may give mandates, and the check of one.

use countersign_schemas::{AgentId, Timestamp};
use serde_json::Value;

use super::MandateError;
use super::claims::Mandate;
use super::jwks::{Algorithm, IssuerKeys};
use super::jws::Unverified;

/// Somebody whose mandates count.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// The claim `iss` of its mandates, exactly.
    pub id: String,
    /// The claim `aud` that its mandates for this deployment have, exactly.
    pub audience: String,
    /// The algorithms that it may use. A key fits one of them by its own kind, so a token
    /// chooses nothing.
    pub algorithms: Vec<Algorithm>,
    /// Its keys; `None` while they cannot be had.
    pub keys: Option<IssuerKeys>,
}

/// Everybody whose mandates count.
#[derive(Debug, Clone, Default)]
pub struct Issuers(Vec<Issuer>);

impl Issuers {
    /// These issuers, no two of one id.
    #[must_use]
    pub fn new(issuers: Vec<Issuer>) -> Self {
        Self(issuers)
    }

    /// Checks a mandate that `agent` showed, by the time `at` at which that was stored.
    ///
    /// # Errors
    /// When it proves nothing, for whatever reason.
    pub fn verify(
        &self,
        token: &str,
        agent: &AgentId,
        at: Timestamp,
    ) -> Result<Mandate, MandateError> {
        let token = Unverified::read(token)?;
        token.check_header()?;
        let issuer = self.issuer(&token).ok_or(MandateError::UnknownIssuer)?;
        let algorithm = token.algorithm().and_then(Algorithm::from_word);
        let algorithm = algorithm.filter(|one| issuer.algorithms.contains(one));
        let algorithm = algorithm.ok_or(MandateError::WrongAlgorithm)?;
        let keys = issuer.keys.as_ref().ok_or(MandateError::NoKeys)?;
        let key = keys.find(token.key_id()?, algorithm);
        let key = key.ok_or(MandateError::UnknownKey)?;
        if !key.verifies(token.signed.as_bytes(), token.signature) {
            return Err(MandateError::BadSignature);
        }
        Mandate::read(token.claims(), &issuer.audience, agent, at)
    }

    /// The issuer, by its number, whose keys must be read again before `token` can be
    /// judged: it is one of ours, and the key that the token names is not known.
    #[must_use]
    pub fn lacking(&self, token: &str) -> Option<usize> {
        let token = Unverified::read(token).ok()?;
        token.check_header().ok()?;
        let algorithm = Algorithm::from_word(token.algorithm()?)?;
        let key_id = token.key_id().ok()?;
        let issuer = self.issuer(&token)?;
        let keys = issuer.keys.as_ref();
        let known = keys.is_some_and(|keys| keys.find(key_id, algorithm).is_some());
        let number = self.0.iter().position(|other| other.id == issuer.id);
        number.filter(|_| !known && issuer.algorithms.contains(&algorithm))
    }

    /// The same issuers, the one of this number with other keys.
    #[must_use]
    pub fn with_keys(&self, number: usize, keys: Option<IssuerKeys>) -> Self {
        let mut issuers = self.0.clone();
        if let Some(issuer) = issuers.get_mut(number) {
            issuer.keys = keys;
        }
        Self(issuers)
    }

    fn issuer(&self, token: &Unverified<'_>) -> Option<&Issuer> {
        let named = token.claims().get("iss").and_then(Value::as_str)?;
        self.0.iter().find(|issuer| issuer.id == named)
    }
}
