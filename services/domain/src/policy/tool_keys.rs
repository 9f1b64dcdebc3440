//! The keys of a tool's table, read so that every fault is told, each at its place.

use std::ops::Range;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::tool_table::ToolTable;

/// Keys that every tool has.
const REQUIRED: [&str; 5] = ["operation", "description", "summary", "input", "worker"];
/// Keys that hold a table of their own rows: a faulty row hides no other.
const ROWS: [&str; 2] = ["fields", "output"];

/// Reads the table; `note` takes each fault with the byte at which it stands, if one does.
pub(crate) fn read(
    value: &Spanned<DeValue<'_>>,
    mut note: impl FnMut(Option<usize>, String),
) -> Option<ToolTable> {
    let Some(table) = value.get_ref().as_table() else {
        note(Some(value.span().start), "is no table".to_owned());
        return None;
    };
    let lacking = REQUIRED.iter().filter(|key| !table.contains_key(**key));
    let lacking: Vec<String> = lacking.map(|key| format!("lacks `{key}`")).collect();
    let mut sound = lacking.is_empty();
    lacking.into_iter().for_each(|fault| note(None, fault));
    // The reader stops at the first fault: what it stopped at is taken out, and it reads
    // again, until nothing is left to take out.
    let mut rest = table.clone();
    loop {
        let left = Spanned::new(value.span(), DeValue::Table(rest.clone()));
        match ToolTable::deserialize(ValueDeserializer::from(left)) {
            Ok(table) => return sound.then_some(table),
            Err(error) => {
                let at = error.span().map(|span| span.start);
                let taken = at.is_some_and(|at| take_out(&mut rest, at));
                // A key that is missing now was noted before, or taken out.
                if taken || sound {
                    note(at, error.message().to_owned());
                }
                if !taken {
                    return None;
                }
                sound = false;
            }
        }
    }
}

/// Takes out the key at byte `at`; false where there is none.
fn take_out(table: &mut DeTable<'_>, at: usize) -> bool {
    let Some(key) = key_at(table, at) else {
        return false;
    };
    if ROWS.contains(&key.as_str()) {
        let rows = table.get_mut(key.as_str()).map(Spanned::get_mut);
        if let Some(DeValue::Table(rows)) = rows
            && let Some(row) = key_at(rows, at)
        {
            return rows.remove(row.as_str()).is_some();
        }
    }
    table.remove(key.as_str()).is_some()
}

fn key_at(table: &DeTable<'_>, at: usize) -> Option<String> {
    let mut entries = table.iter();
    let found = entries.find(|(key, value)| holds(&key.span(), at) || stands_in(value, at));
    found.map(|(key, _)| key.get_ref().to_string())
}

/// A table that is spread over the file has no span of its own that holds its parts.
fn stands_in(value: &Spanned<DeValue<'_>>, at: usize) -> bool {
    let inside = match value.get_ref() {
        DeValue::Table(table) => key_at(table, at).is_some(),
        DeValue::Array(items) => items.iter().any(|item| stands_in(item, at)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => false,
    };
    inside || holds(&value.span(), at)
}

fn holds(span: &Range<usize>, at: usize) -> bool {
    span.contains(&at)
}
