//! Ends that nobody else would store: permits that were never claimed, claims that were
//! never finished.

use std::time::Duration;

use countersign_schemas::Timestamp;
use countersign_schemas::events::{
    Outcome, Reason, RevokedCode, ToolApproved, ToolCompleted, ToolError, ToolRevoked, ToolStarted,
};

use super::words::{of_revocation, tried};

/// The revocation of an approved, unclaimed intent.
#[must_use]
pub fn revoked(approved: &ToolApproved, code: RevokedCode, why: &str) -> ToolRevoked {
    let words = of_revocation(code);
    ToolRevoked {
        schema_version: 1,
        intent_id: approved.intent_id,
        request: approved.request.clone(),
        agent: approved.agent.clone(),
        requester: approved.requester.clone(),
        tool: approved.tool.clone(),
        code,
        tried: tried(&approved.agent, &approved.tool, &approved.requester, ""),
        reasons: vec![Reason {
            code: code.as_str().to_owned(),
            message: why.to_owned(),
            policy_id: None,
        }],
        needs: words.needs(code.as_str()),
        handoff: None,
        next_action: words.next,
    }
}

/// The outcome of a run that was claimed at `started_at` and never heard of again.
#[must_use]
pub fn unknown(started: &ToolStarted, started_at: Timestamp) -> ToolCompleted {
    let lease: Duration = started.lease_until.since(started_at);
    ToolCompleted {
        schema_version: 1,
        intent_id: started.intent_id,
        agent: started.agent.clone(),
        tool: started.tool.clone(),
        outcome: Outcome::Unknown,
        output: None,
        output_summary: format!(
            "{} was started for {} and never reported back.",
            started.tool, started.agent
        ),
        changes: Vec::new(),
        error: Some(ToolError {
            code: "lease_expired".to_owned(),
            message: format!(
                "{} claimed it and said nothing until its claim ended at {}; it may or may not \
                 have happened, so people must look before it is tried again",
                started.executor, started.lease_until
            ),
        }),
        duration_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
    }
}
