//! What people and scripts read: answers on standard output, progress on standard error.

use std::io::{self, Write as _};

use countersign_domain::approvals::visible;
use serde::Serialize;

use crate::exit::CliError;

/// Where a command writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// JSON, or text.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// The answer: JSON on one line, or the text.
    pub(crate) fn answer<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        let text = match self.json {
            true => serde_json::to_string(value).map_err(CliError::unexpected)?,
            false => text(),
        };
        self.line(&text)
    }

    /// One or more lines of text.
    pub(crate) fn line(&self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
        match written {
            // Whoever reads has read enough, such as `head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }

    /// A line for whoever watches; never a part of the answer.
    pub(crate) fn progress(&self, text: &str) {
        // Nobody is there to hear that standard error is closed.
        writeln!(io::stderr().lock(), "{text}").ok();
    }
}

/// `name: value` lines, the values aligned, safe to print.
pub(crate) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    let line = |(name, value): &(&str, String)| {
        format!("{:<width$} {}\n", format!("{name}:"), visible(value))
    };
    pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(line)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_aligned_and_empty_ones_left_out() {
        let text = pairs(&[
            ("tool", "crm.read".to_owned()),
            ("purpose", String::new()),
            ("why", "a\u{7}b".to_owned()),
        ]);
        assert!(text.starts_with("tool:    crm.read\nwhy:"), "{text}");
        assert!(!text.contains('\u{7}'));
    }
}
