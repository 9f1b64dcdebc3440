//! The decision on an intent that an open window lifted.

use countersign_schemas::Timestamp;
use countersign_schemas::events::{Basis, BasisKind, BlockedCode, PolicyChecked};

use super::desk::{Decision, Desk, blocked, policy_ids};
use crate::permit::TokenError;
use crate::windows::Window;

impl Desk {
    /// The decision on an intent whose use of `window` is stored. Its permit ends with the
    /// window at the latest. Where the window ended meanwhile, the intent is blocked: its
    /// use may then be given back, since no decision by the window can follow.
    ///
    /// # Errors
    /// When a permit cannot be signed, which it always can.
    pub fn under_window(
        &self,
        checked: &PolicyChecked,
        window: &Window,
        now: Timestamp,
    ) -> Result<Decision, TokenError> {
        if !window.is_open(now) {
            let ended = window.end().map_or(window.until(), |end| end.at);
            let why = format!(
                "Window {} covered it and ended at {ended}, before it was decided. Ask again.",
                window.id()
            );
            return Ok(blocked(checked, BlockedCode::ApprovalExpired, &why));
        }
        let basis = Basis {
            kind: BasisKind::Window,
            policy_ids: policy_ids(checked),
            approvers: window.opened_by(),
            approval_id: None,
            window_id: Some(window.id().clone()),
        };
        self.approve(checked, basis, Some(window.until()), now)
    }
}
