//! Inputs that try to step around a rule: each ends with a deny or with people.

use countersign_schemas::ToolName;
use countersign_schemas::events::{ToolRequested, Verdict};
use countersign_schemas::json::{JsonFault, parse_strict};

use super::support::*;

/// `contact.update` asks above 100 and for a new address, and denies above 1,000.
const NUMBERS: &str = r#"bot contact.update {"id": "c", "limit": 100.01} => ask limit-asked
bot contact.update {"id": "c", "limit": 1000.0001} => deny limit-top
bot contact.update {"id": "c", "limit": 1e3} => ask limit-asked
bot contact.update {"id": "c", "limit": 1E+4} => deny limit-top
bot contact.update {"id": "c", "limit": 100.00001} => deny policy_error
bot contact.update {"id": "c", "limit": 1e-9} => deny policy_error
bot contact.update {"id": "c", "limit": 922337203685477.5} => deny limit-top
bot contact.update {"id": "c", "limit": 1e18} => deny policy_error
bot contact.update {"id": "c", "limit": 1e300} => deny policy_error
bot contact.update {"id": "c", "limit": -1} => deny invalid_input
bot contact.update {"id": "c", "limit": -0.0001} => deny invalid_input
bot contact.update {"id": "c", "limit": -1e300} => deny invalid_input
bot contact.update {"id": "c", "limit": -5000} => deny invalid_input"#;

const SHAPES: &str = r#"bot contact.update {} => deny invalid_input
bot contact.update {"limit": 500} => deny invalid_input
bot contact.update {"id": null} => deny invalid_input
bot contact.update {"id": "c", "limit": null} => deny invalid_input
bot contact.update {"id": "c", "email": null} => deny invalid_input
bot contact.update {"id": "c", "limit": "500"} => deny invalid_input
bot contact.update {"id": "c", "limit": true} => deny invalid_input
bot contact.update {"id": "c", "limit": [500]} => deny invalid_input
bot contact.update {"id": "c", "limit": {"0": 500}} => deny invalid_input
bot contact.update {"id": ["c"], "limit": 500} => deny invalid_input
bot contact.update {"id": "c", "0": 500} => deny invalid_input
bot contact.update {"id": "c", "/limit": 500} => deny invalid_input
bot contact.update {"id": "c", "contact/limit": 500} => deny invalid_input
bot contact.update {"id": "c", "input": {"limit": 500}} => deny invalid_input
bot contact.update {"id": "c", "": 500} => deny invalid_input
bot mail.send {"to": ["a@home.example"]} => deny invalid_input
bot mail.send {"to": "a@home.example, b@other.example"} => ask work,approval_required
bot mail.send {"to": "a@home.example <b@other.example>"} => deny guardrail_violated
bot mail.send {"to": ""} => deny guardrail_violated"#;

const NAMES: &str = r#"bot contact.update {"id": "c", "lіmit": 500} => deny invalid_input
bot contact.update {"id": "c", "ｌimit": 500} => deny invalid_input
bot contact.update {"id": "c", "LIMIT": 500} => deny invalid_input
bot contact.update {"id": "c", "limit\u200b": 500} => deny invalid_input
bot contact.update {"id": "c", "limit\u0000": 500} => deny invalid_input
bot contact.update {"id": "c", "emаil": "a@b.example"} => deny invalid_input
bot contact.update {"id": "c", "\u0065mail": "a@b.example"} => ask mail-asked
bot mail.send {"to": "a@hоme.example"} => ask work,approval_required
bot mail.send {"to": "a@home。example.other.example"} => ask work,approval_required
bot Contact.update {"id": "c", "limit": 500} => deny unknown_tool
bot contact_update {"id": "c", "limit": 500} => deny unknown_tool
Bot contact.update {"id": "c", "limit": 500} => deny policy_denied,unknown_agent"#;

#[test]
fn no_number_shape_or_name_steps_around_a_rule() {
    let bundle = bundle();
    for line in [NUMBERS, SHAPES, NAMES]
        .iter()
        .flat_map(|table| table.lines())
    {
        let (agent, tool, input, expected) = case(line);
        let checked = check(&bundle, agent, tool, input);
        assert_eq!(words(&checked), expected, "{line}");
        assert_ne!(checked.verdict, Verdict::Allow);
        assert!(
            !checked.reasons.is_empty() && !checked.needs.is_empty(),
            "{line}"
        );
    }
}

#[test]
fn a_tool_that_only_looks_like_another_has_no_name() {
    for name in [
        "contact.updаte",
        "contact．update",
        "contact.update\u{200b}",
        " contact.update",
        "contact.update\0",
        "contact..update",
    ] {
        assert!(name.parse::<ToolName>().is_err(), "{name}");
        let request =
            serde_json::to_value(request("doc.read", serde_json::json!({"id": "x"}))).unwrap();
        let mut disguised = request.clone();
        disguised["tool"] = name.into();
        assert!(serde_json::from_value::<ToolRequested>(request).is_ok());
        assert!(
            serde_json::from_value::<ToolRequested>(disguised).is_err(),
            "{name}"
        );
    }
}

#[test]
fn a_key_given_twice_and_a_number_that_readers_round_are_never_judged() {
    for (text, fault) in [
        (
            r#"{"id": "c", "limit": 1, "limit": 500}"#,
            JsonFault::DuplicateKey,
        ),
        (
            r#"{"id": "c", "limit": 1, "l\u0069mit": 500}"#,
            JsonFault::DuplicateKey,
        ),
        (
            r#"{"id": "c", "limit": 99.99999999999999999999}"#,
            JsonFault::Number,
        ),
        (
            r#"{"id": "c", "limit": 9007199254740993}"#,
            JsonFault::Number,
        ),
    ] {
        assert_eq!(
            parse_strict(text.as_bytes()).unwrap_err().fault,
            fault,
            "{text}"
        );
    }
}

#[test]
fn a_tool_may_take_amounts_below_zero_where_the_catalog_says_so() {
    let mut files = files();
    let catalog = CATALOG.replace(
        "amount = \"/limit\"",
        "amount = \"/limit\"\nnegative_amount = true",
    );
    files.insert("catalog/all.toml".to_owned(), catalog.into_bytes());
    let credit = crate::policy::Bundle::from_files(&files).unwrap();
    let input = serde_json::json!({"id": "c", "limit": -5});
    assert_eq!(
        words(&check(&credit, "bot", "contact.update", input)),
        "allow work"
    );
}

#[test]
fn a_forbid_without_a_need_still_says_what_would_help() {
    let bundle = with_policies(
        "@id(\"never\") @because(\"Nobody reads.\") forbid(principal, action == Action::\"doc.read\", resource);",
    );
    let checked = check(&bundle, "bot", "doc.read", serde_json::json!({"id": "x"}));
    assert_eq!(
        checked.needs[0].message,
        "a call that rule `never` does not forbid; team `help` can help"
    );
}
