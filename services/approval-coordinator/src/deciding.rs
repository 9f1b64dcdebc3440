//! Storing the one decision on an intent.

use countersign_domain::chain::{End, Head};
use countersign_domain::decision::{Decision, revoked};
use countersign_runtime::bus::Failure;
use countersign_schemas::Address;
use countersign_schemas::events::{BlockedCode, PolicyChecked, RevokedCode, ToolApproved};

use crate::counters;
use crate::office::{Extended, Link, Office};

impl Office {
    /// Stores `decision` unless the intent has one, and hands a block off to whoever can
    /// help. Returns the decision's head if another one stood there first.
    pub(crate) async fn decide(
        &self,
        decision: &Decision,
        trace: Option<&str>,
    ) -> Result<Option<Head>, Failure> {
        let link = Link {
            address: decision.address(),
            agent: decision.agent(),
            intent: decision.intent(),
            trace,
        };
        let extended = match decision {
            Decision::Approved(approved) => self.extend(&link, approved.as_ref(), 0).await?,
            Decision::Blocked(blocked) => self.extend(&link, blocked.as_ref(), 0).await?,
        };
        match extended {
            Extended::Stored => {
                count(decision);
                Ok(None)
            }
            Extended::Lost(head) => Ok(Some(head)),
        }
    }

    /// Takes an approved intent back that nobody has claimed; `false` if something else
    /// stands there by now. Counted under its code, except where its agent withdrew it.
    pub(crate) async fn revoke(
        &self,
        approved: &ToolApproved,
        expected: u64,
        code: RevokedCode,
        why: &str,
        trace: Option<&str>,
    ) -> Result<bool, Failure> {
        let (agent, intent) = (&approved.agent, approved.intent_id);
        let link = Link {
            address: Address::ToolRevoked {
                agent: agent.clone(),
                intent,
            },
            agent,
            intent,
            trace,
        };
        let event = revoked(approved, code, why);
        let extended = self.extend(&link, &event, expected).await?;
        let stored = matches!(extended, Extended::Stored);
        if stored && code != RevokedCode::Withdrawn {
            counters::swept(code.as_str());
        }
        Ok(stored)
    }

    /// Decides an intent that needs no people. A redelivery finds its decision there and
    /// completes what should follow from it.
    pub(crate) async fn decide_at_once(
        &self,
        decision: &Decision,
        checked: &PolicyChecked,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let stood = self.decide(decision, trace).await?;
        let blocked = match (&stood, decision) {
            (None, Decision::Blocked(blocked)) => blocked,
            (Some(Head::Ended { end, .. }), _) => match end {
                End::Blocked(blocked) => blocked,
                End::Revoked(_) | End::Completed(_) => return Ok(()),
            },
            _ => return Ok(()),
        };
        if !calls_for_help(blocked.code) {
            return Ok(());
        }
        let people = self.people();
        match self.writer(people.as_ref()).blocked(blocked, checked) {
            Some(handoff) => {
                let id = checked.intent_id.to_string();
                self.hand_off(handoff, &id, trace).await
            }
            None => Ok(()),
        }
    }
}

/// Whether people can do something about a block.
fn calls_for_help(code: BlockedCode) -> bool {
    !matches!(
        code,
        BlockedCode::DryRun
            | BlockedCode::Withdrawn
            | BlockedCode::DeniedByPerson
            | BlockedCode::BundleIncomplete
    )
}

/// Counts a decision that is stored.
pub(crate) fn count(decision: &Decision) {
    match decision {
        Decision::Approved(approved) => counters::decided("approved", approved.basis.kind.as_str()),
        Decision::Blocked(blocked) => counters::decided("blocked", blocked.code.as_str()),
    }
}
