//! The value of one window and its life.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_schemas::events::{
    Ask, CheckedRequester, CountedVote, Operation, PolicyChecked, Verdict, WindowClosed,
    WindowOpened,
};
use countersign_schemas::{
    AgentId, ApprovalId, Digest, IntentId, PersonId, Timestamp, ToolName, WindowId,
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::format::Form;
use super::limits::Limits;
use crate::approvals::{People, granted};
use crate::guardrails::money::{plain, plus};

/// One use of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Its amount, where the window has a limit on their total.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Decimal>,
    /// Whether it stays for good: its intent was claimed.
    #[serde(rename = "k", default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
}

/// What ended a window, as a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCode {
    /// Its time was over.
    Expired,
    /// A person closed it.
    Revoked,
}

impl EndCode {
    /// The word in `window.closed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// How a window ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowEnd {
    /// Why, as a code.
    pub code: EndCode,
    /// When.
    pub at: Timestamp,
    /// Who closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
    /// Why, in their own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why a window does not lift an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Gone {
    /// Its time is over, or it was closed.
    #[error("it is not open any more")]
    Ended,
    /// The verdict is no ask of its agent for one of its tools.
    #[error("it is not for this")]
    NotForThis,
    /// Its tool was defined anew since.
    #[error("the tool's definition changed since")]
    ToolChanged,
    /// Somebody else asked, or it is not proved who did.
    #[error("it is for another requester")]
    Requester,
    /// An update of other fields.
    #[error("it does not cover these fields")]
    Fields,
    /// Another input.
    #[error("it is for one input only")]
    Input,
    /// Policy allows no window here, or none this long.
    #[error("policy permits no window of this length here")]
    NotPermitted,
    /// The people who opened it are not those whom this ask needs.
    #[error("the people who opened it are not those whom this needs")]
    People,
    /// It was used as often as it may be.
    #[error("it is used up")]
    UsedUp,
    /// Its total does not take this amount, or the amount is not known.
    #[error("its total does not take this amount")]
    Total,
}

/// What came of taking a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// It is taken now, and must be stored before anything is decided.
    Taken,
    /// It was taken before, by this same intent.
    AlreadyTaken,
    /// It was taken before, and the window ended before it was decided: it must not be
    /// approved any more, and nothing else may decide it while its use stands.
    Stranded,
    /// The window does not lift this.
    Refused(Gone),
}

/// An approval of a span, as kept by the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub(super) schema_version: Form,
    pub(super) id: WindowId,
    pub(super) agent: AgentId,
    /// Each with the definition that people knew: a changed tool is another tool.
    pub(super) tools: BTreeMap<ToolName, Option<Digest>>,
    pub(super) limits: Limits,
    pub(super) fields: BTreeSet<String>,
    pub(super) requester: Option<CheckedRequester>,
    /// Of the one input, where only that is covered.
    pub(super) input_match: Option<String>,
    pub(super) ask: Ask,
    pub(super) votes: Vec<CountedVote>,
    pub(super) approval_id: Option<ApprovalId>,
    pub(super) reason: Option<String>,
    pub(super) opened_at: Timestamp,
    pub(super) until: Timestamp,
    pub(super) uses: BTreeMap<IntentId, Use>,
    pub(super) end: Option<WindowEnd>,
    /// The last count, once everything that follows from its end is stored.
    pub(super) settled: Option<Settled>,
}

/// What is left of the uses of a window that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settled {
    uses: u32,
    total: Option<String>,
}

impl Window {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &WindowId {
        &self.id
    }

    /// For which agent.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// For which tools.
    pub fn tools(&self) -> impl Iterator<Item = &ToolName> {
        self.tools.keys()
    }

