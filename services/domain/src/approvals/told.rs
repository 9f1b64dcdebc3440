//! The events that tell of an approval: that people are asked, and how it ended.

use countersign_schemas::events::{
    ApprovalItem, ApprovalKind, ApprovalRequested, ApprovalResolved, ApprovalState, Change,
    GuardrailResult, PolicyChecked, Reason, Verdict,
};
use countersign_schemas::{IntentId, JsonObject};

use super::approval::Approval;
use super::harmless::{harmless, harmless_object};
use super::item::Item;

impl Approval {
    /// The event that asks people. It reaches chat, so every text of others passes through
    /// `redact`, and none of it can hide, mention or link anything.
    #[must_use]
    pub fn requested(&self, redact: &dyn Fn(&str) -> String) -> ApprovalRequested {
        let mut event = self.asking(redact, |checked| &checked.input_redacted);
        let all = self.asking(&str::to_owned, |checked| &checked.input_shown);
        // Of a bundle it has neither who asked for each item and why, nor what is left out;
        // a window is more than what a chat shows at a glance.
        event.view_complete = self.kind() == ApprovalKind::Action && event == all;
        event
    }

    /// Why people are asked, each reason once: the items of a bundle mostly share theirs.
    pub(super) fn reasons(&self) -> Vec<&Reason> {
        let verdicts = self.items().iter().map(Item::checked);
        let asking = verdicts.filter(|checked| checked.verdict == Verdict::Ask);
        let mut distinct = Vec::new();
        for reason in asking.flat_map(|checked| &checked.reasons) {
            if !distinct.contains(&reason) {
                distinct.push(reason);
            }
        }
        distinct
    }

    /// Whether a channel that has only the event shows people all that they would approve.
    pub(super) fn event_shows_all(&self) -> bool {
        self.requested(&str::to_owned).view_complete
    }

    fn asking(
        &self,
        redact: &dyn Fn(&str) -> String,
        input: fn(&PolicyChecked) -> &JsonObject,
    ) -> ApprovalRequested {
        // Redacted first: a hidden character made visible would hide a secret.
        let clean = |text: &str| harmless(&redact(text));
        let verdicts = || self.items().iter().map(Item::checked);
        let reasons = self.reasons();
        let changes = verdicts().flat_map(|checked| &checked.changes);
        let guardrails = verdicts().flat_map(|checked| &checked.guardrails);
        let session = verdicts().find_map(|checked| checked.session_id.as_deref());
        let items = self.items().iter();
        ApprovalRequested {
            schema_version: 1,
            approval_id: self.id().clone(),
            kind: self.kind(),
            items: items.map(|one| item(one, input, &clean)).collect(),
            agent: self.agent().clone(),
            requester: self.requester().clone(),
            purpose: clean(self.purpose()),
            reasons: reasons
                .into_iter()
                .map(|reason| cleaned(reason, &clean))
                .collect(),
            changes: changes.map(harmless_change).collect(),
            approvers: self.ask().approvers.clone(),
            chat_may_approve: self.ask().chat_may_approve,
            created_at: self.created_at(),
            expires_at: self.expires_at(),
            escalation: self.escalation().to_vec(),
            reminders: self.reminders().to_vec(),
            business_hours: self.ask().business_hours.clone(),
            digest: self.digest(),
            session_id: session.map(clean),
            guardrails: guardrails.map(|result| found(result, &clean)).collect(),
            view_complete: false,
            window: self.asked_window().map(|asked| asked.written(harmless)),
        }
    }

    /// What its end is about: of what was granted only what runs, else everything.
    fn covered(&self) -> Vec<IntentId> {
        match self.state() {
            ApprovalState::Approved | ApprovalState::Partial => {
                self.live_items().map(Item::intent).collect()
            }
            ApprovalState::Pending
            | ApprovalState::Denied
            | ApprovalState::Expired
            | ApprovalState::Cancelled
            | ApprovalState::Failed => self.intents(),
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
            intents: self.covered(),
            state: self.state(),
            votes: self.votes(),
            asked_from: self.asked_from(),
            message: resolution.message.clone(),
            resolved_at: resolution.at,
        })
    }
}

fn item(
    item: &Item,
    input: fn(&PolicyChecked) -> &JsonObject,
    clean: &dyn Fn(&str) -> String,
) -> ApprovalItem {
    let checked = item.checked();
    ApprovalItem {
        intent_id: item.intent(),
        tool: checked.tool.clone(),
        operation: item.operation(),
        summary: clean(&checked.summary),
        input_redacted: harmless_object(input(checked)),
        input_digest: checked.input_digest,
        amount: checked.amount.as_deref().map(clean),
    }
}

fn cleaned(reason: &Reason, clean: &dyn Fn(&str) -> String) -> Reason {
    Reason {
        message: clean(&reason.message),
        ..reason.clone()
    }
}

fn found(result: &GuardrailResult, clean: &dyn Fn(&str) -> String) -> GuardrailResult {
    GuardrailResult {
        message: clean(&result.message),
        ..result.clone()
    }
}

/// A change was read off the redacted input.
fn harmless_change(change: &Change) -> Change {
    Change {
        resource: harmless(&change.resource),
        field: harmless(&change.field),
        before: change.before.as_deref().map(harmless),
        after: change.after.as_deref().map(harmless),
    }
}
