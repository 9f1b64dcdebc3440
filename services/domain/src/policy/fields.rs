//! The class of each field of an input and how much of it approvers see.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::pointer::Pointer;
use crate::redact::FieldClass;

/// How much of a field an approver sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// All of it.
    Full,
    /// Of an e-mail address, what follows the `@`.
    Domain,
    /// The last four characters.
    Last4,
    /// Nothing but its type.
    Redacted,
}

/// What the catalog says of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its class.
    pub(crate) class: FieldClass,
    /// How much of it approvers see.
    pub(crate) shown: Shown,
}

impl Field {
    /// The field with the display that fits its class where the catalog does not say:
    /// personal values are not shown, secrets never are.
    pub(crate) fn new(class: FieldClass, shown: Option<Shown>) -> Self {
        let shown = match class {
            FieldClass::Secret => Shown::Redacted,
            FieldClass::Personal(_) => shown.unwrap_or(Shown::Redacted),
            FieldClass::Public | FieldClass::Internal => shown.unwrap_or(Shown::Full),
        };
        Self { class, shown }
    }
}

/// The fields as a tree, so that one walk over an input finds the class of each value.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldTree {
    field: Option<Field>,
    named: BTreeMap<String, FieldTree>,
    every: Option<Box<FieldTree>>,
}

impl FieldTree {
    /// Adds the field at `pointer`; false if that place has one already.
    pub(crate) fn insert(&mut self, pointer: &Pointer, field: Field) -> bool {
        let mut node = self;
        for segment in pointer.segments() {
            node = match segment.as_str() {
                "*" => node.every.get_or_insert_default(),
                name => node.named.entry(name.to_owned()).or_default(),
            };
        }
        let free = node.field.is_none();
        node.field = Some(field);
        free
    }

    /// Whether a field at or below the member `name` of the input was added.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// What of `object` the test `keep` keeps, which sees each value with the class that
    /// rules there. Objects and arrays stand if something in them does; in an array `null`
    /// stands for what is left out.
    pub(crate) fn kept(
        &self,
        object: &Map<String, Value>,
        keep: &impl Fn(Option<&FieldClass>, &Value) -> bool,
    ) -> Map<String, Value> {
        members(object, self.cursor(), keep)
    }

    /// Starts a walk at the input as a whole.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor {
            tree: Some(self),
            field: self.field.as_ref(),
        }
    }

    /// The field that rules at `pointer`.
    pub(crate) fn at(&self, pointer: &Pointer) -> Option<&Field> {
        let mut cursor = self.cursor();
        for segment in pointer.segments() {
            cursor = match segment.as_str() {
                "*" => cursor.element(),
                name => cursor.member(name),
            };
        }
        cursor.field
    }
}

fn members(
    object: &Map<String, Value>,
    cursor: Cursor<'_>,
    keep: &impl Fn(Option<&FieldClass>, &Value) -> bool,
) -> Map<String, Value> {
    let one = |(name, value): (&String, &Value)| {
        let kept = kept(value, cursor.member(name), keep)?;
        Some((name.clone(), kept))
    };
    object.iter().filter_map(one).collect()
}

fn kept(
    value: &Value,
    cursor: Cursor<'_>,
    keep: &impl Fn(Option<&FieldClass>, &Value) -> bool,
) -> Option<Value> {
    let itself = keep(cursor.field.map(|field| &field.class), value);
    match value {
        Value::Object(object) => {
            let inner = members(object, cursor, keep);
            (itself || !inner.is_empty()).then_some(Value::Object(inner))
        }
        Value::Array(items) => {
            let all: Vec<Option<Value>> = items
                .iter()
                .map(|item| kept(item, cursor.element(), keep))
                .collect();
            let stands = itself || all.iter().any(Option::is_some);
            stands.then(|| all.into_iter().map(Option::unwrap_or_default).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            itself.then(|| value.clone())
        }
    }
}

/// A place in an input during a walk. A class holds for everything below its place, until
/// a deeper field says otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'t> {
    tree: Option<&'t FieldTree>,
    /// The field that rules here.
    pub(crate) field: Option<&'t Field>,
}

impl<'t> Cursor<'t> {
    /// The member `name` of the object here.
    pub(crate) fn member(self, name: &str) -> Self {
        let named = |tree: &'t FieldTree| tree.named.get(name).or(tree.every.as_deref());
        self.to(self.tree.and_then(named))
    }

    /// Any element of the array here.
    pub(crate) fn element(self) -> Self {
        self.to(self.tree.and_then(|tree| tree.every.as_deref()))
    }

    fn to(self, tree: Option<&'t FieldTree>) -> Self {
        let own = tree.and_then(|tree| tree.field.as_ref());
        Self {
            tree,
            field: own.or(self.field),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_class_rules() {
        let mut tree = FieldTree::default();
        let at = |text: &str| Pointer::parse(text).unwrap();
        let public = Field::new(FieldClass::Public, None);
        let secret = Field::new(FieldClass::Secret, Some(Shown::Full));
        assert!(tree.insert(&at("/lines"), public.clone()));
        assert!(tree.insert(&at("/lines/*/key"), secret.clone()));
        assert!(!tree.insert(&at("/lines"), public.clone()));
        assert_eq!(tree.at(&at("/lines/*/name")), Some(&public));
        assert_eq!(tree.at(&at("/lines/*/key")), Some(&secret));
        assert_eq!(tree.at(&at("/other")), None);
        assert_eq!(secret.shown, Shown::Redacted);
    }

    #[test]
    fn what_is_left_out_leaves_no_name_behind() {
        let mut tree = FieldTree::default();
        let at = |text: &str| Pointer::parse(text).unwrap();
        for (place, class) in [
            ("/id", FieldClass::Internal),
            ("/auth", FieldClass::Secret),
            ("/auth/note", FieldClass::Public),
            ("/lines/*/key", FieldClass::Secret),
            ("/lines/*/part", FieldClass::Internal),
        ] {
            tree.insert(&at(place), Field::new(class, None));
        }
        let input = serde_json::json!({
            "id": 1, "auth": {"t1": [1], "note": "n"}, "more": {"x": "y"},
            "lines": [{"key": "k"}, {"key": "k", "part": "p"}]
        });
        let input = input.as_object().unwrap();
        let open = tree.kept(input, &|class, _: &Value| {
            class != Some(&FieldClass::Secret)
        });
        assert_eq!(
            Value::Object(open),
            serde_json::json!({
                "id": 1, "auth": {"note": "n"}, "more": {"x": "y"},
                "lines": [{}, {"part": "p"}]
            })
        );
        let known = tree.kept(input, &|class, _: &Value| {
            class.is_some_and(|class| *class != FieldClass::Secret)
        });
        assert_eq!(
            Value::Object(known),
            serde_json::json!({"id": 1, "auth": {"note": "n"}, "lines": [null, {"part": "p"}]})
        );
        assert!(tree.names("lines") && !tree.names("more"));
    }
}
