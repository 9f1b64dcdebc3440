//! The deployment's own detectors: forms that only it knows, such as the numbers of its staff,
//! from the catalog. Bounded in number and in size, and linear in the text, like all others.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::Failed;
use super::detect::{Hit, Kind, checksum};
use super::work::spend;

/// Detectors of one catalog: each costs a pass over every text that holds its keyword.
pub(crate) const DETECTORS_MAX: usize = 64;
/// Bytes of a pattern: the longest published form of a secret needs half of it.
const PATTERN_BYTES_MAX: usize = 512;
/// Bytes of a compiled pattern, so that `x{1000}{1000}` cannot take the memory of a service.
const COMPILED_BYTES_MAX: usize = 256 * 1024;
const WORDS_MAX: usize = 16;
const WORD_BYTES_MAX: usize = 64;
/// Examples of each sort, and bytes of one: they run whenever a bundle is read.
const EXAMPLES_MAX: usize = 32;
const EXAMPLE_BYTES_MAX: usize = 1024;
/// How far before a find a word of its context may stand, in bytes.
const NEAR_BYTES: usize = 48;

/// Check digits that a detector may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// Luhn's, over the digits of the find.
    Luhn,
    /// ISO 7064 mod 97: the letters and digits of the find leave 1, A being 10.
    Mod97,
    /// Verhoeff's, over the digits of the find.
    Verhoeff,
}

/// What a catalog says of one detector.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorSettings {
    /// The type that marks and findings carry; the detector's name where it is not given.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// A regular expression; its first group, if it has one, is the value.
    pub pattern: String,
    /// One of these stands in every text that holds such a value; compared without case.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// One of these stands shortly before the value or in its key; compared without case.
    #[serde(default)]
    pub near: Vec<String>,
    /// Check digits that the value must have.
    #[serde(default)]
    pub checksum: Option<Checksum>,
    /// Texts in which it must find something; at least one.
    #[serde(default)]
    pub finds: Vec<String>,
    /// Texts in which it must find nothing.
    #[serde(default)]
    pub leaves: Vec<String>,
}

/// What is wrong with a detector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetectorError {
    /// The type cannot stand in a mark.
    #[error("the type `{0}` is not 1 to 32 small letters and underscores")]
    Type(String),
    /// The pattern is no expression, or too large.
    #[error("the pattern cannot be used: {0}")]
    Pattern(String),
    /// Something is beyond its bound.
    #[error("{what} is more than {max}")]
    Size {
        /// What.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// No example shows what it is for.
    #[error("has no example in `finds`")]
    Untested,
    /// An example does not come out as it says.
    #[error("the example {number} of `{list}` is {found}")]
    Example {
        /// `finds` or `leaves`.
        list: &'static str,
        /// Which, from 1.
        number: usize,
        /// What happened instead.
        found: &'static str,
    },
}

#[derive(Debug)]
struct Detector {
    kind: Arc<str>,
    regex: Regex,
    keywords: Vec<String>,
    near: Vec<String>,
    checksum: Option<Checksum>,
}

/// The detectors of one catalog.
#[derive(Debug, Clone, Default)]
pub struct Detectors {
    list: Option<Arc<Vec<Detector>>>,
}

impl PartialEq for Detectors {
    fn eq(&self, other: &Self) -> bool {
        let forms = |one: &Self| -> Vec<(Arc<str>, String)> {
            let all = one.all().iter();
            all.map(|d| (Arc::clone(&d.kind), d.regex.as_str().to_owned()))
                .collect()
        };
        forms(self) == forms(other)
    }
}

impl Eq for Detectors {}

impl Detectors {
    /// None, for what no catalog speaks of.
    pub(super) const NONE: &'static Self = &Self { list: None };

