//! From a whole bundle to what people are asked.

use std::time::Duration;

use countersign_schemas::Timestamp;
use countersign_schemas::events::{ApprovalKind, ApprovalState, Ask, PolicyChecked};

use super::super::approval::Approval;
use super::super::format::Form;
use super::super::item::Item;
use super::super::open::{ASK_LIFE_MAX, OpenError};
use super::super::schedule::{Timetable, earliest_start, starts};
use super::gathering::Gathering;
use crate::policy::AskRule;

impl Approval {
    /// The approval of a whole bundle of which something asks. People decide about every
    /// item that may run, also about those that policy allows by themselves.
    pub(super) fn of_bundle(bundle: &Gathering) -> Result<Self, OpenError> {
        let (_, first, _) = bundle.waiting().next().ok_or(OpenError::NotAnAsk)?;
        let asked_at = bundle.complete_at();
        let ask = merged(|| bundle.waiting().map(|(_, checked, _)| checked), asked_at);
        let items: Option<Vec<Item>> = bundle
            .waiting()
            .map(|(_, checked, _)| Item::new(checked))
            .collect();
        let approval = Self {
            schema_version: Form::default(),
            id: bundle.id(),
            kind: ApprovalKind::Bundle,
            agent: bundle.agent().clone(),
            requester: first.requester.clone(),
            purpose: first.purpose.clone(),
            items: items.ok_or(OpenError::UnknownTool)?,
            left_out: bundle.all_left_out().cloned().collect(),
            ask: ask.ok_or(OpenError::NotAnAsk)?,
            created_at: asked_at,
            expires_at: expires_at(bundle),
            timetable: Timetable::default(),
            digest: first.input_digest,
            window: None,
            votes: Vec::new(),
            state: ApprovalState::Pending,
            resolution: None,
            settled: false,
        };
        approval.ready()
    }
}

/// All asks as one: every team with its highest quorum, the shortest time, the strictest
/// channel, whoever is excluded by any. A bundle opens no window.
///
/// Each rule counts its times from its own moment. Made one they are counted from the
/// earliest, so each moves on by what lies between: nobody stands in earlier than the rule
/// of any item says.
fn merged<'a, I>(items: impl Fn() -> I, asked_at: Timestamp) -> Option<Ask>
where
    I: Iterator<Item = &'a PolicyChecked>,
{
    let from = earliest_start(items(), asked_at);
    let asks = || items().filter_map(|checked| Some((checked, checked.ask.as_ref()?)));
    let rule = AskRule::merge(asks().map(|(checked, ask)| {
        let own = starts(ask, checked.requested_at, asked_at);
        AskRule::of_ask(ask).moved_on(own.since(from))
    }))?;
    let rule = AskRule {
        window: None,
        ..rule
    };
    let excluded = asks().flat_map(|(_, ask)| &ask.excluded).cloned();
    Some(rule.to_ask(0, excluded.collect()))
}

/// Nobody has longer than the rule of any item says, counted from its own verdict, and
/// nobody is asked once no item could run any more.
fn expires_at(bundle: &Gathering) -> Timestamp {
    let latest = bundle.complete_at().plus(ASK_LIFE_MAX);
    let asked = bundle.waiting().filter_map(|(_, checked, stored_at)| {
        let ask = checked.ask.as_ref()?;
        Some(stored_at.plus(Duration::from_secs(ask.expires_in_s)))
    });
    let asked = asked.min().unwrap_or(latest).min(latest);
    let own: Option<Vec<Timestamp>> = bundle
        .waiting()
        .map(|(_, checked, _)| checked.expires_at)
        .collect();
    match own.and_then(|own| own.into_iter().max()) {
        Some(own) => asked.min(own),
        None => asked,
    }
}
