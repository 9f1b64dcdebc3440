//! `context.approval`: absent when an intent is judged first, there when it is judged again.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_schemas::events::{
    ApprovalKind, ApprovalResolved, ApprovalState, CountedVote, PolicyChecked, VoteChoice,
};
use countersign_schemas::{ApprovalId, Timestamp};
use serde_json::{Value, json};

use super::support::*;
use crate::mandate::Issuers;
use crate::policy::{Approved, Bundle, Known, Outcome, StatedApproval};

const RULES: &str = r#"
@id("work")
permit(principal in Role::"worker", action in [Action::"read", Action::"send", Action::"update"], resource);

@id("money-sees-updates")
@ask("money")
@because("Updates are seen by money.")
forbid(principal, action in Action::"update", resource)
unless { context has approval && context.approval.teams.contains("leads") };

@id("old-yes")
@because("A yes of more than an hour ago counts no more.")
forbid(principal, action, resource)
when { context has approval && context.approval.age_s > 3600 };

@id("before-the-leak")
@because("Approvals from before the leak do not count.")
forbid(principal, action in Action::"send", resource)
when { context has approval && context.approval.approved_at < datetime("2026-11-01T00:00:00Z") };

@id("no-window")
@because("Mail is never sent through a window.")
forbid(principal, action in Action::"send", resource)
when { context has approval && (context.approval has window || context.approval.kind == "window") };

@id("not-by-jo-alone")
@because("Jo does not decide on reading alone.")
forbid(principal, action in Action::"read", resource)
when { context has approval && context.approval.approvers == ["jo"] };
"#;

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn judged(bundle: &Bundle, tool: &str, input: Value, approval: Option<Value>) -> PolicyChecked {
    let approval = approval.map(|stated| {
        let stated: StatedApproval = serde_json::from_value(stated).unwrap();
        stated.as_of(now()).unwrap()
    });
    let known = Known::after(approval);
    let issuers = Issuers::default();
    match outcome(
        bundle,
        "bot",
        &request(tool, input),
        &issuers,
        now(),
        &known,
    ) {
        Outcome::Judged(judged) => judged.checked,
        Outcome::Wants(wishes) => panic!("{wishes:?}"),
    }
}

/// Tool, approval where people have decided, and the verdict. Mara is of both teams asked,
/// Kim of none.
const SEEN: &str = r#"
contact.update | | ask money-sees-updates
contact.update | {"approvers": ["lee"]} | allow work
contact.update | {"approvers": ["mara"]} | allow work
contact.update | {"approvers": ["kim"]} | ask money-sees-updates
contact.update | {"approvers": ["lee"], "age": "1h"} | allow work
contact.update | {"approvers": ["lee"], "age": "61m"} | deny old-yes
mail.send | | allow work
mail.send | {"approvers": ["lee"]} | allow work
mail.send | {"approvers": ["lee"], "window": "w-1"} | deny no-window
mail.send | {"approvers": ["lee"], "kind": "window"} | deny no-window
mail.send | {"approvers": ["lee"], "age": "6d"} | deny old-yes
doc.read | {"approvers": ["jo"]} | deny not-by-jo-alone
doc.read | {"approvers": ["jo", "lee"]} | allow work
"#;

fn input(tool: &str) -> Value {
    match tool {
        "contact.update" => json!({"id": "C-1", "limit": 5}),
        "mail.send" => json!({"to": "lee@home.example"}),
        _ => json!({"id": "C-1"}),
    }
}

#[test]
fn policies_see_the_approval_when_an_intent_is_judged_again_and_only_then() {
    let bundle = with_policies(RULES);
    for line in SEEN.lines().filter(|line| !line.is_empty()) {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let approval = serde_json::from_str(parts[1]).ok();
        let checked = judged(&bundle, parts[0], input(parts[0]), approval);
        assert_eq!(words(&checked), parts[2], "{line}");
    }
}

#[test]
fn policies_see_when_an_approval_was_given() {
    let bundle = with_policies(RULES);
    let stated = json!({"approvers": ["lee"], "age": "1m"});
    let stated: StatedApproval = serde_json::from_value(stated).unwrap();
    for (given, expected) in [
        ("2026-10-30T12:00:00.123456Z", "deny before-the-leak"),
        ("2026-11-02T12:00:00.123456Z", "allow work"),
    ] {
        let approved = stated.as_of(given.parse().unwrap()).unwrap();
        let known = Known::after(Some(Approved {
            age: Duration::ZERO,
            ..approved
        }));
        let mail = request("mail.send", input("mail.send"));
        let issuers = Issuers::default();
        let Outcome::Judged(again) = outcome(&bundle, "bot", &mail, &issuers, now(), &known) else {
            panic!("nothing is looked up")
        };
        assert_eq!(words(&again.checked), expected);
    }
}

