//! The scope index: policies lie by their scope, so that judging one intent looks only at
//! those whose principal, action and resource match it. What a decision costs does not
//! grow with the number of policies about other agents and tools.
//!
//! The index may find a policy whose scope does not match; Cedar checks the scope again.
//! It never misses one that matches: a property test compares it with plain Cedar.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    ActionConstraint, EntityUid, Policy, PolicySet, PrincipalConstraint, ResourceConstraint,
};

use super::label_rules;

/// Stands for no constraint.
const ANY: u32 = 0;

/// What a policy's scope demands; `None` is no demand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    /// The agent, or a role that it must have.
    pub(crate) principal: Option<EntityUid>,
    /// Any of these actions, or of actions in these groups.
    pub(crate) actions: Option<Vec<EntityUid>>,
    /// The tool, or a group that it must be in.
    pub(crate) resource: Option<EntityUid>,
}

impl Scope {
    /// The scope of `policy`. Agents and tools are the only principals and resources there
    /// are, so a demand for their type is none.
    pub(crate) fn of(policy: &Policy) -> Self {
        Self {
            principal: match policy.principal_constraint() {
                PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
                PrincipalConstraint::In(uid)
                | PrincipalConstraint::Eq(uid)
                | PrincipalConstraint::IsIn(_, uid) => Some(uid),
            },
            actions: match policy.action_constraint() {
                ActionConstraint::Any => None,
                ActionConstraint::Eq(uid) => Some(vec![uid]),
                ActionConstraint::In(mut uids) => {
                    uids.sort();
                    uids.dedup();
                    Some(uids)
                }
            },
            resource: match policy.resource_constraint() {
                ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
                ResourceConstraint::In(uid)
                | ResourceConstraint::Eq(uid)
                | ResourceConstraint::IsIn(_, uid) => Some(uid),
            },
        }
    }
}

/// The policies of one scope.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// Permits, and forbids that nobody may lift.
    pub(crate) firm: PolicySet,
    /// Forbids that people may lift.
    pub(crate) asks: PolicySet,
    /// Whether one of them reads what the agent has seen.
    reads_labels: bool,
}

impl Shelf {
    /// Adds a policy.
    ///
    /// # Errors
    /// When another policy here has its id.
    pub(crate) fn add(&mut self, policy: Policy, is_ask: bool) -> Result<(), String> {
        self.reads_labels |= label_rules::reads_labels(&policy);
        let set = if is_ask {
            &mut self.asks
        } else {
            &mut self.firm
        };
        set.add(policy).map_err(|error| error.to_string())
    }
}

/// An agent, action or tool as the index knows it: the numbers of itself and of what it is
/// in, as far as any scope names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys(Vec<u32>);

/// All policies by scope.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// A number for every entity that some scope names.
    numbers: BTreeMap<EntityUid, u32>,
    by_scope: BTreeMap<Scope, usize>,
    /// By principal, action and resource; a scope with a list of actions lies under each.
    places: BTreeMap<(u32, u32, u32), Vec<usize>>,
    shelves: Vec<Shelf>,
    /// Whether any policy reads what an agent has seen.
    reads_labels: bool,
}

impl Index {
    /// Adds a policy under its scope.
    ///
    /// # Errors
    /// When another policy of the same scope has its id.
    pub(crate) fn add(&mut self, policy: Policy, is_ask: bool) -> Result<(), String> {
        let scope = Scope::of(&policy);
        let at = match self.by_scope.get(&scope) {
            Some(at) => *at,
            None => self.shelf(scope),
        };
        self.reads_labels |= label_rules::reads_labels(&policy);
        match self.shelves.get_mut(at) {
            Some(shelf) => shelf.add(policy, is_ask),
            None => Err("the index has lost a shelf".to_owned()),
        }
    }

    fn shelf(&mut self, scope: Scope) -> usize {
        let at = self.shelves.len();
        self.shelves.push(Shelf::default());
        let principal = self.number(scope.principal.as_ref());
        let resource = self.number(scope.resource.as_ref());
        let actions: Vec<u32> = match &scope.actions {
            None => vec![ANY],
            Some(uids) => uids.iter().map(|uid| self.number(Some(uid))).collect(),
        };
        for action in actions {
            let place = self.places.entry((principal, action, resource));
            place.or_default().push(at);
        }
        self.by_scope.insert(scope, at);
        at
    }

