//! Mandates: signed statements of who asked an agent, for what and until when, with facts
//! that may be trusted.
//!
//! A mandate is a JWT of type `mandate+jwt` by an issuer that the deployment's settings
//! name. It limits and never widens: an agent may do what both its own role and the
//! mandate allow. A mandate that is there and proves nothing is a deny; one that is not
//! there leaves the requester a claim.

mod claims;
#[cfg(test)]
pub(crate) mod fixtures;
mod issuers;
mod jwks;
mod jws;
mod rehearsal;
#[cfg(test)]
mod tests;

use countersign_schemas::Timestamp;

pub(crate) use claims::is_fact_name;
pub use claims::{FACTS_MAX, Mandate, Scope};
pub use issuers::{Issuer, Issuers};
pub use jwks::{Algorithm, IssuerKeys, IssuerKeysError, JWKS_BYTES_MAX};
pub use rehearsal::Stated;

/// The `typ` of a mandate's header: no other token of the same issuer passes for one.
pub const TYPE: &str = "mandate+jwt";

/// A mandate proves nothing. No variant holds a value of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MandateError {
    /// Longer than any honest one.
    #[error("the mandate is longer than {} bytes", jws::TOKEN_BYTES_MAX)]
    Long,
    /// Not three parts of base64url with strict JSON objects in the first two.
    #[error("the mandate is not a JWT: three parts, the first two strict JSON objects")]
    Malformed,
    /// Another kind of token.
    #[error("the mandate's header does not say `typ`: `{TYPE}`")]
    WrongType,
    /// A header parameter that could talk the reader into something, `crit` among them.
    #[error("the mandate's header has a parameter other than alg, typ, kid, x5t and x5t#S256")]
    ForeignHeader,
    /// The header names no key.
    #[error("the mandate's header does not say `kid`")]
    NoKeyId,
    /// Nobody whom the settings name.
    #[error("the mandate's issuer is not one that this deployment trusts")]
    UnknownIssuer,
    /// `none`, HMAC, or an algorithm that the settings do not give to the issuer.
    #[error("the mandate is signed with an algorithm that its issuer may not use here")]
    WrongAlgorithm,
    /// The issuer's keys are not there.
    #[error("the keys of the mandate's issuer cannot be had at the moment")]
    NoKeys,
    /// No key of the issuer has this id and algorithm.
    #[error("the mandate is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the mandate's signature does not verify")]
    BadSignature,
    /// A claim is missing or has another form.
    #[error("the mandate's claim `{0}` is missing, or has another form or length")]
    BadClaim(&'static str),
    /// Made for another audience.
    #[error("the mandate is for another audience")]
    WrongAudience,
    /// Given to another agent.
    #[error("the mandate was given to another agent")]
    WrongAgent,
    /// Given by another person.
    #[error("the mandate was given by another person than the requester")]
    WrongPerson,
    /// Its time has not come.
    #[error("the mandate is not valid yet")]
    NotYet,
    /// Its time is over.
    #[error("the mandate expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Valid for longer than any mandate may be.
    #[error("the mandate is valid for longer than {} days", claims::LIFE_DAYS_MAX)]
    LongLived,
    /// It does not cover the call.
    #[error("the mandate's scope has neither this tool nor its operation")]
    OutOfScope,
    /// A fact is not what the catalog says.
    #[error("the mandate's fact `{0}` is not of the type that the catalog gives it")]
    FactType(String),
}
