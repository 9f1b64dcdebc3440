//! What stands in the archive in place of a known value: its fingerprints under every epoch
//! of the key that still exists.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::classes::FieldClass;
use super::{FingerprintKey, TYPES, detect};

/// Longest value that is looked up, in bytes: a private key of 4096 bits in PEM with room;
/// whatever is longer is not a value that somebody knows.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;
/// Types that catalogs give to fields which no detector finds by itself.
const CLASSED: [&str; 2] = ["name", "birthday"];

/// One fingerprint of a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Print {
    /// The type under which the value may have been redacted.
    #[serde(rename = "type")]
    pub kind: String,
    /// The epoch of the key.
    pub epoch: String,
    /// `<type>:<epoch>:<digits>`, as in the archive's column `fingerprints`.
    pub fingerprint: String,
}

/// A value cannot be looked up. The value is never part of the sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Nothing but white space.
    #[error("there is no value to look up")]
    Empty,
    /// Longer than any value that is redacted as one.
    #[error("the value has more than {VALUE_BYTES_MAX} bytes: look up one value, not a document")]
    TooLong,
    /// No type of marks.
    #[error(
        "the type is not small letters and underscores: use one such as email, card or the \
         catalog's `personal:<type>` without `personal:`"
    )]
    Type,
}

/// The fingerprints of `value` under each key, for `kind` or for every type under which it
/// may stand, first those that the detectors see in it.
///
/// # Errors
/// When the value is empty or too long, or `kind` is no type.
pub fn prints(
    keys: &[FingerprintKey],
    value: &str,
    kind: Option<&str>,
) -> Result<Vec<Print>, LookupError> {
    if value.trim().is_empty() {
        return Err(LookupError::Empty);
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(LookupError::TooLong);
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (kind, canonical) in forms(value, kind)? {
        for key in keys {
            let mark = key.mark(&kind, &canonical);
            let Some(inside) = mark.strip_prefix('[').and_then(|m| m.strip_suffix(']')) else {
                continue;
            };
            if seen.insert(inside.to_owned()) {
                found.push(Print {
                    kind: kind.clone(),
                    epoch: key.id().to_owned(),
                    fingerprint: inside.to_owned(),
                });
            }
        }
    }
    Ok(found)
}

/// Type and canonical form of everything that the value may have been redacted as.
fn forms(value: &str, kind: Option<&str>) -> Result<Vec<(String, String)>, LookupError> {
    // What the engine itself makes of the value, should it stand in a text, such as a card
    // in base64. Only where it is one value: a text with many would be many guesses at once.
    let hits = detect::scan(value.trim(), detect::Reading::PLAIN).unwrap_or_default();
    let mut forms = match <[_; 1]>::try_from(hits) {
        Ok([hit]) => vec![(hit.word().to_owned(), hit.value)],
        Err(_) => Vec::new(),
    };
    let whole = |kind: &str| (kind.to_owned(), detect::canonical(kind, value));
    match kind {
        Some(kind) => {
            FieldClass::parse(&format!("personal:{kind}")).map_err(|_| LookupError::Type)?;
            forms.retain(|(found, _)| found == kind);
            forms.push(whole(kind));
        }
        None => forms.extend(TYPES.into_iter().chain(CLASSED).map(whole)),
    }
    Ok(forms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::{FieldClasses, Redactor};
    use countersign_schemas::JsonObject;
    use serde_json::json;

    fn key(id: &str, byte: u8) -> FingerprintKey {
        FingerprintKey::new(id, [byte; 32]).unwrap()
    }

    fn inside(prints: &[Print]) -> Vec<&str> {
        let all = prints.iter().map(|print| print.fingerprint.as_str());
        all.collect()
    }

    #[test]
    fn whatever_the_engine_writes_for_a_value_is_found_by_the_value_in_any_spelling() {
        let redactor = Redactor::new(key("k2", 2));
        let keys = [key("k1", 1), key("k2", 2)];
        for (field, written, known) in [
            ("memo", "4111 1111 1111 1111", "4111-1111-1111-1111"),
            ("memo", "4111111111111111", " 4111 1111 1111 1111 "),
            ("memo", "Pat.Smith@Example.com", "pat.smith@example.com"),
            ("memo", "pat.smith@example.com", "PAT.SMITH@EXAMPLE.COM"),
            (
                "memo",
                "de89 3704 0044 0532 0130 00",
                "DE89370400440532013000",
            ),
            ("phone", "+1 (212) 555-0123", "+1 212 555 0123"),
            ("ssn", "536-22-1145", "536 22 1145"),
            ("memo", "203.0.113.77", "203.0.113.77"),
            ("memo", "pat.smith%40example.com", "pat.smith@example.com"),
            ("who", "Wilma Petersen", "wilma petersen"),
            (
                "where",
                "12 Elm Street, Springfield",
                "12 elm street, springfield",
            ),
            ("password", "kiQ9-zzv4-Tr0mbone", "kiQ9-zzv4-Tr0mbone"),
        ] {
            let classes = FieldClasses::parse([
                ("/who", "personal:person"),
                ("/where", "personal:address"),
                ("/password", "secret"),
            ])
            .unwrap();
            let object = JsonObject::from_value(json!({ field: written })).unwrap();
            let written = redactor.json(&object, &classes).findings.fingerprints();
            assert_eq!(written.len(), 1, "{field}");
            let found = prints(&keys, known, None).unwrap();
            assert!(inside(&found).contains(&written[0].as_str()), "{written:?}");
            let kind = written[0].split(':').next().unwrap();
            let of_type = prints(&keys, known, Some(kind)).unwrap();
            assert!(
                inside(&of_type).contains(&written[0].as_str()),
                "{written:?}"
            );
            assert!(of_type.iter().all(|print| print.kind == kind));
        }
    }

    #[test]
    fn a_text_with_many_values_is_not_many_guesses() {
        let keys = [key("k1", 1)];
        let list = "a@example.com b@example.com c@example.com";
        let found = prints(&keys, list, None).unwrap();
        let one = prints(&keys, "b@example.com", Some("email")).unwrap();
        assert!(!inside(&found).contains(&one[0].fingerprint.as_str()));
        assert_eq!(found.len(), TYPES.len() + CLASSED.len());
    }

    #[test]
    fn each_living_epoch_answers_and_one_that_is_gone_does_not() {
        let value = "pat.smith@example.com";
        let both = prints(&[key("k1", 1), key("k2", 2)], value, Some("email")).unwrap();
        let epochs: Vec<&str> = both.iter().map(|print| print.epoch.as_str()).collect();
        assert_eq!(epochs, ["k1", "k2"]);
        assert_ne!(both[0].fingerprint, both[1].fingerprint);
        let gone = prints(&[key("k2", 2)], value, None).unwrap();
        assert!(gone.iter().all(|print| print.epoch == "k2"));
        assert!(!inside(&gone).contains(&both[0].fingerprint.as_str()));
    }

    #[test]
    fn a_rotation_starts_a_new_epoch_in_every_clone_and_equal_values_agree_within_one() {
        let redactor = Redactor::new(key("k1", 1));
        let clone = redactor.clone();
        let mark = |by: &Redactor| by.text("to pat.smith@example.com").text;
        let first = mark(&redactor);
        redactor.rotate(key("k2", 2));
        let second = mark(&clone);
        assert!(
            first.contains(":k1:") && second.contains(":k2:"),
            "{second}"
        );
        assert_eq!(second, mark(&redactor));
        // What was marked before stands as it is.
        assert_eq!(redactor.text(&first).text, first);
    }

    #[test]
    fn what_is_no_value_is_refused_without_quoting_it() {
        let keys = [key("k1", 1)];
        assert_eq!(prints(&keys, " \n", None), Err(LookupError::Empty));
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        assert_eq!(prints(&keys, &long, None), Err(LookupError::TooLong));
        for kind in ["", "E-mail", "personal:email", "a b"] {
            assert_eq!(prints(&keys, "v", Some(kind)), Err(LookupError::Type));
        }
        assert!(prints(&keys, &"x".repeat(VALUE_BYTES_MAX), None).is_ok());
    }

    #[test]
    fn epochs_count_on_and_never_come_twice() {
        for (id, next) in [("k1", "k2"), ("k9", "k10"), ("k", "k2"), ("acme7", "acme8")] {
            assert_eq!(key(id, 1).next_id().unwrap(), next);
        }
        assert!(key("k99999999", 1).next_id().is_err());
    }
}
