//! A model of the protocol, for a checker that tries every interleaving.
//!
//! The model is the shell around the services' own steps: what is decided is decided by
//! `countersign-domain`, called with real values; what the services do between two steps
//! (read, compare-and-set, ack) is modelled here, each as a step of its own that may fail by
//! itself. `docs/model.md` says what is left out and how large the checked worlds are.

mod actions;
mod coordinator;
mod executor;
mod fixtures;
mod properties;
mod protocol;
mod scenario;
mod shelf;
mod state;
mod steps;
mod window;

pub use actions::{Action, Ending};
pub use protocol::Protocol;
pub use scenario::{Mutation, Scenario, Voter};
pub use state::{Input, State};
