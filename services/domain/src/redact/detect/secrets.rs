//! Finds secrets: one pass over the text says which rules can match at all, and only those
//! run. A rule's expression is compiled when it is first needed.

use std::sync::{LazyLock, OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::Regex;

use super::rules::{RULES, Rule};
use super::services::SERVICES;
use super::shape::Shape;
use super::{Hit, Kind, address, assign, person, strength};
use crate::redact::Failed;
use crate::redact::words;
use crate::redact::work::spend;

/// A secret nkey seed: prefix, role and 56 more characters of base32.
const NKEY_SEED_LENGTH: usize = 58;
/// Forms of address after which a name stands; with a capital, so compared as they are later.
const TITLES: &[&str] = &[
    "mr", "mrs", "ms ", "miss ", "dr. ", "prof", "herr", "frau ", "mme ", "monsieur", "madame",
    "señor", "sra", "sig.", "signor", "dott", "pan ", "pani ", "mevr", "dhr", "don ", "doña",
];

/// What a keyword announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Rule(usize),
    Assignment,
    Street,
    Title,
}

struct Engine {
    keywords: AhoCorasick,
    owners: Vec<Owner>,
    compiled: Vec<OnceLock<Option<Regex>>>,
}

static ENGINE: LazyLock<Option<Engine>> = LazyLock::new(Engine::build);

/// What the keywords of one text announce.
#[derive(Debug, Default)]
struct Announced {
    /// A bit for each rule.
    rules: [u64; RULE_WORDS],
    street: bool,
    title: bool,
}

const RULE_WORDS: usize = (RULES.len() + SERVICES.len()).div_ceil(64);

fn all_rules() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().chain(SERVICES)
}

fn rule_at(index: usize) -> Option<&'static Rule> {
    let further = || SERVICES.get(index - RULES.len());
    RULES.get(index).or_else(further)
}

impl Engine {
    fn build() -> Option<Self> {
        let rules = all_rules().enumerate().flat_map(|(index, rule)| {
            let words = rule.keywords.iter();
            words.map(move |word| (*word, Owner::Rule(index)))
        });
        let services = words::SERVICES.split_ascii_whitespace();
        let own = |words: &'static [&'static str], owner| words.iter().map(move |w| (*w, owner));
        let (words, owners): (Vec<&str>, Vec<Owner>) = rules
            .chain(own(assign::KEYWORDS, Owner::Assignment))
            .chain(services.map(|word| (word, Owner::Assignment)))
            .chain(own(address::KEYWORDS, Owner::Street))
            .chain(own(TITLES, Owner::Title))
            .unzip();
        Some(Self {
            keywords: AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .match_kind(MatchKind::Standard)
                .kind(Some(AhoCorasickKind::DFA))
                .build(&words)
                .ok()?,
            owners,
            compiled: all_rules().map(|_| OnceLock::new()).collect(),
        })
    }

    /// Reads the text once: which rules can match, and the assignments on the way.
    fn announced(&self, text: &str, hits: &mut Vec<Hit>) -> Announced {
        let mut announced = Announced::default();
        let mut assigned_to = 0;
        for found in self.keywords.find_overlapping_iter(text) {
            spend(1);
            match self.owners.get(found.pattern().as_usize()) {
                Some(Owner::Rule(index)) => {
                    if let Some(word) = announced.rules.get_mut(index / 64) {
                        *word |= 1 << (index % 64);
                    }
                }
                Some(Owner::Assignment) if found.start() >= assigned_to => {
                    assigned_to = assign::read(text, found.start(), found.end(), hits);
                }
                Some(Owner::Street) => announced.street = true,
                Some(Owner::Title) => announced.title = true,
                Some(Owner::Assignment) | None => {}
            }
        }
        announced
    }

    fn regex(&self, index: usize, rule: &Rule) -> Result<&Regex, Failed> {
        self.compiled
            .get(index)
            .and_then(|slot| slot.get_or_init(|| Regex::new(rule.pattern).ok()).as_ref())
            .ok_or(Failed)
    }
}

