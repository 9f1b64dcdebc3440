//! What people granted, judged once more: the rules may have changed while they decided.
//!
//! INVARIANT: what an earlier bundle judged is stored as approved only after the bundle in
//! force has judged it again; what it stops is taken out by the same vote, or ends as failed
//! where nothing else is left. So one transition leads out of pending here too, and whoever
//! stores it first has decided.

use countersign_schemas::events::{
    ApprovalKind, ApprovalResolved, ApprovalState, BlockedCode, Need, Reason,
};
use countersign_schemas::{Digest, IntentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::approval::{Approval, Resolution};
use super::item::Item;
use super::vote::{Answer, Ballot};
use super::{People, visible};
use crate::policy::protocol::RecheckReply;

/// Why what people granted does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The code under which it is blocked.
    pub code: BlockedCode,
    /// Why, as the end of a sentence.
    pub message: String,
    /// Why, by the rules in force.
    pub reasons: Vec<Reason>,
    /// What would make it possible now; where nothing stands here, what the code means.
    pub needs: Vec<Need>,
}

impl Stop {
    /// What the answer of a checker stops; `None` where it lets it run.
    #[must_use]
    pub fn of(reply: &RecheckReply) -> Option<Self> {
        if reply.runs {
            return None;
        }
        let known = |reason: &Reason| BlockedCode::from_word(&reason.code);
        let code = reply.reasons.iter().find_map(known);
        // The first says that it does not run, the others are those of the verdict.
        let mut reasons = reply.reasons.iter();
        let first = reasons.next().map(|why| why.message.as_str());
        let first = first.unwrap_or("the rules in force do not allow it");
        let message = match reply.reasons.get(1) {
            Some(why) => format!("{first}: {}", why.message.trim_end_matches('.')),
            None => first.to_owned(),
        };
        Some(Self {
            code: code.unwrap_or(BlockedCode::PolicyDenied),
            message: visible(&message),
            reasons: reasons.cloned().collect(),
            needs: reply.needs.clone(),
        })
    }

    /// Nobody could say in time whether it still may run.
    #[must_use]
    pub fn unjudged() -> Self {
        Self {
            code: BlockedCode::Unavailable,
            message: "the rules changed before it was decided, and no policy checker said in \
                      time whether they still allow it"
                .to_owned(),
            reasons: Vec::new(),
            needs: Vec::new(),
        }
    }
}

impl Approval {
    /// Whether people have granted at least a part of it.
    #[must_use]
    pub fn has_been_granted(&self) -> bool {
        match self.state() {
            ApprovalState::Approved | ApprovalState::Partial => true,
            ApprovalState::Pending
            | ApprovalState::Denied
            | ApprovalState::Expired
            | ApprovalState::Cancelled
            | ApprovalState::Failed => false,
        }
    }

    /// The intents that people have just granted and that another bundle judged than the
    /// one in force; all of them where nobody knows which one is.
    #[must_use]
    pub fn to_judge_again(&self, in_force: Option<Digest>) -> Vec<IntentId> {
        if !self.has_been_granted() || self.is_settled() {
            return Vec::new();
        }
        let granted = self.items().iter();
        granted
            .filter(|item| item.struck().is_none())
            .filter(|item| Some(item.checked().policy_digest) != in_force)
            .map(Item::intent)
            .collect()
    }

    /// What a checker is told of an approval that is about to be stored: who said yes and
    /// when, without anybody's words.
    #[must_use]
    pub fn for_recheck(&self) -> Option<ApprovalResolved> {
        let mut resolved = self.resolved()?;
        resolved.message.clear();
        for vote in &mut resolved.votes {
            vote.reason = None;
        }
        Some(resolved)
    }

    /// As [`Self::vote`], where what this vote would grant was judged again, and these
    /// intents are stopped: of a bundle the others run, and where nothing is left it ends
    /// as failed. A vote that grants nothing yet is counted as ever.
    pub fn vote_in_vain(
        &mut self,
        ballot: &Ballot<'_>,
        people: &(impl People + ?Sized),
        stops: &[(IntentId, Stop)],
    ) -> Answer {
        let mut answer = self.vote(ballot, people);
        let first = stops.first().map(|(_, stop)| stop);
        let granted = answer.changed && self.has_been_granted();
        if let Some(first) = first.filter(|_| granted) {
            self.stop(ballot.stored_at, first, stops);
            answer.message = self.counted_text(ballot.vote.vote);
        }
        answer
    }

    /// The same for a window that people have just granted.
    pub fn vote_for_window_in_vain(
        &mut self,
        ballot: &Ballot<'_>,
        people: &(impl People + ?Sized),
        stop: &Stop,
    ) -> Answer {
        let mut answer = self.vote(ballot, people);
        if answer.changed && self.has_been_granted() {
            self.stop(ballot.stored_at, stop, &[]);
            answer.message = self.counted_text(ballot.vote.vote);
        }
        answer
    }

    fn stop(&mut self, at: Timestamp, first: &Stop, stops: &[(IntentId, Stop)]) {
        if self.kind() == ApprovalKind::Bundle {
            self.strike_stopped(stops, at);
        }
        let left = self.kind() == ApprovalKind::Bundle && self.live_items().next().is_some();
        if let Some(granted) = self.resolution.as_mut().filter(|_| left) {
            let (out, all) = (stops.len(), self.items.len());
            let more = format!("{out} of {all} items stopped: {}", first.message);
            granted.message = format!("{}; {more}", granted.message);
            self.state = ApprovalState::Partial;
            return;
        }
        self.state = ApprovalState::Failed;
        self.resolution = Some(Resolution {
            at,
            message: first.message.clone(),
            by: None,
            code: Some(first.code),
            stop: Some(Box::new(first.clone())),
        });
    }
}

#[cfg(test)]
mod tests;
