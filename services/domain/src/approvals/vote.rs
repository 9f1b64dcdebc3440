//! One vote, and its answer. Every refusal is a definite answer in words.

use std::collections::BTreeSet;

use countersign_schemas::events::{
    ApprovalState, ApprovalVote, ApprovalVoted, CountedVote, VoteChoice,
};
use countersign_schemas::{PersonId, SeqToken, ServiceId, TeamId, Timestamp, limits};

use super::approval::{Approval, RecordedVote};
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
    /// It asks for something that this version cannot do.
    NotSupported,
    /// The approval had ended.
    AlreadyResolved,
    /// It came after the deadline.
    Expired,
    /// It names another digest than that of what is to be approved.
    WrongDigest,
    /// The same person voted before.
    AlreadyVoted,
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
            Self::NotSupported => "not_supported",
            Self::AlreadyResolved => "already_resolved",
            Self::Expired => "expired",
            Self::WrongDigest => "wrong_digest",
            Self::AlreadyVoted => "already_voted",
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
    fn refused(code: VoteCode, message: impl Into<String>) -> Self {
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
        let teams = self.teams_of(ballot.approver, people);
        match self.objection(ballot, &teams) {
            Some(refusal) => refusal,
            None => self.count(ballot, message, teams),
        }
    }

    fn objection(&self, ballot: &Ballot<'_>, teams: &BTreeSet<TeamId>) -> Option<Answer> {
        self.objection_to_voter(ballot, teams)
            .or_else(|| self.objection_to_time(ballot))
            .or_else(|| self.objection_to_content(ballot))
    }

    fn objection_to_voter(&self, ballot: &Ballot<'_>, teams: &BTreeSet<TeamId>) -> Option<Answer> {
        let who = ballot.approver;
        if teams.is_empty() {
            let asked: Vec<&str> = self
                .ask()
                .approvers
                .iter()
                .map(|t| t.team.as_str())
                .collect();
            let message = format!(
                "{who} is in none of the teams asked ({}); nothing was counted",
                asked.join(", ")
            );
            return Some(Answer::refused(VoteCode::NotAMember, message));
        }
        if !self.ask().self_allowed && self.excludes(who) {
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
        if ballot.vote.items.is_some() || ballot.vote.window.is_some() {
            let message = "votes on single items of a bundle and votes that open a window are \
                           not supported by this version; vote without `items` and `window`";
            return Some(Answer::refused(VoteCode::NotSupported, message));
        }
        if ballot.vote.digest != self.digest() {
            let message = "the vote names another digest than that of what is to be approved; \
                           look at it again and vote for what is shown";
            return Some(Answer::refused(VoteCode::WrongDigest, message));
        }
        let before = self
            .votes
            .iter()
            .find(|v| v.vote.approver == *ballot.approver)?;
        let message = format!(
            "{} already voted {} at {}; a vote is not changed afterwards",
            ballot.approver, before.vote.vote, before.vote.at
        );
        Some(Answer::refused(VoteCode::AlreadyVoted, message))
    }

    fn count(&mut self, ballot: &Ballot<'_>, message: String, teams: BTreeSet<TeamId>) -> Answer {
        let vote = CountedVote {
            approver: ballot.approver.clone(),
            via: ballot.via.clone(),
            vote: ballot.vote.vote,
            at: ballot.stored_at,
            reason: own_words(ballot),
        };
        self.votes.push(RecordedVote {
            vote,
            message,
            teams,
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
            let message = match own_words(ballot) {
                Some(reason) => format!("denied by {}: {reason}", ballot.approver),
                None => format!("denied by {}", ballot.approver),
            };
            self.resolve(ApprovalState::Denied, at, message, by);
            return;
        }
        let teams: Vec<&BTreeSet<TeamId>> = self.votes.iter().map(|vote| &vote.teams).collect();
        if quorum::is_met(&self.ask().approvers, &teams) {
            let names: Vec<String> = self.approved_by().iter().map(ToString::to_string).collect();
            let message = format!("approved by {}", names.join(" and "));
            self.resolve(ApprovalState::Approved, at, message, by);
        }
    }

    fn counted_text(&self, choice: VoteChoice) -> String {
        match (&self.resolution, choice) {
            (Some(end), _) => format!("counted; it is {}: {}", self.state, end.message),
            (None, VoteChoice::Approve) => {
                let needed = quorum::people_needed(&self.ask().approvers);
                format!(
                    "counted; {} of {needed} approvals are there",
                    self.votes.len()
                )
            }
            (None, VoteChoice::Deny) => "counted".to_owned(),
        }
    }
}

/// The approver's reason, cut to what a person reads.
fn own_words(ballot: &Ballot<'_>) -> Option<String> {
    let reason = ballot.reason.as_deref()?;
    let mut said: String = reason.chars().take(limits::PURPOSE_CHARS_MAX).collect();
    if said.len() < reason.len() {
        said.push('…');
    }
    Some(visible(&said)).filter(|text| !text.is_empty())
}
