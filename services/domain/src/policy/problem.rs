//! What is wrong with a policy bundle: every problem at once, each with its place and how
//! to mend it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Problems that are listed in full; a bundle with more is broken in one common way.
const PROBLEMS_SHOWN_MAX: usize = 100;

/// One thing that is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Path inside the bundle.
    pub file: String,
    /// Line, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}; {}", self.what, self.mend)
    }
}

/// A bundle cannot be used; holds at least one problem, sorted by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleErrors(Vec<Problem>);

impl BundleErrors {
    /// The problems, sorted by file and line.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for BundleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the policy bundle has {} problem(s)", self.0.len())?;
        for problem in self.0.iter().take(PROBLEMS_SHOWN_MAX) {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BundleErrors {}

/// Collects problems while a bundle is read.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes one problem.
    pub(crate) fn add(
        &mut self,
        place: &Place<'_>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.0.push(Problem {
            file: place.file.to_owned(),
            line: place.line,
            what: what.into(),
            mend: mend.into(),
        });
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Ok if none was noted.
    pub(crate) fn finish(self) -> Result<(), BundleErrors> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(self.into_errors()),
        }
    }

    /// What was noted.
    pub(crate) fn into_errors(mut self) -> BundleErrors {
        self.0.sort();
        self.0.dedup();
        BundleErrors(self.0)
    }
}

/// Where the lines of a text end, so that many places are found in one reading.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    /// The lines of `text`.
    pub(crate) fn of(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(breaks.map(|(at, _)| at).collect())
    }

    /// The line, from 1, that holds byte `at`.
    pub(crate) fn at(&self, at: usize) -> usize {
        self.0.partition_point(|end| *end < at).saturating_add(1)
    }
}

/// Where in a bundle something stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Path inside the bundle.
    pub(crate) file: &'a str,
    /// Line, from 1.
    pub(crate) line: Option<usize>,
}

impl<'a> Place<'a> {
    /// A file as a whole.
    pub(crate) fn file(file: &'a str) -> Self {
        Self { file, line: None }
    }

    /// The line that holds byte `offset` of `text`.
    pub(crate) fn at(file: &'a str, text: &str, offset: usize) -> Self {
        let before = text.as_bytes().iter().take(offset);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        Self {
            file,
            line: Some(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_alike_in_both_ways() {
        let text = "a\n\nbc\n";
        let lines = Lines::of(text);
        for at in 0..=text.len() {
            assert_eq!(Place::at("f", text, at).line, Some(lines.at(at)), "{at}");
        }
    }

    #[test]
    fn problems_come_sorted_and_say_where() {
        let mut problems = Problems::default();
        problems.add(&Place::at("b.toml", "x\ny\nz", 2), "second", "mend it");
        problems.add(&Place::file("a.toml"), "first", "mend it");
        problems.add(&Place::file("a.toml"), "first", "mend it");
        let errors = problems.finish().unwrap_err();
        let shown: Vec<String> = errors.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["a.toml: first; mend it", "b.toml:2: second; mend it"]
        );
        assert!(Problems::default().finish().is_ok());
    }
}