    fn number(&mut self, uid: Option<&EntityUid>) -> u32 {
        let Some(uid) = uid else {
            return ANY;
        };
        let next =
            u32::try_from(self.numbers.len()).map_or(u32::MAX, |count| count.saturating_add(1));
        *self.numbers.entry(uid.clone()).or_insert(next)
    }

    /// The keys of something that is `uids`: itself and what it is in. To be asked for once
    /// all policies are here.
    pub(crate) fn keys<'u>(&self, uids: impl IntoIterator<Item = &'u EntityUid>) -> Keys {
        let named = uids.into_iter().filter_map(|uid| self.numbers.get(uid));
        Keys(std::iter::once(ANY).chain(named.copied()).collect())
    }

    /// Whether a policy whose scope matches reads what the agent has seen. Where none does
    /// at all, nothing is looked for.
    pub(crate) fn reads_labels(&self, principal: &Keys, action: &Keys, resource: &Keys) -> bool {
        self.reads_labels
            && self
                .find(principal, action, resource)
                .iter()
                .any(|shelf| shelf.reads_labels)
    }

    /// The shelves whose scope matches.
    pub(crate) fn find(&self, principal: &Keys, action: &Keys, resource: &Keys) -> Vec<&Shelf> {
        let mut found = BTreeSet::new();
        for principal in &principal.0 {
            for action in &action.0 {
                for resource in &resource.0 {
                    let place = self.places.get(&(*principal, *action, *resource));
                    found.extend(place.into_iter().flatten().copied());
                }
            }
        }
        found
            .into_iter()
            .filter_map(|at| self.shelves.get(at))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> EntityUid {
        text.parse().unwrap()
    }

    fn found(index: &Index, principal: &[&str], action: &[&str], resource: &[&str]) -> Vec<String> {
        let keys = |texts: &[&str]| {
            let uids: Vec<EntityUid> = texts.iter().map(|text| uid(text)).collect();
            index.keys(&uids)
        };
        let shelves = index.find(&keys(principal), &keys(action), &keys(resource));
        let mut ids: Vec<String> = shelves
            .iter()
            .flat_map(|shelf| shelf.firm.policies().chain(shelf.asks.policies()))
            .map(|policy| policy.id().to_string())
            .collect();
        ids.sort();
        ids
    }

    #[test]
    fn only_matching_scopes_are_looked_at_and_each_once() {
        let mut index = Index::default();
        let policies = [
            ("any", "principal, action, resource"),
            ("is", "principal is Agent, action, resource is Tool"),
            ("agent", "principal == Agent::\"a\", action, resource"),
            (
                "role",
                "principal in Role::\"r\", action in Action::\"read\", resource",
            ),
            ("other", "principal in Role::\"q\", action, resource"),
            (
                "list",
                "principal, action in [Action::\"read\", Action::\"t\", Action::\"u\"], resource",
            ),
            ("list2", "principal, action in [Action::\"u\"], resource"),
            ("group", "principal, action, resource in ToolGroup::\"g\""),
            ("tool", "principal, action, resource == Tool::\"u\""),
            (
                "isin",
                "principal is Agent in Role::\"r\", action == Action::\"t\", resource is Tool in ToolGroup::\"g\"",
            ),
        ];
        for (id, scope) in policies {
            let text = format!("permit({scope});");
            let policy = Policy::parse(Some(cedar_policy::PolicyId::new(id)), text).unwrap();
            index.add(policy.clone(), id == "list").unwrap();
            assert!(index.add(policy, id == "list").is_err(), "{id} twice");
        }
        let agent = ["Agent::\"a\"", "Role::\"r\""];
        let read_t = ["Action::\"t\"", "Action::\"read\""];
        let all = found(
            &index,
            &agent,
            &read_t,
            &["Tool::\"t\"", "ToolGroup::\"g\""],
        );
        assert_eq!(all, ["agent", "any", "group", "is", "isin", "list", "role"]);
        let nobody = found(
            &index,
            &["Agent::\"b\""],
            &["Action::\"u\""],
            &["Tool::\"u\""],
        );
        assert_eq!(nobody, ["any", "is", "list", "list2", "tool"]);
        let stranger = found(
            &index,
            &["Agent::\"b\""],
            &["Action::\"v\""],
            &["Tool::\"v\""],
        );
        assert_eq!(stranger, ["any", "is"]);
    }
}
