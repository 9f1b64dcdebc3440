//! The judgement of one intent: always a verdict, and whatever goes wrong is a deny.

use std::collections::BTreeSet;

use countersign_schemas::events::{
    BlockedCode, Charge, CheckedRequester, PolicyChecked, RequestRef, ToolRequested, Verdict,
};
use countersign_schemas::{AgentId, Digest, JsonObject, Timestamp};

use super::bundle::Bundle;
use super::context::{self, Behind};
use super::copies::Copies;
use super::directory::AgentEntry;
use super::known::{Known, Wish};
use super::labels::{self, Holder, Knowledge, Marking};
use super::matching::MatchKey;
use super::proof::Proof;
use super::refusal::{self, Finding, reason};
use super::rules::{AgentKeys, ToolKeys};
use super::tool::Tool;
use super::verdict::{self, Ruling};
use super::weigh::Case;
use crate::input;
use crate::mandate::{Issuers, Mandate};
use crate::redact::Redactor;

/// One intent to be judged.
#[derive(Debug)]
pub struct Judging<'a> {
    /// Who sent it, as NATS permissions enforced.
    pub agent: &'a AgentId,
    /// What it says.
    pub request: &'a ToolRequested,
    /// Where it is stored.
    pub request_ref: RequestRef,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Fresh random bytes.
    pub salt: [u8; 16],
    /// The deployment's key for equal inputs.
    pub match_key: &'a MatchKey,
    /// Whose mandates count.
    pub issuers: &'a Issuers,
    /// What was learnt for this judgement.
    pub known: &'a Known,
}

/// A verdict, with what must be stored before it.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// The verdict.
    pub checked: PolicyChecked,
    /// What the agent will have seen once this runs.
    pub labels: Option<Marking>,
    /// What was taken from rates and budgets on the way. The verdict relies on all of it or
    /// on nothing; what it does not rely on is given back once it is stored.
    pub taken: Vec<Charge>,
}

impl From<PolicyChecked> for Judgement {
    /// A verdict with which nothing else is stored.
    fn from(checked: PolicyChecked) -> Self {
        Self {
            checked,
            labels: None,
            taken: Vec::new(),
        }
    }
}

/// What came of judging once.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The verdict.
    Judged(Box<Judgement>),
    /// This must be learnt first; then judge again.
    Wants(Vec<Wish>),
}

/// Judges one intent by `bundle`.
#[must_use]
pub fn judge(bundle: &Bundle, redactor: &Redactor, judging: Judging<'_>) -> Outcome {
    let tool = bundle.catalog.tool(&judging.request.tool);
    let agent = bundle.directory.agent(judging.agent);
    let proof = Proof::of(
        judging.request,
        judging.agent,
        judging.issuers,
        judging.stored_at,
    );
    let finding = match find(bundle, &judging, &proof, agent, tool) {
        Ok(finding) => finding,
        Err(wishes) if judging.known.len() + wishes.len() <= Known::WISHES_MAX => {
            return Outcome::Wants(wishes);
        }
        Err(_) => Finding::deny(
            BlockedCode::PolicyError,
            "judging this intent needs more facts than one judgement may look up",
            "an operator gives the tool fewer guardrails that look something up",
        ),
    };
    let taken = judging.known.charges();
    let copies = Copies::of(redactor, judging.request, tool, &finding);
    let helper = tool
        .and_then(Tool::helper)
        .or(agent.map(|agent| &agent.team))
        .cloned();
    let mut checked = event(judging, finding, copies, bundle.digest());
    let labels = marking(&checked, tool, proof.mandate());
    // What a mandate proves ends with it: an approval or a permit may not outlive it.
    let ends = proof.mandate().map(Mandate::over_at);
    checked.expires_at = checked.expires_at.into_iter().chain(ends).min();
    checked.requester = proof.requester;
    checked.helper = helper;
    if let Some(tool) = tool {
        checked.operation = Some(tool.operation);
        checked.tool_digest = Some(tool.digest);
        checked.expose = tool
            .output
            .keys()
            .map(|pointer| pointer.as_str().to_owned())
            .collect();
    }
    Outcome::Judged(Box::new(Judgement {
        checked,
        labels,
        taken,
    }))
}

