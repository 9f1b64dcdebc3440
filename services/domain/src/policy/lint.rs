//! Lint: what a sound bundle still should not say. A bundle with errors does not load;
//! what stands here loads, and is refused or pointed out before it is pushed.

mod bounds;
mod reach;
mod sight;
mod spans;

use std::fmt;
use std::time::Duration;

use super::bundle::Bundle;
use super::problem::Place;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LintLevel {
    /// The bundle should not be used like this.
    Refused,
    /// Somebody should look at it.
    PointedOut,
}

/// What lint compares a bundle with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LintLimits {
    /// How long raw messages are kept: an ask or window that lasts longer would outlive
    /// the input that it is about.
    pub raw_retention: Duration,
}

impl Default for LintLimits {
    fn default() -> Self {
        Self {
            raw_retention: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

/// One thing that lint found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct LintFinding {
    /// Path inside the bundle.
    pub file: String,
    /// Line, from 1, where it is known.
    pub line: Option<usize>,
    /// How serious it is.
    pub level: LintLevel,
    /// Which check found it: `unbounded`, `review`, `retention`, `too_late`,
    /// `delegation`, `unreachable`, `shadowed` or `unseen`.
    pub check: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for LintFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        let level = match self.level {
            LintLevel::Refused => "refused",
            LintLevel::PointedOut => "pointed out",
        };
        write!(f, ": {level}: {}; {}", self.what, self.mend)
    }
}

/// Everything that is worth a word about `bundle`, by file and line.
#[must_use]
pub fn lint(bundle: &Bundle, limits: &LintLimits) -> Vec<LintFinding> {
    let mut findings = Findings::default();
    bounds::check(bundle, &mut findings);
    spans::check(bundle, limits, &mut findings);
    reach::check(bundle, &mut findings);
    sight::check(bundle, &mut findings);
    findings.0.sort();
    findings.0.dedup();
    findings.0
}

#[derive(Default)]
struct Findings(Vec<LintFinding>);

impl Findings {
    fn add(
        &mut self,
        level: LintLevel,
        check: &'static str,
        place: &Place<'_>,
        what: String,
        mend: &str,
    ) {
        self.0.push(LintFinding {
            file: place.file.to_owned(),
            line: place.line,
            level,
            check,
            what,
            mend: mend.to_owned(),
        });
    }
}
