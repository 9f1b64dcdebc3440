//! One of the things that an approval is about.

use countersign_schemas::events::{Operation, PolicyChecked};
use countersign_schemas::{IntentId, JsonObject};
use serde::{Deserialize, Serialize};

/// One intent in an approval, with the verdict that was asked about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    checked: PolicyChecked,
    operation: Operation,
}

impl Item {
    /// `None` for a tool that the catalog does not know.
    pub(super) fn new(checked: &PolicyChecked) -> Option<Self> {
        Some(Self {
            operation: checked.operation?,
            checked: checked.clone(),
        })
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
