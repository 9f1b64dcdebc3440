//! Telephone numbers: in international form, in the forms people write national numbers in,
//! or any with a hint.

use std::sync::LazyLock;

use regex::Regex;

use super::{Hit, Kind, strength};
use crate::redact::Failed;
use crate::redact::hints::Hints;
use crate::redact::work::spend;

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
    "tel=",
    "tél",
    "telef",
    "mobile",
    "mobil",
    "móvil",
    "movil",
    "cell",
    "cellulare",
    "handy",
    "call ",
    "ring ",
    "fax",
    "whatsapp",
    "sms",
    "text me",
    "reach me at",
    "reach us at",
    "msisdn",
    "dial ",
    "contact number",
    "hotline",
    "puhelin",
    "komórk",
    "bel ",
    "ruf",
];

const MONEY_WORDS: &[&str] = &[
    "paid",
    "pay ",
    "amount",
    "total",
    "sum ",
    "price",
    "cost",
    "balance",
    "budget",
    "revenue",
    "usd",
    "eur",
    "gbp",
    "pln",
    "sek",
    "population",
];

static CANDIDATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?-u:(?:\+ ?|\b00)?\(?[0-9](?:[ ./()-]{0,2}[0-9]){6,16}(?: ?(?:x|ext\.?|#) ?[0-9]{1,6})?)",
    )
    .ok()
});
static NORTH_AMERICAN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?-u:^(?:(?:\+?1|001)[ .-]?)?(?:\([2-9][0-9]{2}\)[ .-]?|[2-9][0-9]{2}[.-])[2-9][0-9]{2}[ .-]?[0-9]{4}(?: ?(?:x|ext\.?|#) ?[0-9]{1,6})?$)").ok()
});

pub(super) fn find(text: &str, hints: Hints, hits: &mut Vec<Hit>) -> Result<(), Failed> {
    let candidate = CANDIDATE.as_ref().ok_or(Failed)?;
    let american = NORTH_AMERICAN.as_ref().ok_or(Failed)?;
    spend(text.len());
    for found in candidate.find_iter(text) {
        let raw = found.as_str();
        spend(raw.len());
        let number = raw.split(['x', 'e', '#']).next().unwrap_or(raw);
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        if !(DIGITS_MIN..=DIGITS_MAX).contains(&digits.len())
            || glued(text, found.start(), found.end())
            || is_date(raw)
        {
            continue;
        }
        let hinted =
            || hints.phone || strength::said_before(text, found.start(), HINT_REACH, HINT_WORDS);
        let formed = is_international(raw, &digits)
            || is_national(number.trim(), &digits)
            || is_spaced(number.trim()) && !is_amount(text, found.start(), found.end())
            || american.is_match(raw);
        if formed || hinted() {
            hits.push(Hit {
                start: found.start(),
                end: found.end(),
                kind: Kind::Phone,
                value: digits.strip_prefix("00").unwrap_or(&digits).to_owned(),
                name: None,
            });
        }
    }
    Ok(())
}

/// `+` or `00`, a country code and a number.
fn is_international(raw: &str, digits: &str) -> bool {
    let plus = raw.starts_with('+') && digits.len() >= 8 && !digits.starts_with('0');
    let zeros = digits.strip_prefix("00").is_some_and(|rest| {
        (9..=13).contains(&rest.len()) && !rest.starts_with('0') && raw.starts_with("00")
    });
    plus || zeros
}

/// A number with its trunk prefix 0, as most of the world dials it, or with its area code
/// in brackets.
fn is_national(number: &str, digits: &str) -> bool {
    let one_zero = digits.starts_with('0') && !digits.starts_with("00");
    let parted = number.contains([' ', '-', '/', ')']);
    let pointed = number.contains('.') && number.split('.').any(|part| part.len() < 2);
    let trunk = one_zero
        && !pointed
        && match digits.len() {
            8 | 9 => parted,
            10 | 11 => true,
            12 => parted,
            _ => false,
        };
    let bracketed = number.starts_with('(')
        && number.find(')').is_some_and(|end| (3..=6).contains(&end))
        && (8..=12).contains(&digits.len());
    trunk || bracketed
}

