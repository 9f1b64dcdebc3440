//! A tool's table in `catalog/*.toml`: its keys, and the checks that make it a [`Tool`].

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_schemas::events::Operation;
use countersign_schemas::{Digest, ToolName};
use jsonschema::PatternOptions;
use serde::Deserialize;
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use super::catalog::Reading;
use super::fields::{Field, FieldTree, Shown};
use super::input_schema::{self, Lookup};
use super::labels::TOOL_LABELS_MAX;
use super::pointer::Pointer;
use super::problem::Place;
use super::spots::below;
use super::template::Template;
use super::tool::Tool;
use super::tool_keys;
use super::tool_stakes::in_schema;
use super::tool_table::ToolTable;

use crate::redact::{FieldClass, FieldClasses};

/// How long a call may take where the catalog does not say.
const TIMEOUT_SECONDS_DEFAULT: u64 = 30;
/// How long a call may take at most: a lease is never renewed, and five minutes is the
/// life of a permit.
const TIMEOUT_SECONDS_MAX: u64 = 300;
/// What a permit can name for each exposed field is bounded by its size as a header.
const OUTPUT_FIELDS_MAX: usize = 64;
/// Faults of a schema that are listed: the first few tell what is wrong.
const SCHEMA_FAULTS_MAX: usize = 10;
const MEND_SCHEMA: &str = "write a JSON Schema of draft 2020-12";

/// Checks one tool; every fault is noted, and a tool with a fault is not built.
pub(super) fn build(
    name: ToolName,
    table: &Spanned<DeValue<'_>>,
    place: Place<'_>,
    reading: &mut Reading<'_>,
) -> Option<Tool> {
    let before = reading.problems.count();
    let mut check = Check {
        name: &name,
        place,
        reading,
    };
    let digest = check.digest(table)?;
    let table = check.table(table)?;
    let tool = check.tool(table, digest)?;
    (check.reading.problems.count() == before).then_some(tool)
}

pub(super) struct Check<'a, 'f> {
    name: &'a ToolName,
    place: Place<'a>,
    pub(super) reading: &'a mut Reading<'f>,
}

impl Check<'_, '_> {
    /// Notes a fault of what stands at `at`, a pointer inside the tool's table.
    pub(super) fn fault(&mut self, at: &str, what: impl std::fmt::Display, mend: &str) {
        let what = format!("tool `{}`: {what}", self.name);
        let place = Place {
            line: self.reading.line(self.name, at).or(self.place.line),
            ..self.place
        };
        self.reading.problems.add(&place, what, mend);
    }

    /// Keeps the value, or notes why there is none.
    pub(super) fn keep<T, E: std::fmt::Display>(
        &mut self,
        result: Result<T, E>,
        at: &str,
        mend: &str,
    ) -> Option<T> {
        let key = at
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap_or_default();
        result
            .map_err(|error| self.fault(at, format!("`{key}`: {error}"), mend))
            .ok()
    }

    fn digest(&mut self, table: &Spanned<DeValue<'_>>) -> Option<Digest> {
        let read = toml::Value::deserialize(ValueDeserializer::from(table.clone()));
        let read = read.map_err(|error| error.message().to_owned());
        let table = self.keep(read, "", "use only values that JSON has")?;
        let definition = json!({"name": self.name, "definition": table});
        let digest = Digest::of_json(&definition);
        self.keep(digest, "", "use only values that JSON has")
    }

    fn table(&mut self, table: &Spanned<DeValue<'_>>) -> Option<ToolTable> {
        let (name, place) = (self.name, self.place);
        let Reading {
            file,
            text,
            problems,
            ..
        } = &mut *self.reading;
        tool_keys::read(table, |at, what| {
            let place = at.map_or(place, |at| Place::at(file, text, at));
            let mend = "docs/policy.md lists the keys of a tool";
            problems.add(&place, format!("tool `{name}`: {what}"), mend);
        })
    }

