//! What differs between two bundles, in words that a person reviews.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use cedar_policy::Effect;
use serde::Serialize;
use serde_json::Value;

use super::annotations::Rule;
use super::bundle::Bundle;
use super::directory::AgentEntry;
use super::rules::Written;
use super::tool::Tool;
use crate::approvals::Delegation;
use crate::hours::Hours;

/// What happened to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another.
    Changed,
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A policy.
    Rule,
    /// A tool of the catalog.
    Tool,
    /// An agent.
    Agent,
    /// A person.
    Person,
    /// A team.
    Team,
    /// A role.
    Role,
    /// A calendar of open hours.
    Calendar,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// Of what.
    pub kind: Kind,
    /// Which one.
    pub name: String,
    /// What happened.
    pub change: Change,
    /// A sentence on it.
    pub words: String,
}

/// Everything that `new` has otherwise than `old`, by kind and name. Comments, the order of
/// things and tests are not among it.
#[must_use]
pub fn diff(old: &Bundle, new: &Bundle) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(
        Kind::Rule,
        &rules(old),
        &rules(new),
        RuleText::words,
        RuleText::change,
        &mut found,
    );
    compare(
        Kind::Tool,
        &tools(old),
        &tools(new),
        |tool| tool_words(tool),
        |a, b| tool_change(a, b),
        &mut found,
    );
    compare(
        Kind::Agent,
        &agents(old),
        &agents(new),
        |agent| agent_words(agent),
        |a, b| agent_change(a, b),
        &mut found,
    );
    compare(
        Kind::Person,
        &people(old),
        &people(new),
        |(name, _)| (*name).to_owned(),
        person_change,
        &mut found,
    );
    compare(
        Kind::Team,
        &teams(old),
        &teams(new),
        |team| format!("members: {}", list(*team)),
        |a, b| sets("members", a, b),
        &mut found,
    );
    compare(
        Kind::Role,
        &roles(old),
        &roles(new),
        |()| "a role".to_owned(),
        |(), ()| String::new(),
        &mut found,
    );
    compare(
        Kind::Calendar,
        &calendars(old),
        &calendars(new),
        |hours| format!("open hours by the clock of {}", hours.zone()),
        |_, _| "its hours or holidays changed".to_owned(),
        &mut found,
    );
    found
}

/// Compares two maps by their keys.
fn compare<T: PartialEq>(
    kind: Kind,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    words: impl Fn(&T) -> String,
    change: impl Fn(&T, &T) -> String,
    found: &mut Vec<Difference>,
) {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (change, words) = match (old.get(name), new.get(name)) {
            (None, Some(new)) => (Change::Added, words(new)),
            (Some(old), None) => (Change::Removed, words(old)),
            (Some(old), Some(new)) if old != new => (Change::Changed, change(old, new)),
            (Some(_), Some(_)) | (None, None) => continue,
        };
        found.push(Difference {
            kind,
            name: name.clone(),
            change,
            words,
        });
    }
}

/// A rule with what it matches, apart from what it says of itself.
#[derive(PartialEq)]
struct RuleText<'b> {
    rule: &'b Rule,
    effect: Effect,
    matches: Value,
}

impl RuleText<'_> {
    fn words(&self) -> String {
        let does = match (self.effect, &self.rule.ask) {
            (Effect::Permit, _) => "allows".to_owned(),
            (Effect::Forbid, Some(ask)) => format!("asks {}", ask.words()),
            (Effect::Forbid, None) => "forbids".to_owned(),
        };
        format!("{does}: {}", self.rule.because)
    }

    fn change(&self, new: &Self) -> String {
        let mut parts = Vec::new();
        if self.effect != new.effect || self.rule.ask != new.rule.ask {
            parts.push(match (self.words(), new.words()) {
                (old, new) if old == new => "asks with other times or ways than before".to_owned(),
                (old, new) => format!("was `{old}`, now `{new}`"),
            });
        }
        if self.matches != new.matches {
            parts.push("matches other calls than before".to_owned());
        }
        if self.rule.because != new.rule.because || self.rule.need != new.rule.need {
            parts.push("explains itself otherwise".to_owned());
        }
        match parts.is_empty() {
            true => "its annotations changed".to_owned(),
            false => parts.join("; "),
        }
    }
}

fn rules(bundle: &Bundle) -> BTreeMap<String, RuleText<'_>> {
    let text = |written: &Written| {
        let rule = bundle.rules.said.get(written.id())?;
        let mut matches = written.policy.to_json().unwrap_or_default();
        if let Some(object) = matches.as_object_mut() {
            object.remove("annotations");
        }
        let text = RuleText {
            rule,
            effect: written.policy.effect(),
            matches,
        };
        Some((written.id().to_owned(), text))
    };
    bundle.rules.written.iter().filter_map(text).collect()
}

