//! International bank account numbers (ISO 13616): the country's length and its check digits.

use super::{Hit, Kind, checksum};
use crate::redact::work::spend;

/// Shortest IBAN, and the digits that it has at least: its check digits and most of an account.
pub(super) const BYTES_MIN: usize = 15;
pub(super) const DIGITS_MIN: usize = 4;

/// The length of an IBAN by country, from the IBAN registry.
fn length_in(country: [u8; 2]) -> Option<usize> {
    Some(match &country {
        b"NO" => 15,
        b"BE" => 16,
        b"DK" | b"FI" | b"FO" | b"GL" | b"NL" | b"SD" | b"FK" => 18,
        b"MK" | b"SI" => 19,
        b"AT" | b"BA" | b"EE" | b"KZ" | b"LT" | b"LU" | b"MN" | b"XK" => 20,
        b"CH" | b"CR" | b"HR" | b"LI" | b"LV" => 21,
        b"BG" | b"BH" | b"DE" | b"GB" | b"GE" | b"IE" | b"ME" | b"RS" | b"VA" => 22,
        b"AE" | b"GI" | b"IL" | b"IQ" | b"OM" | b"SO" | b"TL" => 23,
        b"AD" | b"CZ" | b"ES" | b"MD" | b"PK" | b"RO" | b"SA" | b"SE" | b"SK" | b"TN" | b"VG" => 24,
        b"LY" | b"PT" | b"ST" => 25,
        b"IS" | b"TR" => 26,
        b"BI" | b"DJ" | b"FR" | b"GR" | b"IT" | b"MC" | b"MR" | b"SM" => 27,
        b"AL" | b"AZ" | b"BY" | b"CY" | b"DO" | b"GT" | b"HN" | b"HU" | b"LB" | b"NI" | b"PL"
        | b"SV" => 28,
        b"BR" | b"EG" | b"PS" | b"QA" | b"UA" => 29,
        b"JO" | b"KW" | b"MU" | b"YE" => 30,
        b"MT" | b"SC" => 31,
        b"LC" => 32,
        b"RU" => 33,
        _ => return None,
    })
}

/// Finds IBANs: two letters and two digits where a word begins, and as many characters as
/// the country has, single spaces or hyphens among them.
pub(super) fn find(text: &str, hits: &mut Vec<Hit>) {
    spend(text.len());
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, head) in bytes.windows(4).enumerate() {
        let &[a, b, c, d] = head else { continue };
        if !(c.is_ascii_digit()
            && d.is_ascii_digit()
            && a.is_ascii_alphabetic()
            && b.is_ascii_alphabetic())
            || at < from
        {
            continue;
        }
        let country = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
        let Some(length) = length_in(country) else {
            continue;
        };
        if let Some(hit) = at_head(text, at, length) {
            from = hit.end;
            hits.push(hit);
        }
    }
}

fn at_head(text: &str, start: usize, length: usize) -> Option<Hit> {
    let glued = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    if glued(text.get(..start)?.chars().next_back()) {
        return None;
    }
    let mut value = String::with_capacity(length);
    let mut end = start;
    let mut joined = false;
    for (index, b) in text.bytes().enumerate().skip(start) {
        if value.len() == length {
            break;
        }
        match b {
            b if b.is_ascii_alphanumeric() => {
                value.push(char::from(b.to_ascii_uppercase()));
                end = index + 1;
                joined = false;
            }
            b' ' | b'-' | b'.' if !joined => joined = true,
            _ => break,
        }
    }
    spend(end - start);
    let more = glued(text.get(end..)?.chars().next());
    let valid = value.len() == length && !more && checksum::iban(&value);
    valid.then_some(Hit {
        start,
        end,
        kind: Kind::Iban,
        value,
        name: None,
    })
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
            ("to NL91ABNA0417164300.", Some("NL91ABNA0417164300")),
            ("NO9386011117947", Some("NO9386011117947")),
            ("NO93-8601-1117-947", Some("NO9386011117947")),
            ("GB82WEST12345698765433", None),
            ("GB82WEST1234569876543", None),
            ("ZZ82WEST12345698765432", None),
            ("xGB82WEST12345698765432", None),
            ("GB82WEST12345698765432x", None),
        ] {
            let mut hits = Vec::new();
            find(text, &mut hits);
            let found = hits.first().map(|hit| hit.value.as_str());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn every_country_has_a_plausible_length() {
        for first in b'A'..=b'Z' {
            for second in b'A'..=b'Z' {
                if let Some(length) = length_in([first, second]) {
                    assert!((15..=34).contains(&length), "{first}{second}");
                }
            }
        }
    }
}
