//! Everything two services, or a service and a stranger, must agree on: typed
//! identifiers, subjects, events, their two encodings and the class of each field.
//!
//! This crate knows no NATS client and no runtime. A value that exists here is
//! already valid: identifiers and subjects cannot be built wrong, and a decoded
//! event has passed the strict reader.

pub mod classes;
pub mod codec;
pub mod digest;
pub mod events;
pub mod headers;
pub mod ids;
pub mod json;
pub mod limits;
pub mod subjects;
pub mod time;

pub use digest::Digest;
pub use events::Event;
pub use ids::{
    AgentId, ApprovalId, BundleId, Incarnation, IntentId, PersonId, RequesterId, SeqToken,
    ServiceId, TeamId, Token, ToolName, WindowId,
};
pub use json::JsonObject;
pub use subjects::{Address, Stream, Subject};
pub use time::Timestamp;
