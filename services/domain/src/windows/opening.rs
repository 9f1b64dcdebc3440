//! From an approval with votes for a window, or from one person's request, to a window.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_schemas::events::{
    ApprovalVote, Ask, CheckedRequester, CountedVote, Operation, PolicyChecked, VoteChoice,
    WindowRequested,
};
use countersign_schemas::ids::IdError;
use countersign_schemas::limits::WINDOW_NAMES_MAX;
use countersign_schemas::{
    ApprovalId, PersonId, SeqToken, ServiceId, Timestamp, ToolName, WindowId,
};

use super::format::Form;
use super::limits::Limits;
use super::window::Window;
use crate::approvals::{
    Approval, AskedWindow, Ballot, People, VoteCode, WindowAsk, granted, visible,
};
use crate::input::salt_text;
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
        if let Some(asked) = approval.asked_window() {
            return Self::of_asked(approval, asked, limits);
        }
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

    /// The window that people granted which one of them had asked for ahead of time.
    fn of_asked(approval: &Approval, asked: &AskedWindow, limits: Limits) -> Option<Self> {
        let origin = Origin {
            id: approval.window_id()?,
            votes: &approval.votes(),
            at: approval.resolution()?.at,
        };
        Some(Self {
            tools: asked.tools.clone(),
            fields: asked.fields.clone(),
            requester: asked.requester.clone(),
            approval_id: Some(approval.id().clone()),
            reason: Some(visible(approval.purpose())),
            ..Self::blank(&origin, approval.agent().clone(), approval.ask(), limits)
        })
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
            schema_version: Form::default(),
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

/// Where and when a request for a window was stored.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// The message that asks.
    pub message: &'a SeqToken,
    /// When it was stored.
    pub at: Timestamp,
    /// Drawn at random, should people have to be asked: it keeps what they are shown from
    /// being guessed from its digest.
    pub salt: [u8; 16],
}

/// What comes of a request for a window.
#[derive(Debug, Clone)]
pub enum Opening {
    /// It opens at once.
    Open(Box<Window>),
    /// The others are asked, and this request is a vote.
    Ask(Box<Approval>),
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

    /// Opens the window if this one person is all that the rules in force demand, else asks
    /// the others, with this request as the first vote. `reason` is the person's, redacted.
    ///
    /// # Errors
    /// Why neither, in words for the person.
    pub fn open(
        &self,
        placed: &Placed<'_>,
        terms: &WindowTerms,
        reason: &str,
        people: &(impl People + ?Sized),
    ) -> Result<Opening, String> {
        let ask = self.ask(terms);
        let reason = visible(reason);
        let member = ask
            .approvers
            .iter()
            .any(|entry| people.members(&entry.team).contains(&self.by));
        if !member {
            return Err(format!(
                "{} is in none of the teams that decide this ({}); nothing was opened",
                self.by,
                names(&ask)
            ));
        }
        let votes = [CountedVote {
            approver: self.by.clone(),
            on_behalf_of: None,
            via: self.via.clone(),
            vote: VoteChoice::Approve,
            at: placed.at,
            reason: Some(reason.clone()),
        }];
        let id = window_id(&placed.message.dashed()).map_err(|error| error.to_string())?;
        // Whom an ask excludes depends on who asks, and is looked at with each use.
        let nobody = format!("window.{id}");
        let nobody = nobody.parse().map_err(|_| "the window has no name")?;
        let requester = self.asked.requester.as_ref().unwrap_or(&nobody);
        if granted(&votes, &ask, requester, people).is_err() {
            let approval = self.ask_others(placed, terms, ask, reason, people)?;
            return Ok(Opening::Ask(Box::new(approval)));
        }
        let origin = Origin {
            id,
            votes: &votes,
            at: placed.at,
        };
        Ok(Opening::Open(Box::new(Window {
            tools: terms.tools.clone(),
            fields: self.asked.fields.iter().cloned().collect(),
            requester: self.requester(),
            reason: Some(reason),
            ..Window::blank(&origin, self.asked.agent.clone(), &ask, self.limits.clone())
        })))
    }

    /// What it takes; a person for whom alone the window is has no say in it, unless the
    /// rules let them.
    fn ask(&self, terms: &WindowTerms) -> Ask {
        let mut ask = terms.ask.clone();
        let named = self.asked.requester.as_ref();
        ask.excluded
            .extend(named.and_then(|one| one.as_str().parse::<PersonId>().ok()));
        ask
    }

    fn requester(&self) -> Option<CheckedRequester> {
        let id = self.asked.requester.clone()?;
        let verified = true;
        Some(CheckedRequester { id, verified })
    }

    /// The approval by which the others are asked, with this request as a vote.
    fn ask_others(
        &self,
        placed: &Placed<'_>,
        terms: &WindowTerms,
        ask: Ask,
        reason: String,
        people: &(impl People + ?Sized),
    ) -> Result<Approval, String> {
        let unnamed = |error: IdError| format!("the window has no name: {error}");
        let id = format!("w-{}", placed.message.dashed());
        let by = self.by.as_str().parse().map_err(unnamed)?;
        let asked = WindowAsk {
            id: id.parse().map_err(unnamed)?,
            agent: self.asked.agent.clone(),
            by,
            reason: reason.clone(),
            ask,
            at: placed.at,
            window: AskedWindow {
                tools: terms.tools.clone(),
                limits: self.limits.clone(),
                fields: self.asked.fields.iter().cloned().collect(),
                requester: self.requester(),
                policy_digest: terms.policy_digest,
                salt: salt_text(placed.salt),
            },
        };
        let mut approval = Approval::of_window(asked)
            .map_err(|error| format!("it takes more people, but {error}"))?;
        let vote = ApprovalVote {
            schema_version: 1,
            approval_id: approval.id().clone(),
            digest: approval.digest(),
            vote: VoteChoice::Approve,
            items: None,
            window: None,
            reason: None,
        };
        let ballot = Ballot {
            approver: &self.by,
            via: &self.via,
            message: placed.message,
            stored_at: placed.at,
            vote: &vote,
            reason: Some(reason),
        };
        let answer = approval.vote(&ballot, people);
        match answer.code {
            VoteCode::Counted => Ok(approval),
            _ => Err(answer.message),
        }
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
