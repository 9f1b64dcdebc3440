//! Tests: what comes while nobody decides, each once.

use countersign_schemas::TeamId;
use countersign_schemas::events::{ApprovalState, EscalationStep};
use proptest::prelude::*;

use super::fixtures::{at, checked, company, person};
use super::tests::{approve, put_to};
use super::*;

/// Reminded after 10, 20 and 30 minutes; heads after 15 and the board after 40; an hour.
fn open() -> Approval {
    opened(|_| ())
}

fn opened(change: impl FnOnce(&mut countersign_schemas::events::PolicyChecked)) -> Approval {
    let mut checked = checked();
    let ask = checked.ask.as_mut().unwrap();
    ask.remind_after_s = vec![600, 1_200, 1_800];
    let step = |after_s, team: &str| EscalationStep {
        after_s,
        team: team.parse().unwrap(),
        instead_of: vec!["support".parse().unwrap()],
    };
    ask.escalation = vec![step(900, "heads"), step(2_400, "board")];
    change(&mut checked);
    Approval::open(&checked, at("10:00:00")).unwrap()
}

/// `r<number>` or the team of each notice.
fn words(approval: &Approval) -> Vec<String> {
    let word = |notice: Notice| match notice {
        Notice::Reminder { number, .. } => format!("r{number}"),
        Notice::Escalation(step) => step.team.to_string(),
    };
    approval.untold().into_iter().map(word).collect()
}

#[test]
fn each_thing_comes_at_its_time_and_once() {
    let mut approval = open();
    for (time, comes, next) in [
        ("10:09:59.999999", &[] as &[&str], "10:10:00"),
        ("10:10:00", &["r1"], "10:15:00"),
        ("10:15:00", &["heads"], "10:20:00"),
        ("10:20:01", &["r2"], "10:30:00"),
        ("10:45:00", &["board", "r3"], "11:00:00"),
    ] {
        assert_eq!(approval.advance(at(time)), !comes.is_empty(), "{time}");
        assert_eq!(words(&approval), comes, "{time}");
        approval.note_told();
        assert!(approval.untold().is_empty());
        assert!(!approval.advance(at(time)), "{time}, triggered again");
        assert_eq!(approval.next_due(), at(next), "{time}");
    }
    let teams: Vec<&str> = approval
        .asked_teams()
        .into_iter()
        .map(TeamId::as_str)
        .collect();
    assert_eq!(teams, ["support", "heads", "board"]);
    assert!(approval.expire(at("11:00:00")));
    assert!(!approval.advance(at("11:00:00")));
}

#[test]
fn what_was_noted_is_told_after_a_crash_and_of_missed_reminders_only_the_last() {
    let mut approval = open();
    assert!(approval.advance(at("10:10:00")));
    // The coordinator dies here and comes back 20 minutes later.
    let stored = serde_json::to_vec(&approval).unwrap();
    let mut restored: Approval = serde_json::from_slice(&stored).unwrap();
    assert_eq!(restored, approval);
    assert!(
        restored.next_due() <= at("10:10:00"),
        "it is looked at at once"
    );
    assert_eq!(words(&restored), ["r1"]);
    assert!(restored.advance(at("10:31:00")));
    assert_eq!(words(&restored), ["heads", "r3"]);
    restored.note_told();
    assert_eq!(restored.next_due(), at("10:40:00"));
}

#[test]
fn an_end_has_no_more_of_it() {
    let mut approval = open();
    assert!(approval.advance(at("10:10:00")));
    let vote = approve(&approval, "lee", 1);
    put_to(&mut approval, &vote, &company());
    assert_eq!(approval.state(), ApprovalState::Approved);
    assert_eq!(words(&approval), [""; 0]);
    assert!(!approval.advance(at("10:45:00")));
    assert_eq!(approval.next_due(), at("10:05:00"));
    let mut over = open();
    assert!(!over.advance(at("11:00:00")), "its time is over");
}

