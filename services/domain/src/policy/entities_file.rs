//! `entities.json`: its sections and rows, and the checks that make it a [`Directory`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use countersign_schemas::json::check_strict;
use countersign_schemas::{AgentId, PersonId, TeamId, Token, ToolName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::absence::{self, CalendarRow, DelegateRow};
use super::directory::{AgentEntry, DelegationEntry, Directory, RoleEntry};
use super::problem::{Place, Problems};
use super::spots::{Spots, below};
use super::tier::{Tier, TierWord};
use crate::hours::Hours;

/// The file's name in a bundle.
pub(crate) const FILE: &str = "entities.json";

const SECTIONS: [&str; 5] = ["teams", "people", "roles", "agents", CALENDARS];
/// The one section that may be left out.
const CALENDARS: &str = "calendars";

/// A row of a section: its keys, so that every unknown one is named at once.
trait Row: DeserializeOwned {
    const KEYS: &'static [&'static str];
}

#[derive(Deserialize)]
struct TeamRow {
    #[serde(default, rename = "description")]
    _description: String,
}

impl Row for TeamRow {
    const KEYS: &'static [&'static str] = &["description"];
}

#[derive(Deserialize)]
struct RoleRow {
    #[serde(default, rename = "description")]
    _description: String,
    tier: Option<TierWord>,
    #[serde(default)]
    groups: BTreeSet<Token>,
    #[serde(default)]
    fields: BTreeMap<ToolName, BTreeSet<String>>,
}

impl Row for RoleRow {
    const KEYS: &'static [&'static str] = &["description", "tier", "groups", "fields"];
}

#[derive(Deserialize)]
struct PersonRow {
    #[serde(default)]
    name: String,
    #[serde(default)]
    teams: BTreeSet<TeamId>,
    #[serde(default)]
    delegates: Vec<DelegateRow>,
}

impl Row for PersonRow {
    const KEYS: &'static [&'static str] = &["name", "teams", "delegates"];
}

impl Row for CalendarRow {
    const KEYS: &'static [&'static str] = &["zone", "open", "holidays"];
}

#[derive(Deserialize)]
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

impl Row for AgentRow {
    const KEYS: &'static [&'static str] = &["description", "owners", "users", "roles", "team"];
}

impl Directory {
    /// Reads `entities.json`; faults are noted and what is sound is kept, so that the rest of
    /// the bundle can be checked in the same run.
    pub(crate) fn read(bytes: &[u8], problems: &mut Problems) -> Self {
        let text = String::from_utf8_lossy(bytes);
        if let Err(error) = check_strict(bytes) {
            let place = Place::at(FILE, &text, error.at);
            let mend = "write JSON: each key once, no comments, no comma before a closing bracket";
            problems.add(&place, error.fault.to_string(), mend);
            return Self::default();
        }
        let mut file = File {
            text: &text,
            spots: Spots::of(&text),
            problems,
        };
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(sections)) => file.directory(&sections),
            Ok(_) | Err(_) => {
                file.fault(
                    "/",
                    "is no object",
                    "write {\"teams\": {}, \"people\": {}, \"roles\": {}, \"agents\": {}}",
                );
                Self::default()
            }
        }
    }
}

struct File<'f> {
    text: &'f str,
    spots: Spots,
    problems: &'f mut Problems,
}

