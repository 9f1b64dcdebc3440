//! Permission tiers: roles that are ready to use. A tier grants exactly what its name
//! says, as real Cedar policies that reasons name. There is no tier that grants all.

use std::collections::{BTreeMap, BTreeSet};

use countersign_schemas::events::Operation;
use countersign_schemas::{Token, ToolName};
use serde::Deserialize;

use super::catalog::Catalog;

/// Policies of a tier have ids that start so; no policy that is written out may.
pub(crate) const ID_PREFIX: &str = "tier.";

/// The tiers, as `entities.json` writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum TierWord {
    #[serde(rename = "read-only")]
    Read,
    #[serde(rename = "create-only")]
    Create,
    #[serde(rename = "update-only")]
    Update,
}

/// What a role grants by its tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tier {
    /// The reading tools of these groups.
    Read(BTreeSet<Token>),
    /// The creating tools of these groups: drafts and internal records.
    Create(BTreeSet<Token>),
    /// Of each of these tools the named fields.
    Update(BTreeMap<ToolName, BTreeSet<String>>),
}

/// A policy that a tier stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TierPolicy {
    /// Its id: `tier.<role>.<group or tool>`.
    pub(crate) id: String,
    /// Why it is there, for people.
    pub(crate) because: String,
    /// Cedar.
    pub(crate) text: String,
}

impl Tier {
    /// The tier of `word` with its settings.
    ///
    /// # Errors
    /// What does not belong to this tier, and how to mend it.
    pub(crate) fn new(
        word: TierWord,
        groups: BTreeSet<Token>,
        fields: BTreeMap<ToolName, BTreeSet<String>>,
    ) -> Result<Self, (&'static str, &'static str)> {
        let empty = fields.values().any(BTreeSet::is_empty);
        match (word, groups.is_empty(), fields.is_empty()) {
            (TierWord::Read, false, true) => Ok(Self::Read(groups)),
            (TierWord::Create, false, true) => Ok(Self::Create(groups)),
            (TierWord::Update, true, false) if !empty => Ok(Self::Update(fields)),
            (TierWord::Read | TierWord::Create, ..) => Err((
                "read-only and create-only take `groups` and nothing else",
                "list the tool groups in `groups`",
            )),
            (TierWord::Update, ..) => Err((
                "update-only takes `fields` and nothing else",
                "list for each tool the fields that may change, such as {\"crm.update\": [\"phone\"]}",
            )),
        }
    }

    /// The policies that give `role` this tier.
    pub(crate) fn policies(&self, role: &Token) -> Vec<TierPolicy> {
        match self {
            Self::Read(groups) => of_groups(role, Operation::Read, groups),
            Self::Create(groups) => of_groups(role, Operation::Create, groups),
            Self::Update(tools) => {
                let each = tools.iter();
                each.map(|(tool, fields)| of_fields(role, tool, fields))
                    .collect()
            }
        }
    }

    /// What is wrong with it in this catalog, each with how to mend it.
    pub(crate) fn faults(&self, catalog: &Catalog) -> Vec<(String, &'static str)> {
        match self {
            Self::Read(groups) => empty_groups(groups, Operation::Read, catalog),
            Self::Create(groups) => {
                let mut faults = empty_groups(groups, Operation::Create, catalog);
                faults.extend(outgoing(groups, catalog));
                faults
            }
            Self::Update(tools) => tools
                .iter()
                .flat_map(|(tool, fields)| wrong_fields(tool, fields, catalog))
                .collect(),
        }
    }
}

