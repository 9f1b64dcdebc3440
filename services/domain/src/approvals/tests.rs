//! Who may vote, when it is enough, and that an end is an end.

use countersign_schemas::codec::{self, Encoding};
use std::time::Duration;

use countersign_schemas::events::{ApprovalState, ApprovalVote, VoteChoice, WindowLimits};
use countersign_schemas::{Digest, JsonObject, PersonId, SeqToken, ServiceId, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use super::fixtures::{Company, asked, at, checked, company, person};
use super::*;

fn open() -> Approval {
    Approval::open(&checked(), at("10:00:01")).unwrap()
}

pub(super) fn open_for(teams: &[(&str, u32)]) -> Approval {
    let mut checked = checked();
    checked.ask.as_mut().unwrap().approvers = asked(teams);
    Approval::open(&checked, at("10:00:01")).unwrap()
}

/// One vote with everything that a test may want to change.
#[derive(Clone)]
pub(super) struct Cast {
    who: PersonId,
    via: ServiceId,
    seq: u64,
    pub(super) at: Timestamp,
    vote: ApprovalVote,
    reason: Option<String>,
}

pub(super) fn cast(approval: &Approval, who: &str, choice: VoteChoice, seq: u64) -> Cast {
    Cast {
        who: person(who),
        via: "self".parse().unwrap(),
        seq,
        at: at("10:05:00"),
        vote: ApprovalVote {
            schema_version: 1,
            approval_id: approval.id().clone(),
            digest: approval.digest(),
            vote: choice,
            items: None,
            window: None,
            reason: None,
        },
        reason: None,
    }
}

pub(super) fn approve(approval: &Approval, who: &str, seq: u64) -> Cast {
    cast(approval, who, VoteChoice::Approve, seq)
}

pub(super) fn put_to(approval: &mut Approval, cast: &Cast, people: &Company) -> Answer {
    let message = SeqToken::new("abc".parse().unwrap(), cast.seq);
    let ballot = Ballot {
        approver: &cast.who,
        via: &cast.via,
        message: &message,
        stored_at: cast.at,
        vote: &cast.vote,
        reason: cast.reason.clone(),
    };
    let answer = approval.vote(&ballot, people);
    let event = answer.event(approval, &ballot);
    assert_eq!(event.counted, answer.code == VoteCode::Counted);
    assert_eq!(event.state, approval.state());
    answer
}

pub(super) fn put(approval: &mut Approval, cast: &Cast) -> Answer {
    put_to(approval, cast, &company())
}

#[test]
fn one_member_is_enough_where_one_is_asked() {
    let mut approval = open();
    let vote = approve(&approval, "lee", 1);
    let answer = put(&mut approval, &vote);
    assert_eq!(answer.code, VoteCode::Counted);
    assert_eq!(approval.state(), ApprovalState::Approved);
    assert_eq!(approval.approved_by(), [person("lee")]);
    let resolved = approval.resolved().unwrap();
    assert_eq!(resolved.message, "approved by lee");
    assert_eq!(resolved.resolved_at, at("10:05:00"));
}

/// A vote that must not count, and how it differs from a good one.
type Refused = (VoteCode, fn(&mut Cast));

#[test]
fn every_vote_that_may_not_count_is_answered_and_changes_nothing() {
    let cases: &[Refused] = &[
        (VoteCode::NotAMember, |c| c.who = person("eve")),
        (VoteCode::NotAMember, |c| c.who = person("kim")),
        (VoteCode::Excluded, |c| c.who = person("dana")),
        (VoteCode::ChatNotAllowed, |c| {
            c.via = "slack".parse().unwrap()
        }),
        (VoteCode::Expired, |c| c.at = at("11:00:01")),
        (VoteCode::WrongDigest, |c| {
            c.vote.digest = Digest::of_bytes(b"other")
        }),
        (VoteCode::WrongItems, |c| c.vote.items = Some(Vec::new())),
        (VoteCode::WrongItems, |c| {
            c.vote.items = Some(vec![checked().intent_id])
        }),
        (VoteCode::WindowNotPermitted, |c| {
            c.vote.window = Some(WindowLimits {
                seconds: 60,
                max_uses: None,
                max_total: None,
                same_input_only: None,
            });
        }),
    ];
    for (number, (code, spoil)) in cases.iter().enumerate() {
        let mut approval = open();
        let mut vote = approve(&approval, "lee", 1);
        spoil(&mut vote);
        let before = approval.clone();
        let answer = put(&mut approval, &vote);
        assert_eq!(answer.code, *code, "case {number}");
        assert!(
            !answer.changed && answer.message.len() > 10,
            "case {number}"
        );
        assert_eq!(approval, before, "case {number}");
    }
}

#[test]
fn the_inbox_is_no_chat_and_policy_may_open_the_others() {
    let mut approval = open();
    let mut vote = approve(&approval, "lee", 1);
    vote.via = "inbox".parse().unwrap();
    assert_eq!(put(&mut approval, &vote).code, VoteCode::Counted);
    let mut checked = checked();
    checked.ask.as_mut().unwrap().chat_may_approve = true;
    checked.input_redacted = checked.input_shown.clone();
    let mut approval = Approval::open(&checked, at("10:00:01")).unwrap();
    let mut vote = approve(&approval, "lee", 1);
    vote.via = "slack".parse().unwrap();
    assert_eq!(put(&mut approval, &vote).code, VoteCode::Counted);
}

#[test]
fn a_chat_that_cannot_show_all_approves_nothing() {
    let mut checked = checked();
    checked.ask.as_mut().unwrap().chat_may_approve = true;
    let open = || Approval::open(&checked, at("10:00:01")).unwrap();
    assert!(!open().requested(&str::to_owned).view_complete);
    let mut approval = open();
    let mut vote = approve(&approval, "lee", 1);
    vote.via = "slack".parse().unwrap();
    let answer = put(&mut approval, &vote);
    assert_eq!(answer.code, VoteCode::ChatNotAllowed);
    assert!(
        answer.message.contains("cannot show all"),
        "{}",
        answer.message
    );
    // A no stops it all the same, and the own key sees the whole view.
    let mut no = cast(&approval, "lee", VoteChoice::Deny, 2);
    no.via = "slack".parse().unwrap();
    assert_eq!(put(&mut open(), &no).code, VoteCode::Counted);
    vote.via = "self".parse().unwrap();
    assert_eq!(put(&mut approval, &vote).code, VoteCode::Counted);
}

#[test]
fn the_event_says_whether_it_shows_all() {
    let whole = {
        let mut checked = checked();
        checked.input_redacted = checked.input_shown.clone();
        checked.amount = Some("5.00".to_owned());
        checked.session_id = Some("s-1".to_owned());
        Approval::open(&checked, at("10:00:01")).unwrap()
    };
    let event = whole.requested(&str::to_owned);
    assert!(event.view_complete);
    assert_eq!(event.guardrails.len(), 1);
    assert_eq!(event.items[0].amount.as_deref(), Some("5.00"));
    for word in ["customer", "eyes", "s-1", "list", "5.00"] {
        let redact = |text: &str| text.replace(word, "[x]");
        assert!(!whole.requested(&redact).view_complete, "{word}");
    }
}

#[test]
fn the_requester_votes_only_where_policy_says_so() {
    let mut checked = checked();
    let ask = checked.ask.as_mut().unwrap();
    ask.excluded.clear();
    let mut approval = Approval::open(&checked, at("10:00:01")).unwrap();
    let vote = approve(&approval, "dana", 1);
    assert_eq!(put(&mut approval, &vote).code, VoteCode::Excluded);
    checked.ask.as_mut().unwrap().self_allowed = true;
    let mut approval = Approval::open(&checked, at("10:00:01")).unwrap();
    let vote = approve(&approval, "dana", 1);
    assert_eq!(put(&mut approval, &vote).code, VoteCode::Counted);
}

#[test]
fn two_teams_need_two_people_and_nobody_counts_twice() {
    let mut approval = open_for(&[("support", 1), ("security", 1)]);
    let sam = approve(&approval, "sam", 1);
    assert_eq!(
        put(&mut approval, &sam).message,
        "counted; 1 of 2 approvals are there"
    );
    let again = approve(&approval, "sam", 2);
    assert_eq!(put(&mut approval, &again).code, VoteCode::AlreadyVoted);
    assert!(approval.is_pending());
    let lee = approve(&approval, "lee", 3);
    put(&mut approval, &lee);
    assert_eq!(approval.state(), ApprovalState::Approved);
    assert_eq!(
        approval.resolution().unwrap().message,
        "approved by sam and lee"
    );
}

#[test]
fn membership_counts_at_the_time_of_the_vote() {
    let mut approval = open_for(&[("support", 2)]);
    let lee = approve(&approval, "lee", 1);
    put(&mut approval, &lee);
    let mut later = company();
    let support = later.teams.get_mut(&"support".parse().unwrap()).unwrap();
    support.remove(&person("lee"));
    let sam = approve(&approval, "sam", 2);
    put_to(&mut approval, &sam, &later);
    assert_eq!(approval.state(), ApprovalState::Approved);
}

#[test]
fn one_no_ends_it_and_a_late_vote_learns_who_and_when() {
    let mut approval = open_for(&[("support", 2)]);
    let lee = approve(&approval, "lee", 1);
    put(&mut approval, &lee);
    let mut sam = cast(&approval, "sam", VoteChoice::Deny, 2);
    sam.reason = Some("the customer left\u{202e}".to_owned());
    assert_eq!(put(&mut approval, &sam).code, VoteCode::Counted);
    assert_eq!(approval.state(), ApprovalState::Denied);
    let end = approval.resolution().unwrap().clone();
    assert_eq!(end.message, "denied by sam: the customer left⟨U+202E⟩");
    assert_eq!(end.by, Some(person("sam")));
    let late = approve(&approval, "lee", 3);
    let answer = put(&mut approval, &late);
    assert_eq!(answer.code, VoteCode::AlreadyResolved);
    assert!(
        answer.message.contains("denied by sam"),
        "{}",
        answer.message
    );
    assert!(
        answer.message.contains("2026-11-22T10:05:00Z"),
        "{}",
        answer.message
    );
}

#[test]
fn a_redelivered_vote_is_the_same_vote() {
    for choice in [VoteChoice::Approve, VoteChoice::Deny] {
        let mut approval = open();
        let vote = cast(&approval, "lee", choice, 9);
        assert!(put(&mut approval, &vote).changed);
        let after = approval.clone();
        let answer = put(&mut approval, &vote);
        assert_eq!((answer.code, answer.changed), (VoteCode::Counted, false));
        assert_eq!(approval, after);
    }
}

#[test]
fn expiry_is_no_denial_and_never_early() {
    let mut approval = open_for(&[("support", 2)]);
    assert!(!approval.expire(at("11:00:00")));
    assert!(approval.is_pending());
    let lee = approve(&approval, "lee", 1);
    put(&mut approval, &lee);
    assert!(approval.expire(at("11:00:01")));
    assert_eq!(approval.state(), ApprovalState::Expired);
    let end = approval.resolution().unwrap();
    assert_eq!(
        end.message,
        "1 of 2 approvals had come when it ended at 2026-11-22T11:00:01Z"
    );
    let silent = {
        let mut approval = open();
        approval.expire(at("12:00:00"));
        approval.resolution().unwrap().message.clone()
    };
    assert_eq!(silent, "nobody decided before 2026-11-22T11:00:01Z");
}

#[test]
fn the_intents_own_deadline_and_the_retention_bound_the_ask() {
    let mut verdict = checked();
    verdict.expires_at = Some(at("10:10:00"));
    let approval = Approval::open(&verdict, at("10:00:01")).unwrap();
    assert_eq!(approval.expires_at(), at("10:10:00"));
    verdict.expires_at = None;
    verdict.ask.as_mut().unwrap().expires_in_s = u64::MAX;
    let approval = Approval::open(&verdict, at("10:00:01")).unwrap();
    assert_eq!(approval.expires_at(), at("10:00:01").plus(ASK_LIFE_MAX));
}

#[test]
fn what_nobody_can_grant_is_not_opened() {
    let open = |spoil: fn(&mut countersign_schemas::events::PolicyChecked)| {
        let mut checked = checked();
        spoil(&mut checked);
        Approval::open(&checked, at("10:00:01")).unwrap_err()
    };
    use countersign_schemas::events::Verdict;
    assert_eq!(open(|c| c.verdict = Verdict::Allow), OpenError::NotAnAsk);
    assert_eq!(open(|c| c.verdict = Verdict::Deny), OpenError::NotAnAsk);
    assert_eq!(open(|c| c.ask = None), OpenError::NotAnAsk);
    assert_eq!(open(|c| c.operation = None), OpenError::UnknownTool);
    let none = |c: &mut countersign_schemas::events::PolicyChecked| {
        c.ask.as_mut().unwrap().approvers = asked(&[]);
    };
    assert_eq!(open(none), OpenError::NobodyAsked);
    let zero = |c: &mut countersign_schemas::events::PolicyChecked| {
        c.ask.as_mut().unwrap().approvers = asked(&[("support", 1), ("security", 0)]);
    };
    assert_eq!(open(zero), OpenError::NobodyAsked);
}

#[test]
fn what_people_could_not_be_shown_is_not_opened() {
    let mut verdict = checked();
    let hidden = "\u{200b}".repeat(50_000);
    verdict
        .input_redacted
        .0
        .insert("body".to_owned(), json!(hidden));
    let error = Approval::open(&verdict, at("10:00:01")).unwrap_err();
    assert_eq!(error, OpenError::TooLarge);
    let mut verdict = checked();
    verdict
        .input_shown
        .0
        .insert("body".to_owned(), json!("x".repeat(600 * 1024)));
    let error = Approval::open(&verdict, at("10:00:01")).unwrap_err();
    assert_eq!(error, OpenError::TooLarge);
}

#[test]
fn what_is_nested_too_deeply_for_the_event_that_asks_is_not_asked() {
    let nested = |depth: usize| (0..depth).fold(json!("x"), |inner, _| json!([inner]));
    for (depth, opens) in [(40, true), (62, false)] {
        let mut verdict = checked();
        verdict
            .input_redacted
            .0
            .insert("a".to_owned(), nested(depth));
        // The verdict itself can be stored.
        codec::encode(&verdict, Encoding::Json).unwrap();
        let opened = Approval::open(&verdict, at("10:00:01"));
        assert_eq!(opened.is_ok(), opens, "{depth}");
        if !opens {
            assert_eq!(opened.unwrap_err(), OpenError::NotShowable);
        }
    }
}

#[test]
fn what_has_ended_keeps_no_copy_of_the_input() {
    let mut verdict = checked();
    let text = "x".repeat(100_000);
    for copy in [&mut verdict.input_redacted, &mut verdict.input_shown] {
        copy.0.insert("body".to_owned(), json!(text));
    }
    let mut approval = Approval::open(&verdict, at("10:00:01")).unwrap();
    let (id, digest) = (approval.id().clone(), approval.digest());
    approval.settle();
    assert!(!approval.is_settled(), "it still waits");
    assert!(
        approval
            .shown_to(&person("lee"), &company(), at("10:00:02"), &str::to_owned)
            .view
            .is_some()
    );
    assert!(approval.cancel("the agent withdrew it", at("10:00:02")));
    let told = approval.resolved();
    approval.settle();
    assert!(approval.is_settled());
    let stored = serde_json::to_vec(&approval).unwrap();
    assert!(stored.len() < 3_000, "{} bytes", stored.len());
    let restored: Approval = serde_json::from_slice(&stored).unwrap();
    assert_eq!(restored, approval);
    assert_eq!((restored.id(), restored.digest()), (&id, digest));
    assert_eq!(restored.resolved(), told);
    let shown = restored.shown_to(&person("lee"), &company(), at("10:00:02"), &str::to_owned);
    assert!(shown.view.is_none() && !shown.listed.may_vote);
}

#[test]
fn the_view_shows_all_and_its_digest_survives_a_restart() {
    let approval = open();
    let view = approval.view();
    assert_eq!(view.digest().unwrap(), approval.digest());
    assert_eq!(open().digest(), approval.digest());
    let stored = serde_json::to_vec(&approval).unwrap();
    let restored: Approval = serde_json::from_slice(&stored).unwrap();
    assert_eq!(restored, approval);
    assert_eq!(restored.view().digest().unwrap(), approval.digest());
    assert_eq!(view.requester_note, "claimed, not proved");
    let text = serde_json::to_string(&view).unwrap();
    assert!(!text.contains(&checked().salt), "the item's salt leaked");
    assert!(
        !text.contains("[email:k1"),
        "the redacted input is not for approvers"
    );
    let asking = serde_json::to_string(&approval.requested(&str::to_owned)).unwrap();
    assert!(!asking.contains(&view.salt) && !asking.contains("…@example.org\"}"));
}

/// One thing that an approver is shown.
type Shown = (
    &'static str,
    fn(&mut countersign_schemas::events::PolicyChecked),
);

#[test]
fn whatever_is_shown_is_in_the_digest() {
    let changes: &[Shown] = &[
        ("input", |c| {
            drop(c.input_shown.0.insert("cc".to_owned(), json!("x")))
        }),
        ("purpose", |c| c.purpose.push('!')),
        ("session", |c| c.session_id = Some("s".to_owned())),
        ("summary", |c| c.summary.push('!')),
        ("reason", |c| c.reasons[0].message.push('!')),
        ("guardrail", |c| c.guardrails[0].message.push('!')),
        ("change", |c| c.changes[0].after = None),
        ("amount", |c| c.amount = Some("5".to_owned())),
        ("exact input", |c| {
            c.input_digest = Digest::of_bytes(b"other")
        }),
        ("salt", |c| c.salt.push('x')),
        ("who", |c| c.requester.verified = true),
        ("teams", |c| {
            c.ask.as_mut().unwrap().approvers = asked(&[("support", 2)])
        }),
        ("until", |c| c.expires_at = Some(at("10:30:00"))),
    ];
    for (what, change) in changes {
        let mut other = checked();
        change(&mut other);
        let other = Approval::open(&other, at("10:00:01")).unwrap();
        assert_ne!(other.digest(), open().digest(), "{what}");
    }
}

#[test]
fn texts_of_agents_are_shown_safely() {
    let mut checked = checked();
    checked.purpose = "pay\u{202e}\nApproved by lee".to_owned();
    checked.input_shown = JsonObject::from_value(json!({"to\u{200b}": "x\u{1b}[2J"})).unwrap();
    let view = Approval::open(&checked, at("10:00:01")).unwrap().view();
    assert_eq!(view.purpose, "pay⟨U+202E⟩⏎Approved by lee");
    let approval = Approval::open(&checked, at("10:00:01")).unwrap();
    let asking = approval.requested(&|text| text.replace("pay", "[x]"));
    assert_eq!(asking.purpose, "[x]⟨U+202E⟩⏎Approved by lee");
    checked.purpose = "<!channel> `ok`".to_owned();
    checked.reasons[0].message = "[x](https://evil.example)".to_owned();
    checked.changes[0].after = Some("@here".to_owned());
    checked.input_redacted = JsonObject::from_value(json!({"@lee": "# x"})).unwrap();
    let asking = Approval::open(&checked, at("10:00:01")).unwrap();
    let asking = asking.requested(&str::to_owned);
    assert_eq!(asking.purpose, "‹!channel› ‵ok‵");
    assert_eq!(asking.reasons[0].message, "[x］(https：//evil.example)");
    assert_eq!(asking.changes[0].after.as_deref(), Some("＠here"));
    let input = asking.items[0].input_redacted.to_value();
    assert_eq!(input, json!({"＠lee": "＃ x"}));
    let shown = view.items[0].input_shown.to_value();
    assert_eq!(shown, json!({"to⟨U+200B⟩": "x⟨U+001B⟩[2J"}));
}

#[test]
fn only_an_ended_approval_is_settled() {
    let mut approval = open();
    approval.settle();
    assert!(!approval.is_settled());
    assert!(approval.cancel("billing withdrew it", at("10:01:00")));
    approval.settle();
    assert!(approval.is_settled());
    assert_eq!(approval.resolved().unwrap().state, ApprovalState::Cancelled);
}

#[derive(Debug, Clone)]
enum Step {
    Vote(usize, bool, u64),
    Expire(u64),
    Cancel,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..5, any::<bool>(), 0_u64..12).prop_map(|(who, yes, seq)| Step::Vote(who, yes, seq)),
        1 => (0_u64..7_200).prop_map(Step::Expire),
        1 => Just(Step::Cancel),
    ]
}