/// Denies one intent because there is no usable bundle; `why` says so to people.
#[must_use]
pub fn judge_without_bundle(redactor: &Redactor, judging: Judging<'_>, why: &str) -> PolicyChecked {
    let finding = Finding::deny(
        BlockedCode::PolicyError,
        format!("no policy bundle is in force: {why}"),
        "an operator mends the policy bundle",
    );
    let copies = Copies::of(redactor, judging.request, None, &finding);
    event(judging, finding, copies, Digest::of_bytes(b""))
}

/// The same intent denied without anything of its input, for a verdict that cannot be
/// encoded with it.
#[must_use]
pub fn without_input(checked: PolicyChecked) -> PolicyChecked {
    let finding = Finding::deny(
        BlockedCode::InvalidInput,
        "the input cannot be written down without loss",
        "an input of plain JSON values",
    );
    PolicyChecked {
        guardrails: Vec::new(),
        input_redacted: JsonObject::default(),
        input_shown: JsonObject::default(),
        changes: Vec::new(),
        amount: None,
        currency: None,
        ..denied(checked, finding)
    }
}

/// The same intent denied because nobody can note what the agent would have seen.
#[must_use]
pub fn without_labels(checked: PolicyChecked) -> PolicyChecked {
    let finding = Finding::deny(
        BlockedCode::Unavailable,
        "what the agent would have seen cannot be stored",
        "a new intent later; an operator gives labels more room, see docs/policy.md",
    );
    denied(checked, finding)
}

fn denied(checked: PolicyChecked, finding: Finding) -> PolicyChecked {
    PolicyChecked {
        verdict: finding.verdict,
        reasons: finding.reasons,
        needs: finding.needs,
        ask: None,
        charges: Vec::new(),
        ..checked
    }
}

fn find(
    bundle: &Bundle,
    judging: &Judging<'_>,
    proof: &Proof,
    agent: Option<&AgentEntry>,
    tool: Option<&Tool>,
) -> Result<Finding, Vec<Wish>> {
    let request = judging.request;
    if let Some(finding) = refusal::of_frame(request) {
        return Ok(finding);
    }
    let (Some(agent), Some(keys)) = (agent, bundle.rules.agents.get(judging.agent)) else {
        let message = format!("agent `{}` is not in the policy bundle", judging.agent);
        let need = "an operator adds the agent to entities.json";
        let mut finding = Finding::deny(BlockedCode::PolicyDenied, message.clone(), need);
        finding.reasons.push(reason("unknown_agent", message));
        return Ok(finding);
    };
    let (Some(tool), Some(tool_keys)) = (tool, bundle.rules.tools.get(&request.tool)) else {
        let message = format!("tool `{}` is not in the catalog", request.tool);
        let need = "a tool of the catalog";
        return Ok(Finding::deny(BlockedCode::UnknownTool, message, need));
    };
    if let Some(finding) = refusal::of_schema(tool, &request.input.to_value()) {
        return Ok(finding);
    }
    if let Some(finding) = refusal::of_amount(tool, &request.input.0) {
        return Ok(finding.on_sound_input());
    }
    if let Some(finding) = refusal::of_surrogates(&request.input.0) {
        return Ok(finding.on_sound_input());
    }
    let facts = bundle.catalog.facts();
    if let Some(finding) = proof.refusal(tool, facts) {
        return Ok(finding.on_sound_input());
    }
    let labels = match seen(bundle, (keys, tool_keys), judging, proof.mandate()) {
        Knowledge::Labels(labels) => labels,
        Knowledge::Wanted(wish) => return Err(vec![wish]),
        Knowledge::Failed(why) => return Ok(refusal::of_labels(&why).on_sound_input()),
    };
    let behind = Behind {
        labels: &labels,
        requester: &proof.requester,
        mandate: proof.mandate(),
        facts,
        approval: judging
            .known
            .approval()
            .map(|approval| (approval, &bundle.directory)),
    };
    let ruling = match context::context(tool, &request.input.0, behind) {
        Ok(context) => verdict::rule(bundle, tool_keys, keys, context),
        Err(_) => Ruling::Error(vec!["the input cannot be put before the rules".to_owned()]),
    };
    let case = Case {
        directory: &bundle.directory,
        agent_id: judging.agent,
        agent,
        tool,
        requester: &proof.requester,
        mandate: proof.mandate(),
        input: &request.input.0,
        stored_at: judging.stored_at,
        known: judging.known,
    };
    case.finding(ruling).map(Finding::on_sound_input)
}

