//! Which messages count, how the process ends on them, and what people read.

use countersign_schemas::headers::ce_type;

use super::*;
use crate::client::golden;

fn every_kind() -> Vec<IntentEvent> {
    vec![
        IntentEvent::Refused(golden()),
        IntentEvent::Approved(Box::new(golden())),
        IntentEvent::Started(golden()),
        IntentEvent::Blocked(Box::new(golden())),
        IntentEvent::Revoked(Box::new(golden())),
        IntentEvent::Completed(Box::new(golden())),
    ]
}

fn blocked() -> ToolBlocked {
    golden()
}

fn message(address: Address, named: &str) -> Received {
    Received::for_test(address, named, &blocked())
}

#[test]
fn a_message_counts_only_under_its_own_name() {
    let home = IntentEvent::Blocked(Box::new(blocked())).address();
    let named = ce_type::<ToolBlocked>();
    assert!(IntentEvent::read(&message(home.clone(), &named)).is_some());

    let other_agent = Address::ToolBlocked {
        agent: "crm".parse().unwrap(),
        intent: blocked().intent_id,
    };
    assert_eq!(IntentEvent::read(&message(other_agent, &named)), None);
    let other_kind = Address::ToolCompleted {
        agent: blocked().agent,
        intent: blocked().intent_id,
    };
    assert_eq!(IntentEvent::read(&message(other_kind, &named)), None);
    assert_eq!(
        IntentEvent::read(&message(home, "dev.countersign.tool.approved.v1")),
        None
    );
}

#[test]
fn every_end_has_its_exit() {
    let exits: Vec<_> = every_kind().iter().map(IntentEvent::exit).collect();
    let expected = [
        Some(Exit::Denied),
        None,
        None,
        Some(Exit::Expired),
        Some(Exit::Expired),
        Some(Exit::Done),
    ];
    assert_eq!(exits, expected);
    let of = |outcome| {
        let event = ToolCompleted {
            outcome,
            ..golden()
        };
        IntentEvent::Completed(Box::new(event)).exit()
    };
    assert_eq!(of(Outcome::Failed), Some(Exit::ToolFailed));
    assert_eq!(of(Outcome::Unknown), Some(Exit::OutcomeUnknown));
    let denied = ToolBlocked {
        code: BlockedCode::DeniedByPerson,
        ..blocked()
    };
    assert_eq!(
        IntentEvent::Blocked(Box::new(denied)).exit(),
        Some(Exit::Denied)
    );
}

#[test]
fn the_json_names_the_event_and_never_holds_a_permit() {
    for event in every_kind() {
        let value = event.to_json().unwrap();
        assert_eq!(value["event"], event.address().event());
        assert!(value.get("permit").is_none(), "{value}");
        assert_eq!(value["schema_version"], 1);
    }
}

#[test]
fn people_read_what_why_and_what_next() {
    let text: Vec<String> = every_kind().iter().map(IntentEvent::to_text).collect();
    insta::assert_snapshot!(text.join("\n"));
}
