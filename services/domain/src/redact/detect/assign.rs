//! Secrets that only their name gives away: `password=…`, `"api_key": "…"`.

use super::secrets::secret_at;
use super::{Hit, Kind, shape, strength};
use crate::redact::hints::{Hints, SecretHint};
use crate::redact::work::spend;

/// One of these stands in the name; compared without case.
pub(super) const KEYWORDS: &[&str] = &[
    "pass",
    "pwd",
    "secret",
    "token",
    "api_key",
    "api-key",
    "apikey",
    "api.key",
    "api key",
    "access_key",
    "access-key",
    "accesskey",
    "private_key",
    "private-key",
    "privatekey",
    "credential",
    "auth",
    "cvv",
    "cvc",
    "cookie",
    "signing_key",
    "signing-key",
    "signingkey",
    "encryption_key",
    "encryption-key",
    "encryptionkey",
    "master_key",
    "master-key",
    "masterkey",
    "secret_key",
    "account_key",
    "accountkey",
    "key",
];
/// Shortest value that is taken for a secret where no more is said than `key`: shorter ones
/// name rows and caches.
const KEY_VALUE_BYTES_MIN: usize = 16;
/// Bytes of a value that a service's name alone makes a secret: the keys that services publish
/// a length of lie between.
const SERVICE_VALUE_BYTES_MIN: usize = 20;
const SERVICE_VALUE_BYTES_MAX: usize = 128;
/// Bytes of a name to each side of its keyword.
const NAME_REACH: usize = 48;
const VALUE_BYTES_MIN: usize = 4;
const VALUE_BYTES_MAX: usize = 512;
/// Bytes of the longest sign that assigns.
const SIGN_BYTES_MAX: usize = 4;
/// Spaces to each side of what assigns.
const SPACES_MAX: usize = 3;

/// Reads the assignment whose name holds the keyword at `start..end`, and says where the
/// next one may begin.
pub(super) fn read(text: &str, start: usize, end: usize, hits: &mut Vec<Hit>) -> usize {
    let bytes = text.as_bytes();
    let name_start = start - before(bytes, start);
    let name_end = end + after(bytes, end);
    let (Some(name), Some(value)) = (text.get(name_start..name_end), value(text, name_end)) else {
        return name_end;
    };
    let (from, raw) = value;
    spend(from + raw.len() - name_start);
    let hints = Hints::of_key(name);
    let hint = match hints.secret {
        SecretHint::No if hints.service && is_plain_key(raw) => SecretHint::Maybe,
        hint => hint,
    };
    let small = name.to_ascii_lowercase();
    let password = small.contains("pass");
    let guessed = hint == SecretHint::Maybe;
    let long = !small.contains("key") || raw.len() >= KEY_VALUE_BYTES_MIN;
    if !strength::is_assigned_secret(raw, hint, password) || guessed && !long {
        return name_end;
    }
    hits.push(Hit {
        kind: if guessed { Kind::Guess } else { Kind::Secret },
        ..secret_at(from, raw)
    });
    from + raw.len()
}

/// Whether a value may be the secret of a service that says no more than its name: one word, as
/// long as keys are, and no UUID, for those name things.
fn is_plain_key(raw: &str) -> bool {
    let sign = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'=');
    (SERVICE_VALUE_BYTES_MIN..=SERVICE_VALUE_BYTES_MAX).contains(&raw.len())
        && raw.bytes().all(sign)
        && raw.bytes().filter(u8::is_ascii_digit).count() >= 3
        && !shape::is_uuid(raw.as_bytes())
}

fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')
}

fn before(bytes: &[u8], start: usize) -> usize {
    let head = bytes.get(..start).unwrap_or_default();
    let name = head.iter().rev().take(NAME_REACH);
    name.take_while(|b| is_name(**b)).count()
}

fn after(bytes: &[u8], end: usize) -> usize {
    let tail = bytes.get(end..).unwrap_or_default();
    let name = tail.iter().take(NAME_REACH);
    name.take_while(|b| is_name(**b)).count()
}

/// What is assigned behind a name that ends at `at`.
fn value(text: &str, at: usize) -> Option<(usize, &str)> {
    let rest = text.get(at..)?;
    let closed = rest.strip_prefix('\\').unwrap_or(rest);
    let closed = closed
        .strip_prefix(['"', '\'', '`', ']', ')'])
        .unwrap_or(rest);
    let spaced = closed.trim_start_matches([' ', '\t']);
    let near = closed.len() - spaced.len() <= SPACES_MAX;
    let assigned = match signed(spaced) {
        Some(rest) if near => rest,
        _ if closed.len() < rest.len() && near => listed(spaced).or_else(|| said(closed))?,
        _ => said(closed)?,
    };
    let opened = assigned.trim_start_matches([' ', '\t']);
    if assigned.len() - opened.len() > SPACES_MAX {
        return None;
    }
    let from = text.len() - opened.len();
    quoted(opened).map_or_else(
        || bare(opened).map(|raw| (from, raw)),
        |(skip, raw)| Some((from + skip, raw)),
    )
}

