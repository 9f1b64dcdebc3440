//! Properties of verdicts over generated policies and requests, and the scope index
//! against plain Cedar over all policies.

use std::collections::BTreeSet;

use cedar_policy::{Authorizer, Decision, PolicySet, Request};
use countersign_schemas::events::{CheckedRequester, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::*;
use crate::policy::Bundle;
use crate::policy::context::{self, Behind};
use crate::policy::index::Shelf;
use crate::policy::verdict::{self, Ruling};

/// One generated policy.
#[derive(Debug, Clone)]
struct Made {
    head: &'static str,
    scope: String,
    when: String,
}

const PERMIT: &str = "permit";
/// Fails on every request: an overflow that only evaluation sees.
const ERRING: &str = "when { 9223372036854775807 + 1 > 0 }";

impl Made {
    fn text(&self, id: &str) -> String {
        format!(
            "@id(\"{id}\") @because(\"x\") {}({}) {};\n",
            self.head, self.scope, self.when
        )
    }

    fn permits(&self) -> bool {
        self.head == PERMIT
    }
}

fn head() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        3 => Just(PERMIT),
        1 => Just("forbid"),
        1 => Just("@ask(\"leads\") forbid"),
        1 => Just("@ask(\"leads:2 & money\") @expires(\"10m\") @chat(\"no\") forbid"),
    ]
}

fn scope() -> impl Strategy<Value = String> {
    let principal = prop::sample::select(vec![
        "principal",
        "principal is Agent",
        "principal == Agent::\"bot\"",
        "principal == Agent::\"idle\"",
        "principal in Role::\"worker\"",
        "principal is Agent in Role::\"worker\"",
    ]);
    let action = prop::sample::select(vec![
        "action",
        "action == Action::\"contact.update\"",
        "action == Action::\"mail.send\"",
        "action in Action::\"read\"",
        "action in Action::\"update\"",
        "action in [Action::\"read\", Action::\"contact.update\"]",
        "action in [Action::\"mail.send\", Action::\"send\", Action::\"update\"]",
    ]);
    let resource = prop::sample::select(vec![
        "resource",
        "resource is Tool",
        "resource == Tool::\"contact.update\"",
        "resource in ToolGroup::\"update\"",
        "resource in ToolGroup::\"send\"",
        "resource is Tool in ToolGroup::\"read\"",
    ]);
    (principal, action, resource).prop_map(|(p, a, r)| format!("{p}, {a}, {r}"))
}

/// Conditions that fit every tool; some fail to evaluate on an amount that Cedar cannot
/// hold.
fn when() -> impl Strategy<Value = String> {
    let condition = prop::sample::select(vec![
        "context.requester.verified",
        "context.requester.id like \"some*\"",
        "context.operation == \"update\"",
        "principal in Role::\"worker\"",
        "context has amount && context.amount.greaterThan(decimal(\"100.0\"))",
        "context has amount && context.amount.lessThan(decimal(\"10.0\"))",
        "context has fields && context.fields.contains(\"email\")",
        "context has recipient_domains && context.recipient_domains.contains(\"home.example\")",
    ]);
    let word = prop::sample::select(vec!["", "when", "unless"]);
    (word, condition).prop_map(|(word, condition)| match word {
        "" => String::new(),
        // Keeps Cedar from seeing that a condition is always false for some tool.
        word => format!("{word} {{ context.requester.id == \"odd\" || ({condition}) }}"),
    })
}

fn policy() -> impl Strategy<Value = Made> {
    (head(), scope(), when()).prop_map(|(head, scope, when)| Made { head, scope, when })
}

fn policies(most: usize) -> impl Strategy<Value = Vec<Made>> {
    prop::collection::vec(policy(), 0..most)
}

fn request_case() -> impl Strategy<Value = (&'static str, &'static str, Value)> {
    let limit = prop_oneof![
        Just(Value::Null),
        (0_u32..300).prop_map(Value::from),
        Just(json!(1e300)),
        Just(json!(0.000_01)),
    ];
    let mail = prop_oneof![
        Just(Value::Null),
        "[a-c]@(home|other)\\.example".prop_map(Value::from)
    ];
    let agent = prop::sample::select(vec!["bot", "orphan", "idle"]);
    (agent, limit, mail, 0_usize..4).prop_map(|(agent, limit, mail, tool)| {
        let (tool, input) = match tool {
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
        };
        (agent, tool, input)
    })
}

fn bundle_of(all: &[Made]) -> Bundle {
    let texts = all.iter().enumerate();
    with_policies(
        &texts
            .map(|(at, one)| one.text(&format!("p{at}")))
            .collect::<String>(),
    )
}

