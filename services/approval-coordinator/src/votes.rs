//! Votes, and everything else that people say.

use std::sync::Arc;

use countersign_domain::approvals::{Answer, Ballot, VoteCode};
use countersign_runtime::bus::{Failure, Handler, Incoming, Meta};
use countersign_schemas::events::{ApprovalVote, ControlRefused};
use countersign_schemas::{Address, PersonId, ServiceId};

use crate::counters;
use crate::office::{Held, Office, TRIES, decode_outside, trace_of};

/// The `via` of a vote with the approver's own key.
const VIA_SELF: &str = countersign_runtime::identity::OWN_KEY;

/// Handles everything in `CS_CONTROL`.
pub(crate) struct Votes(pub(crate) Arc<Office>);

impl Handler for Votes {
    async fn handle(&self, message: Incoming) -> Result<(), Failure> {
        let office = &self.0;
        match message.address.clone() {
            Address::Vote { approver } => {
                let via = VIA_SELF
                    .parse()
                    .map_err(|_| Failure::fatal("`self` is no bridge name"))?;
                office.vote(&message, &approver, &via).await
            }
            // No bridge has this name; a vote that claims it came from none is not counted
            // as one that its person cast.
            Address::VoteVia { approver, via } if via.as_str() == VIA_SELF => {
                let why = format!("no bridge is called `{VIA_SELF}`");
                office
                    .refuse(&message, &approver, "unknown_bridge", why)
                    .await
            }
            Address::VoteVia { approver, via } => office.vote(&message, &approver, &via).await,
            Address::WindowRequested { approver } | Address::WindowClosing { approver } => {
                let what = "time windows";
                office.not_supported(&message, &approver, what).await
            }
            Address::Freeze { operator } | Address::Unfreeze { operator } => {
                let what = "freezing";
                office.not_supported(&message, &operator, what).await
            }
            Address::OutcomeFound { operator } => {
                let what = "recording a finding about an unknown outcome";
                office.not_supported(&message, &operator, what).await
            }
            other => {
                let subject = other.subject();
                Err(Failure::poison(format!(
                    "`{subject}` is nothing that people say"
                )))
            }
        }
    }

    fn meta(&self) -> Meta {
        self.0.meta(None)
    }
}

impl Office {
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
        let address = Address::ApprovalVoted {
            approval: held.approval.id().clone(),
            seq: message.token.clone(),
        };
        let event = answer.event(&held.approval, &ballot);
        self.say(&address, &event, trace_of(message).as_deref())
            .await?;
        counters::voted(answer.code.as_str());
        self.settle(held, trace_of(message).as_deref()).await
    }

    /// Counts a vote on the newest state; `None` where there is no such approval.
    async fn count(&self, ballot: &Ballot<'_>) -> Result<Option<(Held, Answer)>, Failure> {
        let id = &ballot.vote.approval_id;
        let people = self.people();
        for _ in 0..TRIES {
            let Some(mut held) = self.held(id).await? else {
                return Ok(None);
            };
            let answer = held.approval.vote(ballot, people.as_ref());
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

    async fn not_supported(
        &self,
        message: &Incoming,
        person: &PersonId,
        what: &str,
    ) -> Result<(), Failure> {
        let why = format!("{what} is not supported by this version; nothing was changed");
        let code = VoteCode::NotSupported.as_str();
        self.refuse(message, person, code, why).await
    }

    async fn refuse(
        &self,
        message: &Incoming,
        person: &PersonId,
        code: &'static str,
        why: String,
    ) -> Result<(), Failure> {
        let address = Address::ControlRefused {
            seq: message.token.clone(),
        };
        let event = ControlRefused {
            schema_version: 1,
            person: person.clone(),
            code: code.to_owned(),
            message: why,
        };
        counters::refused(code);
        self.say(&address, &event, trace_of(message).as_deref())
            .await
    }
}
