//! Tests: a window that takes several people.

use countersign_schemas::SeqToken;
use countersign_schemas::events::{
    ApprovalVote, Operation, PolicyChecked, VoteChoice, WindowLimits, WindowRequested,
};

use super::*;
use crate::approvals::fixtures::{asked, at, checked, company, person};
use crate::approvals::{Answer, Ballot, VoteCode};
use crate::handoff::Writer;
use crate::policy::WindowTerms;
use crate::windows::{Demand, Opening, Placed, Take, Window};

fn message(seq: u64) -> SeqToken {
    SeqToken::new("abc".parse().unwrap(), seq)
}

fn request(requester: Option<&str>) -> WindowRequested {
    WindowRequested {
        schema_version: 1,
        agent: "billing".parse().unwrap(),
        tools: vec!["mail.send".parse().unwrap()],
        limits: WindowLimits {
            seconds: 600,
            max_uses: Some(3),
            max_total: Some("100 EUR".to_owned()),
            same_input_only: None,
        },
        reason: "unused".to_owned(),
        fields: vec!["status".to_owned()],
        requester: requester.map(|id| id.parse().unwrap()),
    }
}

fn terms(approvers: &[(&str, u32)]) -> WindowTerms {
    let mut ask = checked().ask.unwrap();
    ask.approvers = asked(approvers);
    ask.excluded.clear();
    ask.remind_after_s = vec![600];
    WindowTerms {
        ask,
        tools: BTreeMap::from([(checked().tool, checked().tool_digest)]),
        policy_digest: checked().policy_digest,
    }
}

fn own_key() -> countersign_schemas::ServiceId {
    "self".parse().unwrap()
}

fn open(
    who: &str,
    requester: Option<&str>,
    approvers: &[(&str, u32)],
    salt: u8,
) -> Result<Opening, String> {
    let demand = Demand::read(request(requester), person(who), own_key())?;
    let placed = Placed {
        message: &message(9),
        at: at("10:00:00"),
        salt: [salt; 16],
    };
    let why = "the night's\u{202e} mails @all";
    demand.open(&placed, &terms(approvers), why, &company())
}

fn waiting(who: &str, approvers: &[(&str, u32)]) -> Approval {
    match open(who, None, approvers, 7).unwrap() {
        Opening::Ask(approval) => *approval,
        Opening::Open(window) => panic!("{window:?}"),
    }
}

fn cast(
    approval: &mut Approval,
    who: &str,
    via: &str,
    edit: impl FnOnce(&mut ApprovalVote),
) -> Answer {
    let seq = u64::try_from(approval.votes().len()).unwrap() + 20;
    let mut vote = ApprovalVote {
        schema_version: 1,
        approval_id: approval.id().clone(),
        digest: approval.digest(),
        vote: VoteChoice::Approve,
        items: None,
        window: None,
        reason: None,
    };
    edit(&mut vote);
    let ballot = Ballot {
        approver: &person(who),
        via: &via.parse().unwrap(),
        message: &message(seq),
        stored_at: at("10:05:00"),
        vote: &vote,
        reason: None,
    };
    approval.vote(&ballot, &company())
}

fn yes(approval: &mut Approval, who: &str) -> Answer {
    cast(approval, who, "self", |_| ())
}

/// An ask for Kim that a window of an hour may lift.
fn mail(approvers: &[(&str, u32)]) -> PolicyChecked {
    let mut mail = checked();
    mail.operation = Some(Operation::Send);
    mail.requester.id = "max".parse().unwrap();
    mail.amount = Some("20".to_owned());
    mail.currency = Some("EUR".to_owned());
    let ask = mail.ask.as_mut().unwrap();
    ask.window_max_s = Some(3_600);
    ask.approvers = asked(approvers);
    ask.excluded.clear();
    mail
}

#[test]
fn the_request_is_the_first_vote_and_the_window_opens_with_the_last() {
    let mut approval = waiting("lee", &[("support", 1), ("security", 1)]);
    assert_eq!(approval.id().as_str(), "w-abc-9");
    assert!(approval.is_pending() && Window::of(&approval).is_none());
    assert_eq!(approval.approved_by(), [person("lee")]);
    let told = approval.voted_with(&message(9)).unwrap();
    assert!(told.counted && told.message.contains("1 of 2"), "{told:?}");
    assert!(
        told.message.contains("opens once all of them are there"),
        "{told:?}"
    );
    assert_eq!(yes(&mut approval, "lee").code, VoteCode::AlreadyVoted);
    assert_eq!(yes(&mut approval, "billing").code, VoteCode::NotAMember);
    let last = yes(&mut approval, "kim");
    assert!(
        last.changed
            && last
                .message
                .contains("window w-abc-9 is open until 2026-11-22T10:15:00"),
        "{last:?}"
    );
    let mut window = Window::of(&approval).unwrap();
    let event = window.opened();
    assert_eq!(
        event.opened_at,
        at("10:05:00"),
        "its time counts from the approval"
    );
    assert_eq!(event.approvers, [person("lee"), person("kim")]);
    assert_eq!(event.approval_id.as_ref(), Some(approval.id()));
    assert_eq!(
        event.reason.as_deref(),
        Some("the night's⟨U+202E⟩ mails @all")
    );
    // It lifts what its votes satisfy, and nothing that takes others.
    let other = mail(&[("support", 2)]);
    assert!(matches!(
        window.take(&other, at("10:06:00"), &company()),
        Take::Refused(_)
    ));
    let both = mail(&[("support", 1), ("security", 1)]);
    assert_eq!(window.take(&both, at("10:06:00"), &company()), Take::Taken);
    approval.settle();
    let late = yes(&mut approval, "sam");
    assert_eq!(late.code, VoteCode::AlreadyResolved);
}

