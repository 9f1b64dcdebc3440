//! The kill switch against tables, and against a model that looks at every position.

use std::time::Duration;

use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::events::{
    BlockedCode, ControlApplied, Event as _, FreezeScope, NextAction, RevokedCode, ToolApproved,
    ToolStarted, Verdict,
};
use countersign_schemas::{Address, SeqToken, Timestamp, headers};
use proptest::prelude::*;

use super::*;
use crate::approvals::fixtures::{at, checked};
use crate::chain::{End, Head, Last};
use crate::decision::{Course, Decision, Desk, revoked, unknown};
use crate::keys::SigningKey;
use crate::permit::PermitSigner;

fn everything() -> FreezeScope {
    FreezeScope::default()
}

fn of_agent(agent: &str) -> FreezeScope {
    FreezeScope {
        agent: Some(agent.parse().unwrap()),
        ..everything()
    }
}

fn of_tool(tool: &str) -> FreezeScope {
    FreezeScope {
        tool: Some(tool.parse().unwrap()),
        ..everything()
    }
}

fn of_requester(requester: &str) -> FreezeScope {
    FreezeScope {
        requester: Some(requester.parse().unwrap()),
        ..everything()
    }
}

fn token(life: &str, seq: u64) -> SeqToken {
    SeqToken::new(life.parse().unwrap(), seq)
}

fn event(frozen: bool, scope: &FreezeScope) -> ControlApplied {
    ControlApplied {
        schema_version: 1,
        frozen,
        scope: scope.clone(),
        operator: "olga".parse().unwrap(),
        reason: "Refunds look wrong.".to_owned(),
        applied_at: at("10:00:00"),
    }
}

fn applied(frozen: bool, scope: &FreezeScope, order: u64) -> Read {
    Read::Applied(Box::new(Applied {
        order: token("abc", order),
        again: None,
        event: event(frozen, scope),
    }))
}

fn repeated(scope: &FreezeScope, order: u64, n: u64) -> Read {
    Read::Applied(Box::new(Applied {
        order: token("abc", order),
        again: Some(n),
        event: event(true, scope),
    }))
}

fn take(freezes: &mut Freezes, seq: u64, read: &Read) -> Effect {
    freezes.apply(&Placed {
        seq,
        stored_at: at("10:00:00"),
        read,
    })
}

#[test]
fn however_many_freezes_are_in_force_everything_can_be_frozen() {
    let mut freezes = Freezes::default();
    take(&mut freezes, 1, &applied(true, &of_agent("billing"), 1));
    take(&mut freezes, 2, &applied(true, &of_tool("mail.send"), 2));
    for (scope, most, room) in [
        (of_requester("dana"), 3, true),
        (of_requester("dana"), 2, false),
        (of_agent("billing"), 2, true),
        (everything(), 2, true),
        (everything(), 0, true),
    ] {
        assert_eq!(freezes.takes(&scope, most), room, "{scope:?} of {most}");
    }
}

/// The intent of the fixtures: `billing` sends a mail for `dana`.
fn stops(freezes: &Freezes) -> bool {
    let checked = checked();
    freezes.covers(&Target::from(&checked)).is_some()
}

