//! The detectors: each reads plain text and reports byte ranges with the value found there.

mod address;
mod assign;
mod card;
pub(super) mod checksum;
mod email;
mod iban;
mod ids;
mod ip;
mod person;
mod phone;
mod rules;
mod secrets;
mod services;
mod shape;
mod strength;
mod token;

use std::sync::Arc;

use super::Failed;
use super::decode::{self, View};
use super::hints::{Hints, PersonHint, SecretHint};
use super::locate;
use super::marks;
use super::own::Detectors;
use super::path::Path;
use super::places::{self, Spot};
use shape::Shape;

/// Texts of JSON inside texts of JSON that are read by their keys; deeper ones are read as
/// text.
const EMBEDDED_DEPTH_MAX: u8 = 3;
/// Shortest text without a hint in which anything is looked for: `a@b.co`.
const TEXT_BYTES_MIN: usize = 6;

/// What kind of value was found. The order is the rank: where finds overlap, the greatest
/// names the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Address,
    Person,
    BirthDate,
    /// A secret by the look of it and a weak word such as `key` beside it.
    Guess,
    Ip,
    Phone,
    NationalId,
    Ssn,
    Email,
    Card,
    /// Above a card: four of an IBAN's groups may look like one, never the other way round.
    Iban,
    /// What a detector of the deployment found; its hit says its name.
    Own,
    Secret,
}

impl Kind {
    /// The type under which a failed redaction is counted.
    pub(super) const FAILED: &'static str = "redaction_failed";

    /// Every type of ours, as marks and findings carry it.
    pub(super) const WORDS: [&'static str; 11] = [
        "ip",
        "phone",
        "ssn",
        "iban",
        "email",
        "card",
        "secret",
        "person",
        "address",
        "national_id",
        "birth_date",
    ];

    /// The type as marks and findings carry it; a deployment's own has its name there.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Phone => "phone",
            Self::Ssn => "ssn",
            Self::Iban => "iban",
            Self::Email => "email",
            Self::Card => "card",
            Self::Secret | Self::Guess => "secret",
            Self::Person => "person",
            Self::Address => "address",
            Self::NationalId => "national_id",
            Self::BirthDate => "birth_date",
            Self::Own => "own",
        }
    }
}

/// One value found. No `Debug` of the value ever reaches a log: hits live inside one call.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
    /// The value in the form in which equal values agree.
    pub(super) value: String,
    /// The type that the deployment gave it, of its own detectors.
    pub(super) name: Option<Arc<str>>,
}

impl Hit {
    fn new(start: usize, end: usize, kind: Kind, value: String) -> Self {
        Self {
            start,
            end,
            kind,
            value,
            name: None,
        }
    }

    /// A find of a type that is no detector's; its value is not kept.
    pub(super) fn named(start: usize, end: usize, name: &str) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::new(start, end, Kind::Own, String::new())
        }
    }

    /// The type as marks and findings carry it.
    pub(super) fn word(&self) -> &str {
        self.name.as_deref().unwrap_or(self.kind.word())
    }
}

impl std::fmt::Debug for Hit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}..{}", self.word(), self.start, self.end)
    }
}

/// The form in which equal values of one type agree.
pub(super) fn canonical(kind: &str, value: &str) -> String {
    let folded = View::original(value).folded();
    let plain = folded.as_ref().map_or(value, View::text).trim();
    let digits = || {
        plain
            .chars()
            .filter(char::is_ascii_digit)
            .collect::<String>()
    };
    match kind {
        "secret" => plain.to_owned(),
        "card" | "ssn" | "phone" if plain.bytes().any(|b| b.is_ascii_digit()) => {
            let digits = digits();
            match digits.strip_prefix("00") {
                Some(rest) if kind == "phone" => rest.to_owned(),
                _ => digits,
            }
        }
        "iban" | "national_id" => plain
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_uppercase())
            .collect(),
        "person" | "address" => {
            let apart = |c: char| c.is_whitespace() || c == ',';
            let words = plain.trim_end_matches('.').split(apart);
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            words.join(" ").to_lowercase()
        }
        _ => plain.to_lowercase(),
    }
}