impl File<'_> {
    fn fault(&mut self, pointer: &str, what: impl Into<String>, mend: &str) {
        let line = self.spots.line(pointer).or(Some(1));
        self.problems.add(&Place { file: FILE, line }, what, mend);
    }

    fn directory(&mut self, sections: &Map<String, Value>) -> Directory {
        for name in sections.keys() {
            if !SECTIONS.contains(&name.as_str()) {
                let what = format!("unknown field `{name}`");
                self.fault(
                    &below("", name),
                    what,
                    "keep teams, people, roles, agents and calendars",
                );
            }
        }
        let teams: BTreeMap<TeamId, TeamRow> = self.rows(sections, "teams");
        let people: BTreeMap<PersonId, PersonRow> = self.rows(sections, "people");
        let roles: BTreeMap<Token, RoleRow> = self.rows(sections, "roles");
        let agents: BTreeMap<AgentId, AgentRow> = self.rows(sections, "agents");
        self.names_of_people(&people);
        self.names_of_agents(&agents);
        let mut members: BTreeMap<TeamId, BTreeSet<PersonId>> = teams
            .into_keys()
            .map(|team| (team, BTreeSet::new()))
            .collect();
        for (id, person) in &people {
            for team in &person.teams {
                if let Some(members) = members.get_mut(team) {
                    members.insert(id.clone());
                }
            }
        }
        let delegations = self.delegations(&people);
        Directory {
            agents: agents.into_iter().map(entry).collect(),
            people: people.into_iter().map(|(id, row)| (id, row.name)).collect(),
            teams: members,
            roles: self.roles(roles),
            calendars: self.calendars(sections),
            delegations,
            nobody: BTreeSet::new(),
        }
    }

    /// The sound rows of one section.
    fn rows<K, R>(&mut self, sections: &Map<String, Value>, section: &str) -> BTreeMap<K, R>
    where
        K: FromStr<Err: Display> + Ord,
        R: Row,
    {
        let at = below("", section);
        let Some(rows) = sections.get(section) else {
            self.fault("/", format!("has no `{section}`"), "add it, if only as {}");
            return BTreeMap::new();
        };
        let Some(rows) = rows.as_object() else {
            self.fault(
                &at,
                format!("`{section}` is no object"),
                "write names with their rows",
            );
            return BTreeMap::new();
        };
        let mut sound = BTreeMap::new();
        for (name, row) in rows {
            let pointer = below(&at, name);
            let id = name.parse::<K>().map_err(|error| {
                self.fault(&pointer, error.to_string(), "rename it");
            });
            if let (Ok(id), Some(row)) = (id, self.row(&pointer, row)) {
                sound.insert(id, row);
            }
        }
        sound
    }

    fn row<R: Row>(&mut self, pointer: &str, row: &Value) -> Option<R> {
        let mend = format!("use the keys {}", R::KEYS.join(", "));
        for key in row.as_object().into_iter().flat_map(Map::keys) {
            if !R::KEYS.contains(&key.as_str()) {
                self.fault(
                    &below(pointer, key),
                    format!("unknown field `{key}`"),
                    &mend,
                );
            }
        }
        let (text, first) = self.spots.value(self.text, pointer)?;
        match serde_json::from_str(text) {
            Ok(row) => Some(row),
            Err(error) => {
                // The place is added by us, in lines of the file.
                let what = error.to_string();
                let what = what
                    .rsplit_once(" at line ")
                    .map_or(what.as_str(), |(what, _)| what);
                let line = Some(first.saturating_add(error.line()).saturating_sub(1));
                let name = pointer.rsplit('/').next().unwrap_or_default();
                self.problems.add(
                    &Place { file: FILE, line },
                    format!("`{name}`: {what}"),
                    mend,
                );
                None
            }
        }
    }

    /// Whether a section has a row of this name, sound or not.
    fn has(&self, section: &str, name: impl Display) -> bool {
        self.spots.has(&format!("/{section}/{name}"))
    }

    fn calendars(&mut self, sections: &Map<String, Value>) -> BTreeMap<Token, Hours> {
        if !sections.contains_key(CALENDARS) {
            return BTreeMap::new();
        }
        let rows: BTreeMap<Token, CalendarRow> = self.rows(sections, CALENDARS);
        let mut calendars = BTreeMap::new();
        for (name, row) in rows {
            match Hours::read(&row.zone, &row.open, &row.holidays) {
                Ok(hours) => drop(calendars.insert(name, hours)),
                Err(faults) => {
                    for (what, mend) in faults {
                        let what = format!("calendar `{name}`: {what}");
                        self.fault(&format!("/{CALENDARS}/{name}"), what, mend);
                    }
                }
            }
        }
        calendars
    }

    fn delegations(
        &mut self,
        people: &BTreeMap<PersonId, PersonRow>,
    ) -> BTreeMap<PersonId, Vec<DelegationEntry>> {
        let mut all: BTreeMap<PersonId, Vec<DelegationEntry>> = BTreeMap::new();
        for (id, person) in people {
            let at = |number: usize| format!("/people/{id}/delegates/{number}");
            let known = |id: &PersonId| self.has("people", id);
            let (sound, faults) = absence::delegations(id, &person.teams, &person.delegates, known);
            for (number, (what, mend)) in faults {
                self.fault(&at(number), what, mend);
            }
            for (number, delegation) in sound {
                let line = self.spots.line(&at(number));
                let of_delegate = all.entry(delegation.delegate.clone()).or_default();
                of_delegate.push(DelegationEntry { delegation, line });
            }
        }
        all
    }

    fn names_of_people(&mut self, people: &BTreeMap<PersonId, PersonRow>) {
        for (id, person) in people {
            for team in person.teams.iter() {
                if self.has("teams", team) {
                    continue;
                }
                let what = format!("person `{id}` is in team `{team}`, which is not in `teams`");
                self.fault(&format!("/people/{id}/teams"), what, MEND_NAME);
            }
        }
    }

    fn names_of_agents(&mut self, agents: &BTreeMap<AgentId, AgentRow>) {
        for (id, row) in agents {
            for (key, named) in [("owners", &row.owners), ("users", &row.users)] {
                for person in named {
                    self.known(id, key, "people", person, "names person");
                }
            }
            for role in &row.roles {
                self.known(id, "roles", "roles", role, "has role");
            }
            self.known(id, "team", "teams", &row.team, "is helped by team");
        }
    }

    /// Notes a name of an agent's row that its section does not have.
    fn known(&mut self, id: &AgentId, key: &str, section: &str, name: impl Display, says: &str) {
        if !self.has(section, &name) {
            let what = format!("agent `{id}` {says} `{name}`, which is not in `{section}`");
            self.fault(&format!("/agents/{id}/{key}"), what, MEND_NAME);
        }
    }

    fn roles(&mut self, rows: BTreeMap<Token, RoleRow>) -> BTreeMap<Token, RoleEntry> {
        let mut roles = BTreeMap::new();
        for (role, row) in rows {
            let pointer = format!("/roles/{role}");
            let settled = row.groups.is_empty() && row.fields.is_empty();
            let tier = match row.tier {
                Some(word) => Tier::new(word, row.groups, row.fields).map(Some),
                None if settled => Ok(None),
                None => Err((
                    "`groups` and `fields` stand without `tier`",
                    "add the tier: read-only, create-only or update-only",
                )),
            };
            let tier = tier.unwrap_or_else(|(what, mend)| {
                self.fault(&pointer, format!("role `{role}`: {what}"), mend);
                None
            });
            let line = self.spots.line(&pointer);
            roles.insert(role, RoleEntry { tier, line });
        }
        roles
    }
}

