//! Names of bundles that were used before. A gathering is forgotten some time after it
//! ended; what people were asked under its name is kept for longer.

use countersign_domain::approvals::name_was_used;
use countersign_runtime::bus::Failure;
use countersign_schemas::events::{ApprovalRequested, ApprovalResolved, PolicyChecked};
use countersign_schemas::{Address, ApprovalId, BundleId};

use crate::bundles::Taken;
use crate::office::Office;

impl Office {
    /// What becomes of an item whose bundle is not gathered, where people were asked about
    /// a bundle of its name before; `None` where they were not.
    pub(crate) async fn of_used_name(
        &self,
        checked: &PolicyChecked,
        name: &BundleId,
        id: &ApprovalId,
    ) -> Result<Option<Taken>, Failure> {
        // The events first: an approval is stored before them, so where they are there and
        // it is not, it was forgotten, and every intent of it has its decision.
        let told = self.was_told(id).await?;
        if let Some(held) = self.held(id).await? {
            let approval = held.value;
            return Ok(Some(match approval.is_of(checked.intent_id) {
                true => Taken::Before(approval.left_out_item(checked.intent_id).cloned()),
                false => Taken::Not(name_was_used(name)),
            }));
        }
        Ok(told.then(|| Taken::Not(name_was_used(name))))
    }

    /// Whether an event says that people were asked, or that it ended.
    async fn was_told(&self, id: &ApprovalId) -> Result<bool, Failure> {
        let approval = id.clone();
        let asked = Address::ApprovalRequested { approval };
        if self.stands::<ApprovalRequested>(&asked).await? {
            return Ok(true);
        }
        // One that came due before anybody was asked has its end only.
        let approval = id.clone();
        let ended = Address::ApprovalResolved { approval };
        self.stands::<ApprovalResolved>(&ended).await
    }
}
