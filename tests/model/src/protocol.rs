//! The model: what can happen in a state, and what state that leads to.

use countersign_schemas::events::Verdict;
use stateright::{Model, Property};

use crate::actions::{Action, Ending};
use crate::coordinator::Coordinator;
use crate::executor::Executor;
use crate::properties;
use crate::scenario::{Mutation, Scenario};
use crate::shelf::Ref;
use crate::state::{Cell, Delivery, Entry, Input, Message, NO_CHAIN, Said, State};
use crate::steps::{Seen, Steps};

/// How often the clock ticks when nothing else is left to happen: permits, claims and asks
/// are over after one, and their ends after the next.
const LAST_TICKS: u8 = 3;

/// The protocol in one small world, whole or without one of its safeguards.
#[derive(Debug)]
pub struct Protocol {
    pub(crate) scenario: Scenario,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) steps: Steps,
    messages: Vec<Message>,
}

impl Protocol {
    /// The protocol in `scenario`, without the safeguard `mutation`.
    #[must_use]
    pub fn new(scenario: Scenario, mutation: Option<Mutation>) -> Self {
        let count = |n: usize| u8::try_from(n).expect("a small world");
        let intents = 0..count(scenario.intents.len());
        let asks = |n: &u8| scenario.intents[usize::from(*n)] == Verdict::Ask;
        let mut messages: Vec<Message> = intents.clone().map(Message::Verdict).collect();
        messages.extend((0..count(scenario.voters.len())).map(Message::Vote));
        messages.extend(intents.clone().filter(asks).map(Message::Deadline));
        let orders = [true, false].map(Message::Order);
        messages.extend(scenario.freeze.then_some(orders).into_iter().flatten());
        messages.extend(scenario.withdrawal.then_some(Message::Withdrawal(0)));
        messages.extend(intents.map(Message::Approved));
        Self {
            steps: Steps::new(&scenario, mutation),
            scenario,
            mutation,
            messages,
        }
    }

    pub(crate) fn message(&self, number: u8) -> Message {
        self.messages[usize::from(number)]
    }

    fn numbered(&self) -> impl Iterator<Item = (u8, Message)> {
        let numbers = 0..u8::try_from(self.messages.len()).expect("a small world");
        numbers.zip(self.messages.iter().copied())
    }

    /// Stores a message on a chain whose last sequence is `expected`; its sequence.
    pub(crate) fn append(
        &self,
        state: &mut State,
        intent: u8,
        said: Said,
        expected: u8,
    ) -> Option<u8> {
        let fits = state.last(intent) == expected;
        if !fits && self.mutation != Some(Mutation::ChainWithoutCas) {
            return None;
        }
        let at = state.now;
        state.log.push(Entry { intent, said, at });
        if let Said::Approved(_) = said {
            let told = self
                .numbered()
                .find(|(_, one)| *one == Message::Approved(intent));
            let (told, _) = told.expect("a message for each intent");
            state.inbox[usize::from(told)] = Delivery::Waiting(at);
        }
        Some(u8::try_from(state.log.len()).expect("a short log"))
    }

    /// Stores a message of its own subject, once.
    pub(crate) fn say(&self, state: &mut State, said: Said) {
        let known = state.chain(NO_CHAIN).any(|(_, entry)| entry.said == said);
        if !known {
            let (intent, at) = (NO_CHAIN, state.now);
            state.log.push(Entry { intent, said, at });
        }
    }

    /// Replaces an approval that has this revision; the new one.
    pub(crate) fn put(
        &self,
        state: &mut State,
        intent: u8,
        value: Ref,
        revision: u8,
    ) -> Option<u8> {
        let cell = state.approvals[usize::from(intent)].expect("only what is there is replaced");
        let fits = cell.revision == revision;
        if !fits && self.mutation != Some(Mutation::BucketWithoutCas) {
            return None;
        }
        let (before, revision) = (Some(cell.value), cell.revision + 1);
        state.approvals[usize::from(intent)] = Some(Cell {
            value,
            before,
            revision,
        });
        if state.ends[usize::from(intent)].is_none() && !self.steps.is_pending(value) {
            state.ends[usize::from(intent)] = Some(value);
        }
        Some(revision)
    }

