//! A tool's table in `catalog/*.toml`: its keys, and the checks that make it a [`Tool`].

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_schemas::events::Operation;
use countersign_schemas::{Digest, ToolName};
use jsonschema::PatternOptions;
use serde::Deserialize;
use serde_json::{Value, json};

use super::directory::Directory;
use super::fields::{Field, FieldTree, Shown};
use super::input_schema::{self, Lookup};
use super::labels::TOOL_LABELS_MAX;
use super::pointer::Pointer;
use super::problem::{Place, Problems};
use super::template::Template;
use super::tool::{Amount, Tool, Worker};
use super::tool_table::{ToolTable, WorkerKind, WorkerTable};
use crate::guardrails::{Fault, Guardrail, GuardrailSettings, Setup};
use crate::redact::{FieldClass, FieldClasses};

/// How long a call may take where the catalog does not say.
const TIMEOUT_SECONDS_DEFAULT: u64 = 30;
/// How long a call may take at most: a lease is never renewed, and five minutes is the
/// life of a permit.
const TIMEOUT_SECONDS_MAX: u64 = 300;
/// What a permit can name for each exposed field is bounded by its size as a header.
const OUTPUT_FIELDS_MAX: usize = 64;
/// The HTTP methods that a worker may be called with.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Checks one tool; every fault is noted, and a tool with a fault is not built.
pub(crate) fn build(
    name: ToolName,
    table: &toml::Value,
    directory: &Directory,
    place: Place<'_>,
    problems: &mut Problems,
) -> Option<Tool> {
    let before = problems.count();
    let mut check = Check {
        name: &name,
        place,
        problems,
        directory,
    };
    let digest = check.digest(table)?;
    let table = check.table(table)?;
    let tool = check.tool(table, digest)?;
    (problems.count() == before).then_some(tool)
}

struct Check<'a> {
    name: &'a ToolName,
    place: Place<'a>,
    problems: &'a mut Problems,
    directory: &'a Directory,
}

