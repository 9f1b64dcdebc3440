//! Finds what redaction left behind: marks such as `[email:k1:9f2c41d07a3b]` and vault
//! surrogates such as `tok_email_…`. The columns about redaction are derived from them,
//! so they also cover what the checker redacted before.

use serde_json::Value;

use super::row::Redaction;

/// Longest mark that is recognised: type, key id and digits are short tokens.
const MARK_BYTES_MAX: usize = 160;
/// Base32 characters of a surrogate.
const SURROGATE_CHARS: usize = 26;

/// A redacted value inside a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark<'a> {
    pub(super) kind: &'a str,
    /// `<type>:<key id>:<digits>`, as `audit fingerprint` prints it.
    pub(super) fingerprint: &'a str,
}

/// The marks in `text`, from left to right.
pub(super) fn marks(text: &str) -> impl Iterator<Item = Mark<'_>> {
    text.split('[').skip(1).filter_map(|rest| {
        let (inside, _) = rest.split_once(']')?;
        if inside.len() > MARK_BYTES_MAX {
            return None;
        }
        let (kind, rest) = inside.split_once(':')?;
        let (key, digits) = rest.split_once(':')?;
        let word = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        let hex = digits.len() >= 8
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        (word(kind) && word(key) && hex).then_some(Mark {
            kind,
            fingerprint: inside,
        })
    })
}

/// The surrogates in `text`, from left to right.
pub(super) fn surrogates(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| {
            word.strip_prefix("tok_")
                .and_then(|rest| rest.rsplit_once('_'))
                .is_some_and(|(kind, digits)| !kind.is_empty() && digits.len() == SURROGATE_CHARS)
        })
}

/// What was redacted in one row.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) redactions: Vec<Redaction>,
    pub(super) fingerprints: Vec<String>,
    pub(super) surrogates: Vec<String>,
    /// Whether a list reached its bound.
    pub(super) full: bool,
}

impl Tally {
    /// Entries of each list: one row must not become an index of a whole mailing list.
    pub(super) const ENTRIES_MAX: usize = 256;

    /// Counts what stands in a text at `path`.
    pub(super) fn text(&mut self, path: &str, text: &str) {
        for mark in marks(text) {
            self.count(mark.kind, path);
            self.full |= !add(&mut self.fingerprints, mark.fingerprint);
        }
        for surrogate in surrogates(text) {
            self.full |= !add(&mut self.surrogates, surrogate);
        }
    }

    /// Counts what stands in a JSON value at `path`, keys included.
    pub(super) fn json(&mut self, path: &str, value: &Value) {
        match value {
            Value::String(text) => self.text(path, text),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.json(&format!("{path}/{index}"), item);
                }
            }
            Value::Object(map) => {
                for (key, item) in map {
                    self.text(path, key);
                    let escaped = key.replace('~', "~0").replace('/', "~1");
                    self.json(&format!("{path}/{escaped}"), item);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn count(&mut self, kind: &str, path: &str) {
        let known = self
            .redactions
            .iter_mut()
            .find(|entry| entry.kind == kind && entry.path == path);
        if let Some(entry) = known {
            entry.count += 1;
        } else if self.redactions.len() < Self::ENTRIES_MAX {
            self.redactions.push(Redaction {
                kind: kind.to_owned(),
                path: path.to_owned(),
                count: 1,
            });
        } else {
            self.full = true;
        }
    }
}

/// Adds `text` once; false when the list is full.
fn add(list: &mut Vec<String>, text: &str) -> bool {
    if list.iter().any(|known| known == text) {
        return true;
    }
    if list.len() >= Tally::ENTRIES_MAX {
        return false;
    }
    list.push(text.to_owned());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_well_formed_marks_count() {
        let text = "to [email:k1:9f2c41d07a3b] and [card:k2:00ff00ff00ff], not [1], [a:b], \
                    [email:k1:xyz], [email:k1:9f2c41d07a3b and [secret:k1:0123456789ab]";
        let kinds: Vec<_> = marks(text).map(|mark| mark.kind).collect();
        assert_eq!(kinds, ["email", "card", "secret"]);
        let first = marks(text).next().unwrap();
        assert_eq!(first.fingerprint, "email:k1:9f2c41d07a3b");
    }

    #[test]
    fn surrogates_are_whole_words() {
        let token = format!("tok_email_{}", "a".repeat(26));
        let text = format!("({token}) tok_x tok_email_short x{token}");
        assert_eq!(surrogates(&text).collect::<Vec<_>>(), [token.as_str()]);
    }

    #[test]
    fn json_is_counted_by_pointer_and_keys_count_too() {
        let mut tally = Tally::default();
        let mark = "[email:k1:9f2c41d07a3b]";
        tally.json(
            "input_redacted",
            &json!({"to": [mark, mark], "a/b": {"x": format!("{mark} {mark}")}, mark: 1}),
        );
        let mut seen: Vec<_> = tally
            .redactions
            .iter()
            .map(|entry| (entry.path.as_str(), entry.count))
            .collect();
        seen.sort_unstable();
        assert_eq!(
            seen,
            [
                ("input_redacted", 1),
                ("input_redacted/a~1b/x", 2),
                ("input_redacted/to/0", 1),
                ("input_redacted/to/1", 1),
            ]
        );
        assert_eq!(tally.fingerprints, ["email:k1:9f2c41d07a3b"]);
    }

    #[test]
    fn the_lists_are_bounded() {
        let mut tally = Tally::default();
        for n in 0..1_000 {
            tally.text(&format!("p/{n}"), &format!("[email:k1:{n:012x}]"));
        }
        assert!(tally.full);
        assert_eq!(tally.redactions.len(), Tally::ENTRIES_MAX);
        assert_eq!(tally.fingerprints.len(), Tally::ENTRIES_MAX);
    }
}
