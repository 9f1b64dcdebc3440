//! The judgement of one intent: always a verdict, and whatever goes wrong is a deny.

use std::collections::BTreeSet;

use countersign_schemas::events::{
    Ask, BlockedCode, CheckedRequester, GuardrailFinding, GuardrailResult, Need, PolicyChecked,
    Reason, RequestRef, ToolRequested, Verdict,
};
use countersign_schemas::limits::PURPOSE_CHARS_MAX;
use countersign_schemas::{AgentId, Digest, JsonObject, PersonId, Timestamp};
use serde_json::{Map, Value};

use super::annotations::Rule;
use super::ask::AskRule;
use super::bundle::Bundle;
use super::context;
use super::copies::{Copies, line};
use super::directory::{AgentEntry, Directory};
use super::matching::MatchKey;
use super::refusal::{self, Finding, reason};
use super::tool::Tool;
use super::verdict::{self, Ruling};
use crate::guardrails;
use crate::input;
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
}

/// Judges one intent by `bundle`.
#[must_use]
pub fn judge(bundle: &Bundle, redactor: &Redactor, judging: Judging<'_>) -> PolicyChecked {
    let tool = bundle.catalog.tool(&judging.request.tool);
    let agent = bundle.directory.agent(judging.agent);
    let finding = find(bundle, &judging, agent, tool);
    let copies = Copies::of(redactor, judging.request, tool, &finding);
    let helper = tool
        .and_then(Tool::helper)
        .or(agent.map(|agent| &agent.team))
        .cloned();
    let mut checked = event(judging, finding, copies, bundle.digest());
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
    checked
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
        verdict: finding.verdict,
        reasons: finding.reasons,
        needs: finding.needs,
        ask: None,
        guardrails: Vec::new(),
        input_redacted: JsonObject::default(),
        input_shown: JsonObject::default(),
        changes: Vec::new(),
        amount: None,
        ..checked
    }
}

fn find(
    bundle: &Bundle,
    judging: &Judging<'_>,
    agent: Option<&AgentEntry>,
    tool: Option<&Tool>,
) -> Finding {
    let request = judging.request;
    if let Some(finding) = refusal::of_frame(request) {
        return finding;
    }
    let (Some(agent), Some(principal)) = (agent, bundle.agents.get(judging.agent)) else {
        let message = format!("agent `{}` is not in the policy bundle", judging.agent);
        let need = "an operator adds the agent to entities.json";
        let mut finding = Finding::deny(BlockedCode::PolicyDenied, message.clone(), need);
        finding.reasons.push(reason("unknown_agent", message));
        return finding;
    };
    let (Some(tool), Some(rules)) = (tool, bundle.rules.tools.get(&request.tool)) else {
        let message = format!("tool `{}` is not in the catalog", request.tool);
        return Finding::deny(BlockedCode::UnknownTool, message, "a tool of the catalog");
    };
    if let Some(finding) = refusal::of_schema(tool, &request.input.to_value()) {
        return finding;
    }
    if let Some(finding) = refusal::of_surrogates(&request.input.0) {
        return finding.on_sound_input();
    }
    // Mandates are not checked yet, so nobody is proved.
    let requester = checked_requester(request);
    let ruling = match context::context(tool, &request.input.0, &requester) {
        Ok(context) => verdict::rule(bundle, rules, principal, context),
        Err(_) => Ruling::Error(vec!["the input cannot be put before the rules".to_owned()]),
    };
    let case = Case {
        directory: &bundle.directory,
        agent_id: judging.agent,
        agent,
        tool,
        requester: &requester,
    };
    case.finding(ruling, &request.input.0).on_sound_input()
}

/// Who asks for what, once both are known.
struct Case<'a> {
    directory: &'a Directory,
    agent_id: &'a AgentId,
    agent: &'a AgentEntry,
    tool: &'a Tool,
    requester: &'a CheckedRequester,
}

