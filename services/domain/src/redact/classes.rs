//! Field classes: what the catalog says about each place of an input or output.

use std::collections::BTreeMap;

use countersign_schemas::limits::JSON_DEPTH_MAX;

use super::own::Detectors;

/// How sensitive a field is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldClass {
    /// May be shown to anyone; detectors still read it.
    Public,
    /// May be shown inside the deployment; detectors still read it.
    Internal,
    /// Personal data of the named type: replaced whole.
    Personal(String),
    /// A secret: replaced whole, never shown to anyone.
    Secret,
}

/// A field class or its place cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClassError {
    /// The word is no class.
    #[error("`{0}` is not a field class: use public, internal, personal:<type> or secret")]
    Class(String),
    /// The place is no pointer.
    #[error(
        "`{0}` is not a place of a field: use a JSON Pointer such as /customer/email, with * for every index or key"
    )]
    Pointer(String),
}

impl FieldClass {
    /// Reads `public`, `internal`, `personal:<type>` or `secret`.
    ///
    /// # Errors
    /// If the word is none of them, or the type is not small letters and underscores.
    pub fn parse(word: &str) -> Result<Self, ClassError> {
        match word.split_once(':') {
            None if word == "public" => Ok(Self::Public),
            None if word == "internal" => Ok(Self::Internal),
            None if word == "secret" => Ok(Self::Secret),
            Some(("personal", kind)) if is_type(kind) => Ok(Self::Personal(kind.to_owned())),
            _ => Err(ClassError::Class(shown(word))),
        }
    }

    /// Whether a field of this class is replaced whole.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        matches!(self, Self::Personal(_) | Self::Secret)
    }

    /// The type that a mark of this class carries; none where the value is not replaced.
    pub(super) fn mark_type(&self) -> Option<&str> {
        match self {
            Self::Public | Self::Internal => None,
            Self::Personal(kind) => Some(kind),
            Self::Secret => Some("secret"),
        }
    }
}

/// A type must fit the grammar of marks, and be unable to carry data.
pub(super) fn is_type(kind: &str) -> bool {
    (1..=32).contains(&kind.len())
        && kind.starts_with(|c: char| c.is_ascii_lowercase())
        && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

pub(super) fn shown(text: &str) -> String {
    text.chars().take(48).flat_map(char::escape_debug).collect()
}

/// Places of a JSON value and their classes. A class covers everything beneath its place;
/// where several patterns match, the most sensitive class counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldClasses {
    root: Node,
    own: Detectors,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    class: Option<FieldClass>,
    named: BTreeMap<String, Node>,
    any: Option<Box<Node>>,
}

impl FieldClasses {
    /// No classes: only the detectors protect.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Every member secret: for a record whose catalog is not known.
    #[must_use]
    pub fn everything() -> Self {
        let any = Node {
            class: Some(FieldClass::Secret),
            ..Node::default()
        };
        Self {
            root: Node {
                any: Some(Box::new(any)),
                ..Node::default()
            },
            own: Detectors::default(),
        }
    }

    /// The same places, and the detectors of the catalog that they come from.
    #[must_use]
    pub fn with_detectors(mut self, own: &Detectors) -> Self {
        self.own = own.clone();
        self
    }

    /// The detectors of the catalog that the classes come from.
    #[must_use]
    pub fn own(&self) -> &Detectors {
        &self.own
    }

    /// Reads pairs of JSON Pointer pattern and class word.
    ///
    /// # Errors
    /// On the first pattern or class that cannot be read.
    pub fn parse<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ClassError> {
        let mut classes = Self::default();
        for (pattern, word) in pairs {
            classes.insert(pattern, FieldClass::parse(word)?)?;
        }
        Ok(classes)
    }

    /// Adds one place. Of two classes for one pattern the more sensitive stays.
    ///
    /// # Errors
    /// If the pattern is not a JSON Pointer with at least one step.
    pub fn insert(&mut self, pattern: &str, class: FieldClass) -> Result<(), ClassError> {
        let steps = pattern
            .strip_prefix('/')
            .filter(|steps| steps.split('/').count() <= JSON_DEPTH_MAX)
            .ok_or_else(|| ClassError::Pointer(shown(pattern)))?;
        let mut node = &mut self.root;
        for step in steps.split('/') {
            node = match step {
                "*" => node.any.get_or_insert_default(),
                name => node.named.entry(unescape(name)).or_default(),
            };
        }
        node.class = node.class.take().max(Some(class));
        Ok(())
    }

    /// The class of the value at these steps from the root, the classes of its parents
    /// included; none where no pattern reaches it.
    #[must_use]
    pub fn class_at<'a>(&self, steps: impl IntoIterator<Item = &'a str>) -> Option<&FieldClass> {
        let mut place = self.start();
        let mut class = place.class();
        for step in steps {
            place = place.step(step);
            class = class.max(place.class());
        }
        class
    }

    pub(super) fn start(&self) -> Place<'_> {
        match self.root == Node::default() {
            true => Place::NOWHERE,
            false => Place {
                nodes: vec![&self.root],
            },
        }
    }
}

fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// A place in the walk: every pattern that still matches.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    nodes: Vec<&'a Node>,
}

impl<'a> Place<'a> {
    /// Where nothing has a class.
    pub(super) const NOWHERE: Self = Self { nodes: Vec::new() };

    pub(super) fn class(&self) -> Option<&'a FieldClass> {
        self.nodes
            .iter()
            .filter_map(|node| node.class.as_ref())
            .max()
    }

    /// The place one step further down.
    pub(super) fn step(&self, name: &str) -> Self {
        if self.nodes.is_empty() {
            return Self { nodes: Vec::new() };
        }
        let named = self.nodes.iter().filter_map(|node| node.named.get(name));
        let any = self.nodes.iter().filter_map(|node| node.any.as_deref());
        Self {
            nodes: named.chain(any).collect(),
        }
    }

    /// The place of every element of an array, for one element of which `index` stands.
    pub(super) fn index(&self, index: usize) -> Self {
        if self.nodes.is_empty() {
            return Self { nodes: Vec::new() };
        }
        self.step(&index.to_string())
    }
}
