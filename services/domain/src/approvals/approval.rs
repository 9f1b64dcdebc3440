//! The value of one approval and its life.

use std::collections::BTreeSet;

use countersign_schemas::events::{
    ApprovalKind, ApprovalState, Ask, BlockedCode, CheckedRequester, CountedVote, WindowLimits,
};
use countersign_schemas::{AgentId, ApprovalId, Digest, IntentId, PersonId, TeamId, Timestamp};
use serde::{Deserialize, Serialize};

use super::ahead::AskedWindow;
use super::bundle::LeftOut;
use super::format::Form;
use super::item::Item;
use super::rejudge::Stop;
use super::schedule::Timetable;
use super::standing::voter;
use super::view::ApprovalView;
use super::visible::visible;
use super::{People, quorum};

/// A vote that counted, with what is needed to judge it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedVote {
    /// The vote.
    #[serde(flatten)]
    pub vote: CountedVote,
    /// The message that cast it, `<incarnation>-<sequence>`: a redelivery is the same vote.
    pub message: String,
    /// The asked teams whose places the voter could fill at that time by their own right.
    pub teams: BTreeSet<TeamId>,
    /// Those besides them in the place of the person whom the vote names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lent: BTreeSet<TeamId>,
    /// The only items of a bundle that it approves; none where it is about all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<IntentId>>,
    /// The window that it asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowLimits>,
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
    /// What stopped it although people granted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Box<Stop>>,
}

/// One approval over one or several intents, as kept by the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    pub(super) schema_version: Form,
    pub(super) id: ApprovalId,
    pub(super) kind: ApprovalKind,
    pub(super) agent: AgentId,
    pub(super) requester: CheckedRequester,
    pub(super) purpose: String,
    pub(super) items: Vec<Item>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) left_out: Vec<LeftOut>,
    pub(super) ask: Ask,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Timestamp,
    #[serde(default)]
    pub(super) timetable: Timetable,
    pub(super) digest: Digest,
    /// Of kind `window`: what it would open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<Box<AskedWindow>>,
    pub(super) votes: Vec<RecordedVote>,
    pub(super) state: ApprovalState,
    pub(super) resolution: Option<Resolution>,
    pub(super) settled: bool,
}

impl Approval {
    /// Its id, derived from what it is about.
    #[must_use]
    pub fn id(&self) -> &ApprovalId {
        &self.id
    }

    /// What it is about: one action, several decided as one, or a span of time.
    #[must_use]
    pub fn kind(&self) -> ApprovalKind {
        self.kind
    }

    /// Who wants to act.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// On whose behalf; where its items differ in this, that of the first.
    #[must_use]
    pub fn requester(&self) -> &CheckedRequester {
        &self.requester
    }

    /// Why, in the agent's words; empty once it is settled.
    #[must_use]
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// The intents that it is about, in their order, with their verdicts.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The items of its bundle that nobody could grant when people were asked.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// What is shown of an intent that was left out when people were asked.
    #[must_use]
    pub fn left_out_item(&self, intent: IntentId) -> Option<&LeftOut> {
        self.left_out.iter().find(|item| item.intent_id == intent)
    }

    /// The item of an intent, if it is about it.
    #[must_use]
    pub fn item(&self, intent: IntentId) -> Option<&Item> {
        self.items.iter().find(|item| item.intent() == intent)
    }

    /// The ids of its intents, in their order.
    #[must_use]
    pub fn intents(&self) -> Vec<IntentId> {
        self.items.iter().map(Item::intent).collect()
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

    /// The same as others read them, with the person in whose place each voted.
    pub(super) fn approved_in_words(&self) -> String {
        let names: Vec<String> = self.votes.iter().map(voter).collect();
        names.join(" and ")
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
        self.purpose.clear();
        self.items.iter_mut().for_each(Item::strip);
        self.left_out.clear();
    }

    /// Everything that an approver is shown.
    #[must_use]
    pub fn view(&self) -> ApprovalView {
        ApprovalView::of(self)
    }

    /// Whether `person` is asked at `at`: in one of the teams, or in the place of somebody.
    #[must_use]
    pub fn asks(&self, person: &PersonId, people: &(impl People + ?Sized), at: Timestamp) -> bool {
        !self.standing(person, people, at).is_none()
    }

    /// Whether a vote of `person` could count at `at`: asked, and not the requester.
    #[must_use]
    pub fn may_vote(
        &self,
        person: &PersonId,
        people: &(impl People + ?Sized),
        at: Timestamp,
    ) -> bool {
        self.asks(person, people, at) && !self.leaves_out(person)
    }

    /// The checker lists whoever may be the requester; the requester's own id is refused
    /// whatever that list says. Whoever asks for a window speaks for it like the others.
    pub(super) fn excludes(&self, who: &PersonId) -> bool {
        if self.kind == ApprovalKind::Window {
            return self.ask.excluded.contains(who);
        }
        let requesters = self.items.iter().map(|item| &item.checked().requester);
        self.ask.excluded.contains(who)
            || std::iter::once(&self.requester)
                .chain(requesters)
                .any(|requester| requester.id.as_str() == who.as_str())
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
            stop: None,
        });
        true
    }
}
