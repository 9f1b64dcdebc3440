//! Settings, orders and answers of `rate` and `budget`.

use std::time::Duration;

use countersign_schemas::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::super::tests::{Company, Desk, word};
use super::*;
use crate::ledger::Answer;

const RATE: &str = r#"
    kind = "rate"
    name = "mail"
    per = ["agent", "requester"]
    window = "1h"
    max = 20
"#;
const BUDGET: &str = r#"
    kind = "budget"
    name = "refunds"
    window = "1d"
    amount = "/amount"
    max = "5000.00"
"#;

fn build(toml: &str) -> Box<dyn Guardrail> {
    Company::new().build(toml).unwrap()
}

fn at(text: &str) -> Timestamp {
    format!("2026-11-22T{text}Z").parse().unwrap()
}

/// What `guard` wants to take.
fn order(desk: &Desk, guard: &dyn Guardrail, input: &Value) -> Order {
    match desk.check(guard, input).unwrap() {
        Finding::Wants(Wish::Charge(order)) => order,
        other => panic!("{other:?}"),
    }
}

/// What `guard` finds when the ledger answers so.
fn answered(guard: &dyn Guardrail, answer: &Answer) -> Result<Finding, GuardrailError> {
    let mut desk = Desk::new();
    desk.at = at("10:20:30");
    let input = json!({"amount": 120.5});
    let wish = Wish::Charge(order(&desk, guard, &input));
    desk.known.learn(wish, Ok(json!(answer)));
    desk.check(guard, &input)
}

#[test]
fn a_rate_takes_one_and_a_budget_the_amount_from_the_window_of_the_store_time() {
    let mut desk = Desk::new();
    desk.at = at("10:20:30.5");
    let rate = order(&desk, build(RATE).as_ref(), &json!({}));
    assert_eq!((rate.terms.amount, rate.terms.limit), (1.into(), 20.into()));
    assert_eq!(rate.ends_at, at("11:00:00"));
    assert!(
        rate.ledger
            .as_str()
            .ends_with(&at("10:00:00").seconds().to_string())
    );
    let budget = order(&desk, build(BUDGET).as_ref(), &json!({"amount": "120.50"}));
    assert_eq!(budget.terms.amount, Decimal::new(1205, 1));
    assert_eq!(budget.ends_at, "2026-11-23T00:00:00Z".parse().unwrap());
    // The last instant of a window and the first of the next.
    desk.at = at("10:59:59.999999");
    assert_eq!(order(&desk, build(RATE).as_ref(), &json!({})), rate);
    desk.at = at("11:00:00");
    assert_ne!(
        order(&desk, build(RATE).as_ref(), &json!({})).ledger,
        rate.ledger
    );
}

