//! Whether a value looks like a secret: placeholders, dates and words do not.

use crate::redact::hints::SecretHint;
use crate::redact::work::spend;

/// Shortest value that is taken for a secret on the word of its key.
const KEYED_MIN: usize = 4;
/// Shortest value that is taken for a secret because it looks random.
const RANDOM_MIN: usize = 8;
/// Bits per character below which a value does not look random.
const RANDOM_BITS_MIN: f64 = 2.75;

/// Shortest password that is told by its form alone, and longest.
pub(super) const PASSWORD_BYTES_MIN: usize = 10;
const PASSWORD_BYTES_MAX: usize = 64;

const PLACEHOLDERS: &[&str] = &[
    "true",
    "false",
    "null",
    "none",
    "nil",
    "undefined",
    "required",
    "optional",
    "string",
    "empty",
    "unknown",
    "redacted",
    "hidden",
    "invalid",
    "incorrect",
    "expired",
    "missing",
    "wrong",
    "reset",
    "changed",
    "disabled",
    "enabled",
    "default",
    "placeholder",
    "bearer",
    "basic",
    "protected",
    "changeme",
    "password",
    "secret",
    "token",
    "text",
    "yes",
    "no",
    "n/a",
    "number",
    "boolean",
];

/// Whether the whole value under a key with this hint is a secret.
pub(super) fn is_secret_value(text: &str, hint: SecretHint) -> bool {
    let value = text.trim();
    match hint {
        SecretHint::No => false,
        SecretHint::Maybe => value.split_whitespace().any(looks_random),
        SecretHint::Yes => value.len() >= KEYED_MIN && !is_placeholder(value) && !is_date(value),
    }
}

/// Whether a value given to a secret's name in running text is that secret.
pub(super) fn is_assigned_secret(value: &str, hint: SecretHint, password: bool) -> bool {
    let worded = value.bytes().all(|b| b.is_ascii_lowercase());
    match hint {
        SecretHint::No => false,
        SecretHint::Maybe => looks_random(value),
        SecretHint::Yes => {
            value.len() >= KEYED_MIN
                && !is_placeholder(value)
                && !is_date(value)
                && !is_code(value)
                && (password || !worded)
        }
    }
}

/// Long, mixed and without the shape of a path, a link or a file.
pub(super) fn looks_random(value: &str) -> bool {
    let digits = value.bytes().any(|b| b.is_ascii_digit());
    let letters = value.bytes().any(|b| b.is_ascii_alphabetic());
    let cases = value.bytes().any(|b| b.is_ascii_lowercase())
        && value.bytes().any(|b| b.is_ascii_uppercase());
    value.len() >= RANDOM_MIN
        && letters
        && (digits || cases && value.len() >= 16)
        && !is_placeholder(value)
        && !is_date(value)
        && !is_code(value)
        && !value.contains("://")
        && !value.contains('@')
        && !is_reference(value)
        && entropy(value) >= RANDOM_BITS_MIN
}

/// `PROJ-1234`, `INV/2026/0017`: a word and then only digits and what parts them.
fn is_reference(value: &str) -> bool {
    let rest = value.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let word = value.len() - rest.len();
    (1..=12).contains(&word)
        && rest.starts_with(['-', '/', '_', '#', ':'])
        && rest
            .bytes()
            .all(|b| b.is_ascii_digit() || b"-/_#:.".contains(&b))
}

/// What stands behind `name=`, or the whole word.
pub(super) fn without_name(word: &str) -> &str {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match word.split_once('=') {
        Some((before, rest)) if !before.is_empty() && before.chars().all(name) => rest,
        _ => word,
    }
}

/// A word of all four classes of characters, so mixed as only a generator makes them: what
/// the usual rules for passwords ask for, and no path, link, address or piece of code.
pub(super) fn is_made_password(value: &str) -> bool {
    let sort = |b: u8| match b {
        b'a'..=b'z' => Some(0),
        b'A'..=b'Z' => Some(1),
        b'0'..=b'9' => Some(2),
        b'!' | b'#' | b'$' | b'^' | b'*' | b'?' | b'~' | b'@' | b'-' | b'_' | b'+' => Some(3),
        _ => None,
    };
    if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&value.len()) {
        return false;
    }
    let Some(sorts) = value.bytes().map(sort).collect::<Option<Vec<u8>>>() else {
        return false;
    };
    // What begins with `$` is the name of a variable.
    let marked = value.bytes().any(|b| b"!#$^*?~".contains(&b)) && !value.starts_with('$');
    let all = (0..4).all(|sort| sorts.contains(&sort));
    let changes = sorts
        .iter()
        .zip(sorts.iter().skip(1))
        .filter(|(a, b)| a != b);
    marked && all && changes.count() * 3 >= value.len() && entropy(value) >= RANDOM_BITS_MIN
}

/// Letters with digits, or letters of both cases inside: no plain word.
pub(super) fn is_mixed(value: &str) -> bool {
    let inner = value.get(1..).unwrap_or_default();
    value.bytes().any(|b| b.is_ascii_digit())
        || inner.bytes().any(|b| b.is_ascii_uppercase())
            && inner.bytes().any(|b| b.is_ascii_lowercase())
}

