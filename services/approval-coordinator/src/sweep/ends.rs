//! Looking at one intent whose time is over.

use std::sync::Arc;

use countersign_domain::chain::Head;
use countersign_domain::decision::unknown;
use countersign_runtime::bus::{Failure, StoredMessage, metrics};
use countersign_schemas::events::{
    RevokedCode, ToolApproved, ToolCompleted, ToolRevoked, ToolStarted,
};
use countersign_schemas::{Address, AgentId, ApprovalId, IntentId, Stream, Timestamp, headers};

use super::index::Open;
use super::{ENDED_AGAIN, Looked, NOT_OURS_AGAIN, RETRY_AFTER, SKEW};
use crate::counters;
use crate::office::{Extended, Link, Office, TRIES, decode, read_head, trace_in};

/// Ends `intent` if its permit or lease is over.
pub(super) async fn look(office: Arc<Office>, intent: IntentId, open: Open) -> Looked {
    match office.end(intent, &open).await {
        Ok(None) => Looked::Ended(intent, office.clock.now().plus(ENDED_AGAIN)),
        Ok(Some(at)) => Looked::Again(intent, at),
        Err(failure) => {
            tracing::warn!(%intent, %failure, "its end is not stored yet");
            Looked::Again(intent, office.clock.now().plus(RETRY_AFTER))
        }
    }
}

/// Tells people of an unknown outcome, or of a revocation of what they approved, whoever
/// stored it. Told once, so that doing it again at every start costs a few reads and changes
/// nothing.
pub(super) async fn tell(office: Arc<Office>, message: StoredMessage) -> Looked {
    for _ in 0..TRIES {
        match office.tell(&message).await {
            Ok(()) => return Looked::Told,
            Err(failure) => tracing::warn!(seq = message.seq, %failure, "people are not told yet"),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
    metrics::alarm(
        "outcome_not_told",
        "nobody was told of an unknown outcome, or of a revocation",
    );
    Looked::Told
}

impl Office {
    /// Stores the end of an intent, or says when to look again.
    async fn end(&self, intent: IntentId, open: &Open) -> Result<Option<Timestamp>, Failure> {
        self.trust_clock()?;
        let agent = open.agent.as_ref();
        for _ in 0..TRIES {
            let head = self.head(agent, intent).await?;
            let expected = head.seq();
            let head = match head {
                Head::NotOurs { seq } => self.last_of_ours(agent, intent, open, seq).await?,
                head => head,
            };
            let due = match &head {
                Head::Decided { approved, .. } => approved.approved_until.plus(SKEW),
                Head::Claimed { started, .. } => started.lease_until.plus(SKEW),
                // What it is may be known after an update; it is not forgotten.
                Head::NotOurs { .. } => return Ok(Some(self.clock.now().plus(NOT_OURS_AGAIN))),
                Head::None | Head::Ended { .. } => return Ok(None),
            };
            if self.clock.now() < due {
                return Ok(Some(due));
            }
            let ended = match &head {
                Head::Decided { approved, .. } => self.expire_permit(approved, expected).await?,
                Head::Claimed { started, .. } => {
                    self.lose_lease(started, open.stored_at, expected).await?
                }
                Head::None | Head::Ended { .. } | Head::NotOurs { .. } => true,
            };
            if ended {
                return Ok(None);
            }
        }
        Err(Failure::transient(format!(
            "intent {intent} changes too fast"
        )))
    }

    /// The state of a chain on which a message lies that is none of ours: an alarm, and
    /// what counts is the last message that we know to be.
    async fn last_of_ours(
        &self,
        agent: &AgentId,
        intent: IntentId,
        open: &Open,
        foreign: u64,
    ) -> Result<Head, Failure> {
        let chain = Address::chain_filter(agent, intent);
        metrics::alarm("foreign_message", &format!("{chain} at {foreign}"));
        let known = self.bus.by_seq(Stream::Events, open.seq).await?;
        Ok(read_head(known.as_ref(), agent, intent))
    }

    async fn expire_permit(&self, approved: &ToolApproved, seq: u64) -> Result<bool, Failure> {
        let why = format!("Nobody started it before {}.", approved.approved_until);
        let code = RevokedCode::PermitExpired;
        let stored = self.revoke(approved, seq, code, &why, None).await?;
        if stored {
            tracing::warn!(intent = %approved.intent_id, "nobody claimed it; revoked");
        }
        Ok(stored)
    }

    async fn lose_lease(
        &self,
        started: &ToolStarted,
        started_at: Timestamp,
        seq: u64,
    ) -> Result<bool, Failure> {
        let event = unknown(started, started_at);
        let link = Link {
            address: Address::ToolCompleted {
                agent: started.agent.clone(),
                intent: started.intent_id,
            },
            agent: &started.agent,
            intent: started.intent_id,
            trace: None,
        };
        let stored = matches!(self.extend(&link, &event, seq).await?, Extended::Stored);
        if stored {
            counters::swept("unknown");
            tracing::warn!(intent = %started.intent_id, "its claim ended without an outcome");
        }
        Ok(stored)
    }

    async fn tell(&self, message: &StoredMessage) -> Result<(), Failure> {
        match message.address() {
            Some(Address::ToolRevoked { .. }) => self.tell_revoked(message).await,
            _ => self.tell_unknown(message).await,
        }
    }

    /// Whoever was told that it may run is told that it will not.
    async fn tell_revoked(&self, message: &StoredMessage) -> Result<(), Failure> {
        let ce_type = message.header(headers::CE_TYPE);
        let revoked: ToolRevoked = decode(ce_type, &message.payload).map_err(Failure::poison)?;
        let (agent, intent) = (&revoked.agent, revoked.intent_id);
        // Without a verdict it cannot be told which approval it was in.
        let Some((checked, _)) = self.verdict(agent, intent).await? else {
            return Ok(());
        };
        let id = match &checked.bundle {
            Some(bundle) => ApprovalId::for_bundle(agent, &bundle.id),
            None => ApprovalId::for_intent(intent),
        };
        let Some(held) = self.held(&id).await? else {
            return Ok(());
        };
        let people = self.people();
        let trace = trace_in(&message.headers);
        for handoff in self.writer(people.as_ref()).revoked(&revoked, &held.value) {
            self.hand_off(handoff, &intent.to_string(), trace.as_deref())
                .await?;
        }
        Ok(())
    }

    async fn tell_unknown(&self, message: &StoredMessage) -> Result<(), Failure> {
        let ce_type = message.header(headers::CE_TYPE);
        let completed: ToolCompleted =
            decode(ce_type, &message.payload).map_err(Failure::poison)?;
        let (agent, intent) = (&completed.agent, completed.intent_id);
        let Some((checked, _)) = self.verdict(agent, intent).await? else {
            tracing::warn!(%intent, "its verdict is gone, so nobody can be told what it was");
            return Ok(());
        };
        let Some(team) = checked.helper.clone() else {
            return Ok(());
        };
        let people = self.people();
        let handoff = self
            .writer(people.as_ref())
            .outcome(&completed, &checked, &team);
        let trace = trace_in(&message.headers);
        self.hand_off(handoff, &intent.to_string(), trace.as_deref())
            .await
    }
}
