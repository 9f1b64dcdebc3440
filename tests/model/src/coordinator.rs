//! One coordinator with one message in hand: what `approval-coordinator` does between two
//! steps. Two of them stand for two processes, or for two messages in one.

use countersign_schemas::events::RevokedCode;

use crate::actions::Ending;
use crate::protocol::Protocol;
use crate::shelf::Ref;
use crate::state::{Cell, Delivery, Message, NO_CHAIN, Said, State};
use crate::steps::{Change, Followed, Seen, Write};

/// What a coordinator is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Coordinator {
    /// Nothing.
    Idle,
    /// It works on a message (none in a sweep) about an intent, and this is its next step.
    Busy(Option<u8>, u8, Next),
}

/// The next step, which touches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Next {
    /// Create the approval, unless there is one.
    Create(Job, Ref),
    /// Read the approval.
    Read(Job),
    /// Replace the approval that had this revision.
    Keep(Job, Ref, u8),
    /// Read the head of the chain.
    Look(Why),
    /// Store the decision where nothing is decided; then replace the approval, noted as
    /// settled.
    Decide(Job, Said, Option<(Ref, u8)>),
    /// Replace the approval, noted as settled.
    Settle(Job, Ref, u8),
    /// Store what follows the message with this sequence.
    Extend(Said, u8),
    /// Read the window, to lift what is asked.
    Lift,
    /// Replace the window that had this revision; then decide under it.
    Take(Ref, u8),
    /// Store the decision under this window.
    DecideUnder(Ref),
    /// Read the window, to see to its end and uses.
    Tend,
    /// Read the head of the chain of the intent with this number, for the use that it may
    /// hold; the window as it will be, as it was, and its revision.
    Use(u8, Ref, Ref, u8),
    /// Replace the window that had this revision.
    Settled(Ref, u8),
    /// Store what must come first on the chain of the intent with this number; then read the
    /// window again.
    First(u8, Said, u8),
    /// Store an operator's order, once.
    Apply(bool),
    /// Revoke an intent that the freeze with this sequence covers.
    Stop(Said, u8, u8),
    /// Store that the freeze with this sequence is carried out, once.
    Done(u8),
}

/// What is being done to an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Job {
    /// It is opened.
    Ask,
    /// A vote is counted.
    Vote(u8),
    /// Its deadline came.
    Expire,
    /// Its agent withdrew it.
    Withdraw,
    /// It had ended before its agent withdrew it: what was approved is revoked.
    WithdrawLate,
    /// Its intent was decided before it was opened.
    Close,
}

/// Why the head of a chain is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Why {
    /// An approval was found open; its intent may have been decided on an earlier delivery.
    Asked(Ref, u8),
    /// Its agent withdrew it.
    Withdrawn,
    /// The same, once its approval is settled.
    Revoke,
    /// Its time is over.
    Swept,
    /// The freeze with this sequence covers it.
    Frozen(u8),
}

impl Protocol {
    /// Gives a message to a coordinator.
    pub(crate) fn take(&self, state: &mut State, message: u8, behind: bool) {
        let what = self.message(message);
        let (intent, next) = match what {
            Message::Verdict(intent) => {
                let known = state.orders(if behind { 0 } else { u8::MAX });
                let next = match self.steps.course_under(intent, state.now, known) {
                    Followed::Decide(said) => Next::Decide(Job::Ask, said, None),
                    Followed::Ask(_) if state.window.is_some() => Next::Lift,
                    Followed::Ask(approval) => Next::Create(Job::Ask, approval),
                };
                (intent, next)
            }
            Message::Vote(voter) => (0, Next::Read(Job::Vote(voter))),
            Message::Deadline(intent) => (intent, Next::Read(Job::Expire)),
            Message::Withdrawal(intent) => (intent, Next::Look(Why::Withdrawn)),
            Message::Order(frozen) => (NO_CHAIN, Next::Apply(frozen)),
            Message::Approved(_) => panic!("decisions go to the executor"),
        };
        let free = state
            .coordinators
            .iter_mut()
            .find(|one| **one == Coordinator::Idle);
        *free.expect("only an idle coordinator is given work") =
            Coordinator::Busy(Some(message), intent, next);
        let at = state.inbox[usize::from(message)].stored_at();
        state.inbox[usize::from(message)] = Delivery::InHand(at);
    }

