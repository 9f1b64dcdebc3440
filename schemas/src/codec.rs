//! The two encodings of an event: JSON, and Avro single-object (`C3 01`, the schema's
//! CRC-64-AVRO fingerprint, the datum).
//!
//! Readers accept both and tell them apart by the first byte. The `.avsc` files are the
//! truth: the Avro side is driven by them and knows no Rust type.

mod datum;
pub(crate) mod plan;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::events::Event;
use crate::json::{JsonError, check_strict};
pub use datum::{DatumError, DatumFault};
use plan::Plan;
pub use plan::SchemaError;

/// The first two bytes of an Avro single-object message.
pub const AVRO_MAGIC: [u8; 2] = [0xc3, 0x01];
/// Magic and fingerprint.
const AVRO_HEADER_BYTES: usize = 10;

/// How a service writes its events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// One JSON object.
    #[default]
    Json,
    /// Avro single-object.
    Avro,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Avro => "avro",
        })
    }
}

impl FromStr for Encoding {
    type Err = EncodingError;

    fn from_str(text: &str) -> Result<Self, EncodingError> {
        match text {
            "json" => Ok(Self::Json),
            "avro" => Ok(Self::Avro),
            _ => Err(EncodingError),
        }
    }
}

/// A text names no encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an encoding is `json` or `avro`")]
pub struct EncodingError;

/// A body is not a readable event. It never holds a value of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is no body.
    #[error("the body is empty; send the event as a JSON object or as Avro single-object")]
    Empty,
    /// Neither of the two encodings.
    #[error("the body starts with byte {first:#04x}; JSON starts with `{{`, Avro with c3 01")]
    Encoding {
        /// The first byte.
        first: u8,
    },
    /// The JSON is not strict.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The JSON is not this event.
    #[error("not a `{event}`: {reason}")]
    Body {
        /// The event that was expected.
        event: &'static str,
        /// Which rule the body breaks.
        reason: String,
    },
    /// The Avro body was written with another schema.
    #[error(
        "the Avro fingerprint is not that of `{event}` v{version}; \
         write with schemas/avro/{event}/v{version}.avsc"
    )]
    Fingerprint {
        /// The event that was expected.
        event: &'static str,
        /// The version whose schema is read.
        version: u16,
    },
    /// The Avro datum does not fit its schema.
    #[error("the Avro datum of `{event}` cannot be read: {fault}")]
    Datum {
        /// The event that was expected.
        event: &'static str,
        /// Where and why.
        fault: DatumError,
    },
    /// Our own schema is broken.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// An event has no encoded form.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It cannot be written as JSON.
    #[error("`{event}` cannot be written as JSON: {fault}")]
    Json {
        /// The event.
        event: &'static str,
        /// Why.
        fault: serde_json::Error,
    },
    /// Our own readers would refuse it.
    #[error("`{event}` cannot be written: its readers would refuse it: {fault}")]
    Strict {
        /// The event.
        event: &'static str,
        /// The rule it breaks.
        fault: JsonError,
    },
    /// It does not fit its Avro schema.
    #[error("`{event}` does not fit its Avro schema: {fault}")]
    Datum {
        /// The event.
        event: &'static str,
        /// Where and why.
        fault: DatumError,
    },
    /// Our own schema is broken.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// Reads an event from the body of a message.
///
/// Fields that the event does not have are ignored, so that a newer writer can add some.
///
/// # Errors
/// When the body is neither encoding, breaks a rule of strict JSON, or is another event.
pub fn decode<E: Event>(body: &[u8]) -> Result<E, DecodeError> {
    match body.first() {
        Some(b'{') => decode_json(body),
        Some(_) if body.starts_with(&AVRO_MAGIC) => from_value(decode_avro::<E>(body)?),
        Some(first) => Err(DecodeError::Encoding { first: *first }),
        None => Err(DecodeError::Empty),
    }
}

/// Writes an event as the body of a message.
///
/// # Errors
/// When it holds what our own readers would refuse, such as a number that loses precision.
pub fn encode<E: Event>(event: &E, encoding: Encoding) -> Result<Vec<u8>, EncodeError> {
    match encoding {
        Encoding::Json => encode_json(event),
        Encoding::Avro => encode_avro(event),
    }
}

fn decode_json<E: Event>(body: &[u8]) -> Result<E, DecodeError> {
    check_strict(body)?;
    serde_json::from_slice(body).map_err(|error| DecodeError::Body {
        event: E::NAME,
        reason: format!("{} (byte {})", reason(&error), error.column()),
    })
}

fn decode_avro<E: Event>(body: &[u8]) -> Result<Value, DecodeError> {
    let plan = Plan::of::<E>()?;
    let (header, rest) = body
        .split_at_checked(AVRO_HEADER_BYTES)
        .filter(|(header, _)| *header == plan.header.as_slice())
        .ok_or(DecodeError::Fingerprint {
            event: E::NAME,
            version: E::VERSION,
        })?;
    datum::read(&plan.shape, rest).map_err(|fault| DecodeError::Datum {
        event: E::NAME,
        fault: fault.after(header.len()),
    })
}

fn from_value<E: Event>(value: Value) -> Result<E, DecodeError> {
    serde_json::from_value(value).map_err(|error| DecodeError::Body {
        event: E::NAME,
        reason: reason(&error),
    })
}

fn encode_json<E: Event>(event: &E) -> Result<Vec<u8>, EncodeError> {
    let body = serde_json::to_vec(event).map_err(|fault| EncodeError::Json {
        event: E::NAME,
        fault,
    })?;
    check_strict(&body).map_err(|fault| EncodeError::Strict {
        event: E::NAME,
        fault,
    })?;
    Ok(body)
}

fn encode_avro<E: Event>(event: &E) -> Result<Vec<u8>, EncodeError> {
    let plan = Plan::of::<E>()?;
    let value = serde_json::to_value(event).map_err(|fault| EncodeError::Json {
        event: E::NAME,
        fault,
    })?;
    let mut body = plan.header.clone();
    datum::write(&plan.shape, &value, &mut body).map_err(|fault| EncodeError::Datum {
        event: E::NAME,
        fault,
    })?;
    Ok(body)
}

/// What a deserializer objects to, without the value that it quotes.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(reason, _)| reason);
    if text.starts_with("missing field ") {
        return text.to_owned();
    }
    // What stands behind the last of these words is ours; what stands before may be quoted.
    if let Some((_, rule)) = text.rsplit_once("` is not ") {
        return format!("a value is not {rule}");
    }
    match text.rsplit_once("expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => "a value does not have the form that the schema gives it".to_owned(),
    }
}
