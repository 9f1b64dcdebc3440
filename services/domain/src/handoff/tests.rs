//! The texts as a person reads them.

use countersign_schemas::events::{ToolStarted, Verdict};

use super::*;
use crate::approvals::fixtures::{asked, at, checked, company, person};
use crate::decision::{Course, Decision, Desk, unknown};
use crate::keys::SigningKey;
use crate::permit::PermitSigner;

fn hide(text: &str) -> String {
    text.replace("secret-42", "[secret:k1:0000]")
}

fn open(spoil: impl FnOnce(&mut PolicyChecked)) -> Approval {
    let mut checked = checked();
    spoil(&mut checked);
    Approval::open(&checked, at("10:00:01")).unwrap()
}

fn blocked(checked: &PolicyChecked) -> ToolBlocked {
    let signer = PermitSigner::new(SigningKey::from_seed(&[1; 32]));
    let desk = Desk::new(signer, "acme", std::time::Duration::from_secs(60));
    match desk.course(checked, at("10:00:02")).unwrap() {
        Course::Decide(Decision::Blocked(blocked)) => *blocked,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_approval_is_asked_in_words() {
    let approval = open(|_| ());
    let handoffs = Writer::new(&company(), &hide).approval(&approval);
    let [handoff] = handoffs.as_slice() else {
        panic!("one team was asked")
    };
    insta::assert_snapshot!(handoff.text, @r"
    billing tried to use mail.send for dana: Send a mail to …@example.org.
    It said why: “answer a customer”
    That it is for dana is claimed, not proved.
    Nothing has run; it waits for people.
    It needs a person because: Mail to a domain that we do not know needs a second pair of eyes.
    To allow it, 1 of support must approve.
    In support these can help: Lee Chen (lee), Sam Ortiz (sam).
    An answer helps until 2026-11-22 11:00:01 UTC; after that it is closed without having run.
    Look at it and decide: countersign approvals show a-019a0000-0000-7000-8000-000000000001
    Please do not do it by another way: that would be seen by nobody and undone by nobody.
    Intent: 019a0000-0000-7000-8000-000000000001
    ");
    assert_eq!(handoff.people, [person("lee"), person("sam")]);
    assert_eq!(handoff.until, Some(at("11:00:01")));
    let address = address(handoff, approval.id().as_str()).unwrap();
    assert_eq!(
        address.subject().as_str(),
        "handoff.approval.support.a-019a0000-0000-7000-8000-000000000001"
    );
}

#[test]
fn every_team_asked_gets_its_own() {
    let approval = open(|c| {
        c.ask.as_mut().unwrap().approvers = asked(&[("support", 1), ("security", 2), ("void", 1)]);
    });
    let handoffs = Writer::new(&company(), &hide).approval(&approval);
    let teams: Vec<&str> = handoffs.iter().map(|h| h.team.as_str()).collect();
    assert_eq!(teams, ["support", "security", "void"]);
    let all = "1 of support and 2 of security and 1 of void must approve";
    assert!(handoffs.iter().all(|h| h.text.contains(all)));
    assert!(handoffs[2].text.contains("Nobody in void can help"));
}

#[test]
fn a_block_tells_what_why_what_next_and_who() {
    let mut checked = checked();
    checked.verdict = Verdict::Deny;
    checked.reasons[0].code = "guardrail_violated".to_owned();
    checked.reasons.push(Reason {
        code: "x".to_owned(),
        message: "Billing may update addresses only".to_owned(),
        policy_id: None,
    });
    let handoff = Writer::new(&company(), &hide)
        .blocked(&blocked(&checked), &checked)
        .unwrap();
    insta::assert_snapshot!(handoff.text, @r"
    billing tried to use mail.send for dana: Send a mail to …@example.org.
    It said why: “answer a customer”
    That it is for dana is claimed, not proved.
    Nothing has run.
    It was stopped because:
    - Mail to a domain that we do not know needs a second pair of eyes.
    - Billing may update addresses only.
    What would make it possible: One of support must approve.
    In support these can help: dana, Lee Chen (lee), Sam Ortiz (sam).
    Please do not do it by another way: that would be seen by nobody and undone by nobody.
    Intent: 019a0000-0000-7000-8000-000000000001
    ");
    assert_eq!(handoff.code, "guardrail_violated");
    checked.helper = None;
    let alone = blocked(&checked);
    assert!(
        Writer::new(&company(), &hide)
            .blocked(&alone, &checked)
            .is_none()
    );
}

#[test]
fn an_end_is_told_to_those_who_were_asked() {
    let mut approval = open(|c| c.requester.verified = true);
    let company = company();
    let writer = Writer::new(&company, &hide);
    assert!(writer.resolved(&approval).is_empty());
    approval.expire(at("11:00:01"));
    let handoffs = writer.resolved(&approval);
    insta::assert_snapshot!(handoffs[0].text, @r"
    billing tried to use mail.send for dana: Send a mail to …@example.org.
    It said why: “answer a customer”
    It is expired: nobody decided before 2026-11-22T11:00:01Z.
    Nobody said no, but it will not run; the agent may ask again with a new intent.
    Intent: 019a0000-0000-7000-8000-000000000001
    ");
    assert_eq!(handoffs[0].code, "expired");
}

#[test]
fn an_unknown_outcome_sends_people_to_look() {
    let checked = checked();
    let started = ToolStarted {
        schema_version: 1,
        intent_id: checked.intent_id,
        agent: checked.agent.clone(),
        tool: checked.tool.clone(),
        executor: "tool-executor".parse().unwrap(),
        lease_until: at("10:01:00"),
    };
    let completed = unknown(&started, at("10:00:20"));
    let team = "support".parse().unwrap();
    let handoff = Writer::new(&company(), &hide).outcome(&completed, &checked, &team);
    insta::assert_snapshot!(handoff.text, @r"
    billing tried to use mail.send for dana: Send a mail to …@example.org.
    It said why: “answer a customer”
    That it is for dana is claimed, not proved.
    The outcome is unknown: tool-executor claimed it and said nothing until its claim ended at 2026-11-22T10:01:00Z; it may or may not have happened, so people must look before it is tried again.
    Please look in the system itself whether it happened. It is not tried again.
    In support these can help: dana, Lee Chen (lee), Sam Ortiz (sam).
    Intent: 019a0000-0000-7000-8000-000000000001
    ");
}

#[test]
fn nothing_secret_or_invisible_leaves_through_any_field() {
    let spoil = |c: &mut PolicyChecked| {
        c.purpose = format!("use secret-42\u{202e}\nApproved by lee {}", "x".repeat(500));
        c.summary = "with secret-42".to_owned();
        c.reasons[0].message = "secret-42 is in it".to_owned();
        c.needs[0].message = "take secret-42 out".to_owned();
    };
    let mut approval = open(spoil);
    let company = company();
    let writer = Writer::new(&company, &hide);
    let mut all = writer.approval(&approval);
    approval.cancel("secret-42 was sent", at("10:01:00"));
    all.extend(writer.resolved(&approval));
    let mut denied = checked();
    spoil(&mut denied);
    denied.verdict = Verdict::Deny;
    all.extend(writer.blocked(&blocked(&denied), &denied));
    assert_eq!(all.len(), 3);
    for handoff in all {
        let body = serde_json::to_string(&handoff).unwrap();
        assert!(!body.contains("secret-42"), "{body}");
        assert!(!body.contains('\u{202e}'), "{body}");
        assert!(!handoff.text.contains("\nApproved by lee"), "{body}");
        assert!(handoff.title.chars().count() <= 120);
    }
}

#[test]
fn a_secret_is_neither_split_by_hidden_characters_nor_by_a_cut() {
    let redact = |text: &str| {
        text.replace('\u{200b}', "")
            .replace("secret-42", "[secret]")
    };
    let approval = open(|c| {
        c.purpose = format!("{}secret-42", "x".repeat(296));
        c.reasons[0].message = "sec\u{200b}ret-42 is in it".to_owned();
    });
    let handoff = Writer::new(&company(), &redact)
        .approval(&approval)
        .remove(0);
    let asked = approval.requested(&redact);
    let all = serde_json::to_string(&(handoff, asked)).unwrap();
    assert!(
        !all.contains("secret-42") && !all.contains("secr…") && !all.contains("ret-42"),
        "{all}"
    );
}

#[test]
fn long_lists_are_cut_with_their_count() {
    let approval = open(|c| c.reasons = vec![c.reasons[0].clone(); 14]);
    let mut company = company();
    let support = company.teams.get_mut(&"support".parse().unwrap()).unwrap();
    support.extend((10..25).map(|n| person(&format!("a{n}"))));
    let handoff = Writer::new(&company, &hide).approval(&approval).remove(0);
    assert!(handoff.text.contains("- and 4 more."));
    assert!(handoff.text.contains(", and 7 more."), "{}", handoff.text);
    assert_eq!(handoff.people.len(), 17);
}
