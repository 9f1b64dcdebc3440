//! Every way from a verdict to its decision.

use std::time::Duration;

use countersign_schemas::events::{
    ApprovalVote, BasisKind, BlockedCode, NextAction, Outcome, PolicyChecked, RevokedCode,
    ToolApproved, ToolBlocked, ToolStarted, Verdict, VoteChoice,
};
use countersign_schemas::{Digest, SeqToken};

use super::*;
use crate::approvals::fixtures::{at, checked, company, person};
use crate::approvals::{Approval, Ballot};
use crate::keys::{KeySet, SigningKey};
use crate::permit::{PermitSigner, PermitVerifier};

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn desk() -> Desk {
    Desk::new(PermitSigner::new(key()), "acme", Duration::from_secs(300))
}

fn verdict(verdict: Verdict) -> PolicyChecked {
    PolicyChecked {
        verdict,
        ..checked()
    }
}

fn decided(checked: &PolicyChecked) -> Decision {
    match desk().course(checked, at("10:00:02")).unwrap() {
        Course::Decide(decision) => decision,
        Course::Ask => panic!("asked"),
    }
}

fn approved(decision: Decision) -> ToolApproved {
    match decision {
        Decision::Approved(approved) => *approved,
        Decision::Blocked(blocked) => panic!("blocked: {}", blocked.code),
    }
}

fn blocked(decision: Decision) -> ToolBlocked {
    match decision {
        Decision::Blocked(blocked) => *blocked,
        Decision::Approved(_) => panic!("approved"),
    }
}

fn voted(choice: VoteChoice) -> Approval {
    let mut approval = Approval::open(&checked(), at("10:00:01")).unwrap();
    let vote = ApprovalVote {
        schema_version: 1,
        approval_id: approval.id().clone(),
        digest: approval.digest(),
        vote: choice,
        items: None,
        window: None,
        reason: None,
    };
    let ballot = Ballot {
        approver: &person("lee"),
        via: &"self".parse().unwrap(),
        message: &SeqToken::new("abc".parse().unwrap(), 1),
        stored_at: at("10:05:00"),
        vote: &vote,
        reason: Some("not this customer".to_owned()),
    };
    assert!(approval.vote(&ballot, &company()).changed);
    approval
}

fn after(approval: &Approval) -> Decision {
    let mut decisions = desk().after_approval(approval, at("10:05:01")).unwrap();
    assert_eq!(decisions.len(), approval.items().len());
    decisions.remove(0)
}

#[test]
fn an_allow_is_approved_with_a_permit_that_says_the_same() {
    let checked = verdict(Verdict::Allow);
    let approved = approved(decided(&checked));
    let verifier = PermitVerifier::new(KeySet::new([key().public()]));
    let claims = verifier
        .verify(&approved.permit, "acme/mail.send", "acme", at("10:00:02"))
        .unwrap();
    assert_eq!(claims.jti, checked.intent_id);
    assert_eq!(claims.salt, checked.salt);
    assert_eq!(claims.input_digest, checked.input_digest);
    assert_eq!(claims.basis, approved.basis);
    assert_eq!(claims.expose, checked.expose);
    assert_eq!(approved.basis.kind, BasisKind::Policy);
    assert_eq!(approved.basis.policy_ids, ["ask-unknown-domain"]);
    assert_eq!(approved.approved_until, at("10:05:02"));
}

#[test]
fn the_intents_own_deadline_cuts_the_permit_and_then_forbids_it() {
    let mut checked = verdict(Verdict::Allow);
    checked.expires_at = Some(at("10:00:30"));
    assert_eq!(approved(decided(&checked)).approved_until, at("10:00:30"));
    for over in ["10:00:02.5", "10:00:02", "09:00:00"] {
        checked.expires_at = Some(at(over));
        let block = blocked(decided(&checked));
        assert_eq!(block.code, BlockedCode::ApprovalExpired, "{over}");
        assert_eq!(block.next_action, NextAction::Retry);
    }
    let mut ask = verdict(Verdict::Ask);
    ask.expires_at = Some(at("10:00:02"));
    assert_eq!(blocked(decided(&ask)).code, BlockedCode::ApprovalExpired);
}

#[test]
fn an_ask_is_for_people() {
    let course = desk().course(&checked(), at("10:00:02")).unwrap();
    assert_eq!(course, Course::Ask);
}

#[test]
fn a_deny_carries_the_code_and_the_words_of_the_checker() {
    let mut checked = verdict(Verdict::Deny);
    let words = [
        ("guardrail_violated", BlockedCode::GuardrailViolated),
        ("identity_mismatch", BlockedCode::IdentityMismatch),
        ("a-rule-of-ours", BlockedCode::PolicyDenied),
    ];
    for (word, code) in words {
        checked.reasons[0].code = word.to_owned();
        let block = blocked(decided(&checked));
        assert_eq!(block.code, code);
        assert_eq!(block.reasons, checked.reasons);
        assert_eq!(block.needs, checked.needs);
        assert_eq!(block.handoff.unwrap().team.as_str(), "support");
        assert_eq!(
            block.tried,
            "billing tried to use mail.send for dana: Send a mail to …@example.org."
        );
    }
    checked.reasons.clear();
    assert_eq!(blocked(decided(&checked)).code, BlockedCode::PolicyDenied);
}

