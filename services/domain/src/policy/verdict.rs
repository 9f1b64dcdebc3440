//! Three verdicts from Cedar's two.
//!
//! A forbid with `@ask` is a rule that people may lift. Such rules are kept apart from the
//! firm ones, so that one pass over each answers everything: the firm rules must allow,
//! else it is a deny whatever people say; what is satisfied among the asks is what people
//! must lift. Deleting every permit thus turns each ask into a deny. Cedar
//! skips a rule that fails to evaluate, which would let a broken forbid pass: here any
//! error is a deny.

use cedar_policy::{Context, Decision, PolicySet, Request, Response};

use super::annotations::Rule;
use super::bundle::Bundle;
use super::index::Shelf;
use super::rules::{AgentKeys, ToolKeys};

/// What the rules say of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling<'b> {
    /// These permits allow it and nothing forbids it.
    Allow(Vec<&'b Rule>),
    /// It would be allowed, but for these rules, which people may lift.
    Ask(Vec<&'b Rule>),
    /// These rules forbid it for good; none of them means that nothing permits it.
    Deny(Vec<&'b Rule>),
    /// Policy could not be evaluated; why, without any value of the input.
    Error(Vec<String>),
}

/// Judges one request by the rules of `bundle`.
pub(crate) fn rule<'b>(
    bundle: &'b Bundle,
    tool: &ToolKeys,
    agent: &AgentKeys,
    context: Context,
) -> Ruling<'b> {
    let index = &bundle.rules.index;
    let shelves = index.find(&agent.keys, &tool.action_keys, &tool.resource_keys);
    rule_by(bundle, &shelves, tool, agent, context)
}

/// Judges by these policies.
pub(crate) fn rule_by<'b>(
    bundle: &'b Bundle,
    shelves: &[&Shelf],
    tool: &ToolKeys,
    agent: &AgentKeys,
    context: Context,
) -> Ruling<'b> {
    let (action, resource) = (tool.action.clone(), tool.resource.clone());
    let principal = agent.principal.clone();
    let request = match Request::new(principal, action, resource, context, None) {
        Ok(request) => request,
        Err(_) => {
            return Ruling::Error(vec![
                "the request does not fit the policy schema".to_owned(),
            ]);
        }
    };
    let judge = |policies: &PolicySet| {
        (!policies.is_empty()).then(|| {
            bundle
                .authorizer
                .is_authorized(&request, policies, &bundle.entities)
        })
    };
    let firm: Vec<Response> = shelves.iter().filter_map(|one| judge(&one.firm)).collect();
    let asks: Vec<Response> = shelves.iter().filter_map(|one| judge(&one.asks)).collect();
    let mut errors: Vec<String> = firm.iter().chain(&asks).flat_map(errors).collect();
    if !errors.is_empty() {
        errors.sort();
        return Ruling::Error(errors);
    }
    // The shelves together decide as one set would: a forbid of any stops it, and without
    // one a permit of any is needed.
    let (allowing, denying): (Vec<Response>, Vec<Response>) = firm
        .into_iter()
        .partition(|response| response.decision() == Decision::Allow);
    let (forbids, permits) = (said(bundle, &denying), said(bundle, &allowing));
    let lifted = said(bundle, &asks);
    match (forbids.is_empty(), permits.is_empty(), lifted.is_empty()) {
        (false, ..) | (true, true, _) => Ruling::Deny(forbids),
        (true, false, true) => Ruling::Allow(permits),
        (true, false, false) => Ruling::Ask(lifted),
    }
}

fn said<'b>(bundle: &'b Bundle, responses: &[Response]) -> Vec<&'b Rule> {
    let ids = responses.iter().flat_map(|one| one.diagnostics().reason());
    let mut rules: Vec<&Rule> = ids
        .filter_map(|id| bundle.rules.said.get(id.as_ref() as &str))
        .collect();
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    rules
}

/// The rules that failed, by name only: Cedar's own texts quote values.
fn errors(response: &Response) -> Vec<String> {
    let one = |error: &cedar_policy::AuthorizationError| {
        let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
        format!(
            "rule `{}` cannot be evaluated on this input",
            error.policy_id()
        )
    };
    response.diagnostics().errors().map(one).collect()
}
