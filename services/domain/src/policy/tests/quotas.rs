//! Rates and budgets in a judgement: what is taken when, and what the verdict relies on.

use countersign_schemas::Timestamp;
use countersign_schemas::events::{PolicyChecked, RequestRef, Verdict};
use serde_json::{Value, json};

use super::support::{Files, files, redactor, request, words};
use crate::ledger::Answer;
use crate::mandate::Issuers;
use crate::policy::{Bundle, Judging, Known, MatchKey, Outcome, Wish, judge};

const RATE: &str = r#"
[[tools."mail.send".guardrails]]
kind = "rate"
name = "mails"
per = ["agent"]
window = "1h"
max = 3
"#;
const ASKING: &str = r#"
[[tools."mail.send".guardrails]]
kind = "rate"
name = "all-mails"
window = "1d"
max = 50
over = "ask"
ask = "leads"
"#;
const OTHER: &str = r#"
[[tools."doc.read".guardrails]]
kind = "rate"
name = "mails"
per = ["agent"]
window = "1h"
max = 3
"#;

fn with(guards: &[&str]) -> Files {
    let mut files = files();
    let catalog = files.get_mut("catalog/all.toml").unwrap();
    for guard in guards {
        catalog.extend_from_slice(guard.as_bytes());
    }
    files
}

fn bundle(guards: &[&str]) -> Bundle {
    Bundle::from_files(&with(guards)).unwrap()
}

/// Judges until there is a verdict; `ledger` answers for a ledger by the limit of it. Also
/// tells how many parts were wished for.
fn judged(
    bundle: &Bundle,
    input: Value,
    ledger: impl Fn(u32) -> Result<Answer, String>,
) -> (PolicyChecked, usize) {
    let (request, agent) = (request("mail.send", input), "bot".parse().unwrap());
    let match_key = MatchKey::new("k1".parse().unwrap(), [9; 32]);
    let issuers = Issuers::default();
    let (mut known, mut parts) = (Known::default(), 0);
    loop {
        let judging = Judging {
            agent: &agent,
            request: &request,
            request_ref: RequestRef {
                stream: "CS_INTENTS".to_owned(),
                incarnation: "abc".parse().unwrap(),
                seq: 1,
            },
            stored_at: Timestamp::EPOCH,
            salt: [3; 16],
            match_key: &match_key,
            issuers: &issuers,
            known: &known,
        };
        match judge(bundle, &redactor(), judging) {
            Outcome::Judged(judged) => return (judged.checked, parts),
            Outcome::Wants(wishes) => {
                for wish in wishes {
                    let Wish::Charge(order) = &wish else {
                        panic!("{wish:?}");
                    };
                    parts += 1;
                    let answer = ledger(u32::try_from(order.terms.limit).unwrap());
                    let learnt = answer.map(|answer| serde_json::to_value(answer).unwrap());
                    known.learn(wish, learnt);
                }
            }
        }
    }
}

fn held(mark: u32, over: bool) -> Answer {
    let mark = u64::from(mark);
    Answer::Held { mark, over }
}

fn home() -> Value {
    json!({"to": "kim@home.example"})
}

#[test]
fn a_verdict_names_what_it_relies_on() {
    let bundle = bundle(&[RATE, ASKING]);
    let (allowed, parts) = judged(&bundle, home(), |limit| Ok(held(limit, false)));
    assert_eq!((allowed.verdict, parts), (Verdict::Allow, 2));
    let relied: Vec<_> = allowed
        .charges
        .iter()
        .map(|c| (c.amount.as_str(), c.mark))
        .collect();
    assert_eq!(relied, [("1", 3), ("1", 50)]);
    assert!(allowed.charges[0].ledger.starts_with("mails."));
}

#[test]
fn where_one_is_used_up_nothing_is_relied_on() {
    let bundle = bundle(&[RATE, ASKING]);
    let answer = |limit| match limit {
        3 => Ok(Answer::Exceeded { used: 3.into() }),
        _ => Ok(held(7, false)),
    };
    let (denied, _) = judged(&bundle, home(), answer);
    assert_eq!(words(&denied), "deny budget_exceeded");
    assert!(
        denied.charges.is_empty(),
        "a part of what is refused stays taken"
    );
    assert!(
        denied.reasons[0]
            .message
            .contains("3 of 3 is used and 0 is left")
    );
    let need = &denied.needs[0].message;
    assert!(need.contains("when the window turns at") && need.contains("team `help` can help"));
}

#[test]
fn beyond_it_people_decide_and_the_part_is_taken() {
    let bundle = bundle(&[RATE, ASKING]);
    let (asked, _) = judged(&bundle, home(), |limit| Ok(held(limit, limit == 50)));
    assert_eq!(asked.verdict, Verdict::Ask);
    assert_eq!(asked.ask.unwrap().approvers[0].team.as_str(), "leads");
    assert_eq!(asked.charges.len(), 2);
}

#[test]
fn what_is_refused_anyway_takes_nothing() {
    let bundle = bundle(&[RATE]);
    let odd = json!({"to": "a@@"});
    let (denied, parts) = judged(&bundle, odd, |_| panic!("something is taken"));
    assert_eq!(
        (words(&denied).as_str(), parts),
        ("deny guardrail_violated", 0)
    );
}

#[test]
fn a_ledger_out_of_reach_denies_in_words() {
    let bundle = bundle(&[RATE]);
    let away = |_| Err("its ledger cannot be reached".to_owned());
    let (denied, _) = judged(&bundle, home(), away);
    assert_eq!(words(&denied), "deny guardrail_violated");
    assert!(
        denied.reasons[0]
            .message
            .contains("its ledger cannot be reached")
    );
    assert!(denied.charges.is_empty());
}

#[test]
fn tools_share_a_rate_only_if_it_is_the_same() {
    bundle(&[RATE, OTHER]);
    let faults = |guards: &[&str]| format!("{:?}", Bundle::from_files(&with(guards)).unwrap_err());
    for other in [
        OTHER.replace("max = 3", "max = 4"),
        OTHER.replace("1h", "1d"),
        OTHER.replace("per = [\"agent\"]", ""),
    ] {
        let told = faults(&[RATE, &other]);
        assert!(
            told.contains("`mails` is another rate or budget elsewhere"),
            "{told}"
        );
    }
    let told = faults(&[RATE, RATE]);
    assert!(told.contains("takes from `mails` twice"), "{told}");
}
