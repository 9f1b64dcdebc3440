//! What a mandate changes in a judgement: it proves, it limits, and it never widens.

use countersign_schemas::events::{PolicyChecked, ToolRequested, Verdict};
use serde_json::{Value, json};

use super::support::*;
use crate::mandate::fixtures::{NOW, Signer, at, claims};
use crate::mandate::{Algorithm, Issuers};
use crate::policy::Bundle;

const FACTS: &str = r#"
[facts]
case = "string"
limit = "integer"
rate = "number"
vip = "boolean"
"#;

const RULES: &str = r#"
@id("work")
permit(principal in Role::"worker", action, resource);

@id("proved")
@because("Limits need a proved requester.")
@need("A mandate.")
forbid(principal, action == Action::"contact.update", resource)
when { context has amount }
unless { context.requester.verified };

@id("own-case")
@because("A contact is changed in its case.")
forbid(principal, action == Action::"contact.update", resource)
unless {
    context has mandate && context.mandate.facts has case &&
    context.mandate.facts.case == context.input.id
};
"#;

fn mandated_bundle(policies: &str) -> Bundle {
    let mut files = files();
    files.insert("catalog/facts.toml".to_owned(), FACTS.into());
    files.insert("policies/all.cedar".to_owned(), policies.into());
    Bundle::from_files(&files).unwrap_or_else(|errors| panic!("{errors}"))
}

fn signer() -> Signer {
    Signer::new(Algorithm::EdDsa, "k1")
}

/// A request of `kim` by `bot` with a mandate whose claims are changed by `change`.
fn mandated(tool: &str, input: Value, change: impl FnOnce(&mut Value)) -> ToolRequested {
    let mut said = claims();
    said["sub"] = json!("kim");
    said["act"]["sub"] = json!("bot");
    said["scope"] = json!("operation:read operation:update");
    said["facts"] = json!({"case": "c-1"});
    change(&mut said);
    let mut request = request(tool, input);
    request.requester.id = "kim".parse().unwrap();
    request.requester.mandate = Some(signer().token(&said));
    request
}

fn judged(bundle: &Bundle, agent: &str, request: &ToolRequested) -> PolicyChecked {
    let issuers = Issuers::new(vec![signer().issuer()]);
    judge_at(bundle, agent, request, &issuers, at(NOW))
}

fn limit(id: &str) -> Value {
    json!({"id": id, "limit": 5})
}

#[test]
fn a_mandate_proves_the_requester_and_brings_its_facts() {
    let bundle = mandated_bundle(RULES);
    let sound = judged(
        &bundle,
        "bot",
        &mandated("contact.update", limit("c-1"), |_| {}),
    );
    assert_eq!(words(&sound), "allow work");
    assert!(sound.requester.verified && sound.requester.id.as_str() == "kim");
    // Another case, no case, and no mandate at all.
    let other = judged(
        &bundle,
        "bot",
        &mandated("contact.update", limit("c-2"), |_| {}),
    );
    assert_eq!(words(&other), "deny own-case");
    let without = |said: &mut Value| said["facts"] = json!({"customer": "c-1"});
    let without = judged(
        &bundle,
        "bot",
        &mandated("contact.update", limit("c-1"), without),
    );
    assert_eq!(words(&without), "deny own-case");
    let mut claimed = mandated("contact.update", limit("c-1"), |_| {});
    claimed.requester.mandate = None;
    claimed.facts = countersign_schemas::JsonObject::from_value(json!({"case": "c-1"}));
    let claimed = judged(&bundle, "bot", &claimed);
    assert_eq!(words(&claimed), "deny own-case,proved");
    assert!(!claimed.requester.verified);
}

#[test]
fn what_a_mandate_proves_ends_with_it() {
    let bundle = mandated_bundle(RULES);
    let end = |own: Option<i64>| {
        let mut request = mandated("contact.update", limit("c-1"), |said| {
            said["exp"] = json!(NOW + 60);
        });
        request.expires_at = own.map(at);
        judged(&bundle, "bot", &request).expires_at
    };
    // With what clocks may differ; an earlier end of the agent's own counts.
    assert_eq!(end(None), Some(at(NOW + 65)));
    assert_eq!(end(Some(NOW + 600)), Some(at(NOW + 65)));
    assert_eq!(end(Some(NOW + 5)), Some(at(NOW + 5)));
    let mut plain = mandated("contact.update", limit("c-1"), |_| {});
    plain.requester.mandate = None;
    assert_eq!(judged(&bundle, "bot", &plain).expires_at, None);
}

