//! Reading a guardrail's settings: every fault is noted, with how to mend it.

use std::fmt::Display;

use crate::policy::{Directory, FieldTree, Pointer};

/// Characters of a setting that a fault quotes.
const QUOTE_CHARS_MAX: usize = 64;

/// One thing that is wrong with a guardrail's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

/// What a guardrail may know of its bundle and its tool while it is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// Who is who.
    pub(crate) directory: &'a Directory,
    /// The tool's fields and their classes.
    pub(crate) fields: &'a FieldTree,
    /// What an update may change; empty for other tools.
    pub(crate) updatable: &'a [Pointer],
}

/// Collects faults while settings are read.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Notes one fault.
    pub(crate) fn note(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Fault {
            what: what.into(),
            mend: mend.into(),
        });
    }

    /// Keeps the value of the setting `key`, or notes why there is none.
    pub(crate) fn keep<T, E: Display>(
        &mut self,
        result: Result<T, E>,
        key: &str,
        mend: &str,
    ) -> Option<T> {
        result
            .map_err(|error| self.note(format!("`{key}`: {error}"), mend))
            .ok()
    }

    /// Reads the pointer in the setting `key`.
    pub(crate) fn pointer(&mut self, key: &str, text: &str) -> Option<Pointer> {
        let read = Pointer::parse(text);
        self.keep(read, key, "name a field as a JSON Pointer")
    }

    /// Reads the pointer in the setting `key`, which must name one place.
    pub(crate) fn place(&mut self, key: &str, text: &str) -> Option<Pointer> {
        let pointer = self.pointer(key, text)?;
        if pointer.is_pattern() {
            self.note(
                format!("`{key}` names several fields by `{pointer}`"),
                "name one field",
            );
        }
        Some(pointer)
    }

    /// The guardrail if nothing is wrong; `None` comes with a fault.
    pub(crate) fn finish<T>(self, built: Option<T>) -> Result<T, Vec<Fault>> {
        match built {
            Some(built) if self.0.is_empty() => Ok(built),
            _ => Err(self.0),
        }
    }
}

/// A piece of the settings as a fault quotes it.
pub(crate) fn quote(text: &str) -> String {
    let cut = text.chars().take(QUOTE_CHARS_MAX);
    cut.flat_map(char::escape_debug).collect()
}
