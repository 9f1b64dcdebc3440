//! Telephone numbers: international form, North American form, or any with a hint.

use std::sync::LazyLock;

use regex::Regex;

use super::{Hit, Kind};
use crate::redact::Failed;
use crate::redact::hints::Hints;

/// Fewest digits of a number that is worth hiding.
pub(super) const DIGITS_MIN: usize = 7;
/// E.164.
const DIGITS_MAX: usize = 15;
/// How far before a number a word such as `call` counts as its hint, in bytes.
const HINT_REACH: usize = 20;
const HINT_WORDS: &[&str] = &[
    "phone",
    "tel:",
    "tel.",
    "tel ",
    "mobile",
    "cell",
    "call ",
    "fax",
    "whatsapp",
    "sms",
    "reach me at",
    "msisdn",
    "dial ",
];

static CANDIDATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?-u:(?:\+|\b00)?\(?[0-9](?:[ ./()-]{0,2}[0-9]){6,16}(?: ?(?:x|ext\.?) ?[0-9]{1,6})?)",
    )
    .ok()
});
static NORTH_AMERICAN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?-u:^(?:\+?1[ .-]?)?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[.-])[2-9][0-9]{2}[.-][0-9]{4}(?: ?(?:x|ext\.?) ?[0-9]{1,6})?$)").ok()
});

pub(super) fn find(text: &str, hints: Hints, hits: &mut Vec<Hit>) -> Result<(), Failed> {
    let candidate = CANDIDATE.as_ref().ok_or(Failed)?;
    let american = NORTH_AMERICAN.as_ref().ok_or(Failed)?;
    for found in candidate.find_iter(text) {
        let raw = found.as_str();
        let number = raw.split(['x', 'e']).next().unwrap_or(raw);
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        if !(DIGITS_MIN..=DIGITS_MAX).contains(&digits.len())
            || glued(text, found.start(), found.end())
        {
            continue;
        }
        let hinted = hints.phone
            || super::strength::said_before(text, found.start(), HINT_REACH, HINT_WORDS);
        let international = is_international(raw, &digits);
        if international || american.is_match(raw) || (hinted && !is_date(raw)) {
            hits.push(Hit {
                start: found.start(),
                end: found.end(),
                kind: Kind::Phone,
                value: digits.strip_prefix("00").unwrap_or(&digits).to_owned(),
            });
        }
    }
    Ok(())
}

/// `+` and a country code; eight digits at least.
fn is_international(raw: &str, digits: &str) -> bool {
    raw.starts_with('+') && digits.len() >= 8 && !digits.starts_with('0')
}

/// Part of a word, a longer number or a decimal.
fn glued(text: &str, start: usize, end: usize) -> bool {
    let before = text.get(..start).and_then(|t| t.chars().next_back());
    let after = text.get(end..).and_then(|t| t.chars().next());
    before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+'))
        || after.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// `2026-02-25` and the like, with or without a time.
fn is_date(raw: &str) -> bool {
    let mut parts = raw.split(['-', '/', '.', ' ']);
    let lengths = [parts.next(), parts.next(), parts.next()].map(|part| part.map_or(0, str::len));
    let year_first =
        matches!(lengths, [4, 2, 2]) && (raw.starts_with("19") || raw.starts_with("20"));
    let year_last = matches!(lengths, [2, 2, 4]);
    year_first || year_last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_form_or_by_hint() {
        let found = |text: &str, phone: bool| {
            let hints = Hints {
                phone,
                ..Hints::NONE
            };
            let mut hits = Vec::new();
            find(text, hints, &mut hits).unwrap();
            hits.len()
        };
        for (text, plain, hinted) in [
            ("+44 20 7946 0958", 1, 1),
            ("+442079460958", 1, 1),
            ("(415) 555-2671", 1, 1),
            ("415-555-2671 x12", 1, 1),
            ("415.555.2671", 1, 1),
            ("1-415-555-2671", 1, 1),
            ("020 7946 0958", 0, 1),
            ("4155552671", 0, 1),
            ("call 020 7946 0958", 1, 1),
            ("2026-02-25", 0, 0),
            ("123456", 0, 0),
            ("12345678901234567890", 0, 0),
            ("ORD-4155552671", 0, 0),
            ("+0 000 000 000", 0, 1),
        ] {
            assert_eq!(found(text, false), plain, "{text}");
            assert_eq!(found(text, true), hinted, "{text} with a hint");
        }
    }
}