type Fault = (String, &'static str);

fn of_groups(role: &Token, operation: Operation, groups: &BTreeSet<Token>) -> Vec<TierPolicy> {
    let operation = operation.as_str();
    let one = |group: &Token| TierPolicy {
        id: format!("{ID_PREFIX}{role}.{group}"),
        because: format!("Role `{role}` may {operation} in `{group}`."),
        text: format!(
            "permit (principal in Role::\"{role}\", action in Action::\"{operation}\", \
             resource in ToolGroup::\"{group}\");"
        ),
    };
    groups.iter().map(one).collect()
}

/// An update that names no field changes nothing that anybody could have permitted.
fn of_fields(role: &Token, tool: &ToolName, fields: &BTreeSet<String>) -> TierPolicy {
    // Rust and Cedar escape text alike.
    let fields: Vec<String> = fields.iter().map(|field| format!("{field:?}")).collect();
    TierPolicy {
        id: format!("{ID_PREFIX}{role}.{tool}"),
        because: format!("Role `{role}` may change named fields with `{tool}`."),
        text: format!(
            "permit (principal in Role::\"{role}\", action == Action::\"{tool}\", \
             resource == Tool::\"{tool}\") when {{ !context.fields.isEmpty() && \
             [{}].containsAll(context.fields) }};",
            fields.join(", ")
        ),
    }
}

fn empty_groups(groups: &BTreeSet<Token>, operation: Operation, catalog: &Catalog) -> Vec<Fault> {
    let has = |group: &&Token| {
        let mut mine = catalog.tools().filter(|tool| tool.operation == operation);
        mine.any(|tool| tool.in_group(group.as_str()))
    };
    let fault = |group: &Token| {
        let what =
            format!("names group `{group}`, in which no tool has the operation `{operation}`");
        let mend = "give such tools this group with `groups` in the catalog, or mend the name";
        (what, mend)
    };
    let empty = groups.iter().filter(|group| !has(group));
    empty.map(fault).collect()
}

/// Creating is for drafts and internal records; what reaches people outside is sending.
fn outgoing(groups: &BTreeSet<Token>, catalog: &Catalog) -> Vec<Fault> {
    let creates = catalog.tools().filter(|tool| {
        tool.operation == Operation::Create
            && !tool.recipients.is_empty()
            && groups.iter().any(|group| tool.in_group(group.as_str()))
    });
    let fault = |tool: &super::tool::Tool| {
        let what = format!(
            "would let it write to people with `{}`, which has recipients",
            tool.name
        );
        let mend =
            "set the tool's operation to `send`: create-only is for drafts and internal records";
        (what, mend)
    };
    creates.map(fault).collect()
}

fn wrong_fields(tool: &ToolName, fields: &BTreeSet<String>, catalog: &Catalog) -> Vec<Fault> {
    let Some(found) = catalog.tool(tool) else {
        let what = format!("names tool `{tool}`, which is not in the catalog");
        return vec![(what, "add the tool or mend the name")];
    };
    if found.operation != Operation::Update {
        let what = format!("names tool `{tool}`, which does not update");
        return vec![(what, "name a tool with the operation `update`")];
    }
    let known: BTreeSet<&str> = found
        .updatable
        .iter()
        .map(super::pointer::Pointer::name)
        .collect();
    let unknown = fields
        .iter()
        .filter(|field| !known.contains(field.as_str()));
    unknown
        .map(|field| {
            let what = format!("names field `{field}`, which `{tool}` cannot change");
            (what, "name fields of the tool's `updatable`")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<T: std::str::FromStr + Ord>(words: &[&str]) -> BTreeSet<T>
    where
        T::Err: std::fmt::Debug,
    {
        words.iter().map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn a_tier_takes_its_own_settings_only() {
        let fields = |names: &[&str]| BTreeMap::from([("a.b".parse().unwrap(), set(names))]);
        let table = [
            (TierWord::Read, set(&["g"]), BTreeMap::new(), true),
            (TierWord::Create, set(&["g"]), BTreeMap::new(), true),
            (TierWord::Update, set(&[]), fields(&["x"]), true),
            (TierWord::Read, set(&[]), BTreeMap::new(), false),
            (TierWord::Read, set(&["g"]), fields(&["x"]), false),
            (TierWord::Create, set(&["g"]), fields(&["x"]), false),
            (TierWord::Update, set(&["g"]), fields(&["x"]), false),
            (TierWord::Update, set(&[]), BTreeMap::new(), false),
            (TierWord::Update, set(&[]), fields(&[]), false),
        ];
        for (word, groups, fields, fits) in table {
            let case = format!("{word:?} {groups:?} {fields:?}");
            assert_eq!(Tier::new(word, groups, fields).is_ok(), fits, "{case}");
        }
    }

    #[test]
    fn a_field_with_any_name_stays_text() {
        let role = "r".parse().unwrap();
        let odd = "a\"] || true || [\"b\u{202e}\n";
        let tier = Tier::Update(BTreeMap::from([("t".parse().unwrap(), set(&[odd]))]));
        let [policy] = tier.policies(&role).try_into().unwrap();
        let policy = cedar_policy::Policy::parse(None, &policy.text).unwrap();
        let json = policy.to_json().unwrap().to_string();
        let expected =
            serde_json::to_string(&serde_json::json!({"Set": [{"Value": odd}]})).unwrap();
        assert!(json.contains(&expected), "{json}");
    }
}
