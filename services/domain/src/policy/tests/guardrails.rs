//! What guardrails may do to a verdict: narrow it, and nothing else.

use std::collections::BTreeMap;

use countersign_schemas::events::{PolicyChecked, RequestRef, ToolRequested, Verdict};
use countersign_schemas::{AgentId, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::support::*;
use crate::mandate::Issuers;
use crate::policy::{Bundle, Judging, Known, Learnt, MatchKey, Outcome, Wish, judge};

const TOOLS: &str = r#"
[tools."doc.read"]
operation = "read"
description = "Reads."
summary = "Read"
worker = { kind = "nats" }
input = { type = "object", properties = {} }

[tools."act"]
operation = "update"
description = "Acts."
summary = "Act"
updatable = ["/to", "/total"]
amount = "/total"
worker = { kind = "nats" }

[tools."act".input]
type = "object"
additionalProperties = false

[tools."act".input.properties]
to = { type = "string" }
total = { type = "string" }
currency = { type = "string" }
lines = { type = "array", items = { type = "object", properties = { quantity = { type = "integer" }, price = { type = "string" } } } }

[tools."act".fields]
"/to" = { class = "personal:email" }
"/total" = { class = "internal" }
"/currency" = { class = "public" }
"/lines" = { class = "internal" }
"#;

/// One of each kind, and two of some.
const GUARDRAILS: [&str; 10] = [
    r#"kind = "email_domains", pointers = ["/to"], known = ["home.example"], unknown = "ask", ask = "leads""#,
    r#"kind = "email_domains", pointers = ["/to"], known = ["home.example", "far.example"], unknown = "block""#,
    r#"kind = "update_fields", roles = { worker = ["/to"] }"#,
    r#"kind = "amount_limit", pointers = ["/total"], limits = [{ ask_above = "100", deny_above = "1000" }], ask = "money""#,
    r#"kind = "amount_limit", pointers = ["/total"], optional = true, limits = [{ ask_above = "50" }], ask = "leads:2", expires = "5m", chat = "no""#,
    r#"kind = "invoice_total", lines = "/lines", quantity = "/lines/*/quantity", price = "/lines/*/price", total = "/total", currency = "/currency""#,
    r#"kind = "time_of_day", zone = "UTC", open = ["fri 00:00-24:00"], closed = "ask", ask = "leads & money""#,
    r#"kind = "secrets_in_input", found = "block""#,
    r#"kind = "external", name = "first", deadline_ms = 100"#,
    r#"kind = "external", name = "second", deadline_ms = 100, ask = "money""#,
];

const RULES: [&str; 4] = [
    r#"@id("work") permit(principal in Role::"worker", action == Action::"act", resource);"#,
    r#"@id("asked") @ask("leads") @expires("2h") @because("It is asked.") forbid(principal, action == Action::"act", resource);"#,
    r#"@id("large") @because("It is too much.") forbid(principal, action == Action::"act", resource) when { context.input has total && context.input.total == "5000" };"#,
    r#"@id("erring") @because("It errs.") forbid(principal, action == Action::"act", resource) when { context has amount && context.amount.greaterThan(decimal("100000.0")) };"#,
];

/// The rules and guardrails that the bits of two masks choose.
fn chosen(rules: usize, guardrails: usize) -> Bundle {
    let by = |mask: usize, all: &[&str]| -> Vec<String> {
        let all = all.iter().enumerate();
        all.filter(|(at, _)| mask >> at & 1 == 1)
            .map(|(_, text)| (*text).to_owned())
            .collect()
    };
    let guardrails: Vec<String> = by(guardrails, &GUARDRAILS)
        .iter()
        .map(|keys| format!("{{ {keys} }}"))
        .collect();
    let list = format!("guardrails = [{}]", guardrails.join(", "));
    let catalog = TOOLS.replace(
        "amount = \"/total\"",
        &format!("amount = \"/total\"\n{list}"),
    );
    let always = r#"@id("read") permit(principal in Role::"worker", action == Action::"doc.read", resource);"#;
    let rules = format!("{always}\n{}", by(rules, &RULES).join("\n"));
    let files: Files = BTreeMap::from([
        ("catalog/all.toml".to_owned(), catalog.into_bytes()),
        ("policies/all.cedar".to_owned(), rules.into_bytes()),
        (
            "entities.json".to_owned(),
            entities().to_string().into_bytes(),
        ),
    ]);
    Bundle::from_files(&files).unwrap()
}

/// What the services outside answer.
fn answers() -> [Learnt; 6] {
    [
        Ok(json!({"result": "pass", "message": "m"})),
        Ok(json!({"result": "deny", "message": "m"})),
        Ok(json!({"result": "ask", "message": "m"})),
        Ok(json!({"result": "ask", "message": "m", "ask": "leads:2"})),
        Ok(json!({"result": "allow", "message": "m"})),
        Err("nobody serves it".to_owned()),
    ]
}

fn judged(bundle: &Bundle, request: &ToolRequested, answer: &Learnt) -> PolicyChecked {
    let agent: AgentId = "bot".parse().unwrap();
    let key = MatchKey::new("k1".parse().unwrap(), [9; 32]);
    let redactor = redactor();
    let issuers = Issuers::default();
    let mut known = Known::default();
    loop {
        let judging = Judging {
            agent: &agent,
            request,
            request_ref: RequestRef {
                stream: "CS_INTENTS".to_owned(),
                incarnation: "abc".parse().unwrap(),
                seq: 1,
            },
            stored_at: Timestamp::EPOCH,
            salt: [3; 16],
            match_key: &key,
            issuers: &issuers,
            known: &known,
        };
        match judge(bundle, &redactor, judging) {
            Outcome::Judged(judged) => return judged.checked,
            Outcome::Wants(wishes) => {
                for wish in wishes {
                    assert!(matches!(wish, Wish::External { .. }), "{wish:?}");
                    known.learn(wish, answer.clone());
                }
            }
        }
    }
}

fn rank(checked: &PolicyChecked) -> u8 {
    match checked.verdict {
        Verdict::Deny => 0,
        Verdict::Ask => 1,
        Verdict::Allow => 2,
    }
}

/// Whether `wider` lets through at least what `narrower` does, and asks no more for it.
fn no_narrower(wider: &PolicyChecked, narrower: &PolicyChecked) -> bool {
    match (&wider.ask, &narrower.ask) {
        (Some(less), Some(more)) => {
            let held = less.approvers.iter().all(|wanted| {
                more.approvers
                    .iter()
                    .any(|one| one.team == wanted.team && one.quorum >= wanted.quorum)
            });
            held && less.expires_in_s >= more.expires_in_s
                && less.chat_may_approve >= more.chat_may_approve
        }
        (Some(_) | None, None) | (None, Some(_)) => rank(wider) >= rank(narrower),
    }
}

fn input() -> impl Strategy<Value = Value> {
    let to = [
        "a@home.example",
        "b@far.example",
        "c@other.example",
        "no address",
        "AKIAIOSFODNN7EXAMPLE",
        "",
    ];
    let totals = ["10", "75", "500", "5000", "x", ""];
    let lines = [
        json!(null),
        json!([{"quantity": 1, "price": "10"}]),
        json!([{"quantity": 5, "price": "15.00"}]),
    ];
    (
        select(to.to_vec()),
        select(totals.to_vec()),
        select(lines.to_vec()),
    )
        .prop_map(|(to, total, lines)| {
            let mut input = json!({"currency": "EUR"});
            for (name, text) in [("to", to), ("total", total)] {
                if !text.is_empty() {
                    input[name] = json!(text);
                }
            }
            if !lines.is_null() {
                input["lines"] = lines;
            }
            input
        })
}

proptest! {
    /// With guardrails a verdict is what the rules say, or narrower; what the rules deny
    /// stays denied for the same reasons. Without one of them it is never narrower.
    #[test]
    fn guardrails_only_narrow_and_removing_one_never_does(
        rules in 0_usize..1 << RULES.len(),
        guardrails in 0_usize..1 << GUARDRAILS.len(),
        gone in 0_usize..GUARDRAILS.len(),
        input in input(),
        answer in select(answers().to_vec()),
    ) {
        let request = request("act", input);
        let by = |guardrails| judged(&chosen(rules, guardrails), &request, &answer);
        let (bare, all, fewer) = (by(0), by(guardrails), by(guardrails & !(1 << gone)));
        prop_assert!(no_narrower(&bare, &all), "{bare:?}\n{all:?}");
        prop_assert!(no_narrower(&fewer, &all), "{fewer:?}\n{all:?}");
        if bare.verdict == Verdict::Deny {
            prop_assert_eq!(&bare.reasons, &all.reasons);
            prop_assert!(all.guardrails.is_empty());
        }
        // Where one refuses, those that would have to ask somebody first have not run.
        if all.verdict != Verdict::Deny {
            prop_assert_eq!(all.guardrails.len(), guardrails.count_ones() as usize);
        }
    }
}

#[test]
fn two_guardrails_of_one_kind_both_run_and_their_asks_become_one() {
    let bundle = chosen(0b0001, 0b01_1000);
    let answer = Err(String::new());
    let verdict = |total: &str| {
        let request = request("act", json!({ "total": total }));
        judged(&bundle, &request, &answer)
    };
    assert_eq!(words(&verdict("10")), "allow work");
    assert_eq!(words(&verdict("75")), "ask work,approval_required");
    let both = verdict("500");
    assert_eq!(words(&both), "ask work,approval_required,approval_required");
    let ask = both.ask.unwrap();
    let teams: Vec<(&str, u32)> = ask
        .approvers
        .iter()
        .map(|one| (one.team.as_str(), one.quorum))
        .collect();
    assert_eq!(teams, [("leads", 2), ("money", 1)]);
    assert_eq!((ask.expires_in_s, ask.chat_may_approve), (300, false));
    assert_eq!(words(&verdict("5000")), "deny guardrail_violated");
}

#[test]
fn every_fault_of_every_guardrail_is_told_at_once() {
    let catalog = TOOLS.replace(
        "amount = \"/total\"",
        r#"guardrails = [
            { kind = "amount_limit", pointers = ["/totl"], limits = [{ ask_above = "1e3" }] },
            { kind = "rate_limit" },
            { kind = "email_domains", pointers = ["/to", "cc"], known = [], unknown = "block", chat = "no" },
        ]"#,
    );
    let mut files = files();
    files.insert("catalog/all.toml".to_owned(), catalog.into_bytes());
    files.insert("policies/all.cedar".to_owned(), Vec::new());
    let errors = Bundle::from_files(&files).unwrap_err().to_string();
    for words in [
        "`/totl`, which the input's schema does not have",
        "guardrail `amount_limit`: lacks `ask`; name the teams",
        "guardrail `amount_limit`: `ask_above`",
        "unknown variant `rate_limit`",
        "guardrail `email_domains`: `pointers`: `cc` is not a JSON Pointer",
        "guardrail `email_domains`: has `chat`, but `unknown = \"block\"` asks nobody; drop the key",
    ] {
        assert!(errors.contains(words), "{words} is not in {errors}");
    }
}
