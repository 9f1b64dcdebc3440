//! What holds for every order of arrival and every series of votes.

use std::collections::BTreeSet;

use countersign_schemas::IntentId;
use countersign_schemas::events::{ApprovalState, BlockedCode, PolicyChecked, Verdict, VoteChoice};
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::super::fixtures::{add, asked, gathered, item, opened, place, stored};
use super::super::{Added, BundleCourse};
use super::votes::{decisions, vote};
use crate::approvals::fixtures::{asked as teams, at};
use crate::decision::Decision;

fn verdicts(size: usize) -> impl Strategy<Value = Vec<PolicyChecked>> {
    let one = prop_oneof![
        Just(Verdict::Allow),
        Just(Verdict::Ask),
        Just(Verdict::Deny)
    ];
    proptest::collection::vec(one, size).prop_map(|verdicts| {
        let size = u32::try_from(verdicts.len()).unwrap();
        (0..size)
            .zip(verdicts)
            .map(|(n, verdict)| item(n, size, verdict))
            .collect()
    })
}

/// The items of a bundle in some order, some of them several times.
fn deliveries() -> impl Strategy<Value = (Vec<PolicyChecked>, Vec<PolicyChecked>)> {
    (1_usize..7).prop_flat_map(verdicts).prop_flat_map(|items| {
        let again = subsequence(items.clone(), 0..=items.len());
        let all = again.prop_map({
            let items = items.clone();
            move |again| [items.clone(), again].concat()
        });
        (Just(items), all.prop_shuffle())
    })
}

#[derive(Debug, Clone)]
enum Step {
    Vote(usize, Option<Vec<u32>>),
    Deny(usize),
    TakeOut(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let items = proptest::option::of(subsequence((0_u32..4).collect::<Vec<_>>(), 0..=4));
    prop_oneof![
        6 => (0_usize..4, items).prop_map(|(who, items)| Step::Vote(who, items)),
        1 => (0_usize..4).prop_map(Step::Deny),
        2 => (0_u32..5).prop_map(Step::TakeOut),
    ]
}

proptest! {
    #[test]
    fn any_order_and_any_redelivery_gives_the_same_bundle((items, sent) in deliveries()) {
        let whole = gathered(&items);
        let mut bundle = opened(&sent[0], stored(place(&sent[0]).index));
        for (n, item) in sent.iter().enumerate() {
            let before = sent[..n].iter().any(|other| other.intent_id == item.intent_id);
            let expected = if before { Added::Known } else { Added::Taken };
            let kept = serde_json::to_vec(&bundle).unwrap();
            bundle = serde_json::from_slice(&kept).unwrap();
            prop_assert_eq!(add(&mut bundle, item), expected);
        }
        prop_assert_eq!(&bundle, &whole);
        prop_assert_eq!(bundle.course(), whole.course());
        let live: Vec<IntentId> = match bundle.course() {
            BundleCourse::Ask(approval) => approval.intents(),
            BundleCourse::Emit(items) => items.iter().map(|item| item.intent_id).collect(),
            other => panic!("{other:?}"),
        };
        let granted = items.iter().filter(|item| item.verdict != Verdict::Deny);
        prop_assert_eq!(live, granted.map(|item| item.intent_id).collect::<Vec<_>>());
    }

    #[test]
    fn no_item_runs_that_is_not_in_every_vote_it_needs(steps in proptest::collection::vec(step(), 1..12)) {
        let names = ["lee", "sam", "kim", "dana"];
        let items: Vec<PolicyChecked> = (0..4)
            .map(|index| {
                let mut item = item(index, 4, Verdict::Ask);
                item.ask.as_mut().unwrap().approvers = teams(&[("support", 1), ("security", 1)]);
                item
            })
            .collect();
        let ids: Vec<IntentId> = items.iter().map(|item| item.intent_id).collect();
        let mut approval = asked(&items);
        let digest = approval.digest();
        let mut taken_out = BTreeSet::new();
        for (seq, step) in (1_u64..).zip(steps) {
            let before = approval.clone();
            match step {
                Step::Vote(who, named) => {
                    let named = named.map(|all| all.iter().map(|n| ids[*n as usize]).collect());
                    vote(&mut approval, names[who], VoteChoice::Approve, named, at("10:05:00"), seq);
                }
                Step::Deny(who) => {
                    vote(&mut approval, names[who], VoteChoice::Deny, None, at("10:05:00"), seq);
                }
                Step::TakeOut(n) => {
                    let intent = item(n, 4, Verdict::Ask).intent_id;
                    if approval.take_out(intent, BlockedCode::Withdrawn, "x", at("10:04:00")) {
                        taken_out.insert(intent);
                    }
                }
            }
            prop_assert!(before.is_pending() || approval == before, "an end is an end");
        }
        prop_assert_eq!(approval.view().digest().unwrap(), digest);
        let decided = decisions(&approval, at("10:06:00"));
        prop_assert_eq!(decided.len(), if approval.is_pending() { 0 } else { 4 });
        let granted = matches!(approval.state(), ApprovalState::Approved | ApprovalState::Partial);
        for decision in decided {
            let Decision::Approved(approved) = decision else { continue };
            prop_assert!(granted && !taken_out.contains(&approved.intent_id));
            let covering = approval.votes.iter().filter(|vote| {
                vote.items.as_ref().is_none_or(|named| named.contains(&approved.intent_id))
            });
            let voters: Vec<_> = covering.map(|vote| vote.vote.approver.clone()).collect();
            prop_assert_eq!(&approved.basis.approvers, &voters);
            prop_assert!(voters.len() >= 2, "one of support and one of security");
            prop_assert!(approval.resolved().unwrap().intents.contains(&approved.intent_id));
        }
    }
}
