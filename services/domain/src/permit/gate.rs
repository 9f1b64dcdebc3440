//! What a worker checks before it acts. Pure, so that every worker, in whatever transport,
//! demands the same: a permit and a claim token, both for this input and this worker.

use std::collections::HashMap;

use countersign_schemas::{Digest, IntentId, JsonObject, ServiceId, Timestamp, ToolName, limits};

use super::claims::{ClaimClaims, PermitClaims, audience};
use super::jws::TokenError;
use super::tokens::{ClaimVerifier, PermitVerifier};
use crate::input::input_digest;
use crate::keys::KeySet;

/// Claim tokens remembered at once. They live about a minute, so this is a thousand runs
/// a second; a worker beyond that refuses rather than forgets.
const SEEN_MAX: usize = 65_536;

/// The headers of the worker contract.
#[derive(Debug, Clone, Copy)]
pub struct WorkHeaders<'a> {
    /// `Countersign-Intent`.
    pub intent: Option<&'a str>,
    /// `Countersign-Permit`.
    pub permit: Option<&'a str>,
    /// `Countersign-Claim`.
    pub claim: Option<&'a str>,
}

/// Why a worker does not act. Never holds a value of the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateRefusal {
    /// A header is missing.
    #[error("the header `{0}` is missing: only the executor may call this worker")]
    Missing(&'static str),
    /// The permit proves nothing.
    #[error("the permit is not valid: {0}")]
    Permit(TokenError),
    /// The claim token proves nothing.
    #[error("the claim token is not valid: {0}")]
    Claim(TokenError),
    /// Permit, claim token, headers and worker do not belong together.
    #[error("permit, claim token and call disagree on the {0}")]
    Mismatch(&'static str),
    /// The body is not the input that was approved.
    #[error("the body is not the input that was approved: its digest differs")]
    InputChanged,
    /// This claim token was used before.
    #[error("this claim token was already used here")]
    Replayed,
    /// Too many claim tokens in a minute.
    #[error("too many claim tokens in the last minute; try again later")]
    Busy,
}

impl GateRefusal {
    /// The stable code of the refusal.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "permit_missing",
            Self::Permit(_) => "permit_invalid",
            Self::Claim(_) => "claim_invalid",
            Self::Mismatch(_) => "permit_mismatch",
            Self::InputChanged => "digest_mismatch",
            Self::Replayed => "claim_replayed",
            Self::Busy => "busy",
        }
    }
}

/// Claim tokens that were used, until they expire.
#[derive(Debug, Default)]
pub struct SeenTokens {
    until: HashMap<(IntentId, u64, u32), i64>,
}

impl SeenTokens {
    /// Notes a use; refuses a second one.
    ///
    /// # Errors
    /// When the token was used before, or too many are remembered.
    pub fn note(&mut self, claim: &ClaimClaims, now: Timestamp) -> Result<(), GateRefusal> {
        let key = (claim.jti, claim.claim_seq, claim.attempt);
        if self.until.contains_key(&key) {
            return Err(GateRefusal::Replayed);
        }
        if self.until.len() >= SEEN_MAX {
            let skew = i64::try_from(limits::CLOCK_SKEW_SECONDS).unwrap_or_default();
            self.until.retain(|_, exp| *exp + skew > now.seconds());
        }
        if self.until.len() >= SEEN_MAX {
            return Err(GateRefusal::Busy);
        }
        self.until.insert(key, claim.exp);
        Ok(())
    }
}

/// A call that may be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// What the permit says.
    pub permit: PermitClaims,
    /// What the claim token says.
    pub claim: ClaimClaims,
}

/// The gate of one worker.
#[derive(Debug, Clone)]
pub struct WorkGate {
    permits: PermitVerifier,
    claims: ClaimVerifier,
    deployment: String,
    worker: ServiceId,
}

impl WorkGate {
    /// The gate of `worker` in `deployment`, trusting the published keys.
    #[must_use]
    pub fn new(permits: KeySet, claims: KeySet, deployment: &str, worker: ServiceId) -> Self {
        Self {
            permits: PermitVerifier::new(permits),
            claims: ClaimVerifier::new(claims),
            deployment: deployment.to_owned(),
            worker,
        }
    }

    /// Trusts these keys from now on, and no others: the published ones, as they are now.
    ///
    /// Before each [`Self::admit`] look whether the two files have changed (inode, size and
    /// time of change tell) and trust what they hold: a key that was stolen is taken out of
    /// them, and one that was retired gets an end. A `kid` that is not known is no sign of
    /// it, since a thief signs with the one that is. A file that cannot be read admits
    /// nothing.
    pub fn trust(&self, permits: KeySet, claims: KeySet) {
        self.permits.trust(permits);
        self.claims.trust(claims);
    }

    /// Admits one call of `tool` with `body`, once.
    ///
    /// # Errors
    /// When anything is missing, wrong, for somebody else or already used.
    pub fn admit(
        &self,
        tool: &ToolName,
        headers: WorkHeaders<'_>,
        body: &JsonObject,
        seen: &mut SeenTokens,
        now: Timestamp,
    ) -> Result<Admitted, GateRefusal> {
        let intent = headers
            .intent
            .ok_or(GateRefusal::Missing("Countersign-Intent"))?;
        let permit = headers
            .permit
            .ok_or(GateRefusal::Missing("Countersign-Permit"))?;
        let claim = headers
            .claim
            .ok_or(GateRefusal::Missing("Countersign-Claim"))?;
        let aud = audience(&self.deployment, tool);
        let permit = self
            .permits
            .verify(permit, &aud, &self.deployment, now)
            .map_err(GateRefusal::Permit)?;
        let claim = self
            .claims
            .verify(claim, &aud, &self.deployment, now)
            .map_err(GateRefusal::Claim)?;
        self.agree(intent, &permit, &claim)?;
        check_body(tool, &permit, body)?;
        seen.note(&claim, now)?;
        Ok(Admitted { permit, claim })
    }

    fn agree(
        &self,
        intent: &str,
        permit: &PermitClaims,
        claim: &ClaimClaims,
    ) -> Result<(), GateRefusal> {
        if permit.jti != claim.jti || permit.jti.to_string() != intent {
            return Err(GateRefusal::Mismatch("intent"));
        }
        if permit.input_digest != claim.input_digest {
            return Err(GateRefusal::Mismatch("input digest"));
        }
        if claim.worker != self.worker {
            return Err(GateRefusal::Mismatch("worker"));
        }
        Ok(())
    }
}

/// The digest covers the input as the agent sent it. Where the permit lets surrogates be
/// resolved, the body holds the values instead and only the vault could compare them.
fn check_body(
    tool: &ToolName,
    permit: &PermitClaims,
    body: &JsonObject,
) -> Result<(), GateRefusal> {
    if !permit.reveal.is_empty() {
        return Ok(());
    }
    let found: Digest = input_digest(permit.jti, tool, body, &permit.salt)
        .map_err(|_| GateRefusal::InputChanged)?;
    if found == permit.input_digest {
        Ok(())
    } else {
        Err(GateRefusal::InputChanged)
    }
}
