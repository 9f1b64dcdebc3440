//! Votes on a bundle: for all of it, or for some items only.

use std::time::Duration;

use countersign_schemas::events::{
    ApprovalState, ApprovalVote, BlockedCode, PolicyChecked, Verdict, VoteChoice,
};
use countersign_schemas::{IntentId, SeqToken, Timestamp};

use super::super::fixtures::{asked, item};
use crate::approvals::fixtures::{asked as teams, at, company, person};
use crate::approvals::{Answer, Approval, Ballot, VoteCode};
use crate::decision::{Decision, Desk};
use crate::keys::SigningKey;
use crate::permit::PermitSigner;

use Verdict::{Allow, Ask};

/// Three items, each asking two of support.
fn bundle() -> Approval {
    let two = |index| {
        let mut item = item(index, 3, Ask);
        item.ask.as_mut().unwrap().approvers = teams(&[("support", 2)]);
        item
    };
    asked(&[two(0), two(1), item(2, 3, Allow)])
}

fn id(index: u32) -> IntentId {
    item(index, 3, Ask).intent_id
}

pub(super) fn vote(
    approval: &mut Approval,
    who: &str,
    choice: VoteChoice,
    items: Option<Vec<IntentId>>,
    when: Timestamp,
    seq: u64,
) -> Answer {
    let vote = ApprovalVote {
        schema_version: 1,
        approval_id: approval.id().clone(),
        digest: approval.digest(),
        vote: choice,
        items,
        window: None,
        reason: None,
    };
    let ballot = Ballot {
        approver: &person(who),
        via: &"self".parse().unwrap(),
        message: &SeqToken::new("abc".parse().unwrap(), seq),
        stored_at: when,
        vote: &vote,
        reason: None,
    };
    approval.vote(&ballot, &company())
}

fn yes(approval: &mut Approval, who: &str, items: Option<&[u32]>, seq: u64) -> Answer {
    let items = items.map(|items| items.iter().map(|index| id(*index)).collect());
    vote(
        approval,
        who,
        VoteChoice::Approve,
        items,
        at("10:05:00"),
        seq,
    )
}

pub(super) fn decisions(approval: &Approval, now: Timestamp) -> Vec<Decision> {
    let signer = PermitSigner::new(SigningKey::from_seed(&[1; 32]));
    let desk = Desk::new(signer, "acme", Duration::from_secs(300));
    desk.after_approval(approval, now).unwrap()
}

/// What was decided on each item: `None` where it runs.
fn codes(approval: &Approval) -> Vec<Option<BlockedCode>> {
    let code = |decision: Decision| match decision {
        Decision::Approved(_) => None,
        Decision::Blocked(blocked) => Some(blocked.code),
    };
    decisions(approval, at("10:05:01"))
        .into_iter()
        .map(code)
        .collect()
}

#[test]
fn a_whole_yes_runs_every_item() {
    let mut approval = bundle();
    yes(&mut approval, "lee", None, 1);
    assert!(approval.is_pending());
    yes(&mut approval, "sam", None, 2);
    assert_eq!(approval.state(), ApprovalState::Approved);
    assert_eq!(codes(&approval), [None, None, None]);
    let resolved = approval.resolved().unwrap();
    assert_eq!(resolved.intents, [id(0), id(1), id(2)]);
    assert_eq!(resolved.message, "approved by lee and sam");
}

#[test]
fn what_a_vote_leaves_out_does_not_run_and_the_rest_is_partial() {
    let mut approval = bundle();
    yes(&mut approval, "lee", Some(&[0, 2]), 1);
    yes(&mut approval, "sam", None, 2);
    assert_eq!(approval.state(), ApprovalState::Partial);
    let denied = Some(BlockedCode::DeniedByPerson);
    assert_eq!(codes(&approval), [None, denied, None]);
    let resolved = approval.resolved().unwrap();
    assert_eq!(
        resolved.intents,
        [id(0), id(2)],
        "a re-check finds only what runs"
    );
    assert_eq!(
        resolved.message,
        "approved by lee and sam, 1 of 3 items left out"
    );
    let Decision::Blocked(blocked) = decisions(&approval, at("10:05:01")).remove(1) else {
        panic!("it runs")
    };
    assert_eq!(
        blocked.reasons[0].message,
        "A person said no: left out by lee."
    );
    assert_eq!(
        blocked.handoff.unwrap().approval_id,
        Some(approval.id().clone())
    );
}

#[test]
fn of_two_approvers_only_what_both_approve_runs() {
    let mut approval = bundle();
    yes(&mut approval, "lee", Some(&[0, 1]), 1);
    yes(&mut approval, "sam", Some(&[1, 2]), 2);
    assert_eq!(approval.state(), ApprovalState::Partial);
    let denied = Some(BlockedCode::DeniedByPerson);
    assert_eq!(codes(&approval), [denied, None, denied]);
}

#[test]
fn two_approvers_with_nothing_in_common_approve_nothing() {
    let mut approval = bundle();
    yes(&mut approval, "lee", Some(&[0]), 1);
    assert!(approval.is_pending());
    yes(&mut approval, "sam", Some(&[1, 2]), 2);
    assert_eq!(approval.state(), ApprovalState::Denied);
    let denied = Some(BlockedCode::DeniedByPerson);
    assert_eq!(codes(&approval), [denied, denied, denied]);
    let end = approval.resolution().unwrap();
    assert_eq!(end.message, "no item is left that everybody approved");
    assert_eq!(end.by, Some(person("sam")));
}

