//! Facts that match, facts that only look alike, and facts that are not there.

use serde_json::json;

use super::super::tests::{Company, Desk, word};
use super::*;
use crate::mandate::fixtures::{NOW, Signer, at, claims};
use crate::mandate::{Algorithm, Issuers, Mandate};

fn mandate(facts: Value) -> Mandate {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    let mut said = claims();
    said["facts"] = facts;
    let issuers = Issuers::new(vec![signer.issuer()]);
    let agent = "support".parse().unwrap();
    issuers
        .verify(&signer.token(&said), &agent, at(NOW))
        .unwrap()
}

fn built(toml: &str) -> Box<dyn Guardrail> {
    let company = Company::new().classed("/pin", "secret");
    company
        .build(toml)
        .unwrap_or_else(|faults| panic!("{faults:?}"))
}

#[test]
fn a_field_equals_the_fact_of_the_mandate_exactly_or_not_at_all() {
    let guard = built("kind = \"match_fact\"\nfield = \"/customer\"\nfact = \"customer\"");
    assert_eq!(guard.fact(), Some("customer"));
    let table = [
        (json!("C-1"), json!("C-1"), "pass"),
        (json!("C-1"), json!("C-2"), "deny"),
        (json!("C-1"), json!("c-1"), "deny"),
        (json!("C-1"), json!("C-1 "), "deny"),
        (json!("C-1"), json!("С-1"), "deny"),
        (json!("C-1"), json!("C-1\u{200b}"), "deny"),
        (json!("é"), json!("e\u{301}"), "deny"),
        (json!("C-1"), json!(["C-1"]), "deny"),
        (json!("C-1"), json!({"id": "C-1"}), "deny"),
        (json!("C-1"), json!(null), "deny"),
        (json!("1"), json!(1), "deny"),
        (json!(1), json!("1"), "deny"),
        (json!(1), json!(1), "pass"),
        (json!(1), json!(1.0), "pass"),
        (json!(1), json!(true), "deny"),
        (json!(0), json!(false), "deny"),
        (json!(1), json!(1.000_000_1), "deny"),
        (json!(-0.0), json!(0), "pass"),
        (json!(true), json!(true), "pass"),
        (json!(true), json!("true"), "deny"),
        (json!(""), json!(""), "pass"),
        (json!(""), json!(null), "deny"),
    ];
    for (fact, held, expected) in table {
        let mut desk = Desk::new();
        desk.mandate = Some(mandate(json!({"customer": fact})));
        let found = desk.check(guard.as_ref(), &json!({"customer": held, "fact": "C-1"}));
        assert_eq!(word(&found), expected, "{fact} {held}");
        let told = format!("{found:?}");
        assert!(!told.contains("C-"), "{told}");
    }
}

#[test]
fn without_the_fact_or_the_field_nothing_passes() {
    let guard = built("kind = \"match_fact\"\nfield = \"/customer\"\nfact = \"customer\"");
    let input = json!({"customer": "C-1", "facts": {"customer": "C-1"}});
    let mut desk = Desk::new();
    assert_eq!(word(&desk.check(guard.as_ref(), &input)), "deny");
    desk.mandate = Some(mandate(json!({"case": "C-1"})));
    assert_eq!(word(&desk.check(guard.as_ref(), &input)), "deny");
    desk.mandate = Some(mandate(json!({"customer": "C-1"})));
    assert_eq!(word(&desk.check(guard.as_ref(), &input)), "pass");
    assert_eq!(word(&desk.check(guard.as_ref(), &json!({}))), "deny");
}

#[test]
fn an_entry_is_wished_for_by_its_key_and_then_compared() {
    let text = "kind = \"match_fact\"\nfield = \"/customer\"\nkey = \"orders.{/order}.customer\"";
    let guard = built(text);
    let input = json!({"customer": "C-1", "order": "O-7"});
    let wish = Wish::Fact {
        key: "orders.O-7.customer".to_owned(),
    };
    let found = Desk::new().check(guard.as_ref(), &input);
    assert_eq!(found, Ok(Finding::Wants(wish.clone())));
    let table = [
        (Ok(json!("C-1")), "pass"),
        (Ok(json!("C-2")), "deny"),
        (Ok(json!(null)), "deny"),
        (Ok(json!({"customer": "C-1"})), "deny"),
        (Ok(json!(["C-1"])), "deny"),
        (Err("the bucket does not answer".to_owned()), "error"),
    ];
    for (learnt, expected) in table {
        let mut desk = Desk::new();
        desk.known.learn(wish.clone(), learnt.clone());
        assert_eq!(
            word(&desk.check(guard.as_ref(), &input)),
            expected,
            "{learnt:?}"
        );
    }
}

