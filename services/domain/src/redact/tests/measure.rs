//! Recall and precision: a planted value counts as found if a find of its type covers nine
//! tenths of its characters; a find counts as right if it overlaps a planted value of its
//! type.

use std::collections::BTreeMap;
use std::fmt;

use crate::redact::{FieldClasses, LineFinding, Redactor};

/// A value planted in a line, by its characters.
#[derive(Debug, Clone)]
pub(in crate::redact) struct Planted {
    kind: &'static str,
    start: usize,
    end: usize,
}

impl Planted {
    pub(in crate::redact) fn new(kind: &'static str, start: usize, end: usize) -> Self {
        Self { kind, start, end }
    }

    /// Characters of the value that the find covers.
    fn shared(&self, found: &LineFinding) -> usize {
        let end = self.end.min(found.end);
        end.saturating_sub(self.start.max(found.start))
    }
}

/// A line and what is planted in it.
#[derive(Debug, Clone)]
pub(in crate::redact) struct Case {
    pub(in crate::redact) text: String,
    pub(in crate::redact) planted: Vec<Planted>,
}

impl Case {
    pub(in crate::redact) fn new(text: String, planted: Vec<Planted>) -> Self {
        Self { text, planted }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Score {
    planted: usize,
    found: usize,
    reported: usize,
    right: usize,
}

/// The score of every type.
#[derive(Debug, Default)]
pub(in crate::redact) struct Scores {
    by_kind: BTreeMap<String, Score>,
}

impl Scores {
    pub(in crate::redact) fn of<'a>(
        redactor: &Redactor,
        cases: impl Iterator<Item = &'a Case>,
    ) -> Self {
        let mut scores = Self::default();
        for case in cases {
            let findings = redactor.line(&case.text, &FieldClasses::none()).findings;
            scores.add(case, &findings);
        }
        scores
    }

    fn add(&mut self, case: &Case, findings: &[LineFinding]) {
        let show = |what: &str, kind: &str, start: usize, end: usize| {
            if std::env::var_os("SHOW_MISSES").is_some() {
                let value: String = case.text.chars().skip(start).take(end - start).collect();
                eprintln!("{what} {kind} {value:?} in {:.300}", case.text);
            }
        };
        for planted in &case.planted {
            let score = self.by_kind.entry(planted.kind.to_owned()).or_default();
            score.planted += 1;
            let length = planted.end - planted.start;
            let found = findings.iter().any(|found| {
                found.kind == planted.kind && planted.shared(found) * 10 >= length * 9
            });
            score.found += usize::from(found);
            if !found {
                show("missed", planted.kind, planted.start, planted.end);
            }
        }
        for found in findings {
            let score = self.by_kind.entry(found.kind.clone()).or_default();
            score.reported += 1;
            let of_kind = case
                .planted
                .iter()
                .filter(|planted| planted.kind == found.kind);
            let right = of_kind.into_iter().any(|planted| planted.shared(found) > 0);
            score.right += usize::from(right);
            if !right {
                show("wrong", &found.kind, found.start, found.end);
            }
        }
    }

    /// The share of the planted values of a type that is found; 1 where none is planted.
    pub(in crate::redact) fn recall(&self, kind: &str) -> f64 {
        let score = self.by_kind.get(kind).filter(|score| score.planted > 0);
        score.map_or(1.0, |score| score.found as f64 / score.planted as f64)
    }

    /// Fails where a type has been planted and is below one of its floors, in percent.
    pub(in crate::redact) fn at_least(&self, kind: &str, recall: usize, precision: usize) {
        let Some(score) = self.by_kind.get(kind).filter(|score| score.planted > 0) else {
            return;
        };
        assert!(
            score.found * 100 >= score.planted * recall,
            "recall of {kind}\n{self}"
        );
        assert!(
            score.right * 100 >= score.reported * precision,
            "precision of {kind}\n{self}"
        );
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, score) in &self.by_kind {
            let share = |part: usize, all: usize| part as f64 / all.max(1) as f64;
            writeln!(
                f,
                "{kind:>12}: recall {}/{} = {:.3}, precision {}/{} = {:.3}",
                score.found,
                score.planted,
                share(score.found, score.planted),
                score.right,
                score.reported,
                share(score.right, score.reported),
            )?;
        }
        Ok(())
    }
}
