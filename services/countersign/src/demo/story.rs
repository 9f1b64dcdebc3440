//! How the story is told: line by line, with the time since its beginning.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

use super::Failed;

/// No step takes a tenth of this; beyond it something hangs.
const STEP_MAX: Duration = Duration::from_secs(30);
/// The first step may install a nats-server.
const FIRST_STEP_MAX: Duration = Duration::from_secs(300);
/// Columns of text before it is broken.
const WIDTH: usize = 76;

/// Ways to set off a piece of text on a terminal.
#[derive(Debug, Clone, Copy)]
enum Ink {
    Bold,
    Dim,
    Green,
    Red,
    Cyan,
}

impl Ink {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Green => "32",
            Self::Red => "31",
            Self::Cyan => "36",
        }
    }
}

/// The teller.
#[derive(Debug)]
pub(crate) struct Story {
    started: Instant,
    colour: bool,
}

impl Story {
    /// Begins now, in colour on a terminal that wants it.
    pub(crate) fn begin() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            started: Instant::now(),
            colour: wanted && std::io::stdout().is_terminal(),
        }
    }

    /// Time since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Does one step, in bounded time.
    ///
    /// # Errors
    /// What went wrong, with the step's name.
    pub(crate) async fn step<T>(
        &self,
        name: &str,
        doing: impl Future<Output = anyhow::Result<T>>,
    ) -> Result<T, Failed> {
        self.bounded(name, STEP_MAX, doing).await
    }

    /// Does a step that may take minutes on a new machine.
    ///
    /// # Errors
    /// What went wrong, with the step's name.
    pub(crate) async fn long_step<T>(
        &self,
        name: &str,
        doing: impl Future<Output = anyhow::Result<T>>,
    ) -> Result<T, Failed> {
        self.bounded(name, FIRST_STEP_MAX, doing).await
    }

    async fn bounded<T>(
        &self,
        name: &str,
        most: Duration,
        doing: impl Future<Output = anyhow::Result<T>>,
    ) -> Result<T, Failed> {
        let done = tokio::time::timeout(most, doing).await;
        let late = || anyhow::anyhow!("it was not done after {} s", most.as_secs());
        done.unwrap_or_else(|_| Err(late()))
            .map_err(|reason| Failed {
                step: name.to_owned(),
                reason,
            })
    }

    /// The headline of a part.
    pub(crate) fn part(&self, title: &str) {
        self.print("");
        self.print(&self.ink(Ink::Bold, title));
    }

    /// Somebody does something.
    pub(crate) fn line(&self, who: &str, what: &str) {
        let time = format!("{:>6.2} s", self.elapsed().as_secs_f64());
        for (index, piece) in wrapped(what, WIDTH - 20).iter().enumerate() {
            let (time, who) = match index {
                0 => (time.as_str(), who),
                _ => ("", ""),
            };
            let time = self.ink(Ink::Dim, &format!("{time:>8}"));
            let who = self.ink(Ink::Cyan, &format!("{who:<9}"));
            self.print(&format!("{time}  {who} {piece}"));
        }
    }

    /// Something was checked and is so.
    pub(crate) fn checked(&self, what: &str) {
        for (index, piece) in wrapped(what, WIDTH - 22).iter().enumerate() {
            let mark = match index {
                0 => self.ink(Ink::Green, "✓"),
                _ => " ".to_owned(),
            };
            self.print(&format!("{:>19} {mark} {piece}", ""));
        }
    }

    /// A text as a person would read it.
    pub(crate) fn quote(&self, title: &str, text: &str) {
        let bar = self.ink(Ink::Dim, "│");
        self.print(&format!("{:>12}{bar} {}", "", self.ink(Ink::Bold, title)));
        for line in text.lines() {
            for piece in wrapped(line, WIDTH - 14) {
                self.print(&format!("{:>12}{bar} {piece}", ""));
            }
        }
    }

    /// Lines as they are, such as a table or a command.
    pub(crate) fn plain(&self, text: &str) {
        for line in text.lines() {
            self.print(&format!("  {line}"));
        }
    }

    /// A command or a query, set off from its answer.
    pub(crate) fn command(&self, text: &str) {
        for line in text.lines() {
            self.print(&format!("  {}", self.ink(Ink::Cyan, line)));
        }
    }

    /// The end of a story that did not go as told.
    pub(crate) fn failed(&self, failed: &Failed) {
        self.print("");
        self.print(&self.ink(Ink::Red, &format!("✗ {failed}")));
    }

    fn ink(&self, ink: Ink, text: &str) -> String {
        if self.colour && !text.trim().is_empty() {
            format!("\u{1b}[{}m{text}\u{1b}[0m", ink.code())
        } else {
            text.to_owned()
        }
    }

    /// With stdout closed there is nobody to tell; the exit code still says how it ended.
    fn print(&self, line: &str) {
        drop(writeln!(std::io::stdout(), "{}", line.trim_end()));
    }
}

/// The text in lines of at most `width` characters, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else {
            break;
        };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story() -> Story {
        Story {
            started: Instant::now(),
            colour: false,
        }
    }

    #[test]
    fn text_is_broken_between_words_only() {
        for (text, expected) in [
            ("", vec![""]),
            ("one two", vec!["one two"]),
            ("one two three", vec!["one two", "three"]),
            ("averylongword x", vec!["averylongword", "x"]),
            ("äöü äöü", vec!["äöü äöü"]),
        ] {
            assert_eq!(wrapped(text, 8), expected, "{text}");
        }
    }

    #[test]
    fn colour_is_for_terminals_alone() {
        let mut story = story();
        assert_eq!(story.ink(Ink::Red, "x"), "x");
        story.colour = true;
        assert_eq!(story.ink(Ink::Red, "x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(story.ink(Ink::Red, "  "), "  ");
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_fails_or_hangs_is_named() {
        let story = story();
        let failed = story
            .step("ask", async { Err::<(), _>(anyhow::anyhow!("no answer")) })
            .await
            .unwrap_err();
        assert_eq!(failed.to_string(), "the step “ask” failed: no answer");
        let hangs = std::future::pending::<anyhow::Result<()>>();
        let failed = story.step("wait", hangs).await.unwrap_err();
        assert!(
            failed.to_string().contains("not done after 30 s"),
            "{failed}"
        );
    }
}