fn verdict_of(all: &[Made], case: &(&str, &str, Value)) -> Verdict {
    check(&bundle_of(all), case.0, case.1, case.2.clone()).verdict
}

fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow => 2,
        Verdict::Ask => 1,
        Verdict::Deny => 0,
    }
}

/// Policies of which about half permit everything that `bot` wants, so that the
/// properties are not about denials alone.
fn often_allowing(most: usize) -> impl Strategy<Value = Vec<Made>> {
    (policies(most), any::<bool>()).prop_map(|(mut all, open)| {
        if open {
            all.push(Made {
                head: PERMIT,
                scope: "principal in Role::\"worker\", action, resource".to_owned(),
                when: String::new(),
            });
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn without_its_permits_nothing_is_asked_or_allowed(all in often_allowing(5), case in request_case()) {
        let kept: Vec<Made> = all.iter().filter(|one| !one.permits()).cloned().collect();
        prop_assert_eq!(verdict_of(&kept, &case), Verdict::Deny);
    }

    #[test]
    fn a_forbid_more_never_widens(all in often_allowing(5), more in policies(3), case in request_case()) {
        let before = verdict_of(&all, &case);
        let forbids = more.into_iter().filter(|one| !one.permits());
        let wider: Vec<Made> = all.into_iter().chain(forbids).collect();
        prop_assert!(rank(verdict_of(&wider, &case)) <= rank(before));
    }

    #[test]
    fn an_erring_policy_never_widens(
        all in often_allowing(5),
        more in policy(),
        at in any::<prop::sample::Index>(),
        case in request_case(),
    ) {
        let before = verdict_of(&all, &case);
        // One more that fails, whatever its effect.
        let erring = Made { when: ERRING.to_owned(), ..more };
        let with = [all.clone(), vec![erring]].concat();
        prop_assert!(rank(verdict_of(&with, &case)) <= rank(before));
        // One of them broken.
        if !all.is_empty() {
            let mut broken = all.clone();
            broken[at.index(all.len())].when = ERRING.to_owned();
            prop_assert!(rank(verdict_of(&broken, &case)) <= rank(before));
        }
        // One that is always in scope denies, and says so.
        let everywhere = Made { head: PERMIT, scope: "principal, action, resource".to_owned(), when: ERRING.to_owned() };
        let with = [all, vec![everywhere]].concat();
        let checked = check(&bundle_of(&with), case.0, case.1, case.2.clone());
        prop_assert_eq!(checked.verdict, Verdict::Deny);
        prop_assert_eq!(checked.reasons[0].code.as_str(), "policy_error");
    }

    #[test]
    fn the_index_changes_no_verdict(all in often_allowing(8), case in request_case()) {
        let bundle = bundle_of(&all);
        let (agent, tool) = (case.0.parse().unwrap(), case.1.parse().unwrap());
        let (agent, keys) = (&bundle.rules.agents[&agent], &bundle.rules.tools[&tool]);
        let tool = bundle.catalog().tool(&tool).unwrap();
        let requester = CheckedRequester { id: "someone@home.example".parse().unwrap(), verified: false };
        let labels = BTreeSet::new();
        let behind = || Behind { requester: &requester, mandate: None, labels: &labels, facts: bundle.catalog().facts(), approval: None };
        let context = || context::context(tool, case.2.as_object().unwrap(), behind()).unwrap();
        let mut everything = Shelf::default();
        for one in &bundle.rules.written {
            let asks = bundle.rules.said[one.id()].ask.is_some();
            everything.add(one.policy.clone(), asks).unwrap();
        }
        let indexed = verdict::rule(&bundle, keys, agent, context());
        let plain = verdict::rule_by(&bundle, &[&everything], keys, agent, context());
        prop_assert_eq!(&indexed, &plain);
        // And Cedar's own answer, with everything that forbids in one set.
        let whole = PolicySet::from_policies(bundle.rules.written.iter().map(|one| one.policy.clone())).unwrap();
        let (principal, action) = (agent.principal.clone(), keys.action.clone());
        let request = Request::new(principal, action, keys.resource.clone(), context(), None).unwrap();
        let response = Authorizer::new().is_authorized(&request, &whole, &bundle.entities);
        let failed = response.diagnostics().errors().next().is_some();
        let allows = !failed && response.decision() == Decision::Allow;
        prop_assert_eq!(matches!(indexed, Ruling::Error(_)), failed);
        prop_assert_eq!(matches!(indexed, Ruling::Allow(_)), allows);
    }
}
