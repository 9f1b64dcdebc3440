//! What an agent has seen, in judgements.

use std::collections::BTreeSet;

use countersign_schemas::Timestamp;
use countersign_schemas::events::ToolRequested;
use serde_json::{Value, json};

use super::support::*;
use crate::mandate::fixtures::{NOW, Signer, at, claims};
use crate::mandate::{Algorithm, Issuers};
use crate::policy::{Bundle, BundleErrors, Judgement, Known, Learnt, Outcome, Wish};

const RULES: &str = r#"
@id("work")
permit(principal in Role::"worker", action, resource);

@id("seen")
@ask("leads")
@because("After reading customer data, mail needs a person.")
forbid(principal, action == Action::"mail.send", resource)
when { context.labels.contains("customer_pii") };
"#;

fn labelled(rules: &str, labels: &str) -> Result<Bundle, BundleErrors> {
    let mut files = files();
    let catalog = CATALOG.replacen(
        "operation = \"read\"",
        &format!("operation = \"read\"\nlabels = {labels}"),
        1,
    );
    files.insert("catalog/all.toml".to_owned(), catalog.into());
    files.insert("policies/all.cedar".to_owned(), rules.into());
    Bundle::from_files(&files)
}

fn sound() -> Bundle {
    labelled(RULES, "[\"customer_pii\", \"notes\"]").unwrap_or_else(|errors| panic!("{errors}"))
}

fn judged(bundle: &Bundle, request: &ToolRequested, known: &Known) -> Outcome {
    let issuers = Issuers::new(vec![Signer::new(Algorithm::EdDsa, "k1").issuer()]);
    outcome(bundle, "bot", request, &issuers, at(NOW), known)
}

fn read() -> ToolRequested {
    request("doc.read", json!({"id": "x"}))
}

fn mail() -> ToolRequested {
    request("mail.send", json!({"to": "a@home.example"}))
}

fn judgement(outcome: Outcome) -> Judgement {
    match outcome {
        Outcome::Judged(judgement) => *judgement,
        Outcome::Wants(wishes) => panic!("{wishes:?}"),
    }
}

/// The verdict on a mail once what the agent has seen is learnt.
fn mailed(bundle: &Bundle, learnt: Learnt) -> String {
    let Outcome::Wants(wishes) = judged(bundle, &mail(), &Known::default()) else {
        panic!("nobody asked");
    };
    assert!(matches!(wishes.as_slice(), [Wish::Labels(_)]), "{wishes:?}");
    let mut known = Known::default();
    known.learn(wishes[0].clone(), learnt);
    words(&judgement(judged(bundle, &mail(), &known)).checked)
}

fn entry(label: &str, until: i64) -> Value {
    let until: Timestamp = at(until);
    json!({"labels": {label: until}})
}

#[test]
fn what_was_seen_counts_until_its_end_and_what_cannot_be_read_denies() {
    let bundle = sound();
    let table = [
        (Ok(json!([])), "allow work"),
        (Ok(json!([entry("customer_pii", NOW + 1)])), "ask seen"),
        (Ok(json!([entry("customer_pii", NOW)])), "allow work"),
        (Ok(json!([entry("notes", NOW + 1)])), "allow work"),
        (
            Ok(json!([
                entry("notes", NOW + 1),
                entry("customer_pii", NOW + 1)
            ])),
            "ask seen",
        ),
        (
            Ok(json!([{"labels": ["customer_pii"]}])),
            "deny unavailable",
        ),
        (Ok(json!([{"other": 1}])), "deny unavailable"),
        (Ok(json!(null)), "deny unavailable"),
        (Err("no answer".to_owned()), "deny unavailable"),
    ];
    for (learnt, expected) in table {
        assert_eq!(mailed(&bundle, learnt.clone()), expected, "{learnt:?}");
    }
}

#[test]
fn only_a_call_that_may_run_marks_and_only_rules_that_read_labels_ask_for_them() {
    let bundle = sound();
    let marks = |request: &ToolRequested| {
        let judgement = judgement(judged(&bundle, request, &Known::default()));
        judgement.labels.map(|marking| marking.labels)
    };
    let both: BTreeSet<_> = ["customer_pii", "notes"]
        .map(|label| label.parse().unwrap())
        .into();
    assert_eq!(marks(&read()), Some(both));
    let mut dry = read();
    dry.dry_run = Some(true);
    assert_eq!(marks(&dry), None);
    assert_eq!(marks(&request("doc.read", json!({}))), None);
    assert_eq!(
        marks(&request("contact.update", json!({"id": "c", "limit": 1}))),
        None
    );
    // An ask marks too: people may let it run while nothing is judged again.
    let asking = format!(
        "{RULES}\n@id(\"x\") @ask(\"leads\") @because(\"x\") forbid(principal, action == Action::\"doc.read\", resource);"
    );
    let asking = labelled(&asking, "[\"customer_pii\"]").unwrap();
    let asked = judgement(judged(&asking, &read(), &Known::default()));
    assert_eq!(
        (words(&asked.checked).as_str(), asked.labels.is_some()),
        ("ask x", true)
    );
}

#[test]
fn labels_are_kept_under_agent_and_mandate_and_never_under_a_session() {
    let bundle = sound();
    let holder = |change: &dyn Fn(&mut ToolRequested)| {
        let mut request = mail();
        change(&mut request);
        match judged(&bundle, &request, &Known::default()) {
            Outcome::Wants(wishes) => wishes,
            Outcome::Judged(judgement) => panic!("{judgement:?}"),
        }
    };
    let mandated = |id: &'static str| {
        move |request: &mut ToolRequested| {
            let mut said = claims();
            said["sub"] = json!("kim");
            said["act"]["sub"] = json!("bot");
            said["jti"] = json!(id);
            request.requester.id = "kim".parse().unwrap();
            request.requester.mandate = Some(Signer::new(Algorithm::EdDsa, "k1").token(&said));
        }
    };
    let plain = holder(&|_| {});
    let session = |request: &mut ToolRequested| request.session_id = Some("s-2".to_owned());
    assert_eq!(plain, holder(&session));
    let other = |request: &mut ToolRequested| request.requester.id = "lee".parse().unwrap();
    assert_eq!(plain, holder(&other));
    assert_eq!(holder(&mandated("a")), holder(&mandated("a")));
    assert_ne!(holder(&mandated("a")), holder(&mandated("b")));
    assert_ne!(holder(&mandated("a")), plain);
}

#[test]
fn a_bundle_whose_labels_do_not_fit_is_refused() {
    let many: Vec<String> = (0..17).map(|n| format!("l{n}")).collect();
    let table = [
        (RULES, "[\"customer_pli\"]".to_owned(), "no tool gives"),
        (RULES, "[\"customer pii\"]".to_owned(), "keys"),
        (RULES, "\"customer_pii\"".to_owned(), "keys"),
        (RULES, format!("{many:?}"), "more than 16"),
    ];
    for (rules, labels, words) in table {
        let errors = labelled(rules, &labels).unwrap_err().to_string();
        assert!(errors.contains(words), "{labels}: {errors}");
    }
    // Without labels a rule that looks for them could never apply.
    assert!(labelled(RULES, "[]").is_err());
}
