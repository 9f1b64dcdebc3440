//! The value of one approval and its life.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::events::{
    ApprovalItem, ApprovalKind, ApprovalRequested, ApprovalResolved, ApprovalState, Ask,
    BlockedCode, CountedVote, Operation, PolicyChecked, Reason, Verdict,
};
use countersign_schemas::{ApprovalId, Digest, JsonObject, PersonId, TeamId, Timestamp};
use serde::{Deserialize, Serialize};

use super::view::{ApprovalView, visible_change};
use super::visible::{visible, visible_object};
use super::{People, quorum};

/// Longest life of an ask, whatever policy says: raw messages are kept for seven days, and
/// an approval must not outlive the input it is about.
pub const ASK_LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Bytes of what is shown for one approval. People cannot read more, and with the redacted
/// copy beside it an answer stays under what a server lets a message be. Text that hides
/// characters grows when they are made visible, so this is measured afterwards.
const SHOWN_BYTES_MAX: usize = 512 * 1024;

/// A verdict cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The verdict is not an ask.
    #[error("the verdict does not ask for people")]
    NotAnAsk,
    /// It names nobody who could grant it.
    #[error("the verdict asks for people but names no team with a quorum")]
    NobodyAsked,
    /// It speaks of a tool that the catalog does not know.
    #[error("the verdict asks for a tool without an operation")]
    UnknownTool,
    /// More than people could be shown.
    #[error("it is larger than people could be shown ({SHOWN_BYTES_MAX} bytes)")]
    TooLarge,
    /// People could not be shown it: the event that asks them has no form that is read.
    #[error("its input is nested too deeply to be shown to people")]
    NotShowable,
    /// It cannot be written as canonical JSON.
    #[error("the approval cannot be written as canonical JSON")]
    NotCanonical,
}

/// A vote that counted, with what is needed to judge it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedVote {
    /// The vote.
    #[serde(flatten)]
    pub vote: CountedVote,
    /// The message that cast it, `<incarnation>-<sequence>`: a redelivery is the same vote.
    pub message: String,
    /// The asked teams that the voter was in at that time.
    pub teams: BTreeSet<TeamId>,
}

/// How an approval ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// When.
    pub at: Timestamp,
    /// A sentence on why.
    pub message: String,
    /// The person whose vote ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
    /// Why it was ended without anybody's vote, where its state does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<BlockedCode>,
}

/// One approval, as kept by the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    schema_version: u16,
    id: ApprovalId,
    checked: PolicyChecked,
    operation: Operation,
    ask: Ask,
    created_at: Timestamp,
    expires_at: Timestamp,
    digest: Digest,
    pub(super) votes: Vec<RecordedVote>,
    pub(super) state: ApprovalState,
    pub(super) resolution: Option<Resolution>,
    settled: bool,
}

impl Approval {
    /// Opens the approval of one intent, asked at `stored_at`. The same verdict always
    /// gives the same approval.
    ///
    /// # Errors
    /// When the verdict is not an ask that people could grant.
    pub fn open(checked: &PolicyChecked, stored_at: Timestamp) -> Result<Self, OpenError> {
        if checked.verdict != Verdict::Ask {
            return Err(OpenError::NotAnAsk);
        }
        let ask = checked.ask.clone().ok_or(OpenError::NotAnAsk)?;
        if ask.approvers.is_empty() || ask.approvers.iter().any(|team| team.quorum == 0) {
            return Err(OpenError::NobodyAsked);
        }
        let operation = checked.operation.ok_or(OpenError::UnknownTool)?;
        let life = Duration::from_secs(ask.expires_in_s).min(ASK_LIFE_MAX);
        let asked_until = stored_at.plus(life);
        let expires_at = checked
            .expires_at
            .map_or(asked_until, |own| own.min(asked_until));
        let mut approval = Self {
            schema_version: 1,
            id: ApprovalId::for_intent(checked.intent_id),
            checked: checked.clone(),
            operation,
            ask,
            created_at: stored_at,
            expires_at,
            digest: checked.input_digest,
            votes: Vec::new(),
            state: ApprovalState::Pending,
            resolution: None,
            settled: false,
        };
        let view = approval.view();
        approval.digest = view.digest().map_err(|_| OpenError::NotCanonical)?;
        let asked = approval.requested(&str::to_owned);
        let asked = codec::encode(&asked, Encoding::Json).map_err(|_| OpenError::NotShowable)?;
        if size(&view)? > SHOWN_BYTES_MAX || asked.len() > SHOWN_BYTES_MAX {
            return Err(OpenError::TooLarge);
        }
        Ok(approval)
    }

