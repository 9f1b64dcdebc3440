//! The check before every run.

use countersign_schemas::events::{RevokedCode, ToolApproved, ToolRequested};
use countersign_schemas::{JsonObject, Timestamp};

use super::claims::{PermitClaims, audience};
use super::jws::TokenError;
use super::tokens::PermitVerifier;
use crate::input::input_digest;

/// An exact input that may run now. Only [`check`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Permitted {
    claims: PermitClaims,
    input: JsonObject,
}

impl Permitted {
    /// What the permit says.
    #[must_use]
    pub fn claims(&self) -> &PermitClaims {
        &self.claims
    }

    /// The input that was approved.
    #[must_use]
    pub fn input(&self) -> &JsonObject {
        &self.input
    }
}

/// Why an approved intent may not run. Never holds a value of the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermitRefusal {
    /// The permit proves nothing.
    #[error("the permit is not valid: {0}")]
    Token(#[from] TokenError),
    /// The permit, the decision and the request do not speak of the same thing.
    #[error("the permit and the stored {message} disagree on the {part}")]
    Mismatch {
        /// Which message.
        message: &'static str,
        /// Which part.
        part: &'static str,
    },
    /// The stored input is not what was approved.
    #[error("the stored input is not the one that was approved: its digest differs")]
    InputChanged,
}

impl PermitRefusal {
    /// The code under which the intent is revoked.
    #[must_use]
    pub fn code(&self) -> RevokedCode {
        match self {
            Self::Token(TokenError::Expired { .. }) => RevokedCode::PermitExpired,
            Self::Token(_) | Self::Mismatch { .. } | Self::InputChanged => {
                RevokedCode::DigestMismatch
            }
        }
    }

    /// Whether this can only be a forgery or a fault: the caller raises an alarm.
    #[must_use]
    pub fn is_alarming(&self) -> bool {
        !matches!(self, Self::Token(TokenError::Expired { .. }))
    }
}

/// Checks that the permit in `approved` is genuine and valid now, and that it, the decision
/// and the raw request all speak of the same agent, person, tool and exact input.
///
/// # Errors
/// When any of that is not so.
pub fn check(
    approved: &ToolApproved,
    raw: &ToolRequested,
    verifier: &PermitVerifier,
    deployment: &str,
    now: Timestamp,
) -> Result<Permitted, PermitRefusal> {
    let expected = audience(deployment, &approved.tool);
    let claims = verifier.verify(&approved.permit, &expected, deployment, now)?;
    agree_with_decision(&claims, approved)?;
    agree_with_request(&claims, approved, raw)?;
    let found = input_digest(claims.jti, &raw.tool, &raw.input, &claims.salt)
        .map_err(|_| PermitRefusal::InputChanged)?;
    if found != claims.input_digest {
        return Err(PermitRefusal::InputChanged);
    }
    Ok(Permitted {
        claims,
        input: raw.input.clone(),
    })
}

fn agree_with_decision(
    claims: &PermitClaims,
    approved: &ToolApproved,
) -> Result<(), PermitRefusal> {
    let pairs = [
        ("intent", claims.jti == approved.intent_id),
        ("agent", claims.sub == approved.agent),
        ("requester", claims.act.sub == approved.requester.id),
        ("input digest", claims.input_digest == approved.input_digest),
        ("tool digest", claims.tool_digest == approved.tool_digest),
        (
            "policy digest",
            claims.policy_digest == approved.policy_digest,
        ),
        ("basis", claims.basis == approved.basis),
    ];
    all_agree("decision", &pairs)
}

fn agree_with_request(
    claims: &PermitClaims,
    approved: &ToolApproved,
    raw: &ToolRequested,
) -> Result<(), PermitRefusal> {
    let pairs = [
        ("intent", claims.jti == raw.intent_id),
        ("requester", claims.act.sub == raw.requester.id),
        ("tool", approved.tool == raw.tool),
        ("dry run", raw.dry_run != Some(true)),
    ];
    all_agree("request", &pairs)
}

fn all_agree(message: &'static str, pairs: &[(&'static str, bool)]) -> Result<(), PermitRefusal> {
    match pairs.iter().find(|(_, same)| !same) {
        Some((part, _)) => Err(PermitRefusal::Mismatch { message, part }),
        None => Ok(()),
    }
}