#[test]
fn a_no_or_nobody_opens_nothing() {
    let mut denied = waiting("lee", &[("support", 2)]);
    cast(&mut denied, "sam", "self", |vote| {
        vote.vote = VoteChoice::Deny
    });
    assert_eq!(denied.state(), ApprovalState::Denied);
    let mut over = waiting("lee", &[("support", 2)]);
    assert_eq!(over.reminders(), [at("10:10:00")]);
    assert!(over.expire(at("11:00:00")));
    for ended in [denied, over] {
        assert!(Window::of(&ended).is_none());
        let event = ended.resolved().unwrap();
        assert_eq!((event.kind, event.intents.len()), (ApprovalKind::Window, 0));
    }
}

#[test]
fn a_vote_is_for_all_that_is_shown_and_for_nothing_else() {
    let mut approval = waiting("lee", &[("support", 2)]);
    let view = approval.view();
    assert_eq!(view.digest().unwrap(), approval.digest());
    assert_eq!(view.requester_note, "proved by their own key");
    let shown = view.window.unwrap();
    assert_eq!(shown.limits.max_total.as_deref(), Some("100 EUR"));
    let same = waiting("lee", &[("support", 2)]);
    assert_eq!(same.digest(), approval.digest());
    let Ok(Opening::Ask(salted)) = open("lee", None, &[("support", 2)], 8) else {
        panic!("it takes two");
    };
    assert_ne!(
        salted.digest(),
        approval.digest(),
        "nobody guesses it from the event"
    );
    let mut edited = approval.clone();
    if let Some(window) = &mut edited.window {
        window.limits.max_uses = 4;
    }
    assert_ne!(edited.view().digest().unwrap(), approval.digest());
    let wrong = cast(&mut approval, "sam", "self", |vote| {
        vote.digest = checked().input_digest
    });
    assert_eq!(wrong.code, VoteCode::WrongDigest);
    let more = WindowLimits {
        seconds: 900,
        ..shown.limits
    };
    let widened = cast(&mut approval, "sam", "self", |vote| {
        vote.window = Some(more)
    });
    assert_eq!(widened.code, VoteCode::WindowNotPermitted);
    let chat = cast(&mut approval, "sam", "slack", |_| ());
    assert_eq!(chat.code, VoteCode::ChatNotAllowed);
    assert!(approval.is_pending());
    let kept = serde_json::to_value(&approval).unwrap();
    assert_eq!(serde_json::from_value::<Approval>(kept).unwrap(), approval);
}

#[test]
fn whoever_it_is_for_has_no_say_in_it() {
    let why = open("dana", Some("dana"), &[("support", 1)], 7).unwrap_err();
    assert!(why.contains("nobody approves their own request"), "{why}");
    let Ok(Opening::Ask(mut approval)) = open("lee", Some("dana"), &[("support", 2)], 7) else {
        panic!("it takes two");
    };
    assert_eq!(yes(&mut approval, "dana").code, VoteCode::Excluded);
    assert!(yes(&mut approval, "sam").changed);
    let window = Window::of(&approval).unwrap().opened();
    assert!(window.requester.is_some_and(|one| one.verified));
}

#[test]
fn people_are_told_how_far_it_would_go_and_how_it_ended() {
    let mut approval = waiting("lee", &[("support", 1), ("security", 1)]);
    let company = company();
    let redact: &(dyn Fn(&str) -> String + Send + Sync) = &str::to_owned;
    let writer = Writer::new(&company, redact);
    let asks = writer.approval(&approval);
    assert_eq!(asks.len(), 2);
    let text = &asks[0].text;
    for part in [
        "lee asks for a window of 10 minutes for billing",
        "mail.send",
        "At most 3 times, and for 100 EUR together.",
        "only status",
        "On behalf of anybody.",
        "So far lee said yes",
        "1 of support and 1 of security must approve",
        "countersign approvals show w-abc-9",
    ] {
        assert!(text.contains(part), "`{part}` in {text}");
    }
    assert!(
        !text.contains("@all") && !text.contains('\u{202e}'),
        "{text}"
    );
    assert!(!asks[0].view_complete && asks[0].intents.is_empty());
    let reminder = &writer.reminders(&approval, 1, at("10:10:00"))[0];
    assert!(reminder.title.contains("still asks"), "{reminder:?}");
    yes(&mut approval, "kim");
    let ends = writer.resolved(&approval);
    assert!(
        ends.iter()
            .all(|end| end.text.contains("countersign window close w-abc-9"))
    );
}
