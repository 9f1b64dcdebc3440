//! From what the rules say to a finding: the guardrails run, and several asks become one.

use std::collections::BTreeSet;

use countersign_schemas::events::{
    Ask, BlockedCode, CheckedRequester, GuardrailFinding, GuardrailResult, Need, Reason, Verdict,
};
use countersign_schemas::{AgentId, PersonId, TeamId, Timestamp};
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
                let asks = rules.iter().filter_map(|rule| rule.ask.clone());
                let by_the_clock = |ask: AskRule| ask.by_the_clock(self.stored_at, self.directory);
                let ask = AskRule::merge(asks.map(by_the_clock));
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
        let helper = self.tool.helper().unwrap_or(&self.agent.team);
        for guard in &self.tool.guardrails {
            gathered.add(guard.name(), guard.check(&case), helper);
        }
        if !gathered.refusals.is_empty() {
            return Ok(violated(gathered.refusals, gathered.results));
        }
        if !gathered.wishes.is_empty() {
            return Err(first_wishes(gathered.wishes));
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
        rule.to_ask(more, excluded)
    }
}

/// What the rules and the guardrails said so far.
#[derive(Default)]
struct Gathered {
    reasons: Vec<Reason>,
    needs: Vec<Need>,
    ask: Option<AskRule>,
    results: Vec<GuardrailResult>,
    refusals: Vec<Refusal>,
    wishes: Vec<Wish>,
}

/// Why a guardrail refuses.
struct Refusal {
    code: BlockedCode,
    /// What was found.
    message: String,
    /// What would make it possible.
    need: String,
}

impl Gathered {
    /// Takes in what one guardrail found; one that cannot judge refuses.
    fn add(
        &mut self,
        name: &str,
        found: Result<guardrails::Finding, GuardrailError>,
        helper: &TeamId,
    ) {
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
                self.refuse(BlockedCode::GuardrailViolated, message, need)
            }
            Ok(guardrails::Finding::Exceeded { message, need }) => {
                let need = format!("{need}; team `{helper}` can help");
                self.refuse(BlockedCode::BudgetExceeded, message, need)
            }
            Ok(guardrails::Finding::Wants(wish)) => return self.wishes.push(wish),
            Err(error) => {
                let need = "an input that the guardrail can read".to_owned();
                self.refuse(BlockedCode::GuardrailViolated, error.to_string(), need)
            }
        };
        self.results.push(GuardrailResult {
            name: name.to_owned(),
            result,
            message,
        });
    }

    fn refuse(
        &mut self,
        code: BlockedCode,
        message: String,
        need: String,
    ) -> (GuardrailFinding, String) {
        self.refusals.push(Refusal {
            code,
            message: message.clone(),
            need,
        });
        (GuardrailFinding::Deny, message)
    }
}

/// What is looked into now. A part of a rate or budget is only taken when nothing else is
/// left that could refuse, so that what is refused anyway takes nothing from others.
fn first_wishes(wishes: Vec<Wish>) -> Vec<Wish> {
    let (charges, others): (Vec<Wish>, Vec<Wish>) = wishes.into_iter().partition(Wish::takes);
    match others.is_empty() {
        true => charges,
        false => others,
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

fn violated(refusals: Vec<Refusal>, guardrails: Vec<GuardrailResult>) -> Finding {
    let mut reasons = Vec::with_capacity(refusals.len());
    let mut needs = Vec::with_capacity(refusals.len());
    for Refusal {
        code,
        message,
        need,
    } in refusals
    {
        reasons.push(reason(code.as_str(), message));
        needs.push(need_of("guardrail", need));
    }
    Finding {
        verdict: Verdict::Deny,
        reasons,
        needs,
        ask: None,
        guardrails,
        input_fits: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_last() {
        use crate::ledger::{LedgerKey, Order, Terms};
        use std::time::Duration;
        let hour = Duration::from_secs(3_600);
        let charge = || {
            Wish::Charge(Order {
                ledger: LedgerKey::new(
                    "rate",
                    &"mails".parse().unwrap(),
                    hour,
                    Timestamp::EPOCH,
                    &[],
                ),
                terms: Terms {
                    amount: 1.into(),
                    limit: 3.into(),
                    beyond: false,
                },
                ends_at: Timestamp::EPOCH.plus(hour),
            })
        };
        let fact = || Wish::Fact {
            key: "orders.O-1".to_owned(),
        };
        assert_eq!(first_wishes(vec![charge(), fact()]), [fact()]);
        assert_eq!(first_wishes(vec![charge()]), [charge()]);
    }
}
