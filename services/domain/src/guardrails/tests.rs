//! A case to try guardrails on.

use countersign_schemas::events::CheckedRequester;
use countersign_schemas::{AgentId, Timestamp, ToolName};
use serde_json::{Map, Value};

use super::{Case, Finding, Guardrail, GuardrailError};
use crate::policy::Known;

/// What surrounds an input in a test.
pub(super) struct Desk {
    agent: AgentId,
    tool: ToolName,
    requester: CheckedRequester,
    pub(super) at: Timestamp,
    pub(super) known: Known,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            agent: "billing".parse().unwrap(),
            tool: "mail.send".parse().unwrap(),
            requester: CheckedRequester {
                id: "kim".parse().unwrap(),
                verified: false,
            },
            at: Timestamp::EPOCH,
            known: Known::default(),
        }
    }

    pub(super) fn case<'a>(&'a self, input: &'a Map<String, Value>) -> Case<'a> {
        Case {
            agent: &self.agent,
            tool: &self.tool,
            requester: &self.requester,
            input,
            at: self.at,
            known: &self.known,
        }
    }

    /// What `guard` finds on `input`.
    pub(super) fn check(
        &self,
        guard: &dyn Guardrail,
        input: &Value,
    ) -> Result<Finding, GuardrailError> {
        guard.check(&self.case(input.as_object().unwrap()))
    }
}

/// What `guard` finds, as a word.
pub(super) fn word(found: &Result<Finding, GuardrailError>) -> &'static str {
    match found {
        Ok(Finding::Pass { .. }) => "pass",
        Ok(Finding::Ask { .. }) => "ask",
        Ok(Finding::Deny { .. }) => "deny",
        Ok(Finding::Wants(_)) => "wants",
        Err(_) => "error",
    }
}
