//! Votes.

use countersign_domain::approvals::{Answer, Approval, Ballot};
use countersign_runtime::bus::{Failure, Incoming};
use countersign_schemas::events::{ApprovalVote, ApprovalVoted};
use countersign_schemas::{Address, PersonId, ServiceId};

use crate::counters;
use crate::kept::Held;
use crate::office::{Office, TRIES, decode_outside, trace_of};
use crate::windows::PER_AGENT_MAX;

/// The `via` of a vote with the approver's own key.
const VIA_SELF: &str = countersign_runtime::identity::OWN_KEY;

impl Office {
    /// A vote with the approver's own key.
    pub(crate) async fn own_vote(
        &self,
        message: &Incoming,
        approver: &PersonId,
    ) -> Result<(), Failure> {
        let via = VIA_SELF
            .parse()
            .map_err(|_| Failure::fatal("`self` is no bridge name"))?;
        self.vote(message, approver, &via).await
    }

    /// A vote through a bridge. No bridge is called `self`; a vote that claims it came
    /// from none is not counted as one that its person cast.
    pub(crate) async fn bridged_vote(
        &self,
        message: &Incoming,
        approver: &PersonId,
        via: &ServiceId,
    ) -> Result<(), Failure> {
        if via.as_str() == VIA_SELF {
            let why = format!("no bridge is called `{VIA_SELF}`");
            return self.refuse(message, approver, "unknown_bridge", why).await;
        }
        self.vote(message, approver, via).await
    }

    async fn vote(
        &self,
        message: &Incoming,
        approver: &PersonId,
        via: &ServiceId,
    ) -> Result<(), Failure> {
        let vote: ApprovalVote = match decode_outside(message) {
            Ok(vote) => vote,
            Err(why) => return self.refuse(message, approver, "unreadable", why).await,
        };
        let trace = trace_of(message);
        let trace = trace.as_deref();
        let address = Address::ApprovalVoted {
            approval: vote.approval_id.clone(),
            seq: message.token.clone(),
        };
        if message.deliveries > 1 && self.was_not_counted(&address).await? {
            return match self.held(&vote.approval_id).await? {
                Some(held) => self.settle(held, trace).await,
                None => Ok(()),
            };
        }
        let ballot = Ballot {
            approver,
            via,
            message: &message.token,
            stored_at: message.stored_at,
            reason: vote.reason.as_deref().map(|reason| self.redact(reason)),
            vote: &vote,
        };
        let Some((held, answer)) = self.count(&ballot).await? else {
            let why = format!(
                "there is no approval {}; list what waits with `countersign approvals list`",
                vote.approval_id
            );
            return self.refuse(message, approver, "unknown", why).await;
        };
        let event = answer.event(&held.value, &ballot);
        self.say(&address, &event, trace).await?;
        counters::voted(answer.code.as_str());
        self.settle(held, trace).await
    }

    /// Whether the voter was told that this vote, which comes again, does not count. That
    /// stands, whatever has changed since: they may have voted anew, or let it be.
    async fn was_not_counted(&self, answer: &Address) -> Result<bool, Failure> {
        let said = self.said::<ApprovalVoted>(answer).await?;
        Ok(said.is_some_and(|said| !said.counted))
    }

    /// Whether a vote asks for one window more than its agent may have.
    fn has_too_many_windows(&self, ballot: &Ballot<'_>, approval: &Approval) -> bool {
        let agent = approval.agent();
        ballot.vote.window.is_some()
            && self.windows.of_agent(agent) + self.pending.windows_of(agent) >= PER_AGENT_MAX
    }

    /// Counts a vote on the newest state; `None` where there is no such approval.
    async fn count(
        &self,
        ballot: &Ballot<'_>,
    ) -> Result<Option<(Held<Approval>, Answer)>, Failure> {
        let id = &ballot.vote.approval_id;
        self.rules_known().await?;
        let people = self.people();
        for _ in 0..TRIES {
            let Some(mut held) = self.held(id).await? else {
                return Ok(None);
            };
            let answer = match self.frozen_votes(&held.value)? {
                Some(why) => {
                    let approval = &held.value;
                    approval.vote_while_frozen(ballot, people.as_ref(), &why)
                }
                None if self.has_too_many_windows(ballot, &held.value) => {
                    let approval = &held.value;
                    approval.vote_beyond_windows(ballot, people.as_ref(), PER_AGENT_MAX)
                }
                None => {
                    let voted = self.voted(&held.value, ballot, people.as_ref());
                    let (after, answer) = voted.await?;
                    // A freeze that came while it was judged again comes first.
                    if self.frozen_votes(&held.value)?.is_some() {
                        continue;
                    }
                    held.value = after;
                    answer
                }
            };
            if !answer.changed {
                return Ok(Some((held, answer)));
            }
            if let Some(revision) = self.keep(&held).await? {
                held.revision = revision;
                return Ok(Some((held, answer)));
            }
        }
        Err(Failure::transient(format!(
            "approval {id} changes too fast"
        )))
    }
}
