//! Whom a message is about: by its subject, and by its own words. They must agree,
//! because genuine bytes can land on a foreign subject through a reply-to trick.

use countersign_schemas::{Address, AgentId, ApprovalId, IntentId, WindowId};

/// The identities in a subject or a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) agent: Option<AgentId>,
    pub(super) intent: Option<IntentId>,
    pub(super) approval: Option<ApprovalId>,
    pub(super) window: Option<WindowId>,
}

impl Named {
    /// The identities in the subject, which the server has checked.
    pub(super) fn by_subject(address: &Address) -> Self {
        let mut named = Self::default();
        match address {
            Address::ToolRequested { agent }
            | Address::ToolWithdrawn { agent }
            | Address::ToolRefused { agent, .. } => named.agent = Some(agent.clone()),
            Address::PolicyChecked { agent, intent }
            | Address::ToolApproved { agent, intent }
            | Address::ToolBlocked { agent, intent }
            | Address::ToolStarted { agent, intent }
            | Address::ToolCompleted { agent, intent }
            | Address::ToolRevoked { agent, intent }
            | Address::OutcomeLate { agent, intent }
            | Address::OutcomeReconciled { agent, intent }
            | Address::VaultRevealed { agent, intent } => {
                named.agent = Some(agent.clone());
                named.intent = Some(*intent);
            }
            Address::ApprovalRequested { approval }
            | Address::ApprovalVoted { approval, .. }
            | Address::ApprovalResolved { approval } => {
                named.intent = approval.intent();
                named.approval = Some(approval.clone());
            }
            Address::WindowOpened { agent, window } | Address::WindowClosed { agent, window } => {
                named.agent = Some(agent.clone());
                named.window = Some(window.clone());
            }
            _ => {}
        }
        named
    }

    /// Both together, or nothing when they contradict each other.
    pub(super) fn agree(self, body: Self) -> Option<Self> {
        Some(Self {
            agent: one(self.agent, body.agent)?,
            intent: one(self.intent, body.intent)?,
            approval: one(self.approval, body.approval)?,
            window: one(self.window, body.window)?,
        })
    }
}

/// The value that both sides know; the outer `None` is a contradiction.
fn one<T: PartialEq>(left: Option<T>, right: Option<T>) -> Option<Option<T>> {
    match (left, right) {
        (Some(left), Some(right)) if left != right => None,
        (left, right) => Some(left.or(right)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_schemas::Timestamp;

    fn by(agent: &str) -> Named {
        Named {
            agent: agent.parse().ok(),
            ..Named::default()
        }
    }

    #[test]
    fn a_body_may_add_but_never_contradict() {
        let intent = IntentId::new_at(Timestamp::EPOCH);
        let body = Named {
            intent: Some(intent),
            ..by("billing")
        };
        let both = by("billing").agree(body).unwrap();
        assert_eq!(
            (both.agent.unwrap().as_str(), both.intent),
            ("billing", Some(intent))
        );
        assert_eq!(by("billing").agree(by("crm")), None);
        assert_eq!(by("billing").agree(Named::default()), Some(by("billing")));
    }

    #[test]
    fn the_approval_of_one_intent_names_it() {
        let intent = IntentId::new_at(Timestamp::EPOCH);
        let approval = ApprovalId::for_intent(intent);
        let named = Named::by_subject(&Address::ApprovalResolved { approval });
        assert_eq!(named.intent, Some(intent));
    }
}
