//! Looking for values, whatever somebody made of them on the way.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::planted::Planted;

/// Fewest characters that are looked for: less stands in honest bytes by chance.
const NEEDLE_CHARS_MIN: usize = 9;
/// Of a long secret its beginning and its end are a leak too: what was cut.
const PART_CHARS: usize = 24;
/// Characters of what stands around a find.
const AROUND: usize = 60;

/// Finds planted values.
pub(crate) struct Search {
    needles: AhoCorasick,
    names: Vec<String>,
}

/// One find.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// What.
    pub(crate) what: String,
    /// What stands around it.
    pub(crate) around: String,
}

impl Search {
    /// For these values.
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a Planted>) -> Self {
        let (mut needles, mut names) = (Vec::new(), Vec::new());
        for planted in values {
            for (form, needle) in forms(&planted.value) {
                needles.push(needle);
                names.push(format!("{} ({form})", planted.name));
            }
        }
        let needles = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(needles)
            .unwrap();
        Self { needles, names }
    }

    /// The names of the values that stand there.
    pub(crate) fn names(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let finds = self.needles.find_overlapping_iter(bytes);
        let whats = finds.map(|found| self.names[found.pattern().as_usize()].as_str());
        whats.map(|what| what.split(" (").next().unwrap()).collect()
    }

    /// What stands there, each once.
    pub(crate) fn find(&self, bytes: &[u8]) -> BTreeSet<Found> {
        let finds = self.needles.find_iter(bytes).map(|found| {
            let from = found.start().saturating_sub(AROUND);
            let to = bytes.len().min(found.end() + AROUND);
            Found {
                what: self.names[found.pattern().as_usize()].clone(),
                around: String::from_utf8_lossy(&bytes[from..to]).into_owned(),
            }
        });
        finds.collect()
    }
}

/// What a value may have become: as it is, without what parts it, and in the encodings that
/// logs, URLs and formats use.
fn forms(value: &str) -> Vec<(&'static str, String)> {
    let joined: String = value.chars().filter(|c| c.is_alphanumeric()).collect();
    let mut all = vec![("as it is", value.to_owned())];
    // Shorter numbers stand in other digits by chance.
    if joined.len() >= 12 {
        all.push(("without separators", joined));
    }
    let chars: Vec<char> = value.chars().collect();
    if chars.len() > 2 * PART_CHARS {
        let end = chars.len() - PART_CHARS;
        all.push(("its beginning", chars[..PART_CHARS].iter().collect()));
        all.push(("its end", chars[end..].iter().collect()));
    }
    for (_, plain) in all.clone() {
        all.push(("in hex", hex(plain.as_bytes())));
        all.push(("backwards", plain.chars().rev().collect()));
        all.push(("escaped", escaped(&plain)));
        all.push(("escaped twice", escaped(&escaped(&plain))));
        all.push(("as \\u", plain.encode_utf16().fold(String::new(), unit)));
        let kept = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        all.push(("percent", percent(&plain, &kept)));
        all.push(("all percent", percent(&plain, &|_| false)));
        for shift in 0..3 {
            all.push(("base64", base64(plain.as_bytes(), shift, &STANDARD_NO_PAD)));
            all.push((
                "base64url",
                base64(plain.as_bytes(), shift, &URL_SAFE_NO_PAD),
            ));
        }
    }
    let mut seen = BTreeSet::new();
    all.retain(|(_, needle)| {
        needle.chars().count() >= NEEDLE_CHARS_MIN && seen.insert(needle.clone())
    });
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unit(mut out: String, unit: u16) -> String {
    write!(out, "\\u{unit:04x}").unwrap();
    out
}

/// As it stands in a text of JSON.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// As it stands in a URL; `kept` stand for themselves.
pub(crate) fn percent(text: &str, kept: &dyn Fn(char) -> bool) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match char::from(byte) {
            c if c.is_ascii() && kept(c) => out.push(c),
            _ => write!(out, "%{byte:02X}").unwrap(),
        }
        out
    })
}

/// What is sure to stand in the base64 of any text that holds these bytes `shift` bytes
/// after a multiple of three.
fn base64(bytes: &[u8], shift: usize, engine: &impl base64::Engine) -> String {
    let whole = [&b"xx"[..shift], bytes].concat();
    let text = engine.encode(&whole);
    let sure = whole.len() * 8 / 6;
    let from = if shift == 0 {
        0
    } else {
        (shift * 8).div_ceil(6)
    };
    text[from..sure].to_owned()
}

#[test]
fn a_value_is_found_in_every_encoding_and_nothing_in_honest_text() {
    let planted = Planted {
        name: "a card".to_owned(),
        text: String::new(),
        value: "4111 1111 1111 1111".to_owned(),
        secret: false,
    };
    let search = Search::new([&planted]);
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}{}, and more", planted.value);
        let said = serde_json::json!({"memo": text.as_str()}).to_string();
        let reversed: String = text.chars().rev().collect();
        for made in [
            text.clone(),
            text.replace(' ', ""),
            URL_SAFE_NO_PAD.encode(&text),
            URL_SAFE_NO_PAD.encode(&said),
            hex(text.as_bytes()),
            hex(text.as_bytes()).to_uppercase(),
            percent(&text, &|c| c.is_alphanumeric()),
            reversed,
        ] {
            assert_eq!(search.find(made.as_bytes()).len(), 1, "{made}");
        }
    }
    assert!(search.find(b"4111 1111 1111, 4111 of 1111").is_empty());
}
