//! One vote, and its answer. Every refusal is a definite answer in words.

use std::collections::BTreeSet;

use countersign_schemas::events::{
    ApprovalState, ApprovalVote, ApprovalVoted, CountedVote, VoteChoice,
};
use countersign_schemas::{IntentId, PersonId, SeqToken, ServiceId, Timestamp, limits};

use super::approval::{Approval, RecordedVote};
use super::standing::{Lent, Standing, voter};
use super::visible::visible;
use super::{People, quorum};

/// The approver's own key, in place of a bridge.
const VIA_SELF: &str = "self";
/// Our own inbox, which shows the whole view; every other bridge is a chat.
const VIA_INBOX: &str = "inbox";

/// Whether a vote came through a chat: neither by the approver's own key nor the inbox.
pub(super) fn through_chat(via: &ServiceId) -> bool {
    via.as_str() != VIA_SELF && via.as_str() != VIA_INBOX
}

/// A vote as it was stored: who and through what come from the subject, which NATS
/// permissions bind to the key.
#[derive(Debug, Clone)]
pub struct Ballot<'a> {
    /// Who votes.
    pub approver: &'a PersonId,
    /// Through what: `self`, or the name of a bridge.
    pub via: &'a ServiceId,
    /// The message that casts it.
    pub message: &'a SeqToken,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// What it says.
    pub vote: &'a ApprovalVote,
    /// The approver's own words, redacted.
    pub reason: Option<String>,
}

/// What became of a vote, as a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VoteCode {
    /// It counted.
    Counted,
    /// The voter is in none of the teams asked.
    NotAMember,
    /// The voter is, or may be, the requester.
    Excluded,
    /// It came through a chat, and policy wants the inbox.
    ChatNotAllowed,
    /// The approval had ended.
    AlreadyResolved,
    /// It came after the deadline.
    Expired,
    /// It names another digest than that of what is to be approved.
    WrongDigest,
    /// It names items that cannot be voted on.
    WrongItems,
    /// The same person voted before.
    AlreadyVoted,
    /// A freeze covers what it is about.
    Frozen,
    /// It asks for a window that policy does not permit here.
    WindowNotPermitted,
}

impl VoteCode {
    /// The word in `approval.voted`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::NotAMember => "not_a_member",
            Self::Excluded => "excluded",
            Self::ChatNotAllowed => "chat_not_allowed",
            Self::AlreadyResolved => "already_resolved",
            Self::Expired => "expired",
            Self::WrongDigest => "wrong_digest",
            Self::WrongItems => "wrong_items",
            Self::AlreadyVoted => "already_voted",
            Self::Frozen => "frozen",
            Self::WindowNotPermitted => "window_not_permitted",
        }
    }
}

/// The answer to a vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What became of it.
    pub code: VoteCode,
    /// A sentence for the voter.
    pub message: String,
    /// Whether the approval changed and must be stored before anything else happens.
    pub changed: bool,
}

impl Answer {
    pub(super) fn refused(code: VoteCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            changed: false,
        }
    }

    /// The event that answers the vote.
    #[must_use]
    pub fn event(&self, approval: &Approval, ballot: &Ballot<'_>) -> ApprovalVoted {
        ApprovalVoted {
            schema_version: 1,
            approval_id: approval.id().clone(),
            approver: ballot.approver.clone(),
            on_behalf_of: approval.behalf_of(ballot),
            via: ballot.via.clone(),
            vote: ballot.vote.vote,
            counted: self.code == VoteCode::Counted,
            code: self.code.as_str().to_owned(),
            message: self.message.clone(),
            reason: own_words(ballot),
            state: approval.state(),
            voted_at: ballot.stored_at,
        }
    }
}

impl Approval {
    /// Counts a vote or says why not.
    pub fn vote(&mut self, ballot: &Ballot<'_>, people: &(impl People + ?Sized)) -> Answer {
        let message = ballot.message.dashed();
        if let Some(known) = self.votes.iter().find(|vote| vote.message == message) {
            let choice = known.vote.vote;
            return Answer {
                code: VoteCode::Counted,
                message: self.counted_text(choice),
                changed: false,
            };
        }
        let standing = self.standing(ballot.approver, people, ballot.stored_at);
        if standing.is_none() {
            return self.not_asked(ballot, people);
        }
        match self.objection(ballot, &standing) {
            Some(refusal) => refusal,
            None => self.count(ballot, message, standing),
        }
    }