#[test]
fn nothing_is_planned_for_after_the_end() {
    let approval = opened(|checked| checked.expires_at = Some(at("10:15:00")));
    assert_eq!(approval.expires_at(), at("10:15:00"));
    assert_eq!(approval.reminders(), [at("10:10:00")]);
    assert!(approval.escalation().is_empty());
}

#[test]
fn with_open_hours_the_seconds_count_from_when_the_intent_was_stored() {
    let approval = opened(|checked| {
        checked.requested_at = at("09:59:00");
        checked.ask.as_mut().unwrap().business_hours = vec!["office".to_owned()];
    });
    assert_eq!(approval.expires_at(), at("10:59:00"));
    assert_eq!(approval.reminders()[0], at("10:09:00"));
    assert_eq!(approval.asked_from(), Some(at("09:59:00")));
    let asked = approval.requested(&str::to_owned);
    assert_eq!(asked.business_hours, ["office"]);
    assert_eq!(asked.expires_at, approval.expires_at());
}

#[test]
fn people_are_shown_what_comes_and_the_digest_covers_it() {
    let approval = open();
    let view = approval.view();
    assert_eq!((view.escalation.len(), view.reminders.len()), (2, 3));
    assert_eq!(view.digest().unwrap(), approval.digest());
    let without = opened(|checked| checked.ask.as_mut().unwrap().escalation.clear());
    assert_ne!(without.digest(), approval.digest());
    let hours = opened(|c| c.ask.as_mut().unwrap().business_hours = vec!["office".to_owned()]);
    assert_ne!(hours.digest(), approval.digest());
    // What has come changes nothing of what is voted on.
    let mut later = open();
    later.advance(at("10:45:00"));
    assert_eq!(later.view().digest().unwrap(), approval.digest());
    let plain = serde_json::to_string(
        &opened(|c| {
            let ask = c.ask.as_mut().unwrap();
            ask.escalation.clear();
            ask.remind_after_s.clear();
        })
        .view(),
    )
    .unwrap();
    assert!(!plain.contains("escalation") && !plain.contains("reminders"));
}

#[test]
fn a_value_of_before_there_were_timetables_is_read() {
    let approval = Approval::open(&checked(), at("10:00:00")).unwrap();
    let mut value = serde_json::to_value(&approval).unwrap();
    value.as_object_mut().unwrap().remove("timetable");
    let read: Approval = serde_json::from_value(value).unwrap();
    assert_eq!(read.next_due(), approval.next_due());
    assert_eq!(read.view().digest().unwrap(), approval.digest());
    assert!(read.may_vote(&person("lee"), &company(), at("10:05:00")));
}

#[test]
fn an_unknown_state_is_no_approval() {
    let mut value = serde_json::to_value(open()).unwrap();
    for state in ["granted", "Approved", "", "approved "] {
        value["state"] = serde_json::json!(state);
        let read: Result<Approval, _> = serde_json::from_value(value.clone());
        assert!(read.is_err(), "{state}");
    }
}

proptest! {
    /// Whatever is triggered when, and wherever a coordinator dies: each step is told, at
    /// most once where it was noted as told, and none before its time.
    #[test]
    fn triggers_may_come_often_late_and_between_crashes(
        triggers in proptest::collection::vec((0_u64..4_000, any::<bool>()), 0..30),
    ) {
        let mut approval = open();
        let mut told: Vec<String> = Vec::new();
        let mut latest = 0;
        for (second, dies) in triggers {
            latest = latest.max(second);
            let now = at("10:00:00").plus(std::time::Duration::from_secs(second));
            approval.advance(now);
            let notices = words(&approval);
            if dies {
                continue;
            }
            told.extend(notices);
            approval.note_told();
        }
        let mut once = told.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), told.len(), "{:?}", told);
        prop_assert!(latest >= 900 || !told.contains(&"heads".to_owned()));
        prop_assert!(latest >= 600 || told.is_empty());
    }
}
