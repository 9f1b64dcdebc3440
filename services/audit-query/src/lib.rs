//! Read-only SQL over the audit archive.
//!
//! - [`Archive`] opens a directory and answers one reading statement at a time, over
//!   exactly the files that the manifest lists;
//! - [`output`] writes an answer as table, JSON, CSV or Parquet, [`story`] tells one
//!   intent as a person reads it;
//! - [`export`] writes rows in the forms of other programs, [`select`] says which rows;
//! - [`run`] is the service that answers people over NATS and records each look-up first.

mod archive;
pub mod export;
mod json;
mod manifest;
pub mod output;
pub mod select;
mod service;
mod settings;
mod store;
pub mod story;
pub mod table;

pub use archive::{Answer, Archive, QueryError, QueryLimits, Rows, SQL_BYTES_MAX};
pub use manifest::OpenError;
pub use service::{QueryRequest, REPLY_BYTES_MAX, run};
pub use settings::Settings;

/// The name of the service: of its credential and its binary.
pub const NAME: &str = "audit-query";
