//! `update_fields`: which of a tool's updatable fields each agent or role may change.

use std::collections::{BTreeMap, BTreeSet};

use countersign_schemas::{AgentId, Token};
use serde::Deserialize;

use super::setup::{Faults, Setup};
use super::{Case, Fault, Finding, Guardrail, GuardrailError};
use crate::policy::Pointer;

pub(super) const NAME: &str = "update_fields";

/// The guardrail's table in the catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateFieldsSettings {
    /// The fields of an agent: where it is named here, its roles do not count.
    #[serde(default)]
    pub agents: BTreeMap<AgentId, Vec<String>>,
    /// The fields of a role; an agent with several may change what any of them may.
    #[serde(default)]
    pub roles: BTreeMap<Token, Vec<String>>,
}

impl UpdateFieldsSettings {
    pub(super) fn pointers(&self) -> Vec<&str> {
        let lists = self.agents.values().chain(self.roles.values());
        lists.flatten().map(String::as_str).collect()
    }
}

/// The guardrail, ready.
#[derive(Debug)]
pub struct UpdateFields {
    agents: BTreeMap<AgentId, BTreeSet<Pointer>>,
    roles: BTreeMap<Token, BTreeSet<Pointer>>,
    updatable: Vec<Pointer>,
}

impl UpdateFields {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn new(
        settings: &UpdateFieldsSettings,
        setup: &Setup<'_>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        if setup.updatable.is_empty() {
            faults.note(
                "the tool has no `updatable` fields",
                "use it on a tool that updates",
            );
        }
        if settings.agents.is_empty() && settings.roles.is_empty() {
            faults.note(
                "names neither agents nor roles",
                "say in `agents` or `roles` who may change what",
            );
        }
        for agent in settings.agents.keys() {
            if setup.directory.agent(agent).is_none() {
                let what = format!("names agent `{agent}`, which is not in entities.json");
                faults.note(what, "add the agent or mend the name");
            }
        }
        for role in settings.roles.keys() {
            if !setup.directory.roles().any(|known| known == role) {
                let what = format!("names role `{role}`, which is not in entities.json");
                faults.note(what, "add the role or mend the name");
            }
        }
        let agents = lists("agents", &settings.agents, setup, &mut faults);
        let roles = lists("roles", &settings.roles, setup, &mut faults);
        faults.finish(Some(Self {
            agents,
            roles,
            updatable: setup.updatable.to_vec(),
        }))
    }

    /// What this agent may change; `None` for one that no list names.
    fn allowed(&self, case: &Case<'_>) -> Option<BTreeSet<&Pointer>> {
        if let Some(own) = self.agents.get(case.agent) {
            return Some(own.iter().collect());
        }
        let lists: Vec<_> = case
            .roles
            .iter()
            .filter_map(|role| self.roles.get(role))
            .collect();
        (!lists.is_empty()).then(|| lists.into_iter().flatten().collect())
    }
}

fn lists<N: Clone + Ord>(
    key: &str,
    named: &BTreeMap<N, Vec<String>>,
    setup: &Setup<'_>,
    faults: &mut Faults,
) -> BTreeMap<N, BTreeSet<Pointer>> {
    let mut read = BTreeMap::new();
    for (name, texts) in named {
        let mut fields = BTreeSet::new();
        for text in texts {
            let Some(pointer) = faults.pointer(key, text) else {
                continue;
            };
            if !setup.updatable.contains(&pointer) {
                let what = format!("`{key}` has `{pointer}`, which is not in `updatable`");
                faults.note(what, "name a field that the tool may change");
            }
            fields.insert(pointer);
        }
        read.insert(name.clone(), fields);
    }
    read
}

