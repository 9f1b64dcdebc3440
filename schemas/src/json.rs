//! Free-form JSON, read strictly: no duplicate keys, no number that loses precision,
//! bounded depth.
//!
//! Two readers that disagree about a repeated key or a long number would judge one input
//! and run another, so such texts are refused before anybody reads them.

mod number;
mod scan;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::limits::JSON_DEPTH_MAX;
use scan::Scanner;

/// A JSON object whose shape is the tool's business: `input`, `output`, `facts`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonObject(pub Map<String, Value>);

impl JsonObject {
    /// The object as a JSON value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// The object inside `value`, if it is one.
    #[must_use]
    pub fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self(map)),
            _ => None,
        }
    }
}

/// A text is not strict JSON. It names the place and the rule, never the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not strict JSON at byte {at}: {fault}")]
pub struct JsonError {
    /// The byte, counted from 0, at which the fault was seen.
    pub at: usize,
    /// The rule that is broken.
    pub fault: JsonFault,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// The bytes are not UTF-8.
    #[error("the bytes are not UTF-8")]
    Utf8,
    /// The text ends in the middle of a value.
    #[error("the text ends in the middle of a value")]
    End,
    /// Something else should stand here.
    #[error("{0} should stand here")]
    Expected(&'static str),
    /// A string holds a control character, a broken escape or half a surrogate pair.
    #[error("the string holds a raw control character, a broken escape or half a surrogate pair")]
    Text,
    /// A key is repeated in one object.
    #[error("this key is already used in the same object")]
    DuplicateKey,
    /// A number cannot be kept exactly in a 64-bit float.
    #[error("a 64-bit float cannot keep this number exactly; send it as a string")]
    Number,
    /// Arrays and objects are nested too deeply.
    #[error("arrays and objects are nested more than {JSON_DEPTH_MAX} deep")]
    Depth,
    /// Something follows the value.
    #[error("something follows the end of the value")]
    Trailing,
}

/// Checks that `bytes` are one JSON value that every reader reads alike.
///
/// # Errors
/// The first broken rule and its place.
pub fn check_strict(bytes: &[u8]) -> Result<(), JsonError> {
    check_within(bytes, 0)
}

/// Reads `bytes` as one strict JSON value.
///
/// # Errors
/// As [`check_strict`].
pub fn parse_strict(bytes: &[u8]) -> Result<Value, JsonError> {
    parse_within(bytes, 0)
}

/// As [`parse_strict`], for a text that stands `outer` levels deep in another value.
pub(crate) fn parse_within(bytes: &[u8], outer: usize) -> Result<Value, JsonError> {
    check_within(bytes, outer)?;
    // The scan accepts a subset of what the parser does; the column is its best place.
    serde_json::from_slice(bytes).map_err(|error| JsonError {
        at: error.column(),
        fault: JsonFault::Expected("a JSON value"),
    })
}

/// As [`check_strict`], for a text that stands `outer` levels deep in another value.
pub(crate) fn check_within(bytes: &[u8], outer: usize) -> Result<(), JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|error| JsonError {
        at: error.valid_up_to(),
        fault: JsonFault::Utf8,
    })?;
    Scanner::new(text, outer).document()
}
