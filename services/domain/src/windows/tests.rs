//! What the tests of windows share.

mod lifts;
mod opening;
mod uses;

use countersign_schemas::events::{
    Change, CountedVote, Operation, PolicyChecked, VoteChoice, WindowLimits,
};
use countersign_schemas::{ApprovalId, IntentId};

use super::*;
use crate::approvals::fixtures::{at, checked, company, person};

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
