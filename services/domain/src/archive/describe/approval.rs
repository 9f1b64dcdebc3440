//! Approvals, votes, windows and messages to people.

use countersign_schemas::JsonObject;
use countersign_schemas::events::{
    ApprovalRequested, ApprovalResolved, ApprovalVote, ApprovalVoted, Handoff, WindowClosed,
    WindowClosing, WindowOpened, WindowRequested,
};
use serde_json::json;

use super::Describe;
use crate::archive::draft::{Draft, joined};
use crate::archive::named::Named;
use crate::archive::row::Level;

impl Describe for ApprovalVote {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.row.decision = Some(self.vote.to_string());
        draft.purpose(self.reason.as_deref());
        draft.level(Level::Request);
        Named {
            intent: self.approval_id.intent(),
            approval: Some(self.approval_id),
            ..Named::default()
        }
    }
}

impl Describe for ApprovalRequested {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.requester(&self.requester);
        draft.purpose(Some(&self.purpose));
        for item in &self.items {
            draft.tell(&item.summary);
        }
        draft.reasons(&self.reasons);
        draft.changed(self.changes);
        if let Some(window) = &self.window {
            draft.row.tool_name = joined(&window.tools);
        }
        if let [item] = self.items.as_slice() {
            draft.row.tool_name = Some(item.tool.to_string());
            draft.row.operation = Some(item.operation.to_string());
            draft.row.input_digest = Some(item.input_digest.to_string());
        }
        draft.row.approval_kind = Some(self.kind.to_string());
        draft.level(Level::Request);
        Named {
            agent: Some(self.agent),
            intent: self.approval_id.intent(),
            approval: Some(self.approval_id),
            ..Named::default()
        }
    }
}

impl Describe for ApprovalVoted {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.actor("person", &self.approver);
        draft.code(&self.code);
        draft.tell(&self.message);
        draft.purpose(self.reason.as_deref());
        draft.row.via = Some(self.via.to_string());
        draft.row.decision = Some(self.vote.to_string());
        draft.level(Level::Request);
        Named {
            intent: self.approval_id.intent(),
            approval: Some(self.approval_id),
            ..Named::default()
        }
    }
}

impl Describe for ApprovalResolved {
    fn describe(self, draft: &mut Draft) -> Named {
        let voters: Vec<_> = self.votes.iter().map(|vote| &vote.approver).collect();
        if let Some(voters) = joined(&voters) {
            draft.actor("person", voters);
        }
        draft.tell(&self.message);
        draft.row.approval_kind = Some(self.kind.to_string());
        draft.row.decision = Some(self.state.to_string());
        draft.level(Level::Request);
        Named {
            agent: Some(self.agent),
            intent: self.approval_id.intent(),
            approval: Some(self.approval_id),
            ..Named::default()
        }
    }
}

impl Describe for WindowRequested {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.purpose(Some(&self.reason));
        draft.row.tool_name = joined(&self.tools);
        draft.level(Level::Request);
        Named {
            agent: Some(self.agent),
            ..Named::default()
        }
    }
}

impl Describe for WindowClosing {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.purpose(self.reason.as_deref());
        draft.level(Level::Request);
        Named {
            window: Some(self.window_id),
            ..Named::default()
        }
    }
}

impl Describe for WindowOpened {
    fn describe(self, draft: &mut Draft) -> Named {
        if let Some(approvers) = joined(&self.approvers) {
            draft.actor("person", approvers);
        }
        draft.row.tool_name = joined(&self.tools);
        draft.purpose(self.reason.as_deref());
        if let Some(requester) = &self.requester {
            draft.requester(requester);
        }
        draft.tell(&format!("Open until {}.", self.expires_at));
        let limits = &self.limits;
        draft.output = JsonObject::from_value(json!({
            "seconds": limits.seconds,
            "max_uses": limits.max_uses,
            "max_total": limits.max_total,
            "same_input_only": limits.same_input_only,
            "fields": self.fields,
            "until": self.expires_at,
        }));
        draft.level(Level::RequestResponse);
        Named {
            agent: Some(self.agent),
            approval: self.approval_id,
            window: Some(self.window_id),
            ..Named::default()
        }
    }
}

impl Describe for WindowClosed {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.code(&self.code);
        draft.tell(&format!("Used {} times.", self.uses));
        if let Some(by) = &self.by {
            draft.actor("person", by);
        }
        draft.purpose(self.reason.as_deref());
        draft.output = JsonObject::from_value(json!({
            "uses": self.uses,
            "total": self.total,
            "closed_at": self.closed_at,
        }));
        draft.level(Level::RequestResponse);
        Named {
            agent: Some(self.agent),
            window: Some(self.window_id),
            ..Named::default()
        }
    }
}

impl Describe for Handoff {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.requester(&self.requester);
        draft.code(&self.code);
        draft.tell(&self.title);
        draft.tell(&self.tried);
        draft.reasons(&self.reasons);
        draft.row.tool_name = Some(self.tool.to_string());
        draft.level(Level::Request);
        let intent = match self.intents.as_slice() {
            [intent] => Some(*intent),
            _ => None,
        };
        Named {
            agent: Some(self.agent),
            intent,
            approval: self.approval_id,
            ..Named::default()
        }
    }
}
