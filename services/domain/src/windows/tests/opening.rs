//! Opening a window: ahead of time, or with a vote.

use countersign_schemas::SeqToken;
use countersign_schemas::events::{ApprovalVote, CheckedRequester, WindowRequested};

use super::*;
use crate::approvals::fixtures::asked;
use crate::approvals::{Answer, Approval, Ballot, VoteCode};
use crate::policy::WindowTerms;

fn request(tools: &[&str], limits: WindowLimits) -> WindowRequested {
    WindowRequested {
        schema_version: 1,
        agent: "billing".parse().unwrap(),
        tools: tools.iter().map(|tool| tool.parse().unwrap()).collect(),
        limits,
        reason: "the night's mails".to_owned(),
        fields: Vec::new(),
        requester: None,
    }
}

fn own_key() -> countersign_schemas::ServiceId {
    "self".parse().unwrap()
}

fn an_ask() -> countersign_schemas::events::Ask {
    checked().ask.unwrap()
}

fn ninth() -> SeqToken {
    SeqToken::new("abc".parse().unwrap(), 9)
}

/// The window where it opens at once, else the approval by which others are asked.
fn demanded(who: &str, asked: WindowRequested, people: &[(&str, u32)]) -> Result<Opening, String> {
    let demand = Demand::read(asked, person(who), own_key())?;
    let ask = countersign_schemas::events::Ask {
        approvers: crate::approvals::fixtures::asked(people),
        ..an_ask()
    };
    let tools = demand.tools().iter();
    let tools = tools
        .map(|tool| (tool.clone(), checked().tool_digest))
        .collect();
    let terms = WindowTerms {
        ask,
        tools,
        policy_digest: checked().policy_digest,
    };
    let placed = Placed {
        message: &ninth(),
        at: at("10:00:00"),
        salt: [7; 16],
    };
    demand.open(&placed, &terms, "the night's\u{202e} mails", &company())
}

fn opened_alone(who: &str, asked: WindowRequested) -> Window {
    match demanded(who, asked, &[("support", 1)]).unwrap() {
        Opening::Open(window) => *window,
        Opening::Ask(approval) => panic!("{approval:?}"),
    }
}

#[test]
fn ahead_of_time_one_person_opens_what_one_person_may_grant() {
    let mails = || request(&["mail.send"], limits(600, Some(3), None));
    let window = opened_alone("lee", mails());
    assert_eq!(window.until(), at("10:10:00"));
    let event = window.opened();
    assert_eq!(event.approvers, [person("lee")]);
    assert_eq!(event.reason.as_deref(), Some("the night's⟨U+202E⟩ mails"));
    let mut any = window.clone();
    assert_eq!(take(&mut any, &numbered(1)), Take::Taken);
    for (who, people, words) in [
        ("kim", &[("support", 1_u32)][..], "none of the teams"),
        ("billing", &[("support", 1)][..], "none of the teams"),
    ] {
        let why = demanded(who, mails(), people).unwrap_err();
        assert!(why.contains(words), "{who}: {why}");
    }
}

#[test]
fn ahead_of_time_a_named_requester_must_be_proved() {
    let named = WindowRequested {
        requester: Some("dana".parse().unwrap()),
        ..request(&["mail.send"], limits(600, None, None))
    };
    let mut window = opened_alone("lee", named);
    assert_eq!(
        take(&mut window, &numbered(1)),
        Take::Refused(Gone::Requester)
    );
    let proved = PolicyChecked {
        requester: CheckedRequester {
            id: "dana".parse().unwrap(),
            verified: true,
        },
        ..numbered(1)
    };
    assert_eq!(take(&mut window, &proved), Take::Taken);
}

