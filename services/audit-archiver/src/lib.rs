//! The audit archiver: every stored event becomes exactly one row of redacted Parquet,
//! under a signed, chained manifest that is the only commit point.
//!
//! - [`Writer`] commits rows: files first, then the one entry that names them;
//! - [`verify`] finds the first place that is not as it was written;
//! - [`run`] is the service: it reads the streams from the manifest's positions on and
//!   trusts no ack.

mod announce;
mod batch;
mod commit;
mod decode;
pub mod encode;
mod hooks;
mod janitor;
mod leaves;
mod lookup;
mod merge;
pub mod metrics;
mod prove;
mod reader;
mod root;
mod service;
mod settings;
mod state;
mod tidy;
mod tiles;
mod verify;
mod witness;

pub use batch::BatchLimits;
pub use commit::{CommitError, Item, Writer, WriterOptions};
pub use hooks::{Hooks, Step, Stopped};
pub use janitor::JanitorLimits;
pub use lookup::{FingerprintReply, FingerprintRequest, Keys, LOOK_UPS_MAX};
pub use merge::{MergeError, Merged};
pub use prove::{Proofs, ProveError, RowProof, canonical_rows, prove_rows};
pub use reader::SharedScrub;
pub use root::{Created, Root, StoreError};
pub use service::run;
pub use settings::Settings;
pub use state::State;
pub use tidy::TidyLimits;
pub use tiles::read_note;
pub use verify::{Outline, Report, VerifyError, outline, verify};
pub use witness::WITNESSED;

/// The name of the service: of its credential and its binary.
pub const NAME: &str = "audit-archiver";

#[cfg(test)]
mod tests;
