//! Rules that never decide anything: no agent or tool is in their scope, or another rule
//! has always decided before them.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Effect, EntityUid};
use countersign_schemas::{AgentId, ToolName};

use super::{Findings, LintLevel};
use crate::policy::bundle::Bundle;
use crate::policy::cedar_schema::uid;
use crate::policy::index::{Index, Scope};
use crate::policy::rules::Written;
use crate::policy::tool::Tool;

pub(super) type Agents<'b> = BTreeSet<&'b AgentId>;
pub(super) type Tools<'b> = BTreeSet<&'b ToolName>;

pub(super) fn check(bundle: &Bundle, findings: &mut Findings) {
    // The names come from the bundle itself, so Cedar takes them all.
    let Ok(world) = World::of(bundle) else {
        return;
    };
    let rules: Vec<Reaching<'_>> = bundle
        .rules
        .written
        .iter()
        .map(|one| world.reaching(one))
        .collect();
    for one in &rules {
        unreachable(one, findings);
    }
    let Ok(shadows) = Shadows::of(&rules) else {
        return;
    };
    for (at, one) in rules.iter().enumerate() {
        if let Some(over) = shadows.over(&world, at, one) {
            shadowed(one, over, findings);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Permit,
    Ask,
    Forbid,
}

/// A rule with the agents and tools in its scope.
struct Reaching<'b> {
    written: &'b Written,
    kind: Kind,
    agents: Agents<'b>,
    tools: Tools<'b>,
}

impl Reaching<'_> {
    /// Whether the scope alone decides.
    fn is_plain(&self) -> bool {
        !self.written.policy.has_non_scope_constraint()
    }

    fn covers(&self, other: &Self) -> bool {
        other.agents.is_subset(&self.agents) && other.tools.is_subset(&self.tools)
    }
}

/// Who and what is in each entity that a scope can name.
pub(super) struct World<'b> {
    bundle: &'b Bundle,
    agents: BTreeMap<EntityUid, Agents<'b>>,
    actions: BTreeMap<EntityUid, Tools<'b>>,
    resources: BTreeMap<EntityUid, Tools<'b>>,
}

impl<'b> World<'b> {
    pub(super) fn of(bundle: &'b Bundle) -> Result<Self, String> {
        let mut world = Self {
            bundle,
            agents: BTreeMap::new(),
            actions: BTreeMap::new(),
            resources: BTreeMap::new(),
        };
        for (id, _) in bundle.directory.agents() {
            for uid in principals(bundle, id)? {
                world.agents.entry(uid).or_default().insert(id);
            }
        }
        for tool in bundle.catalog.tools() {
            for uid in actions(tool)? {
                world.actions.entry(uid).or_default().insert(&tool.name);
            }
            for uid in resources(tool)? {
                world.resources.entry(uid).or_default().insert(&tool.name);
            }
        }
        Ok(world)
    }

    fn reaching(&self, written: &'b Written) -> Reaching<'b> {
        let scope = Scope::of(&written.policy);
        let rule = self.bundle.rules.said.get(written.id());
        let asks = rule.is_some_and(|rule| rule.ask.is_some());
        Reaching {
            written,
            kind: match written.policy.effect() {
                Effect::Permit => Kind::Permit,
                Effect::Forbid if asks => Kind::Ask,
                Effect::Forbid => Kind::Forbid,
            },
            agents: self.agents(&scope),
            tools: self.tools(&scope),
        }
    }

    /// The agents in a scope.
    pub(super) fn agents(&self, scope: &Scope) -> Agents<'b> {
        match &scope.principal {
            None => self.bundle.directory.agents().map(|(id, _)| id).collect(),
            Some(uid) => self.agents.get(uid).cloned().unwrap_or_default(),
        }
    }

    /// The tools in a scope, by its action and its resource.
    pub(super) fn tools(&self, scope: &Scope) -> Tools<'b> {
        let all = || self.bundle.catalog.tools().map(|tool| &tool.name).collect();
        let by_action: Tools<'b> = match &scope.actions {
            None => all(),
            Some(uids) => {
                let each = uids.iter().filter_map(|uid| self.actions.get(uid));
                each.flatten().copied().collect()
            }
        };
        match &scope.resource {
            None => by_action,
            Some(uid) => {
                let mine = self.resources.get(uid);
                by_action
                    .into_iter()
                    .filter(|tool| mine.is_some_and(|mine| mine.contains(tool)))
                    .collect()
            }
        }
    }
}

