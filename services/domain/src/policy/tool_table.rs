//! The keys of a tool's table in `catalog/*.toml`; any other key is an error.

use std::collections::{BTreeMap, BTreeSet};

use countersign_schemas::events::Operation;
use countersign_schemas::{TeamId, Token};
use serde::Deserialize;
use serde_json::Value;

use super::fields::Shown;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolTable {
    pub(crate) operation: Operation,
    pub(crate) description: String,
    pub(crate) summary: String,
    pub(crate) input: Value,
    pub(crate) worker: WorkerTable,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, FieldTable>,
    pub(crate) amount: Option<String>,
    pub(crate) currency: Option<String>,
    #[serde(default)]
    pub(crate) negative_amount: bool,
    #[serde(default)]
    pub(crate) updatable: Vec<String>,
    pub(crate) resource: Option<String>,
    /// Each is read on its own, so that every fault of every one is told at once.
    #[serde(default)]
    pub(crate) guardrails: Vec<toml::Value>,
    #[serde(default)]
    pub(crate) output: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) labels: BTreeSet<Token>,
    pub(crate) timeout_s: Option<u64>,
    #[serde(default)]
    pub(crate) idempotent: bool,
    pub(crate) helper: Option<TeamId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldTable {
    pub(crate) class: String,
    pub(crate) shown: Option<Shown>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerTable {
    pub(crate) kind: WorkerKind,
    pub(crate) method: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) path: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WorkerKind {
    Nats,
    Http,
}