    /// Its id, derived from the intent.
    #[must_use]
    pub fn id(&self) -> &ApprovalId {
        &self.id
    }

    /// The verdict that it is about.
    #[must_use]
    pub fn checked(&self) -> &PolicyChecked {
        &self.checked
    }

    /// What people must grant.
    #[must_use]
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> ApprovalState {
        self.state
    }

    /// Whether people may still vote.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.state == ApprovalState::Pending
    }

    /// When it was asked.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When nobody may grant it any more.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The digest that a vote must name.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn resolution(&self) -> Option<&Resolution> {
        self.resolution.as_ref()
    }

    /// The votes that counted.
    #[must_use]
    pub fn votes(&self) -> Vec<CountedVote> {
        self.votes.iter().map(|vote| vote.vote.clone()).collect()
    }

    /// The people who approved, in the order of their votes.
    #[must_use]
    pub fn approved_by(&self) -> Vec<PersonId> {
        use countersign_schemas::events::VoteChoice;
        let approving = |vote: &&RecordedVote| vote.vote.vote == VoteChoice::Approve;
        let voters = self.votes.iter().filter(approving);
        voters.map(|vote| vote.vote.approver.clone()).collect()
    }

    /// Whether everything that follows from its end is stored.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Notes that everything that follows from its end is stored. From then on it only
    /// answers late votes, so it keeps no copy of the input and no text of the agent: the
    /// archive has both, and what is kept for a day stays small.
    pub fn settle(&mut self) {
        if self.is_pending() {
            return;
        }
        self.settled = true;
        let checked = &mut self.checked;
        checked.input_redacted = JsonObject::default();
        checked.input_shown = JsonObject::default();
        checked.purpose.clear();
        checked.summary.clear();
        checked.session_id = None;
        checked.reasons.clear();
        checked.needs.clear();
        checked.guardrails.clear();
        checked.changes.clear();
        checked.amount = None;
        checked.salt.clear();
        checked.expose.clear();
        checked.ask = None;
    }

    /// Everything that an approver is shown.
    #[must_use]
    pub fn view(&self) -> ApprovalView {
        ApprovalView::of_action(
            &self.checked,
            self.operation,
            &self.ask.approvers,
            self.ask.chat_may_approve,
            self.created_at,
            self.expires_at,
        )
    }

    /// Whether `person` is in one of the teams asked, now.
    #[must_use]
    pub fn asks(&self, person: &PersonId, people: &(impl People + ?Sized)) -> bool {
        !self.teams_of(person, people).is_empty()
    }

    /// Whether a vote of `person` could count: in a team asked, and not the requester.
    #[must_use]
    pub fn may_vote(&self, person: &PersonId, people: &(impl People + ?Sized)) -> bool {
        self.asks(person, people) && (self.ask.self_allowed || !self.excludes(person))
    }

    /// The checker lists whoever may be the requester; the requester's own id is refused
    /// whatever that list says.
    pub(super) fn excludes(&self, who: &PersonId) -> bool {
        self.ask.excluded.contains(who) || self.checked.requester.id.as_str() == who.as_str()
    }

    pub(super) fn teams_of(
        &self,
        person: &PersonId,
        people: &(impl People + ?Sized),
    ) -> BTreeSet<TeamId> {
        let teams = self.ask.approvers.iter().map(|entry| &entry.team);
        teams
            .filter(|team| people.members(team).contains(person))
            .cloned()
            .collect()
    }

    /// Ends it because its time is over. Does nothing before that, or once it has ended.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        if now < self.expires_at {
            return false;
        }
        let needed = quorum::people_needed(&self.ask.approvers);
        let message = match self.votes.len() {
            0 => format!("nobody decided before {}", self.expires_at),
            got => format!(
                "{got} of {needed} approvals had come when it ended at {}",
                self.expires_at
            ),
        };
        self.resolve(ApprovalState::Expired, self.expires_at, message, None)
    }

    /// Ends it because it is no longer wanted. Does nothing once it has ended.
    pub fn cancel(&mut self, reason: &str, now: Timestamp) -> bool {
        self.resolve(ApprovalState::Cancelled, now, visible(reason), None)
    }

    /// Ends it because what people were asked about is no longer what would run. Does
    /// nothing once it has ended.
    pub fn void(&mut self, code: BlockedCode, reason: &str, now: Timestamp) -> bool {
        let ended = self.cancel(reason, now);
        if ended && let Some(resolution) = &mut self.resolution {
            resolution.code = Some(code);
        }
        ended
    }

    pub(super) fn resolve(
        &mut self,
        state: ApprovalState,
        at: Timestamp,
        message: String,
        by: Option<PersonId>,
    ) -> bool {
        if !self.is_pending() {
            return false;
        }
        self.state = state;
        self.resolution = Some(Resolution {
            at,
            message,
            by,
            code: None,
        });
        true
    }

    /// The event that asks people. It reaches chat, so every text of others passes through
    /// `redact`, and none of it can hide anything.
    #[must_use]
    pub fn requested(&self, redact: &dyn Fn(&str) -> String) -> ApprovalRequested {
        let checked = &self.checked;
        // Redacted first: a hidden character made visible would hide a secret.
        let clean = |text: &str| visible(&redact(text));
        ApprovalRequested {
            schema_version: 1,
            approval_id: self.id.clone(),
            kind: ApprovalKind::Action,
            items: vec![ApprovalItem {
                intent_id: checked.intent_id,
                tool: checked.tool.clone(),
                operation: self.operation,
                summary: clean(&checked.summary),
                input_redacted: visible_object(&checked.input_redacted),
                input_digest: checked.input_digest,
            }],
            agent: checked.agent.clone(),
            requester: checked.requester.clone(),
            purpose: clean(&checked.purpose),
            reasons: checked.reasons.iter().map(|r| cleaned(r, &clean)).collect(),
            changes: checked.changes.iter().map(visible_change).collect(),
            approvers: self.ask.approvers.clone(),
            chat_may_approve: self.ask.chat_may_approve,
            created_at: self.created_at,
            expires_at: self.expires_at,
            digest: self.digest,
        }
    }

    /// The event that tells its end; `None` while it is pending.
    #[must_use]
    pub fn resolved(&self) -> Option<ApprovalResolved> {
        let resolution = self.resolution.as_ref()?;
        Some(ApprovalResolved {
            schema_version: 1,
            approval_id: self.id.clone(),
            kind: ApprovalKind::Action,
            agent: self.checked.agent.clone(),
            intents: vec![self.checked.intent_id],
            state: self.state,
            votes: self.votes(),
            message: resolution.message.clone(),
            resolved_at: resolution.at,
        })
    }
}

fn size<T: Serialize>(value: &T) -> Result<usize, OpenError> {
    let text = serde_json::to_vec(value).map_err(|_| OpenError::NotCanonical)?;
    Ok(text.len())
}

fn cleaned(reason: &Reason, clean: &dyn Fn(&str) -> String) -> Reason {
    Reason {
        message: clean(&reason.message),
        ..reason.clone()
    }
}
