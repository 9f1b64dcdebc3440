//! What a window lifts, how often, and what becomes of its uses.

use std::collections::{BTreeMap, BTreeSet};

use countersign_schemas::events::{
    ApprovalVote, Basis, BasisKind, BlockedCode, BundleRef, Change, CheckedRequester, CountedVote,
    Operation, PolicyChecked, RevokedCode, ToolApproved, Verdict, VoteChoice, WindowLimits,
    WindowRequested,
};
use countersign_schemas::limits::{WINDOW_SECONDS_MAX, WINDOW_USES_MAX};
use countersign_schemas::{ApprovalId, IntentId, PersonId, SeqToken, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::approvals::fixtures::{Company, asked, at, checked, company, person};
use crate::approvals::{Answer, Approval, Ballot, VoteCode};
use crate::chain::{End, Head};
use crate::decision::{Decision, Desk, revoked};
use crate::keys::SigningKey;
use crate::permit::PermitSigner;
use crate::policy::WindowTerms;

fn limits(seconds: u64, uses: Option<u32>, total: Option<&str>) -> WindowLimits {
    WindowLimits {
        seconds,
        max_uses: uses,
        max_total: total.map(str::to_owned),
        same_input_only: None,
    }
}

fn read(limits: &WindowLimits) -> Limits {
    Limits::read(limits).unwrap()
}

fn vote(who: &str, via: &str) -> CountedVote {
    CountedVote {
        approver: person(who),
        on_behalf_of: None,
        via: via.parse().unwrap(),
        vote: VoteChoice::Approve,
        at: at("10:00:30"),
        reason: None,
    }
}

/// An ask that a window of half an hour may lift.
fn ask() -> PolicyChecked {
    let mut checked = checked();
    if let Some(ask) = &mut checked.ask {
        ask.window_max_s = Some(1_800);
    }
    checked
}

fn intent(n: u32) -> IntentId {
    format!("019a0000-0000-7000-8000-{n:012x}").parse().unwrap()
}

fn numbered(n: u32) -> PolicyChecked {
    PolicyChecked {
        intent_id: intent(n),
        ..ask()
    }
}

fn worth(n: u32, amount: &str, currency: Option<&str>) -> PolicyChecked {
    PolicyChecked {
        amount: Some(amount.to_owned()),
        currency: currency.map(str::to_owned),
        ..numbered(n)
    }
}

fn opened_by(votes: &[CountedVote], about: &PolicyChecked, limits: &WindowLimits) -> Window {
    let origin = Origin {
        id: window_id("abc-7").unwrap(),
        votes,
        at: at("10:00:30"),
    };
    let approval = ApprovalId::for_intent(about.intent_id);
    let ask = about.ask.clone().unwrap();
    Window::from_approval(&origin, &approval, about, &ask, read(limits))
}

fn opened(limits: &WindowLimits) -> Window {
    opened_by(&[vote("lee", "self")], &ask(), limits)
}

fn take(window: &mut Window, checked: &PolicyChecked) -> Take {
    window.take(checked, at("10:05:00"), &company())
}

fn changing(fields: &[&str]) -> PolicyChecked {
    let change = |field: &&str| Change {
        resource: "customer/C-1".to_owned(),
        field: (*field).to_owned(),
        before: None,
        after: Some("x".to_owned()),
    };
    PolicyChecked {
        operation: Some(Operation::Update),
        changes: fields.iter().map(change).collect(),
        ..numbered(9)
    }
}

#[test]
fn limits_are_read_exactly_or_refused_in_words() {
    for (asked, fault) in [
        (limits(0, None, None), LimitFault::Seconds),
        (
            limits(WINDOW_SECONDS_MAX + 1, None, None),
            LimitFault::Seconds,
        ),
        (limits(60, Some(0), None), LimitFault::Uses),
        (
            limits(60, Some(WINDOW_USES_MAX + 1), None),
            LimitFault::Uses,
        ),
        (limits(60, None, Some("0")), LimitFault::Total),
        (limits(60, None, Some("-5")), LimitFault::Total),
        (limits(60, None, Some("1e3")), LimitFault::Total),
        (limits(60, None, Some("5 euro")), LimitFault::Total),
        (limits(60, None, Some("5  EUR")), LimitFault::Total),
        (limits(60, None, Some("EUR 5")), LimitFault::Total),
    ] {
        assert_eq!(Limits::read(&asked), Err(fault), "{asked:?}");
        assert!(!fault.to_string().is_empty());
    }
    let most = read(&limits(WINDOW_SECONDS_MAX, None, Some("500.00 EUR")));
    assert_eq!(most.max_uses, WINDOW_USES_MAX);
    assert_eq!(most.written().max_total.as_deref(), Some("500 EUR"));
    assert_eq!(Limits::read(&most.written()), Ok(most));
}

#[test]
fn the_strictest_of_all_votes_counts_and_one_without_a_window_opens_none() {
    let a = limits(600, Some(5), Some("100 EUR"));
    let b = WindowLimits {
        same_input_only: Some(true),
        ..limits(900, None, Some("99.5 EUR"))
    };
    let both = strictest([Some(&a), Some(&b)]).unwrap().unwrap();
    let expected = WindowLimits {
        same_input_only: Some(true),
        ..limits(600, Some(5), Some("99.5 EUR"))
    };
    assert_eq!(both.written(), expected);
    assert_eq!(strictest([Some(&a), None]), Ok(None));
    assert_eq!(strictest([]), Ok(None));
    let yen = limits(600, None, Some("5 JPY"));
    let plain = limits(600, None, Some("5"));
    for other in [yen, plain] {
        let mixed = strictest([Some(&a), Some(&other)]);
        assert_eq!(mixed, Err(LimitFault::Currencies));
    }
}

#[test]
fn it_lifts_what_people_agreed_to_and_nothing_else() {
    type Change = fn(&mut PolicyChecked);
    let table: [(&str, Option<Gone>, Change); 13] = [
        ("the same again", None, |_| {}),
        ("no ask", Some(Gone::NotForThis), |c| {
            c.verdict = Verdict::Allow
        }),
        ("a dry run", Some(Gone::NotForThis), |c| {
            c.dry_run = Some(true)
        }),
        ("of a bundle", Some(Gone::NotForThis), |c| {
            let id = "b".parse().unwrap();
            c.bundle = Some(BundleRef {
                id,
                size: 2,
                index: 0,
            });
        }),
        ("another agent", Some(Gone::NotForThis), |c| {
            c.agent = "crm".parse().unwrap();
        }),
        ("another tool", Some(Gone::NotForThis), |c| {
            c.tool = "mail.draft".parse().unwrap();
        }),
        ("a changed tool", Some(Gone::ToolChanged), |c| {
            c.tool_digest = None
        }),
        ("another requester", Some(Gone::Requester), |c| {
            c.requester.id = "erin".parse().unwrap();
        }),
        ("proved or not", Some(Gone::Requester), |c| {
            c.requester.verified = true
        }),
        ("no window here", Some(Gone::NotPermitted), |c| {
            c.ask.as_mut().unwrap().window_max_s = None;
        }),
        ("a shorter one only", Some(Gone::NotPermitted), |c| {
            c.ask.as_mut().unwrap().window_max_s = Some(599);
        }),
        ("two people", Some(Gone::People), |c| {
            c.ask.as_mut().unwrap().approvers = asked(&[("support", 2)]);
        }),
        ("its opener asks", Some(Gone::People), |c| {
            c.ask.as_mut().unwrap().excluded = vec![person("lee")];
        }),
    ];
    for (what, gone, change) in table {
        let mut about = numbered(2);
        change(&mut about);
        let mut window = opened(&limits(600, None, None));
        let expected = gone.map_or(Take::Taken, Take::Refused);
        assert_eq!(take(&mut window, &about), expected, "{what}");
        assert_eq!(window.used(), u32::from(gone.is_none()), "{what}");
    }
}

#[test]
fn chat_votes_and_people_who_left_lift_nothing() {
    let mut chat = opened_by(&[vote("lee", "slack")], &ask(), &limits(600, None, None));
    assert_eq!(take(&mut chat, &numbered(2)), Take::Refused(Gone::People));
    let mut window = opened(&limits(600, None, None));
    let nobody = Company::default();
    let left = window.take(&numbered(2), at("10:05:00"), &nobody);
    assert_eq!(left, Take::Refused(Gone::People));
    let against = CountedVote {
        vote: VoteChoice::Deny,
        ..vote("lee", "self")
    };
    let mut denied = opened_by(&[against], &ask(), &limits(600, None, None));
    assert_eq!(take(&mut denied, &numbered(2)), Take::Refused(Gone::People));
}

#[test]
fn an_update_is_lifted_for_the_fields_that_were_shown_alone() {
    let email = changing(&["email", "phone"]);
    let window = opened_by(&[vote("lee", "self")], &email, &limits(600, None, None));
    for (fields, lifted) in [
        (&["email"][..], true),
        (&["phone", "email"][..], true),
        (&["email", "iban"][..], false),
        (&[][..], false),
    ] {
        let taken = take(&mut window.clone(), &changing(fields)) == Take::Taken;
        assert_eq!(taken, lifted, "{fields:?}");
    }
    // Of a tool that sends, changes are only told.
    let mut other = opened(&limits(600, None, None));
    let told = PolicyChecked {
        changes: Vec::new(),
        ..numbered(2)
    };
    assert_eq!(take(&mut other, &told), Take::Taken);
}

#[test]
fn the_same_input_only_means_the_same_input() {
    let same = WindowLimits {
        same_input_only: Some(true),
        ..limits(600, None, None)
    };
    let mut window = opened(&same);
    let mut other = numbered(2);
    other.input_match = "other".to_owned();
    assert_eq!(take(&mut window, &other), Take::Refused(Gone::Input));
    assert_eq!(take(&mut window, &numbered(2)), Take::Taken);
}

#[test]
fn its_time_counts_from_the_approval_and_ends_to_the_second() {
    let window = opened(&limits(600, None, None));
    assert_eq!(window.until(), at("10:10:30"));
    for (now, open) in [
        ("10:00:30", true),
        ("10:10:29.999", true),
        ("10:10:30", false),
        ("23:00:00", false),
    ] {
        let taken = window.clone().take(&numbered(2), at(now), &company());
        let expected = match open {
            true => Take::Taken,
            false => Take::Refused(Gone::Ended),
        };
        assert_eq!(taken, expected, "{now}");
    }
    let mut early = window.clone();
    assert!(!early.expire(at("10:10:29.999")));
    assert!(early.expire(at("11:00:00")) && !early.expire(at("11:00:00")));
    assert_eq!(early.end().unwrap().at, at("10:10:30"), "whoever came late");
}

#[test]
fn a_total_is_exact_and_takes_no_amount_that_it_cannot_add() {
    let mut window = opened_by(
        &[vote("lee", "self")],
        &ask(),
        &limits(600, None, Some("100.00 EUR")),
    );
    let refused = Take::Refused(Gone::Total);
    for (n, amount, currency, expected) in [
        (1, "60.10", Some("EUR"), Take::Taken),
        (2, "39.91", Some("EUR"), refused),
        (3, "1", Some("USD"), refused),
        (4, "1", None, refused),
        (5, "-60", Some("EUR"), refused),
        (6, "1e1", Some("EUR"), refused),
        (7, "0", Some("EUR"), Take::Taken),
        (8, "39.90", Some("EUR"), Take::Taken),
        (9, "0.01", Some("EUR"), refused),
    ] {
        let about = worth(n, amount, currency);
        assert_eq!(take(&mut window, &about), expected, "{amount} {currency:?}");
    }
    assert_eq!(take(&mut window, &numbered(10)), refused, "no amount known");
    let listed = window.listed(at("10:05:00"));
    assert_eq!(listed.total.as_deref(), Some("100 EUR"));
    assert_eq!(listed.total_left.as_deref(), Some("0 EUR"));
    assert!(window.give_back(intent(1)));
    assert_eq!(
        take(&mut window, &worth(9, "60.1", Some("EUR"))),
        Take::Taken
    );
}

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
        (Head::None, None, Fate::Wait, Fate::Block),
        (Head::NotOurs { seq: 1 }, None, Fate::Wait, Fate::Wait),
        (decided(&ours), own, Fate::Wait, Fate::Revoke),
        (
            decided(&ours),
            Some(&theirs),
            Fate::GiveBack,
            Fate::GiveBack,
        ),
        (
            decided(&ours),
            Some(&people),
            Fate::GiveBack,
            Fate::GiveBack,
        ),
        (gone, None, Fate::GiveBack, Fate::GiveBack),
    ] {
        assert_eq!(open.fate(&head, basis, now), while_open, "{head:?}");
        assert_eq!(ended.fate(&head, basis, now), after, "{head:?}");
    }
}

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
