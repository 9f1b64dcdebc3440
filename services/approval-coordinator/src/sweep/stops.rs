//! Freezes that take effect: which intents were open at that point of the log, and what
//! becomes of each. Every coordinator carries out every freeze; the chains let one of them
//! win, and all of them count the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_domain::chain::Head;
use countersign_domain::freeze::{
    Effect, Freezes, IntentFate, Read, Tally, Target, Void, covers, fate, read, stopped,
};
use countersign_runtime::bus::{Failure, StoredMessage};
use countersign_schemas::events::{
    ControlApplied, ControlDone, FreezeScope, RevokedCode, ToolApproved, ToolStarted,
};
use countersign_schemas::{Address, IntentId, SeqToken, Stream, headers};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;

use super::index::{Index, Open};
use crate::freezes;
use crate::office::{Office, TRIES, decode, is_type, read_head, trace_in};

/// Intents looked at at once: each is a read and a write.
const RUNNING_MAX: usize = 64;
/// Pause before a freeze that could not be carried out is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A freeze or release whose end is not known to be stored.
#[derive(Debug)]
struct Stop {
    order: SeqToken,
    /// Where in the log it took effect.
    seq: u64,
    event: ControlApplied,
    /// What was open where it took effect.
    open: Vec<(IntentId, Open)>,
    trace: Option<String>,
}

/// The freezes of one reading of the log.
#[derive(Default)]
pub(super) struct Stops {
    freezes: Freezes,
    waiting: BTreeMap<SeqToken, Stop>,
    running: JoinSet<()>,
}

impl Stops {
    /// Takes in a message on `control.applied.>` or `control.done.>`, with what was open at
    /// that point.
    pub(super) fn take_in(&mut self, message: &StoredMessage, index: &Index) {
        match message.address() {
            Some(Address::ControlApplied { seq }) => self.applied(seq, message, index),
            Some(Address::ControlReapplied { .. }) => {
                freezes::take_in(&mut self.freezes, message);
            }
            Some(Address::ControlDone { seq }) if is_type::<ControlDone>(message) => {
                self.waiting.remove(&seq);
            }
            _ => {}
        }
    }

    fn applied(&mut self, order: SeqToken, message: &StoredMessage, index: &Index) {
        let effect = freezes::take_in(&mut self.freezes, message);
        let Read::Applied(applied) = read(&message.as_last()) else {
            return;
        };
        let event = applied.event;
        let open = match effect {
            Effect::Frozen | Effect::Still => index.open_of(event.scope.agent.as_ref()),
            Effect::Released | Effect::Nothing | Effect::Superseded => Vec::new(),
            Effect::Known | Effect::Blind | Effect::NotOurs => return,
        };
        let stop = Stop {
            order: order.clone(),
            seq: message.seq,
            event,
            open,
            trace: trace_in(&message.headers),
        };
        self.waiting.insert(order, stop);
    }

    /// Begins with everything whose end is not stored. Only once the log is read to its
    /// end: before that the end may still come.
    pub(super) fn begin(&mut self, office: &Arc<Office>) {
        while self.running.try_join_next().is_some() {}
        for (_, stop) in std::mem::take(&mut self.waiting) {
            self.running.spawn(carry_out(Arc::clone(office), stop));
        }
    }
}

/// Carries a freeze out, however often it takes.
async fn carry_out(office: Arc<Office>, stop: Stop) {
    loop {
        match office.stop(&stop).await {
            Ok(()) => return,
            Err(failure) => {
                tracing::warn!(order = %stop.order, %failure, "a freeze is not carried out yet");
            }
        }
        tokio::select! {
            () = office.shutdown.cancelled() => return,
            () = tokio::time::sleep(RETRY_AFTER) => {}
        }
    }
}

/// What became of one open intent.
enum Found {
    Revoked,
    Stopped,
    Running(IntentId),
    Nothing,
}

