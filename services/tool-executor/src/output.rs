//! What of a worker's answer may be told: the exposed fields, redacted, and the changes.

use std::collections::BTreeMap;

use countersign_domain::policy::{Pointer, Tool};
use countersign_domain::redact::{FieldClass, FieldClasses, Redactor};
use countersign_schemas::JsonObject;
use countersign_schemas::events::Change;
use serde_json::{Map, Value};

use crate::words::{Words, cut};

/// Changes kept of one run: a person reads them in one table.
const CHANGES_MAX: usize = 100;
/// The part of an answer that may be stored and shown.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Presented {
    pub(crate) output: Option<JsonObject>,
    pub(crate) changes: Vec<Change>,
}

/// Projects `answer` to the fields that both the catalog and the permit expose, then
/// redacts them and the changes.
pub(crate) fn present(
    words: &Words<'_>,
    tool: &Tool,
    expose: &[String],
    answer: &JsonObject,
) -> Presented {
    let redactor = words.redactor();
    let exposed = || {
        let allowed = |pointer: &Pointer| expose.iter().any(|text| text == pointer.as_str());
        tool.output()
            .iter()
            .filter(move |(pointer, _)| allowed(pointer))
    };
    let mut classes = FieldClasses::none().with_detectors(tool.classes().own());
    for (pointer, class) in exposed() {
        if classes.insert(pointer.as_str(), class.clone()).is_err() {
            // A class that cannot be applied would let its value through.
            return Presented::default();
        }
    }
    let kept = project(&answer.0, exposed().map(|(pointer, _)| pointer));
    let masked = masked_members(words, &classes, kept, &mut Vec::new());
    let redacted = redactor.json(&JsonObject(masked), &classes).value;
    let safe = !redactor.rescan_with(&redacted.to_value(), classes.own());
    Presented {
        output: (safe && !redacted.0.is_empty()).then_some(redacted),
        changes: changes(words, tool, answer),
    }
}

/// The value without what the worker was given and nobody may be shown. A field that its
/// class replaces whole is left to it, so that equal values keep equal marks.
fn masked(
    words: &Words<'_>,
    classes: &FieldClasses,
    value: Value,
    path: &mut Vec<String>,
) -> Value {
    match value {
        _ if is_sensitive(classes, path) => value,
        Value::String(text) => Value::String(words.masked(&text)),
        Value::Number(number) => {
            let text = words.masked(&number.to_string());
            // Digits that a longer number has by chance are no value.
            match text.starts_with('[') && text.ends_with(']') {
                true => Value::String(text),
                false => Value::Number(number),
            }
        }
        Value::Array(items) => {
            let each = items.into_iter().enumerate().map(|(index, item)| {
                path.push(index.to_string());
                let item = masked(words, classes, item, path);
                path.pop();
                item
            });
            Value::Array(each.collect())
        }
        Value::Object(object) => Value::Object(masked_members(words, classes, object, path)),
        Value::Null | Value::Bool(_) => value,
    }
}

fn masked_members(
    words: &Words<'_>,
    classes: &FieldClasses,
    object: Map<String, Value>,
    path: &mut Vec<String>,
) -> Map<String, Value> {
    let each = object.into_iter().map(|(name, value)| {
        path.push(name);
        let value = masked(words, classes, value, path);
        // The class of a field is found by its name; any other name may be a value, too.
        let keeps = is_sensitive(classes, path);
        let name = path.pop().unwrap_or_default();
        (if keeps { name } else { words.masked(&name) }, value)
    });
    each.collect()
}

fn is_sensitive(classes: &FieldClasses, path: &[String]) -> bool {
    let class = classes.class_at(path.iter().map(String::as_str));
    class.is_some_and(FieldClass::is_sensitive)
}

/// The pointers as a tree, `*` standing for every member.
#[derive(Default)]
struct Node<'p> {
    whole: bool,
    below: BTreeMap<&'p str, Node<'p>>,
}

fn project<'p>(
    answer: &Map<String, Value>,
    pointers: impl Iterator<Item = &'p Pointer>,
) -> Map<String, Value> {
    let mut root = Node::default();
    for pointer in pointers {
        let mut node = &mut root;
        for segment in pointer.segments() {
            node = node.below.entry(segment).or_default();
        }
        node.whole = true;
    }
    members(answer, &[&root])
}

fn members(object: &Map<String, Value>, at: &[&Node<'_>]) -> Map<String, Value> {
    let kept = object.iter().filter_map(|(name, value)| {
        let value = keep(value, &step(at, name))?;
        Some((name.clone(), value))
    });
    kept.collect()
}

fn step<'n, 'p>(at: &[&'n Node<'p>], name: &str) -> Vec<&'n Node<'p>> {
    at.iter()
        .flat_map(|node| [node.below.get(name), node.below.get("*")])
        .flatten()
        .collect()
}

/// The part of `value` that the nodes reach; `None` where they reach nothing.
fn keep(value: &Value, at: &[&Node<'_>]) -> Option<Value> {
    if at.iter().any(|node| node.whole) {
        return Some(value.clone());
    }
    if at.is_empty() {
        return None;
    }
    match value {
        Value::Object(object) => Some(Value::Object(members(object, at))),
        Value::Array(items) => {
            let kept = items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| keep(item, &step(at, &index.to_string())));
            Some(Value::Array(kept.collect()))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// The changes that the worker reports, redacted by the class of their field.
fn changes(words: &Words<'_>, tool: &Tool, answer: &JsonObject) -> Vec<Change> {
    let reported = answer.0.get("changes").and_then(Value::as_array);
    reported
        .into_iter()
        .flatten()
        .filter_map(|entry| change(words, tool, entry.as_object()?))
        .take(CHANGES_MAX)
        .collect()
}

fn change(words: &Words<'_>, tool: &Tool, entry: &Map<String, Value>) -> Option<Change> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let field = text("field")?;
    let value = |key: &str| {
        let value = entry.get(key).filter(|value| !value.is_null())?;
        Some(changed_value(words.redactor(), tool, field, value))
    };
    Some(Change {
        resource: words.clean(text("resource")?),
        field: words.clean(field),
        before: value("before"),
        after: value("after"),
    })
}

/// The value of a field that neither input nor output classes is redacted whole.
fn changed_value(redactor: &Redactor, tool: &Tool, field: &str, value: &Value) -> String {
    let path: Vec<&str> = field
        .split(['.', '/'])
        .filter(|step| !step.is_empty())
        .collect();
    let classed = class_of(tool, &path);
    let mut classes = FieldClasses::none().with_detectors(tool.classes().own());
    let readable = match classed {
        Some(class) => classes.insert("/value", class).is_ok(),
        None => false,
    };
    if !readable {
        classes = FieldClasses::everything();
    }
    let holder = Map::from_iter([("value".to_owned(), value.clone())]);
    let redacted = redactor.json(&JsonObject(holder), &classes).value;
    match redacted.0.get("value") {
        Some(Value::String(text)) => cut(text),
        Some(other) => cut(&other.to_string()),
        None => String::new(),
    }
}

/// The class of a field by its path, from the input or the output of the tool.
fn class_of(tool: &Tool, path: &[&str]) -> Option<FieldClass> {
    let input = tool.classes().class_at(path.iter().copied()).cloned();
    let output = tool
        .output()
        .iter()
        .find(|(pointer, _)| pointer.segments().iter().eq(path.iter()))
        .map(|(_, class)| class.clone());
    input.max(output)
}

#[cfg(test)]
mod tests;
