//! What people see and say.

use countersign_domain::approvals::{Approval, Ballot, ViewReply};
use countersign_domain::decision::Decision;
use countersign_schemas::events::{ApprovalState, ApprovalVote, ApprovalVoted, VoteChoice};
use countersign_schemas::{ApprovalId, SeqToken};

use super::*;

fn is_empty(reply: &ViewReply) -> bool {
    matches!(reply, ViewReply::Listed { approvals, .. } if approvals.is_empty())
}

impl World {
    /// The decisions that a coordinator takes for an ended approval.
    pub(crate) fn decisions_after(&self, approval: &Approval) -> Result<Vec<Decision>> {
        Ok(self
            .equipment()?
            .desk
            .after_approval(approval, self.now())?)
    }

    /// Ends `approval` as a coordinator would, without storing anything.
    pub(crate) fn end_by_hand(&self, approval: &mut Approval, end: ApprovalState) -> Result<()> {
        let choice = match end {
            ApprovalState::Approved => VoteChoice::Approve,
            ApprovalState::Denied => VoteChoice::Deny,
            ApprovalState::Expired => {
                approval.expire(approval.expires_at());
                return Ok(());
            }
            _ => {
                approval.cancel("billing withdrew it", self.now());
                return Ok(());
            }
        };
        let vote = ApprovalVote {
            schema_version: 1,
            approval_id: approval.id().clone(),
            digest: approval.digest(),
            vote: choice,
            items: None,
            window: None,
            reason: None,
        };
        let (approver, via) = ("lee".parse()?, "self".parse()?);
        let message = SeqToken::new("abc".parse()?, 1);
        let ballot = Ballot {
            approver: &approver,
            via: &via,
            message: &message,
            stored_at: approval.created_at(),
            vote: &vote,
            reason: None,
        };
        approval.vote(&ballot, &company()?);
        Ok(())
    }

    pub(crate) async fn ask_view(&self, bus: &Bus, who: &str, ask: Value) -> Result<ViewReply> {
        let subject = format!("cs.approval.view.{who}");
        let look = || async {
            let body = serde_json::to_vec(&ask)?;
            let reply = bus.client().request(subject.clone(), body.into()).await;
            // The index follows the bucket; an approval opened just now may not be listed.
            let reply = reply
                .ok()
                .and_then(|r| serde_json::from_slice(&r.payload).ok());
            Ok(reply.filter(|reply| !is_empty(reply)))
        };
        eventually(&subject, look).await
    }

    pub(crate) async fn digest(&self, bus: &Bus, who: &str, id: &ApprovalId) -> Result<Digest> {
        let ask = json!({"op": "show", "approval_id": id.as_str()});
        match self.ask_view(bus, who, ask).await? {
            ViewReply::Shown { approval } => Ok(approval.digest),
            ViewReply::Listed { .. }
            | ViewReply::Outcome { .. }
            | ViewReply::Frozen { .. }
            | ViewReply::Windows { .. } => {
                bail!("something else was asked for")
            }
        }
    }

    pub(crate) async fn cast(&self, bus: &Bus, who: &str, vote: &ApprovalVote) -> Result<u64> {
        let approver = who.parse()?;
        let out = Outgoing::event(&Address::Vote { approver }, vote, &self.meta(who)?)?;
        Ok(bus.publisher().publish(out).await?)
    }

    /// Votes and waits for the answer.
    pub(crate) async fn vote(
        &self,
        bus: &Bus,
        who: &str,
        vote: &ApprovalVote,
    ) -> Result<ApprovalVoted> {
        let seq = self.cast(bus, who, vote).await?;
        let id = &vote.approval_id;
        self.event(&format!("approval.voted.{id}.*.{seq}")).await
    }
}
