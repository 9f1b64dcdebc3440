//! The Cedar schema and entities that a catalog and a directory make: policies are
//! validated strictly against them, so that a misspelt field or name does not load.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Entities, EntityUid, Schema};
use countersign_schemas::events::Operation;
use serde_json::{Map, Value, json};

use super::approved;
use super::catalog::Catalog;
use super::directory::Directory;
use super::input_schema::{CedarType, Member};
use super::tool::Tool;

/// The schema as Cedar's JSON.
pub(crate) fn schema_json(catalog: &Catalog) -> Value {
    let mut actions = Map::new();
    let mandate = mandate(catalog.facts());
    for operation in Operation::ALL {
        actions.insert(operation.as_str().to_owned(), json!({}));
    }
    for tool in catalog.tools() {
        actions.insert(tool.name.to_string(), action(tool, &mandate));
    }
    json!({ "": {
        "entityTypes": {
            "Agent": {"memberOfTypes": ["Role"]},
            "Role": {},
            "Tool": {"memberOfTypes": ["ToolGroup"]},
            "ToolGroup": {},
            "Person": {"memberOfTypes": ["Team"]},
            "Team": {}
        },
        "actions": actions
    }})
}

fn action(tool: &Tool, mandate: &Value) -> Value {
    json!({
        "memberOf": [{"id": tool.operation.as_str()}],
        "appliesTo": {
            "principalTypes": ["Agent"],
            "resourceTypes": ["Tool"],
            "context": {"type": "Record", "attributes": context(tool, mandate)}
        }
    })
}

fn context(tool: &Tool, mandate: &Value) -> Value {
    let mut attributes = Map::new();
    let mut add = |name: &str, mut kind: Value, required: bool| {
        if let Some(kind) = kind.as_object_mut() {
            kind.insert("required".to_owned(), Value::Bool(required));
        }
        attributes.insert(name.to_owned(), kind);
    };
    let texts = || json!({"type": "Set", "element": {"type": "String"}});
    add("operation", json!({"type": "String"}), true);
    let requester = [("id", "String"), ("verified", "Boolean")];
    add("requester", plain_record(&requester), true);
    add("mandate", mandate.clone(), false);
    add("approval", approved::schema(), false);
    add("labels", texts(), true);
    add("input", record(&tool.members), true);
    if !tool.updatable.is_empty() {
        add("fields", texts(), true);
    }
    if !tool.recipients.is_empty() {
        add("recipient_domains", texts(), true);
    }
    if let Some(amount) = &tool.amount {
        let kind = if amount.whole {
            CedarType::Long
        } else {
            CedarType::Decimal
        };
        add("amount", type_json(&kind), amount.required);
    }
    Value::Object(attributes)
}

/// A mandate brings the facts that it has, so each of them is optional.
fn mandate(facts: &BTreeMap<String, CedarType>) -> Value {
    let member = |(name, kind): (&String, &CedarType)| Member {
        name: name.clone(),
        kind: kind.clone(),
        required: false,
    };
    let facts: Vec<Member> = facts.iter().map(member).collect();
    json!({"type": "Record", "attributes": {
        "issuer": {"type": "String"},
        "id": {"type": "String"},
        "facts": record(&facts)
    }})
}

fn plain_record(members: &[(&str, &str)]) -> Value {
    let attributes: Map<String, Value> = members
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), json!({ "type": kind })))
        .collect();
    json!({"type": "Record", "attributes": attributes})
}

fn record(members: &[Member]) -> Value {
    let one = |member: &Member| {
        let mut kind = type_json(&member.kind);
        if let Some(kind) = kind.as_object_mut() {
            kind.insert("required".to_owned(), Value::Bool(member.required));
        }
        (member.name.clone(), kind)
    };
    let attributes: Map<String, Value> = members.iter().map(one).collect();
    json!({"type": "Record", "attributes": attributes})
}

fn type_json(kind: &CedarType) -> Value {
    match kind {
        CedarType::Text => json!({"type": "String"}),
        CedarType::Long => json!({"type": "Long"}),
        CedarType::Decimal => json!({"type": "Extension", "name": "decimal"}),
        CedarType::Bool => json!({"type": "Boolean"}),
        CedarType::TextSet => json!({"type": "Set", "element": {"type": "String"}}),
        CedarType::Record(members) => record(members),
    }
}

/// Everything that a policy may name, with its memberships.
pub(crate) fn entities(
    catalog: &Catalog,
    directory: &Directory,
    schema: &Schema,
) -> Result<Entities, String> {
    let mut rows = Vec::new();
    let mut groups: BTreeSet<&str> = Operation::ALL.iter().map(|one| one.as_str()).collect();
    for tool in catalog.tools() {
        let own = tool.groups.iter().map(String::as_str);
        let parents: Vec<&str> = own.chain([tool.operation.as_str()]).collect();
        rows.push(row("Tool", tool.name.as_str(), "ToolGroup", &parents));
        groups.extend(parents);
    }
    rows.extend(groups.iter().map(|group| row("ToolGroup", group, "", &[])));
    rows.extend(
        directory
            .roles()
            .map(|role| row("Role", role.as_str(), "", &[])),
    );
    for (id, agent) in directory.agents() {
        let roles: Vec<&str> = agent.roles.iter().map(|role| role.as_str()).collect();
        rows.push(row("Agent", id.as_str(), "Role", &roles));
    }
    rows.extend(
        directory
            .teams()
            .map(|(team, _)| row("Team", team.as_str(), "", &[])),
    );
    for person in directory.people() {
        let of = |(team, members): (&'_ countersign_schemas::TeamId, &BTreeSet<_>)| {
            members.contains(person).then(|| team.to_string())
        };
        let teams: Vec<String> = directory.teams().filter_map(of).collect();
        let teams: Vec<&str> = teams.iter().map(String::as_str).collect();
        rows.push(row("Person", person.as_str(), "Team", &teams));
    }
    Entities::from_json_value(Value::Array(rows), Some(schema)).map_err(|error| error.to_string())
}

fn row(kind: &str, id: &str, parent_kind: &str, parents: &[&str]) -> Value {
    let parents: Vec<Value> = parents
        .iter()
        .map(|parent| json!({"type": parent_kind, "id": parent}))
        .collect();
    json!({"uid": {"type": kind, "id": id}, "attrs": {}, "parents": parents})
}

/// An entity's identity. The types are our own and the ids are checked tokens.
pub(crate) fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    EntityUid::from_json(json!({"type": kind, "id": id})).map_err(|error| error.to_string())
}
