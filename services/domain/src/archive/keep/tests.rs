//! What each gate holds, and what it does not believe.

use super::*;

fn gates() -> Gates {
    Gates {
        archived: 50,
        handled: vec![("policy-checker".to_owned(), 60)],
        young: 60,
        open: Some((60, "x".to_owned())),
    }
}

#[test]
fn the_least_gate_holds_and_says_why() {
    type Change = fn(&mut Gates);
    let table: [(Change, u64, &str); 5] = [
        (|_| {}, 50, "not_archived"),
        (|gates| gates.archived = 0, 0, "not_archived"),
        (|gates| gates.handled[0].1 = 9, 10, "not_handled"),
        (|gates| gates.young = 10, 10, "too_young"),
        (|gates| gates.open = Some((10, "x".to_owned())), 10, "open"),
    ];
    for (change, from, code) in table {
        let mut gates = gates();
        change(&mut gates);
        let keep = gates.keep();
        assert_eq!((keep.from, keep.gate.code()), (from, code));
        assert!(Gate::CODES.contains(&code));
    }
}

#[test]
fn the_last_archived_message_stays() {
    let mut gates = gates();
    (gates.handled[0].1, gates.young, gates.open) = (99, 99, None);
    assert_eq!(gates.keep().from, 50);
}

const INTENT: &str = "01920000-0000-7000-8000-000000000001";
const OTHER: &str = "01920000-0000-7000-8000-000000000002";

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000).unwrap()
}

/// A message with its type: subject, type, body.
type Message = (String, String, Vec<u8>);

/// The golden sample of an event, about this intent of `billing`.
fn about(name: &str, intent: &str) -> Message {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/golden");
    let text = std::fs::read_to_string(format!("{path}/{name}/v1.json")).unwrap();
    let mut body: serde_json::Value = serde_json::from_str(&text).unwrap();
    body["intent_id"] = intent.into();
    body["agent"] = "billing".into();
    let subject = format!("{name}.billing.{intent}");
    let body = serde_json::to_vec(&body).unwrap();
    (subject, format!("dev.countersign.{name}.v1"), body)
}

fn window(name: &str) -> Message {
    let (_, ce_type, body) = about(name, INTENT);
    let mut body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    body.as_object_mut().unwrap().remove("intent_id");
    body["window_id"] = "w-abc-3".into();
    let subject = format!("{name}.billing.w-abc-3");
    (subject, ce_type, serde_json::to_vec(&body).unwrap())
}

fn order(subject: &str, frozen: bool) -> Message {
    let body = format!(
        r#"{{"schema_version":1,"frozen":{frozen},"scope":{{"agent":"billing"}},"operator":"olivia","reason":"x","applied_at":"2026-11-22T10:00:00Z"}}"#
    );
    let ce_type = "dev.countersign.control.applied.v1".to_owned();
    (subject.to_owned(), ce_type, body.into_bytes())
}

/// What is open after these messages, from sequence 5 on, stored at second 100.
fn open(messages: &[Message]) -> OpenWork {
    let mut work = OpenWork::default();
    for ((subject, ce_type, body), seq) in messages.iter().zip(5..) {
        let message = Last {
            subject,
            seq,
            ce_type: Some(ce_type),
            body,
        };
        work.take(&message, at(100));
    }
    work
}

/// The first event that stays, and the first request.
fn first(work: &OpenWork) -> (Option<u64>, Option<u64>) {
    let of = |stream| work.first(stream, at(0), at(0)).map(|(seq, _)| seq);
    (of(Stream::Events), of(Stream::Intents))
}

