//! What people grant while the rules change.

use std::time::Duration;

use countersign_schemas::events::{ApprovalVote, ToolBlocked, Verdict, VoteChoice};
use countersign_schemas::{SeqToken, Timestamp};

use super::*;
use crate::approvals::fixtures::{asked, at, checked, company, person};
use crate::decision::{Decision, Desk};
use crate::keys::SigningKey;
use crate::permit::PermitSigner;

fn open_for(quorum: u32) -> Approval {
    let mut checked = checked();
    checked.ask.as_mut().unwrap().approvers = asked(&[("support", quorum)]);
    Approval::open(&checked, at("10:00:01")).unwrap()
}

/// Votes as `who` by message `seq`; in vain where something stops it.
fn vote(
    approval: &mut Approval,
    who: &str,
    choice: VoteChoice,
    seq: u64,
    stop: Option<Stop>,
) -> Answer {
    let (person, via) = (person(who), "self".parse().unwrap());
    let message = SeqToken::new("abc".parse().unwrap(), seq);
    let vote = ApprovalVote {
        schema_version: 1,
        approval_id: approval.id().clone(),
        digest: approval.digest(),
        vote: choice,
        items: None,
        window: None,
        reason: Some("called them".to_owned()),
    };
    let ballot = Ballot {
        approver: &person,
        via: &via,
        message: &message,
        stored_at: at("10:05:00"),
        vote: &vote,
        reason: vote.reason.clone(),
    };
    match stop {
        Some(stop) => {
            let intent = approval.items()[0].intent();
            approval.vote_in_vain(&ballot, &company(), &[(intent, stop)])
        }
        None => approval.vote(&ballot, &company()),
    }
}

fn reply(runs: bool, reasons: &[(&str, &str)]) -> RecheckReply {
    let reason = |(code, message): &(&str, &str)| Reason {
        code: (*code).to_owned(),
        message: (*message).to_owned(),
        policy_id: None,
    };
    RecheckReply {
        intent_id: checked().intent_id,
        runs,
        verdict: Verdict::Deny,
        reasons: reasons.iter().map(reason).collect(),
        needs: vec![Need {
            code: "rule".to_owned(),
            message: "the move is over".to_owned(),
        }],
        policy_digest: Digest::of_bytes(b"now"),
        tool_digest: None,
    }
}

fn moved() -> Stop {
    let no = ("recheck_denied", "the rules in force no longer allow it");
    let why = ("policy_denied", "The documents are being moved.");
    Stop::of(&reply(false, &[no, why])).unwrap()
}

fn blocked(approval: &Approval) -> ToolBlocked {
    let signer = PermitSigner::new(SigningKey::from_seed(&[1; 32]));
    let desk = Desk::new(signer, "acme", Duration::from_secs(300));
    let decisions = desk.after_approval(approval, at("10:06:00")).unwrap();
    match decisions.as_slice() {
        [Decision::Blocked(blocked)] => blocked.as_ref().clone(),
        other => panic!("not blocked: {other:?}"),
    }
}

#[test]
fn only_what_was_just_granted_under_other_rules_is_judged_again() {
    let (same, other) = (checked().policy_digest, Digest::of_bytes(b"now"));
    let mut approval = open_for(1);
    let intent = checked().intent_id;
    assert_eq!(
        approval.to_judge_again(Some(other)),
        [],
        "nobody has granted it"
    );
    vote(&mut approval, "lee", VoteChoice::Approve, 1, None);
    assert_eq!(approval.to_judge_again(Some(same)), []);
    assert_eq!(approval.to_judge_again(Some(other)), [intent]);
    assert_eq!(
        approval.to_judge_again(None),
        [intent],
        "nobody knows which bundle is in force"
    );
    approval.settle();
    assert_eq!(approval.to_judge_again(Some(other)), []);
    let mut denied = open_for(1);
    vote(&mut denied, "lee", VoteChoice::Deny, 1, None);
    assert_eq!(denied.to_judge_again(Some(other)), []);
}

#[test]
fn a_checker_is_told_who_said_yes_and_nobody_s_words() {
    let mut approval = open_for(1);
    assert_eq!(approval.for_recheck(), None);
    vote(&mut approval, "lee", VoteChoice::Approve, 1, None);
    let told = approval.for_recheck().unwrap();
    assert_eq!((told.votes.len(), told.state), (1, ApprovalState::Approved));
    assert!(told.message.is_empty() && told.votes[0].reason.is_none());
}