#[test]
fn a_request_that_cannot_be_read_as_a_window_is_refused_in_words() {
    let good = || request(&["mail.send"], limits(600, None, None));
    let same = WindowLimits {
        same_input_only: Some(true),
        ..limits(600, None, None)
    };
    for (asked, words) in [
        (request(&[], limits(600, None, None)), "1 to 50 tools"),
        (
            request(&["mail.send"; 51], limits(600, None, None)),
            "1 to 50 tools",
        ),
        (
            request(&["mail.send"], limits(86_401, None, None)),
            "86400 seconds",
        ),
        (request(&["mail.send"], same), "vote on an ask"),
        (
            WindowRequested {
                reason: " ".to_owned(),
                ..good()
            },
            "say why",
        ),
    ] {
        let why = demanded("lee", asked, &[("support", 1)]).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
}

fn cast(
    approval: &mut Approval,
    who: &str,
    choice: VoteChoice,
    window: Option<WindowLimits>,
    seq: u64,
) -> Answer {
    let cast = ApprovalVote {
        schema_version: 1,
        approval_id: approval.id().clone(),
        digest: approval.digest(),
        vote: choice,
        items: None,
        window,
        reason: None,
    };
    let ballot = Ballot {
        approver: &person(who),
        via: &"self".parse().unwrap(),
        message: &SeqToken::new("abc".parse().unwrap(), seq),
        stored_at: at("10:02:00"),
        vote: &cast,
        reason: None,
    };
    approval.vote(&ballot, &company())
}

fn approval(about: &PolicyChecked, quorum: u32) -> Approval {
    let mut about = about.clone();
    about.ask.as_mut().unwrap().approvers = asked(&[("support", quorum)]);
    Approval::open(&about, at("10:00:01")).unwrap()
}

#[test]
fn a_yes_opens_the_window_that_it_asks_for_from_then_on() {
    let mut one = approval(&ask(), 1);
    assert_eq!(
        one.view().window_max_s,
        Some(1_800),
        "people see what they may open"
    );
    assert_eq!(Window::of(&one), None);
    let yes = VoteChoice::Approve;
    let wanted = Some(limits(1_800, Some(5), None));
    let answer = cast(&mut one, "lee", yes, wanted.clone(), 9);
    assert_eq!(answer.code, VoteCode::Counted);
    assert!(
        answer.message.contains("window w-abc-9 is open until"),
        "{}",
        answer.message
    );
    let mut window = Window::of(&one).unwrap();
    assert_eq!(window.id().as_str(), "w-abc-9");
    assert_eq!(window.until(), at("10:32:00"), "counted from the approval");
    assert_eq!(window.used(), 0, "what was approved itself is no use");
    assert_eq!(take(&mut window, &numbered(2)), Take::Taken);
    let again = cast(&mut one, "lee", yes, wanted, 9);
    assert!(!again.changed && again.message == answer.message);
    let mut plain = approval(&ask(), 1);
    cast(&mut plain, "lee", yes, None, 9);
    assert_eq!(Window::of(&plain), None);
}

#[test]
fn of_several_votes_each_must_ask_and_the_strictest_limits_count() {
    let yes = VoteChoice::Approve;
    let mut both = approval(&ask(), 2);
    let first = cast(&mut both, "lee", yes, Some(limits(1_800, Some(5), None)), 8);
    assert!(first.message.contains("if everybody"), "{}", first.message);
    cast(&mut both, "sam", yes, Some(limits(60, None, None)), 9);
    let window = Window::of(&both).unwrap();
    assert_eq!(window.opened().limits.max_uses, Some(5));
    assert_eq!(window.until(), at("10:03:00"));
    assert_eq!(window.opened_by(), [person("lee"), person("sam")]);
    let mut half = approval(&ask(), 2);
    cast(&mut half, "lee", yes, Some(limits(60, None, None)), 8);
    let last = cast(&mut half, "sam", yes, None, 9);
    assert_eq!(Window::of(&half), None);
    assert!(
        last.message.contains("no window is opened"),
        "{}",
        last.message
    );
}

#[test]
fn a_window_that_policy_does_not_permit_is_refused_with_words() {
    let priced = worth(1, "10", Some("EUR"));
    let bare = checked();
    let max = Some(limits(1_800, None, None));
    for (about, choice, window, words) in [
        (
            &bare,
            VoteChoice::Approve,
            max.clone(),
            "no window lift this",
        ),
        (
            &priced,
            VoteChoice::Approve,
            Some(limits(1_801, None, None)),
            "1800 seconds at most",
        ),
        (
            &priced,
            VoteChoice::Approve,
            Some(limits(0, None, None)),
            "1 to 86400 seconds",
        ),
        (
            &priced,
            VoteChoice::Approve,
            Some(limits(60, None, Some("5"))),
            "are in EUR",
        ),
        (
            &ask(),
            VoteChoice::Approve,
            Some(limits(60, None, Some("5"))),
            "no amount",
        ),
        (&priced, VoteChoice::Deny, max, "a no opens no window"),
    ] {
        let mut one = approval(about, 1);
        let before = one.clone();
        let answer = cast(&mut one, "lee", choice, window, 9);
        assert_eq!(answer.code, VoteCode::WindowNotPermitted);
        assert!(answer.message.contains(words), "{}", answer.message);
        assert_eq!(one, before, "nothing is counted");
    }
}
