//! The Avro binary form of a JSON value of known shape.
//!
//! Written here and not taken from the Avro crate because its reader answers bytes that
//! end too early with null and allocates what a length claims; what strangers send must
//! be refused instead, and cost no more than its own size.

use serde_json::{Map, Value};

use super::plan::{Field, Shape};
use crate::json::{JsonError, check_within, parse_within};
use crate::time::Timestamp;

/// The largest integer that JSON carries exactly (2^53 - 1).
const INTEGER_MAX: u64 = 9_007_199_254_740_991;

/// A datum and its schema do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}{}", self.place())]
pub struct DatumError {
    /// JSON pointer of the field, `*` for any item of a list.
    path: String,
    at: Option<usize>,
    fault: DatumFault,
}

/// Why a datum and its schema do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatumFault {
    /// The bytes end inside the datum.
    #[error("the bytes end too early")]
    Truncated,
    /// Bytes follow the datum.
    #[error("bytes follow the end of the datum")]
    Trailing,
    /// A value that must be there is not.
    #[error("it is missing")]
    Missing,
    /// A value is of another kind.
    #[error("it is not {0}")]
    Kind(&'static str),
    /// An integer is outside what both encodings carry.
    #[error("the integer is out of range")]
    Range,
    /// The index of an enum or a union, or the byte of a boolean, is none of the schema's.
    #[error("the index is none of the schema's")]
    Index,
    /// A text is not UTF-8.
    #[error("the text is not UTF-8")]
    Utf8,
    /// The JSON inside is not strict.
    #[error("{0}")]
    Json(JsonError),
}

impl DatumError {
    fn new(fault: DatumFault, at: Option<usize>) -> Self {
        Self {
            path: String::new(),
            at,
            fault,
        }
    }

    /// Why.
    #[must_use]
    pub fn fault(&self) -> DatumFault {
        self.fault
    }

    fn place(&self) -> String {
        let path = match self.path.as_str() {
            "" => String::new(),
            path => format!(" at `{path}`"),
        };
        let byte = self.at.map(|at| format!(", byte {at}"));
        format!("{path}{}", byte.unwrap_or_default())
    }

    fn inside(mut self, name: &str) -> Self {
        self.path.insert_str(0, name);
        self.path.insert(0, '/');
        self
    }

    /// The same fault, its place counted from `bytes` earlier.
    pub(super) fn after(mut self, bytes: usize) -> Self {
        self.at = self.at.map(|at| at + bytes);
        self
    }
}

type Datum<T = ()> = Result<T, DatumError>;

fn misfit<T>(fault: DatumFault) -> Datum<T> {
    Err(DatumError::new(fault, None))
}

/// Appends the datum of `value`.
pub(super) fn write(shape: &Shape, value: &Value, out: &mut Vec<u8>) -> Datum {
    write_at(0, shape, value, out)
}

/// Appends a value that stands `depth` levels deep in its JSON form.
fn write_at(depth: usize, shape: &Shape, value: &Value, out: &mut Vec<u8>) -> Datum {
    match shape {
        Shape::Boolean => match value.as_bool() {
            Some(truth) => out.push(u8::from(truth)),
            None => return misfit(DatumFault::Kind("a boolean")),
        },
        Shape::Int => write_long(integer(value, i64::from(i32::MAX).unsigned_abs())?, out),
        Shape::Long => write_long(integer(value, INTEGER_MAX)?, out),
        Shape::Time => write_long(instant(value)?, out),
        Shape::Text => write_text(text(value)?, out),
        Shape::Json => write_json(depth, value, out)?,
        Shape::Words(words) => {
            let word = text(value)?;
            match words.iter().position(|known| known == word) {
                Some(index) => write_len(index, out),
                None => return misfit(DatumFault::Kind("a word of the enum")),
            }
        }
        Shape::List(items) => write_list(depth + 1, items, value, out)?,
        Shape::Optional(some) => match value {
            Value::Null => write_long(0, out),
            _ => {
                write_long(1, out);
                write_at(depth, some, value, out)?;
            }
        },
        Shape::Record(fields) => write_record(depth + 1, fields, value, out)?,
    }
    Ok(())
}

fn write_json(depth: usize, value: &Value, out: &mut Vec<u8>) -> Datum {
    let Value::Object(_) = value else {
        return misfit(DatumFault::Kind("a JSON object"));
    };
    let text = value.to_string();
    check_within(text.as_bytes(), depth)
        .map_err(|error| DatumError::new(DatumFault::Json(error), None))?;
    write_text(&text, out);
    Ok(())
}

fn write_list(depth: usize, items: &Shape, value: &Value, out: &mut Vec<u8>) -> Datum {
    let Value::Array(values) = value else {
        return misfit(DatumFault::Kind("a list"));
    };
    if !values.is_empty() {
        write_len(values.len(), out);
    }
    for value in values {
        write_at(depth, items, value, out).map_err(|error| error.inside("*"))?;
    }
    write_len(0, out);
    Ok(())
}

fn write_record(depth: usize, fields: &[Field], value: &Value, out: &mut Vec<u8>) -> Datum {
    let Value::Object(values) = value else {
        return misfit(DatumFault::Kind("a record"));
    };
    for field in fields {
        let written = match (values.get(&field.name), &field.shape) {
            (Some(value), shape) => write_at(depth, shape, value, out),
            (None, Shape::Optional(_)) => {
                write_long(0, out);
                Ok(())
            }
            // The end of a list of nothing.
            (None, Shape::List(_)) if field.empty_by_default => {
                write_long(0, out);
                Ok(())
            }
            (None, _) => misfit(DatumFault::Missing),
        };
        written.map_err(|error| error.inside(&field.name))?;
    }
    Ok(())
}

