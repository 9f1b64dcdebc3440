//! A tool whose definition changed is another tool to whoever was asked about it: what
//! waits for people on the old one is ended, and the agent is told to ask anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use countersign_domain::approvals::{Approval, Item};
use countersign_domain::policy::Bundle;
use countersign_runtime::bus::{BusError, Failure};
use countersign_runtime::policy::{InForce, Policy};
use countersign_schemas::events::BlockedCode;
use countersign_schemas::{ApprovalId, IntentId, Timestamp};

use futures::StreamExt as _;
use tokio::time::Instant;

use crate::office::{Office, TRIES};
use crate::pending::Judged;

/// How often it is looked whether another bundle is in force.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Approvals that are ended at once: votes are counted beside them.
const VOIDED_AT_ONCE: usize = 8;
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
        let published = policy
            .now()
            .published()
            .map(|(at, which)| (at, which.digest));
        let due = again.is_some_and(|at| Instant::now() >= at);
        if published.is_none() || (published == done && !due) {
            continue;
        }
        match office.void_changed(&policy).await {
            Ok(()) => {
                again = (published != done).then(|| Instant::now() + LOOK_AGAIN_AFTER);
                done = published;
            }
            Err(failure) => tracing::warn!(%failure, "what a changed tool voids is not ended yet"),
        }
    }
}

impl Office {
    /// Ends what uses a tool that the bundle in force defines otherwise. The index says
    /// which that is: a push that changes no tool reads nothing, however much waits.
    async fn void_changed(&self, policy: &Policy) -> Result<(), Failure> {
        let known = self.pending.all_judged();
        // Asked after the index was read, so the bundle is not older than what judged.
        let by = known_by(policy).await?;
        let Ok(bundle) = by.bundle() else {
            return Ok(());
        };
        let changed: BTreeSet<Judged> = known
            .into_iter()
            .filter(|judged| is_changed(bundle, judged))
            .collect();
        let ids = self.pending.ids_judged_by(|one| changed.contains(one));
        let void = async |id: ApprovalId| self.void_by(&id, bundle).await;
        let voided: Vec<Result<(), Failure>> = futures::stream::iter(ids)
            .map(void)
            .buffer_unordered(VOIDED_AT_ONCE)
            .collect()
            .await;
        // One that cannot be ended now keeps none of the others.
        voided.into_iter().collect()
    }

    /// Takes out of an approval that was just stored whatever would use a tool whose
    /// definition changed since.
    pub(crate) async fn void_if_changed(
        &self,
        id: &ApprovalId,
        policy: &Policy,
    ) -> Result<(), Failure> {
        let by = known_by(policy).await?;
        match by.bundle() {
            Ok(bundle) => self.void_by(id, bundle).await,
            Err(_) => Ok(()),
        }
    }

    /// The same by a bundle that is not older than the one that judged it.
    async fn void_by(&self, id: &ApprovalId, bundle: &Bundle) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let Some(mut held) = self.held(id).await? else {
                return Ok(());
            };
            if !take_out_changed(bundle, &mut held.value, self.clock.now()) {
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

/// The bundle in force, where it is known to be the published one.
async fn known_by(policy: &Policy) -> Result<Arc<InForce>, Failure> {
    let by = policy.refresh().await;
    by.map_err(|behind| Failure::transient(behind.to_string()))
}

/// Whether anything was taken out.
fn take_out_changed(bundle: &Bundle, approval: &mut Approval, now: Timestamp) -> bool {
    let why = "the tool's definition changed after people were asked";
    if approval.is_pending() && approval.window_tools_changed(bundle) {
        return approval.void(BlockedCode::ToolChanged, why, now);
    }
    let changed: Vec<IntentId> = approval
        .live_items()
        .filter(|item| is_changed(bundle, &Judged::of(item)))
        .map(Item::intent)
        .collect();
    let mut any = false;
    for intent in changed {
        any |= approval.take_out(intent, BlockedCode::ToolChanged, why, now);
    }
    any
}

fn is_changed(bundle: &Bundle, judged: &Judged) -> bool {
    let now = bundle.catalog().tool(&judged.tool);
    judged.policy != bundle.digest()
        && now.map(countersign_domain::policy::Tool::digest) != judged.definition
}