    fn tool(&mut self, table: ToolTable, digest: Digest) -> Option<Tool> {
        let validator = self.validator(&table.input);
        let (fields, classes) = self.fields(&table);
        // A wrong amount is a noted fault, so the tool is not built without it.
        let amount = table
            .amount
            .as_deref()
            .and_then(|text| self.amount(text, &table));
        if table.negative_amount && table.amount.is_none() {
            self.fault(
                "/negative_amount",
                "has `negative_amount` but no `amount`",
                "drop it or name the amount",
            );
        }
        if table.currency.is_some() && table.amount.is_none() {
            self.fault(
                "/currency",
                "has `currency` but no `amount`",
                "drop it or name the amount",
            );
        }
        let updatable = self.updatable(&table);
        let summary = self.template("summary", &table.summary, &table.input, &fields);
        let resource = table.resource.as_deref().unwrap_or(self.name.as_str());
        let resource = self.template("resource", resource, &table.input, &fields);
        let guards = self.guardrails(&table, &fields, &updatable);
        let output = self.output(&table.output);
        let worker = self.worker(&table.worker, &table.input);
        let timeout = self.timeout(table.timeout_s);
        self.names(&table);
        let guards = guards?;
        Some(Tool {
            name: self.name.clone(),
            operation: table.operation,
            names: input_schema::names(&table.input),
            members: input_schema::members(&table.input, fields.cursor()),
            groups: table.groups,
            description: table.description,
            validator: validator?,
            field_pointers: pointers(&table.fields),
            fields,
            classes,
            amount,
            updatable,
            summary: summary?,
            resource: resource?,
            recipients: guards
                .iter()
                .flat_map(|guard| guard.recipients())
                .cloned()
                .collect(),
            guardrails: guards,
            output,
            labels: table.labels,
            worker: worker?,
            timeout,
            idempotent: table.idempotent,
            helper: table.helper,
            digest,
        })
    }

    fn validator(&mut self, schema: &Value) -> Option<jsonschema::Validator> {
        if input_schema::type_word(schema) != Some("object") {
            self.fault(
                "/input/type",
                "`input` does not have `type = \"object\"`",
                "describe the input as an object",
            );
        }
        let meta = jsonschema::draft202012::meta::validator();
        let before = self.reading.problems.count();
        for error in meta.iter_errors(schema).take(SCHEMA_FAULTS_MAX) {
            let at = format!("/input{}", error.instance_path().as_str());
            self.fault(&at, format!("`input`: {error}"), MEND_SCHEMA);
        }
        if self.reading.problems.count() > before {
            return None;
        }
        // The linear-time engine: a pattern must not make one input cost seconds.
        let options =
            jsonschema::draft202012::options().with_pattern_options(PatternOptions::regex());
        match options.build(schema) {
            Ok(validator) => Some(validator),
            Err(error) => {
                let at = format!("/input{}", error.instance_path().as_str());
                self.fault(&at, format!("`input`: {error}"), MEND_SCHEMA);
                None
            }
        }
    }

    /// Notes a pointer that is not in the input's schema.
    pub(super) fn pointer(
        &mut self,
        at: &str,
        key: &str,
        text: &str,
        schema: &Value,
    ) -> Option<Pointer> {
        let pointer = self.keep(Pointer::parse(text), at, "name a field as a JSON Pointer")?;
        if input_schema::lookup(schema, &pointer) == Lookup::Missing {
            let what = format!("`{key}` names `{pointer}`, which the input's schema does not have");
            self.fault(at, what, "add it to `input.properties` or mend the pointer");
        }
        Some(pointer)
    }

    fn fields(&mut self, table: &ToolTable) -> (FieldTree, FieldClasses) {
        let mut tree = FieldTree::default();
        let mut classes = FieldClasses::default();
        for (text, field) in &table.fields {
            let at = below("/fields", text);
            let Some(pointer) = self.pointer(&at, "fields", text, &table.input) else {
                continue;
            };
            let Some(class) = self.class(&at, &field.class) else {
                continue;
            };
            if class == FieldClass::Secret && !matches!(field.shown, None | Some(Shown::Redacted)) {
                self.fault(
                    &at,
                    format!("secret `{pointer}` is to be shown"),
                    "drop `shown`: secrets never are",
                );
            }
            let added = classes.insert(text, class.clone());
            self.keep(added, &at, "name a field as a JSON Pointer");
            tree.insert(&pointer, Field::new(class, field.shown));
        }
        for pointer in input_schema::unclassified(&table.input, tree.cursor()) {
            self.fault(
                &in_schema(&pointer),
                format!("`{pointer}` of the input has no class"),
                "give it one in `fields`: public, internal, personal:<type> or secret",
            );
        }
        (tree, classes)
    }