    /// The person in whose place a counted vote was cast.
    fn behalf_of(&self, ballot: &Ballot<'_>) -> Option<PersonId> {
        let message = ballot.message.dashed();
        let counted = self.votes.iter().find(|vote| vote.message == message)?;
        counted.vote.on_behalf_of.clone()
    }

    /// The answer to a vote while a freeze covers what it is about: what would count does
    /// not, and every other answer is as without a freeze. The approval stays as it is.
    #[must_use]
    pub fn vote_while_frozen(
        &self,
        ballot: &Ballot<'_>,
        people: &(impl People + ?Sized),
        freeze: &str,
    ) -> Answer {
        let answer = self.clone().vote(ballot, people);
        if !answer.changed {
            return answer;
        }
        let message = format!(
            "nothing was counted: {freeze} It stays pending until {}; vote again once it is \
             released",
            self.expires_at()
        );
        Answer::refused(VoteCode::Frozen, message)
    }

    fn not_asked(&self, ballot: &Ballot<'_>, people: &(impl People + ?Sized)) -> Answer {
        let who = ballot.approver;
        let asked: Vec<&str> = self
            .ask()
            .approvers
            .iter()
            .map(|t| t.team.as_str())
            .collect();
        let message = match self.asked_later(who, people, ballot.stored_at) {
            Some(at) => format!("{who} is asked from {at} on; nothing was counted"),
            None => format!(
                "{who} is in none of the teams asked ({}); nothing was counted",
                asked.join(", ")
            ),
        };
        Answer::refused(VoteCode::NotAMember, message)
    }

    fn objection(&self, ballot: &Ballot<'_>, standing: &Standing) -> Option<Answer> {
        self.objection_to_voter(ballot)
            .or_else(|| self.objection_to_time(ballot))
            .or_else(|| self.objection_to_content(ballot))
            .or_else(|| self.objection_to_another(ballot, standing))
            .or_else(|| self.objection_to_window(ballot))
    }

    fn objection_to_voter(&self, ballot: &Ballot<'_>) -> Option<Answer> {
        let who = ballot.approver;
        if self.leaves_out(who) {
            let message = format!(
                "{who} asked for this or may be behind it, and nobody approves their own \
                 request; another member must vote"
            );
            return Some(Answer::refused(VoteCode::Excluded, message));
        }
        if !through_chat(ballot.via) {
            return None;
        }
        let message = match self.ask().chat_may_approve {
            false => "policy does not let this be decided in a chat",
            // A no needs less than a yes: nothing runs on it.
            true if ballot.vote.vote == VoteChoice::Deny || self.event_shows_all() => return None,
            true => "a chat cannot show all that would be approved, so it is not approved there",
        };
        let message = format!("{message}; vote in the inbox or with the command line");
        Some(Answer::refused(VoteCode::ChatNotAllowed, message))
    }

    fn objection_to_time(&self, ballot: &Ballot<'_>) -> Option<Answer> {
        if let Some(end) = self.resolution() {
            let message = format!(
                "it was already {} at {}: {}",
                self.state(),
                end.at,
                end.message
            );
            return Some(Answer::refused(VoteCode::AlreadyResolved, message));
        }
        if ballot.stored_at >= self.expires_at() {
            let message = format!("the time to decide ended at {}", self.expires_at());
            return Some(Answer::refused(VoteCode::Expired, message));
        }
        None
    }

    fn objection_to_content(&self, ballot: &Ballot<'_>) -> Option<Answer> {
        if let Some(objection) = self.objection_to_items(ballot.vote) {
            return Some(Answer::refused(VoteCode::WrongItems, objection.words()));
        }
        if ballot.vote.digest != self.digest() {
            let message = "the vote names another digest than that of what is to be approved; \
                           look at it again and vote for what is shown";
            return Some(Answer::refused(VoteCode::WrongDigest, message));
        }
        None
    }

    /// One person is one vote, and so is whoever they vote for.
    fn objection_to_another(&self, ballot: &Ballot<'_>, standing: &Standing) -> Option<Answer> {
        let before = self.vote_before(ballot.approver, standing)?;
        let message = format!(
            "{} already voted {} at {}; a vote is not changed afterwards",
            voter(before),
            before.vote.vote,
            before.vote.at
        );
        Some(Answer::refused(VoteCode::AlreadyVoted, message))
    }

