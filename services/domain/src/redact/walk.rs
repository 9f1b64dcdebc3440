//! The walk over JSON by value: keys, strings and numbers, never the serialised text.

use std::collections::{BTreeMap, BTreeSet};

use countersign_schemas::limits::JSON_DEPTH_MAX;
use serde_json::{Map, Number, Value};

use super::classes::{FieldClasses, Place};
use super::detect::{self, Reading};
use super::findings::Findings;
use super::hints::Hints;
use super::own::Detectors;
use super::path::Path;
use super::{Failed, Redactor, failed_at, marks};

/// Digits a number must have before a detector could know it: an SSN has nine, a phone
/// number with its key's hint seven.
const NUMBER_DIGITS_MIN: usize = 7;

/// Where the walk stands.
struct Here<'a> {
    place: Place<'a>,
    path: Path<'a>,
    key: &'a str,
    hints: Hints,
    own: &'a Detectors,
    depth: usize,
}

impl<'a> Here<'a> {
    fn reading(&self) -> Reading<'a> {
        Reading {
            hints: self.hints,
            key: self.key,
            own: self.own,
            depth: 0,
        }
    }
}

/// Redacts a whole value.
pub(super) fn value(
    redactor: &Redactor,
    value: &Value,
    classes: &FieldClasses,
    findings: &mut Findings,
) -> Result<Value, Failed> {
    let here = Here {
        place: classes.start(),
        path: Path::ROOT,
        key: "",
        hints: Hints::NONE,
        own: classes.own(),
        depth: 0,
    };
    any(redactor, value, &here, findings)
}

fn any(
    redactor: &Redactor,
    value: &Value,
    here: &Here<'_>,
    findings: &mut Findings,
) -> Result<Value, Failed> {
    if here.depth > JSON_DEPTH_MAX {
        return Err(Failed);
    }
    if let Some(kind) = here.place.class().and_then(|class| class.mark_type()) {
        return Ok(Value::String(whole(redactor, kind, value, here, findings)));
    }
    Ok(match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(number) => self::number(redactor, number, here, findings),
        Value::String(text) => Value::String(
            redactor
                .clean(text, here.reading(), &here.path, findings)
                .map_or_else(
                    |Failed| failed_at(&here.path, findings),
                    |clean| clean.unwrap_or_else(|| text.clone()),
                ),
        ),
        Value::Array(items) => {
            let mut out = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                let here = Here {
                    place: here.place.index(index),
                    path: here.path.step("*"),
                    depth: here.depth + 1,
                    ..*here
                };
                out.push(below(redactor, item, &here, findings));
            }
            Value::Array(out)
        }
        Value::Object(members) => Value::Object(object(redactor, members, here, findings)),
    })
}

/// A value inside another: what goes wrong in it is lost alone.
fn below(redactor: &Redactor, value: &Value, here: &Here<'_>, findings: &mut Findings) -> Value {
    any(redactor, value, here, findings)
        .unwrap_or_else(|Failed| Value::String(failed_at(&here.path, findings)))
}

/// A classed field: one mark for whatever it holds.
fn whole(
    redactor: &Redactor,
    kind: &str,
    value: &Value,
    here: &Here<'_>,
    findings: &mut Findings,
) -> String {
    match value {
        Value::String(text) if marks::is_kept_whole(text) => {
            findings.note_surrogates(text);
            text.clone()
        }
        Value::String(text) => {
            let canonical = detect::canonical(kind, text);
            redactor.note(kind, &canonical, &here.path, findings)
        }
        other => {
            let canonical = detect::canonical(kind, &other.to_string());
            redactor.note(kind, &canonical, &here.path, findings)
        }
    }
}

fn object(
    redactor: &Redactor,
    members: &Map<String, Value>,
    here: &Here<'_>,
    findings: &mut Findings,
) -> Map<String, Value> {
    let named = Hints::of_pair(members);
    let mut read = Vec::with_capacity(members.len());
    let mut marked = false;
    let keys = Reading {
        own: here.own,
        ..Reading::PLAIN
    };
    for (key, value) in members {
        let shown = redactor.clean(key, keys, &here.path, findings).map_or_else(
            |Failed| failed_at(&here.path, findings),
            |clean| clean.unwrap_or_else(|| key.clone()),
        );
        let member = Here {
            place: here.place.step(key),
            path: here.path.step(&shown),
            key,
            hints: here.hints.below(key, named),
            own: here.own,
            depth: here.depth + 1,
        };
        let value = below(redactor, value, &member, findings);
        marked |= shown != *key;
        read.push((shown, value));
    }
    if !marked {
        return Map::from_iter(read);
    }
    let mut out = Map::new();
    for (key, value) in read {
        out.insert(free_key(&out, key), value);
    }
    out
}

