//! A permit says who, what and where. One that leaves a part open is an administrator's,
//! and so is one that names all there is; it is refused unless somebody has answered for
//! it.

use std::collections::BTreeMap;

use cedar_policy::{Effect, EntityUid};
use countersign_schemas::AgentId;
use countersign_schemas::events::Operation;

use super::reach::{Tools, World};
use super::{Findings, LintLevel};
use crate::policy::bundle::Bundle;
use crate::policy::index::Scope;
use crate::policy::rules::Written;

const MEND: &str = "name the agent or role, the tools or operations, and the tool or its group in the \
     scope, or have it looked at: @reviewed(\"who, when, why\")";

const MEND_EFFECT: &str =
    "leave out what it is not for, or have it looked at: @reviewed(\"who, when, why\")";

pub(super) fn check(bundle: &Bundle, findings: &mut Findings) {
    // The names come from the bundle itself, so Cedar takes them all.
    let Ok(world) = World::of(bundle) else {
        return;
    };
    let mut bounded = Vec::new();
    for one in &bundle.rules.written {
        let review = one.policy.annotation("reviewed").map(is_review);
        let is_own_permit = one.policy.effect() == Effect::Permit && !one.of_tier;
        let open = is_own_permit
            .then(|| why_open(bundle, &world, one))
            .flatten();
        if review == Some(false) {
            let level = match open {
                None => LintLevel::PointedOut,
                Some(_) => LintLevel::Refused,
            };
            wrong_review(one, level, findings);
        }
        match open {
            Some((what, mend)) if review.is_none() => {
                findings.add(LintLevel::Refused, "unbounded", &one.place(), what, mend);
            }
            None if is_own_permit && review.is_none() => bounded.push(one),
            Some(_) | None => {}
        }
    }
    together(bundle, &world, &bounded, findings);
}

/// Why a permit is an administrator's: its scope leaves a part open, or it names every tool
/// that there is, one by one or in groups.
fn why_open(bundle: &Bundle, world: &World<'_>, one: &Written) -> Option<(String, &'static str)> {
    let scope = Scope::of(&one.policy);
    let open = open_parts(bundle, &scope);
    if !open.is_empty() {
        let what = format!(
            "permit `{}` has no bound on {}",
            one.id(),
            open.join(" and ")
        );
        return Some((what, MEND));
    }
    let all = bundle.catalog.tools().count();
    (all > 1 && world.tools(&scope).len() == all).then(|| {
        let what = format!(
            "permit `{}` names every tool of the catalog, which bounds nothing",
            one.id()
        );
        (what, MEND_EFFECT)
    })
}

/// Points out permits that together give an agent every tool without any condition: each
/// is bounded, and all of them are an administrator.
fn together(bundle: &Bundle, world: &World<'_>, bounded: &[&Written], findings: &mut Findings) {
    let all = bundle.catalog.tools().count();
    let mut reached: BTreeMap<&AgentId, Tools<'_>> = BTreeMap::new();
    for one in bounded {
        if one.policy.has_non_scope_constraint() {
            continue;
        }
        let scope = Scope::of(&one.policy);
        let tools = world.tools(&scope);
        let mut now_all = Vec::new();
        for agent in world.agents(&scope) {
            let mine = reached.entry(agent).or_default();
            let before = mine.len();
            mine.extend(tools.iter().copied());
            if all > 1 && before < all && mine.len() == all {
                now_all.push(agent.as_str());
            }
        }
        if !now_all.is_empty() {
            let what = format!(
                "with `{}` every tool of the catalog is permitted without any condition to {}: \
                 such permits together bound nothing",
                one.id(),
                now_all.join(", ")
            );
            let level = LintLevel::PointedOut;
            findings.add(level, "unbounded", &one.place(), what, MEND_EFFECT);
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
