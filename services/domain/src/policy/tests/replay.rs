//! Archived intents under another bundle.

use countersign_schemas::events::Verdict;
use countersign_schemas::{IntentId, JsonObject, Timestamp};
use serde_json::{Value, json};

use super::support::*;
use crate::policy::{Archived, NotJudged, Replay, replay};

fn row(tool: &str, input: Value, verdict: Verdict, because: &str) -> Archived {
    Archived {
        intent_id: IntentId::new_at(Timestamp::EPOCH),
        agent: "bot".parse().unwrap(),
        requester: "kim".parse().unwrap(),
        proved: false,
        tool: tool.parse().unwrap(),
        purpose: "to test".to_owned(),
        input: JsonObject::from_value(input),
        at: Timestamp::EPOCH,
        verdict,
        because: vec![because.to_owned()],
    }
}

/// Rows as the bundle of the tests judged them.
fn archive() -> Vec<Archived> {
    let limit = |limit: u32| json!({"id": "C-1", "limit": limit});
    vec![
        row("doc.read", json!({"id": "1"}), Verdict::Allow, "work"),
        row("contact.update", limit(5), Verdict::Allow, "work"),
        row("contact.update", limit(60), Verdict::Allow, "work"),
        row("contact.update", limit(70), Verdict::Allow, "work"),
        row("contact.update", limit(500), Verdict::Ask, "limit-asked"),
        row("contact.update", limit(5000), Verdict::Deny, "limit-top"),
    ]
}

fn with(rules: &str, rows: Vec<Archived>) -> Replay {
    replay(&with_policies(rules), rows).unwrap()
}

#[test]
fn the_bundle_that_judged_changes_nothing() {
    let found = with(POLICIES, archive());
    assert_eq!((found.rows, found.judged, found.same), (6, 6, 6));
    assert!(found.shifts.is_empty() && found.not_judged.is_empty());
    assert_eq!(
        (found.rules["work"].before, found.rules["work"].after),
        (4, 4)
    );
}

#[test]
fn each_change_names_the_rule_that_makes_it() {
    let lower = POLICIES.replace("100.0", "50.0");
    let found = with(&lower, archive());
    assert_eq!(found.same, 4);
    let [shift] = found.shifts.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!((shift.from, shift.to), (Verdict::Allow, Verdict::Ask));
    assert_eq!((shift.because.as_str(), shift.count), ("limit-asked", 2));
    assert_eq!(shift.examples.len(), 2);

    let (asks, _) = POLICIES.split_once("@id(\"limit-top\")").unwrap();
    let wider = with(asks, archive());
    let [shift] = wider.shifts.as_slice() else {
        panic!("{wider:?}")
    };
    assert_eq!((shift.from, shift.to), (Verdict::Deny, Verdict::Ask));
    assert_eq!(
        shift.because, "limit-top",
        "the rule that no longer stops it"
    );
    assert_eq!(wider.rules["limit-top"].after, 0);
}

#[test]
fn what_cannot_be_judged_is_counted_and_never_guessed() {
    let mark = "[email:k1:0123456789ab]";
    let redacted = row(
        "contact.update",
        json!({"id": "C-1", "email": mark}),
        Verdict::Ask,
        "mail-asked",
    );
    let inside = row(
        "doc.read",
        json!({"id": format!("see {mark}")}),
        Verdict::Allow,
        "work",
    );
    let mut cut = row("doc.read", json!({"id": "1"}), Verdict::Allow, "work");
    cut.input = None;
    let mut proved = row("doc.read", json!({"id": "1"}), Verdict::Allow, "work");
    proved.proved = true;
    let found = with(POLICIES, vec![redacted, inside, cut, proved]);
    assert_eq!((found.rows, found.judged), (4, 0));
    assert_eq!(found.not_judged[&NotJudged::Redacted], 2);
    assert_eq!(found.not_judged[&NotJudged::NotWhole], 1);
    assert_eq!(found.not_judged[&NotJudged::Mandate], 1);
    assert!(found.shifts.is_empty() && found.rules.is_empty());
}
