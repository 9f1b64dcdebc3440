//! What people and scripts read: answers on standard output, progress on standard error.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use countersign_domain::approvals::visible;
use serde::Serialize;

use crate::exit::CliError;

/// Where a command writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    terminal: bool,
}

impl Output {
    /// JSON, or text in the form that fits standard output.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            terminal: io::stdout().is_terminal(),
        }
    }

    /// Whether the answer is for a script.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person may be asked something.
    pub(crate) fn is_interactive(&self) -> bool {
        !self.json && self.terminal && io::stdin().is_terminal()
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

    /// A table as text: framed on a terminal, separated by tabs elsewhere.
    pub(crate) fn table(&self, head: &[&str], rows: &[Vec<String>]) -> String {
        let rows = rows
            .iter()
            .map(|row| row.iter().map(|cell| visible(cell)).collect::<Vec<_>>());
        if !self.terminal {
            let head = head.iter().map(|cell| (*cell).to_owned()).collect();
            let lines = std::iter::once(head).chain(rows);
            return lines.map(|row: Vec<_>| row.join("\t") + "\n").collect();
        }
        let mut table = Table::new();
        table
            .load_preset(UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(head);
        for row in rows {
            table.add_row(row);
        }
        table.to_string()
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

    const PLAIN: Output = Output {
        json: false,
        terminal: false,
    };

    #[test]
    fn tables_are_for_scripts_where_nobody_watches() {
        let rows = [vec!["a-1".to_owned(), "two\twords\u{1b}[31m".to_owned()]];
        let text = PLAIN.table(&["ID", "WHAT"], &rows);
        assert_eq!(text.lines().count(), 2);
        assert_eq!(text.lines().next(), Some("ID\tWHAT"));
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn tables_on_a_terminal_are_framed() {
        let framed = Output {
            terminal: true,
            ..PLAIN
        };
        let text = framed.table(&["ID"], &[vec!["a-1".to_owned()]]);
        assert!(text.contains('─') && text.contains("a-1"), "{text}");
    }

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
