//! The key of an entry of the bucket of facts, with places to fill.
//!
//! Whatever an agent puts into a field stays within its own place of the key: every
//! character that means something in a subject is written as `=` and two hex digits.

use crate::policy::Pointer;
use crate::redact::FieldClass;

use super::Case;
use super::setup::Setup;

/// Characters of a filled key, as long as a subject should be.
const KEY_CHARS_MAX: usize = 400;

/// A key is written wrongly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FactKeyError {
    /// Not names with dots between them.
    #[error("a part is not a name of A-Z a-z 0-9 _ - or one place to fill")]
    Part,
    /// Something else than a place between braces.
    #[error("`{{…}}` holds a pointer, `requester` or `agent`")]
    Place,
    /// The key would be seen where a secret must not be.
    #[error("it names a secret field")]
    Secret,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Name(String),
    Input(Pointer),
    Requester,
    Agent,
}

/// A key with places to fill, part by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FactKey(Vec<Part>);

impl FactKey {
    /// Reads names and `{places}` with dots between them.
    pub(crate) fn parse(text: &str, setup: &Setup<'_>) -> Result<Self, FactKeyError> {
        let parts = text.split('.').map(|part| read(part, setup));
        parts.collect::<Result<_, _>>().map(Self)
    }

    /// The key for one case, or why there is none.
    pub(crate) fn fill(&self, case: &Case<'_>) -> Result<String, &'static str> {
        let parts: Result<Vec<String>, &'static str> =
            self.0.iter().map(|part| filled(part, case)).collect();
        let key = parts?.join(".");
        match key.len() <= KEY_CHARS_MAX {
            true => Ok(key),
            false => Err("the name of the stored fact would be too long"),
        }
    }
}

fn read(part: &str, setup: &Setup<'_>) -> Result<Part, FactKeyError> {
    let inside = part
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    match inside {
        Some("requester") => Ok(Part::Requester),
        Some("agent") => Ok(Part::Agent),
        Some(text) if text.contains(['{', '}']) => Err(FactKeyError::Place),
        Some(text) => {
            let pointer = Pointer::parse(text).map_err(|_| FactKeyError::Place)?;
            if pointer.is_pattern() {
                return Err(FactKeyError::Place);
            }
            match setup.fields.at(&pointer).map(|field| &field.class) {
                Some(FieldClass::Secret) => Err(FactKeyError::Secret),
                Some(FieldClass::Public | FieldClass::Internal | FieldClass::Personal(_))
                | None => Ok(Part::Input(pointer)),
            }
        }
        None if !part.is_empty() && part.bytes().all(is_plain) => Ok(Part::Name(part.to_owned())),
        None => Err(FactKeyError::Part),
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn filled(part: &Part, case: &Case<'_>) -> Result<String, &'static str> {
    match part {
        Part::Name(name) => Ok(name.clone()),
        Part::Agent => Ok(case.agent.as_str().to_owned()),
        Part::Requester if case.requester.verified => Ok(escaped(case.requester.id.as_str())),
        Part::Requester => Err("the stored fact belongs to the requester, who is not proved"),
        Part::Input(pointer) => {
            let found = pointer.find(case.input);
            let text = found.first().and_then(|value| crate::policy::plain(value));
            let text = text.filter(|text| !text.is_empty());
            let text = text.ok_or("a field that names the stored fact is missing or empty")?;
            Ok(escaped(&text))
        }
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match is_plain(byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("={byte:02X}")),
        }
    }
    out
}
