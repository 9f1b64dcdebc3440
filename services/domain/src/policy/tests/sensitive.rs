//! Nothing sensitive leaves a judgement but what approvers are meant to see.

use countersign_schemas::JsonObject;
use countersign_schemas::events::{PolicyChecked, Verdict};
use serde_json::{Value, json};

use super::support::*;
use crate::input;
use crate::mandate::Issuers;
use crate::policy::{Judging, Known, MatchKey, judge_without_bundle, without_input};

/// The event without the fields that only approvers and executors read.
fn archived(checked: &PolicyChecked) -> String {
    let mut value = serde_json::to_value(checked).unwrap();
    let fields = value.as_object_mut().unwrap();
    for private in ["input_shown", "salt", "input_match", "input_digest"] {
        fields.remove(private);
    }
    value.to_string()
}

#[test]
fn approvers_see_each_field_as_the_catalog_says() {
    let bundle = bundle();
    let input = json!({"id": "c-1", "email": "ann@far.example", "limit": 5, "pin": "918273", "free": "hello"});
    let checked = check(&bundle, "bot", "contact.update", input);
    assert_eq!(
        checked.input_shown.to_value(),
        json!({"id": "c-1", "email": "*@far.example", "limit": 5, "pin": "[secret]", "free": "[redacted]"})
    );
    let archived = archived(&checked);
    for value in ["ann@", "far.example", "918273"] {
        assert!(!archived.contains(value), "{archived}");
    }
    assert_eq!(checked.amount.as_deref(), Some("5"));
    let mail = check(
        &bundle,
        "bot",
        "mail.send",
        json!({"to": "ann@far.example", "body": "call ann@far.example"}),
    );
    assert_eq!(mail.input_shown.0["to"], json!("ann@far.example"));
    assert!(
        !mail.input_shown.0["body"]
            .as_str()
            .unwrap()
            .contains("ann@"),
        "{:?}",
        mail.input_shown
    );
    assert!(!self::archived(&mail).contains("far.example"), "{mail:?}");
}

#[test]
fn what_an_agent_says_besides_its_input_is_redacted_before_anybody_is_told() {
    let input = json!({"to": "ann@home.example", "body": "hello"});
    let mut wanted = request("mail.send", input);
    wanted.purpose = "charge 4111 1111 1111 1111 for ann@far.example".to_owned();
    wanted.session_id = Some("session of ann@far.example".to_owned());
    let checked = judge_request(&bundle(), "bot", &wanted);
    let marks = ["charge [card:k1:", "] for [email:k1:"];
    assert!(
        marks.iter().all(|mark| checked.purpose.contains(mark)),
        "{}",
        checked.purpose
    );
    let session = checked.session_id.clone().unwrap();
    assert!(session.starts_with("session of [email:k1:"), "{session}");
    let told = serde_json::to_string(&checked).unwrap();
    assert!(
        !told.contains("4111") && !told.contains("ann@far"),
        "{told}"
    );
}

#[test]
fn what_the_catalog_does_not_know_leaves_nothing() {
    // The schema of this tool is open, so that members without a class pass.
    let input = json!({"to": "ann@home.example", "body": "hello", "note": "her cat died",
        "limit": 47114711, "urgent": true, "more": {"list": ["blue house", 815081508, null, false]}});
    let checked = check(&bundle(), "bot", "mail.send", input);
    let hidden = json!("[redacted]");
    for copy in [&checked.input_redacted, &checked.input_shown] {
        assert_eq!(copy.0["body"], json!("hello"));
        assert_eq!((&copy.0["note"], &copy.0["limit"]), (&hidden, &hidden));
        assert_eq!(copy.0["urgent"], json!(true));
        assert_eq!(copy.0["more"]["list"], json!([hidden, hidden, null, false]));
    }
    let all = serde_json::to_string(&checked).unwrap();
    for value in ["cat died", "47114711", "blue house", "815081508"] {
        assert!(!all.contains(value), "{all}");
    }
}

#[test]
fn changes_name_the_field_and_its_redacted_value() {
    let checked = check(
        &bundle(),
        "bot",
        "contact.update",
        json!({"id": "c-1", "email": "ann@far.example", "limit": 7.5}),
    );
    assert_eq!(checked.summary, "Change email, limit of c-1");
    let rows: Vec<(&str, &str)> = checked
        .changes
        .iter()
        .map(|one| (one.resource.as_str(), one.field.as_str()))
        .collect();
    assert_eq!(rows, [("contact/c-1", "email"), ("contact/c-1", "limit")]);
    assert!(
        checked.changes[0]
            .after
            .as_deref()
            .unwrap()
            .starts_with("[email:k1:")
    );
    assert_eq!(checked.changes[1].after.as_deref(), Some("7.5"));
}