/// Nine digits in threes, as 3-2-2-2 or 2-3-2-2: national numbers without a trunk prefix, as in
/// Poland, Spain or Portugal.
fn is_spaced(number: &str) -> bool {
    let mut lengths = number.split([' ', '-']).map(str::len);
    let sizes = [(); 5].map(|()| lengths.next().unwrap_or(0));
    matches!(sizes, [3, 3, 3, 0, 0] | [3, 2, 2, 2, 0] | [2, 3, 2, 2, 0]) && !number.starts_with('0')
}

/// Amounts are written in threes too: with a currency, a fraction or a word for money.
fn is_amount(text: &str, start: usize, end: usize) -> bool {
    let before = text.get(..start).unwrap_or_default().trim_end();
    let after = text.get(end..).unwrap_or_default();
    let sign = |c: char| "$€£¥₹₽₩%".contains(c);
    let word = after
        .trim_start()
        .split(|c: char| !c.is_alphabetic())
        .next();
    let currency = word.is_some_and(|word| {
        let code = word.len() == 3 && word.bytes().all(|b| b.is_ascii_uppercase());
        code || [
            "zł", "kr", "rub", "euro", "euros", "dollars", "pcs", "bytes",
        ]
        .contains(&word)
    });
    let fraction =
        after.starts_with([',', '.']) && after.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    currency
        || fraction
        || before.ends_with(sign)
        || after.trim_start().starts_with(sign)
        || strength::said_before(text, start, HINT_REACH, MONEY_WORDS)
}

/// Part of a word, a longer number or a decimal.
fn glued(text: &str, start: usize, end: usize) -> bool {
    let before = text.get(..start).and_then(|t| t.chars().next_back());
    let after = text.get(end..).and_then(|t| t.chars().next());
    before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+' | '#'))
        || after.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '%'))
}

/// `2026-02-25` and the like, with or without a time.
fn is_date(raw: &str) -> bool {
    let mut parts = raw.split(['-', '/', '.', ' ']);
    let lengths = [parts.next(), parts.next(), parts.next()].map(|part| part.map_or(0, str::len));
    let century = |part: &str| part.starts_with("19") || part.starts_with("20");
    let year_first = matches!(lengths, [4, 2, 2]) && century(raw);
    let year_last = matches!(lengths, [1 | 2, 1 | 2, 4])
        && raw.split(['-', '/', '.', ' ']).nth(2).is_some_and(century);
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
            ("0044 20 7946 0958", 1, 1),
            ("(415) 555-2671", 1, 1),
            ("415-555-2671 x12", 1, 1),
            ("415.555.2671", 1, 1),
            ("1-415-555-2671", 1, 1),
            ("020 7946 0958", 1, 1),
            ("02079460958", 1, 1),
            ("08-120 034 56", 1, 1),
            ("(0115) 496 0475", 1, 1),
            ("06 12 34 56 78", 1, 1),
            ("600 123 456", 1, 1),
            ("paid 600 123 456 in all", 0, 1),
            ("ask at 600 123 456 now", 1, 1),
            ("ask at 22 433 72 84 now", 1, 1),
            ("600 123 456 PLN", 0, 1),
            ("600 123 456,50", 0, 1),
            ("4155552671", 0, 1),
            ("call 4155552671", 1, 1),
            ("2026-02-25", 0, 0),
            ("01.02.2026 10", 0, 0),
            ("0.123456789", 0, 1),
            ("123456", 0, 0),
            ("12345678901234567890", 0, 0),
            ("ORD-4155552671", 0, 0),
            ("0000123456", 0, 1),
            ("+0 000 000 000", 0, 1),
        ] {
            assert_eq!(found(text, false), plain, "{text}");
            assert_eq!(found(text, true), hinted, "{text} with a hint");
        }
    }
}
