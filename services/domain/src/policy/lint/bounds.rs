//! A permit says who, what and where. One that leaves a part open is an administrator's,
//! and is refused unless somebody has answered for it.

use cedar_policy::{Effect, EntityUid};
use countersign_schemas::events::Operation;

use super::{Findings, LintLevel};
use crate::policy::bundle::Bundle;
use crate::policy::index::Scope;
use crate::policy::rules::Written;

const MEND: &str = "name the agent or role, the tools or operations, and the tool or its group in the \
     scope, or have it looked at: @reviewed(\"who, when, why\")";

pub(super) fn check(bundle: &Bundle, findings: &mut Findings) {
    for one in &bundle.rules.written {
        let review = one.policy.annotation("reviewed").map(is_review);
        let open = match one.policy.effect() {
            Effect::Permit if !one.of_tier => open_parts(bundle, &Scope::of(&one.policy)),
            Effect::Permit | Effect::Forbid => Vec::new(),
        };
        if !open.is_empty() && review.is_none() {
            let what = format!(
                "permit `{}` has no bound on {}",
                one.id(),
                open.join(" and ")
            );
            findings.add(LintLevel::Refused, "unbounded", &one.place(), what, MEND);
        }
        if review == Some(false) {
            let level = match open.is_empty() {
                true => LintLevel::PointedOut,
                false => LintLevel::Refused,
            };
            wrong_review(one, level, findings);
        }
    }
}

fn wrong_review(one: &Written, level: LintLevel, findings: &mut Findings) {
    let what = format!(
        "`@reviewed` of `{}` does not say who, when and why",
        one.id()
    );
    let mend = "write three parts with commas: @reviewed(\"kim, 2026-11-02, migration week\")";
    findings.add(level, "review", &one.place(), what, mend);
}

/// Whether a review says who, when and why.
fn is_review(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(3, ',').map(str::trim).collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty())
}

fn open_parts(bundle: &Bundle, scope: &Scope) -> Vec<&'static str> {
    let mut open = Vec::new();
    if scope.principal.is_none() {
        open.push("principal");
    }
    let actions = scope.actions.as_deref();
    let tools_alone = actions.is_some_and(|all| !all.iter().any(is_operation));
    let one_tool = scope.resource.as_ref().is_some_and(|uid| is_a(uid, "Tool"));
    // An action is one tool, so naming either names both.
    if tools_alone || one_tool {
        return open;
    }
    if actions.is_none_or(every_operation) {
        open.push("action");
    }
    if scope
        .resource
        .as_ref()
        .is_none_or(|uid| every_tool(bundle, uid))
    {
        open.push("resource");
    }
    open
}

fn is_a(uid: &EntityUid, kind: &str) -> bool {
    uid.type_name().to_string() == kind
}

fn is_operation(uid: &EntityUid) -> bool {
    Operation::from_word(uid.id().unescaped()).is_some()
}

fn every_operation(actions: &[EntityUid]) -> bool {
    let named = |operation: &Operation| {
        actions
            .iter()
            .any(|uid| uid.id().unescaped() == operation.as_str())
    };
    Operation::ALL.iter().all(named)
}

/// Whether a tool group bounds nothing: that of an operation says no more than the action
/// does, and one with every tool says nothing.
fn every_tool(bundle: &Bundle, group: &EntityUid) -> bool {
    let mut tools = bundle.catalog.tools();
    let alone = bundle.catalog.tools().count() == 1;
    is_operation(group) || !alone && tools.all(|tool| tool.in_group(group.id().unescaped()))
}