impl PartialEq for Tool {
    /// By definition.
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

fn tools(bundle: &Bundle) -> BTreeMap<String, &Tool> {
    let tools = bundle.catalog.tools();
    tools.map(|tool| (tool.name.to_string(), tool)).collect()
}

fn tool_words(tool: &Tool) -> String {
    format!("{}: {}", tool.operation, tool.description)
}

/// A changed definition is another tool to whoever approved it.
fn tool_change(old: &Tool, new: &Tool) -> String {
    let mut parts = Vec::new();
    if old.operation != new.operation {
        parts.push(format!("was {}, now {}", old.operation, new.operation));
    }
    for (same, what) in [
        (old.worker == new.worker, "its worker"),
        (old.names == new.names, "the names of its fields"),
        (old.updatable == new.updatable, "what it may update"),
        (old.output == new.output, "what the agent gets back"),
        (
            old.guardrails.len() == new.guardrails.len(),
            "the number of its guardrails",
        ),
        (old.timeout == new.timeout, "its timeout"),
        (
            old.idempotent == new.idempotent,
            "whether it may be repeated",
        ),
        (old.groups == new.groups, "its groups"),
        (old.helper == new.helper, "who helps"),
    ] {
        if !same {
            parts.push(format!("{what} changed"));
        }
    }
    if parts.is_empty() {
        parts.push("its definition changed".to_owned());
    }
    format!("{}; what waits for people is asked anew", parts.join("; "))
}

fn agents(bundle: &Bundle) -> BTreeMap<String, &AgentEntry> {
    let agents = bundle.directory.agents();
    agents.map(|(id, entry)| (id.to_string(), entry)).collect()
}

fn agent_words(agent: &AgentEntry) -> String {
    format!("roles: {}; team {}", list(&agent.roles), agent.team)
}

fn agent_change(old: &AgentEntry, new: &AgentEntry) -> String {
    let mut parts = Vec::new();
    if old.roles != new.roles {
        parts.push(sets("roles", &old.roles, &new.roles));
    }
    if old.owners != new.owners {
        parts.push(sets("owners", &old.owners, &new.owners));
    }
    if old.users != new.users {
        parts.push(sets("users", &old.users, &new.users));
    }
    if old.team != new.team {
        parts.push(format!("helped by {} instead of {}", new.team, old.team));
    }
    match parts.is_empty() {
        true => "its entry changed".to_owned(),
        false => parts.join("; "),
    }
}

/// The names of people, and in whose place each may vote.
type Person<'b> = (&'b str, Vec<&'b Delegation>);

fn people(bundle: &Bundle) -> BTreeMap<String, Person<'_>> {
    let directory = &bundle.directory;
    let entry = |id: &countersign_schemas::PersonId| {
        let name = directory.person(id).unwrap_or_default();
        let votes_for = directory.delegations_to(id).collect();
        (id.to_string(), (name, votes_for))
    };
    directory.people().map(entry).collect()
}

fn person_change(old: &Person<'_>, new: &Person<'_>) -> String {
    let mut parts = Vec::new();
    if old.0 != new.0 {
        parts.push("has another name".to_owned());
    }
    if old.1 != new.1 {
        let one = |delegation: &&Delegation| {
            let Delegation {
                person,
                from,
                until,
                ..
            } = delegation;
            format!("for {person} from {from} until {until}")
        };
        let all: Vec<String> = new.1.iter().map(one).collect();
        parts.push(match all.is_empty() {
            true => "no longer votes for others".to_owned(),
            false => format!("votes {}", all.join(" and ")),
        });
    }
    parts.join("; ")
}

fn calendars(bundle: &Bundle) -> BTreeMap<String, &Hours> {
    let calendars = bundle.directory.calendars();
    calendars
        .map(|(name, hours)| (name.to_string(), hours))
        .collect()
}

fn teams(bundle: &Bundle) -> BTreeMap<String, &BTreeSet<countersign_schemas::PersonId>> {
    let teams = bundle.directory.teams();
    teams
        .map(|(id, members)| (id.to_string(), members))
        .collect()
}

fn roles(bundle: &Bundle) -> BTreeMap<String, ()> {
    let roles = bundle.directory.roles();
    roles.map(|role| (role.to_string(), ())).collect()
}

fn list<T: Display>(all: &BTreeSet<T>) -> String {
    match all.is_empty() {
        true => "none".to_owned(),
        false => all
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn sets<T: Display + Ord + Clone>(what: &str, old: &BTreeSet<T>, new: &BTreeSet<T>) -> String {
    let come: BTreeSet<T> = new.difference(old).cloned().collect();
    let gone: BTreeSet<T> = old.difference(new).cloned().collect();
    match (come.is_empty(), gone.is_empty()) {
        (false, true) => format!("{what} added: {}", list(&come)),
        (true, false) => format!("{what} removed: {}", list(&gone)),
        _ => format!("{what} added: {}; removed: {}", list(&come), list(&gone)),
    }
}