fn approved() -> ToolApproved {
    let signer = PermitSigner::new(SigningKey::from_seed(&[1; 32]));
    let desk = Desk::new(signer, "acme", Duration::from_secs(60));
    let mut checked = checked();
    checked.verdict = Verdict::Allow;
    match desk.course(&checked, at("10:00:02")).unwrap() {
        Course::Decide(Decision::Approved(approved)) => *approved,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_scope_covers_what_agrees_with_every_part_of_it() {
    let checked = checked();
    let target = Target::from(&checked);
    let both = |agent: &str, tool: &str| FreezeScope {
        agent: Some(agent.parse().unwrap()),
        ..of_tool(tool)
    };
    for (scope, covered, text) in [
        (everything(), true, "everything"),
        (of_agent("billing"), true, "agent billing"),
        (of_agent("crm"), false, "agent crm"),
        (of_tool("mail.send"), true, "tool mail.send"),
        (of_tool("mail"), false, "tool mail"),
        (of_requester("dana"), true, "requester dana"),
        (of_requester("lee"), false, "requester lee"),
        (
            both("billing", "mail.send"),
            true,
            "agent billing with tool mail.send",
        ),
        (
            both("billing", "crm.read"),
            false,
            "agent billing with tool crm.read",
        ),
        (
            both("crm", "mail.send"),
            false,
            "agent crm with tool mail.send",
        ),
    ] {
        assert_eq!(covers(&scope, &target), covered, "{scope:?}");
        assert_eq!(words(&scope), text);
    }
}

#[test]
fn a_requester_is_covered_whether_claimed_or_proved() {
    for verified in [false, true] {
        let mut checked = checked();
        checked.requester.verified = verified;
        assert!(covers(&of_requester("dana"), &Target::from(&checked)));
    }
}

#[test]
fn overlapping_freezes_are_released_one_by_one() {
    let mut freezes = Freezes::default();
    assert_eq!(
        take(&mut freezes, 1, &applied(true, &of_agent("billing"), 1)),
        Effect::Frozen
    );
    assert_eq!(
        take(&mut freezes, 2, &applied(true, &everything(), 2)),
        Effect::Frozen
    );
    assert_eq!(
        take(&mut freezes, 3, &applied(true, &everything(), 3)),
        Effect::Still
    );
    assert_eq!(freezes.in_force().count(), 2);
    // What was never frozen by itself is not released by itself.
    assert_eq!(
        take(&mut freezes, 4, &applied(false, &of_tool("mail.send"), 4)),
        Effect::Nothing
    );
    assert!(stops(&freezes));
    assert_eq!(
        take(&mut freezes, 5, &applied(false, &everything(), 5)),
        Effect::Released
    );
    assert!(stops(&freezes), "the agent is still frozen");
    assert!(freezes.holds(&of_agent("billing")) && !freezes.holds(&everything()));
    assert_eq!(
        take(&mut freezes, 6, &applied(false, &of_agent("billing"), 6)),
        Effect::Released
    );
    assert!(!stops(&freezes));
    assert_eq!(
        take(&mut freezes, 7, &applied(false, &of_agent("billing"), 7)),
        Effect::Nothing
    );
    assert_eq!(
        take(&mut freezes, 7, &applied(true, &everything(), 9)),
        Effect::Known
    );
    assert_eq!(freezes.at(), 7);
}

#[test]
fn orders_count_as_people_gave_them_however_coordinators_answer() {
    let mut freezes = Freezes::default();
    take(&mut freezes, 1, &applied(true, &everything(), 12));
    // Two coordinators answered orders 11 and 12 the other way round.
    assert_eq!(
        take(&mut freezes, 2, &applied(false, &everything(), 11)),
        Effect::Superseded
    );
    assert!(stops(&freezes));
    assert_eq!(
        take(&mut freezes, 3, &applied(false, &everything(), 13)),
        Effect::Released
    );
    assert_eq!(
        take(&mut freezes, 4, &applied(true, &everything(), 12)),
        Effect::Superseded
    );
    assert!(!stops(&freezes));
    // The stream of orders was made anew: the later place in the log counts.
    let again = Read::Applied(Box::new(Applied {
        order: token("def", 1),
        again: None,
        event: event(true, &everything()),
    }));
    assert_eq!(take(&mut freezes, 5, &again), Effect::Frozen);
}

#[test]
fn a_repetition_keeps_a_freeze_and_never_brings_one_back() {
    let scope = of_agent("billing");
    let mut freezes = Freezes::default();
    // Whoever starts when the first one is gone finds the repetition.
    assert_eq!(
        take(&mut freezes, 10, &repeated(&scope, 3, 2)),
        Effect::Frozen
    );
    assert!(stops(&freezes));
    assert_eq!(
        take(&mut freezes, 11, &repeated(&scope, 3, 3)),
        Effect::Still
    );
    assert_eq!(
        take(&mut freezes, 12, &applied(false, &scope, 4)),
        Effect::Released
    );
    assert_eq!(
        take(&mut freezes, 13, &repeated(&scope, 3, 4)),
        Effect::Superseded
    );
    assert_eq!(
        take(&mut freezes, 14, &repeated(&scope, 4, 1)),
        Effect::Superseded
    );
    assert!(!stops(&freezes));
}

#[test]
fn a_freeze_in_force_is_due_again_after_half_a_horizon() {
    let scope = of_agent("billing");
    let every = Duration::from_secs(3_600);
    let mut freezes = Freezes::default();
    take(&mut freezes, 1, &applied(true, &scope, 7));
    take(&mut freezes, 2, &applied(true, &of_tool("x"), 8));
    take(&mut freezes, 3, &applied(false, &of_tool("x"), 9));
    assert!(freezes.due(at("10:59:59"), every).is_empty());
    let due = freezes.due(at("11:00:00"), every);
    let [again] = due.as_slice() else {
        panic!("{due:?}")
    };
    assert_eq!(again.address.subject().as_str(), "control.applied.abc.7.1");
    assert_eq!(again.event, event(true, &scope));
    freezes.apply(&Placed {
        seq: 4,
        stored_at: at("11:00:00"),
        read: &repeated(&scope, 7, 1),
    });
    assert!(freezes.due(at("11:00:01"), every).is_empty());
    let next = freezes.due(at("12:00:00"), every);
    assert_eq!(
        next.first().unwrap().address,
        Address::ControlReapplied {
            seq: token("abc", 7),
            n: 2
        }
    );
    let still = freezes.in_force().next().unwrap();
    assert_eq!(still.since, at("10:00:00"), "the first order's time stays");
}

#[test]
fn unfreezing_revives_no_decision_from_before() {
    let decision = approved();
    let target = Target::from(&decision);
    let mut freezes = Freezes::default();
    let claim = |decided| Claim { target, decided };
    let waited = Duration::from_millis(3);
    assert_eq!(may_begin(&freezes, &claim(10), waited), Ok(()));
    take(&mut freezes, 20, &applied(true, &everything(), 1));
    assert!(matches!(
        may_begin(&freezes, &claim(10), waited),
        Err(Stop::Frozen(Void::InForce(_)))
    ));
    take(&mut freezes, 30, &applied(false, &everything(), 2));
    // Decided before the freeze, or while it lasted.
    for decided in [10, 25] {
        let stop = may_begin(&freezes, &claim(decided), waited);
        assert_eq!(stop, Err(Stop::Frozen(Void::Meanwhile(everything()))));
    }
    assert_eq!(may_begin(&freezes, &claim(31), waited), Ok(()));
}

#[test]
fn a_claim_begins_within_its_time_or_not_at_all() {
    let decision = approved();
    let claim = Claim {
        target: Target::from(&decision),
        decided: 1,
    };
    let freezes = Freezes::default();
    let table = [
        (Duration::ZERO, Ok(())),
        (BEGIN_WITHIN - Duration::from_millis(1), Ok(())),
        (BEGIN_WITHIN, Err(Stop::TooLate)),
        (Duration::from_secs(60), Err(Stop::TooLate)),
    ];
    for (waited, expected) in table {
        assert_eq!(may_begin(&freezes, &claim, waited), expected, "{waited:?}");
    }
}

fn read_as(subject: &str, ce_type: Option<&str>, body: &[u8]) -> Read {
    read(&Last {
        subject,
        seq: 1,
        ce_type,
        body,
    })
}

#[test]
fn what_cannot_be_read_freezes_everything_and_foreign_bytes_nothing() {
    let body = codec::encode(&event(true, &everything()), Encoding::Json).unwrap();
    let own = headers::ce_type::<ControlApplied>();
    let newer = format!("dev.countersign.{}.v2", ControlApplied::NAME);
    let subject = "control.applied.abc.7";
    assert_eq!(
        read_as(subject, Some(&own), &body),
        applied(true, &everything(), 7)
    );
    let third = read_as("control.applied.abc.7.3", Some(&own), &body);
    assert_eq!(third, repeated(&everything(), 7, 3));
    for unreadable in [
        read_as(subject, Some(&newer), &body),
        read_as(subject, Some(&own), b"{}"),
    ] {
        assert_eq!(unreadable, Read::Unreadable);
        let mut freezes = Freezes::default();
        assert_eq!(take(&mut freezes, 1, &unreadable), Effect::Blind);
        assert!(stops(&freezes), "fail closed");
    }
    for foreign in [
        read_as(subject, None, &body),
        read_as(subject, Some("dev.countersign.tool.approved.v1"), &body),
        read_as("control.done.abc.7", Some(&own), &body),
        read_as("control.applied.abc", Some(&own), &body),
    ] {
        assert_eq!(foreign, Read::NotOurs);
        let mut freezes = Freezes::default();
        assert_eq!(take(&mut freezes, 1, &foreign), Effect::NotOurs);
        assert!(!stops(&freezes));
    }
}

#[test]
fn an_order_covers_what_its_author_meant_or_nothing() {
    let table = [
        (r#"{"scope":{},"reason":"x"}"#, Ok(())),
        (r#"{"scope":{"agent":"billing"},"reason":"x"}"#, Ok(())),
        (
            r#"{"scope":{"agent":"billing","tool":null},"reason":"x"}"#,
            Ok(()),
        ),
        (
            r#"{"scope":{"agnet":"billing"},"reason":"x"}"#,
            Err(InvalidOrder::UnknownPart),
        ),
        (
            r#"{"scope":{"agent":"billing","team":"x"},"reason":"x"}"#,
            Err(InvalidOrder::UnknownPart),
        ),
        (
            r#"{"scope":{"agent":null},"reason":"x"}"#,
            Err(InvalidOrder::NamesNothing),
        ),
        (
            r#"{"scope":{},"reason":" \n"}"#,
            Err(InvalidOrder::NoReason),
        ),
    ];
    for (body, expected) in table {
        let order: countersign_schemas::events::ControlFreeze =
            codec::decode(body.as_bytes()).unwrap();
        let checked = Order::check(body.as_bytes(), order.scope, &order.reason, &str::to_owned);
        assert_eq!(checked.map(drop), expected, "{body}");
    }
    let long = "x".repeat(countersign_schemas::limits::PURPOSE_CHARS_MAX + 1);
    let long = Order::check(b"{}", everything(), &long, &str::to_owned);
    assert_eq!(
        long,
        Err(InvalidOrder::UnknownPart),
        "a body without a scope"
    );
    let redact = |text: &str| text.replace("secret", "[x]");
    let body = br#"{"scope":{},"reason":""}"#;
    let order = Order::check(body, everything(), "a secret\u{202e}", &redact).unwrap();
    assert!(order.reason.starts_with("a [x]") && !order.reason.contains('\u{202e}'));
}

#[test]
fn what_a_freeze_finds_of_an_open_intent_is_counted_once() {
    let approved = Box::new(approved());
    let started = ToolStarted {
        schema_version: 1,
        intent_id: approved.intent_id,
        agent: approved.agent.clone(),
        tool: approved.tool.clone(),
        executor: "tool-executor".parse().unwrap(),
        lease_until: at("10:01:00"),
    };
    let ended = |end: End| Head::Ended { seq: 9, end };
    let stopped_by =
        |code: RevokedCode| ended(End::Revoked(Box::new(revoked(&approved, code, "x"))));
    let completed = |code: &str| {
        let mut completed = unknown(&started, at("10:00:01"));
        completed.outcome = countersign_schemas::events::Outcome::Failed;
        completed.error.as_mut().unwrap().code = code.to_owned();
        ended(End::Completed(Box::new(completed)))
    };
    let lost = ended(End::Completed(Box::new(unknown(&started, at("10:00:01")))));
    let claimed = Head::Claimed {
        seq: 9,
        started: started.clone(),
    };
    for (head, expected) in [
        (stopped_by(RevokedCode::Frozen), Fate::Revoked),
        (stopped_by(RevokedCode::Withdrawn), Fate::Over),
        (claimed, Fate::Stopped),
        (completed("frozen"), Fate::Stopped),
        (completed("not_begun"), Fate::Stopped),
        (completed("http_409"), Fate::Stopped),
        (lost, Fate::Stopped),
        (Head::None, Fate::Over),
        (Head::NotOurs { seq: 9 }, Fate::NotOurs),
    ] {
        assert_eq!(fate(head.clone()), expected, "{head:?}");
    }
    let open = Head::Decided {
        seq: 4,
        approved: approved.clone(),
    };
    assert_eq!(fate(open), Fate::Revoke(approved, 4));
}

#[test]
fn the_list_of_those_that_run_is_bounded_and_says_how_many_more() {
    let mut tally = Tally::default();
    for n in 0..130_u64 {
        let at = Timestamp::EPOCH.plus(Duration::from_millis(n));
        tally.running(countersign_schemas::IntentId::new_at(at));
    }
    tally.revoked();
    tally.stopped();
    let done = tally.done(18);
    assert_eq!((done.revoked, done.stopped, done.duration_ms), (1, 1, 18));
    assert_eq!((done.running.len(), done.running_more), (100, 30));
    assert!(done.running.is_sorted());
}

#[test]
fn an_agent_is_told_that_it_is_frozen_and_not_by_whom_or_why() {
    let mut freezes = Freezes::default();
    take(&mut freezes, 1, &applied(true, &of_agent("billing"), 1));
    let checked = checked();
    let void = freezes.covers(&Target::from(&checked)).unwrap();
    let Decision::Blocked(blocked) = frozen(&checked, &void) else {
        panic!("approved")
    };
    assert_eq!(blocked.code, BlockedCode::Frozen);
    assert_eq!(blocked.next_action, NextAction::Retry);
    let told = serde_json::to_string(&blocked).unwrap();
    assert!(
        told.contains("froze agent billing") && told.contains("release"),
        "{told}"
    );
    assert!(
        !told.contains("olga") && !told.contains("Refunds"),
        "{told}"
    );
    for void in [Void::Meanwhile(everything()), Void::Forgotten, Void::Blind] {
        assert!(stopped(&void).ends_with('.'), "{void:?}");
    }
}

#[test]
fn forgetting_a_release_never_lets_anything_run() {
    let mut freezes = Freezes::default();
    let mut seq = 0;
    for n in 0..1_010_u64 {
        let scope = of_agent(&format!("agent{n}"));
        for frozen in [true, false] {
            seq += 1;
            take(&mut freezes, seq, &applied(frozen, &scope, seq));
        }
    }
    let decision = approved();
    let target = Target::from(&decision);
    assert_eq!(freezes.voids(&target, 1), Some(Void::Forgotten));
    assert_eq!(freezes.voids(&target, seq), None);
}

/// One step of a log: which scope, which order, whether it freezes.
type Step = (usize, u64, bool);

/// Whether the intent of the fixtures is covered at each position, by the plain meaning:
/// of each scope the order that people gave last counts.
fn covered_after_each(steps: &[Step], scopes: &[FreezeScope]) -> Vec<bool> {
    let checked = checked();
    let mut last: Vec<(u64, bool)> = vec![(0, false); scopes.len()];
    let mut covered = vec![false];
    for (scope, order, frozen) in steps {
        if *order > last[*scope].0 {
            last[*scope] = (*order, *frozen);
        }
        let now = scopes
            .iter()
            .zip(&last)
            .any(|(scope, (_, frozen))| *frozen && covers(scope, &Target::from(&checked)));
        covered.push(now);
    }
    covered
}

proptest! {
    #[test]
    fn a_decision_is_void_if_it_was_covered_anywhere_since(
        mut steps in proptest::collection::vec((0_usize..4, any::<bool>()), 0..24),
        swaps in proptest::collection::vec(0_usize..24, 0..6),
        decided in 0_u64..25,
    ) {
        let scopes = [everything(), of_agent("billing"), of_tool("mail.send"), of_agent("crm")];
        let mut log: Vec<Step> = steps
            .drain(..)
            .zip(1..)
            .map(|((scope, frozen), order)| (scope, order, frozen))
            .collect();
        for at in swaps {
            if at + 1 < log.len() {
                log.swap(at, at + 1);
            }
        }
        let mut freezes = Freezes::default();
        for (seq, (scope, order, frozen)) in (1..).zip(&log) {
            take(&mut freezes, seq, &applied(*frozen, &scopes[*scope], *order));
        }
        let covered = covered_after_each(&log, &scopes);
        let checked = checked();
        let target = Target::from(&checked);
        let now = *covered.last().unwrap();
        prop_assert_eq!(freezes.covers(&target).is_some(), now);
        // Position 0 is before everything; a decision at `n` follows the message at `n`.
        let since = usize::try_from(decided).unwrap().min(log.len());
        let void = covered[since..].iter().any(|covered| *covered);
        prop_assert_eq!(freezes.voids(&target, decided).is_some(), void);
    }
}
