//! What is found in JSON as it is written: every key, text and number, with its place.

use countersign_schemas::limits::JSON_DEPTH_MAX;
use serde_json::Number;

use super::classes::{FieldClasses, Place};
use super::decode::View;
use super::detect::{Hit, Kind, Reading};
use super::hints::Hints;
use super::locate::{Node, Span};
use super::path::Path;
use super::{Failed, marks, walk};

/// Where a walk stands.
pub(super) struct Spot<'a> {
    place: Place<'a>,
    path: Path<'a>,
    reading: Reading<'a>,
    depth: usize,
}

impl<'a> Spot<'a> {
    /// At the root of a line whose fields have classes.
    pub(super) fn root(classes: &'a FieldClasses) -> Self {
        Self {
            place: classes.start(),
            path: Path::ROOT,
            reading: Reading {
                own: classes.own(),
                ..Reading::PLAIN
            },
            depth: 0,
        }
    }

    /// Inside a text, of whose key no more is known than this.
    pub(super) fn inside(reading: Reading<'a>) -> Self {
        Self {
            place: Place::NOWHERE,
            path: Path::ROOT,
            reading,
            depth: 0,
        }
    }
}

/// What reads one text.
pub(super) type Read<'r> = &'r dyn Fn(&str, Reading<'_>) -> Result<Vec<Hit>, Failed>;
/// Who is told of a find, whose range is in the text as it is written.
pub(super) type Told<'t> = &'t mut dyn FnMut(&Path<'_>, Hit);

/// Reads every key and value below `node`.
pub(super) fn each(
    text: &str,
    node: &Node,
    spot: &Spot<'_>,
    read: Read<'_>,
    told: Told<'_>,
) -> Result<(), Failed> {
    if spot.depth > JSON_DEPTH_MAX {
        return Err(Failed);
    }
    if let Some(kind) = spot.place.class().and_then(|class| class.mark_type()) {
        return classed(text, node.span(), kind, spot, told);
    }
    match node {
        Node::Word(_) => Ok(()),
        Node::Number(span) => number(text, *span, spot, told),
        Node::Text(span) => {
            written(text, *span, spot.reading, &spot.path, read, told);
            Ok(())
        }
        Node::Array(_, items) => items.iter().enumerate().try_for_each(|(index, item)| {
            let spot = Spot {
                place: spot.place.index(index),
                path: spot.path.step("*"),
                depth: spot.depth + 1,
                ..*spot
            };
            each(text, item, &spot, read, told)
        }),
        Node::Object(_, members) => object(text, members, spot, read, told),
    }
}

fn object(
    text: &str,
    members: &[(Span, Node)],
    spot: &Spot<'_>,
    read: Read<'_>,
    told: Told<'_>,
) -> Result<(), Failed> {
    let named = Hints::of_members(members.iter().map(|(key, value)| match value {
        Node::Text(value) => (key.of(text), Some(value.of(text))),
        _ => (key.of(text), None),
    }));
    let keys = Reading {
        hints: Hints::NONE,
        key: "",
        ..spot.reading
    };
    for (span, value) in members {
        written(text, *span, keys, &spot.path, read, told);
        let view = decoded(span.of(text));
        let key = view.text();
        let member = Spot {
            place: spot.place.step(key),
            path: spot.path.step(key),
            reading: Reading {
                hints: spot.reading.hints.below(key, named),
                key,
                ..spot.reading
            },
            depth: spot.depth + 1,
        };
        each(text, value, &member, read, told)?;
    }
    Ok(())
}

/// A classed field is one find, whatever it holds.
fn classed(
    text: &str,
    span: Span,
    kind: &str,
    spot: &Spot<'_>,
    told: Told<'_>,
) -> Result<(), Failed> {
    if !marks::is_kept_whole(span.of(text)) {
        told(&spot.path, Hit::named(span.start, span.end, kind));
    }
    Ok(())
}

fn number(text: &str, span: Span, spot: &Spot<'_>, told: Told<'_>) -> Result<(), Failed> {
    let number: Number = serde_json::from_str(span.of(text)).map_err(|_| Failed)?;
    if let Some(hit) = walk::number_hit(&number, spot.reading)? {
        told(
            &spot.path,
            Hit {
                start: span.start,
                end: span.end,
                ..hit
            },
        );
    }
    Ok(())
}

/// A string's escapes, decoded where there are any.
fn decoded(raw: &str) -> View {
    let original = View::original(raw);
    original.unescaped().unwrap_or(original)
}

/// A text between quotes. One that cannot be read to its end is a find as a whole.
fn written(
    text: &str,
    span: Span,
    reading: Reading<'_>,
    path: &Path<'_>,
    read: Read<'_>,
    told: Told<'_>,
) {
    let view = decoded(span.of(text));
    let Ok(hits) = read(view.text(), reading) else {
        return told(path, Hit::named(span.start, span.end, Kind::FAILED));
    };
    for hit in hits {
        let (start, end) = view
            .origin(hit.start, hit.end)
            .unwrap_or((0, span.end - span.start));
        told(
            path,
            Hit {
                start: span.start + start,
                end: span.start + end,
                ..hit
            },
        );
    }
}

/// What is found in a line that is no JSON of fields.
pub(super) fn in_text(text: &str, spot: &Spot<'_>, read: Read<'_>, told: Told<'_>) {
    match read(text, spot.reading) {
        Ok(hits) => hits.into_iter().for_each(|hit| told(&spot.path, hit)),
        Err(Failed) => told(&spot.path, Hit::named(0, text.len(), Kind::FAILED)),
    }
}
