//! The uses of a window: taken once, kept or given back, and counted to the end.

use std::collections::{BTreeMap, BTreeSet};

use countersign_schemas::events::{Basis, BasisKind, BlockedCode, RevokedCode, ToolApproved};
use countersign_schemas::{PersonId, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::chain::{End, Head};
use crate::decision::{Decision, Desk, revoked};
use crate::keys::SigningKey;
use crate::permit::PermitSigner;

#[test]
fn taking_twice_is_one_use_and_a_window_that_ended_strands_what_it_took() {
    let mut window = opened(&limits(600, Some(1), None));
    assert_eq!(take(&mut window, &numbered(1)), Take::Taken);
    assert_eq!(take(&mut window, &numbered(1)), Take::AlreadyTaken);
    assert_eq!(take(&mut window, &numbered(2)), Take::Refused(Gone::UsedUp));
    let kept = serde_json::to_vec(&window).unwrap();
    let mut window: Window = serde_json::from_slice(&kept).unwrap();
    assert!(window.close(&person("sam"), None, at("10:06:00")));
    assert!(!window.close(&person("lee"), None, at("10:07:00")), "once");
    assert_eq!(window.end().unwrap().by, Some(person("sam")));
    assert_eq!(take(&mut window, &numbered(1)), Take::Stranded);
    assert_eq!(take(&mut window, &numbered(2)), Take::Refused(Gone::Ended));
    assert_eq!(window.closed(), None, "a use may still be given back");
    assert!(window.give_back(intent(1)));
    let closed = window.closed().unwrap();
    assert_eq!((closed.code.as_str(), closed.uses), ("revoked", 0));
    window.settle();
    assert!(window.is_settled() && window.closed().unwrap().uses == 0);
}

#[test]
fn who_closes_too_late_finds_it_expired() {
    let mut window = opened(&limits(600, None, None));
    assert!(
        window.close(&person("sam"), None, at("11:00:00")),
        "it changed"
    );
    let end = window.end().unwrap();
    assert_eq!((end.code, end.by.clone()), (EndCode::Expired, None));
}

#[test]
fn the_last_count_outlives_the_uses() {
    let total = limits(600, None, Some("10 EUR"));
    let mut window = opened_by(&[vote("lee", "self")], &ask(), &total);
    assert_eq!(
        take(&mut window, &worth(1, "4.5", Some("EUR"))),
        Take::Taken
    );
    assert!(window.keep(intent(1)) && !window.keep(intent(1)));
    assert!(!window.give_back(intent(1)), "what is kept stays");
    window.settle();
    assert!(!window.is_settled(), "it is open");
    assert!(window.expire(at("10:10:30")));
    let before = window.closed().unwrap();
    window.settle();
    assert!(!window.holds(intent(1)));
    assert_eq!(window.closed().unwrap(), before);
    assert_eq!((before.uses, before.total.as_deref()), (1, Some("4.5 EUR")));
}

fn desk() -> Desk {
    let signer = PermitSigner::new(SigningKey::from_seed(&[1; 32]));
    Desk::new(signer, "acme", std::time::Duration::from_secs(300))
}

fn approved(window: &Window, about: &PolicyChecked, now: Timestamp) -> ToolApproved {
    match desk().under_window(about, window, now).unwrap() {
        Decision::Approved(approved) => *approved,
        Decision::Blocked(block) => panic!("{}", block.code),
    }
}

#[test]
fn a_permit_names_its_window_and_never_outlives_it() {
    let window = opened(&limits(600, None, None));
    let early = approved(&window, &numbered(1), at("10:05:00"));
    assert_eq!(early.basis.kind, BasisKind::Window);
    assert_eq!(early.basis.window_id.as_ref(), Some(window.id()));
    assert_eq!(early.basis.approvers, [person("lee")]);
    assert_eq!(early.approved_until, at("10:10:00"));
    let late = approved(&window, &numbered(1), at("10:10:29"));
    assert_eq!(late.approved_until, window.until());
    let over = desk().under_window(&numbered(1), &window, at("10:10:30"));
    let Ok(Decision::Blocked(block)) = over else {
        panic!("approved");
    };
    assert_eq!(block.code, BlockedCode::ApprovalExpired);
    assert!(block.reasons[0].message.contains("w-abc-7"));
}

fn decided(approved: &ToolApproved) -> Head {
    Head::Decided {
        seq: 1,
        approved: Box::new(approved.clone()),
    }
}

#[test]
fn a_use_is_given_back_only_when_no_decision_by_its_window_can_follow() {
    let now = at("10:05:00");
    let open = opened(&limits(600, None, None));
    let mut ended = open.clone();
    assert!(ended.close(&person("lee"), None, now));
    let ours = approved(&open, &numbered(1), now);
    let mut theirs = ours.basis.clone();
    theirs.window_id = Some(window_id("abc-8").unwrap());
    let people = Basis {
        kind: BasisKind::Person,
        window_id: None,
        ..ours.basis.clone()
    };
    let revocation = revoked(&ours, RevokedCode::Frozen, "frozen");
    let gone = Head::Ended {
        seq: 2,
        end: End::Revoked(Box::new(revocation)),
    };
    let own = Some(&ours.basis);
    for (head, basis, while_open, after) in [
        (Head::None, None, UseFate::Wait, UseFate::Block),
        (Head::NotOurs { seq: 1 }, None, UseFate::Wait, UseFate::Wait),
        (decided(&ours), own, UseFate::Wait, UseFate::Revoke),
        (
            decided(&ours),
            Some(&theirs),
            UseFate::GiveBack,
            UseFate::GiveBack,
        ),
        (
            decided(&ours),
            Some(&people),
            UseFate::GiveBack,
            UseFate::GiveBack,
        ),
        (gone, None, UseFate::GiveBack, UseFate::GiveBack),
    ] {
        assert_eq!(open.fate(&head, basis, now), while_open, "{head:?}");
        assert_eq!(ended.fate(&head, basis, now), after, "{head:?}");
    }
}

/// What may happen to a window, by several coordinators in any order.
#[derive(Debug, Clone)]
enum Step {
    Take(u32, u32),
    Keep(u32),
    GiveBack(u32),
    Close,
    Reload,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        8 => (0_u32..12, 0_u32..40).prop_map(|(n, cents)| Step::Take(n, cents)),
        2 => (0_u32..12).prop_map(Step::Keep),
        3 => (0_u32..12).prop_map(Step::GiveBack),
        1 => Just(Step::Close),
        2 => Just(Step::Reload),
    ];
    proptest::collection::vec(one, 0..60)
}

