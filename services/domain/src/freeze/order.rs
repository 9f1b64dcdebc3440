//! Reading an operator's order. A kill switch that covers more or less than was meant is
//! worse than a refusal in words.

use countersign_schemas::events::FreezeScope;
use countersign_schemas::limits;
use serde_json::Value;

use crate::approvals::visible;

/// The parts of a scope.
const PARTS: [&str; 3] = ["agent", "tool", "requester"];

/// Why an order is not carried out. Holds no value of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrder {
    /// The scope has a part that nobody knows: a misspelt one would cover everything.
    #[error(
        "the scope has a part that is none of `agent`, `tool` and `requester`; nothing was changed"
    )]
    UnknownPart,
    /// The scope names nothing, and is not the empty one.
    #[error(
        "the scope names nothing; write an empty scope, {{}}, to mean everything; nothing was \
         changed"
    )]
    NamesNothing,
    /// There is no reason.
    #[error("say why: an order without a reason is not carried out; nothing was changed")]
    NoReason,
    /// The reason is too long.
    #[error(
        "the reason is longer than {} characters; nothing was changed",
        limits::PURPOSE_CHARS_MAX
    )]
    LongReason,
}

/// A freeze or unfreeze as it will stand in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What it covers.
    pub scope: FreezeScope,
    /// Why, redacted, without anything hidden.
    pub reason: String,
}

impl Order {
    /// Checks an order that was read from `body`. The reason reaches chats and the archive,
    /// so it passes through `redact`.
    ///
    /// # Errors
    /// When it could mean something else than its author thinks.
    pub fn check(
        body: &[u8],
        scope: FreezeScope,
        reason: &str,
        redact: &dyn Fn(&str) -> String,
    ) -> Result<Self, InvalidOrder> {
        // In Avro the schema leaves no room for another part, nor for leaving one out.
        if let Ok(Value::Object(message)) = serde_json::from_slice(body) {
            let parts = message.get("scope").and_then(Value::as_object);
            let known = |name: &String| PARTS.contains(&name.as_str());
            if !parts.is_some_and(|parts| parts.keys().all(known)) {
                return Err(InvalidOrder::UnknownPart);
            }
            let empty = parts.is_some_and(serde_json::Map::is_empty);
            if scope == FreezeScope::default() && !empty {
                return Err(InvalidOrder::NamesNothing);
            }
        }
        if reason.trim().is_empty() {
            return Err(InvalidOrder::NoReason);
        }
        if reason.chars().count() > limits::PURPOSE_CHARS_MAX {
            return Err(InvalidOrder::LongReason);
        }
        Ok(Self {
            scope,
            reason: visible(&redact(reason)),
        })
    }
}
