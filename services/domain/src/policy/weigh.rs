//! From what the rules say to a finding: the guardrails run, and several asks become one.

use std::collections::BTreeSet;

use countersign_schemas::events::{
    Ask, BlockedCode, CheckedRequester, GuardrailFinding, GuardrailResult, Need, Reason, Verdict,
};
use countersign_schemas::{AgentId, PersonId, Timestamp};
use serde_json::{Map, Value};

use super::annotations::Rule;
use super::ask::AskRule;
use super::directory::{AgentEntry, Directory};
use super::known::{Known, Wish};
use super::refusal::{Finding, reason};
use super::tool::Tool;
use super::verdict::Ruling;
use crate::guardrails::{self, GuardrailError};
use crate::mandate::Mandate;

/// Who asks for what, once both are known.
pub(crate) struct Case<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) agent_id: &'a AgentId,
    pub(crate) agent: &'a AgentEntry,
    pub(crate) tool: &'a Tool,
    pub(crate) requester: &'a CheckedRequester,
    pub(crate) mandate: Option<&'a Mandate>,
    pub(crate) input: &'a Map<String, Value>,
    pub(crate) stored_at: Timestamp,
    pub(crate) known: &'a Known,
}

impl Case<'_> {
    /// The finding, or what must be known first.
    pub(crate) fn finding(&self, ruling: Ruling<'_>) -> Result<Finding, Vec<Wish>> {
        match ruling {
            Ruling::Error(faults) => Ok(Finding::deny(
                BlockedCode::PolicyError,
                format!("policy could not be evaluated: {}", faults.join("; ")),
                "an operator mends the policy",
            )),
            Ruling::Deny(rules) if rules.is_empty() => Ok(self.not_permitted()),
            Ruling::Deny(rules) => Ok(self.forbidden(&rules)),
            Ruling::Allow(rules) => {
                let reasons = rules
                    .iter()
                    .map(|rule| rule_reason("permitted", rule))
                    .collect();
                self.guarded(reasons, Vec::new(), None)
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
                self.guarded(reasons, needs, ask)
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

    fn forbidden(&self, rules: &[&Rule]) -> Finding {
        let code = BlockedCode::PolicyDenied.as_str();
        let helper = self.tool.helper().unwrap_or(&self.agent.team);
        let need = |rule: &&Rule| {
            let words = || {
                let id = &rule.id;
                format!("a call that rule `{id}` does not forbid; team `{helper}` can help")
            };
            need_of("rule", rule.need.clone().unwrap_or_else(words))
        };
        Finding {
            verdict: Verdict::Deny,
            reasons: rules.iter().map(|rule| rule_reason(code, rule)).collect(),
            needs: rules.iter().map(need).collect(),
            ask: None,
            guardrails: Vec::new(),
            input_fits: true,
        }
    }

    /// Runs the guardrails on what the rules allow or ask.
    fn guarded(
        &self,
        reasons: Vec<Reason>,
        needs: Vec<Need>,
        ask: Option<AskRule>,
    ) -> Result<Finding, Vec<Wish>> {
        let mut gathered = Gathered {
            reasons,
            needs,
            ask,
            ..Gathered::default()
        };
        let case = guardrails::Case {
            agent: self.agent_id,
            roles: &self.agent.roles,
            tool: &self.tool.name,
            requester: self.requester,
            mandate: self.mandate,
            input: self.input,
            at: self.stored_at,
            known: self.known,
        };
        for guard in &self.tool.guardrails {
            gathered.add(guard.name(), guard.check(&case));
        }
        if !gathered.refusals.is_empty() {
            return Ok(violated(gathered.refusals, gathered.results));
        }
        if !gathered.wishes.is_empty() {
            return Err(gathered.wishes);
        }
        let Gathered { ask, mut needs, .. } = gathered;
        let ask = ask.map(|rule| self.asked(&rule, &mut needs));
        Ok(Finding {
            verdict: match ask {
                Some(_) => Verdict::Ask,
                None => Verdict::Allow,
            },
            ask,
            reasons: gathered.reasons,
            needs,
            guardrails: gathered.results,
            input_fits: true,
        })
    }

    /// What people must grant. Nobody may grant their own wish: without a proved requester
    /// everyone who may stand behind the agent is left out, and where the directory names
    /// nobody, each team needs one person more. Who is proved under a name that the
    /// directory does not know could be anybody of it.
    fn asked(&self, rule: &AskRule, needs: &mut Vec<Need>) -> Ask {
        let behind: BTreeSet<&PersonId> = self.agent.owners.union(&self.agent.users).collect();
        let named = self.requester.id.as_str().parse::<PersonId>().ok();
        let named = named.filter(|id| self.directory.person(id).is_some());
        let proved = self.requester.verified && named.is_some();
        let more = u32::from(behind.is_empty() && !proved && !rule.self_allowed);
        let excluded: BTreeSet<PersonId> = match (rule.self_allowed, proved) {
            (true, _) => BTreeSet::new(),
            (false, true) => named.into_iter().collect(),
            (false, false) => behind.into_iter().cloned().chain(named).collect(),
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

/// What the rules and the guardrails said so far.
#[derive(Default)]
struct Gathered {
    reasons: Vec<Reason>,
    needs: Vec<Need>,
    ask: Option<AskRule>,
    results: Vec<GuardrailResult>,
    /// Of each refusal: what was found, and what would make it possible.
    refusals: Vec<(String, String)>,
    wishes: Vec<Wish>,
}

impl Gathered {
    /// Takes in what one guardrail found; one that cannot judge refuses.
    fn add(&mut self, name: &str, found: Result<guardrails::Finding, GuardrailError>) {
        let (result, message) = match found {
            Ok(guardrails::Finding::Pass { message }) => (GuardrailFinding::Pass, message),
            Ok(guardrails::Finding::Ask { message, need, ask }) => {
                self.ask = AskRule::merge(self.ask.take().into_iter().chain([ask]));
                self.reasons
                    .push(reason("approval_required", message.clone()));
                self.needs.push(need_of("approval", need));
                (GuardrailFinding::Ask, message)
            }
            Ok(guardrails::Finding::Deny { message, need }) => {
                self.refusals.push((message.clone(), need));
                (GuardrailFinding::Deny, message)
            }
            Ok(guardrails::Finding::Wants(wish)) => return self.wishes.push(wish),
            Err(error) => {
                let message = error.to_string();
                let need = "an input that the guardrail can read".to_owned();
                self.refusals.push((message.clone(), need));
                (GuardrailFinding::Deny, message)
            }
        };
        self.results.push(GuardrailResult {
            name: name.to_owned(),
            result,
            message,
        });
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
