//! Free-form JSON, read strictly: no duplicate keys, no number that loses precision,
//! bounded depth.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
