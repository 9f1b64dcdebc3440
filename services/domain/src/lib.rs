//! Pure decisions: no I/O, no clock, no randomness. Everything comes in as a value and
//! goes out as a value, so that every rule can be tested and replayed.

pub mod approvals;
pub mod archive;
pub mod chain;
pub mod decision;
pub mod export;
pub mod freeze;
pub mod guardrails;
pub mod handoff;
mod hours;
pub mod input;
pub mod kept;
pub mod keys;
pub mod ledger;
pub mod mandate;
pub mod merkle;
pub mod permit;
pub mod policy;
pub mod redact;
mod slot;
pub mod windows;
