//! The life of a bundle against a real nats-server.

mod push;
mod recheck;
mod world;
