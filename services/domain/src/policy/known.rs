//! What a judgement may have to know beyond the intent and the bundle.
//!
//! Deciding reads nothing itself. Where it needs a fact it says so with a [`Wish`]; the
//! service learns it and judges again. Most intents wish for nothing, and nothing is read
//! on their path.

use std::time::Duration;

use countersign_schemas::events::Charge;
use countersign_schemas::{JsonObject, Token};
use serde::Deserialize as _;
use serde_json::Value;

use super::approved::Approved;
use super::labels::Holder;
use crate::ledger::{Answer, Order};

/// Something that a judgement needs and cannot know.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// What the agent has seen: the entries of the bucket of labels that say so.
    Labels(Holder),
    /// An entry of the bucket of facts, which no agent can write; `null` where there is
    /// none.
    Fact {
        /// The entry.
        key: String,
    },
    /// The answer of a guardrail outside.
    External {
        /// The service: it listens on `cs.guardrail.<name>`.
        name: Token,
        /// How long it has.
        deadline: Duration,
        /// What it is asked.
        body: JsonObject,
    },
    /// A part of a rate or budget, taken for this intent. It is wished for last, when
    /// nothing else stands against the intent; the answer is an
    /// [`Answer`](crate::ledger::Answer).
    Charge(Order),
}

impl Wish {
    /// Whether looking into it takes something.
    #[must_use]
    pub fn takes(&self) -> bool {
        match self {
            Self::Charge(_) => true,
            Self::Labels(_) | Self::Fact { .. } | Self::External { .. } => false,
        }
    }
}

/// What came of a wish: a value, or why there is none, in words and without any value of
/// the input.
pub type Learnt = Result<Value, String>;

/// What is known for one judgement.
#[derive(Debug, Clone, Default)]
pub struct Known {
    learnt: Vec<(Wish, Learnt)>,
    approval: Option<Approved>,
}

impl Known {
    /// Wishes that one judgement may have: each is a request to another machine.
    pub const WISHES_MAX: usize = 32;

    /// That people have decided: the intent is judged again.
    #[must_use]
    pub fn after(approval: Option<Approved>) -> Self {
        Self {
            learnt: Vec::new(),
            approval,
        }
    }

    /// What people decided; `None` at the first judgement.
    #[must_use]
    pub fn approval(&self) -> Option<&Approved> {
        self.approval.as_ref()
    }

    /// Adds what came of a wish.
    pub fn learn(&mut self, wish: Wish, learnt: Learnt) {
        self.learnt.push((wish, learnt));
    }

    /// What came of a wish; `None` if nobody has asked yet.
    #[must_use]
    pub fn get(&self, wish: &Wish) -> Option<&Learnt> {
        let found = self.learnt.iter().find(|(known, _)| known == wish);
        found.map(|(_, learnt)| learnt)
    }

    /// What the intent holds of rates and budgets.
    #[must_use]
    pub fn charges(&self) -> Vec<Charge> {
        let held = |(wish, learnt): &(Wish, Learnt)| {
            let order = match wish {
                Wish::Charge(order) => order,
                Wish::Labels(_) | Wish::Fact { .. } | Wish::External { .. } => return None,
            };
            match Answer::deserialize(learnt.as_ref().ok()?).ok()? {
                Answer::Held { mark, .. } => Some(Charge {
                    ledger: order.ledger.to_string(),
                    amount: order.terms.amount.normalize().to_string(),
                    mark,
                }),
                Answer::Exceeded { .. } | Answer::Crowded | Answer::Closed => None,
            }
        };
        self.learnt.iter().filter_map(held).collect()
    }

    /// How many wishes were looked into.
    #[must_use]
    pub fn len(&self) -> usize {
        self.learnt.len()
    }

    /// Whether nothing was looked into.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.learnt.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{LedgerKey, Terms};
    use serde_json::json;

    #[test]
    fn a_wish_is_known_once_it_was_looked_into() {
        let mut known = Known::default();
        let of = |key: &str| Wish::Fact {
            key: key.to_owned(),
        };
        let labels = Wish::Labels(Holder::new(&"bot".parse().unwrap(), None));
        assert!(known.is_empty() && known.get(&labels).is_none());
        known.learn(of("a"), Ok(json!("C-1")));
        known.learn(of("b"), Err("no answer".to_owned()));
        assert_eq!(known.get(&of("a")), Some(&Ok(json!("C-1"))));
        assert!(known.get(&of("b")).unwrap().is_err());
        assert_eq!((known.get(&of("c")), known.len()), (None, 2));
    }

    #[test]
    fn only_parts_that_are_held_are_charges() {
        let order = |name: &str, amount: &str| {
            let start = countersign_schemas::Timestamp::EPOCH;
            let (name, hour) = (name.parse().unwrap(), Duration::from_secs(3_600));
            Order {
                ledger: LedgerKey::new("budget", &name, hour, start, &[]),
                terms: Terms {
                    amount: amount.parse().unwrap(),
                    limit: 100.into(),
                    beyond: true,
                },
                ends_at: start.plus(hour),
            }
        };
        let mut known = Known::default();
        let answers = [
            ("held", json!({"answer": "held", "mark": 7, "over": false})),
            ("over", json!({"answer": "held", "mark": 8, "over": true})),
            ("full", json!({"answer": "exceeded", "used": "99"})),
            ("odd", json!({"mark": 9})),
        ];
        for (name, answer) in answers {
            known.learn(Wish::Charge(order(name, "12.50")), Ok(answer));
        }
        let away = Err("no answer".to_owned());
        known.learn(Wish::Charge(order("away", "1")), away);
        let charges = known.charges();
        let held: Vec<_> = charges
            .iter()
            .map(|charge| (charge.amount.as_str(), charge.mark))
            .collect();
        assert_eq!(held, [("12.5", 7), ("12.5", 8)]);
        assert_eq!(charges[0].ledger, order("held", "1").ledger.to_string());
    }
}