#[test]
fn what_the_rules_stop_ends_by_the_same_vote_and_blocks_with_their_reason() {
    let mut approval = open_for(1);
    let answer = vote(&mut approval, "lee", VoteChoice::Approve, 1, Some(moved()));
    assert!(answer.changed);
    assert_eq!(approval.state(), ApprovalState::Failed);
    assert!(
        answer.message.contains(
            "it is failed: the rules in force no longer allow it: The documents are being moved"
        ),
        "{}",
        answer.message
    );
    let block = blocked(&approval);
    assert_eq!(block.code, BlockedCode::PolicyDenied);
    let said: Vec<&str> = block
        .reasons
        .iter()
        .map(|why| why.message.as_str())
        .collect();
    assert_eq!(
        said,
        [
            "People said yes, but the rules changed while they decided: the rules in force no \
             longer allow it: The documents are being moved.",
            "The documents are being moved."
        ]
    );
    assert_eq!(block.needs, reply(false, &[]).needs);
    let resolved = approval.resolved().unwrap();
    assert_eq!(
        (resolved.state, resolved.votes.len()),
        (ApprovalState::Failed, 1)
    );
}

#[test]
fn the_end_by_the_rules_is_an_end_and_survives_being_kept() {
    let mut approval = open_for(1);
    vote(&mut approval, "lee", VoteChoice::Approve, 1, Some(moved()));
    let kept = serde_json::to_vec(&approval).unwrap();
    let mut read: Approval = serde_json::from_slice(&kept).unwrap();
    assert_eq!(read, approval);
    assert_eq!(
        blocked(&read),
        blocked(&approval),
        "a redelivery emits the same"
    );
    let again = vote(&mut read, "lee", VoteChoice::Approve, 1, None);
    assert!(
        !again.changed,
        "the same vote, though the rules would allow it by now"
    );
    let late = vote(&mut read, "sam", VoteChoice::Approve, 2, None);
    assert!(!late.changed && late.code.as_str() == "already_resolved");
    let now: Timestamp = at("10:07:00");
    assert!(!read.void(BlockedCode::ToolChanged, "x", now) && !read.cancel("x", now));
    assert!(!read.expire(at("23:00:00")));
    assert_eq!(read, approval);
}

#[test]
fn a_vote_that_grants_nothing_yet_is_counted_whatever_would_stop_it() {
    let mut approval = open_for(2);
    let first = vote(&mut approval, "lee", VoteChoice::Approve, 1, Some(moved()));
    assert!(first.changed && approval.is_pending(), "{first:?}");
    assert_eq!(approval.to_judge_again(None), []);
    vote(
        &mut approval,
        "sam",
        VoteChoice::Approve,
        2,
        Some(Stop::unjudged()),
    );
    assert_eq!(approval.state(), ApprovalState::Failed);
    assert_eq!(blocked(&approval).code, BlockedCode::Unavailable);
    let mut denied = open_for(1);
    vote(&mut denied, "lee", VoteChoice::Deny, 1, Some(moved()));
    assert_eq!(denied.state(), ApprovalState::Denied);
}

#[test]
fn a_stop_has_the_code_of_the_verdict() {
    let no = ("recheck_denied", "the rules in force ask for people");
    for (reasons, code) in [
        (
            vec![no, ("guardrail_violated", "x")],
            BlockedCode::GuardrailViolated,
        ),
        (
            vec![no, ("approval_required", "x")],
            BlockedCode::PolicyDenied,
        ),
        (
            vec![("tool_changed", "x"), ("permitted", "y")],
            BlockedCode::ToolChanged,
        ),
        (vec![no, ("policy_error", "x")], BlockedCode::PolicyError),
        (vec![], BlockedCode::PolicyDenied),
    ] {
        let stop = Stop::of(&reply(false, &reasons)).unwrap();
        assert_eq!(stop.code, code, "{reasons:?}");
        assert!(!stop.message.is_empty());
        assert_eq!(stop.reasons.len(), reasons.len().saturating_sub(1));
    }
    assert_eq!(Stop::of(&reply(true, &[("permitted", "y")])), None);
}

mod of_bundles {
    use super::*;
    use crate::approvals::bundles::{asked as ask_about, gathered, item};
    use crate::approvals::{BundleCourse, Gathering};
    use crate::decision::overruled;

    use Verdict::{Allow, Ask};