/// Two keys may share a mark; both members stay.
fn free_key(out: &Map<String, Value>, key: String) -> String {
    if !out.contains_key(&key) {
        return key;
    }
    (2..=out.len() + 2)
        .map(|n| format!("{key}~{n}"))
        .find(|candidate| !out.contains_key(candidate))
        .unwrap_or(key)
}

fn number(redactor: &Redactor, number: &Number, here: &Here<'_>, findings: &mut Findings) -> Value {
    match number_hit(number, here.reading()) {
        Ok(None) => Value::Number(number.clone()),
        Ok(Some(hit)) => Value::String(redactor.note(hit.word(), &hit.value, &here.path, findings)),
        Err(Failed) => Value::String(failed_at(&here.path, findings)),
    }
}

/// What the detectors find in a number.
pub(super) fn number_hit(
    number: &Number,
    reading: Reading<'_>,
) -> Result<Option<detect::Hit>, Failed> {
    let small = number.as_u64().is_some_and(|n| n < 10_u64.pow(6));
    if small && reading.is_plain() {
        return Ok(None);
    }
    let text = number_text(number);
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if digits < NUMBER_DIGITS_MIN && reading.is_plain() {
        return Ok(None);
    }
    Ok(detect::scan(&text, reading)?.into_iter().next())
}

/// A number as people would write it: `4.111e15` hides a card number otherwise.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e19 => {
            format!("{float:.0}")
        }
        _ => number.to_string(),
    }
}

/// Whether a detector still finds something, or the value cannot be read to its end.
pub(super) fn holds_more(value: &Value, reading: Reading<'_>, depth: usize) -> bool {
    if depth > JSON_DEPTH_MAX {
        return true;
    }
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => !matches!(number_hit(number, reading), Ok(None)),
        Value::String(text) => text_holds_more(text, reading),
        Value::Array(items) => items
            .iter()
            .any(|item| holds_more(item, reading, depth + 1)),
        Value::Object(members) => {
            let named = Hints::of_pair(members);
            let keys = Reading {
                own: reading.own,
                ..Reading::PLAIN
            };
            members.iter().any(|(key, value)| {
                let member = Reading {
                    hints: reading.hints.below(key, named),
                    key,
                    ..keys
                };
                text_holds_more(key, keys) || holds_more(value, member, depth + 1)
            })
        }
    }
}

fn text_holds_more(text: &str, reading: Reading<'_>) -> bool {
    text.len() > super::TEXT_BYTES_MAX
        || !matches!(detect::scan(text, reading), Ok(hits) if hits.is_empty())
}

/// The types of what the detectors find in each member of `object`, its key included;
/// members in which they find nothing are left out.
pub(super) fn types(
    object: &Map<String, Value>,
) -> Result<BTreeMap<String, BTreeSet<&'static str>>, Failed> {
    let named = Hints::of_pair(object);
    let mut found = BTreeMap::new();
    for (key, value) in object {
        let mut types = BTreeSet::new();
        types_in_text(key, Hints::NONE, &mut types)?;
        types_in(value, Hints::NONE.below(key, named), 1, &mut types)?;
        if !types.is_empty() {
            found.insert(key.clone(), types);
        }
    }
    Ok(found)
}

fn types_in(
    value: &Value,
    hints: Hints,
    depth: usize,
    types: &mut BTreeSet<&'static str>,
) -> Result<(), Failed> {
    if depth > JSON_DEPTH_MAX {
        return Err(Failed);
    }
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(number) => {
            let hit = number_hit(number, Reading::hinted(hints))?;
            types.extend(hit.map(|hit| hit.kind.word()));
            Ok(())
        }
        Value::String(text) => types_in_text(text, hints, types),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| types_in(item, hints, depth + 1, types)),
        Value::Object(members) => {
            let named = Hints::of_pair(members);
            members.iter().try_for_each(|(key, value)| {
                types_in_text(key, Hints::NONE, types)?;
                types_in(value, hints.below(key, named), depth + 1, types)
            })
        }
    }
}

fn types_in_text(
    text: &str,
    hints: Hints,
    types: &mut BTreeSet<&'static str>,
) -> Result<(), Failed> {
    if text.len() > super::TEXT_BYTES_MAX {
        return Err(Failed);
    }
    let hits = detect::scan(text, Reading::hinted(hints))?;
    types.extend(hits.into_iter().map(|hit| hit.kind.word()));
    Ok(())
}
