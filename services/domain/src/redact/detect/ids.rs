//! Numbered identities with a checkable form: IBAN and the US social security number.

use std::sync::LazyLock;

use regex::Regex;

use super::{Hit, Kind};
use crate::redact::Failed;
use crate::redact::hints::Hints;

/// Digits of a social security number.
pub(super) const SSN_DIGITS: usize = 9;
/// How far before a bare nine-digit number its hint may stand, in bytes.
const HINT_REACH: usize = 24;
const HINT_WORDS: &[&str] = &["ssn", "social security", "tax id", "itin"];

static IBAN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i-u:[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,32})").ok());
static SSN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?-u:\b([0-9]{3})(-| |\.|)([0-9]{2})(-| |\.|)([0-9]{4})\b)").ok()
});

/// The length of an IBAN by country, from the IBAN registry.
fn iban_length(country: &str) -> Option<usize> {
    Some(match country {
        "NO" => 15,
        "BE" => 16,
        "DK" | "FI" | "FO" | "GL" | "NL" | "SD" | "FK" => 18,
        "MK" | "SI" => 19,
        "AT" | "BA" | "EE" | "KZ" | "LT" | "LU" | "MN" | "XK" => 20,
        "CH" | "CR" | "HR" | "LI" | "LV" => 21,
        "BG" | "BH" | "DE" | "GB" | "GE" | "IE" | "ME" | "RS" | "VA" => 22,
        "AE" | "GI" | "IL" | "IQ" | "OM" | "SO" | "TL" => 23,
        "AD" | "CZ" | "ES" | "MD" | "PK" | "RO" | "SA" | "SE" | "SK" | "TN" | "VG" => 24,
        "LY" | "PT" | "ST" => 25,
        "IS" | "TR" => 26,
        "BI" | "DJ" | "FR" | "GR" | "IT" | "MC" | "MR" | "SM" => 27,
        "AL" | "AZ" | "BY" | "CY" | "DO" | "GT" | "HN" | "HU" | "LB" | "NI" | "PL" | "SV" => 28,
        "BR" | "EG" | "PS" | "QA" | "UA" => 29,
        "JO" | "KW" | "MU" | "YE" => 30,
        "MT" | "SC" => 31,
        "LC" => 32,
        "RU" => 33,
        _ => return None,
    })
}

pub(super) fn find_iban(text: &str, hits: &mut Vec<Hit>) -> Result<(), Failed> {
    let regex = IBAN.as_ref().ok_or(Failed)?;
    let mut from = 0;
    while let Some(found) = regex.find_at(text, from) {
        let hit = iban_at(text, found.start(), found.as_str());
        from = hit.as_ref().map_or(found.start() + 1, |hit| hit.end);
        hits.extend(hit);
        if !text.is_char_boundary(from) {
            return Err(Failed);
        }
    }
    Ok(())
}

fn iban_at(text: &str, start: usize, candidate: &str) -> Option<Hit> {
    let letter_before = text
        .get(..start)?
        .chars()
        .next_back()
        .is_some_and(char::is_alphanumeric);
    let country = candidate.get(..2)?.to_ascii_uppercase();
    let length = iban_length(&country)?;
    let mut value = String::with_capacity(length);
    let mut end = start;
    for (index, c) in candidate.char_indices() {
        if value.len() == length {
            break;
        }
        if c.is_ascii_alphanumeric() {
            value.push(c.to_ascii_uppercase());
            end = start + index + 1;
        }
    }
    let more = text
        .get(end..)?
        .chars()
        .next()
        .is_some_and(char::is_alphanumeric);
    let valid = value.len() == length && !letter_before && !more && mod97(&value) == Some(1);
    valid.then_some(Hit {
        start,
        end,
        kind: Kind::Iban,
        value,
    })
}

/// ISO 7064 mod 97-10 over the rearranged account number.
fn mod97(iban: &str) -> Option<u32> {
    let (head, tail) = (iban.get(..4)?, iban.get(4..)?);
    tail.chars().chain(head.chars()).try_fold(0_u32, |sum, c| {
        let value = c.to_digit(36)?;
        let shift = if value > 9 { 100 } else { 10 };
        Some((sum * shift + value) % 97)
    })
}