fn principals(bundle: &Bundle, id: &AgentId) -> Result<Vec<EntityUid>, String> {
    let roles = bundle.directory.agent(id).map(|agent| &agent.roles);
    let roles = roles.into_iter().flatten();
    std::iter::once(uid("Agent", id.as_str()))
        .chain(roles.map(|role| uid("Role", role.as_str())))
        .collect()
}

fn actions(tool: &Tool) -> Result<[EntityUid; 2], String> {
    Ok([
        uid("Action", tool.name.as_str())?,
        uid("Action", tool.operation.as_str())?,
    ])
}

fn resources(tool: &Tool) -> Result<Vec<EntityUid>, String> {
    let groups = tool.groups.iter().map(String::as_str);
    let groups = groups.chain([tool.operation.as_str()]);
    std::iter::once(uid("Tool", tool.name.as_str()))
        .chain(groups.map(|group| uid("ToolGroup", group)))
        .collect()
}

/// The rules that decide by their scope alone, to be found by what they reach.
struct Shadows<'r, 'b> {
    index: Index,
    rules: &'r [Reaching<'b>],
    by_id: BTreeMap<&'b str, usize>,
}

impl<'r, 'b> Shadows<'r, 'b> {
    fn of(rules: &'r [Reaching<'b>]) -> Result<Self, String> {
        let mut index = Index::default();
        for one in rules.iter().filter(|one| one.is_plain()) {
            index.add(one.written.policy.clone(), false)?;
        }
        let by_id = rules
            .iter()
            .enumerate()
            .map(|(at, one)| (one.written.id(), at));
        Ok(Self {
            index,
            rules,
            by_id: by_id.collect(),
        })
    }

    /// A rule that has always decided before `one`, which stands at `at`.
    fn over(&self, world: &World<'b>, at: usize, one: &Reaching<'b>) -> Option<&'r Reaching<'b>> {
        // Whatever reaches all that `one` does reaches its first agent and tool.
        let agent = one.agents.first()?;
        let tool = world.bundle.catalog.tool(one.tools.first()?)?;
        let keys = |uids: Vec<EntityUid>| self.index.keys(&uids);
        let agent = keys(principals(world.bundle, agent).ok()?);
        let action = keys(actions(tool).ok()?.to_vec());
        let resource = keys(resources(tool).ok()?);
        let shelves = self.index.find(&agent, &action, &resource);
        let ids = shelves.iter().flat_map(|shelf| shelf.firm.policies());
        let others = ids.filter_map(|policy| self.by_id.get(AsRef::<str>::as_ref(policy.id())));
        let mut found = others.filter_map(|other| {
            let over = self.rules.get(*other)?;
            // Of two that cover each other, the later one is shadowed.
            let twin = one.is_plain() && one.kind == over.kind && one.covers(over);
            let before = *other != at && (!twin || *other < at);
            (before && decides(over.kind, one) && over.covers(one)).then_some(over)
        });
        found.next()
    }
}

/// Whether a rule of this kind leaves nothing to `one`. Two asks are merged, so neither
/// hides the other, and a tier that grants what a policy grants is no mistake.
fn decides(kind: Kind, one: &Reaching<'_>) -> bool {
    match (kind, one.kind) {
        (Kind::Forbid, Kind::Permit | Kind::Ask | Kind::Forbid) => true,
        (Kind::Permit, Kind::Permit) => !one.written.of_tier,
        (Kind::Permit, Kind::Ask | Kind::Forbid) | (Kind::Ask, _) => false,
    }
}

fn unreachable(one: &Reaching<'_>, findings: &mut Findings) {
    let (what, mend) = match (one.agents.is_empty(), one.tools.is_empty()) {
        (false, false) => return,
        (true, _) => (
            "no agent is its principal",
            "give an agent the role, or remove the rule",
        ),
        (false, true) => (
            "no tool has its action and its resource at once",
            "mend the operation or the group, or remove the rule",
        ),
    };
    let what = format!("rule `{}` never applies: {what}", one.written.id());
    let place = one.written.place();
    findings.add(LintLevel::PointedOut, "unreachable", &place, what, mend);
}

fn shadowed(one: &Reaching<'_>, over: &Reaching<'_>, findings: &mut Findings) {
    let (id, other) = (one.written.id(), over.written.id());
    let what = match over.kind {
        Kind::Permit => format!("permit `{id}` adds nothing: `{other}` permits all of it"),
        Kind::Forbid | Kind::Ask => {
            format!("rule `{id}` never decides: `{other}` forbids all of it")
        }
    };
    let mend = "remove one of the two, or narrow the wider one";
    let place = one.written.place();
    findings.add(LintLevel::PointedOut, "shadowed", &place, what, mend);
}
