//! The one redaction engine: what may leave a service in a log, an archive or a message.
//!
//! Structure first: a field that the catalog classes as personal or secret is replaced
//! whole. Then detectors read every other string, number and object key, in plain form and
//! after one round of decoding. A replaced value reads `[email:k1:9f2c41d07a3b]`: its type,
//! the key's name and a keyed fingerprint, so equal values correlate and nobody can turn
//! them back. Whatever goes wrong, the value is replaced by `[redaction_failed]`.

mod classes;
mod decode;
mod detect;
mod digest;
mod findings;
mod fingerprint;
mod hints;
mod line;
mod locate;
mod lookup;
mod marks;
mod own;
mod path;
mod places;
mod replaced;
mod walk;
mod words;
mod work;

/// Whether a value, or the name of one in it, was redacted: it holds a mark of ours.
pub(crate) fn holds_marks(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    let marked = |text: &str| !marks::kept(text).is_empty();
    match value {
        Value::String(text) => marked(text),
        Value::Array(items) => items.iter().any(holds_marks),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| marked(name) || holds_marks(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests;

pub use classes::{ClassError, FieldClass, FieldClasses};
pub use findings::{Finding, Findings};
pub use fingerprint::{FingerprintKey, KeyError};
pub use line::{LineFinding, RedactedLine};
pub use lookup::{LookupError, Print, VALUE_BYTES_MAX, prints};
pub use own::{Checksum, DetectorError, DetectorSettings, Detectors};

use std::collections::{BTreeMap, BTreeSet};

use countersign_schemas::json::JsonObject;
use countersign_schemas::limits;
use serde_json::{Map, Value};

use detect::{Hit, Kind, Reading};
use path::Path;
use replaced::Replaced;

use crate::slot::Slot;

/// What stands where a value could not be redacted.
pub const REDACTION_FAILED: &str = "[redaction_failed]";

/// Longest text that is read, in bytes: what a stream stores; nothing larger reaches us
/// honestly, and every pass is linear in it.
const TEXT_BYTES_MAX: usize = limits::STORED_BYTES_MAX;
/// Passes over one text. The first finds, the second confirms; replacing a value can lay
/// open the edge of its neighbour, so two more are granted before the text is given up.
const PASSES_MAX: usize = 4;

/// A text after redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// The text, safe to store and to show.
    pub text: String,
    /// What was replaced; never a value.
    pub findings: Findings,
}

/// A JSON object after redaction.
#[derive(Debug, Clone, PartialEq)]
pub struct RedactedJson {
    /// The object, safe to store and to show.
    pub value: JsonObject,
    /// What was replaced; never a value.
    pub findings: Findings,
}

/// Any JSON value after redaction.
#[derive(Debug, Clone, PartialEq)]
pub struct RedactedValue {
    /// The value, safe to store and to show.
    pub value: Value,
    /// What was replaced; never a value.
    pub findings: Findings,
}

/// The engine, with the deployment's fingerprint key. Clones share the key, so that a
/// rotation reaches all of them.
#[derive(Debug, Clone)]
pub struct Redactor {
    key: Slot<FingerprintKey>,
}

/// A detector failed or a bound was passed; the caller replaces the whole value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failed;

impl Redactor {
    /// An engine that marks with `key`.
    #[must_use]
    pub fn new(key: FingerprintKey) -> Self {
        Self {
            key: Slot::new(key),
        }
    }

    /// Marks with `key` from now on.
    pub fn rotate(&self, key: FingerprintKey) {
        self.key.put(key);
    }

    /// Redacts free text.
    #[must_use]
    pub fn text(&self, text: &str) -> Redacted {
        self.text_by(text, Reading::PLAIN)
    }

    /// Redacts free text, with the detectors of a catalog too.
    #[must_use]
    pub fn text_with(&self, text: &str, classes: &FieldClasses) -> Redacted {
        let own = classes.own();
        self.text_by(
            text,
            Reading {
                own,
                ..Reading::PLAIN
            },
        )
    }

    fn text_by(&self, text: &str, reading: Reading<'_>) -> Redacted {
        let mut findings = Findings::default();
        let text = match self.clean(text, reading, &Path::ROOT, &mut findings) {
            Ok(clean) => clean.unwrap_or_else(|| text.to_owned()),
            Err(Failed) => failed_at(&Path::ROOT, &mut findings),
        };
        Redacted { text, findings }
    }

    /// Redacts an object by its field classes, then by the detectors.
    #[must_use]
    pub fn json(&self, object: &JsonObject, classes: &FieldClasses) -> RedactedJson {
        let RedactedValue { value, findings } =
            self.value(&Value::Object(object.0.clone()), classes);
        let value = match value {
            Value::Object(map) => JsonObject(map),
            other => JsonObject(Map::from_iter([("redacted".to_owned(), other)])),
        };
        RedactedJson { value, findings }
    }

    /// Redacts any JSON value by its field classes, then by the detectors.
    #[must_use]
    pub fn value(&self, value: &Value, classes: &FieldClasses) -> RedactedValue {
        let mut findings = Findings::default();
        let value = walk::value(self, value, classes, &mut findings)
            .unwrap_or_else(|Failed| Value::String(failed_at(&Path::ROOT, &mut findings)));
        RedactedValue { value, findings }
    }

    /// Whether anything would still be found in a finished record: the second scan. A record
    /// for which this is true must not leave the service.
    #[must_use]
    pub fn rescan(&self, value: &Value) -> bool {
        self.rescan_with(value, Detectors::NONE)
    }

    /// The second scan, with the detectors of a catalog too.
    #[must_use]
    pub fn rescan_with(&self, value: &Value, own: &Detectors) -> bool {
        walk::holds_more(
            value,
            Reading {
                own,
                ..Reading::PLAIN
            },
            0,
        )
    }

    /// The mark that stands for `value`, as a search for a known value needs it. `kind` is a
    /// type such as `email`; the value is brought to the form in which equal values agree.
    #[must_use]
    pub fn mark(&self, kind: &str, value: &str) -> String {
        self.key.get().mark(kind, &detect::canonical(kind, value))
    }

    /// Redacts one text; none if nothing is found in it.
    fn clean(
        &self,
        text: &str,
        reading: Reading<'_>,
        path: &Path<'_>,
        findings: &mut Findings,
    ) -> Result<Option<String>, Failed> {
        let first = first(text, reading)?;
        if first.is_empty() {
            findings.note_surrogates(text);
            return Ok(None);
        }
        // One key for the marks and for what is said of them, should it rotate meanwhile.
        let key = self.key.get();
        let (clean, hits) = passes(&key, text, reading, first)?;
        for (hit, mark) in &hits {
            findings.note(hit.word(), &path.shown());
            findings.note_fingerprint(mark);
        }
        findings.note_surrogates(&clean);
        Ok(Some(clean))
    }

    /// What is found in one text, by its place in it.
    fn hits(&self, text: &str, reading: Reading<'_>) -> Result<Vec<Hit>, Failed> {
        match first(text, reading)? {
            none if none.is_empty() => Ok(none),
            some => {
                let (_, hits) = passes(&self.key.get(), text, reading, some)?;
                Ok(hits.into_iter().map(|(hit, _)| hit).collect())
            }
        }
    }

    /// The mark for a canonical value, noted in the findings.
    fn note(
        &self,
        kind: &str,
        canonical: &str,
        path: &Path<'_>,
        findings: &mut Findings,
    ) -> String {
        let mark = self.key.get().mark(kind, canonical);
        findings.note(kind, &path.shown());
        findings.note_fingerprint(&mark);
        mark
    }
}

/// The types that the detectors know, as findings carry them.
pub(crate) const TYPES: [&str; 11] = Kind::WORDS;

/// The types of what the detectors find in each member of `object`, its key included, by
/// the member's key; `None` if one could not be read to its end.
pub(crate) fn types_by_member(
    object: &Map<String, Value>,
) -> Option<BTreeMap<String, BTreeSet<&'static str>>> {
    walk::types(object).ok()
}

/// What the first pass finds.
fn first(text: &str, reading: Reading<'_>) -> Result<Vec<Hit>, Failed> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Failed);
    }
    detect::scan(text, reading)
}

/// Replaces and scans again until nothing more is found; the finds of every pass, by their
/// place in the original, with their marks.
fn passes(
    key: &FingerprintKey,
    text: &str,
    reading: Reading<'_>,
    first: Vec<Hit>,
) -> Result<(String, Vec<(Hit, String)>), Failed> {
    let mut steps: Vec<Replaced> = Vec::new();
    let mut all = Vec::new();
    let mut hits = first;
    for _ in 1..PASSES_MAX {
        let read = steps.last().map_or(text, |step| step.text.as_str());
        let next = Replaced::of(read, &hits, key)?;
        let original = |hit| steps.iter().rev().fold(hit, |hit, step| step.original(hit));
        all.extend(hits.into_iter().map(original).zip(next.marks()));
        hits = detect::scan(&next.text, reading)?;
        if hits.is_empty() {
            return Ok((next.text, all));
        }
        steps.push(next);
    }
    Err(Failed)
}

/// Notes a failure and gives what stands in the value's place.
fn failed_at(path: &Path<'_>, findings: &mut Findings) -> String {
    findings.note(Kind::FAILED, &path.shown());
    REDACTION_FAILED.to_owned()
}
