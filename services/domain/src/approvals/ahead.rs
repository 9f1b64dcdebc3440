//! The approval of a window that one person asks for ahead of time and others must grant
//! too. It is about no intent: what people see is how far the window would go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_schemas::events::{
    ApprovalKind, ApprovalState, ApprovalVoted, Ask, BlockedCode, CheckedRequester, Reason,
    WindowAsked,
};
use countersign_schemas::{
    AgentId, ApprovalId, Digest, RequesterId, SeqToken, Timestamp, ToolName, WindowId,
};
use serde::{Deserialize, Serialize};

use super::approval::Approval;
use super::format::Form;
use super::open::{ASK_LIFE_MAX, OpenError};
use super::rejudge::Stop;
use super::schedule::Timetable;
use super::visible::visible;
use super::{People, granted};
use crate::policy::Bundle;
use crate::windows::Limits;

/// The window that people are asked for. Why it is wanted stands in the approval's purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskedWindow {
    /// Each with the definition that people are asked about.
    pub(crate) tools: BTreeMap<ToolName, Option<Digest>>,
    pub(crate) limits: Limits,
    pub(crate) fields: BTreeSet<String>,
    pub(crate) requester: Option<CheckedRequester>,
    /// The bundle that said whom it takes.
    pub(crate) policy_digest: Digest,
    /// Keeps what is shown from being guessed from its digest.
    pub(crate) salt: String,
}

impl AskedWindow {
    /// As events and views write it, every text passed through `clean`.
    pub(super) fn written(&self, clean: fn(&str) -> String) -> WindowAsked {
        WindowAsked {
            tools: self.tools.keys().cloned().collect(),
            limits: self.limits.written(),
            fields: self.fields.iter().map(|field| clean(field)).collect(),
            requester: self.requester.clone(),
        }
    }
}

/// Who asks for a window, why, and what it takes.
pub(crate) struct WindowAsk {
    pub(crate) id: ApprovalId,
    pub(crate) agent: AgentId,
    /// The person who asks, proved by their own key.
    pub(crate) by: RequesterId,
    /// In their own words, redacted.
    pub(crate) reason: String,
    pub(crate) ask: Ask,
    pub(crate) at: Timestamp,
    pub(crate) window: AskedWindow,
}

impl Approval {
    /// The approval of a window, before anybody has voted.
    pub(crate) fn of_window(asked: WindowAsk) -> Result<Self, OpenError> {
        let life = Duration::from_secs(asked.ask.expires_in_s).min(ASK_LIFE_MAX);
        let approval = Self {
            schema_version: Form::default(),
            id: asked.id,
            kind: ApprovalKind::Window,
            agent: asked.agent,
            requester: CheckedRequester {
                id: asked.by,
                verified: true,
            },
            purpose: asked.reason,
            items: Vec::new(),
            left_out: Vec::new(),
            created_at: asked.at,
            expires_at: asked.at.plus(life),
            ask: asked.ask,
            timetable: Timetable::default(),
            digest: asked.window.policy_digest,
            window: Some(Box::new(asked.window)),
            votes: Vec::new(),
            state: ApprovalState::Pending,
            resolution: None,
            settled: false,
        };
        approval.ready()
    }

    /// The window that it is about, if it is about one.
    pub(crate) fn asked_window(&self) -> Option<&AskedWindow> {
        self.window.as_deref()
    }

    /// For whom and with what the window would be used that it is about; nothing for an
    /// approval of intents. Where it is for anybody the person who asks stands for all.
    pub fn window_tools(&self) -> impl Iterator<Item = (&ToolName, &RequesterId)> {
        let asked = self.asked_window();
        asked.into_iter().flat_map(|window| {
            let named = window.requester.as_ref().map(|one| &one.id);
            let who = named.unwrap_or(&self.requester.id);
            window.tools.keys().map(move |tool| (tool, who))
        })
    }

