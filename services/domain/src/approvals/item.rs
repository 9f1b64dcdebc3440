//! One of the things that an approval is about.

use countersign_schemas::events::{Operation, PolicyChecked};
use countersign_schemas::{IntentId, JsonObject};
use serde::{Deserialize, Serialize};

use super::strike::Struck;

/// One intent in an approval, with the verdict that was asked about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    checked: PolicyChecked,
    operation: Operation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    struck: Option<Struck>,
}

impl Item {
    /// `None` for a tool that the catalog does not know.
    pub(super) fn new(checked: &PolicyChecked) -> Option<Self> {
        Some(Self::of(checked.clone(), checked.operation?))
    }

    pub(super) fn of(checked: PolicyChecked, operation: Operation) -> Self {
        Self {
            checked,
            operation,
            struck: None,
        }
    }

    /// The verdict.
    #[must_use]
    pub fn checked(&self) -> &PolicyChecked {
        &self.checked
    }

    /// Which intent.
    #[must_use]
    pub fn intent(&self) -> IntentId {
        self.checked.intent_id
    }

    /// What the tool does.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Its place in a bundle, from 0.
    #[must_use]
    pub fn index(&self) -> Option<u32> {
        self.checked.bundle.as_ref().map(|place| place.index)
    }

    /// Why it was taken out after people were asked, if it was.
    #[must_use]
    pub fn struck(&self) -> Option<&Struck> {
        self.struck.as_ref()
    }

    pub(super) fn strike(&mut self, struck: Struck) {
        self.struck = Some(struck);
    }

    /// Keeps no copy of the input and no text of the agent.
    pub(super) fn strip(&mut self) {
        let checked = &mut self.checked;
        checked.input_redacted = JsonObject::default();
        checked.input_shown = JsonObject::default();
        checked.purpose.clear();
        checked.summary.clear();
        checked.session_id = None;
        checked.reasons.clear();
        checked.needs.clear();
        checked.guardrails.clear();
        checked.changes.clear();
        checked.amount = None;
        checked.salt.clear();
        checked.expose.clear();
        checked.ask = None;
    }
}