/// What is known about a text before it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    /// What the key above it suggests.
    pub(super) hints: Hints,
    /// The key itself.
    pub(super) key: &'a str,
    /// The deployment's own detectors.
    pub(super) own: &'a Detectors,
    /// How many texts of JSON the text is inside.
    pub(super) depth: u8,
}

impl Reading<'_> {
    /// Whether nothing is known.
    pub(super) fn is_plain(&self) -> bool {
        self.hints.is_none() && self.own.is_empty()
    }
}

impl Reading<'static> {
    /// Nothing is known.
    pub(super) const PLAIN: Self = Self::hinted(Hints::NONE);

    /// Only what the key suggests.
    pub(super) const fn hinted(hints: Hints) -> Self {
        Self {
            hints,
            key: "",
            own: Detectors::NONE,
            depth: 0,
        }
    }
}

/// Every value in the text: disjoint, in order, marks and surrogates left alone.
pub(super) fn scan(text: &str, reading: Reading<'_>) -> Result<Vec<Hit>, Failed> {
    let hints = reading.hints;
    let plain = reading.is_plain();
    if plain && text.len() < TEXT_BYTES_MIN {
        return Ok(Vec::new());
    }
    let shape = Shape::of(text);
    if plain && (shape.is_word() || shape::is_benign(text, &shape)) {
        return Ok(Vec::new());
    }
    let kept = marks::kept(text);
    if marks::is_whole(&kept, text) {
        return Ok(Vec::new());
    }
    if let Some(kind) = whole(text, &shape, hints) {
        return Ok(vec![Hit::new(
            0,
            text.len(),
            kind,
            canonical(kind.word(), text),
        )]);
    }
    let mut hits = Vec::new();
    embedded(text, &shape, reading, &mut hits)?;
    if kept.is_empty() {
        segment(text, &shape, reading, &mut hits)?;
        return Ok(merged(hits));
    }
    let mut from = 0;
    for (start, end) in kept
        .iter()
        .map(|kept| (kept.start, kept.end))
        .chain([(text.len(), 0)])
    {
        let part = text.get(from..start).ok_or(Failed)?;
        let mut found = Vec::new();
        segment(part, &Shape::of(part), reading, &mut found)?;
        hits.extend(found.into_iter().map(|hit| Hit {
            start: hit.start + from,
            end: hit.end + from,
            ..hit
        }));
        from = end;
    }
    Ok(merged(hits))
}

/// A value that its key makes sensitive as a whole.
fn whole(text: &str, shape: &Shape, hints: Hints) -> Option<Kind> {
    let benign = || shape::is_benign(text, shape);
    if hints.secret != SecretHint::No && strength::is_secret_value(text, hints.secret) {
        let maybe = hints.secret == SecretHint::Maybe;
        return (!maybe || !benign()).then_some(Kind::Secret);
    }
    let dated = hints.birth && text.len() <= 32 && shape.digits >= 4;
    dated.then_some(Kind::BirthDate)
}

/// JSON as a string is read by its own keys.
fn embedded(
    text: &str,
    shape: &Shape,
    reading: Reading<'_>,
    hits: &mut Vec<Hit>,
) -> Result<(), Failed> {
    if !shape.quote || reading.depth >= EMBEDDED_DEPTH_MAX {
        return Ok(());
    }
    let Some(node) = locate::read(text) else {
        return Ok(());
    };
    let inner = Reading {
        depth: reading.depth + 1,
        ..reading
    };
    let mut found = |_: &Path<'_>, hit: Hit| hits.push(hit);
    let spot = Spot::inside(inner);
    places::each(text, &node, &spot, &scan, &mut found)
}