    /// Has an idle coordinator carry out a freeze.
    pub(crate) fn carry_out(&self, state: &mut State, freeze: u8) {
        let free = state
            .coordinators
            .iter_mut()
            .find(|one| **one == Coordinator::Idle);
        *free.expect("only an idle coordinator is given work") =
            Coordinator::Busy(None, 0, Next::Look(Why::Frozen(freeze)));
    }

    /// Has an idle coordinator see to the window.
    pub(crate) fn tend(&self, state: &mut State) {
        let free = state
            .coordinators
            .iter_mut()
            .find(|one| **one == Coordinator::Idle);
        *free.expect("only an idle coordinator is given work") =
            Coordinator::Busy(None, 0, Next::Tend);
    }

    /// Has an idle coordinator look at an intent whose time is over.
    pub(crate) fn sweep(&self, state: &mut State, intent: u8) {
        let free = state
            .coordinators
            .iter_mut()
            .find(|one| **one == Coordinator::Idle);
        *free.expect("only an idle coordinator sweeps") =
            Coordinator::Busy(None, intent, Next::Look(Why::Swept));
    }

    /// The ways in which the next step of a coordinator can end, besides well.
    pub(crate) fn mishaps(&self, state: &State, next: Next, intent: u8) -> Vec<Ending> {
        match next {
            Next::Read(_) => match state.approvals[usize::from(intent)] {
                Some(Cell {
                    before: Some(_), ..
                }) => vec![Ending::Stale],
                _ => Vec::new(),
            },
            Next::Look(_) if state.last(intent) > 0 => vec![Ending::Stale],
            Next::Look(_) => Vec::new(),
            Next::Create(..) | Next::Keep(..) | Next::Settle(..) => {
                vec![Ending::LostAck, Ending::InFlight]
            }
            Next::Lift | Next::Tend => match state.window {
                Some(Cell {
                    before: Some(_), ..
                }) => vec![Ending::Stale],
                _ => Vec::new(),
            },
            Next::Use(other, ..) if state.last(other) > 0 => vec![Ending::Stale],
            Next::Use(..) => Vec::new(),
            Next::Take(..) | Next::Settled(..) => vec![Ending::LostAck, Ending::InFlight],
            Next::DecideUnder(_) | Next::First(..) => vec![Ending::LostAck],
            Next::Apply(_) | Next::Done(_) => vec![Ending::LostAck],
            // In flight it gives its message back, as if it had died before.
            Next::Decide(..) | Next::Extend(..) | Next::Stop(..) => vec![Ending::LostAck],
        }
    }

