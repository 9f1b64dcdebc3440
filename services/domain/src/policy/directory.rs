//! Who is who: `entities.json`, with agents, their owners and roles, people and teams.

use std::collections::{BTreeMap, BTreeSet};

use countersign_schemas::{AgentId, PersonId, TeamId, Token};
use serde::Deserialize;

use super::problem::{Place, Problems};

/// The file's name in a bundle.
pub(crate) const FILE: &str = "entities.json";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntitiesFile {
    teams: BTreeMap<TeamId, TeamEntry>,
    people: BTreeMap<PersonId, PersonEntry>,
    roles: BTreeMap<Token, RoleEntry>,
    agents: BTreeMap<AgentId, AgentRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TeamEntry {
    #[serde(default, rename = "description")]
    _description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleEntry {
    #[serde(default, rename = "description")]
    _description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonEntry {
    #[serde(default)]
    name: String,
    #[serde(default)]
    teams: BTreeSet<TeamId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentRow {
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default)]
    owners: BTreeSet<PersonId>,
    #[serde(default)]
    users: BTreeSet<PersonId>,
    #[serde(default)]
    roles: BTreeSet<Token>,
    team: TeamId,
}

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
    agents: BTreeMap<AgentId, AgentEntry>,
    people: BTreeMap<PersonId, String>,
    teams: BTreeMap<TeamId, BTreeSet<PersonId>>,
    roles: BTreeSet<Token>,
    nobody: BTreeSet<PersonId>,
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

    /// Every team with its members.
    pub fn teams(&self) -> impl Iterator<Item = (&TeamId, &BTreeSet<PersonId>)> {
        self.teams.iter()
    }

    /// Every role.
    pub fn roles(&self) -> impl Iterator<Item = &Token> {
        self.roles.iter()
    }

    /// Reads `entities.json`; faults are noted and what is sound is kept, so that the rest
    /// of the bundle can be checked in the same run.
    pub(crate) fn read(bytes: &[u8], problems: &mut Problems) -> Self {
        let strict = countersign_schemas::json::check_strict(bytes)
            .map_err(|error| (error.to_string(), None));
        let parsed = strict.and_then(|()| {
            serde_json::from_slice::<EntitiesFile>(bytes)
                .map_err(|error| (error.to_string(), Some(error.line())))
        });
        match parsed {
            Ok(file) => Self::check(file, problems),
            Err((what, line)) => {
                let place = Place { file: FILE, line };
                problems.add(
                    &place,
                    what,
                    "give it the objects teams, people, roles and agents",
                );
                Self::default()
            }
        }
    }

    fn check(file: EntitiesFile, problems: &mut Problems) -> Self {
        let mut teams: BTreeMap<TeamId, BTreeSet<PersonId>> = file
            .teams
            .into_keys()
            .map(|team| (team, BTreeSet::new()))
            .collect();
        let mut fault =
            |what: String| problems.add(&Place::file(FILE), what, "add it or mend the name");
        let mut people = BTreeMap::new();
        for (id, person) in file.people {
            for team in person.teams {
                match teams.get_mut(&team) {
                    Some(members) => drop(members.insert(id.clone())),
                    None => fault(format!(
                        "person `{id}` is in team `{team}`, which is not in `teams`"
                    )),
                }
            }
            people.insert(id, person.name);
        }
        let roles: BTreeSet<Token> = file.roles.into_keys().collect();
        let mut agents = BTreeMap::new();
        for (id, row) in file.agents {
            for person in row
                .owners
                .union(&row.users)
                .filter(|id| !people.contains_key(*id))
            {
                fault(format!(
                    "agent `{id}` names person `{person}`, who is not in `people`"
                ));
            }
            for role in row.roles.difference(&roles) {
                fault(format!(
                    "agent `{id}` has role `{role}`, which is not in `roles`"
                ));
            }
            if !teams.contains_key(&row.team) {
                fault(format!(
                    "agent `{id}` is helped by team `{}`, which is not in `teams`",
                    row.team
                ));
            }
            agents.insert(
                id,
                AgentEntry {
                    owners: row.owners,
                    users: row.users,
                    team: row.team,
                    roles: row.roles,
                },
            );
        }
        Self {
            agents,
            people,
            teams,
            roles,
            nobody: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &serde_json::Value) -> (Directory, Vec<String>) {
        let mut problems = Problems::default();
        let directory = Directory::read(value.to_string().as_bytes(), &mut problems);
        let faults = problems.finish().err();
        let texts = faults
            .iter()
            .flat_map(|all| all.problems())
            .map(ToString::to_string);
        (directory, texts.collect())
    }

    #[test]
    fn members_come_from_people() {
        let (directory, faults) = read(&json!({
            "teams": {"leads": {"description": "Leads"}},
            "people": {"lee": {"name": "Lee", "teams": ["leads"]}, "kim": {}},
            "roles": {"reader": {}},
            "agents": {"bot": {"owners": ["kim"], "roles": ["reader"], "team": "leads"}}
        }));
        assert!(faults.is_empty(), "{faults:?}");
        let lee: PersonId = "lee".parse().unwrap();
        assert!(directory.members(&"leads".parse().unwrap()).contains(&lee));
        assert!(directory.members(&"none".parse().unwrap()).is_empty());
        assert_eq!(directory.person(&lee), Some("Lee"));
        assert!(
            directory
                .agent(&"bot".parse().unwrap())
                .unwrap()
                .users
                .is_empty()
        );
    }

    #[test]
    fn every_unknown_name_is_a_fault() {
        let (_, faults) = read(&json!({
            "teams": {}, "people": {"lee": {"teams": ["x"]}}, "roles": {},
            "agents": {"bot": {"owners": ["kim"], "roles": ["r"], "team": "t"}}
        }));
        assert_eq!(faults.len(), 4, "{faults:?}");
    }

    #[test]
    fn unknown_and_double_keys_are_faults() {
        let (_, faults) =
            read(&json!({"teams": {}, "people": {}, "roles": {}, "agents": {}, "x": 1}));
        assert!(faults.concat().contains("unknown field"), "{faults:?}");
        let mut problems = Problems::default();
        Directory::read(
            br#"{"teams":{},"teams":{},"people":{},"roles":{},"agents":{}}"#,
            &mut problems,
        );
        assert_eq!(problems.count(), 1);
    }
}