/// Everything that one pass over the text with keywords announces: secrets, streets, and
/// people with their form of address.
pub(super) fn find(text: &str, shape: &Shape, hits: &mut Vec<Hit>) -> Result<(), Failed> {
    let engine = ENGINE.as_ref().ok_or(Failed)?;
    spend(text.len());
    let announced = engine.announced(text, hits);
    for (at, word) in announced.rules.iter().enumerate() {
        let mut left = *word;
        while left != 0 {
            let index = at * 64 + usize::try_from(left.trailing_zeros()).map_err(|_| Failed)?;
            let rule = rule_at(index).ok_or(Failed)?;
            by_rule(text, rule, engine.regex(index, rule)?, hits);
            left &= left - 1;
        }
    }
    if shape.digits > 0 && (announced.street || address::is_numbered(text)) {
        address::find(text, hits)?;
    }
    if announced.title {
        person::find_titled(text, hits);
    }
    // A made password has a digit and a mark, a seed is one long run.
    if shape.digits > 0 && shape.mark || shape.run >= NKEY_SEED_LENGTH {
        find_words(text, hits);
    }
    Ok(())
}

fn by_rule(text: &str, rule: &Rule, regex: &Regex, hits: &mut Vec<Hit>) {
    spend(text.len());
    for found in regex.captures_iter(text) {
        let Some(secret) = found.get(1).or_else(|| found.get(0)) else {
            continue;
        };
        spend(secret.len());
        let is_secret = match rule.checksum {
            Some(holds) => holds(secret.as_str().as_bytes()),
            None => {
                let enough = rule.bits_min == 0.0
                    || strength::is_mixed(secret.as_str())
                        && strength::entropy(secret.as_str()) >= rule.bits_min;
                enough && !strength::is_placeholder(secret.as_str())
            }
        };
        if is_secret {
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
        name: None,
    }
}

/// Secrets that are one word: seeds of nkeys, which NATS uses for identities and whose prefix
/// is too short for the keyword pass, and passwords made by a generator.
fn find_words(text: &str, hits: &mut Vec<Hit>) {
    if text.len() < strength::PASSWORD_BYTES_MIN {
        return;
    }
    spend(text.len());
    let apart =
        |b: u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\');
    let mut start = 0;
    let ends = text
        .bytes()
        .enumerate()
        .filter(|(_, b)| apart(*b))
        .map(|(at, _)| at);
    for end in ends.chain([text.len()]) {
        let word = text.get(start..end).unwrap_or_default();
        if word.len() >= strength::PASSWORD_BYTES_MIN {
            one_word(word, start, hits);
        }
        start = end + 1;
    }
}

fn one_word(word: &str, start: usize, hits: &mut Vec<Hit>) {
    let value = strength::without_name(word);
    let from = start + word.len() - value.len();
    let value = value.split('&').next().unwrap_or_default();
    let value = value.trim_end_matches([',', ';', ':', '.', ')']);
    if strength::is_made_password(value) {
        hits.push(secret_at(from, value));
    }
    if word.len() < NKEY_SEED_LENGTH {
        return;
    }
    let mut at = start;
    for part in word.split(|c: char| !c.is_ascii_alphanumeric()) {
        if is_nkey_seed(part) {
            hits.push(secret_at(at, part));
        }
        at += part.len() + 1;
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
        for rule in all_rules() {
            assert!(Regex::new(rule.pattern).is_ok(), "{}", rule.name);
            assert!(!rule.keywords.is_empty(), "{}", rule.name);
            for word in rule.keywords {
                assert_eq!(*word, word.to_ascii_lowercase(), "{}", rule.name);
            }
        }
    }

    #[test]
    fn rule_names_are_unique() {
        let names: std::collections::BTreeSet<_> = all_rules().map(|rule| rule.name).collect();
        assert_eq!(names.len(), all_rules().count());
    }
}
