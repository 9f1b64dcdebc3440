//! Items whose rules count their times from different moments.

use countersign_schemas::Timestamp;
use countersign_schemas::events::{EscalationStep, PolicyChecked};

use super::super::fixtures::{asked, item};
use crate::approvals::fixtures::{Company, asked as teams, at, company, person};
use crate::approvals::{Approval, satisfies};

use countersign_schemas::events::Verdict::Ask;

/// Item `index` of two, stored by its agent an hour before its bundle was whole, whose rule
/// asks `team` and lets the heads stand in `after_s` later; counted in open hours only where
/// `hours` says so.
fn ask(index: u32, team: &str, after_s: u64, hours: bool) -> PolicyChecked {
    let mut item = item(index, 2, Ask);
    item.requested_at = at("09:00:00");
    let ask = item.ask.as_mut().unwrap();
    ask.expires_in_s = 3 * 3_600;
    ask.approvers = teams(&[(team, 1)]);
    ask.escalation = vec![EscalationStep {
        after_s,
        team: "heads".parse().unwrap(),
        instead_of: vec![team.parse().unwrap()],
    }];
    if hours {
        ask.business_hours = vec!["office".to_owned()];
    }
    item
}

fn with_heads() -> Company {
    let mut company = company();
    let heads = ["hana".parse().unwrap()].into();
    company.teams.insert("heads".parse().unwrap(), heads);
    company
}

/// When the heads may stand in for `team`.
fn from_when(approval: &Approval, team: &str) -> Option<Timestamp> {
    let team = team.parse().unwrap();
    let mut steps = approval.escalation().iter();
    steps
        .find(|step| step.instead_of.contains(&team))
        .map(|step| step.at)
}

#[test]
fn nobody_stands_in_for_a_bundle_earlier_than_the_rule_of_each_item_says() {
    // People are asked at 10:00:01, when the second verdict was stored.
    let mixed = asked(&[
        ask(0, "support", 4_000, true),
        ask(1, "security", 600, false),
    ]);
    assert_eq!(from_when(&mixed, "support"), Some(at("10:06:40")));
    assert_eq!(from_when(&mixed, "security"), Some(at("10:10:01")));
    let heads = with_heads();
    for (time, may) in [("10:10:00.999999", false), ("10:10:01", true)] {
        let security_only = asked(&[
            ask(0, "security", 4_000, true),
            ask(1, "security", 600, false),
        ]);
        let voted = security_only.may_vote(&person("hana"), &heads, at(time));
        assert_eq!(voted, may, "{time}: the later of both rules");
    }
    assert_eq!(
        mixed.expires_at(),
        at("12:00:00"),
        "the open hours end first"
    );
    assert_eq!(mixed.asked_from(), Some(at("10:00:01")));
    assert_eq!(mixed.view().digest().unwrap(), mixed.digest());
}

#[test]
fn an_item_judged_again_counts_by_its_own_rule() {
    use crate::approvals::tests::{approve, put_to};
    let (open, always) = (
        ask(0, "support", 4_000, true),
        ask(1, "support", 600, false),
    );
    let heads = with_heads();
    let mut approval = asked(&[open.clone(), always.clone()]);
    let mut vote = approve(&approval, "hana", 1);
    vote.at = at("10:10:01");
    put_to(&mut approval, &vote, &heads);
    let resolved = approval.resolved().unwrap();
    let grants = |verdict: &PolicyChecked| {
        satisfies(&resolved, verdict.ask.as_ref().unwrap(), verdict, &heads).is_ok()
    };
    assert!(grants(&open) && grants(&always));
    // By the earlier moment this would be 09:53, and Hana in time.
    let mut later = always.clone();
    later.ask.as_mut().unwrap().escalation[0].after_s = 3_200;
    assert!(!grants(&later), "counted from when people were asked");
}