#[test]
fn a_fact_may_stand_within_an_entry() {
    let text = "kind = \"match_fact\"\nfield = \"/customer\"\nkey = \"orders.{/order}\"\nat = \"/owner/id\"";
    let guard = built(text);
    let input = json!({"customer": "C-1", "order": "O-7"});
    let table = [
        (json!({"owner": {"id": "C-1"}}), "pass"),
        (json!({"owner": {"id": "C-2"}}), "deny"),
        (json!({"owner": "C-1"}), "deny"),
        (json!({"owner": {"id": null}}), "deny"),
        (json!("C-1"), "deny"),
        (json!(null), "deny"),
    ];
    for (entry, expected) in table {
        let mut desk = Desk::new();
        desk.known.learn(
            Wish::Fact {
                key: "orders.O-7".to_owned(),
            },
            Ok(entry.clone()),
        );
        assert_eq!(
            word(&desk.check(guard.as_ref(), &input)),
            expected,
            "{entry}"
        );
    }
}

#[test]
fn what_an_agent_writes_stays_within_its_part_of_the_key() {
    let text = "kind = \"match_fact\"\nfield = \"/customer\"\nkey = \"{agent}.orders.{/order}\"";
    let guard = built(text);
    let table = [
        (json!("O-7"), Some("billing.orders.O-7")),
        (json!(7), Some("billing.orders.7")),
        (json!("a.b"), Some("billing.orders.a=2Eb")),
        (json!("*"), Some("billing.orders.=2A")),
        (json!(">"), Some("billing.orders.=3E")),
        (json!("O 7\r\n"), Some("billing.orders.O=207=0D=0A")),
        (json!("=2E"), Some("billing.orders.=3D2E")),
        (json!("ü"), Some("billing.orders.=C3=BC")),
        (json!(""), None),
        (json!(null), None),
        (json!(["O-7"]), None),
        (json!("x".repeat(400)), None),
    ];
    for (order, expected) in table {
        let found = Desk::new().check(guard.as_ref(), &json!({"customer": "C-1", "order": order}));
        match expected {
            Some(key) => {
                let wish = Wish::Fact {
                    key: key.to_owned(),
                };
                assert_eq!(found, Ok(Finding::Wants(wish)), "{order}");
            }
            None => assert_eq!(word(&found), "error", "{order}"),
        }
    }
    assert_eq!(
        word(&Desk::new().check(guard.as_ref(), &json!({"customer": "C-1"}))),
        "error"
    );
}

#[test]
fn an_entry_of_the_requester_needs_a_proved_one() {
    let text = "kind = \"match_fact\"\nfield = \"/customer\"\nkey = \"customers.{requester}\"";
    let guard = built(text);
    let input = json!({"customer": "C-1"});
    let mut desk = Desk::new();
    assert_eq!(word(&desk.check(guard.as_ref(), &input)), "error");
    desk.requester.verified = true;
    desk.requester.id = "kim@northwind.example".parse().unwrap();
    let wish = Wish::Fact {
        key: "customers.kim=40northwind=2Eexample".to_owned(),
    };
    assert_eq!(desk.check(guard.as_ref(), &input), Ok(Finding::Wants(wish)));
}

#[test]
fn settings_with_a_fault_are_told() {
    let company = Company::new().classed("/pin", "secret");
    let table = [
        ("field = \"/a\"", "has not one of"),
        (
            "field = \"/a\"\nfact = \"b\"\nkey = \"c\"",
            "has not one of",
        ),
        (
            "field = \"/a\"\nfact = \"b\"\nat = \"/c\"",
            "has not one of",
        ),
        ("field = \"/a/*\"\nfact = \"b\"", "several"),
        ("field = \"a\"\nfact = \"b\"", "JSON Pointer"),
        ("field = \"/a\"\nkey = \"\"", "a part is not"),
        ("field = \"/a\"\nkey = \"a..b\"", "a part is not"),
        ("field = \"/a\"\nkey = \"a.*\"", "a part is not"),
        ("field = \"/a\"\nkey = \"a.>\"", "a part is not"),
        ("field = \"/a\"\nkey = \"a b\"", "a part is not"),
        ("field = \"/a\"\nkey = \"a-{/b}\"", "a part is not"),
        ("field = \"/a\"\nkey = \"{/b}{/c}\"", "pointer"),
        ("field = \"/a\"\nkey = \"{purpose}\"", "pointer"),
        ("field = \"/a\"\nkey = \"{/b/*}\"", "pointer"),
        ("field = \"/a\"\nkey = \"{/pin}\"", "secret"),
        ("field = \"/a\"\nkey = \"k\"\nat = \"/*\"", "several"),
        (
            "field = \"/a\"\nkey = \"k\"\nbucket = \"CS_APPROVALS\"",
            "bucket",
        ),
    ];
    for (toml, words) in table {
        let faults = company.faults(&format!("kind = \"match_fact\"\n{toml}"));
        assert!(faults.concat().contains(words), "{toml}: {faults:?}");
    }
}