fn integer(value: &Value, max: u64) -> Datum<i64> {
    match value.as_i64() {
        Some(number) if number.unsigned_abs() <= max => Ok(number),
        Some(_) => misfit(DatumFault::Range),
        None if value.is_u64() => misfit(DatumFault::Range),
        None => misfit(DatumFault::Kind("an integer")),
    }
}

fn instant(value: &Value) -> Datum<i64> {
    match text(value)?.parse::<Timestamp>() {
        Ok(at) => Ok(at.micros()),
        Err(_) => misfit(DatumFault::Kind("an RFC 3339 time")),
    }
}

fn text(value: &Value) -> Datum<&str> {
    match value.as_str() {
        Some(text) => Ok(text),
        None => misfit(DatumFault::Kind("a text")),
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_len(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

fn write_len(len: usize, out: &mut Vec<u8>) {
    // No slice is longer than this, so the fallback is never taken.
    write_long(i64::try_from(len).unwrap_or(i64::MAX), out);
}

fn write_long(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Reads exactly one datum from `bytes`.
pub(super) fn read(shape: &Shape, bytes: &[u8]) -> Datum<Value> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(shape, 0)?;
    if reader.at == bytes.len() {
        return Ok(value);
    }
    reader.fault(DatumFault::Trailing)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A value that stands `depth` levels deep in its JSON form.
    fn value(&mut self, shape: &Shape, depth: usize) -> Datum<Value> {
        match shape {
            Shape::Boolean => self.boolean(),
            Shape::Int => self.integer(i64::from(i32::MAX).unsigned_abs()),
            Shape::Long => self.integer(INTEGER_MAX),
            Shape::Time => match Timestamp::from_micros(self.long()?) {
                Some(at) => Ok(Value::String(at.to_string())),
                None => self.fault(DatumFault::Range),
            },
            Shape::Text => self.text().map(|text| Value::String(text.to_owned())),
            Shape::Json => self.json(depth),
            Shape::Words(words) => {
                let index = self.index(words.len())?;
                Ok(words.get(index).cloned().into())
            }
            Shape::List(items) => self.list(items, depth + 1),
            Shape::Optional(some) => match self.index(2)? {
                0 => Ok(Value::Null),
                _ => self.value(some, depth),
            },
            Shape::Record(fields) => self.record(fields, depth + 1),
        }
    }

    fn record(&mut self, fields: &[Field], depth: usize) -> Datum<Value> {
        let mut values = Map::new();
        for field in fields {
            let value = self
                .value(&field.shape, depth)
                .map_err(|error| error.inside(&field.name))?;
            values.insert(field.name.clone(), value);
        }
        Ok(Value::Object(values))
    }

    fn list(&mut self, items: &Shape, depth: usize) -> Datum<Value> {
        let mut values = Vec::new();
        loop {
            let count = self.block()?;
            if count == 0 {
                return Ok(Value::Array(values));
            }
            for _ in 0..count {
                let value = self.value(items, depth);
                values.push(value.map_err(|error| error.inside("*"))?);
            }
        }
    }

    /// Items of the next block of a list; 0 at its end.
    fn block(&mut self) -> Datum<usize> {
        let count = self.long()?;
        if count < 0 {
            // A negative count is followed by the block's size in bytes.
            self.long()?;
        }
        match usize::try_from(count.unsigned_abs()) {
            // Each item takes a byte at least, so no count can cost more than its message.
            Ok(count) if count <= self.bytes.len() - self.at => Ok(count),
            _ => self.fault(DatumFault::Truncated),
        }
    }

    fn json(&mut self, depth: usize) -> Datum<Value> {
        let start = self.at;
        let text = self.text()?;
        match parse_within(text.as_bytes(), depth) {
            Ok(object @ Value::Object(_)) => Ok(object),
            Ok(_) => self.fault_at(start, DatumFault::Kind("a JSON object")),
            Err(error) => self.fault_at(start, DatumFault::Json(error)),
        }
    }

    fn text(&mut self) -> Datum<&'a str> {
        let start = self.at;
        let len = usize::try_from(self.long()?).unwrap_or(usize::MAX);
        let end = self.at.saturating_add(len);
        let Some(bytes) = self.bytes.get(self.at..end) else {
            return self.fault(DatumFault::Truncated);
        };
        self.at = end;
        std::str::from_utf8(bytes).map_err(|_| DatumError::new(DatumFault::Utf8, Some(start)))
    }

    fn integer(&mut self, max: u64) -> Datum<Value> {
        let number = self.long()?;
        if number.unsigned_abs() <= max {
            return Ok(number.into());
        }
        self.fault(DatumFault::Range)
    }

    fn boolean(&mut self) -> Datum<Value> {
        let truth = match self.bytes.get(self.at) {
            Some(0) => false,
            Some(1) => true,
            Some(_) => return self.fault(DatumFault::Index),
            None => return self.fault(DatumFault::Truncated),
        };
        self.at += 1;
        Ok(Value::Bool(truth))
    }

    /// An index below `len`, of an enum or a union.
    fn index(&mut self, len: usize) -> Datum<usize> {
        match usize::try_from(self.long()?) {
            Ok(index) if index < len => Ok(index),
            _ => self.fault(DatumFault::Index),
        }
    }

    fn long(&mut self) -> Datum<i64> {
        let mut raw = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some(byte) = self.bytes.get(self.at).copied() else {
                return self.fault(DatumFault::Truncated);
            };
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return self.fault(DatumFault::Range);
            }
            self.at += 1;
            raw |= bits << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    fn fault<T>(&self, fault: DatumFault) -> Datum<T> {
        self.fault_at(self.at, fault)
    }

    fn fault_at<T>(&self, at: usize, fault: DatumFault) -> Datum<T> {
        Err(DatumError::new(fault, Some(at)))
    }
}
