//! From an approval with votes for a window, or from one person's request, to a window.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_schemas::events::{
    Ask, CheckedRequester, CountedVote, Operation, PolicyChecked, VoteChoice, WindowRequested,
};
use countersign_schemas::ids::IdError;
use countersign_schemas::limits::WINDOW_NAMES_MAX;
use countersign_schemas::{ApprovalId, PersonId, ServiceId, Timestamp, ToolName, WindowId};

use super::format::Form;
use super::limits::Limits;
use super::window::Window;
use crate::approvals::{Approval, People, granted, visible};
use crate::policy::WindowTerms;

/// The id of the window that the message `<incarnation>-<sequence>` opened.
///
/// # Errors
/// When the message has no such name, which it always has.
pub fn window_id(message: &str) -> Result<WindowId, IdError> {
    format!("w-{message}").parse()
}

/// Whose votes opened a window, and when.
#[derive(Debug, Clone)]
pub struct Origin<'a> {
    /// The window's id.
    pub id: WindowId,
    /// The votes that counted; those that approved speak for the window.
    pub votes: &'a [CountedVote],
    /// When the last of them was stored: its time counts from then.
    pub at: Timestamp,
}

impl Window {
    /// The window that an approval opens, once it is approved.
    #[must_use]
    pub fn of(approval: &Approval) -> Option<Self> {
        let limits = approval.window_limits()?;
        let [item] = approval.items() else {
            return None;
        };
        let origin = Origin {
            id: window_id(approval.approved_with()?).ok()?,
            votes: &approval.votes(),
            at: approval.resolution()?.at,
        };
        let (id, ask) = (approval.id(), approval.ask());
        Some(Self::from_approval(
            &origin,
            id,
            item.checked(),
            ask,
            limits,
        ))
    }

    /// The window that people opened together with their yes to one action. It covers that
    /// tool, for that requester as far as proved then, and of an update those fields.
    #[must_use]
    pub fn from_approval(
        origin: &Origin<'_>,
        approval: &ApprovalId,
        checked: &PolicyChecked,
        ask: &Ask,
        limits: Limits,
    ) -> Self {
        let same_input = limits.same_input_only;
        let changed = checked.changes.iter().map(|change| change.field.clone());
        Self {
            tools: BTreeMap::from([(checked.tool.clone(), checked.tool_digest)]),
            fields: match checked.operation {
                Some(Operation::Update) => changed.collect(),
                _ => BTreeSet::new(),
            },
            requester: Some(checked.requester.clone()),
            input_match: same_input.then(|| checked.input_match.clone()),
            approval_id: Some(approval.clone()),
            ..Self::blank(origin, checked.agent.clone(), ask, limits)
        }
    }

    fn blank(
        origin: &Origin<'_>,
        agent: countersign_schemas::AgentId,
        ask: &Ask,
        limits: Limits,
    ) -> Self {
        let approving = |vote: &&CountedVote| vote.vote == VoteChoice::Approve;
        Self {
            schema_version: Form,
            id: origin.id.clone(),
            agent,
            tools: BTreeMap::new(),
            fields: BTreeSet::new(),
            requester: None,
            input_match: None,
            ask: ask.clone(),
            votes: origin.votes.iter().filter(approving).cloned().collect(),
            approval_id: None,
            reason: None,
            opened_at: origin.at,
            until: origin.at.plus(Duration::from_secs(limits.seconds)),
            limits,
            uses: BTreeMap::new(),
            end: None,
            settled: None,
        }
    }
}

/// One person's request to open a window ahead of time, checked as far as it goes without
/// the policy.
#[derive(Debug, Clone)]
pub struct Demand {
    asked: WindowRequested,
    limits: Limits,
    by: PersonId,
    via: ServiceId,
}

impl Demand {
    /// Reads a request of `by`, made with their own key, which is called `via`.
    ///
    /// # Errors
    /// What is wrong with it and how to mend it.
    pub fn read(asked: WindowRequested, by: PersonId, via: ServiceId) -> Result<Self, String> {
        let limits = Limits::read(&asked.limits).map_err(|fault| fault.to_string())?;
        if limits.same_input_only {
            let why = "`same_input_only` needs an input: open such a window with a vote on an ask";
            return Err(why.to_owned());
        }
        if asked.tools.is_empty() || asked.tools.len().max(asked.fields.len()) > WINDOW_NAMES_MAX {
            return Err(format!(
                "a window names 1 to {WINDOW_NAMES_MAX} tools and at most as many fields"
            ));
        }
        if asked.reason.trim().is_empty() {
            return Err("say why in `reason`: others see it beside the window".to_owned());
        }
        Ok(Self {
            asked,
            limits,
            by,
            via,
        })
    }

    /// For which agent.
    #[must_use]
    pub fn agent(&self) -> &countersign_schemas::AgentId {
        &self.asked.agent
    }

    /// For which tools.
    #[must_use]
    pub fn tools(&self) -> &[ToolName] {
        &self.asked.tools
    }

    /// How far it should go.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Which fields updates may change.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.asked.fields
    }

    /// The window, if this one person is all that the rules in force demand. `reason` is
    /// the person's, redacted.
    ///
    /// # Errors
    /// Why not, in words for the person.
    pub fn open(
        &self,
        id: WindowId,
        at: Timestamp,
        terms: &WindowTerms,
        reason: &str,
        people: &(impl People + ?Sized),
    ) -> Result<Window, String> {
        let ask = &terms.ask;
        let reason = visible(reason);
        let vote = CountedVote {
            approver: self.by.clone(),
            on_behalf_of: None,
            via: self.via.clone(),
            vote: VoteChoice::Approve,
            at,
            reason: Some(reason.clone()),
        };
        let votes = [vote];
        let member = ask
            .approvers
            .iter()
            .any(|entry| people.members(&entry.team).contains(&self.by));
        if !member {
            return Err(format!(
                "{} is in none of the teams that decide this ({}); nothing was opened",
                self.by,
                names(ask)
            ));
        }
        // Whom an ask excludes depends on who asks, and is looked at with each use.
        let nobody = format!("window.{id}");
        let requester = nobody.parse().map_err(|_| "the window has no name")?;
        if granted(&votes, ask, &requester, people).is_err() {
            return Err(format!(
                "it takes more people than {} ({}): open it with votes on an ask, where each of \
                 them asks for a window",
                self.by,
                names(ask)
            ));
        }
        let origin = Origin {
            id,
            votes: &votes,
            at,
        };
        let proved = |id: &countersign_schemas::RequesterId| CheckedRequester {
            id: id.clone(),
            verified: true,
        };
        Ok(Window {
            tools: terms.tools.clone(),
            fields: self.asked.fields.iter().cloned().collect(),
            requester: self.asked.requester.as_ref().map(proved),
            reason: Some(reason),
            ..Window::blank(&origin, self.asked.agent.clone(), ask, self.limits.clone())
        })
    }
}

fn names(ask: &Ask) -> String {
    let one = |entry: &countersign_schemas::events::TeamQuorum| match entry.quorum {
        1 => entry.team.to_string(),
        many => format!("{}:{many}", entry.team),
    };
    let all: Vec<String> = ask.approvers.iter().map(one).collect();
    all.join(" & ")
}
