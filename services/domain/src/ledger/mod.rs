//! Ledgers of `rate` and `budget`: what was taken in one window, and by which intents that
//! may still give it back.
//!
//! A ledger is one value under compare-and-set, its head. The head alone decides; open
//! intents that do not fit into it lie in pages, which never change once written, so that
//! a limit stays exact however many intents are open and whoever dies between two writes.
//!
//! INVARIANT: an entry counts for ever unless the stored verdict of its intent says that
//! it relies on another one, or its chain ends without a run. Nothing is given back before
//! a verdict is stored: until then, somebody may still store one that relies on it.

mod book;
mod fate;
mod key;
#[cfg(test)]
mod tests;

use countersign_schemas::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

pub use book::{Charged, Ending, Ledger, LedgerError, Page, PageKey, Pages, Terms};
pub use fate::{EntryFate, fate, fate_of_relied, relies_on};
pub use key::{Counted, Dimension, LedgerKey};

/// What a judgement wants to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// From which ledger.
    pub ledger: LedgerKey,
    /// How much, and by what it is measured.
    pub terms: Terms,
    /// When the window of the ledger ends.
    pub ends_at: Timestamp,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The intent holds its part.
    Held {
        /// The mark of its entry.
        mark: u64,
        /// Whether it goes over the limit.
        over: bool,
    },
    /// It does not fit.
    Exceeded {
        /// What is taken already.
        used: Decimal,
    },
    /// More intents are open than the ledger can hold.
    Crowded,
    /// The window ended so long ago that its ledger is closed.
    Closed,
}

impl From<Charged> for Answer {
    fn from(charged: Charged) -> Self {
        match charged {
            Charged::Fresh { mark, over } | Charged::Found { mark, over } => {
                Self::Held { mark, over }
            }
            Charged::Exceeded { used } => Self::Exceeded { used },
            Charged::Crowded => Self::Crowded,
        }
    }
}

impl Answer {
    /// What a ledger answers from which others have taken `used`, where no ledger can be
    /// asked: even of an empty one, an intent that would not fit then does not fit at all.
    #[must_use]
    pub fn of_used(used: Decimal, terms: Terms) -> Self {
        let total = used.checked_add(terms.amount);
        let over = total.is_none_or(|total| total > terms.limit);
        match over && !terms.beyond {
            true => Self::Exceeded { used },
            false => Self::Held { mark: 0, over },
        }
    }
}