impl Guardrail for UpdateFields {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, case: &Case<'_>) -> Result<Finding, GuardrailError> {
        let changed: Vec<&Pointer> = self
            .updatable
            .iter()
            .filter(|pointer| pointer.touched(case.input).is_some())
            .collect();
        let Some(allowed) = self.allowed(case) else {
            return Ok(Finding::Deny {
                message: format!("agent `{}` has no fields that it may change", case.agent),
                need: "an operator names the agent or one of its roles in the catalog".to_owned(),
            });
        };
        let beyond: Vec<&str> = changed
            .iter()
            .filter(|pointer| !allowed.contains(*pointer))
            .map(|pointer| pointer.as_str())
            .collect();
        if beyond.is_empty() {
            let message = format!("all {} changed field(s) may be changed", changed.len());
            return Ok(Finding::Pass { message });
        }
        Ok(Finding::Deny {
            message: format!(
                "agent `{}` may not change {}",
                case.agent,
                beyond.join(", ")
            ),
            need: "a change of other fields only, or somebody who may change these".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::guardrails::tests::{Company, Desk, word};
    use countersign_schemas::Token;
    use serde_json::json;

    fn company() -> Company {
        Company::new().updating(&["/note", "/email", "/limit", "/address/city", "/a~1b"])
    }

    const SETTINGS: &str = r#"
        kind = "update_fields"
        agents.billing = ["/limit"]
        roles.desk = ["/note", "/address/city"]
        roles.support = ["/email"]
    "#;

    #[test]
    fn hard_cases() {
        let guard = company().build(SETTINGS).unwrap();
        let table: &[(&str, &[&str], serde_json::Value, &str)] = &[
            ("support", &["desk"], json!({"id": 1, "note": "x"}), "pass"),
            ("support", &["desk"], json!({"id": 1}), "pass"),
            ("support", &["desk"], json!({"email": "x"}), "deny"),
            (
                "support",
                &["desk", "support"],
                json!({"email": "x", "note": "y"}),
                "pass",
            ),
            (
                "support",
                &["desk", "support"],
                json!({"email": "x", "limit": 1}),
                "deny",
            ),
            // Null, false, zero and empty text change a field as well as anything else.
            ("support", &["desk"], json!({"email": null}), "deny"),
            ("support", &["desk"], json!({"limit": 0}), "deny"),
            ("support", &["support"], json!({"note": ""}), "deny"),
            // A field inside an object, and what takes the whole object away.
            (
                "support",
                &["desk"],
                json!({"address": {"city": "x"}}),
                "pass",
            ),
            (
                "support",
                &["support"],
                json!({"address": {"city": "x"}}),
                "deny",
            ),
            ("support", &["support"], json!({"address": {}}), "pass"),
            ("support", &["support"], json!({"address": null}), "deny"),
            (
                "support",
                &["support"],
                json!({"address": ["city"]}),
                "deny",
            ),
            ("support", &["support"], json!({"a/b": 1}), "deny"),
            // Names that only look alike are no fields of the tool; its schema refuses them.
            (
                "support",
                &["desk"],
                json!({"Note": "x", "/note": "x"}),
                "pass",
            ),
            // The agent's own list is all that counts for it.
            ("billing", &["desk"], json!({"limit": 1}), "pass"),
            ("billing", &["desk"], json!({"note": "x"}), "deny"),
            // An agent that nobody names may change nothing, not even nothing.
            ("ops", &["reader"], json!({"note": "x"}), "deny"),
            ("ops", &[], json!({}), "deny"),
        ];
        for (agent, roles, input, expected) in table {
            let mut desk = Desk::new();
            desk.agent = agent.parse().unwrap();
            desk.roles = roles
                .iter()
                .map(|role| role.parse::<Token>().unwrap())
                .collect();
            let found = desk.check(guard.as_ref(), input);
            assert_eq!(word(&found), *expected, "{agent} {roles:?} {input}");
        }
    }

    #[test]
    fn the_message_names_fields_and_no_value() {
        let guard = company().build(SETTINGS).unwrap();
        let found = Desk::new().check(guard.as_ref(), &json!({"email": "ann@far.example"}));
        let told = format!("{found:?}");
        assert!(
            told.contains("/email") && !told.contains("far.example"),
            "{told}"
        );
    }

    #[test]
    fn settings_report_every_fault() {
        let faults = company().faults(
            r#"
            kind = "update_fields"
            agents.nobody = ["/note", "note"]
            roles.none = ["/id"]
            "#,
        );
        let words = ["agent `nobody`", "role `none`", "`note`", "`/id`"];
        assert_eq!(faults.len(), words.len(), "{faults:?}");
        for (fault, word) in faults.iter().zip(words) {
            assert!(fault.contains(word), "{fault}");
        }
        let empty = Company::new().faults(r#"kind = "update_fields""#);
        assert_eq!(empty.len(), 2, "{empty:?}");
        let odd = company().faults("kind = \"update_fields\"\nfields = []");
        assert!(odd[0].contains("unknown field"), "{odd:?}");
    }
}
