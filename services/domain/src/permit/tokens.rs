//! Signers and verifiers of the two kinds of token. Clones of one share its keys, so that a
//! rotation reaches all of them.

use std::time::Duration;

use countersign_schemas::{ServiceId, Timestamp, limits};

use super::check::Permitted;
use super::claims::{ClaimClaims, PermitClaims};
use super::jws::{self, TokenError};
use super::{CLAIM_LIFE_MAX, PERMIT_LIFE_MAX};
use crate::keys::{KeySet, SigningKey};
use crate::slot::Slot;

const PERMIT_TYPE: &str = "permit+jwt";
const CLAIM_TYPE: &str = "claim+jwt";

/// Signs permits.
#[derive(Debug, Clone)]
pub struct PermitSigner(Slot<jws::Signer>);

impl PermitSigner {
    /// A signer with this key.
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        Self(Slot::new(jws::Signer::new(key, PERMIT_TYPE)))
    }

    /// Signs with `key` from now on.
    pub fn rotate(&self, key: SigningKey) {
        self.0.put(jws::Signer::new(key, PERMIT_TYPE));
    }

    /// The permit with these claims.
    ///
    /// # Errors
    /// When the claims cannot be written as JSON, which they always can.
    pub fn sign(&self, claims: &PermitClaims) -> Result<String, TokenError> {
        self.0.get().sign(claims)
    }
}

/// Verifies permits.
#[derive(Debug, Clone)]
pub struct PermitVerifier {
    keys: Slot<KeySet>,
}

impl PermitVerifier {
    /// A verifier that trusts these keys.
    #[must_use]
    pub fn new(keys: KeySet) -> Self {
        Self {
            keys: Slot::new(keys),
        }
    }

    /// Trusts `keys` from now on, and no others.
    pub fn trust(&self, keys: KeySet) {
        self.keys.put(keys);
    }

    /// Whether the key that `token` names is known. Where it is not, the published keys may
    /// be newer than these.
    #[must_use]
    pub fn knows(&self, token: &str) -> bool {
        let id = jws::key_id(token);
        id.is_some_and(|id| self.keys.get().get(&id).is_some())
    }

    /// The claims of a permit that was issued by `issuer` for `audience` and is valid now.
    ///
    /// # Errors
    /// When any of that is not so.
    pub fn verify(
        &self,
        token: &str,
        audience: &str,
        issuer: &str,
        now: Timestamp,
    ) -> Result<PermitClaims, TokenError> {
        let claims: PermitClaims = jws::open(token, PERMIT_TYPE, &self.keys.get(), now)?;
        check_parties(&claims.iss, issuer, &claims.aud, audience)?;
        jws::check_times(claims.iat, claims.exp, PERMIT_LIFE_MAX, now)?;
        Ok(claims)
    }
}

/// The claim that a claim token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The sequence of the one `tool.started`.
    pub seq: u64,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// The worker it is for.
    pub worker: ServiceId,
}

/// Signs claim tokens.
#[derive(Debug, Clone)]
pub struct ClaimSigner(Slot<jws::Signer>);

impl ClaimSigner {
    /// A signer with this key.
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        Self(Slot::new(jws::Signer::new(key, CLAIM_TYPE)))
    }

    /// Signs with `key` from now on.
    pub fn rotate(&self, key: SigningKey) {
        self.0.put(jws::Signer::new(key, CLAIM_TYPE));
    }

    /// A claim token for a permitted run, valid for [`CLAIM_LIFE_MAX`].
    ///
    /// # Errors
    /// When the claims cannot be written as JSON, which they always can.
    pub fn sign(
        &self,
        permitted: &Permitted,
        claim: Claim,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        let permit = permitted.claims();
        self.0.get().sign(&ClaimClaims {
            iss: permit.iss.clone(),
            aud: permit.aud.clone(),
            jti: permit.jti,
            claim_seq: claim.seq,
            attempt: claim.attempt,
            input_digest: permit.input_digest,
            worker: claim.worker,
            exp: now.plus(CLAIM_LIFE_MAX).seconds(),
        })
    }
}

/// Verifies claim tokens.
#[derive(Debug, Clone)]
pub struct ClaimVerifier {
    keys: Slot<KeySet>,
}

impl ClaimVerifier {
    /// A verifier that trusts these keys.
    #[must_use]
    pub fn new(keys: KeySet) -> Self {
        Self {
            keys: Slot::new(keys),
        }
    }

    /// Trusts `keys` from now on, and no others.
    pub fn trust(&self, keys: KeySet) {
        self.keys.put(keys);
    }

    /// The claims of a claim token that was issued by `issuer` for `audience` and is
    /// valid now.
    ///
    /// # Errors
    /// When any of that is not so.
    pub fn verify(
        &self,
        token: &str,
        audience: &str,
        issuer: &str,
        now: Timestamp,
    ) -> Result<ClaimClaims, TokenError> {
        let claims: ClaimClaims = jws::open(token, CLAIM_TYPE, &self.keys.get(), now)?;
        check_parties(&claims.iss, issuer, &claims.aud, audience)?;
        // A claim token carries no `iat`: how far it reaches ahead is bounded instead.
        let skew = Duration::from_secs(limits::CLOCK_SKEW_SECONDS);
        jws::check_times(now.seconds(), claims.exp, CLAIM_LIFE_MAX + skew, now)?;
        Ok(claims)
    }
}

fn check_parties(iss: &str, issuer: &str, aud: &str, audience: &str) -> Result<(), TokenError> {
    if iss != issuer {
        return Err(TokenError::WrongIssuer);
    }
    if aud != audience {
        return Err(TokenError::WrongAudience);
    }
    Ok(())
}