/// Reads one stretch between marks in every form.
fn segment(
    part: &str,
    shape: &Shape,
    reading: Reading<'_>,
    hits: &mut Vec<Hit>,
) -> Result<(), Failed> {
    if part.is_empty() {
        return Ok(());
    }
    plain(part, shape, reading, hits)?;
    let decodes = shape.percent || shape.backslash || shape.ampersand;
    if shape.ascii && !decodes && !shape.is_encodable() {
        return Ok(());
    }
    if shape.ascii && !decodes {
        return base64(part, |start, end| Some((start, end)), reading, hits);
    }
    let original = View::original(part);
    let base = match original.folded() {
        Some(folded) => {
            in_view(&folded, reading, hits)?;
            folded
        }
        None => original,
    };
    for decoded in [
        base.percent_decoded(),
        base.unescaped(),
        base.entities_decoded(),
    ] {
        let Some(decoded) = decoded else { continue };
        in_view(&decoded.folded().unwrap_or(decoded), reading, hits)?;
    }
    let origin = |start, end| base.origin(start, end);
    base64(base.text(), origin, reading, hits)
}

/// Detects in a decoded form and reports places in the original.
fn in_view(view: &View, reading: Reading<'_>, hits: &mut Vec<Hit>) -> Result<(), Failed> {
    let mut found = Vec::new();
    let text = view.text();
    plain(text, &Shape::of(text), reading, &mut found)?;
    for hit in found {
        let (start, end) = view.origin(hit.start, hit.end).ok_or(Failed)?;
        hits.push(Hit { start, end, ..hit });
    }
    Ok(())
}

/// A value inside base64 takes the whole run with it; `origin` says where the run comes from.
fn base64(
    text: &str,
    origin: impl Fn(usize, usize) -> Option<(usize, usize)>,
    reading: Reading<'_>,
    hits: &mut Vec<Hit>,
) -> Result<(), Failed> {
    for run in decode::base64_runs(text) {
        let inner = View::original(&run.text);
        let inner = inner.folded().unwrap_or(inner);
        let text = inner.text();
        let shape = Shape::of(text);
        let mut found = Vec::new();
        match whole(text, &shape, reading.hints) {
            Some(kind) => found.push(Hit::new(0, text.len(), kind, canonical(kind.word(), text))),
            None => plain(text, &shape, reading, &mut found)?,
        }
        let Some(first) = merged(found).into_iter().max_by_key(|hit| hit.kind) else {
            continue;
        };
        let (start, end) = origin(run.start, run.end).ok_or(Failed)?;
        hits.push(Hit {
            start,
            end,
            ..first
        });
    }
    Ok(())
}

/// All detectors over plain text, each only where what it needs is there.
fn plain(
    text: &str,
    shape: &Shape,
    reading: Reading<'_>,
    hits: &mut Vec<Hit>,
) -> Result<(), Failed> {
    let hints = reading.hints;
    if shape.at {
        email::find(text, hits);
    }
    if shape.chain >= card::DIGITS_MIN {
        card::find(text, hints, hits);
    }
    if shape.digits >= iban::DIGITS_MIN && text.len() >= iban::BYTES_MIN {
        iban::find(text, hits);
    }
    if shape.digits >= ids::DIGITS_MIN {
        ids::find(text, hints, hits);
    }
    if shape.chain >= phone::DIGITS_MIN {
        phone::find(text, hints, hits)?;
    }
    if shape.chain >= ip::V4_DIGITS_MIN || shape.colons >= 2 {
        ip::find(text, hints, hits);
    }
    if hints.person != PersonHint::No {
        person::find(text, hints, hits);
    }
    if hints.address {
        address::find_keyed(text, hints, hits);
    }
    reading.own.find(text, reading.key, hits)?;
    secrets::find(text, shape, hits)
}

/// Overlapping finds become one that covers them all and carries the greatest's name.
fn merged(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by_key(|hit| (hit.start, std::cmp::Reverse(hit.end)));
    let mut out: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        match out.last_mut() {
            Some(last) if hit.start < last.end => {
                last.end = last.end.max(hit.end);
                if hit.kind > last.kind {
                    last.kind = hit.kind;
                    last.value = hit.value;
                    last.name = hit.name;
                }
            }
            _ => out.push(hit),
        }
    }
    out
}
