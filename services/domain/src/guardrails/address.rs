//! Reading recipients. Mail software disagrees on odd addresses, and a disagreement is
//! how a letter reaches somebody that nobody checked: whatever has two readings is
//! refused.

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization as _;

use crate::policy::Pointer;

/// Recipients of one message: more is a mailing, which needs its own tool.
const RECIPIENTS_MAX: usize = 1_000;
/// Bytes of an address (RFC 5321 §4.5.3.1.3, without the angle brackets).
const ADDRESS_BYTES_MAX: usize = 254;
/// Bytes of the part before the `@` (RFC 5321 §4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;

/// A recipient that cannot be read with certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// The field holds something else than text.
    #[error("a recipient is not text")]
    NotText,
    /// Not one address with one reading.
    #[error("a recipient is not a plain e-mail address")]
    Unclear,
    /// Control or invisible characters.
    #[error("a recipient holds control or invisible characters")]
    Control,
    /// More than can be checked.
    #[error("there are more than {RECIPIENTS_MAX} recipients")]
    TooMany,
}

/// One address, in its two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Before the `@`, as written.
    pub(crate) local: String,
    /// After the `@`, as written.
    pub(crate) domain: String,
}

/// Every recipient at `pointers`.
pub(crate) fn recipients(
    pointers: &[Pointer],
    input: &Map<String, Value>,
) -> Result<Vec<Address>, AddressError> {
    let mut found = Vec::new();
    for value in pointers.iter().flat_map(|pointer| pointer.find(input)) {
        collect(value, &mut found)?;
    }
    Ok(found)
}

fn collect(value: &Value, found: &mut Vec<Address>) -> Result<(), AddressError> {
    match value {
        Value::Null => return Ok(()),
        Value::String(text) => found.extend(list(text)?),
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::String(text) => found.extend(list(text)?),
                    _ => return Err(AddressError::NotText),
                }
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Err(AddressError::NotText),
    }
    if found.len() > RECIPIENTS_MAX {
        return Err(AddressError::TooMany);
    }
    Ok(())
}

/// Reads a list of addresses, separated by `,` or `;`.
pub(crate) fn list(text: &str) -> Result<Vec<Address>, AddressError> {
    if text.chars().any(is_hidden) {
        return Err(AddressError::Control);
    }
    // Software that decodes a word such as `=?utf-8?q?a=40b?=` (RFC 2047) where none may
    // stand finds another address in it.
    if text.contains("=?") || text.chars().any(folds_into_syntax) {
        return Err(AddressError::Unclear);
    }
    split(text)?
        .into_iter()
        // Other spaces than this one are part of what they stand beside.
        .map(|part| mailbox(part.trim_matches(' ')))
        .collect()
}

/// Whether software that folds characters takes this one for a sign of the syntax, as the
/// full-width `＠` for an `@`.
fn folds_into_syntax(c: char) -> bool {
    !c.is_ascii() && c.nfkc().any(|folded| "@<>()[],;:\\\"".contains(folded))
}