#[test]
fn each_dimension_is_counted_apart_and_no_other() {
    let ledger = |per: &str, agent: &str| {
        let mut desk = Desk::new();
        desk.agent = agent.parse().unwrap();
        let toml = RATE.replace(r#"["agent", "requester"]"#, per);
        order(&desk, build(&toml).as_ref(), &json!({})).ledger
    };
    assert_ne!(
        ledger(r#"["agent"]"#, "billing"),
        ledger(r#"["agent"]"#, "support")
    );
    assert_eq!(
        ledger(r#"["tool"]"#, "billing"),
        ledger(r#"["tool"]"#, "support")
    );
    assert_eq!(ledger("[]", "billing"), ledger("[]", "support"));
    assert_ne!(ledger("[]", "billing"), ledger(r#"["tool"]"#, "billing"));
}

#[test]
fn a_requester_is_counted_apart_once_a_mandate_proves_it_and_inventing_others_gains_nothing() {
    let guard = build(&RATE.replace(r#"["agent", "requester"]"#, r#"["requester"]"#));
    let ledger = |agent: &str, requester: &str, verified| {
        let mut desk = Desk::new();
        desk.agent = agent.parse().unwrap();
        desk.requester.id = requester.parse().unwrap();
        desk.requester.verified = verified;
        order(&desk, guard.as_ref(), &json!({})).ledger
    };
    let claimed = ledger("billing", "kim", false);
    for invented in ["kim-1", "lee", "billing", "support"] {
        assert_eq!(ledger("billing", invented, false), claimed, "{invented}");
    }
    // One agent's claims do not use up what is another's, and nobody's proved part.
    assert_ne!(ledger("support", "kim", false), claimed);
    assert_ne!(ledger("billing", "kim", true), claimed);
    assert_ne!(ledger("billing", "billing", true), claimed);
    // A proved requester is one, whichever agent acts.
    assert_eq!(
        ledger("billing", "kim", true),
        ledger("support", "kim", true)
    );
    assert_ne!(
        ledger("billing", "kim", true),
        ledger("billing", "lee", true)
    );
}

#[test]
fn amounts_that_cannot_be_counted_deny_and_are_not_told() {
    let guard = build(BUDGET);
    let table = [
        (json!({"amount": 0}), "wants"),
        (json!({"amount": 120}), "wants"),
        (json!({"amount": 120.123_456}), "wants"),
        (json!({"amount": "120.1234567"}), "error"),
        (json!({"amount": -1}), "error"),
        (json!({"amount": "-0.01"}), "error"),
        (json!({"amount": "1e3"}), "error"),
        (json!({"amount": "1,000"}), "error"),
        (json!({"amount": 1_000_000_000_000_001_i64}), "error"),
        (json!({"amount": null}), "error"),
        (json!({"amount": [1]}), "error"),
        (json!({}), "error"),
    ];
    for (input, expected) in table {
        let found = Desk::new().check(guard.as_ref(), &input);
        assert_eq!(word(&found), expected, "{input}");
        if let Err(error) = found {
            assert!(!error.to_string().contains("120.1234567"), "{error}");
        }
    }
}

#[test]
fn each_answer_has_its_finding_in_words() {
    let guard = build(BUDGET);
    let held = |over| Answer::Held { mark: 3, over };
    let passed = answered(guard.as_ref(), &held(false)).unwrap();
    assert!(matches!(passed, Finding::Pass { .. }));
    // A ledger never lets a refusing guardrail go over; if it did, nothing passes.
    assert!(answered(guard.as_ref(), &held(true)).is_err());
    let used = Answer::Exceeded {
        used: Decimal::new(499_000, 2),
    };
    let Finding::Exceeded { message, need } = answered(guard.as_ref(), &used).unwrap() else {
        panic!("it fits");
    };
    for said in [
        "`refunds`",
        "4990 of 5000",
        "10 is left",
        "2026-11-23T00:00:00",
    ] {
        assert!(message.contains(said), "{message}");
    }
    assert!(need.contains("2026-11-23T00:00:00"), "{need}");
    assert!(!message.contains("120.5") && !need.contains("120.5"));
    for answer in [Answer::Crowded, Answer::Closed] {
        assert_eq!(word(&answered(guard.as_ref(), &answer)), "exceeded");
    }
    // A limit that was lowered leaves nothing, not less than nothing.
    let more = Answer::Exceeded { used: 9_000.into() };
    let Finding::Exceeded { message, .. } = answered(guard.as_ref(), &more).unwrap() else {
        panic!("it fits");
    };
    assert!(message.contains("and 0 is left"), "{message}");
}

#[test]
fn beyond_it_people_decide_where_the_settings_say_so() {
    let asking = format!("{BUDGET}\nover = \"ask\"\nask = \"finance:2\"\nexpires = \"30m\"");
    let guard = build(&asking);
    let input = json!({"amount": 1});
    assert!(order(&Desk::new(), guard.as_ref(), &input).terms.beyond);
    let over = Answer::Held {
        mark: 3,
        over: true,
    };
    let Finding::Ask { message, ask, .. } = answered(guard.as_ref(), &over).unwrap() else {
        panic!("nobody is asked");
    };
    assert!(message.contains("goes over budget `refunds`"), "{message}");
    assert_eq!(ask.words(), "2 of finance");
    assert_eq!(ask.expires, Duration::from_secs(30 * 60));
    let within = Answer::Held {
        mark: 3,
        over: false,
    };
    assert_eq!(word(&answered(guard.as_ref(), &within)), "pass");
}

#[test]
fn without_an_answer_that_can_be_read_nothing_passes() {
    let guard = build(RATE);
    let wish = Wish::Charge(order(&Desk::new(), guard.as_ref(), &json!({})));
    for learnt in [
        Err("its ledger cannot be reached".to_owned()),
        Ok(json!({"mark": 1})),
    ] {
        let mut desk = Desk::new();
        desk.known.learn(wish.clone(), learnt);
        assert_eq!(word(&desk.check(guard.as_ref(), &json!({}))), "error");
    }
}

#[test]
fn every_fault_of_the_settings_is_told() {
    let company = Company::new();
    let faults = |toml: &str| company.faults(toml);
    let table = [
        (RATE.replace("1h", "9s"), "`window`"),
        (RATE.replace("1h", "32d"), "`window`"),
        (RATE.replace("1h", "an hour"), "`window`"),
        (RATE.replace("max = 20", "max = -1"), "docs/policy.md"),
        (
            RATE.replace("\"requester\"", "\"session\""),
            "docs/policy.md",
        ),
        (format!("{RATE}\nask = \"finance\""), "has `ask`"),
        (format!("{RATE}\nover = \"ask\""), "lacks `ask`"),
        (BUDGET.replace("5000.00", "5,000"), "`max`"),
        (BUDGET.replace("5000.00", "-1"), "`max`"),
        (BUDGET.replace("5000.00", "1.0000001"), "`max`"),
        (BUDGET.replace("/amount", "amount"), "`amount`"),
        (BUDGET.replace("/amount", "/lines/*/amount"), "`amount`"),
    ];
    for (toml, said) in table {
        let told = faults(&toml);
        assert!(
            told.len() == 1 && told[0].contains(said),
            "{toml}: {told:?}"
        );
    }
    let wrong = BUDGET.replace("1d", "0s").replace("5000.00", "x");
    assert_eq!(faults(&format!("{wrong}\nover = \"ask\"")).len(), 3);
}
