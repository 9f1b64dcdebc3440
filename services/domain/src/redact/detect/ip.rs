//! Network addresses, as the standard library parses them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Hit, Kind};
use crate::redact::hints::Hints;
use crate::redact::work::spend;

/// Digits of the shortest dotted quad.
pub(super) const V4_DIGITS_MIN: usize = 4;
/// Longest token that can be an address, in bytes: a full IPv6 with an embedded IPv4.
const TOKEN_MAX: usize = 45;
/// How far before a dotted quad the word `version` makes it one, in bytes.
const HINT_REACH: usize = 12;
const VERSION_WORDS: &[&str] = &["version", "release", "ver.", "build"];

pub(super) fn find(text: &str, hints: Hints, hits: &mut Vec<Hit>) {
    spend(text.len());
    let mut start = None;
    for (at, b) in text.bytes().enumerate().chain([(text.len(), b' ')]) {
        let part = b.is_ascii_hexdigit() || b == b'.' || b == b':';
        match (part, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                token(text, from, at, hints, hits);
                start = None;
            }
            _ => {}
        }
    }
}

fn token(text: &str, start: usize, end: usize, hints: Hints, hits: &mut Vec<Hit>) {
    spend(end - start);
    let Some(raw) = text.get(start..end) else {
        return;
    };
    let body = if raw.starts_with("::") {
        raw
    } else {
        raw.trim_start_matches(['.', ':'])
    };
    let lead = raw.len() - body.len();
    let body = body.trim_end_matches(['.', ':']);
    let Some((offset, length, value)) = v6(body).or_else(|| v4_in(body)) else {
        return;
    };
    let from = start + lead + offset;
    let to = from + length;
    // Only what touches a letter is part of a word: `iface:10.0.0.1` ends one before it.
    let glued = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let before = text.get(..from).and_then(|t| t.chars().next_back());
    let after = text.get(to..).and_then(|t| t.chars().next());
    let version =
        hints.version || super::strength::said_before(text, from, HINT_REACH, VERSION_WORDS);
    if glued(before) || glued(after) || version && value.parse::<Ipv4Addr>().is_ok() {
        return;
    }
    hits.push(Hit {
        start: from,
        end: to,
        kind: Kind::Ip,
        value,
        name: None,
    });
}

fn v6(token: &str) -> Option<(usize, usize, String)> {
    if token.len() > TOKEN_MAX {
        return None;
    }
    let lead = if token.starts_with("::") {
        0
    } else {
        token.len() - token.trim_start_matches(':').len()
    };
    let token = token.get(lead..)?;
    let address: Ipv6Addr = token.parse().ok()?;
    let groups = token.split(':').filter(|group| !group.is_empty()).count();
    let digits = token.bytes().any(|b| b.is_ascii_digit());
    (groups >= 3 || groups == 2 && digits).then(|| (lead, token.len(), address.to_string()))
}

/// A dotted quad, alone or with a port, or behind a key and a colon.
fn v4_in(token: &str) -> Option<(usize, usize, String)> {
    let mut offset = 0;
    for part in token.split(':') {
        if let Ok(address) = part.parse::<Ipv4Addr>() {
            return Some((offset, part.len(), address.to_string()));
        }
        offset += part.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_and_what_resembles_them_stays() {
        for (text, expected) in [
            ("192.168.17.4", vec!["192.168.17.4"]),
            ("(10.0.0.1)", vec!["10.0.0.1"]),
            ("10.0.0.1.", vec!["10.0.0.1"]),
            ("10.0.0.1:80", vec!["10.0.0.1"]),
            ("ip:10.0.0.1", vec!["10.0.0.1"]),
            ("iface:10.0.0.1", vec!["10.0.0.1"]),
            ("10.0.0.1 and 10.0.0.2", vec!["10.0.0.1", "10.0.0.2"]),
            ("2001:DB8::1", vec!["2001:db8::1"]),
            ("fe80::1%eth0", vec!["fe80::1"]),
            ("1.2.3", vec![]),
            ("1.2.3.4.5", vec![]),
            ("256.1.1.1", vec![]),
            ("v1.2.3.4", vec![]),
            ("version 1.2.3.4", vec![]),
            ("10:32:00", vec![]),
            ("a::b", vec![]),
            ("::", vec![]),
            ("std::fmt", vec![]),
        ] {
            let mut hits = Vec::new();
            find(text, Hints::NONE, &mut hits);
            let found: Vec<&str> = hits.iter().map(|hit| hit.value.as_str()).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_key_that_speaks_of_versions_keeps_them() {
        let hints = Hints {
            version: true,
            ..Hints::NONE
        };
        let mut hits = Vec::new();
        find("1.2.3.4", hints, &mut hits);
        assert!(hits.is_empty());
    }
}
