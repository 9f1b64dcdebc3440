//! The name of a bundle, which is used once: what people were asked under it stays what they
//! were asked.

use countersign_schemas::events::BlockedCode;
use countersign_schemas::{BundleId, IntentId};

use super::super::approval::Approval;

/// Why no item is taken into a bundle whose name another bundle had.
#[must_use]
pub fn name_was_used(name: &BundleId) -> (BlockedCode, String) {
    let why = format!(
        "The bundle name {name} was used before; take a new one, and send the whole bundle again \
         with new intents."
    );
    (BlockedCode::InvalidInput, why)
}

impl Approval {
    /// Whether an intent was of the bundle that people were asked about, be it left out.
    #[must_use]
    pub fn is_of(&self, intent: IntentId) -> bool {
        self.item(intent).is_some() || self.left_out_item(intent).is_some()
    }

    /// Whether both ask about the same intents in the same order.
    #[must_use]
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.intents() == other.intents()
    }
}
