//! What a judgement may have to know beyond the intent and the bundle.
//!
//! Deciding reads nothing itself. Where it needs a fact it says so with a [`Wish`]; the
//! service learns it and judges again. Most intents wish for nothing, and nothing is read
//! on their path.

use std::time::Duration;

use countersign_schemas::{JsonObject, Token};
use serde_json::Value;

use super::labels::Holder;

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
}

/// What came of a wish: a value, or why there is none, in words and without any value of
/// the input.
pub type Learnt = Result<Value, String>;

/// What is known for one judgement.
#[derive(Debug, Clone, Default)]
pub struct Known(Vec<(Wish, Learnt)>);

impl Known {
    /// Wishes that one judgement may have: each is a request to another machine.
    pub const WISHES_MAX: usize = 32;

    /// Adds what came of a wish.
    pub fn learn(&mut self, wish: Wish, learnt: Learnt) {
        self.0.push((wish, learnt));
    }

    /// What came of a wish; `None` if nobody has asked yet.
    #[must_use]
    pub fn get(&self, wish: &Wish) -> Option<&Learnt> {
        let found = self.0.iter().find(|(known, _)| known == wish);
        found.map(|(_, learnt)| learnt)
    }

    /// How many wishes were looked into.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was looked into.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
