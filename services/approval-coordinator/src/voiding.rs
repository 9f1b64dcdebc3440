//! A tool whose definition changed is another tool to whoever was asked about it: what
//! waits for people on the old one is ended, and the agent is told to ask anew.

use std::sync::Arc;
use std::time::Duration;

use countersign_domain::approvals::{Approval, Item};
use countersign_domain::policy::Bundle;
use countersign_runtime::bus::{BusError, Failure};
use countersign_runtime::policy::Policy;
use countersign_schemas::events::BlockedCode;
use countersign_schemas::{ApprovalId, IntentId, Timestamp};

use tokio::time::Instant;

use crate::office::{Office, TRIES};

/// How often it is looked whether another bundle is in force.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// When it is looked once more after a change: by then every verdict of the bundle before
/// it has arrived. What still slips through is revoked by the executor.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Ends what a newly published bundle voids, until shutdown.
pub(crate) async fn follow(office: Arc<Office>) -> Result<(), BusError> {
    let Some(policy) = office.policy.clone() else {
        return Ok(());
    };
    let mut done = None;
    let mut again: Option<Instant> = None;
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            biased;
            () = office.shutdown.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        let revision = policy.now().published().map(|(revision, _)| revision);
        let due = again.is_some_and(|at| Instant::now() >= at);
        if revision.is_none() || (revision == done && !due) {
            continue;
        }
        match office.void_changed(&policy).await {
            Ok(()) => {
                again = (revision != done).then(|| Instant::now() + LOOK_AGAIN_AFTER);
                done = revision;
            }
            Err(failure) => tracing::warn!(%failure, "what a changed tool voids is not ended yet"),
        }
    }
}

impl Office {
    async fn void_changed(&self, policy: &Policy) -> Result<(), Failure> {
        for id in self.pending.ids() {
            self.void_if_changed(&id, policy).await?;
        }
        Ok(())
    }

    /// Takes out of an approval whatever would use a tool whose definition changed since.
    pub(crate) async fn void_if_changed(
        &self,
        id: &ApprovalId,
        policy: &Policy,
    ) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let Some(mut held) = self.held(id).await? else {
                return Ok(());
            };
            // Asked after the approval was read, so the bundle is not older than the one
            // that judged it.
            let by = policy.refresh().await;
            let Ok(bundle) = by.bundle() else {
                return Ok(());
            };
            if !take_out_changed(bundle, &mut held.approval, self.clock.now()) {
                return Ok(());
            }
            if let Some(revision) = self.keep(&held).await? {
                held.revision = revision;
                tracing::info!(approval = %id, "voided: a tool's definition changed");
                return self.settle_taken_out(held, None).await;
            }
        }
        Err(Failure::transient(format!(
            "approval {id} changes too fast"
        )))
    }
}

/// Whether anything was taken out.
fn take_out_changed(bundle: &Bundle, approval: &mut Approval, now: Timestamp) -> bool {
    let why = "the tool's definition changed after people were asked";
    let changed: Vec<IntentId> = approval
        .live_items()
        .filter(|item| is_changed(bundle, item))
        .map(Item::intent)
        .collect();
    let mut any = false;
    for intent in changed {
        any |= approval.take_out(intent, BlockedCode::ToolChanged, why, now);
    }
    any
}

fn is_changed(bundle: &Bundle, item: &Item) -> bool {
    let checked = item.checked();
    let now = bundle.catalog().tool(&checked.tool);
    checked.policy_digest != bundle.digest()
        && now.map(countersign_domain::policy::Tool::digest) != checked.tool_digest
}