    /// Takes the next step of a coordinator.
    pub(crate) fn coordinate(&self, state: &mut State, which: u8, ending: Ending) {
        let Coordinator::Busy(message, intent, next) = state.coordinators[usize::from(which)]
        else {
            panic!("an idle coordinator takes no step");
        };
        let after = match next {
            Next::Create(job, value) => self.create(state, intent, (job, value), ending),
            Next::Read(job) => self.after_read(state, message, intent, job, ending),
            Next::Keep(job, value, revision) => {
                self.keep(state, intent, (job, value, revision), ending)
            }
            Next::Look(why) => self.after_look(state, intent, why, ending),
            Next::Decide(job, said, held) => {
                self.append(state, intent, said, 0);
                Some(match held {
                    Some((value, revision)) => Some(Next::Settle(job, value, revision)),
                    None if job == Job::Withdraw => Some(Next::Look(Why::Revoke)),
                    None => None,
                })
            }
            Next::Settle(job, value, revision) => {
                let settled = self.steps.change(value, Change::Settle, state.now);
                let settled = settled.expect("settling always changes something");
                if ending != Ending::InFlight {
                    self.put(state, intent, settled, revision);
                }
                Some((job == Job::WithdrawLate).then_some(Next::Look(Why::Revoke)))
            }
            Next::Extend(said, expected) => {
                self.append(state, intent, said, expected);
                Some(None)
            }
            Next::Stop(said, expected, freeze) => {
                self.append(state, intent, said, expected);
                Some(Some(Next::Look(Why::Frozen(freeze))))
            }
            Next::Lift
            | Next::Take(..)
            | Next::DecideUnder(_)
            | Next::Tend
            | Next::Use(..)
            | Next::Settled(..)
            | Next::First(..) => self.under_a_window(state, intent, next, ending),
            Next::Apply(frozen) => {
                self.say(state, self.steps.order(frozen));
                Some(None)
            }
            Next::Done(freeze) => {
                self.say(state, Said::Done(freeze));
                Some(None)
            }
        };
        let after = after.filter(|_| ending != Ending::LostAck);
        self.go_on(state, which, (message, intent), after);
    }

    /// Goes on with the next step, ends well without one, or gives the message back.
    fn go_on(
        &self,
        state: &mut State,
        which: u8,
        (message, intent): (Option<u8>, u8),
        after: Option<Option<Next>>,
    ) {
        let which = usize::from(which);
        state.coordinators[which] = match after {
            Some(Some(next)) => Coordinator::Busy(message, intent, next),
            Some(None) | None => Coordinator::Idle,
        };
        if let Some(message) = message {
            let delivery = &mut state.inbox[usize::from(message)];
            *delivery = match (*delivery, after) {
                (Delivery::InHand(at), Some(None)) => Delivery::Acked(at),
                (Delivery::InHand(at), None) => Delivery::Waiting(at),
                (other, _) => other,
            };
        }
    }

    fn create(
        &self,
        state: &mut State,
        intent: u8,
        (job, value): (Job, Ref),
        ending: Ending,
    ) -> Option<Option<Next>> {
        let free = state.approvals[usize::from(intent)].is_none();
        if !free || ending == Ending::InFlight {
            // Somebody else opened it, or so the server says.
            return state.approvals[usize::from(intent)].map(|_| Some(Next::Read(job)));
        }
        let (before, revision) = (None, 1);
        state.approvals[usize::from(intent)] = Some(Cell {
            value,
            before,
            revision,
        });
        Some(match job {
            Job::Withdraw => Some(Next::Read(job)),
            _ => Some(Next::Look(Why::Asked(value, revision))),
        })
    }

    fn keep(
        &self,
        state: &mut State,
        intent: u8,
        (job, value, revision): (Job, Ref, u8),
        ending: Ending,
    ) -> Option<Option<Next>> {
        let kept = match ending {
            Ending::InFlight => None,
            _ => self.put(state, intent, value, revision),
        };
        match (kept, job) {
            (Some(revision), _) => Some(self.settle(state, job, value, revision)),
            // It changed meanwhile: the message comes again and finds what stands there.
            (None, Job::Close) => None,
            (None, _) => Some(Some(Next::Read(job))),
        }
    }

    /// What follows from the end of an approval; nothing while it is pending, or once it is
    /// settled.
    fn settle(&self, state: &State, job: Job, value: Ref, revision: u8) -> Option<Next> {
        let late = || (job == Job::WithdrawLate).then_some(Next::Look(Why::Revoke));
        if self.steps.is_settled(value) {
            return late();
        }
        match self.steps.after_approval(value, state.now) {
            Some(said) => Some(Next::Decide(job, said, Some((value, revision)))),
            None => late(),
        }
    }