    /// What the services and the scheduler do by themselves.
    fn own_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let idle = state.coordinators.contains(&Coordinator::Idle);
        for (number, message) in self.numbered() {
            match (message, state.inbox[usize::from(number)]) {
                (Message::Deadline(intent), Delivery::Unsent)
                    if state.now > 0 && state.approvals[usize::from(intent)].is_some() =>
                {
                    actions.push(Action::Send(number));
                }
                (Message::Approved(_), Delivery::Waiting(_)) => {
                    let free = state.executor == Executor::Idle;
                    actions.extend(free.then_some(Action::Execute(number, Input::Judged)));
                }
                (_, Delivery::Waiting(_)) if idle => {
                    actions.push(Action::Deliver(number));
                    let ordered = state.chain(NO_CHAIN).next().is_some();
                    if ordered && matches!(message, Message::Verdict(_)) {
                        actions.push(Action::DeliverBehind(number));
                    }
                }
                _ => {}
            }
        }
        for (which, one) in (0..).zip(&state.coordinators) {
            if *one != Coordinator::Idle {
                actions.push(Action::Coordinate(which, Ending::Well));
            }
        }
        if state.executor != Executor::Idle {
            actions.push(Action::Proceed(Ending::Well));
        }
        if idle && let Some(freeze) = state.unfinished_freeze() {
            actions.push(Action::CarryOut(freeze));
        }
        let tending = |one: &Coordinator| {
            use crate::coordinator::Next;
            matches!(
                one,
                Coordinator::Busy(None, _, Next::Tend | Next::Use(..) | Next::Settled(..))
            )
        };
        // Each coordinator looks by itself; the one that waits in the model changes nothing.
        if idle && !state.coordinators.iter().any(tending) && self.window_waits(state) {
            actions.push(Action::Tend);
        }
        if idle && self.mutation != Some(Mutation::NoSweep) {
            let intents = 0..u8::try_from(self.scenario.intents.len()).expect("a small world");
            actions.extend(
                intents
                    .filter(|n| self.is_overdue(state, *n))
                    .map(Action::Sweep),
            );
        }
        let last = self.scenario.ticks + LAST_TICKS;
        if actions.is_empty() && state.now < last && !self.is_over(state) {
            actions.push(Action::Tick);
        }
    }

    fn is_overdue(&self, state: &State, intent: u8) -> bool {
        let Some((_, entry)) = state.chain(intent).next_back() else {
            return false;
        };
        let looked_at = Coordinator::Busy(
            None,
            intent,
            crate::coordinator::Next::Look(crate::coordinator::Why::Swept),
        );
        let open = matches!(
            self.steps.head(Some(entry.said), intent),
            Seen::Decided | Seen::Claimed
        );
        open && self.steps.due(entry.said, intent) <= state.now
            && !state.coordinators.contains(&looked_at)
    }

    /// Whether every intent has its end.
    pub(crate) fn is_over(&self, state: &State) -> bool {
        let intents = 0..u8::try_from(self.scenario.intents.len()).expect("a small world");
        intents.into_iter().all(|intent| {
            let last = state.chain(intent).next_back();
            let said = last.map(|(_, entry)| entry.said);
            self.steps.head(said, intent) == Seen::Over
        })
    }

    /// Whether nothing happens any more unless somebody from outside does something.
    pub(crate) fn is_quiet(&self, state: &State) -> bool {
        let mut own = Vec::new();
        self.own_actions(state, &mut own);
        own.is_empty()
    }

    /// What people, the agent and the clock may do.
    fn outside(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, message) in self.numbered() {
            let unsent = state.inbox[usize::from(number)] == Delivery::Unsent;
            // People vote on what they were asked.
            let sendable = match message {
                Message::Vote(_) => state.approvals[0].is_some(),
                Message::Withdrawal(_) | Message::Order(true) => true,
                // What is not frozen is not released.
                Message::Order(false) => state.chain(NO_CHAIN).next().is_some(),
                Message::Verdict(_) | Message::Deadline(_) | Message::Approved(_) => false,
            };
            if unsent && sendable {
                actions.push(Action::Send(number));
            }
        }
        if state.now < self.scenario.ticks && !actions.contains(&Action::Tick) {
            actions.push(Action::Tick);
        }
    }

    /// What may go wrong.
    fn mishaps_of(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, message) in self.numbered() {
            let delivery = state.inbox[usize::from(number)];
            if matches!(delivery, Delivery::InHand(_) | Delivery::Acked(_)) {
                actions.push(Action::Redeliver(number));
            }
            let waits = matches!(delivery, Delivery::Waiting(_));
            if waits && matches!(message, Message::Approved(_)) && state.executor == Executor::Idle
            {
                actions.push(Action::Execute(number, Input::Other));
            }
        }
        for (which, one) in (0..).zip(&state.coordinators) {
            if let Coordinator::Busy(_, intent, next) = *one {
                let endings = self.mishaps(state, next, intent).into_iter();
                actions.extend(endings.map(|ending| Action::Coordinate(which, ending)));
                actions.push(Action::KillCoordinator(which));
            }
        }
        if state.executor != Executor::Idle {
            let endings = self.executor_mishaps(state).into_iter();
            actions.extend(endings.map(Action::Proceed));
            actions.push(Action::KillExecutor);
        }
    }

    fn happens(&self, state: &mut State, action: Action) {
        match action {
            Action::Send(number) => {
                state.inbox[usize::from(number)] = Delivery::Waiting(state.now);
            }
            Action::Deliver(number) => self.take(state, number, false),
            Action::DeliverBehind(number) => self.take(state, number, true),
            Action::Tend => self.tend(state),
            Action::CarryOut(freeze) => self.carry_out(state, freeze),
            Action::Execute(number, found) => {
                let Message::Approved(intent) = self.message(number) else {
                    panic!("only decisions are executed");
                };
                self.execute(state, number, intent, found);
            }
            Action::Coordinate(which, ending) => self.coordinate(state, which, ending),
            Action::Proceed(ending) => self.proceed(state, ending),
            Action::Sweep(intent) => self.sweep(state, intent),
            Action::KillCoordinator(which) => kill_coordinator(state, which),
            Action::KillExecutor => self.kill_executor(state),
            Action::Redeliver(number) => {
                let at = state.inbox[usize::from(number)].stored_at();
                state.inbox[usize::from(number)] = Delivery::Waiting(at);
            }
            Action::Tick => state.now += 1,
        }
    }
}

