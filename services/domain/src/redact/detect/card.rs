//! Payment card numbers: real prefixes and lengths, Luhn, digit boundaries.

use super::{Hit, Kind, checksum, shape};
use crate::redact::hints::Hints;
use crate::redact::work::spend;

/// Shortest card number in use (Maestro).
pub(super) const DIGITS_MIN: usize = 12;
/// Longest (ISO/IEC 7812).
const DIGITS_MAX: usize = 19;
/// How far before a number a word such as `card` counts as its hint, in bytes.
const HINT_REACH: usize = 24;
const HINT_WORDS: &[&str] = &[
    "card",
    "visa",
    "mastercard",
    "maestro",
    "amex",
    "pan:",
    "pan ",
];

/// A group of digits and the character before the next group.
#[derive(Debug, Clone, Copy)]
struct Group {
    start: usize,
    end: usize,
}

pub(super) fn find(text: &str, hints: Hints, hits: &mut Vec<Hit>) {
    spend(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(offset) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(u8::is_ascii_digit))
    {
        let groups = chain(bytes, at + offset);
        let end = groups.last().map_or(at + offset + 1, |group| group.end);
        if groups
            .iter()
            .map(|group| group.end - group.start)
            .sum::<usize>()
            >= DIGITS_MIN
        {
            in_chain(text, &groups, hints, hits);
        }
        at = end;
    }
}

/// The groups of digits from `start` on that single separators of one kind join.
fn chain(bytes: &[u8], start: usize) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut separator = None;
    let mut at = start;
    loop {
        let length = bytes.get(at..).map_or(0, |rest| {
            rest.iter().take_while(|b| b.is_ascii_digit()).count()
        });
        if length == 0 {
            return groups;
        }
        groups.push(Group {
            start: at,
            end: at + length,
        });
        at += length;
        match bytes.get(at) {
            Some(b @ (b' ' | b'-' | b'.' | b'_' | b'/' | b'+'))
                if separator.is_none_or(|s| s == *b) =>
            {
                separator = Some(*b);
                at += 1;
            }
            _ => return groups,
        }
    }
}

/// Tries the longest stretch of groups from every group on.
fn in_chain(text: &str, groups: &[Group], hints: Hints, hits: &mut Vec<Hit>) {
    let mut first = 0;
    while first < groups.len() {
        let taken = longest(text, groups.get(first..).unwrap_or_default(), hints);
        if let Some((count, hit)) = taken {
            hits.push(hit);
            first += count;
        } else {
            first += 1;
        }
    }
}

fn longest(text: &str, groups: &[Group], hints: Hints) -> Option<(usize, Hit)> {
    let mut best = None;
    let mut digits = String::new();
    for (index, group) in groups.iter().enumerate() {
        spend(group.end - group.start);
        digits.push_str(text.get(group.start..group.end)?);
        if digits.len() > DIGITS_MAX {
            break;
        }
        let taken = groups.get(..=index)?;
        let start = taken.first()?.start;
        if digits.len() >= DIGITS_MIN
            && is_grouping(taken)
            && is_card(&digits, hints.card || hinted(text, start))
            && !inside_identifier(text, start, group.end)
        {
            best = Some((
                index + 1,
                Hit {
                    start,
                    end: group.end,
                    kind: Kind::Card,
                    value: digits.clone(),
                    name: None,
                },
            ));
        }
    }
    best
}

/// People write a card number in one piece, in equal pieces with a shorter rest, or 4-6-5.
fn is_grouping(groups: &[Group]) -> bool {
    let sizes: Vec<usize> = groups.iter().map(|group| group.end - group.start).collect();
    match sizes.as_slice() {
        [] => false,
        [_] | [4, 6, 4 | 5] | [6, 6..=13] => true,
        [first, middle @ .., last] => middle.iter().all(|size| size == first) && last <= first,
    }
}

fn is_card(digits: &str, hinted: bool) -> bool {
    spend(digits.len());
    let known = known_prefix(digits) || hinted;
    known && digits.bytes().any(|b| b != b'0') && checksum::luhn(digits.as_bytes())
}

/// Issuer prefixes with the lengths they are issued in.
fn known_prefix(digits: &str) -> bool {
    let head = |n: usize| {
        digits
            .get(..n)
            .and_then(|d| d.parse::<u32>().ok())
            .unwrap_or(0)
    };
    let (two, three, four, six) = (head(2), head(3), head(4), head(6));
    match digits.len() {
        13 => two / 10 == 4 || maestro(two, four),
        14 => matches!(three, 300..=305 | 309) || matches!(two, 36 | 38 | 39) || maestro(two, four),
        15 => matches!(two, 34 | 37) || maestro(two, four) || matches!(four, 2014 | 2149),
        16 => {
            two / 10 == 4
                || matches!(two, 30 | 35 | 36 | 38 | 39 | 51..=55 | 60 | 65 | 81 | 82)
                || matches!(four, 2200..=2204 | 2221..=2720 | 5018..=5099)
                || matches!(four, 6440..=6599 | 9792)
                || (622_126..=622_925).contains(&six)
                || two == 62
                || maestro(two, four)
        }
        17 | 18 => {
            matches!(two, 62 | 65) || matches!(four, 3528..=3589 | 6011) || maestro(two, four)
        }
        19 => {
            two / 10 == 4
                || matches!(two, 60 | 62 | 65 | 81 | 82)
                || matches!(four, 2200..=2204 | 3528..=3589)
                || matches!(three, 300..=305)
                || maestro(two, four)
        }
        _ => maestro(two, four),
    }
}