#[test]
fn a_bad_mandate_denies_what_none_at_all_would_not() {
    let bundle = mandated_bundle(RULES);
    let read = json!({"id": "x"});
    let mut none = request("doc.read", read.clone());
    none.requester.id = "kim".parse().unwrap();
    assert_eq!(words(&judged(&bundle, "bot", &none)), "allow work");
    type Change = fn(&mut Value);
    let bad: [Change; 7] = [
        |said| said["exp"] = json!(NOW - 6),
        |said| said["nbf"] = json!(NOW + 6),
        |said| said["aud"] = json!("elsewhere"),
        |said| said["act"]["sub"] = json!("orphan"),
        |said| said["sub"] = json!("lee"),
        |said| said["iss"] = json!("https://other.example"),
        |said| said["facts"] = json!({"case": 7}),
    ];
    for (number, change) in bad.into_iter().enumerate() {
        let checked = judged(&bundle, "bot", &mandated("doc.read", read.clone(), change));
        assert_eq!(words(&checked), "deny mandate_invalid", "{number}");
        assert!(!checked.needs.is_empty());
        let told = serde_json::to_string(&checked).unwrap();
        assert!(
            !told.contains("elsewhere") && !told.contains("eyJ"),
            "{told}"
        );
    }
    let nobody = judge_at(
        &bundle,
        "bot",
        &mandated("doc.read", read, |_| {}),
        &Issuers::default(),
        at(NOW),
    );
    assert_eq!(words(&nobody), "deny mandate_invalid");
    assert!(!nobody.requester.verified);
}

#[test]
fn an_agent_may_do_what_both_its_role_and_the_mandate_allow() {
    let bundle = mandated_bundle(RULES);
    let scoped = |scope: &'static str| move |said: &mut Value| said["scope"] = json!(scope);
    let table = [
        ("bot", "doc.read", "operation:read", "allow work"),
        ("bot", "doc.read", "tool:doc.read", "allow work"),
        (
            "bot",
            "doc.read",
            "tool:mail.send operation:update",
            "deny mandate_invalid",
        ),
        ("bot", "doc.read", "", "deny mandate_invalid"),
        ("bot", "contact.update", "tool:contact.update", "allow work"),
        (
            "bot",
            "contact.update",
            "operation:read tool:doc.read",
            "deny mandate_invalid",
        ),
        // The widest mandate gives nothing that the agent's own role lacks.
        (
            "idle",
            "doc.read",
            "operation:read tool:doc.read",
            "deny policy_denied",
        ),
    ];
    for (agent, tool, scope, expected) in table {
        let input = match tool {
            "doc.read" => json!({"id": "x"}),
            _ => limit("c-1"),
        };
        let request = mandated(tool, input, |said| {
            scoped(scope)(said);
            said["act"]["sub"] = json!(agent);
        });
        assert_eq!(
            words(&judged(&bundle, agent, &request)),
            expected,
            "{agent} {tool} {scope}"
        );
    }
    let outside = mandated("doc.read", json!({"id": "x"}), scoped("operation:send"));
    let need = &judged(&bundle, "bot", &outside).needs[0].message;
    assert!(
        need.contains("`tool:doc.read`") && need.contains("`operation:read`"),
        "{need}"
    );
}

#[test]
fn who_is_proved_is_the_one_who_may_not_grant() {
    let bundle = bundle();
    let mail = || json!({"id": "c", "email": "a@b.example"});
    let asked = |agent: &'static str, person: &'static str| {
        let mut request = mandated("contact.update", mail(), |said| {
            said["sub"] = json!(person);
            said["act"]["sub"] = json!(agent);
        });
        request.requester.id = person.parse().unwrap();
        let checked = judged(&bundle, agent, &request);
        assert!(checked.requester.verified, "{checked:?}");
        let ask = checked.ask.unwrap();
        let people: Vec<String> = ask.excluded.iter().map(ToString::to_string).collect();
        let quorums: Vec<u32> = ask.approvers.iter().map(|one| one.quorum).collect();
        (people, quorums)
    };
    let only = |name: &str| vec![name.to_owned()];
    assert_eq!(asked("bot", "mara"), (only("mara"), vec![2, 1]));
    assert_eq!(asked("bot", "jo"), (only("jo"), vec![2, 1]));
    assert_eq!(asked("orphan", "mara"), (only("mara"), vec![2, 1]));
    // Proved, but under a name that could be anybody of the directory.
    let behind = vec!["jo".to_owned(), "kim".to_owned()];
    assert_eq!(asked("bot", "mara@home.example"), (behind, vec![2, 1]));
    assert_eq!(asked("orphan", "mara@home.example"), (vec![], vec![3, 2]));
}

