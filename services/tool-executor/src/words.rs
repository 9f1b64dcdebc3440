//! A worker's own words, without the input that it was given. Pure.
//!
//! Detectors know what a card number looks like, not what a name or a diagnosis does. But
//! the executor knows what it sent: every value of the input that the catalog does not
//! class as fit to be shown is looked for in the words and replaced by its mark.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use aho_corasick::{AhoCorasick, MatchKind};
use countersign_domain::policy::Tool;
use countersign_domain::redact::{FieldClass, REDACTION_FAILED, Redactor};
use countersign_schemas::JsonObject;
use serde_json::Value;

/// Characters of one value in a change, and of a worker's own words.
pub(crate) const WORDS_CHARS_MAX: usize = 500;
/// Shorter values stand in every sentence; looking for them would leave none readable.
const VALUE_CHARS_MIN: usize = 3;
/// The type of a mark for a field that no class names.
const UNCLASSED: &str = "secret";

/// Cleans the words of one run's worker.
pub(crate) struct Words<'r> {
    redactor: &'r Redactor,
    tool: &'r Tool,
    input: &'r JsonObject,
    // Most runs end without a word.
    finder: OnceCell<Option<Finder>>,
}

/// What is looked for, and the mark of each.
struct Finder {
    automaton: AhoCorasick,
    marks: Vec<String>,
}

impl<'r> Words<'r> {
    /// For the worker of `tool`, which was given `input`.
    pub(crate) fn new(redactor: &'r Redactor, tool: &'r Tool, input: &'r JsonObject) -> Self {
        Self {
            redactor,
            tool,
            input,
            finder: OnceCell::new(),
        }
    }

    pub(crate) fn redactor(&self) -> &'r Redactor {
        self.redactor
    }

    /// `text` redacted, on one line, bounded.
    pub(crate) fn clean(&self, text: &str) -> String {
        let masked = self.masked(&one_line(text));
        cut(&self.redactor.text_with(&masked, self.tool.classes()).text)
    }

    /// `text` with the mark of each value of the input that may not be shown in its place.
    pub(crate) fn masked(&self, text: &str) -> String {
        match self.finder.get_or_init(|| self.finder()) {
            Some(Finder { automaton, marks }) => automaton.replace_all(text, marks),
            None => REDACTION_FAILED.to_owned(),
        }
    }

    fn finder(&self) -> Option<Finder> {
        let mut known = BTreeMap::new();
        for (name, value) in &self.input.0 {
            self.gather(value, &mut vec![name.clone()], &mut known);
        }
        // Of values that begin at one place the longest hides the others.
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(known.keys())
            .ok()?;
        let marks = known.into_values().collect();
        Some(Finder { automaton, marks })
    }

    /// Notes every text and number below `value` that may not be shown.
    fn gather(&self, value: &Value, path: &mut Vec<String>, known: &mut BTreeMap<String, String>) {
        let class = self
            .tool
            .classes()
            .class_at(path.iter().map(String::as_str));
        let kind = match class {
            Some(FieldClass::Public | FieldClass::Internal) => None,
            Some(FieldClass::Personal(kind)) => Some(kind.as_str()),
            Some(FieldClass::Secret) | None => Some(UNCLASSED),
        };
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => self.note(kind, &number.to_string(), known),
            Value::String(text) => self.note(kind, text, known),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    self.gather(item, path, known);
                    path.pop();
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    // A field that is replaced whole hides its names as well.
                    if class.is_some_and(FieldClass::is_sensitive) {
                        self.note(kind, name, known);
                    }
                    path.push(name.clone());
                    self.gather(member, path, known);
                    path.pop();
                }
            }
        }
    }

    /// Notes one value as it may turn up: plain, in JSON and in a URL.
    fn note(&self, kind: Option<&str>, value: &str, known: &mut BTreeMap<String, String>) {
        let Some(kind) = kind else {
            return;
        };
        let plain = one_line(value);
        if plain.chars().count() < VALUE_CHARS_MIN {
            return;
        }
        let mark = self.redactor.mark(kind, value);
        for form in [value.to_owned(), in_json(value), in_url(value), plain] {
            known.insert(form, mark.clone());
        }
    }
}

/// The text on one line, without control characters.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).collect()
}

fn in_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let inside = quoted
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    one_line(inside.unwrap_or(&quoted))
}

fn in_url(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            _ => write!(out, "%{byte:02X}").unwrap_or_default(),
        }
        out
    })
}

/// The beginning of a text that is too long.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(WORDS_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.split_at(end).0),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
