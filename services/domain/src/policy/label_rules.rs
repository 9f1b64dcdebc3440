//! Which rules read labels, and labels that a rule names and no tool gives.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use countersign_schemas::Token;
use serde_json::{Value, json};

/// The tests of a set that name its members.
const MEMBER_TESTS: [&str; 3] = ["contains", "containsAll", "containsAny"];

/// Whether a rule reads `context.labels`; one that cannot be looked into is taken to.
pub(crate) fn reads_labels(policy: &Policy) -> bool {
    policy.to_json().map_or(true, |json| names_attribute(&json))
}

fn names_attribute(json: &Value) -> bool {
    match json {
        Value::Object(object) => {
            let here = object.get("attr").is_some_and(|name| name == "labels");
            here || object.values().any(names_attribute)
        }
        Value::Array(items) => items.iter().any(names_attribute),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The labels that a rule tests for and that are not in `given`: a misspelt one would
/// never be found, and the rule would protect nothing.
pub(crate) fn unknown_labels(policy: &Policy, given: &BTreeSet<&Token>) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    if let Ok(json) = policy.to_json() {
        gather(&json, &mut named);
    }
    named.retain(|name| !given.iter().any(|label| label.as_str() == name));
    named
}

fn gather(json: &Value, named: &mut BTreeSet<String>) {
    let labels = json!({".": {"left": {"Var": "context"}, "attr": "labels"}});
    match json {
        Value::Object(object) => {
            for (test, sides) in object {
                let members = ["left", "right"].map(|side| sides.get(side));
                if MEMBER_TESTS.contains(&test.as_str()) && members.contains(&Some(&labels)) {
                    members.iter().flatten().for_each(|side| texts(side, named));
                }
                gather(sides, named);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, named)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Every literal text of an expression.
fn texts(json: &Value, named: &mut BTreeSet<String>) {
    match json {
        Value::Object(object) => {
            let literal = object.get("Value").and_then(Value::as_str);
            named.extend(literal.map(str::to_owned));
            object.values().for_each(|value| texts(value, named));
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, named)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(when: &str) -> Policy {
        let text = format!("forbid(principal, action, resource) when {{ {when} }};");
        Policy::parse(None, text).unwrap()
    }

    #[test]
    fn rules_that_read_labels_are_known() {
        for (when, reads) in [
            ("context.labels.contains(\"a\")", true),
            ("!context.labels.isEmpty()", true),
            ("context has labels", true),
            ("context[\"labels\"].contains(\"a\")", true),
            (
                "if context.x then context.labels == [\"a\"] else true",
                true,
            ),
            ("context.input.name == \"labels\"", false),
            ("true", false),
        ] {
            assert_eq!(reads_labels(&policy(when)), reads, "{when}");
        }
    }

    #[test]
    fn a_label_that_no_tool_gives_is_found() {
        let pii: Token = "pii".parse().unwrap();
        let given = BTreeSet::from([&pii]);
        for (when, unknown) in [
            ("context.labels.contains(\"pii\")", &[][..]),
            ("context.labels.contains(\"pli\")", &["pli"]),
            (
                "context.labels.containsAny([\"pii\", \"x\", \"y\"])",
                &["x", "y"],
            ),
            ("[\"pii\", \"x\"].containsAll(context.labels)", &["x"]),
            ("true && (context.labels.contains(\"x\") || false)", &["x"]),
            ("context.fields.contains(\"email\")", &[]),
        ] {
            let found: Vec<String> = unknown_labels(&policy(when), &given).into_iter().collect();
            assert_eq!(found, unknown, "{when}");
        }
    }
}