#[test]
fn a_rule_that_misspells_the_approval_or_forgets_to_ask_for_it_does_not_load() {
    let with = |when: &str| {
        let rule = format!(
            "\n@id(\"x\") @because(\"x\") forbid(principal, action, resource) when {{ {when} }};"
        );
        let mut files = files();
        files.insert(
            "policies/all.cedar".to_owned(),
            format!("{RULES}{rule}").into_bytes(),
        );
        Bundle::from_files(&files)
            .map(drop)
            .map_err(|errors| errors.to_string())
    };
    for (when, sound) in [
        (
            "context has approval && context.approval.approvers.contains(\"lee\")",
            true,
        ),
        (
            "context has approval && context.approval has window && context.approval.window == \"w\"",
            true,
        ),
        ("context.approval.age_s > 5", false),
        (
            "context has approval && context.approval.window == \"w\"",
            false,
        ),
        (
            "context has approval && context.approval.approver == \"lee\"",
            false,
        ),
        (
            "context has approval && context.approval.age_s > \"1h\"",
            false,
        ),
    ] {
        let told = with(when);
        assert_eq!(told.is_ok(), sound, "{when}: {told:?}");
        if let Err(text) = told {
            assert!(text.contains("policies/all.cedar:"), "{text}");
        }
    }
}

#[test]
fn an_approval_counts_only_if_it_ended_with_yes_for_this_intent() {
    let intent = request("doc.read", json!({"id": "x"})).intent_id;
    let vote = |who: &str, vote| CountedVote {
        approver: who.parse().unwrap(),
        via: "self".parse().unwrap(),
        vote,
        at: now(),
        reason: None,
        on_behalf_of: (who == "lee").then(|| "mara".parse().unwrap()),
    };
    let resolved = |state| ApprovalResolved {
        schema_version: 1,
        approval_id: ApprovalId::for_intent(intent),
        kind: ApprovalKind::Action,
        agent: "bot".parse().unwrap(),
        intents: vec![intent],
        state,
        votes: vec![
            vote("lee", VoteChoice::Approve),
            vote("jo", VoteChoice::Deny),
        ],
        message: "approved".to_owned(),
        resolved_at: now(),
        asked_from: None,
    };
    let later = now().plus(Duration::from_secs(90));
    for state in [
        ApprovalState::Pending,
        ApprovalState::Denied,
        ApprovalState::Expired,
        ApprovalState::Cancelled,
        ApprovalState::Failed,
    ] {
        assert_eq!(
            Approved::of(&resolved(state), intent, later),
            None,
            "{state}"
        );
    }
    for state in [ApprovalState::Approved, ApprovalState::Partial] {
        let approved = Approved::of(&resolved(state), intent, later).unwrap();
        let lee: BTreeSet<_> = ["lee".parse().unwrap()].into();
        assert_eq!((approved.approvers, approved.age.as_secs()), (lee, 90));
        assert_eq!(approved.spoke_for.len(), 2, "Lee and whom Lee stood in for");
    }
    let mut other = resolved(ApprovalState::Approved);
    other.intents.clear();
    assert_eq!(Approved::of(&other, intent, later), None);
}

#[test]
fn the_tests_of_a_bundle_state_an_approval() {
    let case = |approval: &str, verdict: &str| {
        let mut files = files();
        files.insert("policies/all.cedar".to_owned(), RULES.into());
        let text = format!(
            "[[case]]\nname = \"again\"\nagent = \"bot\"\ntool = \"contact.update\"\n\
             input = {{ id = \"C-1\", limit = 5 }}\n{approval}\nverdict = \"{verdict}\"\n"
        );
        files.insert("tests/again.toml".to_owned(), text.into_bytes());
        let bundle = Bundle::from_files(&files).map_err(|errors| errors.to_string())?;
        let results = bundle.run_tests().map_err(|error| error.to_string())?;
        Ok::<_, String>(results.iter().all(crate::policy::CaseResult::passed))
    };
    assert_eq!(case("", "ask"), Ok(true));
    assert_eq!(
        case("approval = { approvers = [\"lee\"] }", "allow"),
        Ok(true)
    );
    assert_eq!(
        case("approval = { approvers = [\"lee\"], age = \"2h\" }", "deny"),
        Ok(true)
    );
    assert_eq!(
        case("approval = { approvers = [\"lee\"] }", "ask"),
        Ok(false)
    );
    for bad in [
        "approval = { }",
        "approval = { approvers = [] }",
        "approval = { approvers = [\"lee\"], age = \"long\" }",
        "approval = { approvers = [\"lee\"], state = \"denied\" }",
    ] {
        let error = case(bad, "allow").unwrap_err();
        assert!(error.contains("tests/again.toml"), "{bad}: {error}");
    }
}
