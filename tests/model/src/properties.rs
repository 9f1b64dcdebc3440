//! What must hold in every state, told from the log, the runs and what people did, never from
//! what a service believes.

use countersign_schemas::events::{ApprovalState, Verdict, VoteChoice};
use stateright::Property;

use crate::fixtures::{REQUESTER, TEAM};
use crate::protocol::Protocol;
use crate::scenario::Scenario;
use crate::state::{Delivery, Input, Message, NO_CHAIN, Said, State};

/// Every property: promises, and things that can happen, so that a promise does not hold
/// only because nothing does.
pub(crate) fn all(scenario: &Scenario) -> Vec<Property<Protocol>> {
    let mut all = vec![
        Property::always("one decision", one_decision),
        Property::always("one end of an approval", one_end),
        Property::always("no run without approval", no_run_without_approval),
        Property::always("one run", one_run),
        Property::always("freeze wins", freeze_wins),
        Property::always("window never exceeded", window_never_exceeded),
        Property::always("every approved intent ends", every_approved_intent_ends),
        Property::sometimes("something runs", something_runs),
        Property::sometimes("something is not run", nothing_runs),
    ];
    if scenario.window && scenario.withdrawal {
        all.push(Property::sometimes("a use is free again", used_again));
    }
    all
}

fn something_runs(_: &Protocol, state: &State) -> bool {
    !state.runs.is_empty()
}

fn used_again(protocol: &Protocol, state: &State) -> bool {
    let by_window = intents(protocol).filter(|intent| {
        let decided = state.chain(*intent).next();
        decided.is_some_and(|(_, entry)| protocol.steps.is_by_window(entry.said, *intent))
    });
    by_window.count() > 1
}

fn nothing_runs(protocol: &Protocol, state: &State) -> bool {
    protocol.is_over(state) && state.runs.is_empty()
}

fn intents(protocol: &Protocol) -> impl Iterator<Item = u8> + use<> {
    0..u8::try_from(protocol.scenario.intents.len()).expect("a small world")
}

/// Each chain is a decision, then a claim or a revocation, then an end of the claim.
fn one_decision(protocol: &Protocol, state: &State) -> bool {
    intents(protocol).all(|intent| {
        let mut before = None;
        state.chain(intent).all(|(_, entry)| {
            let follows = match (before, entry.said) {
                (None, said) => said.is_decision(),
                (Some(Said::Approved(_)), Said::Started(_) | Said::Revoked(_)) => true,
                (Some(Said::Started(_)), Said::Completed(_)) => true,
                (Some(_), _) => false,
            };
            before = Some(entry.said);
            follows
        })
    })
}

/// An approval that ended stays ended as it did.
fn one_end(protocol: &Protocol, state: &State) -> bool {
    intents(protocol).all(|intent| {
        let intent = usize::from(intent);
        match (state.approvals[intent], state.ends[intent]) {
            (Some(cell), Some(first)) => {
                protocol.steps.end(cell.value) == protocol.steps.end(first)
            }
            _ => true,
        }
    })
}

/// Whatever ran was approved before, with exactly this input, was claimed before, and where
/// people were asked enough of them said yes in time to what they were shown.
fn no_run_without_approval(protocol: &Protocol, state: &State) -> bool {
    state.runs.iter().all(|run| {
        let before = state.chain(run.intent).filter(|(seq, _)| *seq < run.claim);
        let said: Vec<Said> = before.map(|(_, entry)| entry.said).collect();
        let [approved @ Said::Approved(_)] = said[..] else {
            return false;
        };
        let claimed = state.entry(run.claim).map(|entry| entry.said);
        run.input == Input::Judged
            && matches!(claimed, Some(Said::Started(_)))
            && protocol.steps.permits_the_judged(approved, run.intent)
            && granted(protocol, state, run.intent)
    })
}

/// Whether enough people granted it, counted anew from the votes that were cast.
fn granted(protocol: &Protocol, state: &State, intent: u8) -> bool {
    let scenario = &protocol.scenario;
    let decided = state.chain(intent).next();
    let by_window =
        decided.is_some_and(|(_, entry)| protocol.steps.is_by_window(entry.said, intent));
    if scenario.intents[usize::from(intent)] != Verdict::Ask || by_window {
        return true;
    }
    let voters = (0..).zip(&scenario.voters).filter(|(number, voter)| {
        let cast = |wanted| {
            let sent = (0..).zip(&state.inbox);
            let mut sent = sent.filter(|(at, _)| protocol.message(*at) == wanted);
            sent.any(|(_, delivery)| *delivery != Delivery::Unsent && delivery.stored_at() == 0)
        };
        voter.choice == VoteChoice::Approve
            && voter.saw_it
            && voter.name != REQUESTER
            && TEAM.contains(&voter.name)
            && cast(Message::Vote(*number))
    });
    let yes = voters.count();
    let approved = state.ends[usize::from(intent)].map(|end| protocol.steps.end(end));
    yes >= usize::try_from(scenario.quorum).expect("a small quorum")
        && approved == Some(ApprovalState::Approved)
}

/// No intent runs twice.
fn one_run(protocol: &Protocol, state: &State) -> bool {
    intents(protocol).all(|intent| {
        let runs = state.runs.iter().filter(|run| run.intent == intent);
        runs.count() <= 1
    })
}

/// Nothing runs whose claim lies behind a freeze in the log, unless that was released before
/// it was decided.
fn freeze_wins(_: &Protocol, state: &State) -> bool {
    state.runs.iter().all(|run| {
        let mut orders = state.chain(NO_CHAIN).filter(|(seq, _)| *seq < run.claim);
        let frozen = orders.find(|(_, entry)| matches!(entry.said, Said::Frozen(_)));
        let released = orders.find(|(_, entry)| matches!(entry.said, Said::Released(_)));
        let decided = state.chain(run.intent).next().map_or(0, |(seq, _)| seq);
        match (frozen, released) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some((released, _))) => released < decided,
        }
    })
}

/// A window with one use has no two intents that it decided and that were not taken back
/// before they ran.
fn window_never_exceeded(protocol: &Protocol, state: &State) -> bool {
    let used = intents(protocol).filter(|intent| {
        let mut chain = state.chain(*intent).map(|(_, entry)| entry.said);
        let decided = chain.next();
        let revoked = chain
            .next()
            .is_some_and(|said| matches!(said, Said::Revoked(_)));
        decided.is_some_and(|said| protocol.steps.is_by_window(said, *intent)) && !revoked
    });
    used.count() <= 1
}

/// When nothing is left to happen, every intent that was judged has its end.
fn every_approved_intent_ends(protocol: &Protocol, state: &State) -> bool {
    !protocol.is_quiet(state) || protocol.is_over(state)
}
