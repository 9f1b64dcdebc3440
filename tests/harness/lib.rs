//! What the tests of the whole system share: a deployment of its own for each test, with a
//! real nats-server, real credentials, the real services and workers that keep a journal.

pub mod archive;
pub mod client;
pub mod cluster;
pub mod deployment;
pub mod events;
pub mod journal;
pub mod operator;
pub mod process;
pub mod python;
pub mod raw;
pub mod relay;
pub mod wait;
pub mod worker;

pub use client::{Agent, Approver, Operator, PATIENCE};
pub use deployment::Deployment;
pub use events::{Event, Observer};
pub use relay::Relay;
pub use wait::eventually;
