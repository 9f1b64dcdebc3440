//! What a policy sees of one request.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Context, RestrictedExpression as Expression};
use countersign_schemas::Token;
use countersign_schemas::events::CheckedRequester;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::approved::Approved;
use super::directory::Directory;
use super::input_schema::{CedarType, Member};
use super::template::plain;
use super::tool::{AmountCurrency, Tool};
use crate::guardrails;
use crate::guardrails::money::Currency;
use crate::mandate::Mandate;

/// Decimals that Cedar keeps.
const CEDAR_SCALE: u32 = 4;
/// The largest and smallest decimals that Cedar holds: `i64` ten-thousandths.
const CEDAR_MANTISSA_MAX: i128 = i64::MAX as i128;

/// What stands for a currency that an input does not say plainly. No window names it.
const NO_CURRENCY: &str = "unknown";

/// Who asks, as policies see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Behind<'a> {
    /// On whose behalf.
    pub(crate) requester: &'a CheckedRequester,
    /// The mandate, where a sound one was brought.
    pub(crate) mandate: Option<&'a Mandate>,
    /// What the agent has seen; empty where no rule for the tool reads it.
    pub(crate) labels: &'a BTreeSet<Token>,
    /// The facts that the catalog declares.
    pub(crate) facts: &'a BTreeMap<String, CedarType>,
    /// What people decided, where this is judged again, and who is in which team.
    pub(crate) approval: Option<(&'a Approved, &'a Directory)>,
}

/// The context of one request. A value that is there but that Cedar cannot hold becomes an
/// empty record, which no comparison takes: a rule that reads it fails to evaluate, and
/// that is a deny. Leaving it out would let `context has amount` step around the rule.
pub(crate) fn context(
    tool: &Tool,
    input: &Map<String, Value>,
    behind: Behind<'_>,
) -> Result<Context, String> {
    let mut pairs = vec![
        ("operation".to_owned(), text(tool.operation.as_str())),
        ("requester".to_owned(), person(behind.requester)?),
        ("input".to_owned(), record(&tool.members, input)?),
    ];
    let labels = behind.labels.iter().map(|label| text(label.as_str()));
    pairs.push(("labels".to_owned(), Expression::new_set(labels)));
    if let Some(mandate) = behind.mandate {
        pairs.push(("mandate".to_owned(), stated(mandate, behind.facts)?));
    }
    if let Some((approval, directory)) = behind.approval {
        pairs.push(("approval".to_owned(), approval.expression(directory)?));
    }
    if !tool.updatable.is_empty() {
        let names = tool.updates(input).into_iter().map(|(name, _)| text(name));
        pairs.push(("fields".to_owned(), Expression::new_set(names)));
    }
    if !tool.recipients.is_empty() {
        let domains = match guardrails::recipient_domains(&tool.recipients, input) {
            Some(domains) => Expression::new_set(domains.iter().map(|domain| text(domain))),
            None => unfit()?,
        };
        pairs.push(("recipient_domains".to_owned(), domains));
    }
    if let Some(value) = tool.amount_value(input) {
        let whole = tool.amount.as_ref().is_some_and(|amount| amount.whole);
        let kind = if whole {
            CedarType::Long
        } else {
            CedarType::Decimal
        };
        pairs.push(("amount".to_owned(), expression(&kind, value)?));
    }
    Context::from_pairs(pairs).map_err(|error| error.to_string())
}

impl Tool {
    /// The value at the amount's place.
    fn amount_value<'i>(&self, input: &'i Map<String, Value>) -> Option<&'i Value> {
        let amount = self.amount.as_ref()?;
        amount.pointer.find(input).into_iter().next()
    }

    /// Whether the amount is below zero though the catalog does not say that it may be:
    /// it would pass below every limit.
    pub(crate) fn amount_is_negative(&self, input: &Map<String, Value>) -> bool {
        let expected = self.amount.as_ref().is_some_and(|amount| amount.negative);
        // A number that cannot be read exactly may still show its sign.
        let sign = |value: &Value| match decimal(value) {
            Some(number) => number.is_sign_negative() && !number.is_zero(),
            None => plain(value).is_some_and(|text| text.trim_start().starts_with('-')),
        };
        !expected && self.amount_value(input).is_some_and(sign)
    }

    /// The currency of the amount, where the catalog names one. An input that does not say
    /// it in a way that all understand is in no currency that anybody knows.
    pub(crate) fn currency_text(&self, input: &Map<String, Value>) -> Option<String> {
        let named = match self.amount.as_ref()?.currency.as_ref()? {
            AmountCurrency::Fixed(code) => Some(code.as_str()),
            AmountCurrency::At(pointer) => {
                let found = pointer.find(input).into_iter().next();
                found.and_then(Value::as_str)
            }
        };
        let known = named.filter(|code| Currency::of(code).is_some());
        Some(known.unwrap_or(NO_CURRENCY).to_owned())
    }

    /// The amount as decimal text, where the input holds one.
    pub(crate) fn amount_text(&self, input: &Map<String, Value>) -> Option<String> {
        let number = decimal(self.amount_value(input)?)?;
        Some(number.normalize().to_string())
    }
}

fn text(value: &str) -> Expression {
    Expression::new_string(value.to_owned())
}