    /// Lee says yes to three items, of which these are stopped.
    fn granted(stopped: &[usize]) -> Approval {
        let mut approval = ask_about(&[item(0, 3, Ask), item(1, 3, Allow), item(2, 3, Ask)]);
        let intents = approval.intents();
        let stops: Vec<_> = stopped.iter().map(|n| (intents[*n], moved())).collect();
        let (lee, via) = (person("lee"), "self".parse().unwrap());
        let message = SeqToken::new("abc".parse().unwrap(), 1);
        let vote = ApprovalVote {
            schema_version: 1,
            approval_id: approval.id().clone(),
            digest: approval.digest(),
            vote: VoteChoice::Approve,
            items: None,
            window: None,
            reason: None,
        };
        let ballot = Ballot {
            approver: &lee,
            via: &via,
            message: &message,
            stored_at: at("10:05:00"),
            vote: &vote,
            reason: None,
        };
        approval.vote_in_vain(&ballot, &company(), &stops);
        approval
    }

    fn runs(approval: &Approval) -> Vec<bool> {
        let signer = PermitSigner::new(SigningKey::from_seed(&[1; 32]));
        let desk = Desk::new(signer, "acme", Duration::from_secs(300));
        let decisions = desk.after_approval(approval, at("10:06:00")).unwrap();
        let approved = |one: &Decision| matches!(one, Decision::Approved(_));
        decisions.iter().map(approved).collect()
    }

    #[test]
    fn an_item_that_the_rules_stop_leaves_the_others() {
        let approval = granted(&[1]);
        assert_eq!(approval.state(), ApprovalState::Partial);
        assert_eq!(runs(&approval), [true, false, true]);
        let resolved = approval.resolved().unwrap();
        assert_eq!(resolved.intents.len(), 2);
        assert!(
            resolved.message.contains(
                "approved by lee; 1 of 3 items stopped: the rules in force no longer allow it"
            ),
            "{}",
            resolved.message
        );
        let kept = serde_json::to_vec(&approval).unwrap();
        let read: Approval = serde_json::from_slice(&kept).unwrap();
        assert_eq!(runs(&read), runs(&approval));
    }

    #[test]
    fn a_bundle_of_which_the_rules_leave_nothing_fails() {
        let approval = granted(&[0, 1, 2]);
        assert_eq!(approval.state(), ApprovalState::Failed);
        assert_eq!(runs(&approval), [false; 3]);
        assert_eq!(approval.resolved().unwrap().intents.len(), 3);
        assert_eq!(granted(&[]).state(), ApprovalState::Approved);
    }

    fn emitted(bundle: &Gathering) -> usize {
        match bundle.course() {
            BundleCourse::Emit(items) => items.len(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bundle_that_asks_nobody_is_judged_again_once_it_is_whole() {
        let (same, other) = (checked().policy_digest, Digest::of_bytes(b"now"));
        let mut bundle = gathered(&[item(0, 3, Allow), item(1, 3, Allow)]);
        assert_eq!(bundle.to_judge_again(Some(other)), [], "it is gathered");
        let last = item(2, 3, Verdict::Deny);
        crate::approvals::bundles::add(&mut bundle, &last);
        assert_eq!(bundle.to_judge_again(Some(same)), []);
        let again = bundle.to_judge_again(Some(other));
        assert_eq!(again.len(), 2, "and not what was denied");
        assert_eq!(bundle.to_judge_again(None), again, "nobody knows the rules");
        assert_eq!(emitted(&bundle), 2);
        bundle.judge_again(vec![(again[0], moved())]);
        assert_eq!(bundle.to_judge_again(Some(other)), [], "once");
        assert_eq!(emitted(&bundle), 1);
        let kept = serde_json::to_vec(&bundle).unwrap();
        assert_eq!(Gathering::read(&kept).unwrap(), bundle);
        let (stopped, stop) = bundle.stopped().next().unwrap();
        assert_eq!(stopped.intent_id, again[0]);
        let Decision::Blocked(block) = overruled(stopped, stop) else {
            panic!("it runs")
        };
        assert!(
            block.reasons[0].message.starts_with(
                "It was allowed, but the rules changed before all of its bundle was checked: the \
                 rules in force no longer allow it"
            ),
            "{:?}",
            block.reasons
        );
        bundle.settle();
        assert_eq!(bundle.to_judge_again(Some(other)), []);
        let asking = gathered(&[item(0, 1, Ask)]);
        assert_eq!(
            asking.to_judge_again(Some(other)),
            [],
            "people decide first"
        );
    }
}
