//! What a coordinator does with a window: lift an ask by it, and see to its end and uses.

use crate::actions::Ending;
use crate::coordinator::{Job, Next};
use crate::protocol::Protocol;
use crate::scenario::Mutation;
use crate::shelf::Ref;
use crate::state::{Cell, State};
use crate::steps::{Followed, Held, Taken};

impl Protocol {
    /// Takes a step that has to do with the window.
    pub(crate) fn under_a_window(
        &self,
        state: &mut State,
        intent: u8,
        next: Next,
        ending: Ending,
    ) -> Option<Option<Next>> {
        match next {
            Next::Lift => Some(self.lift(state, intent, ending)),
            Next::Take(value, revision) => match self.keep_window(state, value, revision, ending) {
                true => Some(Some(Next::DecideUnder(value))),
                false => Some(Some(Next::Lift)),
            },
            Next::DecideUnder(window) => {
                let said = self.steps.under_window(window, intent, state.now);
                self.append(state, intent, said, 0);
                Some(None)
            }
            Next::Tend => Some(self.look_at_the_window(state, ending)),
            Next::Use(other, after, before, revision) => {
                Some(self.look_at_a_use(state, other, (after, before, revision), ending))
            }
            Next::Settled(value, revision) => {
                match self.keep_window(state, value, revision, ending) {
                    true => Some(None),
                    false => Some(Some(Next::Tend)),
                }
            }
            Next::First(other, said, expected) => {
                self.append(state, other, said, expected);
                Some(Some(Next::Tend))
            }
            other => panic!("{other:?} has nothing to do with the window"),
        }
    }

    fn keep_window(&self, state: &mut State, value: Ref, revision: u8, ending: Ending) -> bool {
        let cell = state.window.expect("a window is never removed");
        let fits = cell.revision == revision && ending != Ending::InFlight;
        if fits || self.mutation == Some(Mutation::BucketWithoutCas) {
            let (before, revision) = (Some(cell.value), cell.revision + 1);
            state.window = Some(Cell {
                value,
                before,
                revision,
            });
            return true;
        }
        false
    }

    fn lift(&self, state: &State, intent: u8, ending: Ending) -> Option<Next> {
        let (value, revision) = read(state, ending);
        match self.steps.take(value, intent, state.now) {
            Taken::Now(window) if self.mutation == Some(Mutation::WindowWithoutSet) => {
                Some(Next::DecideUnder(window))
            }
            Taken::Now(window) => Some(Next::Take(window, revision)),
            Taken::Before => Some(Next::DecideUnder(value)),
            // What a window decided on an earlier delivery is not asked again.
            Taken::Not
                if state.last(intent) > 0 && state.approvals[usize::from(intent)].is_none() =>
            {
                None
            }
            Taken::Not => match self.steps.course(intent, state.now) {
                Followed::Ask(approval) => Some(Next::Create(Job::Ask, approval)),
                Followed::Decide(said) => Some(Next::Decide(Job::Ask, said, None)),
            },
        }
    }

    fn look_at_the_window(&self, state: &State, ending: Ending) -> Option<Next> {
        let (value, revision) = read(state, ending);
        match self.steps.expired(value, state.now) {
            Some(ended) => Some(Next::Settled(ended, revision)),
            None => Some(Next::Use(0, value, value, revision)),
        }
    }

    fn look_at_a_use(
        &self,
        state: &State,
        other: u8,
        (after, before, revision): (Ref, Ref, u8),
        ending: Ending,
    ) -> Option<Next> {
        let count = u8::try_from(self.scenario.intents.len()).expect("a small world");
        if other == count {
            return (after != before).then_some(Next::Settled(after, revision));
        }
        let skipped = usize::from(ending == Ending::Stale);
        let last = state.chain(other).rev().nth(skipped);
        let decision = state.chain(other).next().map(|(_, entry)| entry.said);
        let head = last.map(|(_, entry)| entry.said);
        let seq = last.map_or(0, |(seq, _)| seq);
        match self.steps.use_of(after, other, (head, decision), state.now) {
            Held::Settled(after) => Some(Next::Use(other + 1, after, before, revision)),
            Held::First(said) => Some(Next::First(other, said, seq)),
        }
    }

    /// Whether something about the window waits for a coordinator.
    pub(crate) fn window_waits(&self, state: &State) -> bool {
        let Some(Cell { value, .. }) = state.window else {
            return false;
        };
        if self.steps.expired(value, state.now).is_some() {
            return true;
        }
        let count = u8::try_from(self.scenario.intents.len()).expect("a small world");
        (0..count).any(|intent| {
            let mut chain = state.chain(intent).map(|(_, entry)| entry.said);
            let decision = chain.next();
            let head = state.chain(intent).next_back().map(|(_, entry)| entry.said);
            let held = self
                .steps
                .use_of(value, intent, (head, decision), state.now);
            held != Held::Settled(value)
        })
    }
}

fn read(state: &State, ending: Ending) -> (Ref, u8) {
    let cell = state.window.expect("a window is never removed");
    match (ending, cell.before) {
        (Ending::Stale, Some(before)) => (before, cell.revision - 1),
        _ => (cell.value, cell.revision),
    }
}