/// A reference to a secret instead of the secret: `${TOKEN}`, `<your token>`, `****`.
pub(super) fn is_placeholder(value: &str) -> bool {
    spend(value.len());
    const WRAPS: &[(&str, &str)] = &[
        ("${", "}"),
        ("{{", "}}"),
        ("<", ">"),
        ("%(", ")s"),
        ("$", ""),
    ];
    let lower = value.to_ascii_lowercase();
    let masked = |c: char| matches!(c, '*' | 'x' | 'X' | '.' | '-' | '_' | '#' | '•');
    // Only a name may stand in the wrapping: digits could be the secret itself.
    let name = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.' | ' ');
    PLACEHOLDERS.contains(&lower.as_str())
        || value.chars().all(masked)
        || WRAPS.iter().any(|(open, close)| {
            value
                .strip_prefix(open)
                .and_then(|rest| rest.strip_suffix(close))
                .is_some_and(|inner| inner.chars().all(name))
        })
}

/// An expression that fetches a value.
fn is_code(value: &str) -> bool {
    let calls = [
        "process.env",
        "os.environ",
        "getenv",
        "config.",
        "self.",
        "this.",
        "settings.",
    ];
    calls.iter().any(|lead| value.starts_with(lead)) || value.ends_with("()")
}

/// `2026-02-25`, with or without a time.
pub(super) fn is_date(value: &str) -> bool {
    let bytes = value.as_bytes();
    let digit = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
    let dash = |index: usize| bytes.get(index) == Some(&b'-');
    (0..4).all(digit)
        && dash(4)
        && digit(5)
        && digit(6)
        && dash(7)
        && digit(8)
        && digit(9)
        && value.len() <= 35
        && value
            .bytes()
            .skip(10)
            .all(|b| b.is_ascii_digit() || b"TZ:.+- ".contains(&b))
}

/// Shannon entropy in bits per byte.
pub(super) fn entropy(value: &str) -> f64 {
    spend(value.len());
    let mut counts = [0_u32; 256];
    for b in value.bytes() {
        if let Some(count) = counts.get_mut(usize::from(b)) {
            *count += 1;
        }
    }
    let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / total)
        .map(|share| -share * share.log2())
        .sum()
}

/// Whether one of `words` stands within `reach` bytes before `at`, in any case.
pub(super) fn said_before(text: &str, at: usize, reach: usize, words: &[&str]) -> bool {
    let from = (at.saturating_sub(reach)..=at)
        .find(|index| text.is_char_boundary(*index))
        .unwrap_or(at);
    spend(at - from);
    let near = text.get(from..at).unwrap_or_default().to_ascii_lowercase();
    words.iter().any(|word| near.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_values_are_told_from_words_paths_and_links() {
        for (value, random) in [
            ("zK8vQ2mN4p", true),
            ("9f86d081884c7d659a2feaa0c55ad015", true),
            ("AbCdEfGhIjKlMnOpQr", true),
            ("correcthorse", false),
            ("short1", false),
            ("aaaaaaaa1", false),
            ("https://example.com/a1b2c3", false),
            ("bob12345@example.com", false),
            ("2026-02-25T10:32:00Z", false),
            ("process.env.TOKEN1", false),
            ("12345678", false),
            ("PROJ-12345", false),
            ("INV/2026/49531", false),
        ] {
            assert_eq!(looks_random(value), random, "{value}");
        }
    }

    #[test]
    fn a_made_password_is_told_by_its_form() {
        for (value, made) in [
            ("gT7#kQ2vLm9x", true),
            ("Xy4!pQz8Rw1n", true),
            ("correct-horse-Battery9", false),
            ("getUserById2", false),
            ("Release2026!", false),
            ("$HOME_Dir1", false),
            ("a1B2c3D4e5", false),
            ("https://x.example/A1?b", false),
            ("short!1A", false),
        ] {
            assert_eq!(is_made_password(value), made, "{value}");
        }
        assert_eq!(without_name("key=a=b"), "a=b");
        assert_eq!(without_name("a b=c"), "a b=c");
    }

    #[test]
    fn a_placeholder_holds_a_name_and_nothing_else() {
        for (value, placeholder) in [
            ("${DB_PASSWORD}", true),
            ("$DB_PASSWORD", true),
            ("{{ secret }}", true),
            ("<your password>", true),
            ("********", true),
            ("xxxx-xxxx", true),
            ("required", true),
            ("<hunter2>", false),
            ("${hunter2}", false),
            ("$ecret9", false),
            ("hunter2", false),
        ] {
            assert_eq!(is_placeholder(value), placeholder, "{value}");
        }
    }

    #[test]
    fn the_key_decides_how_much_proof_a_value_needs() {
        use SecretHint::{Maybe, No, Yes};
        for (value, hint, secret) in [
            ("hunter2", Yes, true),
            ("plainword", Yes, true),
            ("1234", Yes, true),
            ("abc", Yes, false),
            ("2026-02-25", Yes, false),
            ("hunter2", Maybe, false),
            ("Bearer zK8vQ2mN4p", Maybe, true),
            ("zK8vQ2mN4p", No, false),
        ] {
            assert_eq!(is_secret_value(value, hint), secret, "{value} {hint:?}");
        }
    }

    #[test]
    fn dates_are_told_with_and_without_a_time() {
        for (value, date) in [
            ("2026-02-25", true),
            ("2026-02-25T10:32:00.123Z", true),
            ("2026-02-25 10:32:00 +01:00", true),
            ("2026-02-2", false),
            ("2026-02-25abc", false),
            ("20260225", false),
        ] {
            assert_eq!(is_date(value), date, "{value}");
        }
    }

    #[test]
    fn a_hint_counts_only_nearby() {
        assert!(said_before("Card: 4111", 6, 24, &["card"]));
        assert!(!said_before(
            "card and much else in between 4111",
            30,
            10,
            &["card"]
        ));
        assert!(said_before("é card é 4111", 10, 9, &["card"]));
        assert!(!said_before("4111 card", 0, 24, &["card"]));
    }
}
