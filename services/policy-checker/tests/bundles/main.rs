//! The life of a bundle against a real nats-server.

mod behind;
#[path = "../common/mod.rs"]
mod common;
mod push;
mod recheck;
mod record;
mod shelf;
mod world;