#[test]
fn a_misplaced_value_is_named_nowhere() {
    // The PIN stands in a field that the schema does not have, the address where an id was
    // expected.
    let input =
        json!({"id": "ann.of.far@far.example", "pin_code": "918273", "free": "my pin is 918273"});
    let checked = check(&bundle(), "bot", "contact.update", input);
    assert_eq!(words(&checked), "deny invalid_input");
    let all = serde_json::to_string(&checked).unwrap();
    for value in ["918273", "far.example"] {
        assert!(!all.contains(value), "{all}");
    }
    // Neither does an agent that nobody knows, whose input is not even looked at.
    let input = json!({"id": "c", "pin_code": "918273", "free": "my pin is 918273"});
    let unknown = check(&bundle(), "nobody", "contact.update", input);
    let all = serde_json::to_string(&unknown).unwrap();
    assert!(!all.contains("918273"), "{all}");
    assert!(
        checked.reasons[0]
            .message
            .contains("`/id` breaks `maxLength`"),
        "{}",
        checked.reasons[0].message
    );
}

#[test]
fn a_verdict_can_do_without_its_input() {
    let input = json!({"id": "c-1", "email": "ann@far.example", "limit": 500});
    let asked = check(&bundle(), "bot", "contact.update", input);
    assert_eq!(asked.verdict, Verdict::Ask);
    let bare = without_input(asked.clone());
    assert_eq!(words(&bare), "deny invalid_input");
    assert!(bare.ask.is_none() && bare.changes.is_empty() && bare.input_shown.0.is_empty());
    assert_eq!(
        (bare.intent_id, bare.input_digest),
        (asked.intent_id, asked.input_digest)
    );
}

#[test]
fn an_unknown_tool_leaves_marks_only() {
    let checked = check(
        &bundle(),
        "bot",
        "doc.burn",
        json!({"a": "plain words", "b": {"c": 4711}}),
    );
    let all = serde_json::to_string(&checked).unwrap();
    assert!(
        !all.contains("plain words") && !all.contains("4711"),
        "{all}"
    );
    assert!(checked.input_shown.0.is_empty());
}

#[test]
fn surrogates_are_refused_wherever_they_stand() {
    let bundle = bundle();
    let token = format!("tok_email_{}", "abcdefghijklmnopqrstuvwxyz");
    let places = [
        json!({"id": token}),
        json!({"id": format!("see {token}, please")}),
        json!({"id": "x", "more": [{"deep": token.to_uppercase()}]}),
        json!({"id": "x", (token.clone()): 1}),
    ];
    for input in places {
        assert_eq!(
            words(&check(&bundle, "bot", "doc.read", input.clone())),
            "deny unavailable",
            "{input}"
        );
    }
    for innocent in ["tok_email", "tok_email_short", "token"] {
        assert_eq!(
            check(&bundle, "bot", "doc.read", json!({ "id": innocent })).verdict,
            Verdict::Allow
        );
    }
}

#[test]
fn digests_bind_the_exact_input() {
    let bundle = bundle();
    let wanted = request("doc.read", json!({"id": "x"}));
    let checked = judge_request(&bundle, "bot", &wanted);
    let digest = input::input_digest(wanted.intent_id, &wanted.tool, &wanted.input, &checked.salt);
    assert_eq!(checked.input_digest, digest.unwrap());
    assert_eq!(checked, judge_request(&bundle, "bot", &wanted));
    let mut other = wanted.clone();
    other.input = JsonObject::from_value(json!({"id": "y"})).unwrap();
    let other = judge_request(&bundle, "bot", &other);
    assert_ne!(other.input_digest, checked.input_digest);
    assert_ne!(other.input_match, checked.input_match);
}

#[test]
fn copies_that_could_not_be_stored_are_left_out_and_deny() {
    let many = vec![json!("a"); 60_000];
    let checked = check(
        &bundle(),
        "bot",
        "doc.read",
        json!({"id": "x", "more": many}),
    );
    assert_eq!(words(&checked), "deny invalid_input");
    let bytes = serde_json::to_vec(&checked).unwrap().len();
    assert!(
        bytes < countersign_schemas::limits::STORED_BYTES_MAX,
        "{bytes}"
    );
    let honest: Vec<Value> = (0..5_000).map(|n| json!(n.to_string())).collect();
    assert_eq!(
        check(
            &bundle(),
            "bot",
            "doc.read",
            json!({"id": "x", "more": honest})
        )
        .verdict,
        Verdict::Allow
    );
}

#[test]
fn without_a_bundle_everything_is_denied_in_words() {
    let wanted = request("doc.read", json!({"id": "plain words"}));
    let key = MatchKey::new("k1".parse().unwrap(), [9; 32]);
    let agent = "bot".parse().unwrap();
    let judging = Judging {
        agent: &agent,
        request: &wanted,
        request_ref: judge_request(&bundle(), "bot", &wanted).request,
        stored_at: countersign_schemas::Timestamp::EPOCH,
        salt: [0; 16],
        match_key: &key,
        issuers: &Issuers::default(),
        known: &Known::default(),
    };
    let checked = judge_without_bundle(&redactor(), judging, "the folder is empty");
    assert_eq!(words(&checked), "deny policy_error");
    assert!(checked.reasons[0].message.contains("the folder is empty"));
    assert!(
        !serde_json::to_string(&checked)
            .unwrap()
            .contains("plain words")
    );
}
