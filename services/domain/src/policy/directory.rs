//! Who is who: agents, their owners and roles, people and teams, as `entities.json` says.

use std::collections::{BTreeMap, BTreeSet};

use countersign_schemas::{AgentId, PersonId, TeamId, Token};

use super::tier::Tier;
use crate::approvals::Delegation;
use crate::hours::Hours;

/// An agent as the company knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentEntry {
    /// The people who answer for it.
    pub owners: BTreeSet<PersonId>,
    /// The people who may be behind its requests.
    pub users: BTreeSet<PersonId>,
    /// The team that helps when it is stopped.
    pub team: TeamId,
    /// What it is there for.
    pub roles: BTreeSet<Token>,
}

/// Agents, people, teams and roles.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    pub(super) agents: BTreeMap<AgentId, AgentEntry>,
    pub(super) people: BTreeMap<PersonId, String>,
    pub(super) teams: BTreeMap<TeamId, BTreeSet<PersonId>>,
    pub(super) roles: BTreeMap<Token, RoleEntry>,
    pub(super) calendars: BTreeMap<Token, Hours>,
    /// By who votes in somebody's place.
    pub(super) delegations: BTreeMap<PersonId, Vec<DelegationEntry>>,
    pub(super) nobody: BTreeSet<PersonId>,
}

/// A role as `entities.json` defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleEntry {
    /// What it grants by itself; policies say what other roles are for.
    pub(crate) tier: Option<Tier>,
    /// Its line in the file.
    pub(crate) line: Option<usize>,
}

/// A delegation as `entities.json` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DelegationEntry {
    pub(crate) delegation: Delegation,
    /// Its line in the file.
    pub(crate) line: Option<usize>,
}

impl Directory {
    /// The members of a team; none for a team that does not exist.
    #[must_use]
    pub fn members(&self, team: &TeamId) -> &BTreeSet<PersonId> {
        self.teams.get(team).unwrap_or(&self.nobody)
    }

    /// The members of a team, if it exists.
    #[must_use]
    pub fn team(&self, team: &TeamId) -> Option<&BTreeSet<PersonId>> {
        self.teams.get(team)
    }

    /// The agent of this id.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Option<&AgentEntry> {
        self.agents.get(id)
    }

    /// Every agent.
    pub fn agents(&self) -> impl Iterator<Item = (&AgentId, &AgentEntry)> {
        self.agents.iter()
    }

    /// The display name of a person; `None` for one that does not exist.
    #[must_use]
    pub fn person(&self, id: &PersonId) -> Option<&str> {
        self.people.get(id).map(String::as_str)
    }

    /// Every person.
    pub fn people(&self) -> impl Iterator<Item = &PersonId> {
        self.people.keys()
    }

    /// The open hours of this name.
    pub(crate) fn calendar(&self, name: &Token) -> Option<&Hours> {
        self.calendars.get(name)
    }

    /// Every calendar.
    pub(crate) fn calendars(&self) -> impl Iterator<Item = (&Token, &Hours)> {
        self.calendars.iter()
    }

    /// In whose place a person may ever vote.
    pub fn delegations_to(&self, delegate: &PersonId) -> impl Iterator<Item = &Delegation> {
        let entries = self.delegations.get(delegate).into_iter().flatten();
        entries.map(|entry| &entry.delegation)
    }

    /// Who may ever vote in the place of a person.
    pub fn delegations_of(&self, person: &PersonId) -> impl Iterator<Item = &Delegation> {
        let all = self.delegations.values().flatten();
        let all = all.map(|entry| &entry.delegation);
        all.filter(move |delegation| delegation.person == *person)
    }

    /// Every delegation with its place.
    pub(crate) fn delegation_entries(&self) -> impl Iterator<Item = &DelegationEntry> {
        self.delegations.values().flatten()
    }

    /// Every team with its members.
    pub fn teams(&self) -> impl Iterator<Item = (&TeamId, &BTreeSet<PersonId>)> {
        self.teams.iter()
    }

    /// Every role.
    pub fn roles(&self) -> impl Iterator<Item = &Token> {
        self.roles.keys()
    }

    /// Every role with its tier.
    pub(crate) fn role_entries(&self) -> impl Iterator<Item = (&Token, &RoleEntry)> {
        self.roles.iter()
    }

    /// The tier of a role, if it has one.
    pub(crate) fn tier(&self, role: &Token) -> Option<&Tier> {
        self.roles.get(role)?.tier.as_ref()
    }
}
