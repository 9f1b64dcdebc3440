//! One intent as a person reads it: what happened, when, by whom.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use countersign_schemas::{IntentId, Timestamp};

use crate::archive::{Answer, Archive, QueryError, QueryLimits};

/// The statement behind the story of an intent.
#[must_use]
pub fn statement(intent: IntentId) -> String {
    // An intent id is a UUID: nothing in it can end the literal.
    format!(
        "SELECT time, event, level, agent_id, requester_id, requester_verified, actor_kind, \
         actor_id, via, tool_name, purpose, verdict, decision, outcome, \
         array_to_string(reason_codes, ', ') AS codes, output_summary, changes, duration_ms, \
         input_redacted \
         FROM events WHERE intent_id = '{intent}' ORDER BY time, leaf_index"
    )
}

/// The story of an intent: one line for each event. Empty if the archive does not know it.
///
/// # Errors
/// As [`Archive::query`].
pub async fn story(
    archive: &Archive,
    intent: IntentId,
    limits: QueryLimits,
) -> Result<Vec<String>, QueryError> {
    let answer = archive.query(&statement(intent), limits).await?;
    Ok(lines(&answer))
}

/// The answer to [`statement`] as lines.
#[must_use]
pub fn lines(answer: &Answer) -> Vec<String> {
    let tell = |batch: &RecordBatch| -> Vec<String> {
        (0..batch.num_rows())
            .map(|row| Event { batch, row }.line())
            .collect()
    };
    answer.batches.iter().flat_map(tell).collect()
}

/// One row of the answer.
#[derive(Clone, Copy)]
struct Event<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

impl<'a> Event<'a> {
    fn text(self, name: &str) -> Option<&'a str> {
        let column = self.batch.column_by_name(name)?;
        if column.is_null(self.row) {
            return None;
        }
        column
            .as_string_view_opt()
            .map(|texts| texts.value(self.row))
            .or_else(|| Some(column.as_string_opt::<i32>()?.value(self.row)))
            .filter(|text| !text.is_empty())
    }

    fn time(self) -> String {
        self.batch
            .column_by_name("time")
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
            .and_then(|times| Timestamp::from_micros(times.value(self.row)))
            .map(|at| at.datetime().format("%Y-%m-%d %H:%M:%S%.3fZ").to_string())
            .unwrap_or_default()
    }

    fn proved(self) -> bool {
        self.batch
            .column_by_name("requester_verified")
            .and_then(|column| column.as_boolean_opt())
            .is_some_and(|proved| proved.is_valid(self.row) && proved.value(self.row))
    }

    fn line(self) -> String {
        let said = if self.text("level") == Some("metadata") {
            let codes = self.text("codes").unwrap_or("unknown");
            format!(
                "a message on {} of which only this is kept: {codes}",
                self.event()
            )
        } else {
            self.said()
        };
        format!("{}  {:<20} {said}", self.time(), self.event())
    }

    fn event(self) -> &'a str {
        self.text("event").unwrap_or("?")
    }

    fn said(self) -> String {
        let agent = self.text("agent_id").unwrap_or("?");
        let actor = self.text("actor_id").unwrap_or("?");
        let tool = self.text("tool_name").unwrap_or("?");
        let codes = self.text("codes").unwrap_or("");
        match self.event() {
            "tool.requested" => format!(
                "{agent} asks for {tool} on behalf of {}{}",
                self.text("requester_id").unwrap_or("?"),
                self.quoted("purpose")
            ),
            "tool.withdrawn" => format!("{agent} takes it back{}", self.quoted("purpose")),
            "policy.checked" => self.checked(),
            "tool.refused" => format!("refused ({codes}){}", self.summary()),
            "approval.requested" => format!("people are asked{}", self.summary()),
            "approval.vote" => format!(
                "{actor} votes {}{}",
                self.text("decision").unwrap_or("?"),
                self.quoted("purpose")
            ),
            "approval.voted" => format!(
                "vote of {actor} to {} through {}: {codes}{}",
                self.text("decision").unwrap_or("?"),
                self.text("via").unwrap_or("?"),
                self.summary()
            ),
            "approval.resolved" => {
                format!("{}{}", self.text("decision").unwrap_or("?"), self.summary())
            }
            "tool.approved" => format!(
                "approved by {} {actor}",
                self.text("actor_kind").unwrap_or("?")
            ),
            "tool.blocked" => format!("blocked ({codes}){}", self.summary()),
            "tool.revoked" => format!("revoked ({codes}){}", self.summary()),
            "tool.started" => format!("{actor} runs {tool}"),
            "tool.completed" | "outcome.late" | "outcome.reconciled" => self.ended(),
            _ => self.text("output_summary").unwrap_or("").to_owned(),
        }
    }

    fn checked(self) -> String {
        let proof = if self.proved() {
            "proved by a mandate"
        } else {
            "claimed, not proved"
        };
        let mut said = format!(
            "verdict {}; requester {} {proof}{}",
            self.text("verdict").unwrap_or("?"),
            self.text("requester_id").unwrap_or("?"),
            self.summary()
        );
        if let Some(input) = self.text("input_redacted") {
            said.push_str(&format!("\n{:26}input {input}", ""));
        }
        said
    }

    fn ended(self) -> String {
        let mut said = format!("{}{}", self.text("outcome").unwrap_or("?"), self.summary());
        said.push_str(&self.quoted("purpose"));
        if let Some(changes) = self.text("changes") {
            said.push_str(&format!("\n{:26}changes {changes}", ""));
        }
        said
    }

    fn summary(self) -> String {
        self.text("output_summary")
            .map(|told| format!(": {told}"))
            .unwrap_or_default()
    }

    fn quoted(self, name: &str) -> String {
        self.text(name)
            .map(|words| format!(", saying \"{words}\""))
            .unwrap_or_default()
    }
}