#[test]
fn a_dry_run_never_runs_and_tells_the_verdict() {
    for (kind, words) in [
        (Verdict::Allow, "`allow`: it would have run"),
        (Verdict::Ask, "`ask`: people would have been asked"),
        (Verdict::Deny, "`deny`: it would have been blocked"),
    ] {
        let mut checked = verdict(kind);
        checked.dry_run = Some(true);
        let block = blocked(decided(&checked));
        assert_eq!(block.code, BlockedCode::DryRun);
        assert!(block.reasons[0].message.contains(words), "{words}");
        assert_eq!(block.reasons.len(), 2);
    }
}

#[test]
fn an_allow_without_a_tool_definition_is_blocked() {
    let spoils: [fn(&mut PolicyChecked); 2] = [|c| c.operation = None, |c| c.tool_digest = None];
    for spoil in spoils {
        let mut checked = verdict(Verdict::Allow);
        spoil(&mut checked);
        assert_eq!(blocked(decided(&checked)).code, BlockedCode::UnknownTool);
    }
}

#[test]
fn people_who_approve_stand_in_the_permit() {
    let approved = approved(after(&voted(VoteChoice::Approve)));
    assert_eq!(approved.basis.kind, BasisKind::Person);
    assert_eq!(approved.basis.approvers, [person("lee")]);
    assert_eq!(
        approved.basis.approval_id.unwrap().as_str(),
        format!("a-{}", checked().intent_id)
    );
}

#[test]
fn each_end_without_a_yes_is_its_own_block() {
    let denied = blocked(after(&voted(VoteChoice::Deny)));
    assert_eq!(denied.code, BlockedCode::DeniedByPerson);
    assert_eq!(
        denied.reasons[0].message,
        "A person said no: denied by lee: not this customer."
    );
    assert_eq!(denied.next_action, NextAction::None);
    let mut expired = Approval::open(&checked(), at("10:00:01")).unwrap();
    expired.expire(at("11:00:01"));
    let expired = blocked(after(&expired));
    assert_eq!(expired.code, BlockedCode::ApprovalExpired);
    assert!(
        expired.reasons[0]
            .message
            .starts_with("Nobody said no: nobody decided before")
    );
    assert_eq!(
        expired.handoff.unwrap().approval_id.unwrap().intent(),
        Some(checked().intent_id)
    );
    let mut cancelled = Approval::open(&checked(), at("10:00:01")).unwrap();
    cancelled.cancel("billing withdrew it", at("10:02:00"));
    assert_eq!(blocked(after(&cancelled)).code, BlockedCode::Withdrawn);
    let mut voided = Approval::open(&checked(), at("10:00:01")).unwrap();
    assert!(voided.void(BlockedCode::ToolChanged, "the tool changed", at("10:02:00")));
    assert!(!voided.void(BlockedCode::ToolChanged, "again", at("10:03:00")));
    let voided = blocked(after(&voided));
    assert_eq!(voided.code, BlockedCode::ToolChanged);
    assert_eq!(voided.next_action, NextAction::Retry);
}

#[test]
fn a_pending_approval_decides_nothing() {
    let pending = Approval::open(&checked(), at("10:00:01")).unwrap();
    assert_eq!(desk().after_approval(&pending, at("12:00:00")).unwrap(), []);
}

#[test]
fn an_approval_that_came_too_late_for_the_intent_runs_nothing() {
    let approval = voted(VoteChoice::Approve);
    let mut value = serde_json::to_value(&approval).unwrap();
    value["items"][0]["checked"]["expires_at"] = "2026-11-22T10:05:00.5Z".into();
    let approval: Approval = serde_json::from_value(value).unwrap();
    assert_eq!(blocked(after(&approval)).code, BlockedCode::ApprovalExpired);
}

#[test]
fn an_unclaimed_permit_and_a_lost_claim_end_in_words() {
    let decision = approved(decided(&verdict(Verdict::Allow)));
    let revocation = revoked(
        &decision,
        RevokedCode::PermitExpired,
        "Nobody claimed it in time.",
    );
    assert_eq!(revocation.request, decision.request);
    assert_eq!(revocation.next_action, NextAction::Retry);
    assert_eq!(revocation.reasons[0].code, "permit_expired");
    let started = ToolStarted {
        schema_version: 1,
        intent_id: decision.intent_id,
        agent: decision.agent.clone(),
        tool: decision.tool.clone(),
        executor: "tool-executor".parse().unwrap(),
        lease_until: at("10:01:00"),
    };
    let end = unknown(&started, at("10:00:20"));
    assert_eq!(end.outcome, Outcome::Unknown);
    assert_eq!(end.duration_ms, 40_000);
    assert_eq!(end.error.unwrap().code, "lease_expired");
}

#[test]
fn a_permit_never_lives_longer_than_an_hour() {
    let desk = Desk::new(
        PermitSigner::new(key()),
        "acme",
        Duration::from_secs(86_400),
    );
    let course = desk
        .course(&verdict(Verdict::Allow), at("10:00:02"))
        .unwrap();
    let Course::Decide(decision) = course else {
        panic!("asked")
    };
    let approved = approved(decision);
    assert_eq!(approved.approved_until, at("11:00:02"));
    assert_ne!(approved.tool_digest, Digest::of_bytes(b""));
}
