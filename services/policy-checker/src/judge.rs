//! One judgement, with whatever bundle is in force. Pure.

use std::sync::Arc;

use countersign_domain::mandate::Issuers;
use countersign_domain::policy::{self, Approved, Judging, Known, MatchKey, Outcome};
use countersign_domain::redact::Redactor;
use countersign_runtime::bus::Failure;
use countersign_runtime::policy::{Behind, InForce, Policy};
use countersign_schemas::events::{RequestRef, ToolRequested};
use countersign_schemas::{AgentId, Timestamp, ToolName};

/// What follows the bundle in force, and the keys.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) policy: Policy,
    pub(crate) redactor: Redactor,
    pub(crate) match_key: MatchKey,
}

/// Where, when and by whom an intent was stored, and fresh random bytes.
#[derive(Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) agent: &'a AgentId,
    pub(crate) request: RequestRef,
    pub(crate) at: Timestamp,
    pub(crate) salt: [u8; 16],
    pub(crate) issuers: &'a Issuers,
    /// What people decided, where this is judged again.
    pub(crate) approval: Option<Approved>,
}

impl Judge {
    /// The bundle that one intent is judged by, from its first round to its verdict.
    ///
    /// # Errors
    /// When there is none and the leader cannot be asked: the intent waits.
    pub(crate) async fn in_force(&self) -> Result<Arc<InForce>, Failure> {
        match self.policy.wanted().await {
            Ok(by) => Ok(by),
            Err(Behind::Unusable) => Ok(self.policy.now()),
            Err(behind) => Err(Failure::transient(behind.to_string())),
        }
    }

    /// Whether a call of this tool may leave a label behind.
    pub(crate) fn may_label(by: &InForce, tool: &ToolName) -> bool {
        let bundle = by.bundle().ok();
        let tool = bundle.and_then(|bundle| bundle.catalog().tool(tool));
        tool.is_some_and(|tool| !tool.labels().is_empty())
    }

    /// Judges with what is known; without a bundle it is a deny in words.
    pub(crate) fn judge(
        &self,
        by: &InForce,
        request: &ToolRequested,
        stored: &Stored<'_>,
        known: &Known,
    ) -> Outcome {
        let judging = Judging {
            agent: stored.agent,
            request,
            request_ref: stored.request.clone(),
            stored_at: stored.at,
            salt: stored.salt,
            match_key: &self.match_key,
            issuers: stored.issuers,
            known,
        };
        match by.bundle() {
            Ok(bundle) => policy::judge(bundle, &self.redactor, judging),
            Err(why) => {
                let checked = policy::judge_without_bundle(&self.redactor, judging, why);
                Outcome::Judged(Box::new(checked.into()))
            }
        }
    }
}