fn maestro(two: u32, four: u32) -> bool {
    matches!(two, 50 | 56..=58 | 61 | 63 | 66..=69) || matches!(four, 6304 | 6390 | 604)
}

/// How far around a number the rest of an identifier is looked for: a SHA-512 in hex.
const IDENTIFIER_REACH: usize = 128;

/// Whether the number is part of a UUID, a hash or another identifier of hex digits.
fn inside_identifier(text: &str, start: usize, end: usize) -> bool {
    let bytes = text.as_bytes();
    let reach = |b: &&u8| b.is_ascii_alphanumeric();
    let before: Vec<u8> = before(bytes, start)
        .iter()
        .rev()
        .take(IDENTIFIER_REACH)
        .take_while(reach)
        .copied()
        .collect();
    let after: Vec<u8> = after(bytes, end)
        .iter()
        .take(IDENTIFIER_REACH)
        .take_while(reach)
        .copied()
        .collect();
    spend(before.len() + after.len());
    let touching = !before.is_empty() || !after.is_empty();
    let digit = before.first().is_some_and(u8::is_ascii_digit)
        || after.first().is_some_and(u8::is_ascii_digit);
    let hex = before.iter().chain(&after).all(u8::is_ascii_hexdigit);
    digit || (touching && hex) || in_uuid(bytes, start, end)
}

fn in_uuid(bytes: &[u8], start: usize, end: usize) -> bool {
    let part = |b: &&u8| b.is_ascii_hexdigit() || **b == b'-';
    let from = start
        - before(bytes, start)
            .iter()
            .rev()
            .take(36)
            .take_while(part)
            .count();
    let to = end + after(bytes, end).iter().take(36).take_while(part).count();
    let Some(token) = bytes.get(from..to) else {
        return false;
    };
    shape::is_uuid(token)
}

fn before(bytes: &[u8], start: usize) -> &[u8] {
    bytes.get(..start).unwrap_or_default()
}

fn after(bytes: &[u8], end: usize) -> &[u8] {
    bytes.get(end..).unwrap_or_default()
}

fn hinted(text: &str, start: usize) -> bool {
    super::strength::said_before(text, start, HINT_REACH, HINT_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_known_with_their_lengths() {
        for (digits, known) in [
            ("4000000000000", true),
            ("40000000000000", false),
            ("4000000000000000", true),
            ("5100000000000000", true),
            ("5600000000000000", true),
            ("2221000000000000", true),
            ("2220000000000000", false),
            ("2721000000000000", false),
            ("340000000000000", true),
            ("3400000000000000", false),
            ("36000000000000", true),
            ("6011000000000000", true),
            ("6221260000000000", true),
            ("1723107283246", false),
            ("1723107283246000", false),
            ("676000000000", true),
            ("900000000000", false),
        ] {
            assert_eq!(known_prefix(digits), known, "{digits}");
        }
    }

    #[test]
    fn groups_are_those_that_people_write() {
        let grouping = |sizes: &[usize]| {
            let mut at = 0;
            let groups: Vec<Group> = sizes
                .iter()
                .map(|size| {
                    let group = Group {
                        start: at,
                        end: at + size,
                    };
                    at += size + 1;
                    group
                })
                .collect();
            is_grouping(&groups)
        };
        for (sizes, expected) in [
            (&[16][..], true),
            (&[4, 4, 4, 4], true),
            (&[4, 4, 4, 4, 3], true),
            (&[4, 6, 5], true),
            (&[4, 6, 4], true),
            (&[2, 2, 2, 2, 2, 2, 2, 2], true),
            (&[4, 2, 4, 6], false),
            (&[8, 4, 4, 4, 12], false),
            (&[], false),
        ] {
            assert_eq!(grouping(sizes), expected, "{sizes:?}");
        }
    }

    #[test]
    fn a_uuid_of_digits_is_no_card() {
        let uuid = b"41111111-1111-4111-8111-111111111111";
        assert!(in_uuid(uuid, 0, 8));
        assert!(in_uuid(uuid, 24, 36));
        assert!(!in_uuid(b"4111-1111-1111-1111", 0, 19));
    }
}
