//! What people approved and what does not run all the same. They were told that it may, so
//! they are told that it does not.

use countersign_schemas::PersonId;
use countersign_schemas::events::{Handoff, HandoffKind, NextAction, RevokedCode, ToolRevoked};

use super::{People, Subject, Writer, text};
use crate::approvals::Approval;
use crate::decision::of_revocation;

/// Whether people who approved something are told that it was revoked with this code.
/// Whoever took it back, or closed the window that allowed it, knows.
#[must_use]
pub fn is_told(code: RevokedCode) -> bool {
    match code {
        RevokedCode::Frozen
        | RevokedCode::PermitExpired
        | RevokedCode::RecheckDenied
        | RevokedCode::ToolChanged
        | RevokedCode::DigestMismatch
        | RevokedCode::InputGone => true,
        RevokedCode::Withdrawn | RevokedCode::WindowClosed => false,
    }
}

impl<P: People + ?Sized> Writer<'_, P> {
    /// Tells every team that was asked that what it granted was revoked before it began;
    /// nobody where people did not grant it or need not hear of it.
    #[must_use]
    pub fn revoked(&self, revoked: &ToolRevoked, approval: &Approval) -> Vec<Handoff> {
        let granted = approval
            .item(revoked.intent_id)
            .filter(|item| approval.has_been_granted() && item.struck().is_none());
        let Some(item) = granted.filter(|_| is_told(revoked.code)) else {
            return Vec::new();
        };
        let checked = item.checked();
        let subject = Subject {
            kind: HandoffKind::Blocked,
            checked,
            approval: None,
            code: revoked.code.as_str().to_owned(),
            title: format!(
                "Approved, yet stopped: {} with {}",
                revoked.agent, revoked.tool
            ),
            reasons: &revoked.reasons,
            needs: &revoked.needs,
            until: match revoked.next_action {
                NextAction::Request | NextAction::Retry => checked.expires_at,
                NextAction::None => None,
            },
        };
        let teams = approval.asked_teams().into_iter();
        teams
            .map(|team| {
                let helpers: Vec<PersonId> = self.people.members(team).iter().cloned().collect();
                let mut page = self.opening(&subject);
                page.line(&format!(
                    "Nothing has run. {}",
                    of_revocation(revoked.code).about
                ));
                page.reasons("It was stopped because", subject.reasons);
                page.needs(subject.needs);
                page.helpers(team, &self.names(&helpers));
                page.line(&text::prospect(revoked.next_action, subject.until));
                page.line(text::NO_WAY_AROUND);
                let mut handoff = self.finish(&subject, team, helpers, page);
                handoff.approval_id = Some(approval.id().clone());
                handoff
            })
            .collect()
    }
}