    fn count(&mut self, ballot: &Ballot<'_>, message: String, standing: Standing) -> Answer {
        let (behalf, lent) = match standing.lent {
            Some(Lent { person, teams }) => (Some(person), teams),
            None => (None, BTreeSet::new()),
        };
        let vote = CountedVote {
            approver: ballot.approver.clone(),
            on_behalf_of: behalf,
            via: ballot.via.clone(),
            vote: ballot.vote.vote,
            at: ballot.stored_at,
            reason: own_words(ballot),
        };
        self.votes.push(RecordedVote {
            vote,
            message,
            teams: standing.own,
            lent,
            items: ballot.vote.items.as_deref().map(each_once),
            window: ballot.vote.window.clone(),
        });
        self.resolve_by_vote(ballot);
        Answer {
            code: VoteCode::Counted,
            message: self.counted_text(ballot.vote.vote),
            changed: true,
        }
    }

    fn resolve_by_vote(&mut self, ballot: &Ballot<'_>) {
        let by = Some(ballot.approver.clone());
        let at = ballot.stored_at;
        if ballot.vote.vote == VoteChoice::Deny {
            let who = self.votes.last().map(voter).unwrap_or_default();
            let message = match own_words(ballot) {
                Some(reason) => format!("denied by {who}: {reason}"),
                None => format!("denied by {who}"),
            };
            self.resolve(ApprovalState::Denied, at, message, by);
            return;
        }
        let words = own_words(ballot);
        self.strike_unnamed(ballot.vote, ballot.approver, words.as_deref(), at);
        if self.is_used_up(at, by.as_ref()) {
            return;
        }
        if self.is_granted() {
            let message = format!("approved by {}", self.approved_in_words());
            let (state, message) = match self.left_out_by_people() {
                0 => (ApprovalState::Approved, message),
                out => {
                    let all = self.items.len();
                    let message = format!("{message}, {out} of {all} items left out");
                    (ApprovalState::Partial, message)
                }
            };
            self.resolve(state, at, message, by);
        }
    }

    pub(super) fn counted_text(&self, choice: VoteChoice) -> String {
        let counted = match (&self.resolution, choice) {
            (Some(end), _) => format!("counted; it is {}: {}", self.state, end.message),
            (None, VoteChoice::Approve) => {
                let needed = quorum::people_needed(&self.ask().approvers);
                format!(
                    "counted; {} of {needed} approvals are there",
                    self.votes.len()
                )
            }
            (None, VoteChoice::Deny) => "counted".to_owned(),
        };
        counted + &self.window_words()
    }
}

/// The items that a vote names, without repeats.
fn each_once(named: &[IntentId]) -> Vec<IntentId> {
    let mut seen = BTreeSet::new();
    let new = named.iter().filter(|intent| seen.insert(**intent));
    new.copied().collect()
}

/// The approver's reason, cut to what a person reads.
fn own_words(ballot: &Ballot<'_>) -> Option<String> {
    let reason = ballot.reason.as_deref()?;
    Some(readable(reason)).filter(|text| !text.is_empty())
}

/// A person's own words as others may read them: redacted as a whole, so that no cut leaves
/// a part of what must not be seen, then cut to what a person reads.
#[must_use]
pub fn spoken(words: &str, redact: &dyn Fn(&str) -> String) -> String {
    readable(&redact(words))
}

fn readable(redacted: &str) -> String {
    let mut said: String = redacted.chars().take(limits::PURPOSE_CHARS_MAX).collect();
    if said.len() < redacted.len() {
        said.push('…');
    }
    visible(&said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_redacted_before_they_are_cut() {
        let hidden = "hidden-word";
        let redact = |text: &str| text.replace(hidden, "[gone]");
        let filler = "a".repeat(limits::PURPOSE_CHARS_MAX - 4);
        let said = spoken(&format!("{filler}{hidden}"), &redact);
        assert_eq!(said, format!("{filler}[gon…"));
        assert_eq!(spoken("short\u{202e}", &redact), "short⟨U+202E⟩");
    }
}
