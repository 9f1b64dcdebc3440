//! Opening an approval: stored first, then its deadline, then the events that ask people.

use countersign_domain::approvals::{Approval, OpenError};
use countersign_domain::chain::Head;
use countersign_domain::decision::blocked;
use countersign_runtime::bus::{Cas, Failure, Outgoing};
use countersign_schemas::events::{BlockedCode, PolicyChecked};
use countersign_schemas::limits::PENDING_APPROVALS_PER_AGENT_MAX;
use countersign_schemas::{Address, AgentId, ApprovalId, IntentId, Timestamp};

use crate::kept::{Held, written};
use crate::office::Office;

/// The kind of our timers.
pub(crate) const TIMER_KIND: &str = "approval";
/// JetStream: when a scheduled message is due.
const SCHEDULE: &str = "Nats-Schedule";
/// JetStream: where a scheduled message goes.
const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";

impl Office {
    /// Asks people about a verdict that was stored at `stored_at`. A redelivery finds the
    /// approval and completes what is missing.
    pub(crate) async fn ask(
        &self,
        checked: &PolicyChecked,
        stored_at: Timestamp,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let approval = match Approval::open(checked, stored_at) {
            Ok(approval) => approval,
            Err(error) => {
                let why = format!("People should be asked, but {error}.");
                let decision = blocked(checked, code_of(error), &why);
                return self.decide_at_once(&decision, checked, trace).await;
            }
        };
        match self.open(approval, trace).await? {
            Some(held) if held.value.is_pending() => {
                match self.head(&checked.agent, checked.intent_id).await? {
                    Head::None | Head::NotOurs { .. } => self.announce(&held.value, trace).await,
                    Head::Decided { .. } | Head::Claimed { .. } | Head::Ended { .. } => {
                        self.close_decided(held, trace).await
                    }
                }
            }
            Some(held) => self.settle(held, trace).await,
            None => {
                let (code, why) = too_many(&checked.agent);
                let decision = blocked(checked, code, &why);
                self.decide_at_once(&decision, checked, trace).await
            }
        }
    }

    /// Stores a new approval, or finds the one that is there; `None` where its agent has
    /// too many.
    pub(crate) async fn open(
        &self,
        approval: Approval,
        trace: Option<&str>,
    ) -> Result<Option<Held<Approval>>, Failure> {
        let id = approval.id().clone();
        if self.waiting_of(approval.agent()) >= PENDING_APPROVALS_PER_AGENT_MAX {
            return self.held(&id).await;
        }
        self.create(approval, trace).await.map(Some)
    }

    /// How many intents and bundles of `agent` wait for people, or to be whole.
    pub(crate) fn waiting_of(&self, agent: &AgentId) -> usize {
        self.pending.of_agent(agent) + self.bundles.of_agent(agent)
    }

    /// Stores a new approval, or finds the one that is there.
    pub(crate) async fn create(
        &self,
        approval: Approval,
        trace: Option<&str>,
    ) -> Result<Held<Approval>, Failure> {
        let id = approval.id().clone();
        let value = written(id.as_str(), &approval)?;
        match self.approvals.create(id.as_str(), value).await? {
            Cas::Stored(revision) => {
                tracing::info!(approval = %id, trace, "people are asked");
                let value = approval;
                Ok(Held { value, revision })
            }
            Cas::Conflict => match self.held(&id).await? {
                Some(held) => Ok(held),
                None => Err(Failure::transient(format!("cannot find approval {id}"))),
            },
        }
    }

    /// Ends the approval of an intent that something else has decided, if people are still
    /// asked about it: their no would come to nothing.
    pub(crate) async fn close_if_asked(
        &self,
        intent: IntentId,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        match self.held(&ApprovalId::for_intent(intent)).await? {
            Some(held) if held.value.is_pending() => self.close_decided(held, trace).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Ends an approval whose intent has its decision already, such as one that was blocked
    /// on an earlier delivery: nobody is asked about what is decided.
    async fn close_decided(
        &self,
        mut held: Held<Approval>,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        held.value
            .cancel("the intent was already decided", self.clock.now());
        match self.keep(&held).await? {
            Some(revision) => {
                held.revision = revision;
                self.settle(held, trace).await
            }
            None => Err(Failure::transient("the approval changed meanwhile")),
        }
    }

    /// Sets the first timer and asks the teams.
    pub(crate) async fn announce(
        &self,
        approval: &Approval,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        self.set_timer(approval.id(), approval.next_due()).await?;
        let id = approval.id();
        let address = Address::ApprovalRequested {
            approval: id.clone(),
        };
        let asked = approval.requested(&|text| self.redact(text));
        self.say(&address, &asked, trace).await?;
        let people = self.people();
        for handoff in self.writer(people.as_ref()).approval(approval) {
            self.hand_off(handoff, id.as_str(), trace).await?;
        }
        Ok(())
    }

    /// Schedules when an approval is looked at next; setting it again replaces it.
    pub(crate) async fn set_timer(&self, id: &ApprovalId, at: Timestamp) -> Result<(), Failure> {
        self.schedule(TIMER_KIND, id, at).await
    }

    /// Schedules a timer of this kind; setting it again replaces it.
    pub(crate) async fn schedule(
        &self,
        kind: &str,
        id: &ApprovalId,
        at: Timestamp,
    ) -> Result<(), Failure> {
        self.set_timer_of(kind, id.as_str(), at).await
    }

    /// Schedules a firing about anything; setting it again replaces it.
    pub(crate) async fn set_timer_of(
        &self,
        kind: &str,
        id: &str,
        at: Timestamp,
    ) -> Result<(), Failure> {
        let name = |error: countersign_schemas::ids::IdError| Failure::fatal(error.to_string());
        let kind: countersign_schemas::Token = kind.parse().map_err(name)?;
        let token: countersign_schemas::Token = id.parse().map_err(name)?;
        let timer = Address::TimerSet {
            kind: kind.clone(),
            id: token.clone(),
        };
        let fired = Address::TimerFired { kind, id: token };
        let mut out = Outgoing::raw(timer.subject().as_str(), bytes::Bytes::new());
        out.set(SCHEDULE, &format!("@at {at}"));
        out.set(SCHEDULE_TARGET, fired.subject().as_str());
        self.bus.publisher().publish(out).await?;
        Ok(())
    }
}

/// Why nothing more of an agent may wait for people.
pub(crate) fn too_many(agent: &AgentId) -> (BlockedCode, String) {
    let why = format!(
        "{agent} already waits for people with {PENDING_APPROVALS_PER_AGENT_MAX} intents and \
         bundles, and more would hide the urgent ones."
    );
    (BlockedCode::TooManyPending, why)
}

/// Whose fault it is that people cannot be asked: the agent's, or the policy's.
pub(crate) fn code_of(error: OpenError) -> BlockedCode {
    match error {
        OpenError::TooLarge | OpenError::NotShowable => BlockedCode::InvalidInput,
        OpenError::NotAnAsk
        | OpenError::NobodyAsked
        | OpenError::UnknownTool
        | OpenError::NotCanonical => BlockedCode::PolicyError,
    }
}