    /// By what bundle the window was judged that it is about, and by which definitions of
    /// its tools; nothing for an approval of intents.
    pub fn window_judged(&self) -> impl Iterator<Item = (Digest, &ToolName, Option<Digest>)> {
        let asked = self.asked_window();
        asked.into_iter().flat_map(|window| {
            let tools = window.tools.iter();
            tools.map(|(tool, definition)| (window.policy_digest, tool, *definition))
        })
    }

    /// The window that opens once people grant it.
    #[must_use]
    pub fn window_id(&self) -> Option<WindowId> {
        self.asked_window()?;
        self.id().as_str().parse().ok()
    }

    /// The answer to the vote that `message` cast, where it counted.
    #[must_use]
    pub fn voted_with(&self, message: &SeqToken) -> Option<ApprovalVoted> {
        let message = message.dashed();
        let known = self.votes.iter().find(|vote| vote.message == message)?;
        let vote = &known.vote;
        Some(ApprovalVoted {
            schema_version: 1,
            approval_id: self.id().clone(),
            approver: vote.approver.clone(),
            on_behalf_of: vote.on_behalf_of.clone(),
            via: vote.via.clone(),
            vote: vote.vote,
            counted: true,
            code: super::VoteCode::Counted.as_str().to_owned(),
            message: self.counted_text(vote.vote),
            reason: vote.reason.clone(),
            state: self.state(),
            voted_at: vote.at,
        })
    }

    /// Whether `bundle` defines a tool of the window otherwise than when people were asked.
    #[must_use]
    pub fn window_tools_changed(&self, bundle: &Bundle) -> bool {
        let Some(window) = self.asked_window() else {
            return false;
        };
        let changed = |(name, then): (&ToolName, &Option<Digest>)| {
            let now = bundle.catalog().tool(name);
            now.map(crate::policy::Tool::digest) != *then
        };
        window.policy_digest != bundle.digest() && window.tools.iter().any(changed)
    }

    /// Whether people have just granted a window that another bundle judged than the one in
    /// force; always where nobody knows which one is.
    #[must_use]
    pub fn window_to_judge_again(&self, in_force: Option<Digest>) -> bool {
        self.has_been_granted()
            && !self.is_settled()
            && self
                .asked_window()
                .is_some_and(|window| Some(window.policy_digest) != in_force)
    }

    /// What stops a window that people have just granted, by the rules in force: they must
    /// let a window of that length lift something, and the same people must be enough.
    #[must_use]
    pub fn stop_of_window(&self, bundle: &Bundle, people: &(impl People + ?Sized)) -> Option<Stop> {
        let window = self.asked_window()?;
        if self.window_tools_changed(bundle) {
            let why = "a tool of the window was defined anew while people decided";
            return Some(stop(BlockedCode::ToolChanged, why));
        }
        let tools: Vec<ToolName> = window.tools.keys().cloned().collect();
        let fields: Vec<String> = window.fields.iter().cloned().collect();
        let span = Duration::from_secs(window.limits.seconds);
        let terms = bundle.window_terms(self.agent(), &tools, &fields, span, self.created_at());
        let ask = match terms {
            Ok(terms) => terms.ask,
            Err(why) => {
                let why = format!("the rules changed while people decided: {why}");
                return Some(stop(BlockedCode::PolicyDenied, &why));
            }
        };
        let requester = window.requester.as_ref().map(|one| &one.id);
        let nobody = self.id().as_str().parse().ok();
        let enough = requester.or(nobody.as_ref()).is_some_and(|requester| {
            let votes = self.votes();
            granted(&votes, &ask, requester, people).is_ok()
        });
        (!enough).then(|| {
            let why = "the rules changed while people decided, and now ask for others than \
                       those who approved";
            stop(BlockedCode::PolicyDenied, why)
        })
    }
}

fn stop(code: BlockedCode, why: &str) -> Stop {
    let message = visible(why);
    Stop {
        code,
        reasons: vec![Reason {
            code: code.as_str().to_owned(),
            message: message.clone(),
            policy_id: None,
        }],
        message,
        needs: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