#[test]
fn facts_have_the_type_that_the_catalog_gives_them() {
    let rules = r#"
        @id("work") permit(principal in Role::"worker", action, resource) when {
            context has mandate &&
            context.mandate.issuer == "https://id.northwind.example" &&
            context.mandate.id == "m-1" &&
            (if context.mandate.facts has limit
             then context.mandate.facts.limit < 10 else true) &&
            (if context.mandate.facts has rate
             then context.mandate.facts.rate.lessThan(decimal("1.5")) else true) &&
            (if context.mandate.facts has vip then context.mandate.facts.vip else true)
        };"#;
    let bundle = mandated_bundle(rules);
    let table = [
        (json!({}), "allow work"),
        (json!({"limit": 9, "rate": 1.25, "vip": true}), "allow work"),
        (json!({"limit": 10}), "deny policy_denied"),
        (json!({"vip": false}), "deny policy_denied"),
        (json!({"limit": "9"}), "deny mandate_invalid"),
        (json!({"limit": 9.5}), "deny mandate_invalid"),
        (json!({"rate": "1.25"}), "deny mandate_invalid"),
        (json!({"vip": "true"}), "deny mandate_invalid"),
        (json!({"vip": 1}), "deny mandate_invalid"),
        // What Cedar cannot hold is there and never steps around a rule.
        (json!({"rate": 0.000_01}), "deny policy_error"),
        // Nobody declared it, so nobody reads it.
        (json!({"other": [1]}), "deny mandate_invalid"),
        (json!({"other": 1}), "allow work"),
    ];
    for (facts, expected) in table {
        let request = mandated("doc.read", json!({"id": "x"}), |said| {
            said["facts"] = facts.clone()
        });
        assert_eq!(
            words(&judged(&bundle, "bot", &request)),
            expected,
            "{facts}"
        );
    }
}

#[test]
fn a_fact_that_nobody_declared_cannot_be_named_in_a_policy() {
    let mut files = files();
    files.insert("catalog/facts.toml".to_owned(), FACTS.into());
    let rule = r#"@id("x") permit(principal in Role::"worker", action, resource)
        when { context has mandate && context.mandate.facts has customer };"#;
    files.insert("policies/all.cedar".to_owned(), rule.into());
    assert!(Bundle::from_files(&files).is_err());
    for (text, fault) in [
        ("[facts]\ncase = \"text\"", "unknown type"),
        ("[facts]\n\"a b\" = \"string\"", "cannot name"),
        ("[facts]\nvip = \"boolean\"", "declared twice"),
        ("[facts]\ncase = 7", "invalid type"),
    ] {
        let mut files = files.clone();
        files.insert("policies/all.cedar".to_owned(), POLICIES.into());
        files.insert("catalog/more.toml".to_owned(), text.into());
        let errors = Bundle::from_files(&files).unwrap_err().to_string();
        assert!(
            errors.contains("more.toml:2") && errors.contains(fault),
            "{errors}"
        );
    }
}

#[test]
fn a_dry_run_keeps_its_verdict_under_a_mandate() {
    let mut request = mandated("contact.update", json!({"id": "c", "limit": 500}), |_| {});
    request.dry_run = Some(true);
    let checked = judged(&bundle(), "bot", &request);
    assert_eq!(
        (checked.verdict, checked.dry_run),
        (Verdict::Ask, Some(true))
    );
    assert!(checked.requester.verified);
}

#[test]
fn a_guardrail_compares_with_the_fact_of_the_mandate() {
    let with_fact = |fact: &str| {
        let mut files = files();
        let guard = format!(
            "\n[[tools.\"contact.update\".guardrails]]\nkind = \"match_fact\"\n\
             field = \"/id\"\nfact = \"{fact}\"\n"
        );
        let catalog = format!("{CATALOG}{guard}");
        files.insert("catalog/all.toml".to_owned(), catalog.into());
        files.insert("catalog/facts.toml".to_owned(), FACTS.into());
        Bundle::from_files(&files)
    };
    let errors = with_fact("customer").unwrap_err().to_string();
    assert!(
        errors.contains("all.toml") && errors.contains("`[facts]`"),
        "{errors}"
    );
    let bundle = with_fact("case").unwrap_or_else(|errors| panic!("{errors}"));
    let judged = |id: &str| {
        judged(
            &bundle,
            "bot",
            &mandated("contact.update", limit(id), |_| {}),
        )
    };
    assert_eq!(words(&judged("c-1")), "allow work");
    assert_eq!(words(&judged("c-2")), "deny guardrail_violated");
    let mut claimed = request("contact.update", limit("c-1"));
    claimed.facts = countersign_schemas::JsonObject::from_value(json!({"case": "c-1"}));
    let claimed = super::mandates::judged(&bundle, "bot", &claimed);
    assert_eq!(words(&claimed), "deny guardrail_violated");
}
