//! The desk that decides: it holds the permit key and nothing else that lasts.

use std::time::Duration;

use countersign_schemas::events::{
    ApprovalState, Basis, BasisKind, BlockedCode, HandoffRef, NextAction, Operation, PolicyChecked,
    Reason, ToolApproved, ToolBlocked, Verdict,
};
use countersign_schemas::{Address, AgentId, Digest, IntentId, Timestamp};

use super::words::{of_block, tried};
use crate::approvals::{Approval, Stop, Struck};
use crate::permit::{Actor, PERMIT_LIFE_MAX, PermitClaims, PermitSigner, TokenError, audience};

/// What is said of an approval that has no end that could be acted on.
const NO_END: &str = "The approval did not come to an end";

/// The one decision on an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may run.
    Approved(Box<ToolApproved>),
    /// It may not.
    Blocked(Box<ToolBlocked>),
}

impl Decision {
    /// Whose intent it is about.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        match self {
            Self::Approved(approved) => &approved.agent,
            Self::Blocked(blocked) => &blocked.agent,
        }
    }

    /// Which intent it is about.
    #[must_use]
    pub fn intent(&self) -> IntentId {
        match self {
            Self::Approved(approved) => approved.intent_id,
            Self::Blocked(blocked) => blocked.intent_id,
        }
    }

    /// Where the decision is stored.
    #[must_use]
    pub fn address(&self) -> Address {
        match self {
            Self::Approved(approved) => Address::ToolApproved {
                agent: approved.agent.clone(),
                intent: approved.intent_id,
            },
            Self::Blocked(blocked) => Address::ToolBlocked {
                agent: blocked.agent.clone(),
                intent: blocked.intent_id,
            },
        }
    }
}

/// What follows from a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// It is decided at once.
    Decide(Decision),
    /// People must decide.
    Ask,
}

/// Decides and signs permits.
#[derive(Debug)]
pub struct Desk {
    signer: PermitSigner,
    deployment: String,
    permit_life: Duration,
}

impl Desk {
    /// A desk of `deployment`. A permit's life is cut to [`PERMIT_LIFE_MAX`].
    #[must_use]
    pub fn new(signer: PermitSigner, deployment: &str, permit_life: Duration) -> Self {
        Self {
            signer,
            deployment: deployment.to_owned(),
            permit_life: permit_life.min(PERMIT_LIFE_MAX),
        }
    }

    /// What follows from a verdict, at `now`.
    ///
    /// # Errors
    /// When a permit cannot be signed, which it always can.
    pub fn course(&self, checked: &PolicyChecked, now: Timestamp) -> Result<Course, TokenError> {
        if checked.dry_run == Some(true) {
            return Ok(Course::Decide(dry_run(checked)));
        }
        match checked.verdict {
            Verdict::Deny => Ok(Course::Decide(denied(checked))),
            Verdict::Ask if is_over(checked, now) => Ok(Course::Decide(overdue(checked))),
            Verdict::Ask => Ok(Course::Ask),
            Verdict::Allow => {
                let basis = Basis {
                    kind: BasisKind::Policy,
                    policy_ids: policy_ids(checked),
                    approvers: Vec::new(),
                    approval_id: None,
                    window_id: None,
                };
                self.approve(checked, basis, None, now).map(Course::Decide)
            }
        }
    }

    /// The decisions that an ended approval leads to, one for each of its items in their
    /// order; none while it is pending.
    ///
    /// # Errors
    /// When a permit cannot be signed, which it always can.
    pub fn after_approval(
        &self,
        approval: &Approval,
        now: Timestamp,
    ) -> Result<Vec<Decision>, TokenError> {
        if approval.is_pending() {
            return Ok(Vec::new());
        }
        let items = approval.items().iter();
        items
            .map(|item| match item.struck() {
                Some(struck) => Ok(taken_out(approval, item.checked(), struck)),
                None => self.after_item(approval, item.checked(), now),
            })
            .collect()
    }

