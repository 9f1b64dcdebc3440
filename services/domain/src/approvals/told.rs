//! The events that tell of an approval: that people are asked, and how it ended.

use countersign_schemas::events::{
    ApprovalItem, ApprovalRequested, ApprovalResolved, Change, Reason,
};

use super::approval::Approval;
use super::item::Item;
use super::view::visible_change;
use super::visible::{visible, visible_object};

impl Approval {
    /// The event that asks people. It reaches chat, so every text of others passes through
    /// `redact`, and none of it can hide anything.
    #[must_use]
    pub fn requested(&self, redact: &dyn Fn(&str) -> String) -> ApprovalRequested {
        // Redacted first: a hidden character made visible would hide a secret.
        let clean = |text: &str| visible(&redact(text));
        let verdicts = || self.items().iter().map(Item::checked);
        let reasons = verdicts().flat_map(|checked| &checked.reasons);
        let changes = verdicts().flat_map(|checked| &checked.changes);
        ApprovalRequested {
            schema_version: 1,
            approval_id: self.id().clone(),
            kind: self.kind(),
            items: self.items().iter().map(|one| item(one, &clean)).collect(),
            agent: self.agent().clone(),
            requester: self.requester().clone(),
            purpose: clean(self.purpose()),
            reasons: reasons.map(|reason| cleaned(reason, &clean)).collect(),
            changes: changes.map(visible_change).collect::<Vec<Change>>(),
            approvers: self.ask().approvers.clone(),
            chat_may_approve: self.ask().chat_may_approve,
            created_at: self.created_at(),
            expires_at: self.expires_at(),
            digest: self.digest(),
        }
    }

    /// The event that tells its end; `None` while it is pending.
    #[must_use]
    pub fn resolved(&self) -> Option<ApprovalResolved> {
        let resolution = self.resolution()?;
        Some(ApprovalResolved {
            schema_version: 1,
            approval_id: self.id().clone(),
            kind: self.kind(),
            agent: self.agent().clone(),
            intents: self.intents(),
            state: self.state(),
            votes: self.votes(),
            message: resolution.message.clone(),
            resolved_at: resolution.at,
        })
    }
}

fn item(item: &Item, clean: &dyn Fn(&str) -> String) -> ApprovalItem {
    let checked = item.checked();
    ApprovalItem {
        intent_id: item.intent(),
        tool: checked.tool.clone(),
        operation: item.operation(),
        summary: clean(&checked.summary),
        input_redacted: visible_object(&checked.input_redacted),
        input_digest: checked.input_digest,
    }
}

fn cleaned(reason: &Reason, clean: &dyn Fn(&str) -> String) -> Reason {
    Reason {
        message: clean(&reason.message),
        ..reason.clone()
    }
}
