//! Three verdicts from Cedar's two.
//!
//! A forbid with `@ask` is a rule that people may lift. The rules that can match a tool are
//! kept in two sets, so that one pass over each answers everything: the firm set must
//! allow, else it is a deny whatever people say; what is satisfied in the set of asks is
//! what people must lift. Deleting every permit thus turns each ask into a deny. Cedar
//! skips a rule that fails to evaluate, which would let a broken forbid pass: here any
//! error is a deny.

use cedar_policy::{Context, Decision, EntityUid, Request, Response};

use super::annotations::Rule;
use super::bundle::Bundle;
use super::rules::ToolRules;

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
    rules: &'b ToolRules,
    principal: &EntityUid,
    context: Context,
) -> Ruling<'b> {
    let (action, resource) = (rules.action.clone(), rules.resource.clone());
    let request = match Request::new(principal.clone(), action, resource, context, None) {
        Ok(request) => request,
        Err(_) => {
            return Ruling::Error(vec![
                "the request does not fit the policy schema".to_owned(),
            ]);
        }
    };
    let firm = bundle
        .authorizer
        .is_authorized(&request, &rules.firm, &bundle.entities);
    let asks = bundle
        .authorizer
        .is_authorized(&request, &rules.asks, &bundle.entities);
    let errors: Vec<String> = [&firm, &asks].into_iter().flat_map(errors).collect();
    if !errors.is_empty() {
        return Ruling::Error(errors);
    }
    let lifted = said(bundle, &asks);
    match firm.decision() {
        Decision::Deny => Ruling::Deny(said(bundle, &firm)),
        Decision::Allow if lifted.is_empty() => Ruling::Allow(said(bundle, &firm)),
        Decision::Allow => Ruling::Ask(lifted),
    }
}

fn said<'b>(bundle: &'b Bundle, response: &Response) -> Vec<&'b Rule> {
    let ids = response.diagnostics().reason();
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
    let mut all: Vec<String> = response.diagnostics().errors().map(one).collect();
    all.sort();
    all
}