    fn after_item(
        &self,
        approval: &Approval,
        checked: &PolicyChecked,
        now: Timestamp,
    ) -> Result<Decision, TokenError> {
        let block = |code, about: &str| Ok(stopped_by_people(approval, checked, code, about));
        match approval.state() {
            ApprovalState::Approved | ApprovalState::Partial => {
                let basis = Basis {
                    kind: BasisKind::Person,
                    policy_ids: policy_ids(checked),
                    approvers: approval.approved_by(),
                    approval_id: Some(approval.id().clone()),
                    window_id: None,
                };
                self.approve(checked, basis, None, now)
            }
            ApprovalState::Denied => block(BlockedCode::DeniedByPerson, "A person said no"),
            ApprovalState::Expired => block(BlockedCode::ApprovalExpired, "Nobody said no"),
            ApprovalState::Cancelled => match approval.resolution().and_then(|end| end.code) {
                Some(code) => block(code, "Nobody said no"),
                None => block(BlockedCode::Withdrawn, "It was taken back"),
            },
            ApprovalState::Failed => {
                let stop = approval.resolution().and_then(|end| end.stop.as_deref());
                match stop {
                    Some(stop) => Ok(stopped_by_rules(approval, checked, stop)),
                    None => block(BlockedCode::Unavailable, NO_END),
                }
            }
            ApprovalState::Pending => block(BlockedCode::Unavailable, NO_END),
        }
    }