/// What the agent has seen, where a rule reads it.
fn seen(
    bundle: &Bundle,
    (agent, tool): (&AgentKeys, &ToolKeys),
    judging: &Judging<'_>,
    mandate: Option<&Mandate>,
) -> Knowledge {
    let index = &bundle.rules.index;
    match index.reads_labels(&agent.keys, &tool.action_keys, &tool.resource_keys) {
        true => {
            let holder = Holder::new(judging.agent, mandate);
            labels::knowledge(&holder, judging.known, judging.stored_at)
        }
        false => Knowledge::Labels(BTreeSet::new()),
    }
}

/// What a call that may run lets its agent see.
fn marking(
    checked: &PolicyChecked,
    tool: Option<&Tool>,
    mandate: Option<&Mandate>,
) -> Option<Marking> {
    let runs = match checked.verdict {
        Verdict::Allow | Verdict::Ask => checked.dry_run != Some(true),
        Verdict::Deny => false,
    };
    let labels = tool
        .map(|tool| &tool.labels)
        .filter(|labels| runs && !labels.is_empty())?;
    Some(Marking {
        holder: Holder::new(&checked.agent, mandate),
        labels: labels.clone(),
    })
}

fn event(
    judging: Judging<'_>,
    finding: Finding,
    copies: Copies,
    policy_digest: Digest,
) -> PolicyChecked {
    let request = judging.request;
    let salt = input::salt_text(judging.salt);
    let digest = input::input_digest(request.intent_id, &request.tool, &request.input, &salt);
    let input_match = judging.match_key.input_match(&request.tool, &request.input);
    let finding = match (&digest, &input_match) {
        (Ok(_), Ok(_)) if copies.too_large => Finding::deny(
            BlockedCode::InvalidInput,
            "the input has more fields than people can be shown",
            "a smaller input",
        ),
        (Ok(_), Ok(_)) => finding,
        _ => Finding::deny(
            BlockedCode::InvalidInput,
            "the input has no canonical JSON form",
            "an input of plain JSON values",
        ),
    };
    // A refusal relies on nothing, so that whatever was taken for it is given back.
    let charges = match finding.verdict {
        Verdict::Allow | Verdict::Ask => judging.known.charges(),
        Verdict::Deny => Vec::new(),
    };
    PolicyChecked {
        schema_version: 1,
        intent_id: request.intent_id,
        request: judging.request_ref,
        agent: judging.agent.clone(),
        requester: CheckedRequester {
            id: request.requester.id.clone(),
            verified: false,
        },
        tool: request.tool.clone(),
        operation: None,
        purpose: copies.purpose,
        bundle: request.bundle.clone(),
        session_id: copies.session_id,
        expires_at: request.expires_at,
        dry_run: request.dry_run,
        verdict: finding.verdict,
        reasons: finding.reasons,
        needs: finding.needs,
        ask: finding.ask,
        guardrails: finding.guardrails,
        input_redacted: copies.redacted,
        input_shown: copies.shown,
        amount: copies.amount,
        currency: copies.currency,
        summary: copies.summary,
        changes: copies.changes,
        input_digest: digest.unwrap_or_else(|_| Digest::of_bytes(b"")),
        salt,
        input_match: input_match.unwrap_or_default(),
        policy_digest,
        tool_digest: None,
        expose: Vec::new(),
        helper: None,
        charges,
        requested_at: judging.stored_at,
    }
}
