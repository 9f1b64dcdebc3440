//! What a worker really did: one line of JSON for each run, in a file that outlives it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The intent, as the permit names it.
    pub intent: String,
    /// The tool.
    pub tool: String,
    /// The body that the worker got.
    pub input: Value,
    /// Sequence of the claim, as the claim token names it.
    pub claim_seq: u64,
}

/// One refusal of a call without the right proofs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The tool.
    pub tool: String,
    /// Why, as the gate says it.
    pub code: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Run(Run),
    Refusal(Refusal),
}

/// The journal of one or more workers.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl Journal {
    /// Opens the journal at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(Mutex::new(file)),
        })
    }

    pub(crate) fn ran(&self, run: Run) {
        self.write(&Line::Run(run));
    }

    pub(crate) fn refused(&self, tool: &str, code: &str) {
        self.write(&Line::Refusal(Refusal {
            tool: tool.to_owned(),
            code: code.to_owned(),
        }));
    }

    fn write(&self, line: &Line) {
        let mut text = serde_json::to_string(line).expect("a journal line is JSON");
        text.push('\n');
        let mut file = self.file.lock().expect("no writer panicked");
        file.write_all(text.as_bytes())
            .expect("the journal takes a line");
    }

    fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.path).expect("the journal is readable");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a journal line is whole"))
            .collect()
    }

    /// Every run, oldest first.
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        self.lines()
            .into_iter()
            .filter_map(|line| match line {
                Line::Run(run) => Some(run),
                Line::Refusal(_) => None,
            })
            .collect()
    }

    /// Every refusal, oldest first.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.lines()
            .into_iter()
            .filter_map(|line| match line {
                Line::Run(_) => None,
                Line::Refusal(refusal) => Some(refusal),
            })
            .collect()
    }

    /// How often each intent ran.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for run in self.runs() {
            *counts.entry(run.intent).or_default() += 1;
        }
        counts
    }
}
