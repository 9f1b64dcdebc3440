//! Intents that their agent no longer wants.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use countersign_domain::approvals::Approval;
use countersign_domain::chain::Head;
use countersign_domain::decision::blocked;
use countersign_domain::redact::Redactor;
use countersign_runtime::bus::layout::CHECKER_INTENTS;
use countersign_runtime::bus::{Failure, Handler, Incoming, Meta};
use countersign_schemas::events::{
    BlockedCode, BundleRef, PolicyChecked, RefusedCode, RequestRef, RevokedCode, ToolApproved,
    ToolRefused, ToolWithdrawn, Verdict,
};
use countersign_schemas::{Address, AgentId, ApprovalId, IntentId, Stream};

use crate::counters;
use crate::office::{Office, TRIES, decode_outside, trace_of};

/// How long a withdrawal waits for a verdict on its intent: the checker may be behind.
const WAIT_FOR_VERDICT: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Handles `tool.withdrawn`.
pub(crate) struct Withdrawals(pub(crate) Arc<Office>);

impl Handler for Withdrawals {
    async fn handle(&self, message: Incoming) -> Result<(), Failure> {
        let Address::ToolWithdrawn { agent } = &message.address else {
            return Err(Failure::poison("not a withdrawal"));
        };
        let office = &self.0;
        let withdrawn: ToolWithdrawn = match decode_outside(&message) {
            Ok(withdrawn) => withdrawn,
            Err(why) => {
                let code = RefusedCode::Unreadable;
                return office
                    .refuse_withdrawal(&message, agent, None, code, why)
                    .await;
            }
        };
        let intent = withdrawn.intent_id;
        let trace = trace_of(&message);
        if office.withdraw(agent, intent, trace.as_deref()).await? {
            return Ok(());
        }
        let waited = office.clock.now() >= message.stored_at.plus(WAIT_FOR_VERDICT);
        if !waited || !office.intents_before_are_judged(message.seq).await? {
            let what = format!("no verdict on intent {intent} yet");
            return Err(Failure::transient_in(what, LOOK_EVERY));
        }
        // The last one may have been judged since we looked.
        if office.withdraw(agent, intent, trace.as_deref()).await? {
            return Ok(());
        }
        let why = format!(
            "there is no intent {intent} of {agent} to withdraw; if it was sent just now, \
             withdraw it again"
        );
        let code = RefusedCode::IntentOutOfTime;
        office
            .refuse_withdrawal(&message, agent, Some(intent), code, why)
            .await
    }

    fn redactor(&self) -> &Redactor {
        &self.0.redactor
    }

    fn meta(&self) -> Meta {
        self.0.meta(None)
    }
}

impl Office {
    /// Whether the checker has come to the end of everything stored before `seq`: after an
    /// outage that may be long after the withdrawal itself.
    async fn intents_before_are_judged(&self, seq: u64) -> Result<bool, Failure> {
        let intents = CHECKER_INTENTS;
        let consumer: PullConsumer = self
            .bus
            .jetstream()
            .get_consumer_from_stream(intents.name, intents.stream.name())
            .await
            .map_err(|error| {
                Failure::transient(format!("cannot read how far the checker is: {error}"))
            })?;
        let info = consumer.cached_info();
        let idle = info.num_pending == 0 && info.num_ack_pending == 0;
        Ok(idle || info.ack_floor.stream_sequence >= seq)
    }

    /// Ends an intent as far as it still can be; `false` where nothing is known of it.
    async fn withdraw(
        &self,
        agent: &AgentId,
        intent: IntentId,
        trace: Option<&str>,
    ) -> Result<bool, Failure> {
        for _ in 0..TRIES {
            match self.head(agent, intent).await? {
                Head::Decided { seq, approved } => {
                    if self.revoke_withdrawn(&approved, seq, trace).await? {
                        return Ok(true);
                    }
                }
                // Too late: it runs or has ended, and the agent reads that on its chain.
                Head::Claimed { .. } | Head::Ended { .. } => return Ok(true),
                Head::None | Head::NotOurs { .. } => {
                    return self.withdraw_undecided(agent, intent, trace).await;
                }
            }
        }
        Err(Failure::transient(format!(
            "intent {intent} changes too fast"
        )))
    }

    async fn revoke_withdrawn(
        &self,
        approved: &ToolApproved,
        seq: u64,
        trace: Option<&str>,
    ) -> Result<bool, Failure> {
        let why = format!("{} withdrew it before it was started.", approved.agent);
        self.revoke(approved, seq, RevokedCode::Withdrawn, &why, trace)
            .await
    }

