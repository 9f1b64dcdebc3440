//! Who is behind a request, as far as that is proved.

use std::collections::BTreeMap;

use countersign_schemas::events::{BlockedCode, CheckedRequester, ToolRequested};
use countersign_schemas::{AgentId, Timestamp};

use super::context;
use super::input_schema::CedarType;
use super::refusal::Finding;
use super::tool::Tool;
use crate::mandate::{Issuers, Mandate, MandateError};

/// What a request's mandate proves.
#[derive(Debug)]
pub(crate) struct Proof {
    /// On whose behalf; `verified` only where a mandate of that very person says so.
    pub(crate) requester: CheckedRequester,
    mandate: Result<Option<Mandate>, MandateError>,
}

impl Proof {
    /// Checks the mandate of `request`, if it brings one.
    pub(crate) fn of(
        request: &ToolRequested,
        agent: &AgentId,
        issuers: &Issuers,
        at: Timestamp,
    ) -> Self {
        let id = request.requester.id.clone();
        let token = request.requester.mandate.as_deref();
        let mandate = token.map(|token| {
            let mandate = issuers.verify(token, agent, at)?;
            match *mandate.person() == id {
                true => Ok(mandate),
                false => Err(MandateError::WrongPerson),
            }
        });
        let mandate = mandate.transpose();
        let verified = matches!(mandate, Ok(Some(_)));
        Self {
            requester: CheckedRequester { id, verified },
            mandate,
        }
    }

    /// The mandate, where a sound one was brought.
    pub(crate) fn mandate(&self) -> Option<&Mandate> {
        self.mandate.as_ref().ok().and_then(Option::as_ref)
    }

    /// Refuses a call that a mandate was brought for and that it does not cover. This
    /// limits whatever the rules say: nobody has to think of it in a policy.
    pub(crate) fn refusal(
        &self,
        tool: &Tool,
        facts: &BTreeMap<String, CedarType>,
    ) -> Option<Finding> {
        let mandate = match &self.mandate {
            Ok(mandate) => mandate.as_ref()?,
            Err(error) => {
                return Some(invalid(
                    error,
                    "a valid mandate of the requester for this agent",
                ));
            }
        };
        if !mandate.scope().covers(&tool.name, tool.operation) {
            let need = format!(
                "a mandate whose scope has `tool:{}` or `operation:{}`",
                tool.name, tool.operation
            );
            return Some(invalid(&MandateError::OutOfScope, need));
        }
        let wrong = |(name, kind): &(&String, &CedarType)| {
            let stated = mandate.facts().get(*name);
            stated.is_some_and(|value| !context::is_of_type(kind, value))
        };
        let (name, _) = facts.iter().find(wrong)?;
        let error = MandateError::FactType(name.clone());
        Some(invalid(
            &error,
            "a mandate whose facts are as the catalog says",
        ))
    }
}

fn invalid(error: &MandateError, need: impl Into<String>) -> Finding {
    Finding::deny(BlockedCode::MandateInvalid, error.to_string(), need)
}
