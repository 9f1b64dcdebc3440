//! The I/O shell around the pure core: configuration, telemetry, clock, signals, the
//! connection to NATS, the consumer loop, chains and compare-and-set, the store that the
//! archive lies in, and the embedded nats-server.

pub mod access;
pub mod archive;
pub mod bus;
pub mod clock;
pub mod config;
pub mod files;
pub mod fingerprints;
pub mod health;
pub mod identity;
pub mod key_file;
pub mod nats_server;
pub mod policy;
pub mod recheck;
pub mod service;
pub mod signals;
pub mod telemetry;