pub(super) fn find_ssn(text: &str, hints: Hints, hits: &mut Vec<Hit>) -> Result<(), Failed> {
    let regex = SSN.as_ref().ok_or(Failed)?;
    for found in regex.captures_iter(text) {
        let group = |n: usize| found.get(n).map_or("", |m| m.as_str());
        let Some(whole) = found.get(0) else { continue };
        let (area, one, middle, two, serial) = (group(1), group(2), group(3), group(4), group(5));
        let hinted =
            hints.ssn || super::strength::said_before(text, whole.start(), HINT_REACH, HINT_WORDS);
        let issued = area != "000" && middle != "00" && serial != "0000";
        let shaped = one == two && (one == "-" || one == " " || hinted);
        let real = (area != "666" && !area.starts_with('9')) || hinted;
        if issued && shaped && real && stands_alone(text, whole.start(), whole.end()) {
            hits.push(Hit {
                start: whole.start(),
                end: whole.end(),
                kind: Kind::Ssn,
                value: format!("{area}{middle}{serial}"),
            });
        }
    }
    Ok(())
}

/// Not a stretch of a longer number with separators.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let before: Vec<char> = text
        .get(..start)
        .unwrap_or_default()
        .chars()
        .rev()
        .take(2)
        .collect();
    let after: Vec<char> = text
        .get(end..)
        .unwrap_or_default()
        .chars()
        .take(2)
        .collect();
    let joined = |near: &[char]| match near {
        ['-' | '.' | '+', c, ..] => c.is_ascii_digit(),
        ['+'] => true,
        _ => false,
    };
    !joined(&before) && !joined(&after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_numbers_are_checked_by_country_and_digits() {
        for (text, expected) in [
            ("GB82WEST12345698765432", Some("GB82WEST12345698765432")),
            (
                "gb82 west 1234 5698 7654 32",
                Some("GB82WEST12345698765432"),
            ),
            ("NL91ABNA0417164300", Some("NL91ABNA0417164300")),
            ("NO9386011117947", Some("NO9386011117947")),
            ("GB82WEST12345698765433", None),
            ("GB82WEST1234569876543", None),
            ("ZZ82WEST12345698765432", None),
            ("xGB82WEST12345698765432", None),
            ("GB82WEST12345698765432x", None),
        ] {
            let mut hits = Vec::new();
            find_iban(text, &mut hits).unwrap();
            let found = hits.first().map(|hit| hit.value.as_str());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn every_country_has_a_plausible_length() {
        for first in b'A'..=b'Z' {
            for second in b'A'..=b'Z' {
                let country = String::from_utf8(vec![first, second]).unwrap();
                if let Some(length) = iban_length(&country) {
                    assert!((15..=34).contains(&length), "{country}");
                }
            }
        }
    }

    #[test]
    fn security_numbers_that_were_never_issued_stay() {
        let found = |text: &str, ssn: bool| {
            let hints = Hints { ssn, ..Hints::NONE };
            let mut hits = Vec::new();
            find_ssn(text, hints, &mut hits).unwrap();
            hits.len()
        };
        for (text, plain, hinted) in [
            ("219-09-9999", 1, 1),
            ("219 09 9999", 1, 1),
            ("219099999", 0, 1),
            ("219.09.9999", 0, 1),
            ("219-09 9999", 0, 0),
            ("000-09-9999", 0, 0),
            ("219-00-9999", 0, 0),
            ("219-09-0000", 0, 0),
            ("666-09-9999", 0, 1),
            ("901-09-9999", 0, 1),
            ("1-219-09-9999", 0, 0),
            ("219-09-9999-1", 0, 0),
        ] {
            assert_eq!(found(text, false), plain, "{text}");
            assert_eq!(found(text, true), hinted, "{text} with a hint");
        }
    }
}