    fn class(&mut self, at: &str, word: &str) -> Option<FieldClass> {
        self.keep(
            FieldClass::parse(word),
            at,
            "use public, internal, personal:<type> or secret",
        )
    }

    fn template(
        &mut self,
        key: &str,
        text: &str,
        schema: &Value,
        fields: &FieldTree,
    ) -> Option<Template> {
        let at = format!("/{key}");
        let template = self.keep(
            Template::parse(text),
            &at,
            "write text with `{/pointer}` in it",
        )?;
        for pointer in template.pointers() {
            self.pointer(&at, key, pointer.as_str(), schema);
            match fields.at(pointer).map(|field| &field.class) {
                Some(FieldClass::Secret) => {
                    self.fault(
                        &at,
                        format!("`{key}` shows the secret `{pointer}`"),
                        "leave it out",
                    );
                }
                None => {
                    let what = format!("`{key}` shows `{pointer}`, which has no class");
                    self.fault(&at, what, "give it a class in `fields`");
                }
                Some(FieldClass::Public | FieldClass::Internal | FieldClass::Personal(_)) => {}
            }
        }
        Some(template)
    }

    fn output(&mut self, table: &BTreeMap<String, String>) -> BTreeMap<Pointer, FieldClass> {
        if table.len() > OUTPUT_FIELDS_MAX {
            self.fault(
                "/output",
                format!("exposes more than {OUTPUT_FIELDS_MAX} output fields"),
                "expose fewer",
            );
        }
        let mut output = BTreeMap::new();
        for (text, word) in table {
            let at = below("/output", text);
            let pointer = self.keep(Pointer::parse(text), &at, "name a field as a JSON Pointer");
            let class = self.class(&at, word);
            if class == Some(FieldClass::Secret) {
                self.fault(
                    &at,
                    format!("exposes the secret output `{text}`"),
                    "leave it out",
                );
            }
            output.extend(pointer.zip(class));
        }
        output
    }

    fn timeout(&mut self, seconds: Option<u64>) -> Duration {
        let seconds = seconds.unwrap_or(TIMEOUT_SECONDS_DEFAULT);
        if !(1..=TIMEOUT_SECONDS_MAX).contains(&seconds) {
            let what = format!("`timeout_s` is not between 1 and {TIMEOUT_SECONDS_MAX}");
            self.fault(
                "/timeout_s",
                what,
                "choose a time within the life of a permit",
            );
        }
        Duration::from_secs(seconds)
    }

    fn names(&mut self, table: &ToolTable) {
        let team = table.helper.as_ref();
        let directory = self.reading.directory;
        if let Some(team) = team.filter(|team| directory.team(team).is_none()) {
            self.fault(
                "/helper",
                format!("`helper` names team `{team}`, which is not in entities.json"),
                "add the team",
            );
        }
        if Operation::from_word(self.name.as_str()).is_some() {
            self.fault("", "has the name of an operation", "choose another name");
        }
        if table.labels.len() > TOOL_LABELS_MAX {
            self.fault(
                "/labels",
                format!("gives more than {TOOL_LABELS_MAX} labels"),
                "say in fewer what its output holds",
            );
        }
        for group in &table.groups {
            if Operation::from_word(group).is_some()
                || group.parse::<countersign_schemas::Token>().is_err()
            {
                self.fault(
                    "/groups",
                    "a name in `groups` is not allowed",
                    "use 1 to 64 of A-Z a-z 0-9 _ -, no operation",
                );
            }
        }
    }
}

/// The pointers of a table; those that do not read are noted elsewhere.
fn pointers<T>(table: &BTreeMap<String, T>) -> Vec<Pointer> {
    let texts = table.keys();
    texts.filter_map(|text| Pointer::parse(text).ok()).collect()
}
