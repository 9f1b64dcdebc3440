//! The policies of a bundle: written out or made from tiers, validated, and indexed by
//! their scope.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    Effect, Entities, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator,
};
use countersign_schemas::{AgentId, ToolName};
use miette::Diagnostic;

use super::annotations::Rule;
use super::ask;
use super::catalog::Catalog;
use super::cedar_schema;
use super::directory::Directory;
use super::entities_file;
use super::index::{Index, Keys};
use super::label_rules;
use super::labels::BUNDLE_LABELS_MAX;
use super::problem::{Lines, Place, Problems};
use super::tier::{self, TierPolicy};
use super::tool::Tool;

/// A tool as the rules see it.
#[derive(Debug)]
pub(crate) struct ToolKeys {
    /// `Action::"<tool>"`.
    pub(crate) action: EntityUid,
    /// `Tool::"<tool>"`.
    pub(crate) resource: EntityUid,
    pub(crate) action_keys: Keys,
    pub(crate) resource_keys: Keys,
}

/// An agent as the rules see it.
#[derive(Debug)]
pub(crate) struct AgentKeys {
    /// `Agent::"<id>"`.
    pub(crate) principal: EntityUid,
    pub(crate) keys: Keys,
}

/// One policy and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) policy: Policy,
    pub(crate) file: String,
    pub(crate) line: Option<usize>,
    /// Whether a role's tier stands for it.
    pub(crate) of_tier: bool,
}

impl Written {
    /// Its `@id`.
    pub(crate) fn id(&self) -> &str {
        self.policy.id().as_ref()
    }

    /// Where it stands.
    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            file: &self.file,
            line: self.line,
        }
    }
}

/// Every rule of a bundle.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// What each says of itself, by `@id`.
    pub(crate) said: BTreeMap<String, Rule>,
    /// All of them, as they stand in the files.
    pub(crate) written: Vec<Written>,
    pub(crate) index: Index,
    pub(crate) tools: BTreeMap<ToolName, ToolKeys>,
    pub(crate) agents: BTreeMap<AgentId, AgentKeys>,
}

/// Reads the policy files of a bundle, one after the other.
#[derive(Debug, Default)]
pub(crate) struct RulesReader {
    written: Vec<Written>,
    said: BTreeMap<String, Rule>,
    /// Texts of the files, to find lines in.
    texts: BTreeMap<String, String>,
}

impl RulesReader {
    /// Adds the policies of one file.
    pub(crate) fn read(&mut self, file: &str, text: &str, problems: &mut Problems) {
        self.texts.insert(file.to_owned(), text.to_owned());
        let parsed: PolicySet = match text.parse() {
            Ok(parsed) => parsed,
            Err(errors) => {
                let errors: cedar_policy::ParseErrors = errors;
                for error in errors.iter() {
                    let place =
                        label(error).map_or(Place::file(file), |at| Place::at(file, text, at));
                    problems.add(&place, error.to_string(), "write Cedar policies");
                }
                return;
            }
        };
        for template in parsed.templates() {
            problems.add(
                &Place::at(
                    file,
                    text,
                    text.find(&template.to_string()).unwrap_or_default(),
                ),
                "is a policy template",
                "write each policy out: nothing links templates",
            );
        }
        let mut policies: Vec<&Policy> = parsed.policies().collect();
        policies.sort_by_key(|policy| order(policy));
        // Each text is looked for behind the one before, so that equal ones have places of
        // their own.
        let lines = Lines::of(text);
        let mut from = 0;
        for policy in policies {
            let own = policy.to_string();
            let found = text.get(from..).and_then(|rest| rest.find(&own));
            let at = found.map_or(from, |found| from.saturating_add(found));
            if found.is_some() {
                from = at.saturating_add(own.len());
            }
            let line = Some(lines.at(at));
            self.add(Place { file, line }, policy, problems);
        }
    }

    fn add(&mut self, place: Place<'_>, policy: &Policy, problems: &mut Problems) {
        let annotated = policy.annotation("id").unwrap_or_default();
        let rule = match Rule::read(policy) {
            Ok(rule) => rule,
            Err(faults) => {
                for (what, mend) in faults {
                    problems.add(&place, format!("policy `{annotated}`: {what}"), mend);
                }
                return;
            }
        };
        if rule.id.starts_with(tier::ID_PREFIX) {
            let what = format!("policy `{annotated}` has an `@id` like those of tiers");
            return problems.add(&place, what, "begin it with another word than `tier.`");
        }
        if self.said.contains_key(&rule.id) {
            return problems.add(
                &place,
                format!("policy `{}` is there twice", rule.id),
                "give one another `@id`",
            );
        }
        self.written.push(Written {
            policy: policy.new_id(PolicyId::new(&rule.id)),
            file: place.file.to_owned(),
            line: place.line,
            of_tier: false,
        });
        self.said.insert(rule.id.clone(), rule);
    }

