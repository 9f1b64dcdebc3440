//! Checks in code that run after Cedar allows or asks. Each passes, asks people or
//! denies; an error of a guardrail is a deny.

mod address;
mod amount_limit;
mod asking;
mod domains;
mod email_domains;
mod external;
mod fact_key;
mod invoice_total;
mod match_fact;
pub(crate) mod money;
mod quota;
mod secrets_in_input;
mod setup;
#[cfg(test)]
mod tests;
mod time_of_day;
mod update_fields;

use std::collections::BTreeSet;
use std::fmt::Debug;

use countersign_schemas::events::CheckedRequester;
use countersign_schemas::{AgentId, Timestamp, Token, ToolName};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::mandate::Mandate;
use crate::policy::{AskRule, Known, Pointer, Wish};

pub use amount_limit::{AmountLimit, AmountLimitSettings, LimitTable};
pub use asking::Otherwise;
pub use email_domains::{EmailDomains, EmailDomainsSettings};
pub use external::{External, ExternalSettings};
pub use invoice_total::{InvoiceTotal, InvoiceTotalSettings, Rounding};
pub use match_fact::{MatchFact, MatchFactSettings};
pub use money::Halves;
pub use quota::{BudgetSettings, Quota, QuotaGuard, RateSettings};
pub use secrets_in_input::{SecretsInInput, SecretsInInputSettings};
pub use setup::Fault;
pub(crate) use setup::{Setup, quote};
pub use time_of_day::{TimeOfDay, TimeOfDaySettings};
pub use update_fields::{UpdateFields, UpdateFieldsSettings};

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
    /// Refused because what one window takes is used up.
    Exceeded {
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
    /// The roles that entities.json gives it.
    pub roles: &'a BTreeSet<Token>,
    /// The tool.
    pub tool: &'a ToolName,
    /// On whose behalf.
    pub requester: &'a CheckedRequester,
    /// The requester's mandate, where a sound one was brought.
    pub mandate: Option<&'a Mandate>,
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

    /// The fact of the mandate that it reads; the catalog must declare it.
    fn fact(&self) -> Option<&str> {
        None
    }

    /// Who may lift what it finds, where it asks; lint compares their times with retention.
    fn asks(&self) -> Vec<&AskRule> {
        Vec::new()
    }

    /// What it takes in one window, where it counts.
    fn quota(&self) -> Option<&Quota> {
        None
    }
}

/// A guardrail as a tool's table in the catalog sets it.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GuardrailSettings {
    /// Amounts must be within limits.
    AmountLimit(AmountLimitSettings),
    /// How much one window takes.
    Budget(BudgetSettings),
    /// Recipients must be at known domains.
    EmailDomains(EmailDomainsSettings),
    /// A micro service decides.
    External(ExternalSettings),
    /// Lines must add up to the total.
    InvoiceTotal(Box<InvoiceTotalSettings>),
    /// A field must equal a trusted fact.
    MatchFact(MatchFactSettings),
    /// How often in one window.
    Rate(RateSettings),
    /// An input must hold no secrets.
    SecretsInInput(SecretsInInputSettings),
    /// Only at certain hours.
    TimeOfDay(TimeOfDaySettings),
    /// An agent may change its own fields only.
    UpdateFields(UpdateFieldsSettings),
}

impl GuardrailSettings {
    /// Reads one table of a tool's `guardrails`.
    pub(crate) fn read(table: &toml::Value) -> Result<Self, Fault> {
        Self::deserialize(table.clone()).map_err(|error| Fault {
            what: error.message().to_owned(),
            mend: "docs/policy.md lists the keys of each guardrail".to_owned(),
        })
    }

    /// Its name, as in the catalog.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::AmountLimit(_) => amount_limit::NAME,
            Self::Budget(_) => quota::BUDGET,
            Self::EmailDomains(_) => email_domains::NAME,
            Self::External(_) => external::NAME,
            Self::InvoiceTotal(_) => invoice_total::NAME,
            Self::MatchFact(_) => match_fact::NAME,
            Self::Rate(_) => quota::RATE,
            Self::SecretsInInput(_) => secrets_in_input::NAME,
            Self::TimeOfDay(_) => time_of_day::NAME,
            Self::UpdateFields(_) => update_fields::NAME,
        }
    }

    /// The input fields that it reads.
    pub(crate) fn pointers(&self) -> Vec<&str> {
        match self {
            Self::AmountLimit(settings) => settings.pointers(),
            Self::Budget(settings) => vec![settings.amount.as_str()],
            Self::EmailDomains(settings) => strs(&settings.pointers),
            Self::InvoiceTotal(settings) => settings.pointers(),
            Self::MatchFact(settings) => settings.pointers(),
            Self::SecretsInInput(settings) => strs(&settings.except),
            Self::External(_) | Self::Rate(_) | Self::TimeOfDay(_) => Vec::new(),
            Self::UpdateFields(settings) => settings.pointers(),
        }
    }

    /// Builds the guardrail, or tells every fault of its settings.
    pub(crate) fn build(&self, setup: &Setup<'_>) -> Result<Box<dyn Guardrail>, Vec<Fault>> {
        match self {
            Self::AmountLimit(settings) => boxed(AmountLimit::new(settings, setup)),
            Self::Budget(settings) => boxed(QuotaGuard::budget(settings, setup)),
            Self::EmailDomains(settings) => boxed(EmailDomains::new(settings, setup)),
            Self::External(settings) => boxed(External::new(settings, setup)),
            Self::InvoiceTotal(settings) => boxed(InvoiceTotal::new(settings)),
            Self::MatchFact(settings) => boxed(MatchFact::new(settings, setup)),
            Self::Rate(settings) => boxed(QuotaGuard::rate(settings, setup)),
            Self::SecretsInInput(settings) => boxed(SecretsInInput::new(settings, setup)),
            Self::TimeOfDay(settings) => boxed(TimeOfDay::new(settings, setup)),
            Self::UpdateFields(settings) => boxed(UpdateFields::new(settings, setup)),
        }
    }
}

fn boxed<G: Guardrail + 'static>(
    built: Result<G, Vec<Fault>>,
) -> Result<Box<dyn Guardrail>, Vec<Fault>> {
    built.map(|guard| -> Box<dyn Guardrail> { Box::new(guard) })
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
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
