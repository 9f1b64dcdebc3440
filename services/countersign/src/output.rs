//! What people and scripts read: answers on standard output, progress on standard error.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use countersign_domain::approvals::visible;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::CliError;

/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";
/// The program that shows what is longer than a screen, where `PAGER` names none.
const PAGER: &str = "less";
/// The narrowest terminal for which lines are folded.
const COLUMNS_MIN: usize = 20;
/// Marks the rest of a line that was too long.
const FOLDED: &str = "  ↳ ";

/// Where a command writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    terminal: bool,
    /// The width of tables, where the terminal's own does not count.
    width: Option<u16>,
}

impl Output {
    /// JSON, or text in the form that fits standard output.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            terminal: io::stdout().is_terminal(),
            width: None,
        }
    }

    /// A terminal of this width.
    #[cfg(test)]
    pub(crate) fn framed(width: u16) -> Self {
        Self {
            json: false,
            terminal: true,
            width: Some(width),
        }
    }

    /// Whether a person looks at the answer as text.
    pub(crate) fn is_terminal(&self) -> bool {
        !self.json && self.terminal
    }

    /// The columns of the terminal; `None` where nobody looks at one.
    pub(crate) fn columns(&self) -> Option<usize> {
        let width = self.width.or_else(|| Table::new().width());
        width.filter(|_| self.terminal).map(usize::from)
    }

    /// Whether the answer is for a script.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person may be asked something.
    pub(crate) fn is_interactive(&self) -> bool {
        !self.json && self.terminal && io::stdin().is_terminal()
    }

    /// Asks a person; only what says yes is one.
    pub(crate) fn confirmed(&self, question: &str) -> Result<bool, CliError> {
        let mut out = io::stdout().lock();
        write!(out, "{question} [y/N] ")?;
        out.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
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

    /// An answer that may be longer than a screen: through the pager on a terminal, so that
    /// nothing scrolls away unread.
    pub(crate) fn read<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        if !self.is_interactive() {
            return self.answer(value, text);
        }
        let text = text();
        match self.paged(&text) {
            true => Ok(()),
            false => self.line(&text),
        }
    }

    /// Shows `text` with the pager, if somebody is there and it can be started.
    pub(crate) fn paged(&self, text: &str) -> bool {
        let pager = std::env::var("PAGER").unwrap_or_else(|_| PAGER.to_owned());
        self.is_interactive() && page(&pager, text)
    }

    /// A page in place of what the terminal shows; `false` once nobody reads any more.
    pub(crate) fn redraw(&self, text: &str) -> Result<bool, CliError> {
        self.told(&format!("{CLEAR}{text}"))
    }

    /// One or more lines of text; `false` once nobody reads any more, such as `head` that
    /// has read enough.
    pub(crate) fn told(&self, text: &str) -> Result<bool, CliError> {
        let mut out = io::stdout().lock();
        match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            other => Ok(other.map(|()| true)?),
        }
    }

    /// One or more lines of text.
    pub(crate) fn line(&self, text: &str) -> Result<(), CliError> {
        self.told(text).map(drop)
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
        if let Some(width) = self.width {
            table.set_width(width);
        }
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

/// Shows `text` with the program named in `pager`; `false` where it cannot be started.
fn page(pager: &str, text: &str) -> bool {
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else {
        return false;
    };
    // It ends by itself where all fits on the screen, leaves what it showed there, and
    // starts no other program.
    let mut pager = Command::new(program);
    pager
        .args(words)
        .env("LESS", "FX")
        .env("LESSSECURE", "1")
        .stdin(Stdio::piped());
    // What Ctrl-C means is the pager's to say: without us it would be left with a terminal
    // that the shell has taken back.
    let _heard = tokio::runtime::Handle::try_current()
        .is_ok()
        .then(|| signal(SignalKind::interrupt()));
    let Ok(mut running) = pager.spawn() else {
        return false;
    };
    if let Some(mut input) = running.stdin.take() {
        // Whoever leaves early has read enough.
        input.write_all(text.as_bytes()).ok();
    }
    running.wait().is_ok()
}

/// Text with no line longer than `columns`, so that no terminal breaks one itself: the rest
/// of a line is marked, and cannot pass for a line of ours. Characters outside ASCII count
/// twice, because some take two columns.
pub(crate) fn fold(text: &str, columns: usize) -> String {
    let columns = columns.max(COLUMNS_MIN);
    let mut folded = String::with_capacity(text.len());
    for line in text.lines() {
        let mut used = 0;
        for c in line.chars() {
            let width = if c.is_ascii() { 1 } else { 2 };
            if used + width > columns {
                folded.push('\n');
                folded.push_str(FOLDED);
                used = FOLDED.chars().count() + 1;
            }
            folded.push(c);
            used += width;
        }
        folded.push('\n');
    }
    folded
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
        width: None,
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
    fn long_lines_are_folded_and_marked() {
        let text = format!("short\n{}\n{}\n", "x".repeat(45), "日".repeat(12));
        let folded = fold(&text, 20);
        let lines: Vec<&str> = folded.lines().collect();
        let rest = "x".repeat(15);
        assert_eq!(
            lines,
            [
                "short",
                &"x".repeat(20),
                &format!("  ↳ {rest}"),
                "  ↳ xxxxxxxxxx",
                &"日".repeat(10),
                "  ↳ 日日",
            ]
        );
        assert_eq!(fold(&text, 0), folded, "as narrow as it gets");
    }

    #[test]
    fn a_pager_that_is_not_there_is_no_reason_to_show_nothing() {
        assert!(!page("", "x"));
        assert!(!page("/nonexistent/pager", "x"));
        assert!(page("true --whatever", "x"), "it ends without reading");
    }

    #[test]
    fn only_a_terminal_has_columns() {
        assert_eq!(PLAIN.columns(), None);
        assert_eq!(Output::framed(90).columns(), Some(90));
        assert!(
            !Output {
                json: true,
                ..Output::framed(90)
            }
            .is_terminal()
        );
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
