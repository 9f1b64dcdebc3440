//! What the JSON Schema of an input tells policies: which classified fields exist, and
//! which Cedar type holds each.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fields::Cursor;
use super::pointer::Pointer;
use crate::redact::FieldClass;

/// A type that Cedar can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CedarType {
    /// A string.
    Text,
    /// A whole number.
    Long,
    /// A number with at most four decimals.
    Decimal,
    /// A flag.
    Bool,
    /// An array of strings, as a set.
    TextSet,
    /// An object with known members.
    Record(Vec<Member>),
}

/// A member of an object that policies can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// Its type.
    pub(crate) kind: CedarType,
    /// Whether the schema demands it.
    pub(crate) required: bool,
}

/// The members of the object that `schema` describes which have a class other than
/// `secret` and a type that Cedar can hold. Unclassified fields are left out: a policy
/// that names one is refused at load.
pub(crate) fn members(schema: &Value, cursor: Cursor<'_>) -> Vec<Member> {
    let required: Vec<&str> = strings(schema.get("required")).collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    let properties = properties.into_iter().flatten();
    let member = |(name, schema): (&String, &Value)| {
        Some(Member {
            name: name.clone(),
            kind: kind(schema, cursor.member(name))?,
            required: required.contains(&name.as_str()),
        })
    };
    properties.filter_map(member).collect()
}

fn kind(schema: &Value, cursor: Cursor<'_>) -> Option<CedarType> {
    if type_word(schema) == Some("object") {
        let members = members(schema, cursor);
        return (!members.is_empty()).then_some(CedarType::Record(members));
    }
    let open = |class: &FieldClass| !matches!(class, FieldClass::Secret);
    cursor.field.filter(|field| open(&field.class))?;
    match type_word(schema)? {
        "array" => {
            let items = schema.get("items").and_then(type_word);
            let field = cursor.element().field.filter(|field| open(&field.class));
            (items == Some("string") && field.is_some()).then_some(CedarType::TextSet)
        }
        word => scalar(word),
    }
}

/// The Cedar type of a JSON Schema type word that names one plain value.
pub(crate) fn scalar(word: &str) -> Option<CedarType> {
    match word {
        "string" => Some(CedarType::Text),
        "integer" => Some(CedarType::Long),
        "number" => Some(CedarType::Decimal),
        "boolean" => Some(CedarType::Bool),
        _ => None,
    }
}

/// The one type that a schema states, said by `type` or by an enumeration of strings.
pub(crate) fn type_word(schema: &Value) -> Option<&str> {
    match schema.get("type") {
        Some(word) => word.as_str(),
        None => {
            let words = schema.get("enum")?.as_array()?;
            words.iter().all(Value::is_string).then_some("string")
        }
    }
}

fn strings(list: Option<&Value>) -> impl Iterator<Item = &str> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str)
}

/// Whether a pointer names something that the schema describes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lookup<'s> {
    /// It does; this describes it, and the flag says whether it is always there.
    Found(&'s Value, bool),
    /// The schema has no such field.
    Missing,
    /// The schema is too clever to say (`$ref`, `allOf` and the like).
    Unclear,
}

/// Looks `pointer` up in `schema`.
pub(crate) fn lookup<'s>(schema: &'s Value, pointer: &Pointer) -> Lookup<'s> {
    let (mut node, mut always) = (schema, true);
    for segment in pointer.segments() {
        let next = match segment.as_str() {
            "*" => {
                always = false;
                let open = node
                    .get("items")
                    .or_else(|| node.get("additionalProperties"));
                open.filter(|schema| schema.is_object())
            }
            name => {
                always &= strings(node.get("required")).any(|required| required == name);
                node.get("properties").and_then(|all| all.get(name))
            }
        };
        match next {
            Some(found) => node = found,
            None if is_composed(node) => return Lookup::Unclear,
            None => return Lookup::Missing,
        }
    }
    Lookup::Found(node, always)
}

/// The places that `schema` describes and no class covers, as JSON Pointers. Flags need
/// none, and neither does the input as a whole.
pub(crate) fn unclassified(schema: &Value, cursor: Cursor<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (step, schema, cursor) in below(schema, cursor) {
        place_without_class(schema, cursor, &format!("/{step}"), &mut found);
    }
    found
}

fn place_without_class(schema: &Value, cursor: Cursor<'_>, path: &str, found: &mut Vec<String>) {
    if cursor.field.is_some() || matches!(type_word(schema), Some("boolean" | "null")) {
        return;
    }
    let parts = below(schema, cursor);
    if parts.is_empty() && !(type_word(schema) == Some("object") && is_closed(schema)) {
        found.push(path.to_owned());
    }
    for (step, schema, cursor) in parts {
        place_without_class(schema, cursor, &format!("{path}/{step}"), found);
    }
}

