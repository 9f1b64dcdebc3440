//! What belongs to a bundle, when it is whole, and what follows.

use std::time::Duration;

use countersign_schemas::Digest;
use countersign_schemas::events::{ApprovalKind, BlockedCode, Operation, PolicyChecked, Verdict};
use countersign_schemas::limits::BUNDLE_ITEMS_MAX;
use serde_json::json;

use super::super::fixtures::{PATIENCE, add, asked, gathered, item, opened, place, stored};
use super::super::{Added, BundleCourse, GATHERED_BYTES_MAX, Gathering};
use crate::approvals::fixtures::{asked as teams, at, person};
use crate::approvals::{ApprovalView, OpenError};

use Verdict::{Allow, Ask, Deny};

fn refused(added: Added) -> (BlockedCode, String) {
    match added {
        Added::Refused(code, why) => (code, why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_item_of_another_shape_is_no_part_of_the_bundle() {
    for (size, index, words) in [
        (0, 0, "claims 0 items; a bundle has 1 to 100"),
        (BUNDLE_ITEMS_MAX + 1, 0, "claims 101 items"),
        (3, 3, "claims place 3 of bundle payroll, which has 3 items"),
    ] {
        let first = item(index, size, Ask);
        let (code, why) = Gathering::open(&first, &place(&first), stored(0), PATIENCE).unwrap_err();
        assert_eq!(code, BlockedCode::InvalidInput);
        assert!(why.contains(words), "{why}");
    }
    let bundle = gathered(&[item(0, 3, Ask)]);
    let mut double = item(0, 3, Ask);
    double.intent_id = item(9, 3, Ask).intent_id;
    for (other, words) in [
        (item(1, 2, Ask), "the first item of the bundle said 3"),
        (item(7, 3, Ask), "claims place 7"),
        (double, "Another intent has place 0"),
    ] {
        let mut after = bundle.clone();
        let (code, why) = refused(add(&mut after, &other));
        assert_eq!(code, BlockedCode::InvalidInput);
        assert!(why.contains(words), "{why}");
        assert_eq!(after, bundle);
    }
}

#[test]
fn nothing_is_decided_before_all_are_checked() {
    let mut bundle = opened(&item(0, 2, Allow), stored(0));
    add(&mut bundle, &item(0, 2, Allow));
    assert_eq!(
        bundle.course(),
        BundleCourse::Wait(stored(0).plus(PATIENCE))
    );
    assert_eq!(add(&mut bundle, &item(0, 2, Allow)), Added::Known);
    add(&mut bundle, &item(1, 2, Allow));
    let BundleCourse::Emit(items) = bundle.course() else {
        panic!("{:?}", bundle.course())
    };
    let intents: Vec<_> = items.iter().map(|checked| checked.intent_id).collect();
    assert_eq!(
        intents,
        [item(0, 2, Allow).intent_id, item(1, 2, Allow).intent_id]
    );
}

#[test]
fn what_nobody_can_grant_is_left_out_and_shown_struck_out() {
    let mut dry = item(2, 5, Ask);
    dry.dry_run = Some(true);
    let mut nobody = item(3, 5, Ask);
    nobody.ask.as_mut().unwrap().approvers = teams(&[]);
    let mut denied = item(1, 5, Deny);
    denied.operation = None;
    denied.reasons[0].code = "unknown_tool".to_owned();
    let items = [item(0, 5, Ask), denied, dry, nobody, item(4, 5, Allow)];
    let approval = asked(&items);
    let shown: Vec<_> = approval.items().iter().map(|item| item.index()).collect();
    assert_eq!(
        shown,
        [Some(0), Some(4)],
        "an allowed item is decided with the others"
    );
    let view = approval.view();
    let out: Vec<_> = view
        .left_out
        .iter()
        .map(|out| (out.index, out.code))
        .collect();
    let codes = [
        (1, BlockedCode::UnknownTool),
        (2, BlockedCode::DryRun),
        (3, BlockedCode::PolicyError),
    ];
    assert_eq!(out, codes);
    assert!(view.left_out.iter().all(|out| out.reason.len() > 10));
    assert_eq!(view.kind, ApprovalKind::Bundle);
    assert_eq!(approval.ask().approvers, teams(&[("support", 1)]));
}

#[test]
fn a_bundle_of_which_nothing_is_left_asks_nobody() {
    let bundle = gathered(&[item(0, 2, Deny), item(1, 2, Deny)]);
    assert_eq!(bundle.course(), BundleCourse::Emit(Vec::new()));
    let left = bundle.left_out(item(1, 2, Deny).intent_id).unwrap();
    assert_eq!(left.code, BlockedCode::PolicyDenied);
}

#[test]
fn a_decision_that_stood_before_leaves_its_item_out() {
    let (first, second) = (item(0, 2, Ask), item(1, 2, Ask));
    let mut bundle = opened(&first, stored(0));
    add(&mut bundle, &first);
    let ended = Some((BlockedCode::Withdrawn, "billing withdrew it".to_owned()));
    bundle.add(&second, &place(&second), stored(1), ended);
    let BundleCourse::Ask(approval) = bundle.course() else {
        panic!("{:?}", bundle.course())
    };
    assert_eq!(approval.intents(), [first.intent_id]);
    assert_eq!(approval.left_out()[0].code, BlockedCode::Withdrawn);
}

#[test]
fn an_item_is_left_out_only_while_others_are_awaited() {
    let (first, second) = (item(0, 2, Ask), item(1, 2, Ask));
    let mut bundle = opened(&first, stored(0));
    add(&mut bundle, &first);
    assert!(!bundle.leave_out(second.intent_id, BlockedCode::Withdrawn, "x"));
    assert!(bundle.waits(first.intent_id));
    assert!(bundle.leave_out(first.intent_id, BlockedCode::Withdrawn, "x"));
    assert!(!bundle.leave_out(first.intent_id, BlockedCode::Withdrawn, "x"));
    assert!(!bundle.waits(first.intent_id));
    add(&mut bundle, &second);
    assert!(!bundle.leave_out(second.intent_id, BlockedCode::Withdrawn, "x"));
    assert!(bundle.waits(second.intent_id));
}

#[test]
fn the_time_of_a_bundle_is_over_in_words_and_never_early() {
    let mut bundle = gathered(&[item(0, 12, Ask), item(5, 12, Deny)]);
    let deadline = stored(0).plus(PATIENCE);
    assert_eq!(bundle.deadline(), deadline);
    assert!(!bundle.close(deadline.minus(Duration::from_millis(1))));
    assert!(bundle.close(deadline));
    assert!(!bundle.close(deadline), "once");
    let BundleCourse::Incomplete(items, why) = bundle.course() else {
        panic!("{:?}", bundle.course())
    };
    assert_eq!(items.len(), 1, "what was left out is blocked already");
    assert_eq!(
        why,
        "Bundle payroll never became whole: 2 of 12 items came before 2026-11-22T10:02:00Z; \
         missing (counted from 0): 1, 2, 3, 4, 6, 7, 8, 9, 10, 11."
    );
    let (code, why) = refused(add(&mut bundle, &item(1, 12, Ask)));
    assert_eq!(code, BlockedCode::BundleIncomplete);
    assert!(why.contains("had ended at 2026-11-22T10:02:00Z"), "{why}");
}

#[test]
fn an_item_that_was_checked_too_late_is_no_part_even_before_the_timer_fires() {
    let mut bundle = gathered(&[item(0, 2, Allow)]);
    let late = item(1, 2, Allow);
    let after = bundle.add(&late, &place(&late), bundle.deadline(), None);
    assert_eq!(refused(after).0, BlockedCode::BundleIncomplete);
    assert!(matches!(bundle.course(), BundleCourse::Wait(_)));
}

#[test]
fn a_bundle_waits_no_longer_than_the_shortest_ask() {
    let mut short = item(1, 3, Ask);
    short.ask.as_mut().unwrap().expires_in_s = 30;
    let bundle = gathered(&[item(0, 3, Allow), short.clone()]);
    assert_eq!(bundle.deadline(), stored(1).plus(Duration::from_secs(30)));
    let approval = asked(&[item(0, 3, Ask), short, item(2, 3, Allow)]);
    assert_eq!(approval.created_at(), stored(2));
    assert_eq!(
        approval.expires_at(),
        stored(1).plus(Duration::from_secs(30))
    );
}

#[test]
fn people_have_until_no_item_could_run_any_more() {
    let own = |index, end: Option<&str>| {
        let mut item = item(index, 2, Ask);
        item.expires_at = end.map(at);
        item
    };
    let both = asked(&[own(0, Some("10:10:00")), own(1, Some("10:20:00"))]);
    assert_eq!(both.expires_at(), at("10:20:00"));
    let one = asked(&[own(0, Some("10:10:00")), own(1, None)]);
    assert_eq!(one.expires_at(), at("11:00:00"));
}

#[test]
fn several_asks_become_one_that_is_no_weaker_than_any() {
    let with = |index, approvers: &[(&str, u32)], chat, own, excluded: &str| {
        let mut item = item(index, 3, Ask);
        let ask = item.ask.as_mut().unwrap();
        ask.approvers = teams(approvers);
        ask.chat_may_approve = chat;
        ask.self_allowed = own;
        ask.excluded = vec![person(excluded)];
        ask.window_max_s = Some(60);
        item.requester.id = format!("asker-{index}").parse().unwrap();
        item
    };
    let approval = asked(&[
        with(0, &[("support", 2)], true, true, "dana"),
        with(1, &[("support", 1), ("security", 1)], false, false, "kim"),
        item(2, 3, Allow),
    ]);
    let ask = approval.ask();
    assert_eq!(ask.approvers, teams(&[("security", 1), ("support", 2)]));
    assert!(!ask.chat_may_approve && !ask.self_allowed);
    assert_eq!(ask.excluded, [person("dana"), person("kim")]);
    assert_eq!(ask.window_max_s, None, "a bundle opens no window");
    let people = crate::approvals::fixtures::company();
    for asker in ["dana", "kim"] {
        assert!(
            !approval.may_vote(&person(asker), &people, at("10:00:10")),
            "{asker}"
        );
    }
    assert!(approval.may_vote(&person("sam"), &people, at("10:00:10")));
}

#[test]
fn the_requester_of_any_item_has_no_vote() {
    let mut allowed = item(1, 2, Allow);
    allowed.requester.id = "lee".parse().unwrap();
    let approval = asked(&[item(0, 2, Ask), allowed]);
    let people = crate::approvals::fixtures::company();
    assert!(!approval.may_vote(&person("lee"), &people, at("10:00:10")));
    assert!(approval.may_vote(&person("sam"), &people, at("10:00:10")));
}

#[test]
fn what_would_be_too_much_for_people_is_left_out() {
    let mut large = item(1, 3, Ask);
    let text = "x".repeat(GATHERED_BYTES_MAX);
    large.input_shown.0.insert("body".to_owned(), json!(text));
    let bundle = gathered(&[item(0, 3, Ask), large, item(2, 3, Ask)]);
    let out = bundle.left_out(item(1, 3, Ask).intent_id).unwrap();
    assert_eq!(out.code, BlockedCode::InvalidInput);
    assert!(out.reason.contains("in a smaller bundle"), "{}", out.reason);
    let half = |index| {
        let mut half = item(index, 2, Ask);
        let text = "x".repeat(400 * 1024);
        half.input_shown.0.insert("body".to_owned(), json!(text));
        half
    };
    let bundle = gathered(&[half(0), half(1)]);
    let BundleCourse::Unaskable(items, error) = bundle.course() else {
        panic!("it fits")
    };
    assert_eq!((items.len(), error), (2, OpenError::TooLarge));
}

#[test]
fn a_settled_bundle_keeps_its_places_and_no_input() {
    let mut bundle = gathered(&[item(0, 2, Ask)]);
    bundle.settle();
    assert!(!bundle.is_settled(), "items may still come");
    add(&mut bundle, &item(1, 2, Deny));
    bundle.settle();
    assert!(bundle.is_settled());
    assert_eq!(bundle.course(), BundleCourse::Done);
    let kept = serde_json::to_string(&bundle).unwrap();
    assert!(
        !kept.contains("example.org") && kept.len() < 1_000,
        "{kept}"
    );
    let restored: Gathering = serde_json::from_str(&kept).unwrap();
    assert_eq!(restored, bundle);
    assert_eq!(add(&mut bundle, &item(1, 2, Deny)), Added::Known);
    let mut other = item(1, 2, Ask);
    other.intent_id = item(8, 2, Ask).intent_id;
    assert_eq!(
        refused(add(&mut bundle, &other)).0,
        BlockedCode::InvalidInput
    );
}

/// One thing that an approver of a bundle is shown.
type Change = (&'static str, fn(&mut [PolicyChecked]));

#[test]
fn the_digest_covers_every_item_in_its_order_and_what_is_struck_out() {
    let items = || [item(0, 3, Ask), item(1, 3, Allow), item(2, 3, Deny)];
    let digest = |items: &[PolicyChecked]| {
        let approval = asked(items);
        assert_eq!(approval.view().digest().unwrap(), approval.digest());
        approval.digest()
    };
    let same = digest(&items());
    assert_eq!(digest(&items()), same);
    let changes: &[Change] = &[
        ("input", |all| {
            drop(all[1].input_shown.0.insert("cc".to_owned(), json!("x")))
        }),
        ("exact input", |all| {
            all[1].input_digest = Digest::of_bytes(b"y")
        }),
        ("salt", |all| all[1].salt.push('x')),
        ("requester", |all| {
            all[1].requester.id = "eve".parse().unwrap()
        }),
        ("purpose", |all| all[1].purpose.push('!')),
        ("operation", |all| {
            all[1].operation = Some(Operation::Delete)
        }),
        ("own end", |all| all[1].expires_at = Some(at("12:00:00"))),
        ("verdict", |all| all[1] = item(1, 3, Ask)),
        ("a reason", |all| all[0].reasons[0].message.push('!')),
        ("what is struck out", |all| all[2].summary.push('!')),
        ("why it is", |all| all[2].reasons[0].message.push('!')),
        ("its input", |all| {
            all[2].input_digest = Digest::of_bytes(b"z")
        }),
        ("order", |all| {
            let (a, b) = (all[0].bundle.clone(), all[1].bundle.clone());
            (all[0].bundle, all[1].bundle) = (b, a);
        }),
    ];
    for (what, change) in changes {
        let mut other = items();
        change(&mut other);
        other.sort_by_key(|item| place(item).index);
        assert_ne!(digest(&other), same, "{what}");
    }
}

#[test]
fn texts_of_a_struck_out_item_are_shown_safely() {
    let mut denied = item(1, 2, Deny);
    denied.summary = "pay\u{202e}".to_owned();
    denied.reasons[0].message = "no\nApproved".to_owned();
    let view: ApprovalView = asked(&[item(0, 2, Ask), denied]).view();
    assert_eq!(view.left_out[0].summary, "pay⟨U+202E⟩");
    assert_eq!(view.left_out[0].reason, "no⏎Approved");
    let text = serde_json::to_string(&view).unwrap();
    assert!(!text.contains("salt-0"), "the salt of an item leaked");
}
