//! The last gate before the archive: every text that a sender could choose is redacted,
//! then the finished row is scanned again. Whatever cannot be proved clean is left out.

use countersign_schemas::JsonObject;
use countersign_schemas::events::Change;
use countersign_schemas::limits::BODY_BYTES_MAX;
use serde_json::{Map, Value};

use super::draft::Draft;
use super::marks::Tally;
use super::row::Row;

/// Longest text in a cell, in characters; four times a purpose, so that nothing honest
/// is cut and a hostile text stays small.
pub const TEXT_CHARS_MAX: usize = 8_000;

/// A value after redaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Scrubbed<T> {
    /// The value with every finding replaced.
    pub value: T,
    /// The type of each finding; empty when nothing was found.
    pub kinds: Vec<String>,
}

/// The redactor gave up on a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a value could not be searched for sensitive data; only metadata of this event is archived"
)]
pub struct ScrubError;

/// Finds and replaces sensitive values. Must be idempotent: its own output holds nothing
/// to find.
pub trait Scrub {
    /// Redacts a text.
    ///
    /// # Errors
    /// When the text cannot be searched; the caller keeps none of it.
    fn text(&self, text: &str) -> Result<Scrubbed<String>, ScrubError>;

    /// Redacts an object whose fields no catalog classifies, by value and by key.
    ///
    /// # Errors
    /// When the object cannot be searched; the caller keeps none of it.
    fn json(&self, object: &JsonObject) -> Result<Scrubbed<JsonObject>, ScrubError>;
}

/// Why a draft did not become a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unclean;

impl From<ScrubError> for Unclean {
    fn from(_: ScrubError) -> Self {
        Self
    }
}

/// Redacts a draft, derives the columns about redaction, and scans the result.
pub(super) fn finish(draft: Draft, scrub: &dyn Scrub) -> Result<Row, Unclean> {
    let Draft {
        mut row,
        input,
        output,
        changes,
    } = draft;
    let mut tally = Tally::default();
    for (name, text) in texts(&mut row) {
        let Some(raw) = text.take() else { continue };
        let clean = clean_text(name, raw, scrub)?;
        let cut = cut(clean, &mut tally.full);
        tally.text(name, &cut);
        *text = Some(cut);
    }
    row.input_redacted = input
        .map(|object| json_cell("input_redacted", &object, scrub, &mut tally))
        .transpose()?
        .flatten();
    row.output_redacted = output
        .map(|object| json_cell("output_redacted", &object, scrub, &mut tally))
        .transpose()?
        .flatten();
    row.changes = changes_cell(&changes, scrub, &mut tally)?;
    row.truncated |= tally.full;
    row.redactions = tally.redactions;
    row.fingerprints = tally.fingerprints;
    row.surrogates = tally.surrogates;
    scan(&mut row, scrub)?;
    Ok(row)
}

/// The cells that a sender can write freely. Identities that the server binds to a
/// connection, and digests, are not among them.
fn texts(row: &mut Row) -> [(&'static str, &mut Option<String>); 8] {
    [
        ("session_id", &mut row.session_id),
        ("requester_id", &mut row.requester_id),
        ("bundle_id", &mut row.bundle_id),
        ("tool_name", &mut row.tool_name),
        ("resource", &mut row.resource),
        ("purpose", &mut row.purpose),
        ("output_summary", &mut row.output_summary),
        ("error_code", &mut row.error_code),
    ]
}

/// A requester may be named by mail address: who asked is what the archive is for.
fn is_name(column: &str, kinds: &[String]) -> bool {
    column == "requester_id" && kinds.iter().all(|kind| kind == "email")
}

fn clean_text(column: &str, raw: String, scrub: &dyn Scrub) -> Result<String, Unclean> {
    let clean = scrub.text(&raw)?;
    Ok(if is_name(column, &clean.kinds) {
        raw
    } else {
        clean.value
    })
}

fn cut(text: String, truncated: &mut bool) -> String {
    if text.chars().nth(TEXT_CHARS_MAX).is_none() {
        return text;
    }
    *truncated = true;
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// The cell of a redacted object, or NULL where it would be larger than any input.
fn json_cell(
    column: &str,
    object: &JsonObject,
    scrub: &dyn Scrub,
    tally: &mut Tally,
) -> Result<Option<String>, Unclean> {
    let clean = scrub.json(object)?.value.to_value();
    let text = clean.to_string();
    if text.len() > BODY_BYTES_MAX {
        tally.full = true;
        return Ok(None);
    }
    tally.json(column, &clean);
    Ok(Some(text))
}

/// The list of changes travels through the redactor as an object with one field.
fn changes_cell(
    changes: &[Change],
    scrub: &dyn Scrub,
    tally: &mut Tally,
) -> Result<Option<String>, Unclean> {
    if changes.is_empty() {
        return Ok(None);
    }
    let list = serde_json::to_value(changes).map_err(|_| Unclean)?;
    let clean = scrub.json(&wrapped(list))?.value;
    let list = clean.0.get("changes").cloned().ok_or(Unclean)?;
    let text = list.to_string();
    if text.len() > BODY_BYTES_MAX {
        tally.full = true;
        return Ok(None);
    }
    tally.json("changes", &list);
    Ok(Some(text))
}

fn wrapped(list: Value) -> JsonObject {
    JsonObject(Map::from_iter([("changes".to_owned(), list)]))
}

/// The second look: the finished row must hold nothing that the redactor would replace.
fn scan(row: &mut Row, scrub: &dyn Scrub) -> Result<(), Unclean> {
    for (name, text) in texts(row) {
        let Some(text) = text else { continue };
        let kinds = scrub.text(text)?.kinds;
        if !kinds.is_empty() && !is_name(name, &kinds) {
            return Err(Unclean);
        }
    }
    let cells = [&row.input_redacted, &row.output_redacted, &row.changes];
    for text in cells.into_iter().flatten() {
        let value: Value = serde_json::from_str(text).map_err(|_| Unclean)?;
        let object = JsonObject::from_value(value.clone()).unwrap_or_else(|| wrapped(value));
        if !scrub.json(&object)?.kinds.is_empty() {
            return Err(Unclean);
        }
    }
    Ok(())
}
