//! From a verdict, an approval or the sweep to the one decision on an intent.

mod desk;
mod ending;
mod finding;
mod window;
mod words;

pub use desk::{Course, Decision, Desk, blocked, overruled, taken_out};
pub use ending::{revoked, unknown};
pub use finding::{Finding, Reconciled, reconcile};
pub(crate) use words::sentence;
pub use words::{Words, of_block, of_revocation, tried};

#[cfg(test)]
mod tests;
