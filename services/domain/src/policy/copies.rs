//! The copies of an input that travel in a verdict: redacted, and as approvers see it.

use countersign_schemas::JsonObject;
use countersign_schemas::events::{Change, ToolRequested};
use countersign_schemas::limits::{PURPOSE_CHARS_MAX, STORED_BYTES_MAX};
use serde_json::{Map, Value};

use super::fields::Cursor;
use super::refusal::Finding;
use super::show::{View, hidden};
use super::tool::Tool;
use crate::redact::{FieldClasses, Redactor};

/// Bytes of the two copies of an input in a verdict: marks are longer than what they
/// stand for, and the event must still be stored whole.
const COPIES_BYTES_MAX: usize = STORED_BYTES_MAX / 4 * 3;
/// Characters of the summary, a resource and a changed value: one line each.
const LINE_CHARS_MAX: usize = 300;

/// What of an input goes into the verdict.
#[derive(Default)]
pub(crate) struct Copies {
    pub(crate) redacted: JsonObject,
    pub(crate) shown: JsonObject,
    pub(crate) summary: String,
    pub(crate) changes: Vec<Change>,
    pub(crate) amount: Option<String>,
    pub(crate) currency: Option<String>,
    pub(crate) too_large: bool,
    /// What the agent says besides its input goes to everybody, chats and handoffs too.
    pub(crate) purpose: String,
    pub(crate) session_id: Option<String>,
}

impl Copies {
    pub(crate) fn of(
        redactor: &Redactor,
        request: &ToolRequested,
        tool: Option<&Tool>,
        finding: &Finding,
    ) -> Self {
        let clean = |text: &str| redactor.text(text).text;
        let purpose = clean(&request.purpose);
        Self {
            purpose: purpose.chars().take(PURPOSE_CHARS_MAX).collect(),
            session_id: request.session_id.as_deref().map(|id| line(&clean(id))),
            ..Self::of_input(redactor, request, tool, finding)
        }
    }

    fn of_input(
        redactor: &Redactor,
        request: &ToolRequested,
        tool: Option<&Tool>,
        finding: &Finding,
    ) -> Self {
        let Some(tool) = tool else {
            let redacted = redactor
                .json(&request.input, &FieldClasses::everything())
                .value;
            return Self {
                summary: format!("call the tool `{}`", request.tool),
                ..Self::default()
            }
            .bounded(redacted, JsonObject::default());
        };
        let raw = &request.input.0;
        let clean = redactor.json(&request.input, &tool.classes).value;
        let clean = JsonObject(classified(clean.0, tool.fields.cursor()));
        let fits = finding.input_fits;
        let view = View {
            redactor,
            personal: fits,
        };
        let shown = view.object(raw, &clean.0, tool.fields.cursor());
        // In an input that does not fit its schema a value may stand in the wrong field.
        let redacted = if fits {
            clean
        } else {
            JsonObject(shown.clone())
        };
        let names: Vec<&str> = tool
            .updates(raw)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        Self {
            summary: line(&tool.summary.fill(&redacted.0, &names)),
            changes: changes(tool, &redacted.0),
            amount: if fits { tool.amount_text(raw) } else { None },
            currency: if fits { tool.currency_text(raw) } else { None },
            ..Self::default()
        }
        .bounded(redacted, JsonObject(shown))
    }

    /// Keeps the copies if the event can still be stored with them.
    fn bounded(mut self, redacted: JsonObject, shown: JsonObject) -> Self {
        self.too_large = weight_of(&redacted.0) + weight_of(&shown.0) > COPIES_BYTES_MAX;
        if !self.too_large {
            self.redacted = redacted;
            self.shown = shown;
        }
        self
    }
}

/// The object without any value that no declared field covers: where the catalog does not
/// know what stands there, it is taken for a secret. A flag tells nothing about anybody.
fn classified(object: Map<String, Value>, cursor: Cursor<'_>) -> Map<String, Value> {
    let one = |(name, value): (String, Value)| {
        let below = cursor.member(&name);
        (name, classified_value(value, below))
    };
    object.into_iter().map(one).collect()
}

fn classified_value(value: Value, cursor: Cursor<'_>) -> Value {
    match value {
        Value::Object(object) => Value::Object(classified(object, cursor)),
        Value::Array(items) => {
            let one = |item| classified_value(item, cursor.element());
            Value::Array(items.into_iter().map(one).collect())
        }
        Value::Number(_) | Value::String(_) if cursor.field.is_none() => hidden(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn changes(tool: &Tool, redacted: &Map<String, Value>) -> Vec<Change> {
    let resource = line(&tool.resource.fill(redacted, &[]));
    let one = |(field, value): (&str, &Value)| Change {
        resource: resource.clone(),
        field: field.to_owned(),
        before: None,
        after: Some(line(
            &super::template::plain(value).unwrap_or_else(|| value.to_string()),
        )),
    };
    tool.updates(redacted).into_iter().map(one).collect()
}

/// The text, cut to one line of a table.
pub(crate) fn line(text: &str) -> String {
    match text.char_indices().nth(LINE_CHARS_MAX) {
        None => text.to_owned(),
        Some(_) => text.chars().take(LINE_CHARS_MAX).chain(['…']).collect(),
    }
}

/// About how many bytes a value takes as JSON, never too few.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 6,
        Value::Number(_) => 32,
        Value::String(text) => weight_of_text(text),
        Value::Array(items) => 2 + items.iter().map(weight).sum::<usize>(),
        Value::Object(object) => weight_of(object),
    }
}

fn weight_of(object: &Map<String, Value>) -> usize {
    let one = |(name, value): (&String, &Value)| weight_of_text(name) + weight(value);
    2 + object.iter().map(one).sum::<usize>()
}

fn weight_of_text(text: &str) -> usize {
    let byte = |byte: u8| match byte {
        0..=0x1f => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    4 + text.bytes().map(byte).sum::<usize>()
}
