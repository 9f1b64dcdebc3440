//! Network addresses, as the standard library parses them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Hit, Kind};
use crate::redact::hints::Hints;

/// Digits of the shortest dotted quad.
pub(super) const V4_DIGITS_MIN: usize = 4;
/// Longest token that can be an address, in bytes: a full IPv6 with an embedded IPv4.
const TOKEN_MAX: usize = 45;
/// How far before a dotted quad the word `version` makes it one, in bytes.
const HINT_REACH: usize = 12;
const VERSION_WORDS: &[&str] = &["version", "release", "ver.", "build"];

pub(super) fn find(text: &str, hints: Hints, hits: &mut Vec<Hit>) {
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
    let Some(raw) = text.get(start..end) else {
        return;
    };
    let glued = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let before = text.get(..start).and_then(|t| t.chars().next_back());
    let after = text.get(end..).and_then(|t| t.chars().next());
    let lead = raw.len() - raw.trim_start_matches('.').len();
    let trimmed = raw.trim_start_matches('.').trim_end_matches(['.', ':']);
    if trimmed.len() < 3 || glued(before) || glued(after) && !trimmed.contains('.') {
        return;
    }
    if let Some((offset, length, value)) = v6(trimmed).or_else(|| v4_in(trimmed)) {
        let from = start + lead + offset;
        let version =
            hints.version || super::strength::said_before(text, from, HINT_REACH, VERSION_WORDS);
        if !(version && value.parse::<Ipv4Addr>().is_ok()) {
            hits.push(Hit {
                start: from,
                end: from + length,
                kind: Kind::Ip,
                value,
            });
        }
    }
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