/// The parts of what `schema` describes, each with its step in a JSON Pointer.
fn below<'a>(schema: &'a Value, cursor: Cursor<'a>) -> Vec<(String, &'a Value, Cursor<'a>)> {
    let named = |key: &str| {
        let all = schema.get(key).and_then(Value::as_object);
        all.into_iter().flatten()
    };
    let every = |key: &str| schema.get(key).filter(|part| part.is_object());
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    let members =
        named("properties").map(|(name, part)| (escaped(name), part, cursor.member(name)));
    let patterns = named("patternProperties").map(|(_, part)| part);
    let others = patterns
        .chain(every("additionalProperties"))
        .chain(every("items"));
    let others = others.map(|part| ("*".to_owned(), part, cursor.element()));
    members.chain(others).collect()
}

/// Every name of a field that `schema` gives, at whatever depth.
pub(crate) fn names(schema: &Value) -> BTreeSet<String> {
    match schema {
        Value::Object(object) => {
            let own = object.get("properties").and_then(Value::as_object);
            let own = own.into_iter().flat_map(|named| named.keys().cloned());
            own.chain(object.values().flat_map(names)).collect()
        }
        Value::Array(items) => items.iter().flat_map(names).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => BTreeSet::new(),
    }
}

fn is_composed(schema: &Value) -> bool {
    ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if"]
        .iter()
        .any(|word| schema.get(word).is_some())
}

/// Whether the object that `schema` describes takes no other members than it names.
pub(crate) fn is_closed(schema: &Value) -> bool {
    ["additionalProperties", "unevaluatedProperties"]
        .iter()
        .any(|word| schema.get(word) == Some(&Value::Bool(false)))
        && schema.get("patternProperties").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fields::{Field, FieldTree};
    use serde_json::json;

    fn schema() -> Value {
        json!({
            "type": "object", "required": ["id"], "additionalProperties": false,
            "properties": {
                "id": {"type": "string"}, "total": {"type": "number"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "kind": {"enum": ["a", "b"]}, "key": {"type": "string"},
                "open": {"type": "string"}, "any": {"type": ["string", "null"]},
                "nested": {"type": "object", "properties": {"n": {"type": "integer"}}}
            }
        })
    }

    #[test]
    fn only_classified_fields_that_fit_are_members() {
        let mut tree = FieldTree::default();
        for name in ["id", "total", "tags", "kind", "any", "nested"] {
            let at = Pointer::parse(&format!("/{name}")).unwrap();
            tree.insert(&at, Field::new(FieldClass::Internal, None));
        }
        let key = Pointer::parse("/key").unwrap();
        tree.insert(&key, Field::new(FieldClass::Secret, None));
        let found = members(&schema(), tree.cursor());
        let names: Vec<(&str, bool)> = found
            .iter()
            .map(|one| (one.name.as_str(), one.required))
            .collect();
        let others = ["total", "tags", "kind", "nested"].map(|name| (name, false));
        assert_eq!(names, [&[("id", true)], others.as_slice()].concat());
    }

    #[test]
    fn places_without_a_class_are_found() {
        let mut tree = FieldTree::default();
        let classify = |tree: &mut FieldTree, at: &str| {
            tree.insert(
                &Pointer::parse(at).unwrap(),
                Field::new(FieldClass::Internal, None),
            );
        };
        let schema = json!({"type": "object", "properties": {
            "id": {"type": "string"}, "on": {"type": "boolean"},
            "lines": {"type": "array", "items": {"type": "object", "properties": {
                "part": {"type": "string"}, "price": {"type": "number"}}}},
            "open": {"type": "object"}, "any": {"$ref": "#/$defs/x"},
            "a/b": {"type": ["string", "null"]},
            "none": {"type": "object", "additionalProperties": false},
            "map": {"type": "object", "additionalProperties": {"type": "string"}}
        }});
        classify(&mut tree, "/id");
        classify(&mut tree, "/lines/*/part");
        let mut found = unclassified(&schema, tree.cursor());
        found.sort();
        assert_eq!(
            found,
            ["/any", "/a~1b", "/lines/*/price", "/map/*", "/open"]
        );
        for at in ["/any", "/a~1b", "/lines", "/map", "/open"] {
            classify(&mut tree, at);
        }
        assert!(unclassified(&schema, tree.cursor()).is_empty());
    }

    #[test]
    fn pointers_are_looked_up() {
        let schema = schema();
        let find = |text: &str| lookup(&schema, &Pointer::parse(text).unwrap());
        assert!(matches!(find("/id"), Lookup::Found(_, true)));
        assert!(matches!(find("/tags/*"), Lookup::Found(_, false)));
        assert_eq!(find("/tags/0"), Lookup::Missing);
        assert_eq!(find("/nested/m"), Lookup::Missing);
        let composed = json!({"allOf": []});
        assert_eq!(
            lookup(&composed, &Pointer::parse("/x").unwrap()),
            Lookup::Unclear
        );
        assert!(is_closed(&schema) && !is_closed(&composed));
    }
}
