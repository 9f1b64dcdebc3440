//! Verdicts from rules and guardrails, and the denials before them.

use countersign_schemas::events::{BundleRef, GuardrailFinding, Verdict};
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::*;
use crate::policy::Bundle;

const VERDICTS: &str = r#"bot doc.read {"id": "x"} => allow work
idle doc.read {"id": "x"} => deny policy_denied
nobody doc.read {"id": "x"} => deny policy_denied,unknown_agent
bot doc.burn {} => deny unknown_tool
bot doc.read {} => deny invalid_input
bot contact.update {"id": "c", "limit": 100} => allow work
bot contact.update {"id": "c", "limit": 100.01} => ask limit-asked
bot contact.update {"id": "c", "email": "a@b.example"} => ask mail-asked
bot contact.update {"id": "c", "email": "a@b.example", "limit": 500} => ask limit-asked,mail-asked
bot contact.update {"id": "c", "email": "a@b.example", "limit": 5000} => deny limit-top
idle contact.update {"id": "c", "limit": 500} => deny policy_denied
bot mail.send {"to": "a@home.example"} => allow work
bot mail.send {"to": "a@other.example"} => ask work,approval_required
bot mail.send {"to": "a@@"} => deny guardrail_violated
idle mail.send {"to": "a@other.example"} => deny policy_denied"#;

#[test]
fn verdicts_and_their_reasons() {
    let bundle = bundle();
    for line in VERDICTS.lines() {
        let (agent, tool, input, expected) = case(line);
        let checked = check(&bundle, agent, tool, input);
        assert_eq!(words(&checked), expected, "{line}");
        assert_eq!(checked.ask.is_some(), checked.verdict == Verdict::Ask);
        assert!(
            checked.verdict == Verdict::Allow || !checked.needs.is_empty(),
            "{expected}: no need"
        );
        assert_eq!(checked.policy_digest, bundle.digest());
    }
}

#[test]
fn a_value_that_cedar_cannot_hold_never_steps_around_a_rule() {
    let bundle = bundle();
    for limit in [json!(1e300), json!(0.000_01), json!(9.3e18)] {
        let checked = check(
            &bundle,
            "bot",
            "contact.update",
            json!({"id": "c", "limit": limit}),
        );
        assert_eq!(words(&checked), "deny policy_error", "{limit}");
        let message = &checked.reasons[0].message;
        assert!(
            message.contains("`limit-top`") && message.contains("`limit-asked`"),
            "{message}"
        );
    }
    // Rules that do not read the amount are not touched by it.
    let plain =
        with_policies("@id(\"work\") permit(principal in Role::\"worker\", action, resource);");
    let checked = check(
        &plain,
        "bot",
        "contact.update",
        json!({"id": "c", "limit": 1e300}),
    );
    assert_eq!(words(&checked), "allow work");
}

#[test]
fn an_error_in_a_permit_denies_too() {
    let broken = r#"
        @id("work") permit(principal, action == Action::"contact.update", resource);
        @id("sum") permit(principal, action == Action::"contact.update", resource)
        when { context has amount && context.amount.lessThan(decimal("1.0")) };"#;
    let bundle = with_policies(broken);
    let checked = check(
        &bundle,
        "bot",
        "contact.update",
        json!({"id": "c", "limit": 1e300}),
    );
    assert_eq!(words(&checked), "deny policy_error");
}

#[test]
fn several_asks_become_one_that_is_no_weaker() {
    let input = json!({"id": "c", "email": "a@b.example", "limit": 500});
    let checked = check(&bundle(), "bot", "contact.update", input);
    let ask = checked.ask.unwrap();
    let teams: Vec<(&str, u32)> = ask
        .approvers
        .iter()
        .map(|one| (one.team.as_str(), one.quorum))
        .collect();
    assert_eq!(teams, [("leads", 2), ("money", 1)]);
    assert_eq!(
        (ask.expires_in_s, ask.chat_may_approve, ask.window_max_s),
        (3600, false, None)
    );
    assert!(!ask.self_allowed);
    let needs: Vec<&str> = checked
        .needs
        .iter()
        .map(|need| need.message.as_str())
        .collect();
    assert_eq!(
        needs,
        [
            "approval by one of money",
            "A lead who has called the customer."
        ]
    );
}

fn excluded(agent: &str, requester: &str, input: Value) -> (Vec<String>, Vec<u32>, bool) {
    let mut request = request("contact.update", input);
    request.requester.id = requester.parse().unwrap();
    let checked = judge_request(&bundle(), agent, &request);
    assert!(!checked.requester.verified);
    let ask = checked.ask.unwrap();
    let few = checked
        .needs
        .iter()
        .any(|need| need.code == "too_few_approvers");
    let people = ask.excluded.iter().map(ToString::to_string).collect();
    (
        people,
        ask.approvers.iter().map(|one| one.quorum).collect(),
        few,
    )
}

#[test]
fn nobody_grants_their_own_wish() {
    let mail = || json!({"id": "c", "email": "a@b.example"});
    let all = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    // Owners and users are out, the claimed requester with them if they are a person.
    assert_eq!(
        excluded("bot", "x@y.example", mail()),
        (all(&["jo", "kim"]), vec![2, 1], false)
    );
    assert_eq!(
        excluded("bot", "mara", mail()),
        (all(&["jo", "kim", "mara"]), vec![2, 1], true)
    );
    // Nobody is known to stand behind the agent: one person more, whoever it claims.
    assert_eq!(
        excluded("orphan", "x@y.example", mail()),
        (vec![], vec![3, 2], true)
    );
    assert_eq!(excluded("orphan", "kim", mail()).1, [3, 2]);
    // A rule that allows oneself.
    let limit = json!({"id": "c", "limit": 500});
    assert_eq!(
        excluded("bot", "kim", limit.clone()),
        (vec![], vec![1], false)
    );
    assert_eq!(excluded("orphan", "kim", limit), (vec![], vec![1], false));
}