    /// Adds the policies that the tiers of roles stand for.
    fn add_tiers(&mut self, catalog: &Catalog, directory: &Directory, problems: &mut Problems) {
        for (role, entry) in directory.role_entries() {
            let Some(tier) = &entry.tier else {
                continue;
            };
            let place = Place {
                file: entities_file::FILE,
                line: entry.line,
            };
            let faults = tier.faults(catalog);
            for (what, mend) in &faults {
                problems.add(&place, format!("role `{role}` {what}"), *mend);
            }
            if faults.is_empty() {
                for made in tier.policies(role) {
                    self.add_tier(made, place, problems);
                }
            }
        }
    }

    fn add_tier(&mut self, made: TierPolicy, place: Place<'_>, problems: &mut Problems) {
        match Policy::parse(Some(PolicyId::new(&made.id)), &made.text) {
            Ok(policy) => {
                self.written.push(Written {
                    policy,
                    file: place.file.to_owned(),
                    line: place.line,
                    of_tier: true,
                });
                let rule = Rule {
                    id: made.id,
                    because: made.because,
                    need: None,
                    ask: None,
                };
                self.said.insert(rule.id.clone(), rule);
            }
            Err(_) => problems.add(
                &place,
                format!("policy `{}` cannot be made", made.id),
                "rename the fields that it names",
            ),
        }
    }

    /// A tier is all that its role grants, so that its name can be trusted.
    fn check_tiers(&self, directory: &Directory, problems: &mut Problems) {
        let permits = self
            .written
            .iter()
            .filter(|one| !one.of_tier && one.policy.effect() == Effect::Permit);
        for one in permits {
            for uid in one.policy.entity_literals() {
                let role = uid.id().unescaped().parse().ok();
                let is_role = uid.type_name().to_string() == "Role";
                if is_role && role.is_some_and(|role| directory.tier(&role).is_some()) {
                    let what = format!(
                        "policy `{}` permits more to `{uid}`, which has a tier",
                        one.id()
                    );
                    let mend = "permit it to a role without tier and give the agents both roles";
                    problems.add(&one.place(), what, mend);
                }
            }
        }
    }

    /// Checks all policies against catalog and directory and builds the index.
    pub(crate) fn finish(
        mut self,
        catalog: &Catalog,
        directory: &Directory,
        schema: &Schema,
        entities: &Entities,
        problems: &mut Problems,
    ) -> Rules {
        self.add_tiers(catalog, directory, problems);
        self.check_tiers(directory, problems);
        self.check_teams(directory, problems);
        self.check_calendars(directory, problems);
        self.check_names(entities, problems);
        self.check_labels(catalog, problems);
        self.validate(schema, problems);
        match self.indexed(catalog, directory) {
            Ok(rules) => rules,
            Err(error) => {
                let mend = "report this as a fault of the checker";
                problems.add(&Place::file("policies"), error, mend);
                Rules::default()
            }
        }
    }

    fn indexed(self, catalog: &Catalog, directory: &Directory) -> Result<Rules, String> {
        let mut index = Index::default();
        for one in &self.written {
            let rule = self.said.get(one.id());
            let is_ask = rule.is_some_and(|rule| rule.ask.is_some());
            index.add(one.policy.clone(), is_ask)?;
        }
        let mut tools = BTreeMap::new();
        for tool in catalog.tools() {
            tools.insert(tool.name.clone(), tool_keys(tool, &index)?);
        }
        let mut agents = BTreeMap::new();
        for (id, agent) in directory.agents() {
            let principal = cedar_schema::uid("Agent", id.as_str())?;
            let mut uids = vec![principal.clone()];
            for role in &agent.roles {
                uids.push(cedar_schema::uid("Role", role.as_str())?);
            }
            let keys = index.keys(&uids);
            agents.insert(id.clone(), AgentKeys { principal, keys });
        }
        Ok(Rules {
            said: self.said,
            written: self.written,
            index,
            tools,
            agents,
        })
    }

