//! What a freeze finds, and what is told of it.

use super::*;

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
        (stopped_by(RevokedCode::Frozen), IntentFate::Revoked),
        (stopped_by(RevokedCode::Withdrawn), IntentFate::Over),
        (claimed, IntentFate::Stopped),
        (completed("frozen"), IntentFate::Stopped),
        (completed("not_begun"), IntentFate::Stopped),
        (completed("http_409"), IntentFate::Stopped),
        (lost, IntentFate::Stopped),
        (Head::None, IntentFate::Over),
        (Head::NotOurs { seq: 9 }, IntentFate::NotOurs),
    ] {
        assert_eq!(fate(head.clone()), expected, "{head:?}");
    }
    let open = Head::Decided {
        seq: 4,
        approved: approved.clone(),
    };
    assert_eq!(fate(open), IntentFate::Revoke(approved, 4));
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
