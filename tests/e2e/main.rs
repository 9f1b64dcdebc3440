//! The path of an intent, end to end, on a real nats-server with authentication.

mod archive;
mod outsiders;