    fn place(&self, id: &str) -> Place<'_> {
        let found = self.written.iter().find(|one| one.id() == id);
        found.map_or(Place::file("policies"), Written::place)
    }

    /// The place inside a policy that an error of the validator points at.
    fn place_of(&self, id: &str, error: &dyn Diagnostic) -> Place<'_> {
        let place = self.place(id);
        match (self.texts.get_key_value(place.file), label(error)) {
            (Some((file, text)), Some(at)) => Place::at(file, text, at),
            _ => place,
        }
    }

    fn check_teams(&self, directory: &Directory, problems: &mut Problems) {
        for rule in self.said.values() {
            for fault in rule
                .ask
                .iter()
                .flat_map(|ask| ask::impossible_teams(ask, |team| directory.team(team)))
            {
                let what = format!("policy `{}`: {fault}", rule.id);
                problems.add(&self.place(&rule.id), what, "name a team that can decide");
            }
        }
    }

    fn check_calendars(&self, directory: &Directory, problems: &mut Problems) {
        for rule in self.said.values() {
            let named = rule.ask.iter().flat_map(|ask| &ask.hours);
            for name in named.filter(|name| directory.calendar(name).is_none()) {
                let what = format!(
                    "policy `{}`: calendar `{name}` is not in entities.json",
                    rule.id
                );
                let mend = "add it to `calendars` or mend the name";
                problems.add(&self.place(&rule.id), what, mend);
            }
        }
    }

    /// Cedar lets a policy name any entity; a misspelt one would silently never match.
    fn check_names(&self, entities: &Entities, problems: &mut Problems) {
        for one in &self.written {
            let policy = &one.policy;
            let named: BTreeSet<EntityUid> = policy.entity_literals().into_iter().collect();
            for uid in named.iter().filter(|uid| entities.get(uid).is_none()) {
                let what = format!(
                    "policy `{}` names `{uid}`, which does not exist",
                    policy.id()
                );
                problems.add(
                    &one.place(),
                    what,
                    "add it to entities.json or the catalog, or mend the name",
                );
            }
        }
    }

    fn check_labels(&self, catalog: &Catalog, problems: &mut Problems) {
        let given = catalog.labels();
        if given.len() > BUNDLE_LABELS_MAX {
            problems.add(
                &Place::file("catalog"),
                format!("gives more than {BUNDLE_LABELS_MAX} labels"),
                "use one label for what policies treat alike",
            );
        }
        for one in &self.written {
            for label in label_rules::unknown_labels(&one.policy, &given) {
                let what = format!(
                    "policy `{}` tests for the label `{label}`, which no tool gives",
                    one.id()
                );
                let mend = "add it to the `labels` of a tool, or mend the name";
                problems.add(&one.place(), what, mend);
            }
        }
    }

    fn validate(&self, schema: &Schema, problems: &mut Problems) {
        let all = match PolicySet::from_policies(self.written.iter().map(|one| one.policy.clone()))
        {
            Ok(all) => all,
            Err(error) => {
                return problems.add(
                    &Place::file("policies"),
                    error.to_string(),
                    "give each policy its own `@id`",
                );
            }
        };
        let found = Validator::new(schema.clone()).validate(&all, ValidationMode::Strict);
        for error in found.validation_errors() {
            let id = error.policy_id();
            let what = format!("policy `{id}`: {}", told(error));
            problems.add(
                &self.place_of(id.as_ref(), error),
                what,
                "mend the policy, or the fields of the tool in the catalog",
            );
        }
        // A rule that can never apply protects nobody; most often it names a field that
        // policies do not see.
        for warning in found.validation_warnings() {
            let id = warning.policy_id();
            let what = format!("policy `{id}`: {}", told(warning));
            problems.add(
                &self.place_of(id.as_ref(), warning),
                what,
                "mend its scope or condition: it must fit a tool of the catalog, and of an input policies see classified fields alone",
            );
        }
    }
}

fn tool_keys(tool: &Tool, index: &Index) -> Result<ToolKeys, String> {
    let action = cedar_schema::uid("Action", tool.name.as_str())?;
    let group = cedar_schema::uid("Action", tool.operation.as_str())?;
    let resource = cedar_schema::uid("Tool", tool.name.as_str())?;
    let mut resources = vec![resource.clone()];
    for group in tool
        .groups
        .iter()
        .map(String::as_str)
        .chain([tool.operation.as_str()])
    {
        resources.push(cedar_schema::uid("ToolGroup", group)?);
    }
    Ok(ToolKeys {
        action_keys: index.keys([&action, &group]),
        resource_keys: index.keys(&resources),
        action,
        resource,
    })
}

/// Cedar numbers the policies of a text in their order, `policy0` and so on.
fn order(policy: &Policy) -> usize {
    let id: &str = policy.id().as_ref();
    id.trim_start_matches("policy").parse().unwrap_or_default()
}

/// What the validator says, without the policy's name before it.
fn told(error: &dyn Diagnostic) -> String {
    let text = error.to_string();
    match text.split_once("`, ") {
        Some((before, what)) if before.starts_with("for policy `") => what.to_owned(),
        _ => text,
    }
}

fn label(error: &dyn Diagnostic) -> Option<usize> {
    error.labels()?.next().map(|label| label.offset())
}
