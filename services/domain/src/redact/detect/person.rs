//! Names of people: by their key and their form, or behind a form of address. A name alone
//! in running text looks like any other two words with capitals, and is left to the catalog.

use super::{Hit, Kind, canonical};
use crate::redact::hints::{Hints, PersonHint};
use crate::redact::work::spend;

/// Words of the longest name that is looked for, titles and particles included.
const WORDS_MAX: usize = 8;
/// Bytes of the longest.
const NAME_BYTES_MAX: usize = 96;
/// Small words that stand inside names, without the marks around them: `t` is `'t`.
const PARTICLES: &[&str] = &[
    "de", "del", "della", "dello", "dei", "degli", "di", "da", "das", "do", "dos", "du", "des",
    "van", "von", "vom", "zu", "zum", "zur", "der", "den", "het", "t", "ter", "ten", "te", "la",
    "le", "las", "los", "el", "al", "bin", "ibn", "bint", "ben", "af", "av", "y", "e", "i", "und",
    "d'", "op", "in",
];
/// Forms of address, small, without their full stop.
const TITLES: &[&str] = &[
    "mr",
    "mrs",
    "ms",
    "miss",
    "mx",
    "dr",
    "prof",
    "professor",
    "sir",
    "madam",
    "herr",
    "herrn",
    "frau",
    "monsieur",
    "madame",
    "mme",
    "mlle",
    "mademoiselle",
    "señor",
    "señora",
    "sr",
    "sra",
    "srta",
    "don",
    "doña",
    "sig",
    "signor",
    "signora",
    "sig.ra",
    "dott",
    "dott.ssa",
    "pan",
    "pani",
    "hr",
    "fru",
    "dhr",
    "mevr",
    "mevrouw",
    "meneer",
    "mw",
    "senhor",
    "senhora",
];
/// Words that make a name that of a thing or a company.
const THINGS: &[&str] = &[
    "inc",
    "ltd",
    "llc",
    "gmbh",
    "ag",
    "plc",
    "corp",
    "company",
    "group",
    "team",
    "project",
    "report",
    "service",
    "services",
    "department",
    "bank",
    "university",
    "institute",
    "office",
    "plan",
    "account",
    "order",
    "invoice",
    "product",
    "server",
    "system",
    "database",
    "table",
    "test",
    "default",
    "unknown",
    "channel",
    "queue",
    "support",
    "sales",
    "marketing",
    "finance",
    "engineering",
    "operations",
    "platform",
    "security",
    "dashboard",
    "document",
    "file",
    "folder",
    "page",
    "api",
    "app",
    "bot",
    "agent",
    "holding",
    "foundation",
    "city",
    "street",
    "road",
    "avenue",
    "north",
    "south",
    "east",
    "west",
    "new",
    "the",
    "and",
    "for",
    "of",
    "co",
    "sa",
    "spa",
    "srl",
    "bv",
    "nv",
    "ab",
    "oy",
    "as",
    "kg",
    "release",
    "version",
    "policy",
    "request",
    "response",
    "error",
    "warning",
    "status",
    "data",
    "key",
    "value",
    "widget",
    "widgets",
    "gadget",
    "kit",
    "pack",
    "bundle",
    "set",
    "edition",
    "cable",
    "adapter",
    "charger",
    "bottle",
    "shirt",
    "jacket",
    "shoes",
    "laptop",
    "keyboard",
    "monitor",
    "chair",
    "desk",
    "lamp",
    "coffee",
    "subscription",
    "license",
    "premium",
    "standard",
    "deluxe",
    "wireless",
    "portable",
    "blue",
    "red",
    "yellow",
    "orange",
    "purple",
];

/// A word of a text.
#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    start: usize,
    text: &'a str,
}

impl<'a> Word<'a> {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// The word without the marks around it.
    fn bare(&self) -> Word<'a> {
        let edge = |c: char| !c.is_alphanumeric();
        let text = self.text.trim_end_matches(|c: char| edge(c) && c != '.');
        let lead = text.len() - text.trim_start_matches(edge).len();
        Word {
            start: self.start + lead,
            text: text.get(lead..).unwrap_or_default(),
        }
    }

    /// Whether something at the word's end parts it from the next.
    fn closes(&self) -> bool {
        self.text
            .ends_with([',', ';', ':', '!', '?', ')', '"', '>'])
    }

    /// Letters of which a part begins with a capital, or of a script that has none.
    fn is_capital(&self) -> bool {
        let capital = |c: char| c.is_uppercase() || c.is_alphabetic() && !c.is_lowercase();
        let begins = |part: &str| part.chars().next().is_some_and(capital);
        let marks = |c: char| matches!(c, '\'' | '’' | '-' | '.' | '`');
        let first = self.text.split('-').any(begins);
        first && self.text.chars().all(|c| c.is_alphabetic() || marks(c))
    }

    fn is_particle(&self) -> bool {
        PARTICLES.contains(&self.text) || self.text.starts_with("d'") || self.text.starts_with("d’")
    }

    fn is_title(&self) -> bool {
        let small = self.text.trim_end_matches('.').to_lowercase();
        TITLES.contains(&small.as_str())
    }

    fn is_thing(&self) -> bool {
        let small = self.text.trim_end_matches('.').to_lowercase();
        THINGS.contains(&small.as_str())
    }
}

fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let base = text.as_ptr().addr();
    text.split_whitespace().map(move |word| Word {
        start: word.as_ptr().addr() - base,
        text: word,
    })
}