impl Case<'_> {
    fn finding(&self, ruling: Ruling<'_>, input: &Map<String, Value>) -> Finding {
        match ruling {
            Ruling::Error(faults) => Finding::deny(
                BlockedCode::PolicyError,
                format!("policy could not be evaluated: {}", faults.join("; ")),
                "an operator mends the policy",
            ),
            Ruling::Deny(rules) if rules.is_empty() => self.not_permitted(),
            Ruling::Deny(rules) => forbidden(&rules),
            Ruling::Allow(rules) => {
                let reasons = rules
                    .iter()
                    .map(|rule| rule_reason("permitted", rule))
                    .collect();
                self.guarded(reasons, Vec::new(), None, input)
            }
            Ruling::Ask(rules) => {
                let reasons = rules
                    .iter()
                    .map(|rule| rule_reason("approval_required", rule))
                    .collect();
                let needs = rules
                    .iter()
                    .filter_map(|rule| approval_need(rule))
                    .collect();
                let ask = AskRule::merge(rules.iter().filter_map(|rule| rule.ask.clone()));
                self.guarded(reasons, needs, ask, input)
            }
        }
    }

    fn not_permitted(&self) -> Finding {
        let (agent, tool) = (self.agent_id, &self.tool.name);
        Finding::deny(
            BlockedCode::PolicyDenied,
            format!("no rule permits agent `{agent}` to use `{tool}` in this way"),
            format!(
                "a rule that permits it; team `{}` can help",
                self.agent.team
            ),
        )
    }

    /// Runs the guardrails on what the rules allow or ask.
    fn guarded(
        &self,
        mut reasons: Vec<Reason>,
        mut needs: Vec<Need>,
        mut ask: Option<AskRule>,
        input: &Map<String, Value>,
    ) -> Finding {
        let (mut results, mut refusals) = (Vec::new(), Vec::new());
        for guard in &self.tool.guardrails {
            let name = guard.name();
            let (result, message) = match guard.check(input) {
                Ok(guardrails::Finding::Pass { message }) => (GuardrailFinding::Pass, message),
                Ok(guardrails::Finding::Ask {
                    message,
                    need,
                    ask: more,
                }) => {
                    ask = AskRule::merge(ask.into_iter().chain([more]));
                    reasons.push(reason("approval_required", message.clone()));
                    needs.push(need_of("approval", need));
                    (GuardrailFinding::Ask, message)
                }
                Ok(guardrails::Finding::Deny { message, need }) => {
                    refusals.push((message.clone(), need));
                    (GuardrailFinding::Deny, message)
                }
                Err(error) => {
                    let message = error.to_string();
                    refusals.push((
                        message.clone(),
                        "an input that the guardrail can read".to_owned(),
                    ));
                    (GuardrailFinding::Deny, message)
                }
            };
            results.push(GuardrailResult {
                name: name.to_owned(),
                result,
                message,
            });
        }
        if !refusals.is_empty() {
            return violated(refusals, results);
        }
        Finding {
            verdict: if ask.is_some() {
                Verdict::Ask
            } else {
                Verdict::Allow
            },
            ask: ask.map(|rule| self.asked(&rule, &mut needs)),
            reasons,
            needs,
            guardrails: results,
            input_fits: true,
        }
    }

    /// What people must grant. Nobody may grant their own wish: without a proved requester
    /// everyone who may stand behind the agent is left out, and where the directory names
    /// nobody, each team needs one person more.
    fn asked(&self, rule: &AskRule, needs: &mut Vec<Need>) -> Ask {
        let behind: BTreeSet<&PersonId> = self.agent.owners.union(&self.agent.users).collect();
        let claimed = self.requester.id.as_str().parse::<PersonId>().ok();
        let claimed = claimed.filter(|id| self.directory.person(id).is_some());
        let more = u32::from(behind.is_empty() && !rule.self_allowed);
        let excluded: BTreeSet<PersonId> = match rule.self_allowed {
            true => BTreeSet::new(),
            false => behind.into_iter().cloned().chain(claimed).collect(),
        };
        let approvers = rule.quorums(more);
        for wanted in &approvers {
            let able = self
                .directory
                .members(&wanted.team)
                .difference(&excluded)
                .count();
            if able < wanted.quorum as usize {
                needs.push(need_of(
                    "too_few_approvers",
                    format!(
                        "team `{}` has too few members who may decide this",
                        wanted.team
                    ),
                ));
            }
        }
        Ask {
            approvers,
            expires_in_s: rule.expires.as_secs(),
            chat_may_approve: rule.chat,
            self_allowed: rule.self_allowed,
            excluded: excluded.into_iter().collect(),
            window_max_s: rule.window.map(|span| span.as_secs()),
        }
    }
}

fn checked_requester(request: &ToolRequested) -> CheckedRequester {
    CheckedRequester {
        id: request.requester.id.clone(),
        verified: false,
    }
}

fn rule_reason(code: &str, rule: &Rule) -> Reason {
    Reason {
        code: code.to_owned(),
        message: rule.because.clone(),
        policy_id: Some(rule.id.clone()),
    }
}

fn need_of(code: &str, message: impl Into<String>) -> Need {
    Need {
        code: code.to_owned(),
        message: message.into(),
    }
}

fn approval_need(rule: &Rule) -> Option<Need> {
    let ask = rule.ask.as_ref()?;
    let words = || format!("approval by {}", ask.words());
    Some(need_of("approval", rule.need.clone().unwrap_or_else(words)))
}

fn forbidden(rules: &[&Rule]) -> Finding {
    let code = BlockedCode::PolicyDenied.as_str();
    let needs = rules.iter().filter_map(|rule| rule.need.clone());
    Finding {
        verdict: Verdict::Deny,
        reasons: rules.iter().map(|rule| rule_reason(code, rule)).collect(),
        needs: needs.map(|need| need_of("rule", need)).collect(),
        ask: None,
        guardrails: Vec::new(),
        input_fits: true,
    }
}

fn violated(refusals: Vec<(String, String)>, guardrails: Vec<GuardrailResult>) -> Finding {
    let code = BlockedCode::GuardrailViolated.as_str();
    let (messages, needs): (Vec<String>, Vec<String>) = refusals.into_iter().unzip();
    Finding {
        verdict: Verdict::Deny,
        reasons: messages
            .into_iter()
            .map(|message| reason(code, message))
            .collect(),
        needs: needs
            .into_iter()
            .map(|need| need_of("guardrail", need))
            .collect(),
        ask: None,
        guardrails,
        input_fits: true,
    }
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
    PolicyChecked {
        schema_version: 1,
        intent_id: request.intent_id,
        request: judging.request_ref,
        agent: judging.agent.clone(),
        requester: checked_requester(request),
        tool: request.tool.clone(),
        operation: None,
        purpose: request.purpose.chars().take(PURPOSE_CHARS_MAX).collect(),
        bundle: request.bundle.clone(),
        session_id: request.session_id.as_deref().map(line),
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
        summary: copies.summary,
        changes: copies.changes,
        input_digest: digest.unwrap_or_else(|_| Digest::of_bytes(b"")),
        salt,
        input_match: input_match.unwrap_or_default(),
        policy_digest,
        tool_digest: None,
        expose: Vec::new(),
        helper: None,
        requested_at: judging.stored_at,
    }
}