#[test]
fn guardrails_report_and_their_ask_has_its_own_terms() {
    let asked = check(
        &bundle(),
        "bot",
        "mail.send",
        json!({"to": "a@other.example"}),
    );
    assert_eq!(asked.guardrails[0].name, "email_domains");
    assert_eq!(asked.guardrails[0].result, GuardrailFinding::Ask);
    assert_eq!(asked.ask.unwrap().expires_in_s, 1800);
    let passed = check(
        &bundle(),
        "bot",
        "mail.send",
        json!({"to": "a@home.example"}),
    );
    assert_eq!(passed.guardrails[0].result, GuardrailFinding::Pass);
    let denied = check(
        &bundle(),
        "bot",
        "mail.send",
        json!({"to": "a@home.example\nBcc: b@c.example"}),
    );
    assert_eq!(denied.guardrails[0].result, GuardrailFinding::Deny);
}

#[test]
fn the_frame_is_bounded() {
    let bundle = bundle();
    let base = || request("doc.read", json!({"id": "x"}));
    let mut long = base();
    long.purpose = "ü".repeat(2_001);
    let checked = judge_request(&bundle, "bot", &long);
    assert_eq!(words(&checked), "deny invalid_input");
    assert_eq!(checked.purpose.chars().count(), 2_000);
    let mut fits = base();
    fits.purpose = "ü".repeat(2_000);
    assert_eq!(judge_request(&bundle, "bot", &fits).verdict, Verdict::Allow);
    let mut session = base();
    session.session_id = Some("s".repeat(129));
    assert_eq!(
        words(&judge_request(&bundle, "bot", &session)),
        "deny invalid_input"
    );
    for (size, index) in [(0, 0), (101, 0), (3, 3)] {
        let mut bundled = base();
        bundled.bundle = Some(BundleRef {
            id: "b".parse().unwrap(),
            size,
            index,
        });
        assert_eq!(
            words(&judge_request(&bundle, "bot", &bundled)),
            "deny invalid_input"
        );
    }
}

#[test]
fn what_the_executor_needs_travels_with_the_verdict() {
    let bundle = bundle();
    let checked = check(
        &bundle,
        "bot",
        "contact.update",
        json!({"id": "c", "limit": 5}),
    );
    assert_eq!(checked.expose, ["/id", "/mail"]);
    assert_eq!(checked.helper.unwrap().as_str(), "leads");
    let tool = bundle.catalog().tool(&checked.tool).unwrap();
    assert_eq!(checked.tool_digest, Some(tool.digest()));
    assert_eq!(
        check(&bundle, "bot", "doc.read", json!({"id": "x"}))
            .helper
            .unwrap()
            .as_str(),
        "help"
    );
    assert_eq!(
        check(&bundle, "bot", "doc.burn", json!({})).tool_digest,
        None
    );
}

/// The policies as they are, with every permit deleted, and with one more rule.
static WHOLE: LazyLock<Bundle> = LazyLock::new(bundle);
static NO_PERMITS: LazyLock<Bundle> = LazyLock::new(|| {
    let kept = POLICIES.split_inclusive(';');
    with_policies(
        &kept
            .filter(|text| !text.contains("permit("))
            .collect::<String>(),
    )
});
static ONE_MORE: LazyLock<Bundle> = LazyLock::new(|| {
    let more = "@id(\"more\") @ask(\"leads\") @because(\"x\") forbid(principal, action, resource);";
    with_policies(&format!("{POLICIES}\n{more}"))
});

fn any_input() -> impl Strategy<Value = (&'static str, Value)> {
    let limit = prop_oneof![Just(Value::Null), (0_u32..2_000).prop_map(Value::from)];
    let mail = prop_oneof![
        Just(Value::Null),
        "[a-z]{1,5}@(home|other)\\.example".prop_map(Value::from)
    ];
    (limit, mail, 0_usize..3).prop_map(|(limit, mail, tool)| match tool {
        0 => ("doc.read", json!({"id": "x"})),
        1 => (
            "mail.send",
            json!({"to": mail.as_str().unwrap_or("a@home.example")}),
        ),
        _ => {
            let mut input = json!({"id": "c", "limit": limit, "email": mail});
            input
                .as_object_mut()
                .unwrap()
                .retain(|_, value| !value.is_null());
            ("contact.update", input)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn without_permits_nothing_is_allowed_or_asked((tool, input) in any_input(), agent in "bot|orphan|idle") {
        let checked = check(&NO_PERMITS, &agent, tool, input);
        prop_assert_eq!(checked.verdict, Verdict::Deny);
    }

    #[test]
    fn one_more_forbid_never_widens((tool, input) in any_input(), agent in "bot|orphan|idle") {
        let rank = |verdict: Verdict| match verdict { Verdict::Allow => 2, Verdict::Ask => 1, Verdict::Deny => 0 };
        let before = check(&WHOLE, &agent, tool, input.clone());
        let after = check(&ONE_MORE, &agent, tool, input);
        prop_assert!(rank(after.verdict) <= rank(before.verdict));
        prop_assert!(rank(after.verdict) <= 1);
    }
}