    /// Withdraws an intent without a decision: a waiting approval is cancelled, and a
    /// verdict that nobody acted on yet is decided here.
    async fn withdraw_undecided(
        &self,
        agent: &AgentId,
        intent: IntentId,
        trace: Option<&str>,
    ) -> Result<bool, Failure> {
        if self.cancel(agent, intent, trace).await? {
            return Ok(true);
        }
        let Some((checked, stored)) = self.verdict(agent, intent).await? else {
            return Ok(false);
        };
        if let Some(place) = &checked.bundle {
            self.take_out_of_bundle(&checked, place, trace).await?;
            return self.block_withdrawn(&checked, trace).await;
        }
        // An ask is opened before it is cancelled, so that it cannot be opened afterwards.
        if checked.verdict == Verdict::Ask
            && let Ok(approval) = Approval::open(&checked, stored.stored_at)
            && self.open(approval, trace).await?.is_some()
        {
            return self.cancel(agent, intent, trace).await;
        }
        self.block_withdrawn(&checked, trace).await
    }

    async fn block_withdrawn(
        &self,
        checked: &PolicyChecked,
        trace: Option<&str>,
    ) -> Result<bool, Failure> {
        let why = format!("{} withdrew it.", checked.agent);
        let decision = blocked(checked, BlockedCode::Withdrawn, &why);
        match self.decide(&decision, trace).await? {
            Some(Head::Decided { seq, approved }) => {
                self.revoke_withdrawn(&approved, seq, trace).await?;
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    /// Takes an item out of its bundle, wherever that is: gathered, or asked about. The
    /// others go on. Does nothing for an item that its bundle does not hold yet: it finds
    /// the block on its chain when it comes.
    async fn take_out_of_bundle(
        &self,
        checked: &PolicyChecked,
        place: &BundleRef,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let id = ApprovalId::for_bundle(&checked.agent, &place.id);
        let (intent, code) = (checked.intent_id, BlockedCode::Withdrawn);
        let why = format!("{} withdrew it", checked.agent);
        for _ in 0..TRIES {
            if let Some(mut held) = self.bundle(&id).await? {
                if held.value.leave_out(intent, code, &why) {
                    match self.keep_bundle(&held).await? {
                        Some(_) => return Ok(()),
                        None => continue,
                    }
                }
                self.finish(held, trace).await?;
            }
            let Some(mut held) = self.held(&id).await? else {
                return Ok(());
            };
            if !held.value.take_out(intent, code, &why, self.clock.now()) {
                return self.settle_taken_out(held, trace).await;
            }
            if let Some(revision) = self.keep(&held).await? {
                held.revision = revision;
                return self.settle_taken_out(held, trace).await;
            }
        }
        Err(Failure::transient(format!("bundle {id} changes too fast")))
    }

    /// Cancels the approval of an intent and stores what follows; `false` if there is none.
    async fn cancel(
        &self,
        agent: &AgentId,
        intent: IntentId,
        trace: Option<&str>,
    ) -> Result<bool, Failure> {
        let id = ApprovalId::for_intent(intent);
        for _ in 0..TRIES {
            let Some(mut held) = self.held(&id).await? else {
                return Ok(false);
            };
            if held.value.agent() != agent {
                return Ok(false);
            }
            let why = format!("{agent} withdrew it");
            if !held.value.cancel(&why, self.clock.now()) {
                self.settle(held, trace).await?;
                return self.revoke_if_approved(agent, intent, trace).await;
            }
            if let Some(revision) = self.keep(&held).await? {
                held.revision = revision;
                self.settle(held, trace).await?;
                return Ok(true);
            }
        }
        Err(Failure::transient(format!(
            "approval {id} changes too fast"
        )))
    }

    /// The approval had ended before the withdrawal: what it approved is revoked unless it
    /// has begun.
    async fn revoke_if_approved(
        &self,
        agent: &AgentId,
        intent: IntentId,
        trace: Option<&str>,
    ) -> Result<bool, Failure> {
        if let Head::Decided { seq, approved } = self.head(agent, intent).await? {
            self.revoke_withdrawn(&approved, seq, trace).await?;
        }
        Ok(true)
    }

    async fn refuse_withdrawal(
        &self,
        message: &Incoming,
        agent: &AgentId,
        intent_id: Option<IntentId>,
        code: RefusedCode,
        why: String,
    ) -> Result<(), Failure> {
        // Whatever an agent sends here has an answer in the log: a flood of it waits.
        self.bus.require_room(&[Stream::Events]).await?;
        let address = Address::ToolRefused {
            agent: agent.clone(),
            seq: message.token.clone(),
        };
        let event = ToolRefused {
            schema_version: 1,
            intent_id,
            agent: agent.clone(),
            request: RequestRef {
                stream: message.stream.name().to_owned(),
                incarnation: message.token.incarnation.clone(),
                seq: message.seq,
            },
            code,
            message: why,
        };
        counters::refused(code.as_str());
        self.say(&address, &event, trace_of(message).as_deref())
            .await
    }
}
