//! What is at stake in a call: the amount, and the fields that an update may change.

use countersign_schemas::events::Operation;
use serde_json::Value;

use super::input_schema::{self, Lookup};
use super::pointer::Pointer;
use super::tool::{Amount, AmountCurrency};
use super::tool_file::Check;
use super::tool_table::ToolTable;
use crate::guardrails::money::Currency;

const CURRENCY_MEND: &str =
    "write an ISO 4217 code in capitals, or the pointer of the field that holds one";

impl Check<'_, '_> {
    pub(super) fn amount(&mut self, text: &str, table: &ToolTable) -> Option<Amount> {
        let pointer = self.pointer("/amount", "amount", text, &table.input)?;
        let (schema, required) = match input_schema::lookup(&table.input, &pointer) {
            Lookup::Found(schema, required) => (schema, required),
            Lookup::Missing => return None,
            Lookup::Unclear => {
                self.fault(
                    "/amount",
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
                    "/amount",
                    format!("`amount` names `{pointer}`, which is not a number"),
                    mend,
                );
                return None;
            }
        };
        if pointer.is_pattern() {
            self.fault(
                "/amount",
                "`amount` names several fields",
                "name the one field with the total",
            );
        }
        Some(Amount {
            pointer,
            whole,
            required,
            negative: table.negative_amount,
            currency: self.currency(table),
        })
    }

    /// The currency of amounts: a code, or the field that holds one.
    fn currency(&mut self, table: &ToolTable) -> Option<AmountCurrency> {
        let text = table.currency.as_deref()?;
        if !text.starts_with('/') {
            if Currency::of(text).is_none() {
                let what = format!("`currency` is `{text}`, which is no currency");
                self.fault("/currency", what, CURRENCY_MEND);
            }
            return Some(AmountCurrency::Fixed(text.to_owned()));
        }
        let pointer = self.pointer("/currency", "currency", text, &table.input)?;
        let texts = match input_schema::lookup(&table.input, &pointer) {
            Lookup::Found(schema, _) => input_schema::type_word(schema) == Some("string"),
            Lookup::Missing | Lookup::Unclear => false,
        };
        if !texts || pointer.is_pattern() {
            let what = format!("`currency` names `{pointer}`, which is not one field of text");
            self.fault("/currency", what, CURRENCY_MEND);
        }
        Some(AmountCurrency::At(pointer))
    }

    /// An update must say which fields it may change, and its input must not be able to
    /// carry others past the policies.
    pub(super) fn updatable(&mut self, table: &ToolTable) -> Vec<Pointer> {
        let texts = table.updatable.iter();
        let pointers: Vec<Pointer> = texts
            .filter_map(|text| self.pointer("/updatable", "updatable", text, &table.input))
            .collect();
        if table.operation != Operation::Update {
            if !pointers.is_empty() {
                self.fault(
                    "/updatable",
                    "has `updatable` but does not update",
                    "drop it or set `operation = \"update\"`",
                );
            }
            return pointers;
        }
        if pointers.is_empty() {
            self.fault(
                "/updatable",
                "updates, but has no `updatable` fields",
                "list the fields that it may change",
            );
        }
        let mut names: Vec<&str> = pointers.iter().map(Pointer::name).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != pointers.len() {
            self.fault(
                "/updatable",
                "two `updatable` fields have the same name",
                "rename one: policies know them by name",
            );
        }
        for pointer in &pointers {
            if pointer.is_pattern() {
                self.fault(
                    "/updatable",
                    format!("`updatable` names several fields by `{pointer}`"),
                    "name each field",
                );
            }
            if !closed_above(&table.input, pointer) {
                let what =
                    format!("an object that holds `{pointer}` takes members that it does not name");
                self.fault(
                    &above(pointer),
                    what,
                    "set `type = \"object\"` and `additionalProperties = false` there",
                );
            }
        }
        pointers
    }
}

/// Where the schema of an input describes the field at `pointer`.
pub(super) fn in_schema(pointer: &str) -> String {
    let step = |segment: &str| match segment {
        "*" => "/items".to_owned(),
        name => format!("/properties/{name}"),
    };
    let steps: String = pointer.split('/').skip(1).map(step).collect();
    format!("/input{steps}")
}

/// Where the schema describes the object that holds the field at `pointer`.
fn above(pointer: &Pointer) -> String {
    let (above, _) = pointer.as_str().rsplit_once('/').unwrap_or_default();
    format!("{}/additionalProperties", in_schema(above))
}

/// Whether every object above `pointer` is an object and nothing else, without members that
/// the schema does not name.
fn closed_above(schema: &Value, pointer: &Pointer) -> bool {
    let closed = |node: &Value| {
        input_schema::is_closed(node) && input_schema::type_word(node) == Some("object")
    };
    let Some((_, above)) = pointer.segments().split_last() else {
        return false;
    };
    let mut node = Some(schema);
    for segment in above {
        if !node.is_some_and(closed) {
            return false;
        }
        node = node.and_then(|node| node.get("properties")?.get(segment));
    }
    node.is_some_and(closed)
}
