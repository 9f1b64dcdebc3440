//! Intents, verdicts and the one decision.

use countersign_schemas::events::{
    BasisKind, PolicyChecked, ToolApproved, ToolBlocked, ToolRefused, ToolRequested, ToolRevoked,
    ToolWithdrawn,
};

use super::Describe;
use crate::archive::draft::{Draft, joined};
use crate::archive::named::Named;
use crate::archive::row::Level;

impl Describe for ToolRequested {
    /// Holds no input: it stands, redacted by the catalog that judged it, in the row of
    /// `policy.checked`.
    fn describe(self, draft: &mut Draft) -> Named {
        draft.claimed_requester(&self.requester.id);
        draft.bundle(self.bundle.as_ref());
        draft.purpose(Some(&self.purpose));
        draft.row.session_id = self.session_id;
        draft.row.tool_name = Some(self.tool.to_string());
        draft.level(Level::Request);
        Named {
            intent: Some(self.intent_id),
            ..Named::default()
        }
    }
}

impl Describe for ToolWithdrawn {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.purpose(self.reason.as_deref());
        draft.level(Level::Request);
        Named {
            intent: Some(self.intent_id),
            ..Named::default()
        }
    }
}

impl Describe for PolicyChecked {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.requester(&self.requester);
        draft.bundle(self.bundle.as_ref());
        draft.purpose(Some(&self.purpose));
        draft.tell(&self.summary);
        draft.reasons(&self.reasons);
        draft.changed(self.changes);
        draft.input = Some(self.input_redacted);
        let row = &mut draft.row;
        row.session_id = self.session_id;
        row.tool_name = Some(self.tool.to_string());
        row.operation = self.operation.map(|operation| operation.to_string());
        row.verdict = Some(self.verdict.to_string());
        row.policy_digest = Some(self.policy_digest.to_string());
        row.tool_digest = self.tool_digest.map(|digest| digest.to_string());
        row.input_digest = Some(self.input_digest.to_string());
        draft.level(Level::Request);
        Named {
            agent: Some(self.agent),
            intent: Some(self.intent_id),
            ..Named::default()
        }
    }
}

impl Describe for ToolRefused {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.code(self.code);
        draft.tell(&self.message);
        draft.level(Level::Request);
        Named {
            agent: Some(self.agent),
            intent: self.intent_id,
            ..Named::default()
        }
    }
}

impl Describe for ToolApproved {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.requester(&self.requester);
        let actor = match self.basis.kind {
            BasisKind::Policy => joined(&self.basis.policy_ids),
            BasisKind::Person | BasisKind::Window => joined(&self.basis.approvers),
        };
        let row = &mut draft.row;
        row.actor_kind = Some(self.basis.kind.to_string());
        row.actor_id = actor;
        row.tool_name = Some(self.tool.to_string());
        row.operation = Some(self.operation.to_string());
        row.decision = Some("approved".to_owned());
        row.policy_ids = self.basis.policy_ids;
        row.policy_digest = Some(self.policy_digest.to_string());
        row.tool_digest = Some(self.tool_digest.to_string());
        row.input_digest = Some(self.input_digest.to_string());
        draft.level(Level::Request);
        Named {
            agent: Some(self.agent),
            intent: Some(self.intent_id),
            approval: self.basis.approval_id,
            window: self.basis.window_id,
        }
    }
}

/// A block and a revocation say the same things; only one of them is the decision.
macro_rules! stopped {
    ($event:ident, $decision:expr) => {
        impl Describe for $event {
            fn describe(self, draft: &mut Draft) -> Named {
                let decision: Option<&str> = $decision;
                draft.requester(&self.requester);
                draft.code(self.code);
                draft.tell(&self.tried);
                draft.reasons(&self.reasons);
                for need in &self.needs {
                    draft.tell(&need.message);
                }
                draft.row.tool_name = Some(self.tool.to_string());
                draft.row.decision = decision.map(str::to_owned);
                draft.level(Level::Request);
                Named {
                    agent: Some(self.agent),
                    intent: Some(self.intent_id),
                    approval: self.handoff.and_then(|handoff| handoff.approval_id),
                    ..Named::default()
                }
            }
        }
    };
}

stopped!(ToolBlocked, Some("blocked"));
stopped!(ToolRevoked, None);
