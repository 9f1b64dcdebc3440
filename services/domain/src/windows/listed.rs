//! A window as people see it.

use countersign_schemas::events::{CheckedRequester, WindowLimits};
use countersign_schemas::{AgentId, ApprovalId, PersonId, Timestamp, ToolName, WindowId};
use serde::{Deserialize, Serialize};

use super::limits::Total;
use super::window::Window;
use crate::approvals::visible;
use crate::guardrails::money::minus;

/// One line of the list of windows. It holds no input and no intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowListed {
    /// Which window.
    pub window_id: WindowId,
    /// Whether it lifts anything now; else its end is being carried out.
    pub open: bool,
    /// For which agent.
    pub agent: AgentId,
    /// For which tools.
    pub tools: Vec<ToolName>,
    /// Of tools that update: the fields that may change.
    pub fields: Vec<String>,
    /// Only on behalf of this person; anybody where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<CheckedRequester>,
    /// How far it goes.
    pub limits: WindowLimits,
    /// How often it was used.
    pub uses: u32,
    /// How often it may still be.
    pub uses_left: u32,
    /// What its uses come to, where that has a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// What they may still come to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_left: Option<String>,
    /// Who opened it.
    pub opened_by: Vec<PersonId>,
    /// The approval that it was opened with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<ApprovalId>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Window {
    /// The window as a line of a list, at `now`.
    #[must_use]
    pub fn listed(&self, now: Timestamp) -> WindowListed {
        let spent = self.total().unwrap_or_default();
        let in_currency = |amount| {
            let currency = self.limits.max_total.as_ref()?.currency.clone();
            Some(Total { amount, currency }.to_string())
        };
        let max = self.limits.max_total.as_ref();
        let left = max.and_then(|max| minus(max.amount, spent).ok());
        WindowListed {
            window_id: self.id.clone(),
            open: self.is_open(now),
            agent: self.agent.clone(),
            tools: self.tools().cloned().collect(),
            fields: self.fields.iter().map(|field| visible(field)).collect(),
            requester: self.requester.clone(),
            limits: self.limits.written(),
            uses: self.used(),
            uses_left: self.limits.max_uses.saturating_sub(self.used()),
            total: in_currency(spent),
            total_left: left.and_then(in_currency),
            opened_by: self.opened_by(),
            approval_id: self.approval_id.clone(),
            reason: self.reason.clone(),
            opened_at: self.opened_at,
            expires_at: self.until,
        }
    }
}