/// `=`, `:`, `=>`, `:=`, `?=`, `==` and their like.
fn signed(spaced: &str) -> Option<&str> {
    let length = spaced
        .bytes()
        .take(SIGN_BYTES_MAX)
        .take_while(|b| matches!(b, b'=' | b':' | b'?' | b'>'))
        .count();
    let (sign, rest) = spaced.split_at_checked(length)?;
    sign.contains(['=', ':']).then_some(rest)
}

/// `setenv("api_token", "…")`: two texts in quotes, one behind the other.
fn listed(spaced: &str) -> Option<&str> {
    let rest = spaced.strip_prefix(',')?;
    let next = rest.trim_start_matches([' ', '\\']);
    next.starts_with(['"', '\'']).then_some(rest)
}

/// `my password is hunter2`: the verb with spaces around it.
fn said(rest: &str) -> Option<&str> {
    let word = rest.strip_prefix(' ')?.trim_start_matches(' ');
    let verbs = ["is: ", "is ", "was ", "IS "];
    verbs.iter().find_map(|verb| word.strip_prefix(verb))
}

/// A value in quotes, which may themselves be escaped.
fn quoted(opened: &str) -> Option<(usize, &str)> {
    let slash = usize::from(opened.starts_with('\\'));
    let quote = opened
        .as_bytes()
        .get(slash)
        .filter(|b| matches!(b, b'"' | b'\''))?;
    let inner = opened.get(slash + 1..)?;
    let end = inner
        .bytes()
        .take(VALUE_BYTES_MAX + 1)
        .position(|b| b == *quote || b == b'\n')?;
    let raw = inner.get(..end)?;
    let raw = raw.strip_suffix('\\').filter(|_| slash == 1).unwrap_or(raw);
    let closed = inner.as_bytes().get(end) == Some(quote);
    (closed && raw.len() >= VALUE_BYTES_MIN).then_some((slash + 1, raw))
}

/// A value without quotes: up to the next space or quote.
fn bare(opened: &str) -> Option<&str> {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
    let end = opened
        .char_indices()
        .find(|(at, c)| ends(*c) || *at + c.len_utf8() > VALUE_BYTES_MAX)
        .map_or(opened.len(), |(at, _)| at);
    let raw = opened
        .get(..end)
        .filter(|raw| raw.len() >= VALUE_BYTES_MIN)?;
    Some(cut(raw))
}

/// An unquoted value ends where the next assignment begins, and without closing marks.
fn cut(raw: &str) -> &str {
    let next = raw
        .match_indices([',', ';', '&'])
        .find(|(at, _)| is_assignment(raw.get(at + 1..).unwrap_or_default()))
        .and_then(|(at, _)| raw.get(..at));
    let value = next.unwrap_or(raw);
    if value.contains(['(', '[', '{']) {
        return value;
    }
    value.trim_end_matches([',', ';', ')', ']', '}', '&'])
}

fn is_assignment(rest: &str) -> bool {
    let name = rest.trim_start_matches(['"', '\'', ' ']);
    let length = name
        .bytes()
        .take(NAME_REACH)
        .take_while(|b| is_name(*b))
        .count();
    length > 0 && matches!(name.as_bytes().get(length), Some(b'=' | b':' | b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_what_is_assigned() {
        for (text, expected) in [
            ("=hunter2", Some("hunter2")),
            (": \"two words\", x", Some("two words")),
            ("\": \"abcd\"", Some("abcd")),
            ("\\\": \\\"abcd\\\"", Some("abcd")),
            (" => 'abcd'", Some("abcd")),
            (" is abcd", Some("abcd")),
            ("=abcd,user=x", Some("abcd")),
            ("=ab(cd)", Some("ab(cd)")),
            ("\", \"abcd\")", Some("abcd")),
            (" ::= \"abcd\"", Some("abcd")),
            (", \"abcd\"", None),
            ("=abc", None),
            (" abcd", None),
            ("=", None),
            (":     abcd", None),
        ] {
            assert_eq!(value(text, 0).map(|(_, raw)| raw), expected, "{text}");
        }
    }

    #[test]
    fn every_name_is_read_once() {
        let text = "auth_token_secret_password=a1b2c3d4";
        let mut hits = Vec::new();
        assert_eq!(read(text, 0, 4, &mut hits), text.len());
        assert_eq!(hits.len(), 1);
    }
}
