//! The executor with one decision in hand: what `tool-executor` does between two steps.

use crate::actions::Ending;
use crate::protocol::Protocol;
use crate::scenario::Mutation;
use crate::state::{Delivery, Input, Run, Said, State};
use crate::steps::{Examined, Write};

/// What the executor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Executor {
    /// Nothing.
    Idle,
    /// Store the claim on the decision with this sequence; then run this input.
    Claim(Work, Input),
    /// Store the revocation of the decision with this sequence.
    Revoke(Work, Said),
    /// The claim with this sequence, stored at that time, is ours: begin.
    Begin {
        intent: u8,
        decided: u8,
        claim: u8,
        at: u8,
        input: Input,
    },
    /// It ran; how it ended is not in the spool yet.
    Ran { intent: u8, claim: u8 },
    /// Store how it ended, which is in the spool.
    Report { intent: u8, claim: u8, said: Said },
}

/// A decision in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Work {
    message: u8,
    intent: u8,
    decision: Said,
    seq: u8,
}

impl Protocol {
    /// Gives a decision to the executor, which finds `found` as its request.
    pub(crate) fn execute(&self, state: &mut State, message: u8, intent: u8, found: Input) {
        let decided = state
            .chain(intent)
            .find(|(_, entry)| matches!(entry.said, Said::Approved(_)));
        let (seq, entry) = decided.expect("a decision that was delivered is stored");
        let work = Work {
            message,
            intent,
            decision: entry.said,
            seq,
        };
        state.executor = match self.steps.examine(entry.said, intent, found, state.now) {
            Examined::Run(input) => Executor::Claim(work, input),
            Examined::Refuse(said) => Executor::Revoke(work, said),
        };
        let at = state.inbox[usize::from(message)].stored_at();
        state.inbox[usize::from(message)] = Delivery::InHand(at);
    }

    /// The ways in which the executor's next step can end, besides well.
    pub(crate) fn executor_mishaps(&self, state: &State) -> Vec<Ending> {
        match state.executor {
            Executor::Claim(..) | Executor::Revoke(..) => vec![Ending::LostAck],
            // A report is repeated until it is heard; a claim's second try knows its own id.
            Executor::Idle
            | Executor::Begin { .. }
            | Executor::Ran { .. }
            | Executor::Report { .. } => Vec::new(),
        }
    }

    /// Takes the executor's next step.
    pub(crate) fn proceed(&self, state: &mut State, ending: Ending) {
        state.executor = match state.executor {
            Executor::Idle => panic!("an idle executor takes no step"),
            Executor::Claim(work, input) => self.claim(state, work, input, ending),
            Executor::Revoke(work, said) => {
                self.append(state, work.intent, said, work.seq);
                finish(state, work.message, ending);
                Executor::Idle
            }
            Executor::Begin {
                intent,
                decided,
                claim,
                at,
                input,
            } => {
                // Its own claim has come by in the log, and so has every order before it.
                let seen = match self.mutation {
                    Some(Mutation::NoFence) => decided,
                    _ => claim,
                };
                let known = state.orders(seen);
                let late = at < state.now;
                match self.steps.may_begin(known, intent, decided, late) {
                    Some(stop) => self.report(state, intent, claim, stop),
                    None => {
                        state.runs.push(Run {
                            intent,
                            input,
                            claim,
                        });
                        Executor::Ran { intent, claim }
                    }
                }
            }
            Executor::Ran { intent, claim } => self.report(state, intent, claim, Write::Done),
            Executor::Report {
                intent,
                claim,
                said,
            } => {
                // Lost only to the sweep: then it is told as a late outcome.
                self.append(state, intent, said, claim);
                Executor::Idle
            }
        };
    }

    fn claim(&self, state: &mut State, work: Work, input: Input, ending: Ending) -> Executor {
        let (intent, at) = (work.intent, state.now);
        let said = self.steps.after(work.decision, intent, Write::Claim, at);
        let stored = self.append(state, intent, said, work.seq);
        finish(state, work.message, ending);
        let claim = match stored {
            Some(claim) => claim,
            None if self.mutation == Some(Mutation::RunWithoutClaim) => work.seq,
            None => return Executor::Idle,
        };
        match ending {
            Ending::LostAck => Executor::Idle,
            Ending::Well | Ending::InFlight | Ending::Stale => Executor::Begin {
                intent,
                decided: work.seq,
                claim,
                at,
                input,
            },
        }
    }

    /// What is stored of the end of a claim; with the mutation that runs without one there
    /// may be nothing to tell.
    fn report(&self, state: &State, intent: u8, claim: u8, write: Write) -> Executor {
        match state.entry(claim).map(|entry| entry.said) {
            Some(started @ Said::Started(_)) => {
                let said = self.steps.after(started, intent, write, state.now);
                Executor::Report {
                    intent,
                    claim,
                    said,
                }
            }
            _ => Executor::Idle,
        }
    }

    /// Kills the executor: what is in its spool is there when it starts again.
    pub(crate) fn kill_executor(&self, state: &mut State) {
        if let Executor::Claim(work, _) | Executor::Revoke(work, _) = state.executor {
            finish(state, work.message, Ending::LostAck);
        }
        if !matches!(state.executor, Executor::Report { .. }) {
            state.executor = Executor::Idle;
        }
    }
}

/// Acks the message, or gives it back.
fn finish(state: &mut State, message: u8, ending: Ending) {
    let delivery = &mut state.inbox[usize::from(message)];
    if let Delivery::InHand(at) = *delivery {
        *delivery = match ending {
            Ending::LostAck => Delivery::Waiting(at),
            Ending::Well | Ending::InFlight | Ending::Stale => Delivery::Acked(at),
        };
    }
}
