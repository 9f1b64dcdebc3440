//! From the end of a call to `tool.completed`, without leaking. Pure.

use std::time::Duration;

use countersign_domain::policy::Tool;
use countersign_domain::redact::Redactor;
use countersign_schemas::events::{Outcome, OutcomeLate, ToolApproved, ToolCompleted, ToolError};

use crate::call::{End, Trouble};
use crate::output::{Presented, present, words};

/// The outcome of a run that ended with `end` after `took`.
pub(crate) fn completed(
    redactor: &Redactor,
    tool: &Tool,
    expose: &[String],
    approved: &ToolApproved,
    end: &End,
    took: Duration,
) -> ToolCompleted {
    let name = &approved.tool;
    let error = |trouble: &Trouble| ToolError {
        code: trouble.code.clone(),
        message: words(redactor, &trouble.message),
    };
    let (outcome, presented, error, output_summary) = match end {
        End::Done(Some(answer)) => {
            let presented = present(redactor, tool, expose, answer);
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