/// Splits at separators outside quotes and angle brackets.
fn split(text: &str) -> Result<Vec<&str>, AddressError> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut angled) = (false, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '<' if angled => return Err(AddressError::Unclear),
            '<' => angled = true,
            '>' if !angled => return Err(AddressError::Unclear),
            '>' => angled = false,
            ',' | ';' if !angled => {
                parts.push(text.get(start..at).ok_or(AddressError::Unclear)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    if quoted || angled {
        return Err(AddressError::Unclear);
    }
    parts.push(text.get(start..).ok_or(AddressError::Unclear)?);
    Ok(parts)
}

/// Reads `local@domain`, `Name <local@domain>` or `"Name" <local@domain>`.
fn mailbox(text: &str) -> Result<Address, AddressError> {
    let Some((name, rest)) = split_unquoted(text, '<') else {
        return address(text);
    };
    let inside = rest.strip_suffix('>').ok_or(AddressError::Unclear)?;
    if !is_display_name(name.trim()) {
        return Err(AddressError::Unclear);
    }
    address(inside)
}

/// A name that no software can take for an address, a group or a comment.
fn is_display_name(name: &str) -> bool {
    let quoted = name
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match quoted {
        Some(inside) => !inside.contains(['"', '\\']),
        None => !name.contains(['"', '@', ':', '(', ')', '[', ']', '\\', '<', '>']),
    }
}

fn split_unquoted(text: &str, sign: char) -> Option<(&str, &str)> {
    let mut quoted = false;
    let at = text.char_indices().find_map(|(at, c)| {
        if c == '"' {
            quoted = !quoted;
        }
        (c == sign && !quoted).then_some(at)
    })?;
    Some((text.get(..at)?, text.get(at + sign.len_utf8()..)?))
}

fn address(text: &str) -> Result<Address, AddressError> {
    if text.len() > ADDRESS_BYTES_MAX {
        return Err(AddressError::Unclear);
    }
    let (local, domain) = if text.starts_with('"') {
        let rest = text
            .strip_prefix('"')
            .and_then(|rest| rest.split_once("\"@"));
        let (inside, domain) = rest.ok_or(AddressError::Unclear)?;
        if !is_quoted_local(inside) {
            return Err(AddressError::Unclear);
        }
        (inside, domain)
    } else {
        let (local, domain) = text.split_once('@').ok_or(AddressError::Unclear)?;
        if !is_local(local) {
            return Err(AddressError::Unclear);
        }
        (local, domain)
    };
    let domain_is_plain = !domain.is_empty()
        && !domain.contains(|c: char| c.is_whitespace() || "@<>()[]\",:;\\%!".contains(c));
    if !domain_is_plain || local.is_empty() || local.len() > LOCAL_BYTES_MAX {
        return Err(AddressError::Unclear);
    }
    Ok(Address {
        local: local.to_owned(),
        domain: domain.to_owned(),
    })
}

/// A dot-atom (RFC 5322 §3.2.3) or letters of other scripts (RFC 6531), without `%` and
/// `!`, by which old relays route a letter on to somewhere else.
fn is_local(local: &str) -> bool {
    let sign = |c: char| c.is_alphanumeric() || "#$&'*+-/=?^_`{|}~".contains(c);
    local
        .split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(sign))
}

/// A quoted local part that no relay takes for a route or a second address.
fn is_quoted_local(inside: &str) -> bool {
    !inside.contains(['"', '\\', '@', '%', '!', '<', '>', ',', ';', ':'])
}

/// Characters that a person does not see, and line breaks, which end a mail header.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(text: &str) -> Option<Vec<String>> {
        let found = list(text).ok()?;
        Some(found.into_iter().map(|address| address.domain).collect())
    }

    #[test]
    fn what_has_one_reading_is_read() {
        let table: &[(&str, &[&str])] = &[
            ("a@x.example", &["x.example"]),
            (
                " a@x.example , b@y.example;c@z.example ",
                &["x.example", "y.example", "z.example"],
            ),
            ("Lee Chan <a@x.example>", &["x.example"]),
            (
                "\"Chan, Lee\" <a@x.example>, b@y.example",
                &["x.example", "y.example"],
            ),
            ("\"lee@known.example\" <a@evil.example>", &["evil.example"]),
            ("<a@x.example>", &["x.example"]),
            ("a+tag@x.example", &["x.example"]),
            ("a+b+c.d@x.example", &["x.example"]),
            (
                "\"Lee <a@known.example>, Jo\" <b@evil.example>",
                &["evil.example"],
            ),
            (
                "\"a; b: c\" <a@x.example>;b@y.example",
                &["x.example", "y.example"],
            ),
            (
                "lee@x.example, Jr. <a@y.example>",
                &["x.example", "y.example"],
            ),
            ("O'Hara <o'hara@x.example>", &["x.example"]),
            ("陈李 <a@x.example>", &["x.example"]),
            ("Lee 🙂 <a@x.example>", &["x.example"]),
            ("{a|b}~c@x.example", &["x.example"]),
            ("\"a b\"@x.example", &["x.example"]),
            ("jörg@x.example", &["x.example"]),
            ("a@XN--NXASMQ6B.example", &["XN--NXASMQ6B.example"]),
        ];
        for (text, expected) in table {
            assert_eq!(domains(text).unwrap(), *expected, "{text}");
        }
    }

    const REFUSED: &[&str] = &[
        "",
        " ",
        ",",
        "a@x.example,",
        "a",
        "@x.example",
        "a@",
        "a@b@x.example",
        "a..b@x.example",
        ".a@x.example",
        "a b@x.example",
        "a@x.example b@y.example",
        "a@x.example <b@y.example>",
        "Team: a@x.example, b@y.example;",
        "a@x.example (comment)",
        "a(c)@x.example",
        "a@[1.2.3.4]",
        "\"a@b\"@x.example",
        "\"a\"b@x.example",
        "a%evil.example@x.example",
        "evil.example!a@x.example",
        "<@relay.example:a@x.example>",
        "<a@x.example",
        "a@x.example>",
        "<<a@x.example>>",
        "\"a@x.example",
        "a@x.example\r\nBcc: b@y.example",
        "a@x.exam\u{200b}ple",
        "a@x.example\u{202e}",
        "a\\@b@x.example",
        "\"a\\\"\"@x.example",
        "N \"q\" <a@x.example>",
        "<a@x.example> b",
        "a@x.example\0",
        // Names with signs of the syntax.
        "Chan, Lee <a@x.example>",
        "Lee (Sales) <a@x.example>",
        "Lee: <a@x.example>",
        "\"Lee\\\" <a@x.example>, \" <b@y.example>",
        "\"Lee\" \"Chan\" <a@x.example>",
        // Comments, where RFC 5322 allows them.
        "(x@evil.example) a@x.example",
        "a@(evil.example)x.example",
        "a@x.example(,b@evil.example)",
        // Groups.
        "undisclosed-recipients:;",
        "Team:;",
        "Team: a@x.example; b@y.example",
        // Words that are decoded where none may stand.
        "=?utf-8?q?a=40evil.example=2c?=@x.example",
        "=?utf-8?b?YUBldmlsLmV4YW1wbGU=?=@x.example",
        "=?utf-8?q?Lee=3ca=40evil.example=3e?= <a@x.example>",
        "\"=?utf-8?q?Lee?=\" <a@x.example>",
        // Signs that fold into those of the syntax.
        "a\u{ff20}x.example",
        "a@evil.example\u{ff0c}b@x.example",
        "Lee\u{ff1c}a@evil.example\u{ff1e} <a@x.example>",
        "Lee \u{fe6b} evil.example <a@x.example>",
        "\"Lee\u{ff1b}\" <a@x.example>",
        // Spaces of other kinds, and links.
        "\u{a0}a@x.example",
        "a@x.example\u{3000}",
        "a@x.example\u{a0}b@y.example",
        "mailto:a@x.example",
        "a@x.example?bcc=b@y.example",
        "a@x.example:25",
        "a@[IPv6:::1]",
        "a@[x.example]",
        "a@",
        "a.@x.example",
        "a@x.example;;b@y.example",
    ];

    #[test]
    fn what_has_two_readings_or_none_is_refused() {
        for text in REFUSED {
            assert!(list(text).is_err(), "{text:?}");
        }
        assert!(list(&format!("{}@x.example", "a".repeat(65))).is_err());
        assert!(list(&format!("a@{}", "x.".repeat(150))).is_err());
    }

    #[test]
    fn fields_may_hold_text_or_lists_of_text() {
        let pointers = [
            Pointer::parse("/to").unwrap(),
            Pointer::parse("/cc").unwrap(),
        ];
        let read =
            |value: Value| recipients(&pointers, value.as_object().unwrap()).map(|all| all.len());
        use serde_json::json;
        assert_eq!(
            read(json!({"to": "a@x.example", "cc": ["b@y.example, c@z.example"]})),
            Ok(3)
        );
        assert_eq!(read(json!({"cc": null})), Ok(0));
        for bad in [
            json!({"to": 1}),
            json!({"to": [["a@x.example"]]}),
            json!({"to": {"a": "a@x.example"}}),
            json!({"to": [null]}),
        ] {
            assert_eq!(read(bad), Err(AddressError::NotText));
        }
        let many: Vec<String> = (0..1001).map(|n| format!("a{n}@x.example")).collect();
        assert_eq!(read(json!({ "to": many })), Err(AddressError::TooMany));
    }
}
