//! What approvers see of an input, field by field.

use serde_json::{Map, Value};

use super::fields::{Cursor, Field, Shown};
use crate::redact::{FieldClass, Redactor};

/// What stands for a value that is not shown.
const HIDDEN: &str = "[redacted]";
/// Characters from which on four of them give little away.
const LAST4_CHARS_MIN: usize = 8;

/// Builds the view of approvers from the raw input and its redacted form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) redactor: &'a Redactor,
    /// Whether approvers may see what the catalog shows of personal fields. Without it the
    /// view is what an archive may keep of an input that does not fit its schema, where a
    /// value may stand in the wrong field.
    pub(crate) personal: bool,
}

impl View<'_> {
    /// The view of an object; `clean` is the same object, redacted.
    pub(crate) fn object(
        self,
        raw: &Map<String, Value>,
        clean: &Map<String, Value>,
        cursor: Cursor<'_>,
    ) -> Map<String, Value> {
        let mut shown = Map::new();
        for (name, value) in raw {
            // A name that was redacted itself is found under another one, and is hidden.
            match clean.get(name) {
                Some(clean) => {
                    shown.insert(name.clone(), self.value(value, clean, cursor.member(name)))
                }
                None => shown.insert(HIDDEN.to_owned(), hidden()),
            };
        }
        shown
    }

    fn value(self, raw: &Value, clean: &Value, cursor: Cursor<'_>) -> Value {
        match (raw, clean) {
            (Value::Object(raw), Value::Object(clean)) => {
                Value::Object(self.object(raw, clean, cursor))
            }
            (Value::Array(raw), Value::Array(clean)) if raw.len() == clean.len() => {
                let pairs = raw.iter().zip(clean);
                pairs
                    .map(|(raw, clean)| self.value(raw, clean, cursor.element()))
                    .collect()
            }
            // A list that is classed as a whole was redacted as a whole; each of its values
            // is shown as the field says.
            (Value::Array(raw), Value::String(_)) if cursor.field.is_some() => raw
                .iter()
                .map(|raw| match raw {
                    Value::Object(_) | Value::Array(_) => hidden(),
                    _ => self.leaf(raw, clean, cursor.field),
                })
                .collect(),
            (Value::Object(_) | Value::Array(_), _) => hidden(),
            (Value::Null, _) => Value::Null,
            (Value::Bool(_) | Value::Number(_) | Value::String(_), _) => {
                self.leaf(raw, clean, cursor.field)
            }
        }
    }

    fn leaf(self, raw: &Value, clean: &Value, field: Option<&Field>) -> Value {
        let Some(field) = field else {
            return if raw.is_boolean() {
                raw.clone()
            } else {
                hidden()
            };
        };
        match (&field.class, field.shown) {
            (FieldClass::Secret, _) => Value::String("[secret]".to_owned()),
            (FieldClass::Public | FieldClass::Internal, Shown::Full) => clean.clone(),
            (FieldClass::Personal(kind), _) if !self.personal => Value::String(format!("[{kind}]")),
            (FieldClass::Personal(_), Shown::Full) => self.full(raw),
            (_, Shown::Domain) => raw
                .as_str()
                .and_then(domain)
                .map_or_else(hidden, Value::String),
            (_, Shown::Last4) => super::template::plain(raw)
                .and_then(|text| last4(&text))
                .map_or_else(hidden, Value::String),
            (FieldClass::Personal(kind), Shown::Redacted) => Value::String(format!("[{kind}]")),
            (FieldClass::Public | FieldClass::Internal, Shown::Redacted) => hidden(),
        }
    }

    /// A personal value in full, unless a secret stands in it: secrets are never shown.
    fn full(self, raw: &Value) -> Value {
        let holds_secret = |text: &str| self.redactor.text(text).text.contains("[secret:");
        match raw.as_str() {
            Some(text) if holds_secret(text) => Value::String("[secret]".to_owned()),
            Some(_) | None => raw.clone(),
        }
    }
}

/// What stands for a value of which nothing is shown.
pub(super) fn hidden() -> Value {
    Value::String(HIDDEN.to_owned())
}

/// `*@x.example`, for each address of a list.
fn domain(text: &str) -> Option<String> {
    let shown = crate::guardrails::shown_domains(text)?;
    Some(
        shown
            .iter()
            .map(|domain| format!("*@{domain}"))
            .collect::<Vec<_>>()
            .join(", "),
    )
}

fn last4(text: &str) -> Option<String> {
    let count = text.chars().count();
    let tail: String = text.chars().skip(count.saturating_sub(4)).collect();
    (count >= LAST4_CHARS_MIN).then(|| format!("…{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_values_keep_their_end_to_themselves() {
        assert_eq!(last4("12345678").as_deref(), Some("…5678"));
        assert_eq!(last4("1234567"), None);
        assert_eq!(
            domain("Kim <kim@x.example>, lee@y.example").as_deref(),
            Some("*@x.example, *@y.example")
        );
        assert_eq!(domain("not an address"), None);
    }
}