fn person(requester: &CheckedRequester) -> Result<Expression, String> {
    let members = [
        ("id".to_owned(), text(requester.id.as_str())),
        (
            "verified".to_owned(),
            Expression::new_bool(requester.verified),
        ),
    ];
    Expression::new_record(members).map_err(|error| error.to_string())
}

/// A mandate with the facts that the catalog declares; others are out of reach.
fn stated(mandate: &Mandate, declared: &BTreeMap<String, CedarType>) -> Result<Expression, String> {
    let mut facts = Vec::new();
    for (name, kind) in declared {
        if let Some(value) = mandate.facts().get(name) {
            facts.push((name.clone(), expression(kind, value)?));
        }
    }
    let facts = Expression::new_record(facts).map_err(|error| error.to_string())?;
    let members = [
        ("issuer".to_owned(), text(mandate.issuer())),
        ("id".to_owned(), text(mandate.id())),
        ("facts".to_owned(), facts),
    ];
    Expression::new_record(members).map_err(|error| error.to_string())
}

/// Whether a fact is of the type that the catalog gives it: text that reads as a number is
/// no number.
pub(crate) fn is_of_type(kind: &CedarType, value: &Value) -> bool {
    match kind {
        CedarType::Text => value.is_string(),
        CedarType::Bool => value.is_boolean(),
        CedarType::Long => value.is_number() && long(value).is_some(),
        CedarType::Decimal => value.is_number(),
        CedarType::TextSet | CedarType::Record(_) => false,
    }
}

fn unfit() -> Result<Expression, String> {
    Expression::new_record([]).map_err(|error| error.to_string())
}

fn record(members: &[Member], object: &Map<String, Value>) -> Result<Expression, String> {
    let mut pairs = Vec::with_capacity(members.len());
    for member in members {
        if let Some(value) = object.get(&member.name) {
            pairs.push((member.name.clone(), expression(&member.kind, value)?));
        }
    }
    Expression::new_record(pairs).map_err(|error| error.to_string())
}

fn expression(kind: &CedarType, value: &Value) -> Result<Expression, String> {
    let held = match (kind, value) {
        (CedarType::Text, Value::String(value)) => Some(text(value)),
        (CedarType::Bool, Value::Bool(value)) => Some(Expression::new_bool(*value)),
        (CedarType::Long, value) => long(value).map(Expression::new_long),
        (CedarType::Decimal, value) => cedar_decimal(value).map(Expression::new_decimal),
        (CedarType::TextSet, Value::Array(items)) => texts(items),
        (CedarType::Record(members), Value::Object(object)) => Some(record(members, object)?),
        (CedarType::Text | CedarType::Bool | CedarType::TextSet | CedarType::Record(_), _) => None,
    };
    held.map_or_else(unfit, Ok)
}

fn texts(items: &[Value]) -> Option<Expression> {
    let all: Option<Vec<Expression>> = items.iter().map(|item| item.as_str().map(text)).collect();
    all.map(Expression::new_set)
}

/// A whole number that Cedar holds; `1.0` is one too, as in JSON Schema.
fn long(value: &Value) -> Option<i64> {
    let number = decimal(value)?.normalize();
    (number.scale() == 0)
        .then(|| i64::try_from(number.mantissa()).ok())
        .flatten()
}

/// A number, or text that is one, exactly.
fn decimal(value: &Value) -> Option<Decimal> {
    let written = match value {
        Value::Number(_) | Value::String(_) => plain(value)?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let is_plain = written
        .bytes()
        .all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    match is_plain {
        true => Decimal::from_str_exact(&written).ok(),
        // JSON numbers such as `1e3`; text must be written out.
        false if value.is_number() => Decimal::from_scientific(&written).ok(),
        false => None,
    }
}

/// A number as Cedar writes decimals: one to four places.
fn cedar_decimal(value: &Value) -> Option<String> {
    let mut number = decimal(value)?.normalize();
    if number.scale() > CEDAR_SCALE {
        return None;
    }
    number.rescale(CEDAR_SCALE);
    let fits = number.scale() == CEDAR_SCALE && number.mantissa().abs() <= CEDAR_MANTISSA_MAX;
    fits.then(|| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn decimals_fit_exactly_or_not_at_all() {
        let table = [
            (json!(12), Some("12.0000")),
            (json!(12.5), Some("12.5000")),
            (json!("0.0001"), Some("0.0001")),
            (json!("-3.10"), Some("-3.1000")),
            (json!(1e3), Some("1000.0000")),
            (json!("922337203685477.5807"), Some("922337203685477.5807")),
            (json!("922337203685477.5808"), None),
            (json!("0.00001"), None),
            (json!("1e3"), None),
            (json!("1,000.00"), None),
            (json!(" 1"), None),
            (json!("١"), None),
            (json!(1e40), None),
            (json!(true), None),
        ];
        for (value, expected) in table {
            assert_eq!(cedar_decimal(&value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn whole_numbers_fit_exactly_or_not_at_all() {
        assert_eq!(long(&json!(7)), Some(7));
        assert_eq!(long(&json!(7.0)), Some(7));
        assert_eq!(long(&json!(i64::MAX)), Some(i64::MAX));
        assert_eq!(long(&json!(u64::MAX)), None);
        assert_eq!(long(&json!(7.5)), None);
        assert_eq!(long(&json!("x")), None);
    }
}
