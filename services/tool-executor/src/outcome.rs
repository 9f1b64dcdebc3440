//! From the end of a call to `tool.completed`, without leaking. Pure.

use std::time::Duration;

use countersign_domain::policy::Tool;
use countersign_domain::redact::Redactor;
use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::events::{Outcome, OutcomeLate, ToolApproved, ToolCompleted, ToolError};
use countersign_schemas::{JsonObject, limits};

use crate::call::{End, TOOL_FAILED, Trouble};
use crate::output::{Presented, present};
use crate::words::Words;

/// Largest outcome that is stored with what the worker answered: the stream takes twice as
/// much, and readers add to it.
const OUTCOME_BYTES_MAX: usize = limits::STORED_BYTES_MAX / 2;

/// What ran.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran<'a> {
    /// The tool.
    pub(crate) tool: &'a Tool,
    /// The decision.
    pub(crate) approved: &'a ToolApproved,
    /// What the permit lets out of the answer.
    pub(crate) expose: &'a [String],
    /// The input that the worker was given.
    pub(crate) input: &'a JsonObject,
}

/// The outcome of a run that ended with `end` after `took`.
pub(crate) fn completed(
    redactor: &Redactor,
    ran: &Ran<'_>,
    end: &End,
    took: Duration,
) -> ToolCompleted {
    let words = Words::new(redactor, ran.tool, ran.input);
    let (approved, name) = (ran.approved, &ran.approved.tool);
    let error = |trouble: &Trouble| ToolError {
        code: code(&words, trouble),
        message: words.clean(&trouble.message),
    };
    let (outcome, presented, error, output_summary) = match end {
        End::Done(Some(answer)) => {
            let presented = present(&words, ran.tool, ran.expose, answer);
            let summary = done_summary(name.as_str(), &presented);
            (Outcome::Succeeded, presented, None, summary)
        }
        End::Done(None) => {
            let summary = format!("{name} succeeded, but its answer cannot be read.");
            (Outcome::Succeeded, Presented::default(), None, summary)
        }
        End::Failed(trouble) => {
            let error = error(trouble);
            let summary = format!("{name} failed: {}", error.message);
            (Outcome::Failed, Presented::default(), Some(error), summary)
        }
        End::Unknown(trouble) => {
            let error = error(trouble);
            let summary = format!(
                "{name} may or may not have done its work ({}): people must look.",
                error.message
            );
            (Outcome::Unknown, Presented::default(), Some(error), summary)
        }
    };
    ToolCompleted {
        schema_version: 1,
        intent_id: approved.intent_id,
        agent: approved.agent.clone(),
        tool: name.clone(),
        outcome,
        output: presented.output,
        output_summary,
        changes: presented.changes,
        error,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The code of a trouble; one that the worker chose must hold nothing that its words may
/// not hold either.
fn code(words: &Words<'_>, trouble: &Trouble) -> String {
    match trouble.code_is_theirs && words.clean(&trouble.code) != trouble.code {
        true => TOOL_FAILED.to_owned(),
        false => trouble.code.clone(),
    }
}

/// The same outcome, without what the worker answered where it cannot be stored with it:
/// else an outcome that is known would be lost, and people sent to look for it.
pub(crate) fn storable(mut completed: ToolCompleted, encoding: Encoding) -> ToolCompleted {
    let fits =
        codec::encode(&completed, encoding).is_ok_and(|body| body.len() <= OUTCOME_BYTES_MAX);
    if !fits {
        completed.output = None;
        completed.changes.clear();
        let kept_out = " What it answered is too large or too deep to be kept.";
        completed.output_summary.push_str(kept_out);
    }
    completed
}

fn done_summary(name: &str, presented: &Presented) -> String {
    match presented.changes.as_slice() {
        [] => format!("{name} succeeded."),
        [change] => format!("{name} changed {} of {}.", change.field, change.resource),
        many => format!("{name} made {} changes.", many.len()),
    }
}

/// The same outcome, told after the sweep had already ended the chain.
pub(crate) fn late(completed: &ToolCompleted) -> OutcomeLate {
    let completed = completed.clone();
    OutcomeLate {
        schema_version: 1,
        intent_id: completed.intent_id,
        agent: completed.agent,
        tool: completed.tool,
        outcome: completed.outcome,
        output: completed.output,
        output_summary: completed.output_summary,
        changes: completed.changes,
        error: completed.error,
        duration_ms: completed.duration_ms,
    }
}

#[cfg(test)]
mod tests;