    fn after_read(
        &self,
        state: &State,
        message: Option<u8>,
        intent: u8,
        job: Job,
        ending: Ending,
    ) -> Option<Option<Next>> {
        let Some(cell) = state.approvals[usize::from(intent)] else {
            // A vote for nothing is refused; a withdrawal opens what it cancels.
            return Some(match (job, self.steps.course(intent, state.now)) {
                (Job::Withdraw, Followed::Ask(approval)) => Some(Next::Create(job, approval)),
                (Job::Withdraw, Followed::Decide(_)) => {
                    Some(Next::Decide(job, self.steps.withdrawn(intent), None))
                }
                _ => None,
            });
        };
        let (value, revision) = match (ending, cell.before) {
            (Ending::Stale, Some(before)) => (before, cell.revision - 1),
            _ => (cell.value, cell.revision),
        };
        let now = state.now;
        let changed = match job {
            Job::Vote(voter) => {
                let message = message.expect("a vote is a message");
                let cast_at = state.inbox[usize::from(message)].stored_at();
                let (after, changed) = self.steps.vote(value, voter, cast_at);
                changed.then_some(after)
            }
            Job::Expire => self.steps.change(value, Change::Expire, now),
            Job::Withdraw | Job::Close => self.steps.change(value, Change::Cancel, now),
            Job::WithdrawLate => None,
            Job::Ask if self.steps.is_pending(value) => {
                return Some(Some(Next::Look(Why::Asked(value, revision))));
            }
            Job::Ask => None,
        };
        Some(match (changed, job) {
            (Some(after), _) => Some(Next::Keep(job, after, revision)),
            (None, Job::Withdraw) => {
                let next = self.settle(state, Job::WithdrawLate, value, revision);
                next.or(Some(Next::Look(Why::Revoke)))
            }
            (None, _) => self.settle(state, job, value, revision),
        })
    }

    fn after_look(
        &self,
        state: &State,
        intent: u8,
        why: Why,
        ending: Ending,
    ) -> Option<Option<Next>> {
        let skipped = usize::from(ending == Ending::Stale);
        let last = state.chain(intent).rev().nth(skipped);
        let said = last.map(|(_, entry)| entry.said);
        let seq = last.map_or(0, |(seq, _)| seq);
        let seen = self.steps.head(said, intent);
        let follow = |write| {
            let said = said.expect("a head that is not empty");
            Some(Next::Extend(
                self.steps.after(said, intent, write, state.now),
                seq,
            ))
        };
        let overdue = || said.is_some_and(|said| self.steps.due(said, intent) <= state.now);
        Some(match (why, seen) {
            (Why::Asked(value, revision), Seen::Over) => {
                let closed = self.steps.change(value, Change::Cancel, state.now);
                closed.map(|closed| Next::Keep(Job::Close, closed, revision))
            }
            (Why::Asked(..), _) => None,
            (Why::Withdrawn | Why::Revoke, Seen::Decided) => {
                follow(Write::Revoke(RevokedCode::Withdrawn))
            }
            (Why::Withdrawn, Seen::Open) => Some(Next::Read(Job::Withdraw)),
            (Why::Withdrawn | Why::Revoke, _) => None,
            (Why::Swept, Seen::Decided) if overdue() => {
                follow(Write::Revoke(RevokedCode::PermitExpired))
            }
            (Why::Swept, Seen::Claimed) if overdue() => follow(Write::Unknown),
            (Why::Swept, _) => None,
            (Why::Frozen(freeze), _) => Some(match said {
                Some(said) if seq < freeze && self.steps.is_revoked_by_a_freeze(said, intent) => {
                    let write = Write::Revoke(RevokedCode::Frozen);
                    let said = self.steps.after(said, intent, write, state.now);
                    Next::Stop(said, seq, freeze)
                }
                _ => Next::Done(freeze),
            }),
        })
    }
}
