//! One tool as the catalog defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_schemas::events::Operation;
use countersign_schemas::{Digest, TeamId, Token, ToolName};
use serde_json::{Map, Value};

use super::fields::FieldTree;
use super::input_schema::Member;
use super::pointer::Pointer;
use super::template::Template;
use crate::guardrails::Guardrail;
use crate::redact::{FieldClass, FieldClasses};

/// How the executor reaches the worker that runs a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worker {
    /// A request on `work.<tool>`.
    Nats,
    /// An HTTP request.
    Http {
        /// The method.
        method: String,
        /// Which configured server; the executor's settings hold its address.
        service: String,
        /// The path, filled from the input.
        path: Template,
    },
}

/// The amount at stake in an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Amount {
    /// Where it stands.
    pub(crate) pointer: Pointer,
    /// Whether it counts in whole minor units, such as cents.
    pub(crate) whole: bool,
    /// Whether the schema demands it.
    pub(crate) required: bool,
    /// Whether it may be below zero, as in a credit note.
    pub(crate) negative: bool,
    /// Its currency, where it has one.
    pub(crate) currency: Option<AmountCurrency>,
}

/// What currency amounts are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AmountCurrency {
    /// Always this one, by its ISO 4217 code.
    Fixed(String),
    /// The one that the input names here.
    At(Pointer),
}

/// A tool's definition, ready to judge with.
#[derive(Debug)]
pub struct Tool {
    pub(crate) name: ToolName,
    pub(crate) operation: Operation,
    pub(crate) groups: Vec<String>,
    pub(crate) description: String,
    pub(crate) validator: jsonschema::Validator,
    /// Every name of a field in the schema.
    pub(crate) names: BTreeSet<String>,
    pub(crate) fields: FieldTree,
    /// Every place that `fields` of the catalog names.
    pub(crate) field_pointers: Vec<Pointer>,
    pub(crate) classes: FieldClasses,
    pub(crate) members: Vec<Member>,
    pub(crate) amount: Option<Amount>,
    pub(crate) updatable: Vec<Pointer>,
    pub(crate) summary: Template,
    pub(crate) resource: Template,
    pub(crate) recipients: Vec<Pointer>,
    pub(crate) guardrails: Vec<Box<dyn Guardrail>>,
    pub(crate) output: BTreeMap<Pointer, FieldClass>,
    /// What an agent has seen once it has used the tool.
    pub(crate) labels: BTreeSet<Token>,
    pub(crate) worker: Worker,
    pub(crate) timeout: Duration,
    pub(crate) idempotent: bool,
    pub(crate) helper: Option<TeamId>,
    pub(crate) digest: Digest,
}

impl Tool {
    /// The tool's name.
    #[must_use]
    pub fn name(&self) -> &ToolName {
        &self.name
    }

    /// What it does to the world.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// What it does, in a sentence.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The class of each input field.
    #[must_use]
    pub fn classes(&self) -> &FieldClasses {
        &self.classes
    }

    /// The output fields that may be exposed, each with its class.
    #[must_use]
    pub fn output(&self) -> &BTreeMap<Pointer, FieldClass> {
        &self.output
    }

    /// What an agent has seen once it has used the tool.
    #[must_use]
    pub fn labels(&self) -> &BTreeSet<Token> {
        &self.labels
    }

    /// How the executor reaches its worker.
    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// How long one call may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether a call may be repeated without doing its work twice.
    #[must_use]
    pub fn idempotent(&self) -> bool {
        self.idempotent
    }

    /// The team that helps when a call is stopped.
    #[must_use]
    pub fn helper(&self) -> Option<&TeamId> {
        self.helper.as_ref()
    }

    /// The digest of this definition: any change of it is another tool to an approver.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether the catalog puts it in this group; the one of its operation not counted.
    pub(crate) fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The updatable fields that `input` changes, each with what stands there, or with what
    /// stands in the place of an object around it and would take the field away with it.
    pub(crate) fn updates<'i>(
        &'i self,
        input: &'i Map<String, Value>,
    ) -> Vec<(&'i str, &'i Value)> {
        let present = |pointer: &'i Pointer| Some((pointer.name(), pointer.touched(input)?));
        self.updatable.iter().filter_map(present).collect()
    }
}