    /// Reads and tries every detector; the names say what they are called in the catalog.
    ///
    /// # Errors
    /// The name of each that cannot be used, and why.
    pub fn build<'a>(
        settings: impl IntoIterator<Item = (&'a str, &'a DetectorSettings)>,
    ) -> Result<Self, Vec<(String, DetectorError)>> {
        let mut list = Vec::new();
        let mut faults = Vec::new();
        for (index, (name, settings)) in settings.into_iter().enumerate() {
            let read = match index < DETECTORS_MAX {
                true => Detector::read(name, settings),
                false => Err(size("the number of detectors", DETECTORS_MAX)),
            };
            match read {
                Ok(detector) => list.push(detector),
                Err(error) => faults.push((name.to_owned(), error)),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let list = (!list.is_empty()).then(|| Arc::new(list));
        Ok(Self { list })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_none()
    }

    fn all(&self) -> &[Detector] {
        self.list.as_ref().map_or(&[], |list| list.as_slice())
    }

    pub(super) fn find(&self, text: &str, key: &str, hits: &mut Vec<Hit>) -> Result<(), Failed> {
        if self.is_empty() {
            return Ok(());
        }
        spend(text.len() * self.all().len());
        let small = text.to_ascii_lowercase();
        for detector in self.all() {
            detector.find(text, &small, key, hits);
        }
        Ok(())
    }
}

fn size(what: &'static str, max: usize) -> DetectorError {
    DetectorError::Size { what, max }
}

impl Detector {
    fn read(name: &str, settings: &DetectorSettings) -> Result<Self, DetectorError> {
        let kind = settings.kind.as_deref().unwrap_or(name);
        if !super::classes::is_type(kind) {
            return Err(DetectorError::Type(super::classes::shown(kind)));
        }
        if settings.pattern.len() > PATTERN_BYTES_MAX {
            return Err(size(
                "the length of the pattern in bytes",
                PATTERN_BYTES_MAX,
            ));
        }
        let detector = Self {
            kind: kind.into(),
            regex: compiled(&settings.pattern)?,
            keywords: words("the list `keywords` or a word in it", &settings.keywords)?,
            near: words("the list `near` or a word in it", &settings.near)?,
            checksum: settings.checksum,
        };
        detector.tried(settings)?;
        Ok(detector)
    }

    /// Runs the examples.
    fn tried(&self, settings: &DetectorSettings) -> Result<(), DetectorError> {
        if settings.finds.is_empty() {
            return Err(DetectorError::Untested);
        }
        for (list, examples, wanted) in [
            ("finds", &settings.finds, true),
            ("leaves", &settings.leaves, false),
        ] {
            if examples.len() > EXAMPLES_MAX {
                return Err(size("the number of examples in a list", EXAMPLES_MAX));
            }
            for (index, example) in examples.iter().enumerate() {
                if example.len() > EXAMPLE_BYTES_MAX {
                    return Err(size("the length of an example in bytes", EXAMPLE_BYTES_MAX));
                }
                let mut hits = Vec::new();
                self.find(example, &example.to_ascii_lowercase(), "", &mut hits);
                let found = if wanted { "not found" } else { "found" };
                if hits.is_empty() == wanted {
                    return Err(DetectorError::Example {
                        list,
                        number: index + 1,
                        found,
                    });
                }
            }
        }
        Ok(())
    }

    /// `small` is the text in small letters, `key` the name that the text stands under.
    fn find(&self, text: &str, small: &str, key: &str, hits: &mut Vec<Hit>) {
        let held = |word: &String| small.contains(word.as_str());
        if !self.keywords.is_empty() && !self.keywords.iter().any(held) {
            return;
        }
        for found in self.regex.captures_iter(text) {
            let Some(value) = found.get(1).or_else(|| found.get(0)) else {
                continue;
            };
            spend(value.len());
            if value.is_empty() || !self.checked(value.as_str()) {
                continue;
            }
            if self.is_near(small, value.start(), key) {
                hits.push(Hit {
                    start: value.start(),
                    end: value.end(),
                    kind: Kind::Own,
                    name: Some(Arc::clone(&self.kind)),
                    value: value.as_str().trim().to_lowercase(),
                });
            }
        }
    }

    fn is_near(&self, small: &str, at: usize, key: &str) -> bool {
        let from = (at.saturating_sub(NEAR_BYTES)..=at)
            .find(|index| small.is_char_boundary(*index))
            .unwrap_or(at);
        let before = small.get(from..at).unwrap_or_default();
        let key = key.to_ascii_lowercase();
        let said = |word: &String| before.contains(word.as_str()) || key.contains(word.as_str());
        self.near.is_empty() || self.near.iter().any(said)
    }

    fn checked(&self, value: &str) -> bool {
        let digits: Vec<u8> = value.bytes().filter(u8::is_ascii_digit).collect();
        let some = digits.len() >= 2;
        match self.checksum {
            None => true,
            Some(Checksum::Luhn) => some && checksum::luhn(&digits),
            Some(Checksum::Verhoeff) => some && checksum::verhoeff(&digits),
            Some(Checksum::Mod97) => {
                let letters = value.chars().filter(char::is_ascii_alphanumeric);
                some && checksum::mod97(letters) == Some(1)
            }
        }
    }
}

fn compiled(pattern: &str) -> Result<Regex, DetectorError> {
    let regex = RegexBuilder::new(pattern)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| DetectorError::Pattern(error.to_string()))?;
    if regex.is_match("") {
        let empty = "it matches the empty text, so it would find something everywhere";
        return Err(DetectorError::Pattern(empty.to_owned()));
    }
    Ok(regex)
}

