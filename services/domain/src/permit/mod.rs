//! Permits and claim tokens: signed proof that an exact input may run, and that one
//! executor holds the one claim on it.
//!
//! [`check`] is the only way to a [`Permitted`], and only a `Permitted` yields a claim
//! token: skipping the check does not compile.

mod check;
mod claims;
mod gate;
mod jws;
mod tokens;

pub use check::{PermitRefusal, Permitted, check};
pub use claims::{Actor, ClaimClaims, PermitClaims, Reveal, audience};
pub use gate::{Admitted, GateRefusal, SeenTokens, WorkGate, WorkHeaders};
pub use jws::TokenError;
pub use tokens::{Claim, ClaimSigner, ClaimVerifier, PermitSigner, PermitVerifier};

use std::time::Duration;

/// How long a permit lasts unless configured: minutes, so that an executor that was down
/// still finds it, and a decision never outlives the situation it was made in.
pub const PERMIT_LIFE_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// Longest life of a permit, whatever is configured.
pub const PERMIT_LIFE_MAX: Duration = Duration::from_secs(60 * 60);
/// Longest life of a claim token: one hand-over to a worker.
pub const CLAIM_LIFE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