fn kill_coordinator(state: &mut State, which: u8) {
    let one = &mut state.coordinators[usize::from(which)];
    if let Coordinator::Busy(Some(message), ..) = *one {
        let delivery = &mut state.inbox[usize::from(message)];
        if let Delivery::InHand(at) = *delivery {
            *delivery = Delivery::Waiting(at);
        }
    }
    *one = Coordinator::Idle;
}

/// Whether an action is one of the things that may go wrong.
fn is_mishap(action: Action) -> bool {
    match action {
        Action::Coordinate(_, ending) | Action::Proceed(ending) => ending != Ending::Well,
        Action::Execute(_, found) => found == Input::Other,
        Action::KillCoordinator(_) | Action::KillExecutor | Action::Redeliver(_) => true,
        Action::Send(_)
        | Action::Deliver(_)
        | Action::DeliverBehind(_)
        | Action::CarryOut(_)
        | Action::Tend
        | Action::Sweep(_)
        | Action::Tick => false,
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let intents = self.scenario.intents.len();
        let inbox = self.messages.iter().map(|message| match message {
            Message::Verdict(_) => Delivery::Waiting(0),
            _ => Delivery::Unsent,
        });
        vec![State {
            now: 0,
            faults: self.scenario.faults,
            log: Vec::new(),
            window: self.steps.window.map(|value| Cell {
                value,
                before: None,
                revision: 1,
            }),
            approvals: vec![None; intents],
            ends: vec![None; intents],
            inbox: inbox.collect(),
            coordinators: [Coordinator::Idle; 2],
            executor: Executor::Idle,
            runs: Vec::new(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.own_actions(state, actions);
        self.outside(state, actions);
        if state.faults > 0 {
            self.mishaps_of(state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        if is_mishap(action) {
            next.faults -= 1;
        }
        self.happens(&mut next, action);
        // Coordinators have no names: what differs only in which is which is one state.
        next.coordinators.sort_unstable();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(&self.scenario)
    }
}
