//! Waiting for what becomes of an order.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_runtime::bus::Bus;
use countersign_schemas::events::{ControlApplied, ControlDone, ControlRefused, FreezeScope};
use countersign_schemas::{Address, PersonId, SeqToken};

use crate::client::{Awaited, Live, Received, last_by_subject, listen, until};
use crate::exit::CliError;

/// Where answers come.
const SUBJECTS: [&str; 3] = ["control.applied.>", "control.done.>", "control.refused.>"];

/// What became of an order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// It is complete.
    Done {
        /// The counts.
        done: ControlDone,
    },
    /// It is in force, and not complete yet.
    Applied,
    /// It is stored, and nobody answered it yet.
    Stored,
    /// It is refused.
    Refused(ControlRefused),
}

/// Answers as they come.
pub(super) struct Answers {
    bus: Bus,
    live: Live,
}

impl Answers {
    /// Listens; before the order is sent, so that no answer is missed.
    pub(super) async fn start(bus: &Bus) -> Result<Self, CliError> {
        Ok(Self {
            bus: bus.clone(),
            live: listen(bus, SUBJECTS).await?,
        })
    }

    /// Waits until the order at `sequence` is complete or refused.
    pub(super) async fn until(
        &mut self,
        sequence: u64,
        given: Given<'_>,
        wait: Duration,
    ) -> Outcome {
        let mut order = Order {
            sequence,
            given,
            token: None,
            early: BTreeMap::new(),
        };
        let mut asked = Asked {
            bus: &self.bus,
            order: &mut order,
        };
        let outcome = until(&mut self.live, &mut asked, wait).await;
        outcome.unwrap_or(match order.token {
            Some(_) => Outcome::Applied,
            None => Outcome::Stored,
        })
    }
}

/// An order with the log that holds its answers.
struct Asked<'a, 'o> {
    bus: &'a Bus,
    order: &'a mut Order<'o>,
}

impl Awaited for Asked<'_, '_> {
    type Answer = Outcome;

    fn hears(&mut self, message: &Received) -> Option<Outcome> {
        self.order.hears(message)
    }

    async fn look(&mut self) -> Option<Outcome> {
        let mut outcome = None;
        for filter in self.order.filters() {
            let found = last_by_subject(self.bus, &filter).await;
            let heard = found
                .unwrap_or_default()
                .and_then(|found| self.hears(&found));
            outcome = outcome.or(heard);
        }
        outcome
    }
}

/// What was said, and by whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) frozen: bool,
    pub(super) operator: &'a PersonId,
    pub(super) scope: &'a FreezeScope,
}

impl Given<'_> {
    fn is(&self, applied: &ControlApplied) -> bool {
        applied.frozen == self.frozen
            && applied.operator == *self.operator
            && applied.scope == *self.scope
    }
}

/// The order that is waited for.
struct Order<'a> {
    sequence: u64,
    given: Given<'a>,
    /// Its place, once known: the sequence alone might be one of an earlier life.
    token: Option<SeqToken>,
    /// Completions that came before it was: subscriptions are not ordered among each other.
    early: BTreeMap<SeqToken, ControlDone>,
}

impl Order<'_> {
    fn filters(&self) -> Vec<String> {
        let sequence = self.sequence;
        match &self.token {
            Some(token) => vec![format!("control.done.{token}")],
            None => vec![
                format!("control.refused.*.{sequence}"),
                format!("control.applied.*.{sequence}"),
            ],
        }
    }

    fn hears(&mut self, message: &Received) -> Option<Outcome> {
        match &message.address {
            Address::ControlApplied { seq } if seq.seq == self.sequence => {
                let applied: ControlApplied = message.event()?;
                if !self.given.is(&applied) {
                    return None;
                }
                self.token = Some(seq.clone());
                let done = self.early.remove(seq)?;
                Some(Outcome::Done { done })
            }
            Address::ControlDone { seq } if seq.seq == self.sequence => {
                let done = message.event()?;
                if self.token.as_ref() == Some(seq) {
                    return Some(Outcome::Done { done });
                }
                self.early.insert(seq.clone(), done);
                None
            }
            Address::ControlRefused { seq } if seq.seq == self.sequence => {
                let refused: ControlRefused = message.event()?;
                (refused.person == *self.given.operator).then_some(Outcome::Refused(refused))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::golden;
    use countersign_schemas::{Event, headers};

    fn at<E: Event>(address: Address, event: &E) -> Received {
        Received::for_test(address, &headers::ce_type::<E>(), event)
    }

    fn token(life: &str, seq: u64) -> SeqToken {
        SeqToken::new(life.parse().unwrap(), seq)
    }

    #[test]
    fn only_the_completion_of_this_very_order_counts() {
        let applied: ControlApplied = golden();
        let done: ControlDone = golden();
        let mut order = Order {
            sequence: 7,
            given: Given {
                frozen: applied.frozen,
                operator: &applied.operator,
                scope: &applied.scope,
            },
            token: None,
            early: BTreeMap::new(),
        };
        let done_at = |seq: SeqToken| at(Address::ControlDone { seq }, &done);
        assert_eq!(
            order.hears(&done_at(token("old", 7))),
            None,
            "its place is not known"
        );
        let other = ControlApplied {
            operator: "kim".parse().unwrap(),
            ..applied.clone()
        };
        let contrary = ControlApplied {
            frozen: !applied.frozen,
            ..applied.clone()
        };
        for (seq, event) in [
            (token("abc", 8), &applied),
            (token("old", 7), &other),
            (token("old", 7), &contrary),
        ] {
            assert_eq!(
                order.hears(&at(Address::ControlApplied { seq }, event)),
                None
            );
            assert_eq!(order.token, None);
        }
        let seq = token("abc", 7);
        assert_eq!(
            order.hears(&at(Address::ControlApplied { seq }, &applied)),
            None
        );
        assert_eq!(order.filters(), ["control.done.abc.7"]);
        assert_eq!(order.hears(&done_at(token("old", 7))), None);
        let ended = order.hears(&done_at(token("abc", 7)));
        assert_eq!(ended, Some(Outcome::Done { done: done.clone() }));
        // The completion may come first.
        order.token = None;
        assert_eq!(order.hears(&done_at(token("abc", 7))), None);
        let seq = token("abc", 7);
        let ended = order.hears(&at(Address::ControlApplied { seq }, &applied));
        assert_eq!(ended, Some(Outcome::Done { done }));
    }

    #[test]
    fn a_refusal_of_somebody_else_is_not_ours() {
        let refused: ControlRefused = golden();
        let scope = FreezeScope::default();
        let seq = token("abc", 7);
        let message = at(Address::ControlRefused { seq }, &refused);
        for (operator, ours) in [
            (refused.person.clone(), true),
            ("kim".parse().unwrap(), false),
        ] {
            let mut order = Order {
                sequence: 7,
                given: Given {
                    frozen: true,
                    operator: &operator,
                    scope: &scope,
                },
                token: None,
                early: BTreeMap::new(),
            };
            assert_eq!(order.hears(&message).is_some(), ours);
        }
    }
}