proptest! {
    #[test]
    fn an_end_is_an_end_whatever_comes(steps in proptest::collection::vec(step(), 1..20)) {
        let names = ["lee", "sam", "kim", "dana", "eve"];
        let mut approval = open_for(&[("support", 1), ("security", 1)]);
        let mut ended: Option<Approval> = None;
        for step in steps {
            match step {
                Step::Vote(who, yes, seq) => {
                    let choice = if yes { VoteChoice::Approve } else { VoteChoice::Deny };
                    let vote = cast(&approval, names[who], choice, seq);
                    put(&mut approval, &vote);
                }
                Step::Expire(after) => {
                    approval.expire(at("10:00:01").plus(Duration::from_secs(after)));
                }
                Step::Cancel => {
                    approval.cancel("withdrawn", at("10:30:00"));
                }
            }
            if let Some(end) = &ended {
                prop_assert_eq!(&approval, end);
            } else if !approval.is_pending() {
                ended = Some(approval.clone());
            }
        }
        let voters = approval.votes();
        let mut people: Vec<_> = voters.iter().map(|vote| vote.approver.clone()).collect();
        people.sort();
        people.dedup();
        prop_assert_eq!(people.len(), voters.len());
        prop_assert!(people.iter().all(|id| *id != person("dana") && *id != person("eve")));
        if approval.state() == ApprovalState::Approved {
            prop_assert!(approval.approved_by().len() >= 2);
        }
    }
}