fn words(what: &'static str, words: &[String]) -> Result<Vec<String>, DetectorError> {
    if words.len() > WORDS_MAX {
        return Err(size(what, WORDS_MAX));
    }
    if words
        .iter()
        .any(|word| word.is_empty() || word.len() > WORD_BYTES_MAX)
    {
        return Err(size(what, WORD_BYTES_MAX));
    }
    Ok(words.iter().map(|word| word.to_ascii_lowercase()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pattern: &str) -> DetectorSettings {
        DetectorSettings {
            pattern: pattern.to_owned(),
            finds: vec!["staff EMP-123456 here".to_owned()],
            ..DetectorSettings::default()
        }
    }

    fn built(settings: &DetectorSettings) -> Result<Detectors, DetectorError> {
        Detectors::build([("staff_number", settings)]).map_err(|mut faults| faults.remove(0).1)
    }

    fn count(detectors: &Detectors, text: &str, key: &str) -> usize {
        let mut hits = Vec::new();
        detectors.find(text, key, &mut hits).unwrap();
        hits.len()
    }

    #[test]
    fn a_detector_finds_its_form_in_its_context() {
        let mut one = settings(r"\bEMP-([0-9]{6})\b");
        let found = built(&one).unwrap();
        assert_eq!(count(&found, "EMP-123456 and emp-1", ""), 1);
        one.near = vec!["Staff".to_owned()];
        let near = built(&one).unwrap();
        assert_eq!(count(&near, "EMP-123456", ""), 0);
        assert_eq!(count(&near, "EMP-123456", "staff_no"), 1);
        assert_eq!(count(&near, "staff number EMP-123456", ""), 1);
        one.keywords = vec!["payroll".to_owned()];
        one.finds = vec!["payroll of staff EMP-123456".to_owned()];
        assert_eq!(count(&built(&one).unwrap(), "staff EMP-123456", ""), 0);
    }

    #[test]
    fn the_second_scan_knows_them_too() {
        let own = built(&settings(r"\bEMP-([0-9]{6})\b")).unwrap();
        let redactor = crate::redact::tests::redactor();
        let value = serde_json::json!({"note": "staff EMP-123456 here"});
        assert!(!redactor.rescan(&value));
        assert!(redactor.rescan_with(&value, &own));
        let classes = crate::redact::FieldClasses::none().with_detectors(&own);
        let clean = redactor.value(&value, &classes).value;
        assert!(!redactor.rescan_with(&clean, &own), "{clean}");
    }

    #[test]
    fn check_digits_are_asked_for() {
        for (checksum, good, bad) in [
            (Checksum::Luhn, "EMP-79927398713", "EMP-79927398714"),
            (Checksum::Verhoeff, "EMP-2363", "EMP-2364"),
            (
                Checksum::Mod97,
                "EMP-3214282912345698765432161182",
                "EMP-3214282912345698765432161183",
            ),
        ] {
            let one = DetectorSettings {
                checksum: Some(checksum),
                pattern: "EMP-([0-9]+)".to_owned(),
                finds: vec![good.to_owned()],
                leaves: vec![bad.to_owned()],
                ..DetectorSettings::default()
            };
            assert_eq!(built(&one).err(), None, "{checksum:?}");
        }
    }

    #[test]
    fn what_a_catalog_can_make_large_is_bounded() {
        let many: Vec<DetectorSettings> = vec![settings("EMP-[0-9]+"); DETECTORS_MAX + 1];
        let all = many.iter().map(|one| ("staff", one));
        assert_eq!(Detectors::build(all).unwrap_err().len(), 1);
        for (bad, part) in [
            (settings(&"x".repeat(513)), "more than 512"),
            (settings("(?:x{1000}){1000}"), "cannot be used"),
            (settings("EMP(?=-)"), "cannot be used"),
            (settings("x*"), "empty text"),
            (
                settings("STAFF-[0-9]+"),
                "example 1 of `finds` is not found",
            ),
            (
                DetectorSettings {
                    finds: Vec::new(),
                    ..settings("x")
                },
                "no example",
            ),
            (
                DetectorSettings {
                    kind: Some("Staff1".to_owned()),
                    ..settings("x")
                },
                "small letters",
            ),
            (
                DetectorSettings {
                    keywords: vec![String::new()],
                    ..settings("x")
                },
                "more than 64",
            ),
            (
                DetectorSettings {
                    near: vec!["a".to_owned(); 17],
                    ..settings("x")
                },
                "more than 16",
            ),
            (
                DetectorSettings {
                    leaves: vec!["EMP-123456".to_owned()],
                    ..settings("EMP-[0-9]+")
                },
                "example 1 of `leaves` is found",
            ),
        ] {
            let error = built(&bad).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
