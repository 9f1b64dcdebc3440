//! Texts of the catalog with places to fill: `Refund {/amount} for order {/order_id}`.

use serde_json::{Map, Value};

use super::pointer::{Pointer, PointerError};

/// Characters of a template.
const TEMPLATE_CHARS_MAX: usize = 300;

/// A template is written wrongly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its partner.
    #[error("a `{{` without `}}`, or the other way round")]
    Brace,
    /// Something else than a pointer between braces.
    #[error(transparent)]
    Pointer(#[from] PointerError),
    /// Too long for a person to read.
    #[error("longer than {TEMPLATE_CHARS_MAX} characters")]
    Long,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Pointer),
    /// `{fields}`: the names of the fields that an update changes.
    Fields,
}

/// A text with places to fill from an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When a brace has no partner, or something else than a pointer or `fields` stands
    /// between them.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.chars().count() > TEMPLATE_CHARS_MAX {
            return Err(TemplateError::Long);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}').ok_or(TemplateError::Brace)?;
            if before.contains('}') || inside.contains('{') {
                return Err(TemplateError::Brace);
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(match inside {
                "fields" => Part::Fields,
                pointer => Part::Value(Pointer::parse(pointer)?),
            });
            rest = after;
        }
        if rest.contains('}') {
            return Err(TemplateError::Brace);
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// The pointers that it names.
    pub fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        self.0.iter().filter_map(|part| match part {
            Part::Value(pointer) => Some(pointer),
            Part::Text(_) | Part::Fields => None,
        })
    }

    /// The text for people: absent values read `(none)`, several are joined.
    #[must_use]
    pub fn fill(&self, input: &Map<String, Value>, fields: &[&str]) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Fields => text.push_str(&fields.join(", ")),
                Part::Value(pointer) => text.push_str(&words(&pointer.find(input))),
            }
        }
        text
    }

    /// The text as a URL path: every value stands in one segment, percent-encoded.
    /// `None` if a value is absent, not a plain value, or would change the path itself.
    #[must_use]
    pub fn path(&self, input: &Map<String, Value>) -> Option<String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Fields => return None,
                Part::Value(pointer) => match pointer.find(input).as_slice() {
                    [value] => text.push_str(&segment(value)?),
                    _ => return None,
                },
            }
        }
        Some(text)
    }
}

/// One value as a person reads it.
pub(crate) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn words(values: &[&Value]) -> String {
    let flat = values.iter().flat_map(|value| match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![*other],
    });
    let texts: Vec<String> = flat
        .map(|value| plain(value).unwrap_or_else(|| "…".to_owned()))
        .collect();
    match texts.is_empty() {
        true => "(none)".to_owned(),
        false => texts.join(", "),
    }
}

fn segment(value: &Value) -> Option<String> {
    let text = plain(value)?;
    if matches!(text.as_str(), "" | "." | "..") {
        return None;
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    Some(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(template: &str, input: &Value) -> String {
        let template = Template::parse(template).unwrap();
        template.fill(input.as_object().unwrap(), &["email", "phone"])
    }

    #[test]
    fn fills_values_and_names() {
        let input = json!({"id": "C-1", "n": 3, "to": ["a", "b"], "o": {"x": 1}});
        assert_eq!(
            fill("Change {fields} of {/id}", &input),
            "Change email, phone of C-1"
        );
        assert_eq!(
            fill("{/n} to {/to} {/none} {/o}", &input),
            "3 to a, b (none) …"
        );
    }

    #[test]
    fn refuses_lonely_braces_and_other_words() {
        for bad in ["{", "}", "a } {/x}", "{/a{/b}}", "{name}", "{}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Template::parse(&"x".repeat(301)), Err(TemplateError::Long));
    }

    #[test]
    fn a_value_cannot_leave_its_path_segment() {
        let template = Template::parse("/contacts/{/id}/notes").unwrap();
        let path = |id: Value| template.path(json!({ "id": id }).as_object().unwrap());
        assert_eq!(path(json!("C-1")).unwrap(), "/contacts/C-1/notes");
        assert_eq!(
            path(json!("../é?#")).unwrap(),
            "/contacts/..%2F%C3%A9%3F%23/notes"
        );
        for bad in [
            json!(".."),
            json!("."),
            json!(""),
            json!(null),
            json!(["a"]),
        ] {
            assert_eq!(path(bad), None);
        }
    }
}
