//! One line of a file, JSON or text, with every find where a person sees it: for those who
//! tune rules.

use serde::Serialize;
use serde_json::Value;

use super::classes::FieldClasses;
use super::detect::{Hit, Kind, Reading};
use super::locate;
use super::path::Path;
use super::places::{self, Spot};
use super::{Redactor, TEXT_BYTES_MAX};

/// One find in a line; its place is counted in characters of the line as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineFinding {
    /// `email`, `card`, `secret` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// The first character, from 0.
    pub start: usize,
    /// The character behind the last.
    pub end: usize,
    /// In JSON the value's place, as a pointer with `*` for every index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A line after redaction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RedactedLine {
    /// The line: JSON if it was JSON, otherwise text.
    pub redacted: Value,
    /// Every find, in order.
    pub findings: Vec<LineFinding>,
}

impl Redactor {
    /// Redacts a line without saying what was found: the quicker way.
    #[must_use]
    pub fn clean_line(&self, line: &str, classes: &FieldClasses) -> String {
        let json = line.trim_start().starts_with(['{', '[', '"']) && line.len() <= TEXT_BYTES_MAX;
        match json.then(|| serde_json::from_str::<Value>(line)) {
            Some(Ok(value)) => self.value(&value, classes).value.to_string(),
            _ => self.text_with(line, classes).text,
        }
    }

    /// Redacts a line. A JSON object, array or text is read by value and key, with the classes of
    /// its fields; all else is text.
    #[must_use]
    pub fn line(&self, line: &str, classes: &FieldClasses) -> RedactedLine {
        let root = (line.len() <= TEXT_BYTES_MAX)
            .then(|| locate::read(line))
            .flatten();
        let value = root.and_then(|node| Some((node, serde_json::from_str(line).ok()?)));
        let mut found: Vec<(Option<String>, Hit)> = Vec::new();
        let spot = Spot::root(classes);
        let read = |text: &str, reading: Reading<'_>| self.hits(text, reading);
        let redacted = match value {
            Some((node, value)) => {
                let mut told = |path: &Path<'_>, hit| found.push((Some(path.shown()), hit));
                let whole = places::each(line, &node, &spot, &read, &mut told);
                match whole {
                    Ok(()) => self.value(&value, classes).value,
                    Err(failed) => self.lost(line, failed, &mut found),
                }
            }
            None => {
                let mut told = |_: &Path<'_>, hit| found.push((None, hit));
                places::in_text(line, &spot, &read, &mut told);
                Value::String(self.text_with(line, classes).text)
            }
        };
        RedactedLine {
            redacted,
            findings: in_characters(line, found),
        }
    }

    /// What stands for a line that could not be read to its end.
    fn lost(&self, line: &str, _: super::Failed, found: &mut Vec<(Option<String>, Hit)>) -> Value {
        found.push((None, Hit::named(0, line.len(), Kind::FAILED)));
        Value::String(super::REDACTION_FAILED.to_owned())
    }
}

