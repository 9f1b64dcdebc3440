//! A nats-server of our own: found or installed, started, and never left behind.
//!
//! `find` answers where a usable server is, `provision` installs the pinned one into the
//! user's cache, `process` runs it. Only `demo`, `up` and tests start a server; a
//! deployment brings its own.

mod error;
mod find;
mod process;
mod provision;
mod store;
mod version;

pub use error::NatsServerError;
pub use find::{Finder, NatsBinary, find_or_provision};
pub use process::{NatsServer, Port, ServerConfig, StartOptions, plain_config};
pub use provision::Progress;
pub use version::{MINIMUM, TESTED, Version};

#[cfg(test)]
mod tests;
