//! The guardrails of a tool's table.

use serde_json::Value;

use super::fields::FieldTree;
use super::pointer::Pointer;
use super::tool_file::Check;
use super::tool_table::ToolTable;
use crate::guardrails::{Fault, Guardrail, GuardrailSettings, Setup};

impl Check<'_, '_> {
    /// Every guardrail, or none where one has a fault.
    pub(super) fn guardrails(
        &mut self,
        table: &ToolTable,
        fields: &FieldTree,
        updatable: &[Pointer],
    ) -> Option<Vec<Box<dyn Guardrail>>> {
        let setup = Setup {
            directory: self.reading.directory,
            fields,
            updatable,
        };
        let all = table.guardrails.iter().enumerate();
        let built: Vec<Option<Box<dyn Guardrail>>> = all
            .map(|(at, one)| self.guardrail(at, one, &table.input, &setup))
            .collect();
        built.into_iter().collect()
    }

    fn guardrail(
        &mut self,
        index: usize,
        table: &toml::Value,
        schema: &Value,
        setup: &Setup<'_>,
    ) -> Option<Box<dyn Guardrail>> {
        // A fault says in words which key it is about; its line is that of the key.
        let at = |what: &str| {
            let mut words = what.split('`').skip(1).step_by(2);
            let key = words
                .find(|word| table.get(*word).is_some())
                .unwrap_or("kind");
            format!("/guardrails/{index}/{key}")
        };
        let settings = match GuardrailSettings::read(table) {
            Ok(settings) => settings,
            Err(fault) => {
                let what = format!("guardrail: {}", fault.what);
                self.fault(&at(&fault.what), what, &fault.mend);
                return None;
            }
        };
        let kind = settings.kind();
        for text in settings.pointers() {
            // What is no pointer at all is a fault that the guardrail itself tells.
            if Pointer::parse(text).is_ok() {
                let place = key_with(table, text);
                self.pointer(&format!("/guardrails/{index}/{place}"), kind, text, schema);
            }
        }
        let built = settings.build(setup);
        let told = |fault: Fault| {
            let what = format!("guardrail `{kind}`: {}", fault.what);
            self.fault(&at(&fault.what), what, &fault.mend);
        };
        built
            .map_err(|faults| faults.into_iter().for_each(told))
            .ok()
    }
}

/// The key of a guardrail's table under which a text stands.
fn key_with<'t>(table: &'t toml::Value, text: &str) -> &'t str {
    let holds = |value: &toml::Value| match value {
        toml::Value::Array(items) => items.iter().any(|item| item.as_str() == Some(text)),
        other => other.as_str() == Some(text),
    };
    let mut keys = table.as_table().into_iter().flatten();
    keys.find(|(_, value)| holds(value))
        .map_or("kind", |(key, _)| key.as_str())
}
