//! `match_fact`: a field of the input must equal a fact that no agent can make up: one of
//! the mandate, or an entry of the bucket of facts.

use serde::Deserialize;
use serde_json::Value;

use super::fact_key::FactKey;
use super::setup::{Faults, Setup};
use super::{Case, Fault, Finding, Guardrail, GuardrailError};
use crate::policy::{Pointer, Wish};

pub(super) const NAME: &str = "match_fact";

/// The guardrail's table in the catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchFactSettings {
    /// The field of the input that must equal the fact.
    pub field: String,
    /// The fact of the mandate, by its name in `[facts]`.
    pub fact: Option<String>,
    /// The entry of the bucket `CS_FACTS`: text with `{/pointer}`, `{requester}` and
    /// `{agent}` in it.
    pub key: Option<String>,
    /// Where in that entry the fact stands; the entry is the fact where it does not say.
    pub at: Option<String>,
}

impl MatchFactSettings {
    pub(super) fn pointers(&self) -> Vec<&str> {
        let parts = self.key.iter().flat_map(|key| key.split('.'));
        let inside = parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let named = inside.filter(|inside| inside.starts_with('/'));
        named.chain([self.field.as_str()]).collect()
    }
}

/// Where the fact comes from.
#[derive(Debug)]
enum Source {
    Mandate(String),
    Bucket { key: FactKey, at: Option<Pointer> },
}

/// The guardrail, ready.
#[derive(Debug)]
pub struct MatchFact {
    field: Pointer,
    source: Source,
}

impl MatchFact {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn new(settings: &MatchFactSettings, setup: &Setup<'_>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let field = faults.place("field", &settings.field);
        let source = source(settings, setup, &mut faults);
        let built = field.zip(source);
        faults.finish(built.map(|(field, source)| Self { field, source }))
    }

    /// The fact, or what to say where there is none.
    fn fact(&self, case: &Case<'_>) -> Result<Option<Value>, Missing> {
        match &self.source {
            Source::Mandate(name) => {
                let stated = case.mandate.and_then(|mandate| mandate.facts().get(name));
                Ok(stated.cloned())
            }
            Source::Bucket { key, at } => {
                let wish = Wish::Fact {
                    key: key.fill(case).map_err(Missing::Refused)?,
                };
                let learnt = case.known.get(&wish).ok_or(Missing::Wanted(wish))?;
                let entry = learnt
                    .as_ref()
                    .map_err(|why| Missing::Failed(why.clone()))?;
                Ok(match (at, entry) {
                    (None, entry) => Some(entry.clone()),
                    (Some(at), Value::Object(entry)) => at.find(entry).into_iter().next().cloned(),
                    (Some(_), _) => None,
                })
            }
        }
    }

    fn deny(&self, found: &str) -> Finding {
        let (whose, need) = match &self.source {
            Source::Mandate(name) => (
                format!("the mandate's fact `{name}`"),
                "a mandate that states what the input holds",
            ),
            Source::Bucket { .. } => (
                "the stored fact".to_owned(),
                "an input that agrees with the stored fact, or an operator who corrects that",
            ),
        };
        Finding::Deny {
            message: format!("`{}` {found} {whose}", self.field),
            need: need.to_owned(),
        }
    }
}

/// Why there is no fact to compare with.
enum Missing {
    Wanted(Wish),
    /// The entry cannot be named.
    Refused(&'static str),
    /// It cannot be read.
    Failed(String),
}

fn source(settings: &MatchFactSettings, setup: &Setup<'_>, faults: &mut Faults) -> Option<Source> {
    let at = settings.at.as_deref();
    match (&settings.fact, &settings.key) {
        (Some(name), None) if at.is_none() => Some(Source::Mandate(name.clone())),
        (None, Some(text)) => {
            let key = FactKey::parse(text, setup);
            let mend = "write names with dots between them, such as `orders.{/order_id}`";
            let key = faults.keep(key, "key", mend);
            let at = match at {
                Some(text) => Some(faults.place("at", text)?),
                None => None,
            };
            key.map(|key| Source::Bucket { key, at })
        }
        _ => {
            faults.note(
                "has not one of `fact` and `key`, or `at` without `key`",
                "name a fact of the mandate, or the key of an entry of CS_FACTS",
            );
            None
        }
    }
}

impl Guardrail for MatchFact {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, case: &Case<'_>) -> Result<Finding, GuardrailError> {
        let fact = match self.fact(case) {
            Ok(fact) => fact.filter(|fact| !fact.is_null()),
            Err(Missing::Wanted(wish)) => return Ok(Finding::Wants(wish)),
            Err(Missing::Refused(what)) => {
                return Err(GuardrailError {
                    name: NAME,
                    what: what.to_owned(),
                });
            }
            Err(Missing::Failed(what)) => return Err(GuardrailError { name: NAME, what }),
        };
        let held = self.field.find(case.input);
        Ok(match (fact, held.first()) {
            (None, _) => self.deny("cannot be compared: nothing is known of"),
            (Some(_), None) => self.deny("is missing, and must equal"),
            (Some(fact), Some(held)) if same(&fact, held) => Finding::Pass {
                message: format!("`{}` equals the trusted fact", self.field),
            },
            (Some(_), Some(_)) => self.deny("does not equal"),
        })
    }

    fn fact(&self) -> Option<&str> {
        match &self.source {
            Source::Mandate(name) => Some(name),
            Source::Bucket { .. } => None,
        }
    }
}

/// Whether two values are of one type and equal: text that reads as a number is no number,
/// case and spaces count, and lists and objects are no facts.
fn same(fact: &Value, held: &Value) -> bool {
    match (fact, held) {
        (Value::String(fact), Value::String(held)) => fact == held,
        (Value::Bool(fact), Value::Bool(held)) => fact == held,
        (Value::Number(_), Value::Number(_)) => {
            let canonical = countersign_schemas::digest::canonical_json::<Value>;
            matches!((canonical(fact), canonical(held)), (Ok(a), Ok(b)) if a == b)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