#[test]
fn an_intent_is_open_from_its_verdict_to_its_end() {
    let begun = [
        about("policy.checked", INTENT),
        about("tool.approved", INTENT),
    ];
    let checked: PolicyChecked = codec::decode(&begun[0].2).unwrap();
    let work = open(&begun);
    assert_eq!(first(&work), (Some(5), Some(checked.request.seq)));
    let (_, why) = work.first(Stream::Intents, at(0), at(0)).unwrap();
    assert!(why.contains(INTENT), "{why}");
    assert_eq!(work.first(Stream::Control, at(0), at(0)), None);
    let ceiling = at(101);
    assert_eq!(work.first(Stream::Events, ceiling, at(0)), None);
    for end in ["tool.blocked", "tool.revoked", "tool.completed"] {
        let ended = [begun[0].clone(), about(end, INTENT)];
        assert_eq!(first(&open(&ended)), (None, None), "{end}");
        let another = [begun[0].clone(), about(end, OTHER)];
        assert_eq!(first(&open(&another)).0, Some(5), "{end}");
    }
}

#[test]
fn a_freeze_holds_its_last_copy_and_a_window_its_opening_until_they_end() {
    let (one, again, later) = (
        "control.applied.abc.7",
        "control.applied.abc.7.1",
        "control.applied.abc.8",
    );
    let events = |messages: &[Message]| first(&open(messages)).0;
    assert_eq!(events(&[order(one, true)]), Some(5));
    assert_eq!(events(&[order(one, true), order(again, true)]), Some(6));
    assert_eq!(events(&[order(one, true), order(later, false)]), None);
    assert_eq!(events(&[window("window.opened")]), Some(5));
    let ended = [window("window.opened"), window("window.closed")];
    assert_eq!(events(&ended), None);
    let work = open(&[window("window.opened")]);
    assert_eq!(work.first(Stream::Events, at(101), at(0)), None);
}

/// An order that a dead coordinator had left is applied after a later one that overrules
/// it: with the later one gone, it would count.
#[test]
fn a_release_stays_while_an_order_that_it_overrules_lies_behind_it() {
    let late = [
        order("control.applied.abc.8", false),
        order("control.applied.abc.7", true),
    ];
    let work = open(&late);
    assert_eq!(first(&work).0, Some(5));
    assert_eq!(work.first(Stream::Events, at(0), at(101)), None);
    let frozen_again = [
        order("control.applied.abc.8", true),
        order("control.applied.abc.7", false),
    ];
    let work = open(&frozen_again);
    assert_eq!(
        work.first(Stream::Events, at(101), at(101)).unwrap().0,
        5,
        "the freeze is in force whatever its age"
    );
}

#[test]
fn foreign_bytes_hold_nothing_and_release_nothing() {
    let checked = about("policy.checked", INTENT);
    let strange = |message: Message| (message.0, "dev.countersign.x.v1".to_owned(), message.2);
    for foreign in [
        strange(about("tool.completed", INTENT)),
        (
            format!("tool.completed.billing.{INTENT}"),
            "dev.countersign.tool.completed.v1".to_owned(),
            about("tool.completed", OTHER).2,
        ),
    ] {
        assert_eq!(first(&open(&[checked.clone(), foreign])).0, Some(5));
    }
    let other_body = (
        checked.0.clone(),
        checked.1.clone(),
        about("policy.checked", OTHER).2,
    );
    for foreign in [
        strange(checked),
        other_body,
        strange(window("window.opened")),
        strange(order("control.applied.abc.7", true)),
        (
            "window.opened.billing.w-abc-4".to_owned(),
            "dev.countersign.window.opened.v1".to_owned(),
            window("window.opened").2,
        ),
    ] {
        assert_eq!(
            first(&open(std::slice::from_ref(&foreign))),
            (None, None),
            "{}",
            foreign.0
        );
    }
}

#[test]
fn what_a_newer_version_wrote_is_held() {
    let newer = |message: Message| (message.0, message.1.replace(".v1", ".v9"), message.2);
    let verdict = newer(about("policy.checked", INTENT));
    assert_eq!(first(&open(&[verdict])), (Some(5), Some(0)));
    let freeze = newer(order("control.applied.abc.7", true));
    assert_eq!(first(&open(&[freeze])).0, Some(5));
}
