//! JSON Pointers (RFC 6901) of the catalog; `*` stands for every element or member.

use std::fmt;

use serde_json::{Map, Value};

/// Segments of a pointer: deeper than any input that is judged.
const SEGMENTS_MAX: usize = countersign_schemas::limits::JSON_DEPTH_MAX;

/// A text is not a pointer of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a JSON Pointer such as `/customer/email` or `/to/*`")]
pub struct PointerError(String);

/// A place, or with `*` a family of places, in an input or output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer {
    text: String,
    segments: Vec<String>,
}

impl Pointer {
    /// Reads `/a/b`, with `~0` for `~` and `~1` for `/`.
    ///
    /// # Errors
    /// When `text` is empty, does not start with `/`, is too deep or escapes wrongly.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        let refuse = || PointerError(text.chars().take(64).collect());
        let rest = text.strip_prefix('/').ok_or_else(refuse)?;
        let segments: Option<Vec<String>> = rest.split('/').map(unescape).collect();
        let segments = segments
            .filter(|all| all.len() <= SEGMENTS_MAX && all.iter().all(|one| !one.is_empty()));
        Ok(Self {
            text: text.to_owned(),
            segments: segments.ok_or_else(refuse)?,
        })
    }

    /// The pointer as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The unescaped segments.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The last segment: the name of the field.
    #[must_use]
    pub fn name(&self) -> &str {
        self.segments.last().map_or("", String::as_str)
    }

    /// Whether the pointer names a family of places.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        self.segments.iter().any(|segment| segment == "*")
    }

    /// Every value at this place.
    #[must_use]
    pub fn find<'v>(&self, object: &'v Map<String, Value>) -> Vec<&'v Value> {
        let Some((first, rest)) = self.segments.split_first() else {
            return Vec::new();
        };
        let mut found: Vec<&Value> = object.get(first).into_iter().collect();
        for segment in rest {
            found = found
                .into_iter()
                .flat_map(|value| step(value, segment))
                .collect();
        }
        found
    }

    /// What stands at this place, or instead of an object around it: writing that would
    /// take the field away. `None` where nothing does.
    #[must_use]
    pub fn touched<'v>(&self, object: &'v Map<String, Value>) -> Option<&'v Value> {
        let (first, rest) = self.segments.split_first()?;
        let mut here = object.get(first)?;
        for segment in rest {
            match here {
                Value::Object(inner) => here = inner.get(segment)?,
                other => return Some(other),
            }
        }
        Some(here)
    }
}

fn step<'v>(value: &'v Value, segment: &str) -> Vec<&'v Value> {
    match value {
        Value::Object(map) if segment == "*" => map.values().collect(),
        Value::Object(map) => map.get(segment).into_iter().collect(),
        Value::Array(items) if segment == "*" => items.iter().collect(),
        Value::Array(items) => {
            let index = segment.parse::<usize>().ok();
            index
                .and_then(|index| items.get(index))
                .into_iter()
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn unescape(segment: &str) -> Option<String> {
    let mut text = String::with_capacity(segment.len());
    let mut chars = segment.chars();
    while let Some(next) = chars.next() {
        match next {
            '~' => text.push(match chars.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return None,
            }),
            other => text.push(other),
        }
    }
    Some(text)
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn find(pointer: &str, value: &Value) -> Vec<Value> {
        let object = value.as_object().unwrap();
        let found = Pointer::parse(pointer).unwrap();
        found.find(object).into_iter().cloned().collect()
    }

    #[test]
    fn finds_names_indexes_and_families() {
        let value = json!({"to": [{"mail": "a"}, {"mail": "b"}, 3], "a/b": {"~": 1}});
        assert_eq!(find("/to/*/mail", &value), [json!("a"), json!("b")]);
        assert_eq!(find("/to/2", &value), [json!(3)]);
        assert_eq!(find("/to/0/*", &value), [json!("a")]);
        assert_eq!(find("/a~1b/~0", &value), [json!(1)]);
        assert!(find("/none/at/all", &value).is_empty());
        assert!(find("/to/mail", &value).is_empty());
    }

    #[test]
    fn a_field_is_touched_with_what_is_around_it() {
        let place = Pointer::parse("/address/city").unwrap();
        let touched = |value: Value| place.touched(value.as_object().unwrap()).cloned();
        let table = [
            (json!({"address": {"city": "x"}}), Some(json!("x"))),
            (json!({"address": {"city": null}}), Some(json!(null))),
            (json!({"address": null}), Some(json!(null))),
            (json!({"address": "x"}), Some(json!("x"))),
            (json!({"address": []}), Some(json!([]))),
            (json!({"address": {"zip": 1}}), None),
            (json!({"address": {}}), None),
            (json!({"note": "x"}), None),
        ];
        for (value, expected) in table {
            assert_eq!(touched(value.clone()), expected, "{value}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_pointer() {
        for bad in ["", "to", "/", "/a//b", "/a~2", "/a~", &"/x".repeat(65)] {
            assert!(Pointer::parse(bad).is_err(), "{bad}");
        }
    }
}