/// The finds in order, their places counted in characters.
fn in_characters(line: &str, mut found: Vec<(Option<String>, Hit)>) -> Vec<LineFinding> {
    found.sort_by_key(|(_, hit)| (hit.start, hit.end));
    let (mut bytes, mut characters) = (0, 0);
    let mut findings = Vec::with_capacity(found.len());
    for (path, hit) in found {
        let before = line.get(bytes..hit.start).unwrap_or_default();
        characters += before.chars().count();
        bytes = bytes.max(hit.start);
        let inside = line.get(hit.start..hit.end).unwrap_or_default();
        findings.push(LineFinding {
            kind: hit.word().to_owned(),
            start: characters,
            end: characters + inside.chars().count(),
            path,
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::{classes, redactor};
    use super::*;

    /// Type, the characters of the find, and its path.
    fn found(line: &str, classes: &FieldClasses) -> Vec<(String, String, Option<String>)> {
        let characters: Vec<char> = line.chars().collect();
        redactor()
            .line(line, classes)
            .findings
            .into_iter()
            .map(|f| (f.kind, characters[f.start..f.end].iter().collect(), f.path))
            .collect()
    }

    fn one(kind: &str, text: &str, path: Option<&str>) -> Vec<(String, String, Option<String>)> {
        vec![(kind.to_owned(), text.to_owned(), path.map(str::to_owned))]
    }

    #[test]
    fn a_find_stands_where_it_is_written() {
        let none = FieldClasses::none();
        for (line, expected) in [
            ("é bob@example.com", one("email", "bob@example.com", None)),
            (
                r#"{"é": ["x", {"to": "bob@example.com"}]}"#,
                one("email", "bob@example.com", Some("/é/*/to")),
            ),
            (
                r#"{"n": 4111111111111111}"#,
                one("card", "4111111111111111", Some("/n")),
            ),
            (
                r#"{"a": "x\n\u0062ob\u0040example.com\n"}"#,
                one("email", r"\u0062ob\u0040example.com", Some("/a")),
            ),
            (
                r#"{"bob@example.com": 1}"#,
                one("email", "bob@example.com", Some("")),
            ),
            (
                r#"{"body": "{\"mobile\": \"4155552671\"}"}"#,
                one("phone", "4155552671", Some("/body")),
            ),
            ("plain", vec![]),
            ("{\"a\": 1}", vec![]),
            (
                "{broken bob@example.com",
                one("email", "bob@example.com", None),
            ),
        ] {
            assert_eq!(found(line, &none), expected, "{line}");
        }
    }

    #[test]
    fn classes_count_where_a_line_is_json() {
        let classes = classes(&[("/who", "personal:person"), ("/pin", "secret")]);
        let line = r#"{"who": "a\"b", "pin": 1234, "x": "who"}"#;
        let expected = [
            one("person", r#"a\"b"#, Some("/who")),
            one("secret", "1234", Some("/pin")),
        ]
        .concat();
        assert_eq!(found(line, &classes), expected);
        let out = redactor().line(line, &classes).redacted;
        assert!(
            out["who"].as_str().unwrap().starts_with("[person:k1:"),
            "{out}"
        );
    }

    #[test]
    fn the_line_without_its_finds_is_what_the_engine_makes() {
        let line = r#"{"a": "bob@example.com and 4111 1111 1111 1111"}"#;
        let out = redactor().line(line, &FieldClasses::none());
        assert_eq!(out.findings.len(), 2);
        let value = serde_json::from_str(line).unwrap();
        let same = redactor().value(&value, &FieldClasses::none()).value;
        assert_eq!(out.redacted, same);
        assert_eq!(
            redactor().clean_line(line, &FieldClasses::none()),
            same.to_string()
        );
        let text = "\"to\" bob@example.com \"x\"";
        let said = redactor().line(text, &FieldClasses::none()).redacted;
        let clean = redactor().clean_line(text, &FieldClasses::none());
        assert_eq!(said, clean);
        let quoted = redactor().line(r#""bob\u0040example.com""#, &FieldClasses::none());
        assert_eq!((quoted.findings[0].start, quoted.findings[0].end), (1, 21));
        assert!(
            quoted.redacted.as_str().unwrap().starts_with("[email:"),
            "{quoted:?}"
        );
        assert!(out.redacted["a"].as_str().unwrap().ends_with(']'));
    }

    #[test]
    fn a_line_that_is_too_long_is_lost_as_a_whole() {
        let line = "x".repeat(TEXT_BYTES_MAX + 1);
        let out = redactor().line(&line, &FieldClasses::none());
        assert_eq!(out.redacted, super::super::REDACTION_FAILED);
        assert_eq!(out.findings.len(), 1);
        assert_eq!(out.findings[0].kind, "redaction_failed");
    }
}