/// Finds names that the key announces.
pub(super) fn find(text: &str, hints: Hints, hits: &mut Vec<Hit>) {
    if hints.person == PersonHint::No || text.len() > 64 * NAME_BYTES_MAX {
        return;
    }
    if hints.person == PersonHint::Yes && is_part(text.trim()) {
        hits.push(hit(text, 0, text.len()));
        return;
    }
    spend(text.len());
    let words: Vec<Word<'_>> = words(text).collect();
    let mut at = 0;
    while at < words.len() {
        spend(1);
        at += run(text, words.get(at..).unwrap_or_default(), hits);
    }
}

/// One or two words, of which each may be a given name or a surname.
fn is_part(text: &str) -> bool {
    let few = text.split_whitespace().count() <= 3;
    let letters = |c: char| c.is_alphabetic() || matches!(c, ' ' | '-' | '\'' | '’' | '.');
    few && text.chars().count() >= 2 && text.chars().all(letters)
}

/// The run of words of a name at the head of `words`; how many words are done.
fn run(text: &str, words: &[Word<'_>], hits: &mut Vec<Hit>) -> usize {
    let (mut capitals, mut last, mut thing) = (0, 0, false);
    for (index, word) in words.iter().take(WORDS_MAX).enumerate() {
        spend(1);
        let bare = word.bare();
        if bare.is_capital() {
            // A name that something ended does not go on.
            capitals += 1;
            last = index + 1;
            thing |= bare.is_thing();
        } else if !(capitals > 0 && bare.is_particle() || index == 0 && bare.is_title()) {
            break;
        }
        if word.closes() {
            break;
        }
    }
    let run = words.get(..last).unwrap_or_default();
    if let (Some(first), Some(end)) = (run.first(), run.last())
        && capitals >= 2
        && !thing
    {
        hits.push(hit(text, first.bare().start, end.bare().end()));
    }
    last.max(1)
}

/// Finds names behind a form of address.
pub(super) fn find_titled(text: &str, hits: &mut Vec<Hit>) {
    spend(text.len());
    let mut words = words(text).peekable();
    while let Some(word) = words.next() {
        let title = word.bare();
        if word.closes() || !title.is_capital() || !title.is_title() {
            continue;
        }
        let mut end = title.end();
        let mut names = 0;
        while let Some(next) = words.peek().copied() {
            let bare = next.bare();
            let capital = bare.is_capital() && !bare.is_thing() && bare.text.len() > 1;
            let goes_on = capital || names > 0 && bare.is_particle();
            if !goes_on || names >= WORDS_MAX {
                break;
            }
            names += usize::from(capital);
            if capital {
                end = bare.end();
            }
            words.next();
            if next.closes() || next.text.ends_with('.') && !bare.is_title() && bare.text.len() > 5
            {
                break;
            }
        }
        if names > 0 {
            hits.push(hit(text, title.start, end));
        }
    }
}

fn hit(text: &str, start: usize, end: usize) -> Hit {
    let name = text.get(start..end).unwrap_or_default();
    let value = canonical(Kind::Person.word(), name);
    Hit::new(start, end, Kind::Person, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, person: PersonHint) -> Vec<&str> {
        let hints = Hints {
            person,
            ..Hints::NONE
        };
        let mut hits = Vec::new();
        find(text, hints, &mut hits);
        hits.iter()
            .filter_map(|hit| text.get(hit.start..hit.end))
            .collect()
    }

    #[test]
    fn a_key_announces_a_full_name() {
        for (text, expected) in [
            ("Ann Lee", vec!["Ann Lee"]),
            ("Fedde van der Berg-Smit", vec!["Fedde van der Berg-Smit"]),
            ("Dr. Simon Okafor B.A.", vec!["Dr. Simon Okafor B.A."]),
            ("ask Ann Lee (desk 4)", vec!["Ann Lee"]),
            ("pani Maria Kos", vec!["pani Maria Kos"]),
            ("Ann Lee, van-Koret", vec!["Ann Lee"]),
            ("Łucja Wróbel, Jan Kos", vec!["Łucja Wróbel", "Jan Kos"]),
            (
                "María de los Ángeles Ruiz",
                vec!["María de los Ángeles Ruiz"],
            ),
            ("李 小龍", vec!["李 小龍"]),
            ("web-server", vec![]),
            ("Quarterly Report", vec![]),
            ("Northwind Ltd.", vec![]),
            ("Ann", vec![]),
            ("blue widget", vec![]),
            ("A1 B2", vec![]),
        ] {
            assert_eq!(found(text, PersonHint::Maybe), expected, "{text}");
            assert!(found(text, PersonHint::No).is_empty(), "{text}");
        }
        assert_eq!(found("Ann", PersonHint::Yes), ["Ann"]);
        assert_eq!(found("o'brien", PersonHint::Yes), ["o'brien"]);
        assert!(found("x1", PersonHint::Yes).is_empty());
    }

    #[test]
    fn a_form_of_address_announces_a_name() {
        let titled = |text: &str| {
            let mut hits = Vec::new();
            find_titled(text, &mut hits);
            hits.iter()
                .filter_map(|hit| Some(text.get(hit.start..hit.end)?.to_owned()))
                .collect::<Vec<_>>()
        };
        for (text, expected) in [
            ("please ask Mr. John Brown today", vec!["Mr. John Brown"]),
            (
                "Frau Dr. Anna von Thal, bitte",
                vec!["Frau Dr. Anna von Thal"],
            ),
            ("Dear Mrs Okafor,", vec!["Mrs Okafor"]),
            ("the dr. said so", vec![]),
            ("Dr. no", vec![]),
            ("Miss, please", vec![]),
        ] {
            assert_eq!(titled(text), expected, "{text}");
        }
    }
}
