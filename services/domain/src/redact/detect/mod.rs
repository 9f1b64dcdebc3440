//! The detectors: each reads plain text and reports byte ranges with the value found there.

mod assign;
mod card;
mod email;
mod ids;
mod ip;
mod phone;
mod rules;
mod secrets;
mod strength;

use super::Failed;
use super::decode::{self, View};
use super::hints::Hints;
use super::marks;

/// What kind of value was found. The order is the rank: where finds overlap, the greatest
/// names the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Ip,
    Phone,
    Ssn,
    Iban,
    Email,
    Card,
    Secret,
}

impl Kind {
    /// The type under which a failed redaction is counted.
    pub(super) const FAILED: &'static str = "redaction_failed";

    /// Every type, as marks and findings carry it.
    pub(super) const WORDS: [&'static str; 7] =
        ["ip", "phone", "ssn", "iban", "email", "card", "secret"];

    /// The type as marks and findings carry it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Phone => "phone",
            Self::Ssn => "ssn",
            Self::Iban => "iban",
            Self::Email => "email",
            Self::Card => "card",
            Self::Secret => "secret",
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
}

impl std::fmt::Debug for Hit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}..{}", self.kind.word(), self.start, self.end)
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
        "iban" => plain
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_uppercase())
            .collect(),
        _ => plain.to_lowercase(),
    }
}

/// Every value in the text: disjoint, in order, marks and surrogates left alone.
pub(super) fn scan(text: &str, hints: Hints) -> Result<Vec<Hit>, Failed> {
    if text.len() < 4 && hints == Hints::NONE || marks::is_kept_whole(text) {
        return Ok(Vec::new());
    }
    if strength::is_secret_value(text, hints.secret) {
        return Ok(vec![Hit {
            start: 0,
            end: text.len(),
            kind: Kind::Secret,
            value: canonical("secret", text),
        }]);
    }
    let mut hits = Vec::new();
    let mut from = 0;
    for kept in marks::kept(text) {
        segment(text, from, kept.start, hints, &mut hits)?;
        from = kept.end;
    }
    segment(text, from, text.len(), hints, &mut hits)?;
    Ok(merged(hits))
}

/// Reads one stretch between marks in every form.
fn segment(
    text: &str,
    start: usize,
    end: usize,
    hints: Hints,
    hits: &mut Vec<Hit>,
) -> Result<(), Failed> {
    let part = text.get(start..end).ok_or(Failed)?;
    if part.is_empty() {
        return Ok(());
    }
    let mut found = Vec::new();
    plain(part, hints, &mut found)?;
    let original = View::original(part);
    let base = match original.folded() {
        Some(folded) => {
            in_view(&folded, hints, &mut found)?;
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
        in_view(&decoded.folded().unwrap_or(decoded), hints, &mut found)?;
    }
    base64(&base, hints, &mut found)?;
    hits.extend(found.into_iter().map(|hit| Hit {
        start: hit.start + start,
        end: hit.end + start,
        ..hit
    }));
    Ok(())
}

/// Detects in a decoded form and reports places in the original.
fn in_view(view: &View, hints: Hints, hits: &mut Vec<Hit>) -> Result<(), Failed> {
    let mut found = Vec::new();
    plain(view.text(), hints, &mut found)?;
    for hit in found {
        let (start, end) = view.origin(hit.start, hit.end).ok_or(Failed)?;
        hits.push(Hit { start, end, ..hit });
    }
    Ok(())
}

/// A value inside base64 takes the whole run with it.
fn base64(view: &View, hints: Hints, hits: &mut Vec<Hit>) -> Result<(), Failed> {
    for run in decode::base64_runs(view.text()) {
        let inner = View::original(&run.text);
        let inner = inner.folded().unwrap_or(inner);
        let mut found = Vec::new();
        plain(inner.text(), hints, &mut found)?;
        let Some(first) = merged(found).into_iter().max_by_key(|hit| hit.kind) else {
            continue;
        };
        let (start, end) = view.origin(run.start, run.end).ok_or(Failed)?;
        hits.push(Hit {
            start,
            end,
            ..first
        });
    }
    Ok(())
}

/// All detectors over plain text.
fn plain(text: &str, hints: Hints, hits: &mut Vec<Hit>) -> Result<(), Failed> {
    let mut digits = 0_usize;
    let (mut at, mut colon) = (false, 0_usize);
    for b in text.bytes() {
        digits += usize::from(b.is_ascii_digit());
        at |= b == b'@';
        colon += usize::from(b == b':');
    }
    if at {
        email::find(text, hits);
    }
    if digits >= card::DIGITS_MIN {
        card::find(text, hints, hits);
        ids::find_iban(text, hits)?;
    }
    if digits >= ids::SSN_DIGITS {
        ids::find_ssn(text, hints, hits)?;
    }
    if digits >= phone::DIGITS_MIN {
        phone::find(text, hints, hits)?;
    }
    if digits >= ip::V4_DIGITS_MIN || colon >= 2 {
        ip::find(text, hints, hits);
    }
    secrets::find(text, hits)
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
                }
            }
            _ => out.push(hit),
        }
    }
    out
}
