//! What follows from the end of an approval: the window that it opens, the event that tells
//! it, the decision, and a handoff to those who were asked. The end itself is stored before
//! any of it.

use countersign_domain::approvals::Approval;
use countersign_domain::decision::{Decision, taken_out};
use countersign_domain::windows::Window;
use countersign_runtime::bus::Failure;
use countersign_schemas::Address;
use countersign_schemas::events::{ApprovalState, BlockedCode};

use crate::counters;
use crate::kept::Held;
use crate::office::Office;

impl Office {
    /// Stores everything that follows from the end of `held`, then notes that it is done.
    /// Does nothing for an approval that is pending or settled.
    pub(crate) async fn settle(
        &self,
        mut held: Held<Approval>,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let approval = &held.value;
        if approval.is_settled() {
            return Ok(());
        }
        let Some(resolved) = approval.resolved() else {
            return Ok(());
        };
        if let ApprovalState::Approved | ApprovalState::Partial = approval.state() {
            self.trust_clock()?;
        }
        if let Some(window) = Window::of(approval) {
            self.open_window(window, trace).await?;
        }
        let found = self
            .desk
            .after_approval(approval, self.clock.now())
            .map_err(|error| Failure::fatal(format!("cannot sign a permit: {error}")))?;
        let mut decisions = Vec::with_capacity(found.len());
        for decision in found {
            let mut decision = match approval.item(decision.intent()) {
                Some(item) => self.unless_frozen(decision, item.checked())?,
                None => decision,
            };
            self.add_link(&mut decision);
            decisions.push(decision);
        }
        let id = approval.id().clone();
        let address = Address::ApprovalResolved {
            approval: id.clone(),
        };
        // Before the decisions: whoever judges one of them again finds who approved it.
        self.say(&address, &resolved, trace).await?;
        let frozen: Vec<Decision> = decisions
            .iter()
            .filter(|decision| approval.has_been_granted() && is_frozen(decision))
            .cloned()
            .collect();
        self.decide_all(decisions, trace).await?;
        let people = self.people();
        for handoff in self.writer(people.as_ref()).resolved(approval) {
            self.hand_off(handoff, id.as_str(), trace).await?;
        }
        // They hear above that it may run; of these it is not so.
        for decision in &frozen {
            if let Some(item) = approval.item(decision.intent()) {
                self.decide_at_once(decision, item.checked(), trace).await?;
            }
        }
        counters::resolved(approval.state().as_str());
        tracing::info!(approval = %id, state = %approval.state(), trace, "approval ended");
        held.value.settle();
        // Lost only to another coordinator that settles the same end.
        self.keep(&held).await.map(drop)
    }

    /// Stores what follows from a change of `held` by which single items were taken out:
    /// the blocks of those, each told to whoever can help, or everything if it was the end
    /// of it.
    pub(crate) async fn settle_taken_out(
        &self,
        held: Held<Approval>,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        if !held.value.is_pending() {
            return self.settle(held, trace).await;
        }
        let approval = &held.value;
        for item in approval.items() {
            // What a person left out is told when the others are decided.
            let Some(struck) = item.struck().filter(|struck| struck.by.is_none()) else {
                continue;
            };
            let mut decision = taken_out(approval, item.checked(), struck);
            self.add_link(&mut decision);
            self.decide_at_once(&decision, item.checked(), trace)
                .await?;
        }
        Ok(())
    }

    fn add_link(&self, decision: &mut Decision) {
        if let Decision::Blocked(blocked) = decision
            && let Some(handoff) = &mut blocked.handoff
        {
            handoff.link = handoff.approval_id.as_ref().and_then(|id| self.link(id));
        }
    }
}

/// Whether a freeze stopped it.
fn is_frozen(decision: &Decision) -> bool {
    match decision {
        Decision::Blocked(blocked) => blocked.code == BlockedCode::Frozen,
        Decision::Approved(_) => false,
    }
}
