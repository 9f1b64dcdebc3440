//! Finds secrets: one pass over the text says which rules can match at all, and only those
//! run. A rule's expression is compiled when it is first needed.

use std::sync::{LazyLock, OnceLock};

use aho_corasick::AhoCorasick;
use regex::Regex;

use super::rules::{RULES, Rule};
use super::{Hit, Kind, assign, strength};
use crate::redact::Failed;

/// A secret nkey seed: prefix, role and 56 more characters of base32.
const NKEY_SEED_LENGTH: usize = 58;

struct Engine {
    keywords: AhoCorasick,
    /// Per keyword, the rule it belongs to; none for the keywords of assignments.
    owners: Vec<Option<usize>>,
    compiled: Vec<OnceLock<Option<Regex>>>,
}

static ENGINE: LazyLock<Option<Engine>> = LazyLock::new(Engine::build);

impl Engine {
    fn build() -> Option<Self> {
        let rules = RULES
            .iter()
            .enumerate()
            .flat_map(|(index, rule)| rule.keywords.iter().map(move |word| (*word, Some(index))));
        let assigns = assign::KEYWORDS.iter().map(|word| (*word, None));
        let (words, owners): (Vec<&str>, Vec<Option<usize>>) = rules.chain(assigns).unzip();
        Some(Self {
            keywords: AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .build(&words)
                .ok()?,
            owners,
            compiled: RULES.iter().map(|_| OnceLock::new()).collect(),
        })
    }

    /// Which rules can match, and whether an assignment can.
    fn candidates(&self, text: &str) -> (Vec<bool>, bool) {
        let mut rules = vec![false; RULES.len()];
        let mut assigns = false;
        for found in self.keywords.find_overlapping_iter(text) {
            match self
                .owners
                .get(found.pattern().as_usize())
                .copied()
                .flatten()
            {
                None => assigns = true,
                Some(index) => {
                    if let Some(slot) = rules.get_mut(index) {
                        *slot = true;
                    }
                }
            }
        }
        (rules, assigns)
    }

    fn regex(&self, index: usize, rule: &Rule) -> Result<&Regex, Failed> {
        self.compiled
            .get(index)
            .and_then(|slot| slot.get_or_init(|| Regex::new(rule.pattern).ok()).as_ref())
            .ok_or(Failed)
    }
}

pub(super) fn find(text: &str, hits: &mut Vec<Hit>) -> Result<(), Failed> {
    let engine = ENGINE.as_ref().ok_or(Failed)?;
    let (rules, assigns) = engine.candidates(text);
    for (index, rule) in RULES.iter().enumerate() {
        if rules.get(index).copied().unwrap_or(true) {
            by_rule(text, rule, engine.regex(index, rule)?, hits);
        }
    }
    if assigns {
        assign::find(text, hits)?;
    }
    find_nkey_seeds(text, hits);
    Ok(())
}

fn by_rule(text: &str, rule: &Rule, regex: &Regex, hits: &mut Vec<Hit>) {
    for found in regex.captures_iter(text) {
        let Some(secret) = found.get(1).or_else(|| found.get(0)) else {
            continue;
        };
        let enough = rule.bits_min == 0.0
            || strength::is_mixed(secret.as_str())
                && strength::entropy(secret.as_str()) >= rule.bits_min;
        if enough && !strength::is_placeholder(secret.as_str()) {
            hits.push(secret_at(secret.start(), secret.as_str()));
        }
    }
}

pub(super) fn secret_at(start: usize, value: &str) -> Hit {
    Hit {
        start,
        end: start + value.len(),
        kind: Kind::Secret,
        value: value.trim().to_owned(),
    }
}

/// Seeds of nkeys, which NATS uses for identities, have no prefix long enough for the
/// keyword pass.
fn find_nkey_seeds(text: &str, hits: &mut Vec<Hit>) {
    if text.len() < NKEY_SEED_LENGTH {
        return;
    }
    let mut start = 0;
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let seed = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if is_nkey_seed(seed) {
            hits.push(secret_at(start, seed));
        }
        start += word.len();
    }
}

fn is_nkey_seed(word: &str) -> bool {
    let mut bytes = word.bytes();
    word.len() == NKEY_SEED_LENGTH
        && bytes.next() == Some(b'S')
        && bytes.next().is_some_and(|b| b"UAOCNX".contains(&b))
        && bytes.all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_compiles_and_has_keywords_in_small_letters() {
        for rule in RULES {
            assert!(Regex::new(rule.pattern).is_ok(), "{}", rule.name);
            assert!(!rule.keywords.is_empty(), "{}", rule.name);
            for word in rule.keywords {
                assert_eq!(*word, word.to_ascii_lowercase(), "{}", rule.name);
            }
        }
    }

    #[test]
    fn rule_names_are_unique() {
        let names: std::collections::BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
    }
}
