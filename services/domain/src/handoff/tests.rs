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
fn an_approval_goes_to_the_team_with_its_people_and_deadline() {
    let approval = open(|_| ());
    let handoffs = Writer::new(&company(), &hide).approval(&approval);
    let [handoff] = handoffs.as_slice() else {
        panic!("one team was asked")
    };
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
    for part in [
        "It was stopped because:\n- Mail to a domain",
        "\n- Billing may update addresses only.",
        "That it is for dana is claimed, not proved.",
        "What would make it possible: One of support must approve.",
        "In support these can help: dana, Lee Chen (lee), Sam Ortiz (sam).",
    ] {
        assert!(handoff.text.contains(part), "{}", handoff.text);
    }
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
    assert_eq!(handoffs[0].code, "expired");
    assert!(
        handoffs[0]
            .text
            .contains("It is expired: nobody decided before")
    );
    assert!(!handoffs[0].view_complete, "it asks nobody anything");
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
    let text = &handoff.text;
    assert!(
        text.contains("The outcome is unknown: tool-executor claimed it"),
        "{text}"
    );
    assert!(text.contains("Please look in the system itself"), "{text}");
    let how = format!("countersign reconcile {} --outcome", checked.intent_id);
    assert!(text.contains(&how), "{text}");
    let mut silent = completed;
    silent.error = None;
    let handoff = Writer::new(&company(), &hide).outcome(&silent, &checked, &team);
    assert!(
        handoff
            .text
            .contains("The outcome is unknown: nothing is known.")
    );
}

#[test]
fn a_reminder_says_which_it_is_and_who_answered() {
    let approval = open(|_| ());
    let team: TeamId = "support".parse().unwrap();
    let handoff = Writer::new(&company(), &hide)
        .reminder(&approval, &team, 3, at("10:30:00"))
        .unwrap();
    assert!(
        handoff
            .text
            .contains("This is reminder 3: it still waits.\nNobody has answered")
    );
    let id = reminder_id(approval.id(), 3);
    let address = address(&handoff, &id).unwrap();
    assert_eq!(
        address.subject().as_str(),
        "handoff.reminder.support.a-019a0000-0000-7000-8000-000000000001-3"
    );
}

#[test]
fn what_was_cut_says_so_and_carries_no_vote() {
    let whole = |spoil: &dyn Fn(&mut PolicyChecked)| {
        let approval = open(|c| {
            c.input_redacted = c.input_shown.clone();
            spoil(c);
        });
        Writer::new(&company(), &hide).approval(&approval).remove(0)
    };
    let handoff = whole(&|_| ());
    assert!(handoff.view_complete, "{}", handoff.text);
    assert!(!handoff.text.contains("Not all of it fits here"));
    let cuts: [&dyn Fn(&mut PolicyChecked); 4] = [
        &|c| c.purpose = "x".repeat(301),
        &|c| c.summary = "x".repeat(1_001),
        &|c| c.reasons[0].message = "x".repeat(1_001),
        &|c| c.reasons = vec![c.reasons[0].clone(); 11],
    ];
    for (number, cut) in cuts.iter().enumerate() {
        let handoff = whole(cut);
        assert!(!handoff.view_complete, "cut {number}");
        let told = "do not decide by this message. All of it: countersign approvals show a-";
        assert!(
            handoff.text.contains(told),
            "cut {number}: {}",
            handoff.text
        );
    }
    let hidden = whole(&|c| c.purpose = "it is secret-42".to_owned());
    assert!(!hidden.view_complete, "something is redacted");
}

#[test]
fn no_text_of_others_mentions_links_or_marks_up_anything() {
    let trick = "<!channel> @here [x](javascript:y) `z` **b** https://evil.example";
    let spoil = |c: &mut PolicyChecked| {
        c.requester.id = "dana@example.org".parse().unwrap();
        for text in [&mut c.purpose, &mut c.summary] {
            trick.clone_into(text);
        }
        c.reasons[0].message = format!("# {trick}");
        c.needs[0].message = format!("- {trick}");
    };
    let mut approval = open(spoil);
    let company = company();
    let writer = Writer::new(&company, &hide);
    let mut all = writer.approval(&approval);
    all.extend(writer.reminder(&approval, &"support".parse().unwrap(), 1, at("10:30:00")));
    approval.cancel(trick, at("10:01:00"));
    all.extend(writer.resolved(&approval));
    let mut denied = checked();
    spoil(&mut denied);
    denied.verdict = Verdict::Deny;
    all.extend(writer.blocked(&blocked(&denied), &denied));
    assert_eq!(all.len(), 4);
    for handoff in all {
        let messages = handoff.reasons.iter().map(|reason| &reason.message);
        let needs = handoff.needs.iter().map(|need| &need.message);
        let own = [&handoff.title, &handoff.text, &handoff.tried];
        for text in own.into_iter().chain(messages).chain(needs) {
            let marks = ["@", "<", ">", "`", "*", "](", "://", "# "];
            let found = marks.iter().find(|mark| text.contains(**mark));
            assert_eq!(found, None, "{text}");
        }
    }
}

#[test]
fn a_list_that_is_cut_says_how_much_is_left_out() {
    let approval = open(|c| c.reasons = vec![c.reasons[0].clone(); 23]);
    let handoff = Writer::new(&company(), &hide).approval(&approval).remove(0);
    assert_eq!(handoff.reasons.len(), 21);
    assert_eq!(handoff.reasons[20].code, "left_out");
    assert!(handoff.reasons[20].message.starts_with("and 3 more"));
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

#[test]
fn a_bundle_is_asked_and_told_with_what_is_in_it() {
    use crate::approvals::bundles::{asked as asked_about, item};
    let items = [
        item(0, 3, Verdict::Allow),
        item(1, 3, Verdict::Ask),
        item(2, 3, Verdict::Deny),
    ];
    let mut approval = asked_about(&items);
    let asks = Writer::new(&company(), &hide).approval(&approval);
    let [handoff] = asks.as_slice() else {
        panic!("one team was asked")
    };
    assert_eq!(handoff.title, "billing asks for a bundle of 2");
    assert_eq!(handoff.intents, approval.intents());
    assert!(
        !handoff.view_complete,
        "a message cannot show a whole bundle"
    );
    for line in [
        "billing tried to use mail.send for dana: Send mail number 1.",
        "It is one of a bundle of 2 that are decided together:",
        "- mail.send for dana: Send mail number 0",
        "Of the same bundle 1 will not run, whatever is decided.",
    ] {
        assert!(handoff.text.contains(line), "{line}\n{}", handoff.text);
    }
    approval.cancel("not wanted", at("10:03:00"));
    let told = Writer::new(&company(), &hide).resolved(&approval);
    assert_eq!(told[0].title, "cancelled: billing for a bundle of 2");
}
