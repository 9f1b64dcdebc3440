//! Checks in code that run after Cedar allows or asks. Each passes, asks people or
//! denies; an error of a guardrail is a deny.

mod address;
mod domains;
mod email_domains;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Debug;

use countersign_schemas::events::CheckedRequester;
use countersign_schemas::{AgentId, PersonId, TeamId, Timestamp, ToolName};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::policy::{AskRule, Known, Pointer, Wish};

pub use email_domains::{EmailDomains, EmailDomainsSettings};

/// What one guardrail found.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// Nothing to object to.
    Pass {
        /// What was checked, in words.
        message: String,
    },
    /// People must decide.
    Ask {
        /// What was found, in words; never a value of the input.
        message: String,
        /// What would make it possible.
        need: String,
        /// Who must decide.
        ask: AskRule,
    },
    /// Refused.
    Deny {
        /// What was found, in words; never a value of the input.
        message: String,
        /// What would make it possible.
        need: String,
    },
    /// Something must be learnt first.
    Wants(Wish),
}

/// What a guardrail sees of one intent.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Who wants to act.
    pub agent: &'a AgentId,
    /// The tool.
    pub tool: &'a ToolName,
    /// On whose behalf.
    pub requester: &'a CheckedRequester,
    /// The input; it has passed the tool's schema.
    pub input: &'a Map<String, Value>,
    /// When the intent was stored: the time to judge it by.
    pub at: Timestamp,
    /// What was learnt for this judgement.
    pub known: &'a Known,
}

/// A guardrail could not come to a finding; the intent is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("guardrail `{name}` could not judge: {what}")]
pub struct GuardrailError {
    /// The guardrail.
    pub name: &'static str,
    /// Why, in words; never a value of the input.
    pub what: String,
}

/// A check in code over one intent.
pub trait Guardrail: Debug + Send + Sync {
    /// Its name, as in the catalog.
    fn name(&self) -> &'static str;

    /// Judges one intent that the rules allow or ask.
    ///
    /// # Errors
    /// When the guardrail cannot judge; the intent is then denied.
    fn check(&self, case: &Case<'_>) -> Result<Finding, GuardrailError>;

    /// The input fields that hold recipients of messages.
    fn recipients(&self) -> &[Pointer] {
        &[]
    }
}

/// A guardrail as a tool's table in the catalog sets it.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GuardrailSettings {
    /// Recipients must be at known domains.
    EmailDomains(EmailDomainsSettings),
}

impl GuardrailSettings {
    /// The input fields that it reads.
    pub(crate) fn pointers(&self) -> &[String] {
        match self {
            Self::EmailDomains(settings) => &settings.pointers,
        }
    }

    /// Builds the guardrail; `members` answers who is in a team.
    pub(crate) fn build<'p>(
        &self,
        members: impl Fn(&TeamId) -> Option<&'p BTreeSet<PersonId>>,
    ) -> Result<Box<dyn Guardrail>, Vec<String>> {
        match self {
            Self::EmailDomains(settings) => EmailDomains::new(settings, members)
                .map(|guard| -> Box<dyn Guardrail> { Box::new(guard) }),
        }
    }
}

/// The domains of every recipient at `pointers`, in lower-case ASCII form, or `None` if
/// one cannot be read with certainty.
pub(crate) fn recipient_domains(
    pointers: &[Pointer],
    input: &Map<String, Value>,
) -> Option<BTreeSet<String>> {
    let found = address::recipients(pointers, input).ok()?;
    found
        .iter()
        .map(|address| domains::Domain::read(&address.domain).map(|domain| domain.ascii))
        .collect()
}

/// The domains of a list of addresses as people see them, or `None` if one cannot be read.
pub(crate) fn shown_domains(text: &str) -> Option<Vec<String>> {
    let found = address::list(text).ok()?;
    found
        .iter()
        .map(|address| domains::Domain::read(&address.domain).map(|domain| domain.ascii))
        .collect()
}