    /// Signs a permit that ends at `latest` at the latest.
    pub(super) fn approve(
        &self,
        checked: &PolicyChecked,
        basis: Basis,
        latest: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Decision, TokenError> {
        let (Some(operation), Some(tool_digest)) = (checked.operation, checked.tool_digest) else {
            let why = "The verdict names no tool definition, so there is nothing to permit.";
            return Ok(blocked(checked, BlockedCode::UnknownTool, why));
        };
        let end = now.plus(self.permit_life);
        let ends = [checked.expires_at, latest].into_iter().flatten();
        let end = ends.fold(end, Timestamp::min);
        // Tokens count in whole seconds: a permit that would end in the second it begins
        // is no permit.
        if end.seconds() <= now.seconds() {
            return Ok(overdue(checked));
        }
        let claims = self.claims(checked, basis, tool_digest, now, end);
        let permit = self.signer.sign(&claims)?;
        Ok(Decision::Approved(Box::new(approved(
            checked, operation, claims, permit,
        ))))
    }

    fn claims(
        &self,
        checked: &PolicyChecked,
        basis: Basis,
        tool_digest: Digest,
        now: Timestamp,
        end: Timestamp,
    ) -> PermitClaims {
        PermitClaims {
            iss: self.deployment.clone(),
            sub: checked.agent.clone(),
            act: Actor {
                sub: checked.requester.id.clone(),
            },
            aud: audience(&self.deployment, &checked.tool),
            jti: checked.intent_id,
            iat: now.seconds(),
            exp: end.seconds(),
            input_digest: checked.input_digest,
            salt: checked.salt.clone(),
            tool_digest,
            policy_digest: checked.policy_digest,
            basis,
            reveal: Vec::new(),
            expose: checked.expose.clone(),
        }
    }
}

fn approved(
    checked: &PolicyChecked,
    operation: Operation,
    claims: PermitClaims,
    permit: String,
) -> ToolApproved {
    ToolApproved {
        schema_version: 1,
        intent_id: checked.intent_id,
        agent: checked.agent.clone(),
        requester: checked.requester.clone(),
        tool: checked.tool.clone(),
        operation,
        input_digest: checked.input_digest,
        request: checked.request.clone(),
        approved_until: claims.until(),
        policy_digest: claims.policy_digest,
        tool_digest: claims.tool_digest,
        basis: claims.basis,
        permit,
    }
}

fn is_over(checked: &PolicyChecked, now: Timestamp) -> bool {
    checked.expires_at.is_some_and(|end| end <= now)
}

pub(super) fn policy_ids(checked: &PolicyChecked) -> Vec<String> {
    let ids = checked.reasons.iter().filter_map(|r| r.policy_id.clone());
    let mut ids: Vec<String> = ids.collect();
    ids.dedup();
    ids
}

fn reason(code: &str, message: impl Into<String>) -> Reason {
    Reason {
        code: code.to_owned(),
        message: message.into(),
        policy_id: None,
    }
}

/// The decision not to run, for one reason of our own instead of the checker's.
#[must_use]
pub fn blocked(checked: &PolicyChecked, code: BlockedCode, why: &str) -> Decision {
    let mut block = block(checked, code);
    block.reasons = vec![reason(code.as_str(), why)];
    block.needs = of_block(code).needs(code.as_str());
    Decision::Blocked(Box::new(block))
}

fn block(checked: &PolicyChecked, code: BlockedCode) -> ToolBlocked {
    ToolBlocked {
        schema_version: 1,
        intent_id: checked.intent_id,
        request: checked.request.clone(),
        agent: checked.agent.clone(),
        requester: checked.requester.clone(),
        tool: checked.tool.clone(),
        code,
        tried: tried(
            &checked.agent,
            &checked.tool,
            &checked.requester,
            &checked.summary,
        ),
        reasons: checked.reasons.clone(),
        needs: checked.needs.clone(),
        handoff: checked.helper.clone().map(|team| HandoffRef {
            team,
            approval_id: None,
            link: None,
        }),
        next_action: of_block(code).next,
    }
}

fn denied(checked: &PolicyChecked) -> Decision {
    let first = checked.reasons.first();
    let code = first
        .and_then(|reason| BlockedCode::from_word(&reason.code))
        .unwrap_or(BlockedCode::PolicyDenied);
    let mut block = block(checked, code);
    if block.needs.is_empty() {
        block.needs = of_block(code).needs(code.as_str());
    }
    Decision::Blocked(Box::new(block))
}

fn overdue(checked: &PolicyChecked) -> Decision {
    let why = match checked.expires_at {
        Some(end) => format!("The agent wanted this done before {end}, and that time is over."),
        None => "The time to run this is over.".to_owned(),
    };
    blocked(checked, BlockedCode::ApprovalExpired, &why)
}

/// A dry run is blocked whatever the verdict; it says what the verdict was.
fn dry_run(checked: &PolicyChecked) -> Decision {
    let would = match checked.verdict {
        Verdict::Allow => "it would have run",
        Verdict::Ask => "people would have been asked",
        Verdict::Deny => "it would have been blocked",
    };
    let mut block = block(checked, BlockedCode::DryRun);
    let why = format!(
        "This was a dry run with the verdict `{}`: {would}.",
        checked.verdict
    );
    block.reasons.insert(0, reason("dry_run", why));
    block.handoff = None;
    block.next_action = match checked.verdict {
        Verdict::Allow | Verdict::Ask => NextAction::Retry,
        Verdict::Deny => NextAction::Request,
    };
    Decision::Blocked(Box::new(block))
}

/// People said yes, and the rules in force do not.
fn stopped_by_rules(approval: &Approval, checked: &PolicyChecked, stop: &Stop) -> Decision {
    let about = "People said yes, but the rules changed while they decided";
    let why = format!("{about}: {}", stop.message);
    by_the_rules(stopped(approval, checked, stop.code, &why), stop)
}

/// The decision on something that was allowed, and that the rules in force stop since.
#[must_use]
pub fn overruled(checked: &PolicyChecked, stop: &Stop) -> Decision {
    let about = "It was allowed, but the rules changed before all of its bundle was checked";
    let why = super::words::sentence(&format!("{about}: {}", stop.message));
    by_the_rules(blocked(checked, stop.code, &why), stop)
}

/// With the reasons of the verdict in force in place of those of the one before it.
fn by_the_rules(mut decision: Decision, stop: &Stop) -> Decision {
    if let Decision::Blocked(block) = &mut decision {
        block.reasons.truncate(1);
        block.reasons.extend(stop.reasons.iter().cloned());
        if !stop.needs.is_empty() {
            block.needs.clone_from(&stop.needs);
        }
    }
    decision
}

fn stopped_by_people(
    approval: &Approval,
    checked: &PolicyChecked,
    code: BlockedCode,
    about: &str,
) -> Decision {
    let message = approval.resolution().map_or("", |end| end.message.as_str());
    stopped(approval, checked, code, &format!("{about}: {message}"))
}

/// The decision on an item of a bundle that was taken out after people were asked about it.
#[must_use]
pub fn taken_out(approval: &Approval, checked: &PolicyChecked, struck: &Struck) -> Decision {
    if let Some(stop) = &struck.stop {
        return stopped_by_rules(approval, checked, stop);
    }
    let about = match struck.code {
        BlockedCode::DeniedByPerson => "A person said no",
        BlockedCode::Withdrawn => "It was taken back",
        _ => "Nobody said no",
    };
    let why = format!("{about}: {}", struck.reason);
    stopped(approval, checked, struck.code, &why)
}

fn stopped(approval: &Approval, checked: &PolicyChecked, code: BlockedCode, why: &str) -> Decision {
    let mut block = block(checked, code);
    let why = super::words::sentence(why);
    block.reasons.insert(0, reason(code.as_str(), why));
    // What the ask needed no longer helps: the approval is over.
    block.needs = of_block(code).needs(code.as_str());
    let asked = approval.ask().approvers.first();
    block.handoff = asked.map(|entry| HandoffRef {
        team: entry.team.clone(),
        approval_id: Some(approval.id().clone()),
        link: None,
    });
    Decision::Blocked(Box::new(block))
}