const MEND_NAME: &str = "add it or mend the name";

fn entry((id, row): (AgentId, AgentRow)) -> (AgentId, AgentEntry) {
    let entry = AgentEntry {
        owners: row.owners,
        users: row.users,
        team: row.team,
        roles: row.roles,
    };
    (id, entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_value(value: &serde_json::Value) -> (Directory, Vec<String>) {
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
        let (directory, faults) = read_value(&json!({
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
        let (_, faults) = read_value(&json!({
            "teams": {}, "people": {"lee": {"teams": ["x"]}}, "roles": {},
            "agents": {"bot": {"owners": ["kim"], "roles": ["r"], "team": "t"}}
        }));
        assert_eq!(faults.len(), 4, "{faults:?}");
    }

    #[test]
    fn delegates_and_calendars_are_read_and_each_fault_has_its_line() {
        let text = r#"{
  "teams": {"heads": {}}, "roles": {}, "agents": {},
  "people": {
    "kim": {},
    "lee": {"teams": ["heads"], "delegates": [
      {"to": "kim", "from": "2026-12-20", "until": "2026-12-31"},
      {"to": "eve", "from": "2026-12-20", "until": "2026-12-31"}
    ]}
  },
  "calendars": {
    "office": {"zone": "Europe/Berlin", "open": ["mon-fri 09:00-17:00"]},
    "wrong": {"zone": "Berlin", "open": ["always"], "holidays": ["soon"]}
  }
}"#;
        let mut problems = Problems::default();
        let directory = Directory::read(text.as_bytes(), &mut problems);
        let kim: PersonId = "kim".parse().unwrap();
        let lent: Vec<_> = directory.delegations_to(&kim).collect();
        assert_eq!(lent.len(), 1);
        assert_eq!(lent[0].person.as_str(), "lee");
        assert!(directory.calendar(&"office".parse().unwrap()).is_some());
        let faults = problems.finish().unwrap_err();
        let lines: Vec<_> = faults.problems().iter().map(|one| one.line).collect();
        assert_eq!(lines, [Some(7), Some(12), Some(12), Some(12)], "{faults}");
    }

    #[test]
    fn unknown_and_double_keys_are_faults() {
        let (_, faults) =
            read_value(&json!({"teams": {}, "people": {}, "roles": {}, "agents": {}, "x": 1}));
        assert!(faults.concat().contains("unknown field"), "{faults:?}");
        let mut problems = Problems::default();
        Directory::read(
            br#"{"teams":{},"teams":{},"people":{},"roles":{},"agents":{}}"#,
            &mut problems,
        );
        assert_eq!(problems.count(), 1);
    }
}