impl Office {
    async fn stop(&self, stop: &Stop) -> Result<(), Failure> {
        let one = |(intent, open): (IntentId, Open)| async move {
            self.stop_one(stop, intent, &open).await
        };
        let found: Vec<Found> = stream::iter(stop.open.iter().cloned())
            .map(one)
            .buffer_unordered(RUNNING_MAX)
            .try_collect()
            .await?;
        let mut tally = Tally::default();
        for one in found {
            match one {
                Found::Revoked => tally.revoked(),
                Found::Stopped => tally.stopped(),
                Found::Running(intent) => tally.running(intent),
                Found::Nothing => {}
            }
        }
        // What decides reads the log for itself; whoever hears the end finds it in force.
        self.freezes.comes_to(stop.seq).await?;
        let took = self.clock.now().since(stop.event.applied_at);
        let done = tally.done(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        let address = Address::ControlDone {
            seq: stop.order.clone(),
        };
        tracing::warn!(
            order = %stop.order, revoked = done.revoked, stopped = done.stopped,
            running = done.running.len(), duration_ms = done.duration_ms, "an order is complete"
        );
        self.say(&address, &done, stop.trace.as_deref()).await
    }

    async fn stop_one(&self, stop: &Stop, intent: IntentId, open: &Open) -> Result<Found, Failure> {
        let scope = &stop.event.scope;
        if open.claimed {
            let covered = self.claim_is_covered(scope, intent, open).await?;
            return Ok(match covered {
                true => Found::Running(intent),
                false => Found::Nothing,
            });
        }
        for _ in 0..TRIES {
            let head = self.head(open.agent.as_ref(), intent).await?;
            let expected = head.seq();
            let found = match fate(head) {
                IntentFate::NotOurs => fate(self.known(intent, open).await?),
                found => found,
            };
            let (counted, approved) = match found {
                IntentFate::Revoke(approved, _) => (None, Some(approved)),
                IntentFate::Revoked => (Some(Found::Revoked), None),
                IntentFate::Stopped => (Some(Found::Stopped), None),
                IntentFate::Over | IntentFate::NotOurs => return Ok(Found::Nothing),
            };
            let approved = match approved {
                Some(approved) => approved,
                None if needs_decision(scope) => match self.known(intent, open).await? {
                    Head::Decided { approved, .. } => approved,
                    _ => return Ok(Found::Nothing),
                },
                None => return Ok(counted.unwrap_or(Found::Nothing)),
            };
            if !covers(scope, &Target::from(approved.as_ref())) {
                return Ok(Found::Nothing);
            }
            if let Some(counted) = counted {
                return Ok(counted);
            }
            if self.revoke_frozen(stop, &approved, expected).await? {
                return Ok(Found::Revoked);
            }
        }
        Err(Failure::transient(format!(
            "intent {intent} changes too fast"
        )))
    }

    async fn revoke_frozen(
        &self,
        stop: &Stop,
        approved: &ToolApproved,
        expected: u64,
    ) -> Result<bool, Failure> {
        let why = stopped(&Void::Meanwhile(stop.event.scope.clone()));
        let (code, trace) = (RevokedCode::Frozen, stop.trace.as_deref());
        self.revoke(approved, expected, code, &why, trace).await
    }

    /// The last message of ours where the freeze took effect.
    async fn known(&self, intent: IntentId, open: &Open) -> Result<Head, Failure> {
        let known = self.bus.by_seq(Stream::Events, open.seq).await?;
        Ok(read_head(known.as_ref(), open.agent.as_ref(), intent))
    }

    /// A claim names no requester: that is asked of the verdict.
    async fn claim_is_covered(
        &self,
        scope: &FreezeScope,
        intent: IntentId,
        open: &Open,
    ) -> Result<bool, Failure> {
        if !needs_decision(scope) {
            return Ok(true);
        }
        match self.verdict(open.agent.as_ref(), intent).await? {
            Some((checked, _)) => Ok(covers(scope, &Target::from(&checked))),
            None => self.claimed_tool_is_covered(scope, open).await,
        }
    }

    async fn claimed_tool_is_covered(
        &self,
        scope: &FreezeScope,
        open: &Open,
    ) -> Result<bool, Failure> {
        let Some(claim) = self.bus.by_seq(Stream::Events, open.seq).await? else {
            return Ok(false);
        };
        let started = decode::<ToolStarted>(claim.header(headers::CE_TYPE), &claim.payload);
        let tool = scope.tool.as_ref();
        // Who asked is gone with the verdict; it is named rather than left out.
        Ok(started.is_ok_and(|started| tool.is_none_or(|tool| *tool == started.tool)))
    }
}

/// Whether the agent alone does not say if a scope covers an intent.
fn needs_decision(scope: &FreezeScope) -> bool {
    scope.tool.is_some() || scope.requester.is_some()
}
