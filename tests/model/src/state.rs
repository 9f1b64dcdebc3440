//! One state of the modelled world.

use crate::shelf::Ref;

/// What a message on a chain says; its body is on the shelf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Said {
    /// `tool.approved`.
    Approved(Ref),
    /// `tool.blocked`.
    Blocked(Ref),
    /// `tool.started`.
    Started(Ref),
    /// `tool.revoked`.
    Revoked(Ref),
    /// `tool.completed`.
    Completed(Ref),
    /// `control.applied`: everything is frozen.
    Frozen(Ref),
    /// `control.applied`: it is released.
    Released(Ref),
    /// `control.done` of the freeze with this sequence.
    Done(u8),
}

/// In place of an intent, for what is on no intent's chain.
pub(crate) const NO_CHAIN: u8 = u8::MAX;

/// The orders of the operator that somebody knows, each with its sequence.
pub(crate) type Orders = [Option<(u8, Ref)>; 2];

impl Said {
    /// Its body.
    pub(crate) fn body(self) -> Ref {
        match self {
            Self::Approved(body)
            | Self::Blocked(body)
            | Self::Started(body)
            | Self::Revoked(body)
            | Self::Completed(body)
            | Self::Frozen(body)
            | Self::Released(body) => body,
            Self::Done(_) => panic!("it is never read"),
        }
    }

    /// Whether it is the decision on its intent.
    pub(crate) fn is_decision(self) -> bool {
        matches!(self, Self::Approved(_) | Self::Blocked(_))
    }
}

/// A stored message: the n-th of `CS_EVENTS` has the sequence n + 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    /// On whose chain.
    pub(crate) intent: u8,
    /// What it says.
    pub(crate) said: Said,
    /// When it was stored.
    pub(crate) at: u8,
}

/// The value of an approval in its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Cell {
    /// The value.
    pub(crate) value: Ref,
    /// The value before it, which a stale read gives.
    pub(crate) before: Option<Ref>,
    /// Counts from 1.
    pub(crate) revision: u8,
}

/// A message that a service must handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Message {
    /// `policy.checked` of an intent.
    Verdict(u8),
    /// A vote, by its number in the scenario.
    Vote(u8),
    /// The deadline of an approval.
    Deadline(u8),
    /// `tool.withdrawn`.
    Withdrawal(u8),
    /// An operator's order, to freeze or to release.
    Order(bool),
    /// `tool.approved`, for the executor.
    Approved(u8),
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Delivery {
    /// Nobody sent it yet.
    Unsent,
    /// It waits for a service, stored at that time.
    Waiting(u8),
    /// A service has it in hand.
    InHand(u8),
    /// It was acked.
    Acked(u8),
}

impl Delivery {
    /// When it was stored.
    pub(crate) fn stored_at(self) -> u8 {
        match self {
            Self::Unsent => 0,
            Self::Waiting(at) | Self::InHand(at) | Self::Acked(at) => at,
        }
    }
}

/// A worker was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    /// For which intent.
    pub(crate) intent: u8,
    /// With what.
    pub(crate) input: Input,
    /// Under which claim.
    pub(crate) claim: u8,
}

/// An input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// The one that was judged.
    Judged,
    /// Another one under the same id.
    Other,
}

/// A state of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) now: u8,
    /// How many things may still go wrong.
    pub(crate) faults: u8,
    pub(crate) log: Vec<Entry>,
    /// The window.
    pub(crate) window: Option<Cell>,
    /// By intent.
    pub(crate) approvals: Vec<Option<Cell>>,
    /// The first end that each approval had, to see that it has no other: a ghost, which no
    /// service reads.
    pub(crate) ends: Vec<Option<Ref>>,
    /// By message of the scenario.
    pub(crate) inbox: Vec<Delivery>,
    /// Sorted: coordinators have no names.
    pub(crate) coordinators: [crate::coordinator::Coordinator; 2],
    pub(crate) executor: crate::executor::Executor,
    pub(crate) runs: Vec<Run>,
}

impl State {
    /// The sequence of the last message on a chain; 0 where there is none.
    pub(crate) fn last(&self, intent: u8) -> u8 {
        self.chain(intent).last().map_or(0, |(seq, _)| seq)
    }

    /// The messages of a chain with their sequences.
    pub(crate) fn chain(&self, intent: u8) -> impl DoubleEndedIterator<Item = (u8, Entry)> {
        let all = self.log.iter().enumerate();
        all.filter(move |(_, entry)| entry.intent == intent)
            .map(|(index, entry)| (u8::try_from(index + 1).expect("a short log"), *entry))
    }

    /// The orders that lie before `seq` in the log.
    pub(crate) fn orders(&self, seq: u8) -> Orders {
        let mut orders = [None; 2];
        let before = self.chain(NO_CHAIN).filter(|(at, _)| *at < seq);
        let found = before.filter_map(|(at, entry)| match entry.said {
            Said::Frozen(body) | Said::Released(body) => Some((at, body)),
            _ => None,
        });
        for (place, order) in orders.iter_mut().zip(found) {
            *place = Some(order);
        }
        orders
    }

    /// The sequence of the freeze that no coordinator carried out yet.
    pub(crate) fn unfinished_freeze(&self) -> Option<u8> {
        let mut control = self.chain(NO_CHAIN);
        let (at, _) = control.find(|(_, entry)| matches!(entry.said, Said::Frozen(_)))?;
        let done = self
            .chain(NO_CHAIN)
            .any(|(_, entry)| entry.said == Said::Done(at));
        (!done).then_some(at)
    }

    /// The message with this sequence.
    pub(crate) fn entry(&self, seq: u8) -> Option<Entry> {
        let index = usize::from(seq).checked_sub(1)?;
        self.log.get(index).copied()
    }
}
