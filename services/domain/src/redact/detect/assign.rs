//! Secrets that only their name gives away: `password=…`, `"api_key": "…"`.

use std::sync::LazyLock;

use regex::Regex;

use super::secrets::secret_at;
use super::{Hit, strength};
use crate::redact::Failed;
use crate::redact::hints::Hints;

/// What must stand in a text before the expression runs.
pub(super) const KEYWORDS: &[&str] = &[
    "pass",
    "pwd",
    "secret",
    "token",
    "api_key",
    "api-key",
    "apikey",
    "api.key",
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
    "encryption_key",
    "master_key",
];

static ASSIGNMENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?i)(?<name>[a-z0-9_.-]{0,48}(?:pass(?:word|wd|phrase|code)?|pwd|secret|token"#,
        r#"|(?:api|access|private|signing|encryption|master)[_. -]?key|credentials?|auth|cvv|cvc|cookie)[a-z0-9_.-]{0,48})"#,
        r#"(?:\\?["'`\]])?(?:\s{0,3}(?:=>|:=|==|=|:)\s{0,3}|\s{1,2}(?:is|was)\s{1,2})"#,
        r#"(?:\\?"(?<dq>[^"\n]{4,512}?)\\?"|\\?'(?<sq>[^'\n]{4,512}?)\\?'|(?<raw>[^\s"'`<>]{4,512}))"#,
    ))
    .ok()
});

pub(super) fn find(text: &str, hits: &mut Vec<Hit>) -> Result<(), Failed> {
    let regex = ASSIGNMENT.as_ref().ok_or(Failed)?;
    for found in regex.captures_iter(text) {
        let Some(name) = found.name("name") else {
            continue;
        };
        let quoted = found.name("dq").or_else(|| found.name("sq"));
        let raw = found
            .name("raw")
            .map(|raw| (raw.start(), cut(raw.as_str())));
        let Some((start, value)) = quoted.map(|q| (q.start(), q.as_str())).or(raw) else {
            continue;
        };
        let hint = Hints::of_key(name.as_str()).secret;
        let password = name.as_str().to_ascii_lowercase().contains("pass");
        if strength::is_assigned_secret(value, hint, password) {
            hits.push(secret_at(start, value));
        }
    }
    Ok(())
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
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        .count();
    length > 0 && matches!(name.as_bytes().get(length), Some(b'=' | b':' | b'"'))
}
