//! A case to try guardrails on.

use std::collections::BTreeSet;

use countersign_schemas::events::CheckedRequester;
use countersign_schemas::{AgentId, Timestamp, Token, ToolName};
use serde_json::{Map, Value, json};

use super::{Case, Fault, Finding, Guardrail, GuardrailError, GuardrailSettings, Setup};
use crate::mandate::Mandate;
use crate::policy::{Directory, Field, FieldTree, Known, Pointer, Problems};
use crate::redact::FieldClass;

/// What surrounds settings in a test: teams `leads` (two people), `finance` (three),
/// agents `billing` and `support` with a role of the same name and `desk` each.
#[derive(Default)]
pub(super) struct Company {
    directory: Directory,
    fields: FieldTree,
    updatable: Vec<Pointer>,
}

impl Company {
    pub(super) fn new() -> Self {
        let entities = json!({
            "teams": {"leads": {}, "finance": {}},
            "people": {
                "lee": {"teams": ["leads"]}, "mara": {"teams": ["leads", "finance"]},
                "jo": {"teams": ["finance"]}, "kim": {"teams": ["finance"]}
            },
            "roles": {"desk": {}, "billing": {}, "support": {}},
            "agents": {
                "billing": {"roles": ["desk", "billing"], "team": "finance"},
                "support": {"roles": ["desk", "support"], "team": "leads"}
            }
        });
        let mut problems = Problems::default();
        let directory = Directory::read(entities.to_string().as_bytes(), &mut problems);
        assert_eq!(problems.count(), 0);
        Self {
            directory,
            ..Self::default()
        }
    }

    /// The tool is an update of these fields.
    pub(super) fn updating(mut self, pointers: &[&str]) -> Self {
        let read = |text: &&str| Pointer::parse(text).unwrap();
        self.updatable = pointers.iter().map(read).collect();
        self
    }

    /// The tool's field at `pointer` has this class.
    pub(super) fn classed(mut self, pointer: &str, class: &str) -> Self {
        let field = Field::new(FieldClass::parse(class).unwrap(), None);
        self.fields.insert(&Pointer::parse(pointer).unwrap(), field);
        self
    }

    pub(super) fn setup(&self) -> Setup<'_> {
        Setup {
            directory: &self.directory,
            fields: &self.fields,
            updatable: &self.updatable,
        }
    }

    /// The guardrail that a table of the catalog sets.
    pub(super) fn build(&self, toml: &str) -> Result<Box<dyn Guardrail>, Vec<Fault>> {
        let settings = GuardrailSettings::read(&table(toml)).map_err(|fault| vec![fault])?;
        settings.build(&self.setup())
    }

    /// The faults of a table of the catalog, each as a line.
    pub(super) fn faults(&self, toml: &str) -> Vec<String> {
        let faults = self.build(toml).unwrap_err();
        assert!(!faults.is_empty(), "it is not built, and nothing says why");
        faults.iter().map(ToString::to_string).collect()
    }
}

fn table(toml: &str) -> toml::Value {
    toml::from_str(toml).unwrap()
}

/// What surrounds an input in a test.
pub(super) struct Desk {
    pub(super) agent: AgentId,
    pub(super) roles: BTreeSet<Token>,
    tool: ToolName,
    pub(super) requester: CheckedRequester,
    pub(super) mandate: Option<Mandate>,
    pub(super) at: Timestamp,
    pub(super) known: Known,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            agent: "billing".parse().unwrap(),
            roles: ["desk", "billing"]
                .iter()
                .map(|role| role.parse().unwrap())
                .collect(),
            tool: "mail.send".parse().unwrap(),
            requester: CheckedRequester {
                id: "kim".parse().unwrap(),
                verified: false,
            },
            mandate: None,
            at: Timestamp::EPOCH,
            known: Known::default(),
        }
    }

    pub(super) fn case<'a>(&'a self, input: &'a Map<String, Value>) -> Case<'a> {
        Case {
            agent: &self.agent,
            roles: &self.roles,
            tool: &self.tool,
            requester: &self.requester,
            mandate: self.mandate.as_ref(),
            input,
            at: self.at,
            known: &self.known,
        }
    }

    /// What `guard` finds on `input`.
    pub(super) fn check(
        &self,
        guard: &dyn Guardrail,
        input: &Value,
    ) -> Result<Finding, GuardrailError> {
        guard.check(&self.case(input.as_object().unwrap()))
    }
}

/// What `guard` finds, as a word.
pub(super) fn word(found: &Result<Finding, GuardrailError>) -> &'static str {
    match found {
        Ok(Finding::Pass { .. }) => "pass",
        Ok(Finding::Ask { .. }) => "ask",
        Ok(Finding::Deny { .. }) => "deny",
        Ok(Finding::Exceeded { .. }) => "exceeded",
        Ok(Finding::Wants(_)) => "wants",
        Err(_) => "error",
    }
}
