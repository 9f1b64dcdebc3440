//! The connection to NATS: one connection with one credential for each service.
//!
//! - [`Bus`] connects, reads from the leader and answers which life a stream is in;
//! - [`Publisher`] sends many messages over one inbox and resolves each with its ack;
//! - [`Bus::append`] and [`Bus::store_once`] are the ways to store one event: both
//!   are compare-and-set, so that a repeat is refused and never doubled;
//! - [`Bus::append_together`] stores several events that way, all or none;
//! - [`consume`] is the loop of every service, acking an input only after its outputs
//!   are stored;
//! - [`Bucket`] is a key-value bucket under compare-and-set, read from the leader;
//! - [`Bus::follow`] tells what lies in a stream and what comes, again whenever the reading
//!   breaks: for whatever a service keeps in memory of a bucket or a log;
//! - [`Bus::require_room`] refuses new work while a stream is nearly full;
//! - [`layout`] is the one list of streams, buckets and durable consumers.

mod batch;
mod chain;
mod connection;
mod consumer;
mod credential;
mod failure;
mod follow;
mod fullness;
mod kv;
pub mod layout;
pub mod metrics;
mod outgoing;
mod publisher;
mod reading;
mod replay;

pub use batch::Together;
pub use chain::Append;
pub use connection::{Bus, ConnectOptions};
pub use consumer::{ConsumeLimits, Handler, Incoming, consume};
pub use credential::log_in;
pub use failure::{BusError, Failure};
pub use follow::{Followed, Source};
pub use fullness::FULL_PERCENT;
pub use kv::{Bucket, Cas, Entry};
pub use outgoing::{Expect, Meta, Outgoing};
pub use publisher::{PublishError, Publisher};
pub use reading::{Oldest, StoredMessage};
pub use replay::{Replay, ReplayFrom, Replayed};