impl Check<'_> {
    fn fault(&mut self, what: impl std::fmt::Display, mend: &str) {
        let what = format!("tool `{}`: {what}", self.name);
        self.problems.add(&self.place, what, mend);
    }

    /// Keeps the value, or notes why there is none.
    fn keep<T, E: std::fmt::Display>(
        &mut self,
        result: Result<T, E>,
        key: &str,
        mend: &str,
    ) -> Option<T> {
        result
            .map_err(|error| self.fault(format!("`{key}`: {error}"), mend))
            .ok()
    }

    fn digest(&mut self, table: &toml::Value) -> Option<Digest> {
        let definition = json!({"name": self.name, "definition": table});
        let digest = Digest::of_json(&definition);
        self.keep(digest, "definition", "use only values that JSON has")
    }

    fn table(&mut self, table: &toml::Value) -> Option<ToolTable> {
        let read = ToolTable::deserialize(table.clone());
        let read = read.map_err(|error| error.message().to_owned());
        self.keep(read, "keys", "docs/policy.md lists the keys of a tool")
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
                "has `negative_amount` but no `amount`",
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
                "`input` does not have `type = \"object\"`",
                "describe the input as an object",
            );
        }
        // The linear-time engine: a pattern must not make one input cost seconds.
        let options =
            jsonschema::draft202012::options().with_pattern_options(PatternOptions::regex());
        let built = options.build(schema).map_err(|error| error.to_string());
        self.keep(built, "input", "write a JSON Schema of draft 2020-12")
    }

    /// Notes a pointer that is not in the input's schema.
    fn pointer(&mut self, key: &str, text: &str, schema: &Value) -> Option<Pointer> {
        let pointer = self.keep(Pointer::parse(text), key, "name a field as a JSON Pointer")?;
        if input_schema::lookup(schema, &pointer) == Lookup::Missing {
            let what = format!("`{key}` names `{pointer}`, which the input's schema does not have");
            self.fault(what, "add it to `input.properties` or mend the pointer");
        }
        Some(pointer)
    }

    fn fields(&mut self, table: &ToolTable) -> (FieldTree, FieldClasses) {
        let mut tree = FieldTree::default();
        let mut classes = FieldClasses::default();
        for (text, field) in &table.fields {
            let Some(pointer) = self.pointer("fields", text, &table.input) else {
                continue;
            };
            let Some(class) = self.class(&field.class) else {
                continue;
            };
            if class == FieldClass::Secret && !matches!(field.shown, None | Some(Shown::Redacted)) {
                self.fault(
                    format!("secret `{pointer}` is to be shown"),
                    "drop `shown`: secrets never are",
                );
            }
            let added = classes.insert(text, class.clone());
            self.keep(added, "fields", "name a field as a JSON Pointer");
            tree.insert(&pointer, Field::new(class, field.shown));
        }
        for pointer in input_schema::unclassified(&table.input, tree.cursor()) {
            self.fault(
                format!("`{pointer}` of the input has no class"),
                "give it one in `fields`: public, internal, personal:<type> or secret",
            );
        }
        (tree, classes)
    }

    fn class(&mut self, word: &str) -> Option<FieldClass> {
        self.keep(
            FieldClass::parse(word),
            "class",
            "use public, internal, personal:<type> or secret",
        )
    }

    fn amount(&mut self, text: &str, table: &ToolTable) -> Option<Amount> {
        let pointer = self.pointer("amount", text, &table.input)?;
        let (schema, required) = match input_schema::lookup(&table.input, &pointer) {
            Lookup::Found(schema, required) => (schema, required),
            Lookup::Missing => return None,
            Lookup::Unclear => {
                self.fault(
                    "`amount` lies where the schema does not describe it plainly",
                    "describe it with `properties`",
                );
                return None;
            }
        };
        let whole = match input_schema::type_word(schema) {
            Some("integer") => true,
            Some("number" | "string") => false,
            _ => {
                let mend = "give it `type` integer (minor units), number or string (decimal text)";
                self.fault(
                    format!("`amount` names `{pointer}`, which is not a number"),
                    mend,
                );
                return None;
            }
        };
        if pointer.is_pattern() {
            self.fault(
                "`amount` names several fields",
                "name the one field with the total",
            );
        }
        Some(Amount {
            pointer,
            whole,
            required,
            negative: table.negative_amount,
        })
    }

    /// An update must say which fields it may change, and its input must not be able to
    /// carry others past the policies.
    fn updatable(&mut self, table: &ToolTable) -> Vec<Pointer> {
        let texts = table.updatable.iter();
        let pointers: Vec<Pointer> = texts
            .filter_map(|text| self.pointer("updatable", text, &table.input))
            .collect();
        if table.operation != Operation::Update {
            if !pointers.is_empty() {
                self.fault(
                    "has `updatable` but does not update",
                    "drop it or set `operation = \"update\"`",
                );
            }
            return pointers;
        }
        if pointers.is_empty() {
            self.fault(
                "updates, but has no `updatable` fields",
                "list the fields that it may change",
            );
        }
        let mut names: Vec<&str> = pointers.iter().map(Pointer::name).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != pointers.len() {
            self.fault(
                "two `updatable` fields have the same name",
                "rename one: policies know them by name",
            );
        }
        for pointer in &pointers {
            if pointer.is_pattern() {
                self.fault(
                    format!("`updatable` names several fields by `{pointer}`"),
                    "name each field",
                );
            }
            if !closed_above(&table.input, pointer) {
                let what =
                    format!("an object that holds `{pointer}` takes members that it does not name");
                self.fault(what, "set `additionalProperties = false` there");
            }
        }
        pointers
    }

    fn template(
        &mut self,
        key: &str,
        text: &str,
        schema: &Value,
        fields: &FieldTree,
    ) -> Option<Template> {
        let template = self.keep(
            Template::parse(text),
            key,
            "write text with `{/pointer}` in it",
        )?;
        for pointer in template.pointers() {
            self.pointer(key, pointer.as_str(), schema);
            match fields.at(pointer).map(|field| &field.class) {
                Some(FieldClass::Secret) => {
                    self.fault(
                        format!("`{key}` shows the secret `{pointer}`"),
                        "leave it out",
                    );
                }
                None => {
                    let what = format!("`{key}` shows `{pointer}`, which has no class");
                    self.fault(what, "give it a class in `fields`");
                }
                Some(FieldClass::Public | FieldClass::Internal | FieldClass::Personal(_)) => {}
            }
        }
        Some(template)
    }

    /// Every guardrail, or none where one has a fault.
    fn guardrails(
        &mut self,
        table: &ToolTable,
        fields: &FieldTree,
        updatable: &[Pointer],
    ) -> Option<Vec<Box<dyn Guardrail>>> {
        let setup = Setup {
            directory: self.directory,
            fields,
            updatable,
        };
        let all = table.guardrails.iter();
        let built: Vec<Option<Box<dyn Guardrail>>> = all
            .map(|one| self.guardrail(one, &table.input, &setup))
            .collect();
        built.into_iter().collect()
    }

    fn guardrail(
        &mut self,
        table: &toml::Value,
        schema: &Value,
        setup: &Setup<'_>,
    ) -> Option<Box<dyn Guardrail>> {
        let settings = match GuardrailSettings::read(table) {
            Ok(settings) => settings,
            Err(fault) => {
                self.fault(format!("guardrail: {}", fault.what), &fault.mend);
                return None;
            }
        };
        let key = format!("guardrail `{}`", settings.kind());
        for text in settings.pointers() {
            // What is no pointer at all is a fault that the guardrail itself tells.
            if Pointer::parse(text).is_ok() {
                self.pointer(settings.kind(), text, schema);
            }
        }
        let built = settings.build(setup);
        let told = |fault: Fault| self.fault(format!("{key}: {}", fault.what), &fault.mend);
        built
            .map_err(|faults| faults.into_iter().for_each(told))
            .ok()
    }

    fn output(&mut self, table: &BTreeMap<String, String>) -> BTreeMap<Pointer, FieldClass> {
        if table.len() > OUTPUT_FIELDS_MAX {
            self.fault(
                format!("exposes more than {OUTPUT_FIELDS_MAX} output fields"),
                "expose fewer",
            );
        }
        let mut output = BTreeMap::new();
        for (text, word) in table {
            let pointer = self.keep(
                Pointer::parse(text),
                "output",
                "name a field as a JSON Pointer",
            );
            let class = self.class(word);
            if class == Some(FieldClass::Secret) {
                self.fault(
                    format!("exposes the secret output `{text}`"),
                    "leave it out",
                );
            }
            output.extend(pointer.zip(class));
        }
        output
    }

    fn worker(&mut self, table: &WorkerTable, schema: &Value) -> Option<Worker> {
        match (&table.kind, &table.method, &table.service, &table.path) {
            (WorkerKind::Nats, None, None, None) => Some(Worker::Nats),
            (WorkerKind::Nats, ..) => {
                self.fault(
                    "a `nats` worker has no other keys",
                    "drop `method`, `service` and `path`",
                );
                None
            }
            (WorkerKind::Http, Some(method), Some(service), Some(path)) => {
                self.http(method, service, path, schema)
            }
            (WorkerKind::Http, ..) => {
                self.fault(
                    "an `http` worker lacks a key",
                    "give it `method`, `service` and `path`",
                );
                None
            }
        }
    }

    fn http(&mut self, method: &str, service: &str, path: &str, schema: &Value) -> Option<Worker> {
        if !METHODS.contains(&method) {
            self.fault(
                "`worker.method` is unknown",
                "use GET, POST, PUT, PATCH or DELETE",
            );
        }
        if service.parse::<countersign_schemas::Token>().is_err() {
            self.fault(
                "`worker.service` is not a name",
                "use 1 to 64 of A-Z a-z 0-9 _ -",
            );
        }
        let clean = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '\\');
        if !path.starts_with('/') || path.starts_with("//") || !path.chars().all(clean) {
            self.fault(
                "`worker.path` is not an absolute path",
                "start it with one `/`, without query",
            );
        }
        let path = self.keep(
            Template::parse(path),
            "worker.path",
            "write a path with `{/pointer}` in it",
        )?;
        for pointer in path.pointers() {
            self.pointer("worker.path", pointer.as_str(), schema);
        }
        Some(Worker::Http {
            method: method.to_owned(),
            service: service.to_owned(),
            path,
        })
    }

    fn timeout(&mut self, seconds: Option<u64>) -> Duration {
        let seconds = seconds.unwrap_or(TIMEOUT_SECONDS_DEFAULT);
        if !(1..=TIMEOUT_SECONDS_MAX).contains(&seconds) {
            let what = format!("`timeout_s` is not between 1 and {TIMEOUT_SECONDS_MAX}");
            self.fault(what, "choose a time within the life of a permit");
        }
        Duration::from_secs(seconds)
    }

    fn names(&mut self, table: &ToolTable) {
        let team = table.helper.as_ref();
        if let Some(team) = team.filter(|team| self.directory.team(team).is_none()) {
            self.fault(
                format!("`helper` names team `{team}`, which is not in entities.json"),
                "add the team",
            );
        }
        if Operation::from_word(self.name.as_str()).is_some() {
            self.fault("has the name of an operation", "choose another name");
        }
        if table.labels.len() > TOOL_LABELS_MAX {
            self.fault(
                format!("gives more than {TOOL_LABELS_MAX} labels"),
                "say in fewer what its output holds",
            );
        }
        for group in &table.groups {
            if Operation::from_word(group).is_some()
                || group.parse::<countersign_schemas::Token>().is_err()
            {
                self.fault(
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

fn closed_above(schema: &Value, pointer: &Pointer) -> bool {
    let Some((_, above)) = pointer.segments().split_last() else {
        return false;
    };
    let mut node = Some(schema);
    for segment in above {
        if !node.is_some_and(input_schema::is_closed) {
            return false;
        }
        node = node.and_then(|node| node.get("properties")?.get(segment));
    }
    node.is_some_and(input_schema::is_closed)
}
