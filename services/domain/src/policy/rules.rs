//! The policies of a bundle, validated and indexed: for each tool only the rules whose
//! action can match it, firm rules apart from those that people may lift.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    ActionConstraint, Entities, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode,
    Validator,
};
use countersign_schemas::ToolName;
use miette::Diagnostic;

use super::annotations::Rule;
use super::ask;
use super::catalog::Catalog;
use super::cedar_schema;
use super::directory::Directory;
use super::problem::{Place, Problems};

/// The rules that can match one tool.
#[derive(Debug)]
pub(crate) struct ToolRules {
    /// Permits, and forbids that nobody may lift.
    pub(crate) firm: PolicySet,
    /// Forbids that people may lift.
    pub(crate) asks: PolicySet,
    /// `Action::"<tool>"`.
    pub(crate) action: EntityUid,
    /// `Tool::"<tool>"`.
    pub(crate) resource: EntityUid,
}

/// Every rule of a bundle.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// What each says of itself, by `@id`.
    pub(crate) said: BTreeMap<String, Rule>,
    /// The index.
    pub(crate) tools: BTreeMap<ToolName, ToolRules>,
}

/// Reads the policy files of a bundle, one after the other.
#[derive(Debug, Default)]
pub(crate) struct RulesReader {
    policies: Vec<(Policy, String, usize)>,
    said: BTreeMap<String, Rule>,
}

impl RulesReader {
    /// Adds the policies of one file.
    pub(crate) fn read(&mut self, file: &str, text: &str, problems: &mut Problems) {
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
        if parsed.num_of_templates() > 0 {
            problems.add(
                &Place::file(file),
                "has a policy template",
                "write each policy out: nothing links templates",
            );
        }
        for policy in parsed.policies() {
            self.add(file, text, policy, problems);
        }
    }

    fn add(&mut self, file: &str, text: &str, policy: &Policy, problems: &mut Problems) {
        let annotated = policy.annotation("id").unwrap_or_default();
        let offset = text
            .find(&format!("@id(\"{annotated}\")"))
            .unwrap_or_default();
        let place = Place::at(file, text, offset);
        let rule = match Rule::read(policy) {
            Ok(rule) => rule,
            Err(faults) => {
                for (what, mend) in faults {
                    problems.add(&place, format!("policy `{annotated}`: {what}"), mend);
                }
                return;
            }
        };
        if self.said.contains_key(&rule.id) {
            return problems.add(
                &place,
                format!("policy `{}` is there twice", rule.id),
                "give one another `@id`",
            );
        }
        let named = policy.new_id(PolicyId::new(&rule.id));
        self.policies
            .push((named, file.to_owned(), place.line.unwrap_or_default()));
        self.said.insert(rule.id.clone(), rule);
    }

    /// Checks all policies against catalog and directory and builds the index.
    pub(crate) fn finish(
        self,
        catalog: &Catalog,
        directory: &Directory,
        schema: &Schema,
        entities: &Entities,
        problems: &mut Problems,
    ) -> Rules {
        self.check_teams(directory, problems);
        self.check_names(entities, problems);
        self.validate(schema, problems);
        let mut tools = BTreeMap::new();
        for tool in catalog.tools() {
            match self.index(&tool.name, tool.operation.as_str()) {
                Ok(rules) => drop(tools.insert(tool.name.clone(), rules)),
                Err(error) => problems.add(
                    &Place::file("policies"),
                    error,
                    "report this as a fault of the checker",
                ),
            }
        }
        Rules {
            said: self.said,
            tools,
        }
    }

    fn place<'a>(&'a self, id: &str) -> Place<'a> {
        let found = self
            .policies
            .iter()
            .find(|(policy, ..)| AsRef::<str>::as_ref(policy.id()) == id);
        found.map_or(Place::file("policies"), |(_, file, line)| Place {
            file,
            line: Some(*line),
        })
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

    /// Cedar lets a policy name any entity; a misspelt one would silently never match.
    fn check_names(&self, entities: &Entities, problems: &mut Problems) {
        for (policy, ..) in &self.policies {
            let named: BTreeSet<EntityUid> = policy.entity_literals().into_iter().collect();
            for uid in named.iter().filter(|uid| entities.get(uid).is_none()) {
                let what = format!(
                    "policy `{}` names `{uid}`, which does not exist",
                    policy.id()
                );
                problems.add(
                    &self.place(policy.id().as_ref()),
                    what,
                    "add it to entities.json or the catalog, or mend the name",
                );
            }
        }
    }

    fn validate(&self, schema: &Schema, problems: &mut Problems) {
        let all =
            match PolicySet::from_policies(self.policies.iter().map(|(policy, ..)| policy.clone()))
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
            let what = format!("policy `{id}`: {error}");
            problems.add(
                &self.place(id.as_ref()),
                what,
                "mend the policy, or the fields of the tool in the catalog",
            );
        }
        // A rule that can never apply protects nobody; most often it names a field that
        // policies do not see.
        for warning in found.validation_warnings() {
            let id = warning.policy_id();
            let what = format!("policy `{id}`: {warning}");
            problems.add(
                &self.place(id.as_ref()),
                what,
                "mend the policy: classified fields alone are in its context",
            );
        }
    }

    fn index(&self, tool: &ToolName, operation: &str) -> Result<ToolRules, String> {
        let action = cedar_schema::uid("Action", tool.as_str())?;
        let group = cedar_schema::uid("Action", operation)?;
        let matches = |policy: &Policy| match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(one) => one == action,
            ActionConstraint::In(all) => all.contains(&action) || all.contains(&group),
        };
        let mine = self
            .policies
            .iter()
            .map(|(policy, ..)| policy)
            .filter(|policy| matches(policy));
        let is_ask = |policy: &Policy| {
            let rule = self.said.get(AsRef::<str>::as_ref(policy.id()));
            rule.is_some_and(|rule| rule.ask.is_some())
        };
        let (asks, firm): (Vec<Policy>, Vec<Policy>) = mine.cloned().partition(is_ask);
        let set = |policies: Vec<Policy>| {
            PolicySet::from_policies(policies).map_err(|error| error.to_string())
        };
        Ok(ToolRules {
            firm: set(firm)?,
            asks: set(asks)?,
            resource: cedar_schema::uid("Tool", tool.as_str())?,
            action,
        })
    }
}

fn label(error: &dyn Diagnostic) -> Option<usize> {
    error.labels()?.next().map(|label| label.offset())
}
