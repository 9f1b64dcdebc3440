//! `countersign audit search`: rows by words and names, for people.

use countersign_audit_query::output::{self as form, Format};
use countersign_audit_query::select::Selection;
use countersign_runtime::clock::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::selecting::Selecting;
use super::source::{From, Source};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Most rows of an answer: more than a person reads, and few enough for one message.
const ROWS_MAX: u16 = 1_000;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each word must stand somewhere in the row: in what was said, asked, answered \
                  or changed, or in a name, in capitals or not. Without any word or name the \
                  newest rows are told. Redacted values are found by their marks; see `audit \
                  fingerprint` for a value that you know.\n\n\
                  Exit codes: 0 answered, also where nothing was found; 2 a wrong call; 20 \
                  refused, or too much for one answer; 69 the service or the archive is out of \
                  reach."
)]
pub(super) struct Args {
    /// Words that must all be there
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// A phrase that must be there as it is; may be given several times
    #[arg(long, value_name = "PHRASE")]
    text: Vec<String>,
    #[command(flatten)]
    selecting: Selecting,
    /// At most so many rows; a word says when there are more
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=i64::from(ROWS_MAX)))]
    limit: u16,
    #[command(flatten)]
    from: From,
}

/// A row as it is told.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    leaf_index: i64,
    time: String,
    event: String,
    agent_id: Option<String>,
    requester_id: Option<String>,
    actor_id: Option<String>,
    tool_name: Option<String>,
    intent_id: Option<String>,
    decision: Option<String>,
    outcome: Option<String>,
    purpose: Option<String>,
    output_summary: Option<String>,
}

impl Found {
    /// What it is about: how it was decided or ended, then what was told, else what was said.
    fn told(&self) -> String {
        let end = self.outcome.as_ref().or(self.decision.as_ref());
        let words = self.output_summary.as_ref().or(self.purpose.as_ref());
        let parts: Vec<&str> = [end, words]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        parts.join(": ")
    }

    fn cells(&self) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        vec![
            self.time.clone(),
            self.event.clone(),
            text(&self.agent_id),
            text(&self.tool_name),
            text(&self.actor_id),
            self.told(),
            text(&self.intent_id),
        ]
    }
}

/// Finds and tells.
pub(super) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let limit = usize::from(args.limit);
    let selection = Selection {
        texts: args.words.into_iter().chain(args.text).collect(),
        ..args.selecting.at(SystemClock.now())
    };
    let mut source = Source::open(&args.from, output).await?;
    // One more than is told: whether there are more must not be a guess.
    let answer = source.ask(&selection.newest(limit + 1)).await;
    source.close().await;
    let bytes = form::write(&answer.map_err(CliError::from)?, Format::Json);
    let bytes = bytes.map_err(CliError::unexpected)?;
    let mut rows: Vec<Found> = serde_json::from_slice(&bytes).map_err(CliError::unexpected)?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    output.read(&json!({ "rows": rows, "more": more }), || {
        text(&rows, output)
    })?;
    if more {
        output.progress(&format!(
            "these are the newest {limit}, and there are more: add a word, a name or --since, or \
             ask for more with --limit"
        ));
    }
    Ok(Exit::Done)
}

fn text(rows: &[Found], output: &Output) -> String {
    if rows.is_empty() {
        return "nothing was found; what happened in the last second may not be in the archive yet"
            .to_owned();
    }
    let cells: Vec<Vec<String>> = rows.iter().map(Found::cells).collect();
    let head = ["TIME", "EVENT", "AGENT", "TOOL", "BY", "WHAT", "INTENT"];
    output.table(&head, &cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(outcome: Option<&str>, summary: Option<&str>) -> Found {
        let row = json!({"leaf_index": 1, "time": "2026-11-22T10:00:00Z",
            "event": "tool.completed", "agent_id": "billing", "outcome": outcome,
            "output_summary": summary, "purpose": "Pay\u{202e}ment"});
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn a_row_is_told_by_its_end_and_its_words() {
        for (outcome, summary, told) in [
            (Some("succeeded"), Some("Sent."), "succeeded: Sent."),
            (None, Some("Sent."), "Sent."),
            (Some("failed"), None, "failed: Pay\u{202e}ment"),
        ] {
            assert_eq!(found(outcome, summary).told(), told);
        }
    }

    #[test]
    fn nothing_that_an_agent_wrote_acts_on_a_terminal() {
        let output = Output::framed(120);
        let table = text(&[found(None, None)], &output);
        assert!(
            table.contains("billing") && !table.contains('\u{202e}'),
            "{table}"
        );
        assert!(text(&[], &output).starts_with("nothing was found"));
    }
}