#[test]
fn one_no_ends_the_whole_bundle() {
    let mut approval = bundle();
    yes(&mut approval, "lee", Some(&[0]), 1);
    vote(
        &mut approval,
        "sam",
        VoteChoice::Deny,
        None,
        at("10:05:00"),
        2,
    );
    assert_eq!(approval.state(), ApprovalState::Denied);
    assert_eq!(approval.resolution().unwrap().message, "denied by sam");
    assert_eq!(codes(&approval).len(), 3);
    assert!(codes(&approval).iter().all(Option::is_some));
}

#[test]
fn items_that_cannot_be_voted_on_are_answered_and_change_nothing() {
    let denied_at_once = {
        let mut approval = asked(&[item(0, 2, Ask), item(1, 2, Verdict::Deny)]);
        let before = approval.clone();
        let answer = yes(&mut approval, "lee", Some(&[0, 1]), 1);
        assert_eq!(approval, before);
        answer
    };
    assert_eq!(denied_at_once.code, VoteCode::WrongItems);
    let cases: [(VoteChoice, Vec<IntentId>, &str); 4] = [
        (VoteChoice::Approve, vec![id(0); 4], "name each once"),
        (VoteChoice::Approve, vec![], "approves no item"),
        (
            VoteChoice::Approve,
            vec![id(0), id(9)],
            "is no item of this bundle",
        ),
        (VoteChoice::Deny, vec![id(0)], "a no is to the whole bundle"),
    ];
    for (choice, items, words) in cases {
        let mut approval = bundle();
        let before = approval.clone();
        let answer = vote(&mut approval, "lee", choice, Some(items), at("10:05:00"), 1);
        assert_eq!(answer.code, VoteCode::WrongItems);
        assert!(answer.message.contains(words), "{}", answer.message);
        assert_eq!(approval, before);
    }
}

#[test]
fn a_vote_is_kept_with_each_item_once() {
    let mut approval = bundle();
    let answer = yes(&mut approval, "lee", Some(&[2, 0, 2]), 1);
    assert_eq!(answer.code, VoteCode::Counted);
    let kept = approval.votes[0].items.as_deref();
    assert_eq!(kept, Some([id(2), id(0)].as_slice()));
    yes(&mut approval, "sam", None, 2);
    assert_eq!(
        codes(&approval),
        [None, Some(BlockedCode::DeniedByPerson), None]
    );
}

#[test]
fn what_is_taken_out_later_leaves_the_digest_and_the_others() {
    let mut approval = bundle();
    let digest = approval.digest();
    let out = |approval: &mut Approval, index, code| {
        approval.take_out(id(index), code, "billing withdrew it", at("10:03:00"))
    };
    assert!(out(&mut approval, 0, BlockedCode::Withdrawn));
    assert!(!out(&mut approval, 0, BlockedCode::ToolChanged), "once");
    assert!(!out(&mut approval, 9, BlockedCode::Withdrawn));
    assert!(out(&mut approval, 1, BlockedCode::ToolChanged));
    assert_eq!((approval.digest(), approval.is_pending()), (digest, true));
    yes(&mut approval, "lee", None, 1);
    yes(&mut approval, "sam", Some(&[0, 2]), 2);
    assert_eq!(
        approval.state(),
        ApprovalState::Approved,
        "nobody left out what was there"
    );
    let expected = [
        Some(BlockedCode::Withdrawn),
        Some(BlockedCode::ToolChanged),
        None,
    ];
    assert_eq!(codes(&approval), expected);
    assert!(
        !out(&mut approval, 2, BlockedCode::Withdrawn),
        "it has ended"
    );
    let shown = approval.shown_to(&person("lee"), &company(), at("10:06:00"), &str::to_owned);
    assert_eq!(shown.listed.struck.len(), 2);
    assert_eq!(shown.view.unwrap().digest().unwrap(), digest);
}

#[test]
fn a_bundle_of_which_all_was_taken_out_is_cancelled() {
    let mut approval = bundle();
    for index in 0..3 {
        assert!(approval.is_pending());
        approval.take_out(
            id(index),
            BlockedCode::Withdrawn,
            "not wanted",
            at("10:03:00"),
        );
    }
    assert_eq!(approval.state(), ApprovalState::Cancelled);
    assert_eq!(approval.resolved().unwrap().intents.len(), 3);
    assert_eq!(codes(&approval), [Some(BlockedCode::Withdrawn); 3]);
}

#[test]
fn an_item_past_its_own_time_is_taken_out_when_people_decide() {
    let end = |index, own: &str| -> PolicyChecked {
        let mut item = item(index, 2, Ask);
        item.expires_at = Some(at(own));
        item
    };
    let mut approval = asked(&[end(0, "10:05:00"), end(1, "10:20:00")]);
    yes(&mut approval, "lee", None, 1);
    assert_eq!(approval.state(), ApprovalState::Approved);
    assert_eq!(codes(&approval), [Some(BlockedCode::ApprovalExpired), None]);
    assert_eq!(approval.resolved().unwrap().intents, [id(1)]);
    let mut approval = asked(&[end(0, "10:05:00"), end(1, "10:20:00")]);
    approval.take_out(id(1), BlockedCode::Withdrawn, "not wanted", at("10:03:00"));
    yes(&mut approval, "lee", None, 1);
    assert_eq!(approval.state(), ApprovalState::Expired);
}

#[test]
fn a_bundle_that_nobody_answers_expires_whole() {
    let mut approval = bundle();
    yes(&mut approval, "lee", Some(&[0, 1]), 1);
    assert!(approval.expire(at("11:00:00")));
    assert_eq!(approval.state(), ApprovalState::Expired);
    let expired = Some(BlockedCode::ApprovalExpired);
    let denied = Some(BlockedCode::DeniedByPerson);
    assert_eq!(codes(&approval), [expired, expired, denied]);
}
