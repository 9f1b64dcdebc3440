//! The class of each field of each event, read from its schema.
//!
//! Redaction is derived from it: what a schema does not classify is secret.

use std::fmt;

use crate::codec::SchemaError;
use crate::codec::plan::{Field, Plan, Shape};

/// How far a value may travel, from anywhere to nowhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// May be shown to anybody.
    Public,
    /// May be archived and shown to everybody inside the deployment.
    Internal,
    /// Is about a person, or may be; the type says how it is redacted.
    Personal(String),
    /// Never archived, logged or shown.
    Secret,
}

impl Class {
    /// The class of a schema's word; `None` for one that is not a class.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "public" => Some(Self::Public),
            "internal" => Some(Self::Internal),
            "secret" => Some(Self::Secret),
            other => other
                .strip_prefix("personal:")
                .filter(|kind| !kind.is_empty())
                .map(|kind| Self::Personal(kind.to_owned())),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public"),
            Self::Internal => f.write_str("internal"),
            Self::Personal(kind) => write!(f, "personal:{kind}"),
            Self::Secret => f.write_str("secret"),
        }
    }
}

/// A field that holds a value, and its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassedField {
    /// JSON pointer, with `*` for any item of a list: `/reasons/*/message`.
    pub pointer: String,
    /// Its class.
    pub class: Class,
}

/// Every field of `event` that holds a value, in the order of the schema.
///
/// # Errors
/// When there is no such event.
pub fn fields_of(event: &str) -> Result<Vec<ClassedField>, SchemaError> {
    let mut fields = Vec::new();
    if let Shape::Record(top) = &Plan::named(event)?.shape {
        collect(top, "", &mut fields);
    }
    Ok(fields)
}

/// The class of the value at `pointer` in `event`; what no schema classifies is secret.
///
/// The pointer may hold indices or `*` for the items of a list. What stands inside
/// free-form JSON has the class of the field that holds it.
#[must_use]
pub fn class_at(event: &str, pointer: &str) -> Class {
    Plan::named(event)
        .ok()
        .zip(pointer.strip_prefix('/'))
        .and_then(|(plan, path)| find(&plan.shape, path))
        .unwrap_or(Class::Secret)
}

fn collect(record: &[Field], above: &str, fields: &mut Vec<ClassedField>) {
    for field in record {
        let pointer = format!("{above}/{}", field.name);
        collect_value(field, &field.shape, pointer, fields);
    }
}

fn collect_value(field: &Field, shape: &Shape, pointer: String, fields: &mut Vec<ClassedField>) {
    match shape {
        Shape::Record(record) => collect(record, &pointer, fields),
        Shape::Optional(some) => collect_value(field, some, pointer, fields),
        Shape::List(items) => collect_value(field, items, format!("{pointer}/*"), fields),
        _ => fields.push(ClassedField {
            pointer,
            class: own_class(field),
        }),
    }
}

fn own_class(field: &Field) -> Class {
    field
        .class
        .as_deref()
        .and_then(Class::from_word)
        .unwrap_or(Class::Secret)
}

fn find(shape: &Shape, path: &str) -> Option<Class> {
    let Shape::Record(fields) = shape else {
        return None;
    };
    let (name, rest) = split(path);
    let field = fields.iter().find(|field| field.name == name)?;
    find_value(field, &field.shape, rest)
}

fn find_value(field: &Field, shape: &Shape, path: Option<&str>) -> Option<Class> {
    match (shape, path) {
        (Shape::Optional(some), path) => find_value(field, some, path),
        (Shape::Record(_), Some(path)) => find(shape, path),
        (Shape::List(items), Some(path)) => find_value(field, items, split(path).1),
        // A whole record or list, or a value: the schema classifies it as a whole.
        (_, None) | (Shape::Json, Some(_)) => Some(own_class(field)),
        (_, Some(_)) => None,
    }
}

fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ALL;

    /// The class without its type: one personal type is not above another.
    fn rank(class: &Class) -> Class {
        match class {
            Class::Personal(_) => Class::Personal(String::new()),
            other => other.clone(),
        }
    }

    fn check_field(event: &str, pointer: &str, field: &Field) -> Class {
        let word = field
            .class
            .as_deref()
            .unwrap_or_else(|| panic!("{event}{pointer} has no class"));
        let class = Class::from_word(word)
            .unwrap_or_else(|| panic!("{event}{pointer}: `{word}` is not a class"));
        let strongest = check_inside(event, pointer, &field.shape);
        assert!(
            strongest.is_none_or(|inside| rank(&class) >= rank(&inside)),
            "{event}{pointer} is classed below a field inside it"
        );
        class
    }

    fn check_inside(event: &str, pointer: &str, shape: &Shape) -> Option<Class> {
        match shape {
            Shape::Optional(some) | Shape::List(some) => check_inside(event, pointer, some),
            Shape::Record(fields) => fields
                .iter()
                .map(|field| check_field(event, &format!("{pointer}/{}", field.name), field))
                .max(),
            _ => None,
        }
    }

    #[test]
    fn every_field_of_every_event_is_classified() {
        for (event, _) in ALL {
            check_inside(event, "", &Plan::named(event).unwrap().shape);
            assert!(!fields_of(event).unwrap().is_empty(), "{event}");
        }
    }

    #[test]
    fn what_must_never_be_archived_is_secret() {
        let table = [
            ("tool.requested", "/input"),
            ("tool.requested", "/input/customer/email"),
            ("tool.requested", "/facts"),
            ("tool.requested", "/requester/mandate"),
            ("policy.checked", "/salt"),
            ("policy.checked", "/input_match"),
            ("policy.checked", "/input_shown"),
            ("tool.approved", "/permit"),
        ];
        for (event, pointer) in table {
            assert_eq!(class_at(event, pointer), Class::Secret, "{event}{pointer}");
        }
    }

    #[test]
    fn classes_are_found_through_lists_and_options() {
        let person = Class::Personal("person".to_owned());
        assert_eq!(class_at("policy.checked", "/ask/excluded/0"), person);
        assert_eq!(class_at("policy.checked", "/ask/excluded/*"), person);
        assert_eq!(class_at("policy.checked", "/reasons/3/code"), Class::Public);
        assert_eq!(class_at("tool.approved", "/requester"), person);
    }

    #[test]
    fn what_no_schema_knows_is_secret() {
        for pointer in ["", "/", "/nope", "/tool/x", "/reasons/0/nope", "tool"] {
            assert_eq!(
                class_at("policy.checked", pointer),
                Class::Secret,
                "{pointer}"
            );
        }
        assert_eq!(class_at("no.such", "/tool"), Class::Secret);
        assert!(fields_of("no.such").is_err());
    }

    #[test]
    fn words_round_trip_and_others_are_no_class() {
        for word in ["public", "internal", "personal:email", "secret"] {
            assert_eq!(Class::from_word(word).unwrap().to_string(), word);
        }
        for word in ["", "Public", "personal", "personal:"] {
            assert_eq!(Class::from_word(word), None, "{word}");
        }
    }
}
