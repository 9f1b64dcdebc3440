//! Bodies on the wire.

use crate::events::Event;

/// How a service writes bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// JSON, first byte `{`.
    Json,
}

/// Writes the body of an event.
///
/// # Errors
/// When the event has no JSON form.
pub fn encode<E: Event>(event: &E, encoding: Encoding) -> Result<Vec<u8>, serde_json::Error> {
    match encoding {
        Encoding::Json => serde_json::to_vec(event),
    }
}
