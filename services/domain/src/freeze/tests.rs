//! The kill switch against tables; in `model`, against one that looks at every position.

mod model;
mod reading;
mod told;

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