    /// When it ends, unless it is closed before.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn end(&self) -> Option<&WindowEnd> {
        self.end.as_ref()
    }

    /// Whether it may lift anything at `now`. Permits count in whole seconds, so its last
    /// begun second is none.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.end.is_none() && now.seconds() < self.until.seconds()
    }

    /// Whether everything that follows from its end is stored.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// The people who opened it, in the order of their votes.
    #[must_use]
    pub fn opened_by(&self) -> Vec<PersonId> {
        self.votes.iter().map(|v| v.approver.clone()).collect()
    }

    /// Whether `intent` holds a use.
    #[must_use]
    pub fn holds(&self, intent: IntentId) -> bool {
        self.uses.contains_key(&intent)
    }

    /// The intents whose uses may still be given back.
    pub fn open_uses(&self) -> impl Iterator<Item = IntentId> {
        let open = self.uses.iter().filter(|(_, one)| !one.kept);
        open.map(|(intent, _)| *intent)
    }

    /// How often it is used.
    #[must_use]
    pub fn used(&self) -> u32 {
        match &self.settled {
            Some(settled) => settled.uses,
            None => u32::try_from(self.uses.len()).unwrap_or(u32::MAX),
        }
    }

    /// What its uses come to; `None` where it has no limit on that.
    #[must_use]
    pub fn total(&self) -> Option<Decimal> {
        self.limits.max_total.as_ref()?;
        let amounts = self.uses.values().filter_map(|one| one.amount);
        // Every sum was found to be exact when its last part was taken.
        amounts.reduce(|sum, next| plus(sum, next).unwrap_or(Decimal::MAX))
    }

    /// Takes a use for the intent of `checked`, once. Who is in which team counts as of
    /// now: whoever left a team no longer speaks for it.
    pub fn take(
        &mut self,
        checked: &PolicyChecked,
        now: Timestamp,
        people: &(impl People + ?Sized),
    ) -> Take {
        let intent = checked.intent_id;
        match (self.holds(intent), self.is_open(now)) {
            (true, true) => return Take::AlreadyTaken,
            (true, false) => return Take::Stranded,
            (false, false) => return Take::Refused(Gone::Ended),
            (false, true) => {}
        }
        let measured = self
            .lifts(checked, people)
            .and_then(|()| self.room(checked));
        match measured {
            Ok(amount) => {
                let kept = false;
                self.uses.insert(intent, Use { amount, kept });
                Take::Taken
            }
            Err(gone) => Take::Refused(gone),
        }
    }

    /// Whether it is an approval of what `checked` asks for, leaving aside how often it was
    /// used.
    pub(super) fn lifts(
        &self,
        checked: &PolicyChecked,
        people: &(impl People + ?Sized),
    ) -> Result<(), Gone> {
        let ask = self.concerns(checked).ok_or(Gone::NotForThis)?;
        if self
            .requester
            .as_ref()
            .is_some_and(|one| *one != checked.requester)
        {
            return Err(Gone::Requester);
        }
        if self.tools.get(&checked.tool) != Some(&checked.tool_digest) {
            return Err(Gone::ToolChanged);
        }
        let known = |field: &String| self.fields.contains(field);
        if checked.operation == Some(Operation::Update)
            && (checked.changes.is_empty() || !checked.changes.iter().all(|c| known(&c.field)))
        {
            return Err(Gone::Fields);
        }
        if self.limits.same_input_only && self.input_match.as_ref() != Some(&checked.input_match) {
            return Err(Gone::Input);
        }
        if ask.window_max_s.is_none_or(|max| self.limits.seconds > max) {
            return Err(Gone::NotPermitted);
        }
        granted(&self.votes, ask, &checked.requester.id, people).map_err(|_| Gone::People)
    }

    /// The ask, if it is one of this agent for one of these tools. A bundle is decided as
    /// one object, so a window lifts nothing in it.
    fn concerns<'c>(&self, checked: &'c PolicyChecked) -> Option<&'c Ask> {
        let fits = checked.verdict == Verdict::Ask
            && checked.dry_run != Some(true)
            && checked.bundle.is_none()
            && checked.agent == self.agent
            && checked.operation.is_some()
            && self.tools.contains_key(&checked.tool);
        checked.ask.as_ref().filter(|_| fits)
    }

    /// The amount that a use takes, if there is room for one more.
    fn room(&self, checked: &PolicyChecked) -> Result<Option<Decimal>, Gone> {
        if self.used() >= self.limits.max_uses {
            return Err(Gone::UsedUp);
        }
        let Some(max) = &self.limits.max_total else {
            return Ok(None);
        };
        let amount = checked.amount.as_deref().map(plain);
        let Some(Ok(amount)) = amount else {
            return Err(Gone::Total);
        };
        // Below nothing it would make room for others.
        if max.currency != checked.currency || amount < Decimal::ZERO {
            return Err(Gone::Total);
        }
        let sum = plus(self.total().unwrap_or_default(), amount).map_err(|_| Gone::Total)?;
        match sum <= max.amount {
            true => Ok(Some(amount)),
            false => Err(Gone::Total),
        }
    }

    /// Notes that the use of `intent` stays for good; says whether anything changed.
    pub fn keep(&mut self, intent: IntentId) -> bool {
        match self.uses.get_mut(&intent) {
            Some(one) if !one.kept => {
                one.kept = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Gives the use of `intent` back; says whether anything changed. What is kept stays.
    pub fn give_back(&mut self, intent: IntentId) -> bool {
        let open = self.uses.get(&intent).is_some_and(|one| !one.kept);
        open && self.uses.remove(&intent).is_some()
    }

    /// Closes it because a person wants it; says whether anything changed: where its time
    /// was over, it has expired.
    pub fn close(&mut self, by: &PersonId, reason: Option<String>, at: Timestamp) -> bool {
        if self.expire(at) {
            return true;
        }
        if self.end.is_some() {
            return false;
        }
        self.end = Some(WindowEnd {
            code: EndCode::Revoked,
            at,
            by: Some(by.clone()),
            reason,
        });
        true
    }

    /// Ends it because its time is over; says whether it did.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        if now < self.until || self.end.is_some() {
            return false;
        }
        self.end = Some(WindowEnd {
            code: EndCode::Expired,
            at: self.until,
            by: None,
            reason: None,
        });
        true
    }

    /// Notes that everything that follows from its end is stored. From then on it only
    /// answers who asks for it again.
    pub fn settle(&mut self) {
        if self.end.is_none() || self.settled.is_some() {
            return;
        }
        let total = self.total_text();
        let uses = self.used();
        self.settled = Some(Settled { uses, total });
        self.uses.clear();
    }

    fn total_text(&self) -> Option<String> {
        if let Some(settled) = &self.settled {
            return settled.total.clone();
        }
        let currency = self.limits.max_total.as_ref()?.currency.clone();
        let amount = self.total().unwrap_or_default();
        Some(super::Total { amount, currency }.to_string())
    }

    /// The event that tells that it is open.
    #[must_use]
    pub fn opened(&self) -> WindowOpened {
        WindowOpened {
            schema_version: 1,
            window_id: self.id.clone(),
            agent: self.agent.clone(),
            tools: self.tools().cloned().collect(),
            limits: self.limits.written(),
            ask: self.ask.clone(),
            approvers: self.opened_by(),
            opened_at: self.opened_at,
            expires_at: self.until,
            fields: self.fields.iter().cloned().collect(),
            requester: self.requester.clone(),
            votes: self.votes.clone(),
            approval_id: self.approval_id.clone(),
            reason: self.reason.clone(),
        }
    }

    /// The event that tells its end; `None` while it is open, or a use of it may still be
    /// given back.
    #[must_use]
    pub fn closed(&self) -> Option<WindowClosed> {
        let end = self.end.as_ref()?;
        if self.open_uses().next().is_some() {
            return None;
        }
        Some(WindowClosed {
            schema_version: 1,
            window_id: self.id.clone(),
            agent: self.agent.clone(),
            code: end.code.as_str().to_owned(),
            uses: self.used(),
            closed_at: end.at,
            total: self.total_text(),
            by: end.by.clone(),
            reason: end.reason.clone(),
        })
    }

    /// How long it lasts.
    #[must_use]
    pub fn span(&self) -> Duration {
        Duration::from_secs(self.limits.seconds)
    }
}
