//! What stands for a row in the hash tree.
//!
//! The canonical form of a row is a JSON object of its columns by name, in the order of
//! RFC 8785, without spaces. A column that is NULL or an empty list is left out, so that a
//! row keeps its hash when later versions add columns; an instant is written as
//! microseconds since the Unix epoch, every number in plain digits. The leaf of the tree is
//! the SHA-256 of those bytes.

use std::sync::LazyLock;

use countersign_schemas::Digest;

use super::columns::{COLUMNS, Cell, Column};
use super::row::Row;
use crate::merkle::{Node, leaf_hash};

/// Every column, with its place in [`COLUMNS`], by name.
static BY_NAME: LazyLock<Vec<(usize, &'static Column)>> = LazyLock::new(|| {
    let mut columns: Vec<_> = COLUMNS.iter().enumerate().collect();
    columns.sort_by_key(|(_, column)| column.name);
    columns
});

/// The canonical bytes of a row, from its cells: `cell` is given the place of a column in
/// [`COLUMNS`], so that a row can come from anywhere.
pub fn leaf_bytes<'a>(mut cell: impl FnMut(usize, &Column) -> Cell<'a>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_024);
    out.push(b'{');
    for (place, column) in BY_NAME.iter() {
        let value = cell(*place, column);
        if is_absent(&value) {
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        put_text(&mut out, column.name);
        out.push(b':');
        put_cell(&mut out, &value);
    }
    out.push(b'}');
    out
}

/// The hash that stands for `row` in the tree.
#[must_use]
pub fn leaf(row: &Row) -> Node {
    let bytes = leaf_bytes(|_, column| (column.get)(row));
    leaf_hash(Digest::of_bytes(&bytes).as_bytes())
}

fn is_absent(cell: &Cell<'_>) -> bool {
    match cell {
        Cell::Text(text) => text.is_none(),
        Cell::Bool(value) => value.is_none(),
        Cell::Int(value) => value.is_none(),
        Cell::Instant(value) => value.is_none(),
        Cell::Texts(items) => items.is_empty(),
        Cell::Redactions(items) => items.is_empty(),
    }
}

fn put_cell(out: &mut Vec<u8>, cell: &Cell<'_>) {
    match *cell {
        Cell::Text(text) => put_text(out, text.unwrap_or_default()),
        Cell::Bool(value) => out.extend(value.unwrap_or_default().to_string().bytes()),
        Cell::Int(value) => out.extend(value.unwrap_or_default().to_string().bytes()),
        Cell::Instant(value) => {
            out.extend(value.map_or(0, |at| at.micros()).to_string().bytes());
        }
        Cell::Texts(items) => put_list(out, items, |out, item| put_text(out, item)),
        Cell::Redactions(items) => put_list(out, items, |out, item| {
            out.extend(b"{\"count\":");
            out.extend(item.count.to_string().bytes());
            out.extend(b",\"path\":");
            put_text(out, &item.path);
            out.extend(b",\"type\":");
            put_text(out, &item.kind);
            out.push(b'}');
        }),
    }
}

fn put_list<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        put(out, item);
    }
    out.push(b']');
}

/// A text as RFC 8785 §3.2.2.2 writes it: the two-character escapes where there is one,
/// small hexadecimal digits for other control characters, everything else as it is.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend(b"\\\""),
            b'\\' => out.extend(b"\\\\"),
            0x08 => out.extend(b"\\b"),
            0x09 => out.extend(b"\\t"),
            0x0a => out.extend(b"\\n"),
            0x0c => out.extend(b"\\f"),
            0x0d => out.extend(b"\\r"),
            control @ 0x00..0x20 => out.extend(format!("\\u{control:04x}").bytes()),
            other => out.push(other),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::row::Redaction;
    use countersign_schemas::Timestamp;
    use countersign_schemas::digest::canonical_json;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn of(row: &Row) -> Vec<u8> {
        leaf_bytes(|_, column| (column.get)(row))
    }

    /// The same form by the library.
    fn defined(row: &Row) -> Vec<u8> {
        let mut map = Map::new();
        for column in COLUMNS {
            let cell = (column.get)(row);
            if is_absent(&cell) {
                continue;
            }
            let value = match cell {
                Cell::Text(text) => json!(text),
                Cell::Bool(value) => json!(value),
                Cell::Int(value) => json!(value),
                Cell::Instant(value) => json!(value.map(Timestamp::micros)),
                Cell::Texts(items) => json!(items),
                Cell::Redactions(items) => json!(items),
            };
            map.insert(column.name.to_owned(), value);
        }
        canonical_json(&Value::Object(map)).unwrap()
    }

    proptest! {
        #[test]
        fn the_form_is_canonical_json(
            purpose in proptest::option::of(any::<String>()),
            codes in proptest::collection::vec("[\\x00-\\x7f]{0,8}", 0..3),
            seq in 0_i64..(1 << 53),
            truncated in any::<bool>(),
        ) {
            let row = Row {
                purpose,
                reason_codes: codes,
                seq,
                truncated,
                redactions: vec![Redaction {
                    kind: "email".to_owned(),
                    path: "/a\"b".to_owned(),
                    count: 2,
                }],
                ..Row::default()
            };
            prop_assert_eq!(of(&row), defined(&row));
        }
    }

    #[test]
    fn every_column_counts() {
        let row = Row::default();
        let other = Row {
            leaf_index: 1,
            ..Row::default()
        };
        assert_ne!(leaf(&row), leaf(&other));
        let absent = Row {
            purpose: Some(String::new()),
            ..Row::default()
        };
        assert_ne!(leaf(&row), leaf(&absent), "an empty text is not NULL");
    }
}
