//! What a redaction found: types, places and counts, never a value.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::marks;

/// Distinct (type, path) pairs that are kept apart. A stranger picks the paths; beyond this
/// the count goes to the whole record, which an empty path stands for.
const PLACES_MAX: usize = 256;

/// How often one type was found at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `email`, `card`, `secret` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// JSON Pointer with `*` for every array index; empty for a text or the whole record.
    pub path: String,
    /// How many values were replaced there.
    pub count: u64,
}

/// Everything found in one record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    places: BTreeMap<(String, String), u64>,
    fingerprints: BTreeSet<String>,
    surrogates: BTreeSet<String>,
}

impl Findings {
    /// Type, place and count, in a fixed order.
    #[must_use]
    pub fn redactions(&self) -> Vec<Finding> {
        self.places
            .iter()
            .map(|((kind, path), count)| Finding {
                kind: kind.clone(),
                path: path.clone(),
                count: *count,
            })
            .collect()
    }

    /// The fingerprints that stand in the record, as `email:k1:9f2c41d07a3b`.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        self.fingerprints.iter().cloned().collect()
    }

    /// The vault's surrogates that passed through.
    #[must_use]
    pub fn surrogates(&self) -> Vec<String> {
        self.surrogates.iter().cloned().collect()
    }

    /// Whether nothing was replaced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether a value of this type was replaced.
    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        self.places.keys().any(|(found, _)| found == kind)
    }

    /// Adds what was found in another part of the same record, its paths beneath `prefix`.
    pub fn merge(&mut self, prefix: &str, other: &Self) {
        for ((kind, path), count) in &other.places {
            self.add(kind, &format!("{prefix}{path}"), *count);
        }
        self.fingerprints.extend(other.fingerprints.iter().cloned());
        self.surrogates.extend(other.surrogates.iter().cloned());
    }

    pub(super) fn note(&mut self, kind: &str, path: &str) {
        self.add(kind, path, 1);
    }

    fn add(&mut self, kind: &str, path: &str, count: u64) {
        let key = (kind.to_owned(), path.to_owned());
        let known = self.places.contains_key(&key);
        let key = if known || self.places.len() < PLACES_MAX {
            key
        } else {
            (key.0, String::new())
        };
        *self.places.entry(key).or_default() += count;
    }

    pub(super) fn note_fingerprint(&mut self, mark: &str) {
        let body = mark.trim_start_matches('[').trim_end_matches(']');
        self.fingerprints.insert(body.to_owned());
    }

    /// Notes the surrogates and the earlier marks that stand in a finished text.
    pub(super) fn note_surrogates(&mut self, text: &str) {
        for kept in marks::kept(text) {
            let Some(found) = text.get(kept.start..kept.end) else {
                continue;
            };
            if kept.surrogate {
                self.surrogates.insert(found.to_owned());
            } else if found != super::REDACTION_FAILED {
                self.note_fingerprint(found);
            }
        }
    }
}
