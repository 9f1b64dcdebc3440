//! An item of a bundle that nobody can grant, or no longer.

use countersign_schemas::events::{BlockedCode, BundleRef, CheckedRequester, PolicyChecked};
use countersign_schemas::{Digest, IntentId, ToolName};
use serde::{Deserialize, Serialize};

use super::super::visible::visible;

/// An item of a bundle that will not run, whatever becomes of the others. People are shown
/// it struck out, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its place in the bundle, from 0.
    pub index: u32,
    /// Which intent.
    pub intent_id: IntentId,
    /// Which tool.
    pub tool: ToolName,
    /// On whose behalf.
    pub requester: CheckedRequester,
    /// One sentence on what would have happened.
    pub summary: String,
    /// Digest of the exact input.
    pub input_digest: Digest,
    /// Why, as a stable code.
    pub code: BlockedCode,
    /// Why, as a sentence.
    pub reason: String,
}

impl LeftOut {
    pub(super) fn new(
        checked: &PolicyChecked,
        place: &BundleRef,
        code: BlockedCode,
        reason: String,
    ) -> Self {
        Self {
            index: place.index,
            intent_id: checked.intent_id,
            tool: checked.tool.clone(),
            requester: checked.requester.clone(),
            summary: checked.summary.clone(),
            input_digest: checked.input_digest,
            code,
            reason,
        }
    }

    /// As people are shown it: no text of others hides anything.
    #[must_use]
    pub(in super::super) fn shown(&self) -> Self {
        Self {
            summary: visible(&self.summary),
            reason: visible(&self.reason),
            ..self.clone()
        }
    }
}
