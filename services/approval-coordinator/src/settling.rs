//! What follows from the end of an approval: the decision, the event that tells it, and a
//! handoff to those who were asked. The end itself is stored before any of it.

use countersign_domain::decision::Decision;
use countersign_runtime::bus::Failure;
use countersign_schemas::Address;
use countersign_schemas::events::ApprovalState;

use crate::counters;
use crate::office::{Held, Office};

impl Office {
    /// Stores everything that follows from the end of `held`, then notes that it is done.
    /// Does nothing for an approval that is pending or settled.
    pub(crate) async fn settle(&self, mut held: Held, trace: Option<&str>) -> Result<(), Failure> {
        let approval = &held.approval;
        if approval.is_settled() {
            return Ok(());
        }
        let Some(resolved) = approval.resolved() else {
            return Ok(());
        };
        if approval.state() == ApprovalState::Approved {
            self.trust_clock()?;
        }
        let decisions = self
            .desk
            .after_approval(approval, self.clock.now())
            .map_err(|error| Failure::fatal(format!("cannot sign a permit: {error}")))?;
        for mut decision in decisions {
            if let Decision::Blocked(blocked) = &mut decision
                && let Some(handoff) = &mut blocked.handoff
            {
                handoff.link = self.link(approval.id());
            }
            // An intent that was withdrawn or decided otherwise meanwhile stays so.
            self.decide(&decision, trace).await?;
        }
        let id = approval.id().clone();
        let address = Address::ApprovalResolved {
            approval: id.clone(),
        };
        self.say(&address, &resolved, trace).await?;
        let people = self.people();
        for handoff in self.writer(people.as_ref()).resolved(approval) {
            self.hand_off(handoff, id.as_str(), trace).await?;
        }
        counters::resolved(approval.state().as_str());
        tracing::info!(approval = %id, state = %approval.state(), trace, "approval ended");
        held.approval.settle();
        // Lost only to another coordinator that settles the same end.
        self.keep(&held).await.map(drop)
    }
}
