//! Archived rows in the forms that other programs read. Nothing here adds to a row: a
//! form holds what the archive holds, redacted as it is there, and nothing else.
//!
//! - [`OcsfEvents`]: events of the Open Cybersecurity Schema Framework;
//! - [`Trail`]: the signed chain of the agent audit trail draft;
//! - [`csv`]: fields that a spreadsheet does not run.

mod aat;
pub mod csv;
mod inclusion;
mod ocsf;

pub use aat::{RECORDS_MAX, Record, Trail, TrailError, TrailKey, TrailKeyError};
pub use inclusion::Inclusion;
pub use ocsf::{OCSF_VERSION, OcsfEvents};