proptest! {
    /// Against the plainest model: a map of uses.
    #[test]
    fn no_order_of_events_uses_a_window_more_than_its_limits_say(
        steps in steps(), uses in 1_u32..5, cents in 1_u32..90,
    ) {
        let max = Decimal::new(i64::from(cents), 2);
        let total = format!("{max} EUR");
        let about = ask();
        let votes = [vote("lee", "self")];
        let mut window = opened_by(&votes, &about, &limits(600, Some(uses), Some(&total)));
        let mut model: BTreeMap<u32, Decimal> = BTreeMap::new();
        let mut kept: BTreeSet<u32> = BTreeSet::new();
        let mut open = true;
        for step in steps {
            match step {
                Step::Take(n, amount) => {
                    let amount = Decimal::new(i64::from(amount), 2);
                    let sum: Decimal = model.values().sum::<Decimal>() + amount;
                    let room = u32::try_from(model.len()).is_ok_and(|used| used < uses) && sum <= max;
                    let got = take(&mut window, &worth(n, &amount.to_string(), Some("EUR")));
                    match (model.contains_key(&n), open) {
                        (true, true) => prop_assert_eq!(got, Take::AlreadyTaken),
                        (true, false) => prop_assert_eq!(got, Take::Stranded),
                        (false, _) => prop_assert_eq!(got == Take::Taken, open && room),
                    }
                    if got == Take::Taken {
                        model.insert(n, amount);
                    }
                }
                Step::Keep(n) => {
                    let fresh = model.contains_key(&n) && kept.insert(n);
                    prop_assert_eq!(window.keep(intent(n)), fresh);
                }
                Step::GiveBack(n) => {
                    let free = !kept.contains(&n) && model.remove(&n).is_some();
                    prop_assert_eq!(window.give_back(intent(n)), free);
                }
                Step::Close => {
                    let by: PersonId = person("sam");
                    prop_assert_eq!(window.close(&by, None, at("10:06:00")), open);
                    open = false;
                }
                Step::Reload => {
                    let text = serde_json::to_vec(&window).unwrap();
                    window = serde_json::from_slice(&text).unwrap();
                }
            }
            prop_assert_eq!(window.used() as usize, model.len());
            prop_assert!(window.used() <= uses);
            prop_assert!(window.total().unwrap_or_default() <= max);
            prop_assert_eq!(window.open_uses().count(), model.len() - kept.len());
        }
    }
}
