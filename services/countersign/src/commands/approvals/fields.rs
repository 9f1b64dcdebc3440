//! The fields of something to be printed, each taken out as it is printed: what nobody took
//! is printed at the end, so that nothing that a digest covers can be left out.

use countersign_domain::approvals::visible;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::output::pairs;

/// What is not printed yet.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of `value`; none where it is no object.
    pub(super) fn of<T: Serialize>(value: &T) -> Self {
        Self::from(serde_json::to_value(value).unwrap_or_default())
    }

    /// Takes a field out.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a field out as text: a string as it is, anything else as JSON.
    pub(super) fn text(&mut self, name: &str) -> String {
        self.take(name).map(text).unwrap_or_default()
    }

    /// Takes a list out.
    pub(super) fn list(&mut self, name: &str) -> Vec<Self> {
        match self.take(name) {
            Some(Value::Array(items)) => items.into_iter().map(Self::from).collect(),
            Some(other) => vec![Self::from(other)],
            None => Vec::new(),
        }
    }

    /// Takes a list of words out: `one, two`.
    pub(super) fn words(&mut self, name: &str) -> String {
        match self.take(name) {
            Some(Value::Array(items)) => items.into_iter().map(text).collect::<Vec<_>>().join(", "),
            Some(other) => text(other),
            None => String::new(),
        }
    }

    /// Everything that nobody took, under its name.
    pub(super) fn rest(self) -> String {
        let mut rest = String::new();
        for (name, value) in self.0 {
            rest.push_str(&match value {
                Value::Null => continue,
                Value::Array(items) if items.is_empty() => continue,
                value @ (Value::Array(_) | Value::Object(_)) => {
                    format!("{}:\n{}\n", visible(&name), indented(&value))
                }
                value => pairs(&[(visible(&name).as_str(), text(value))]),
            });
        }
        rest
    }

    /// The same on one line: `name value, name value`.
    pub(super) fn inline(self) -> String {
        let one = |(name, value): (String, Value)| match value {
            Value::Null => None,
            value => Some(format!("{name} {}", text(value))),
        };
        let all: Vec<String> = self.0.into_iter().filter_map(one).collect();
        all.join(", ")
    }
}

impl From<Value> for Fields {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(map) => Self(map),
            Value::Null => Self::default(),
            other => Self(Map::from_iter([("value".to_owned(), other)])),
        }
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// JSON as lines, safe to print. Line breaks inside a value are escaped.
pub(super) fn indented(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let lines = text.lines().map(|line| format!("  {}", visible(line)));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_nobody_took_is_told_at_the_end() {
        let mut fields = Fields::of(&json!({
            "a": "x\u{202e}", "b": 1, "none": null, "empty": [], "new": {"k": ["v"]}, "flag": true,
        }));
        assert_eq!(fields.text("a"), "x\u{202e}");
        assert_eq!(fields.text("b"), "1");
        assert_eq!(fields.text("absent"), "");
        assert!(fields.list("empty").is_empty());
        let rest = fields.rest();
        assert!(rest.contains("flag: true\n"), "{rest}");
        assert!(
            rest.contains("new:\n  {\n    \"k\": [\n      \"v\""),
            "{rest}"
        );
        assert!(!rest.contains("none") && !rest.contains("a:"), "{rest}");
    }

    #[test]
    fn what_is_no_object_is_told_all_the_same() {
        let mut fields = Fields::of(&json!({"list": ["one", {"k": 1}], "word": "x"}));
        let list: Vec<String> = fields
            .list("list")
            .into_iter()
            .map(Fields::inline)
            .collect();
        assert_eq!(list, ["value one", "k 1"]);
        assert_eq!(fields.list("word").len(), 1);
        let mut fields = Fields::of(&json!({"words": ["a", 2], "one": "b"}));
        let words = ["words", "one", "none"].map(|name| fields.words(name));
        assert_eq!(words, ["a, 2", "b", ""]);
    }
}
