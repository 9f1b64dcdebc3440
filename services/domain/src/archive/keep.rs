//! What must stay in a stream although it is archived: the least of four gates.
//!
//! A stream is purged from its beginning up to the first message that one of them holds.
//! Pure: the caller brings what the server, the manifest and the log say.

use std::collections::BTreeMap;
use std::fmt;

use countersign_schemas::events::{Event, FreezeScope, PolicyChecked, WindowClosed, WindowOpened};
use countersign_schemas::{
    Address, AgentId, IntentId, Stream, Timestamp, WindowId, codec, headers,
};

use crate::chain::{Head, Last};
use crate::freeze::{self, Effect, Freezes, Placed, Read};

/// Why a message stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// It is not in the archive yet, or is the last one there, which stays so that a
    /// restored stream is noticed.
    NotArchived,
    /// A service has not handled it.
    NotHandled(String),
    /// An id may still be used again, so its chain must be known.
    TooYoung,
    /// It belongs to something that goes on: an intent, a freeze, a window.
    Open(String),
}

impl Gate {
    /// A stable word, for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotArchived => "not_archived",
            Self::NotHandled(_) => "not_handled",
            Self::TooYoung => "too_young",
            Self::Open(_) => "open",
        }
    }

    /// Every word that [`Self::code`] gives.
    pub const CODES: [&'static str; 4] = ["not_archived", "not_handled", "too_young", "open"];
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotArchived => f.write_str("it is not archived yet"),
            Self::NotHandled(service) => write!(f, "{service} has not handled it yet"),
            Self::TooYoung => f.write_str("it is younger than the horizon and an hour"),
            Self::Open(what) => write!(f, "{what}"),
        }
    }
}

/// How far each gate lets a purge go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gates {
    /// The last archived sequence; 0 for none.
    pub archived: u64,
    /// Up to which sequence each of our services has handled what it takes.
    pub handled: Vec<(String, u64)>,
    /// The first sequence that is too young.
    pub young: u64,
    /// The first sequence that belongs to something open, and to what.
    pub open: Option<(u64, String)>,
}

/// The first message that must stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Its sequence: everything below may go.
    pub from: u64,
    /// Why.
    pub gate: Gate,
}

impl Gates {
    /// The least of the four.
    #[must_use]
    pub fn keep(self) -> Keep {
        let mut keep = Keep {
            from: self.archived,
            gate: Gate::NotArchived,
        };
        let handled = self
            .handled
            .into_iter()
            .map(|(service, seq)| (seq.saturating_add(1), Gate::NotHandled(service)));
        let open = self.open.map(|(seq, what)| (seq, Gate::Open(what)));
        let others = handled.chain([(self.young, Gate::TooYoung)]).chain(open);
        for (from, gate) in others {
            if from < keep.from {
                keep = Keep { from, gate };
            }
        }
        keep
    }
}

/// What goes on, gathered from `CS_EVENTS` in its order. Only what is ours by type and body
/// counts, as for the services: a foreign message on a subject of ours changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenWork {
    intents: BTreeMap<IntentId, OpenIntent>,
    freezes: Freezes,
    orders: BTreeMap<FreezeScope, Order>,
    /// The first message about a freeze that this version cannot read: for services
    /// everything is frozen then.
    blind: Option<u64>,
    windows: BTreeMap<WindowId, (u64, Timestamp)>,
}

/// Scopes whose last order is remembered after their release.
const ORDERS_MAX: usize = 10_000;

/// An intent that has no end yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OpenIntent {
    /// Its first event in `CS_EVENTS`.
    first: u64,
    /// Its message in `CS_INTENTS`; 0, so that all of them stay, where a newer version's
    /// verdict cannot be read.
    request: u64,
    since: Timestamp,
}

/// The order in force on a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    /// Where in the log it stands, or was stored again last.
    seq: u64,
    frozen: bool,
    /// When the last order was stored behind it that it overrules: without it, that one
    /// would count.
    overrules: Option<Timestamp>,
}

impl OpenWork {
    /// The subjects that it must be told of.
    pub const SUBJECTS: [&'static str; 7] = [
        "policy.checked.>",
        "tool.blocked.>",
        "tool.revoked.>",
        "tool.completed.>",
        "control.applied.>",
        "window.opened.>",
        "window.closed.>",
    ];

    /// Takes in a message of `CS_EVENTS`.
    pub fn take(&mut self, message: &Last<'_>, stored_at: Timestamp) {
        match Address::parse(message.subject) {
            Some(Address::PolicyChecked { agent, intent }) => {
                if let Some(request) = request_of(message, &agent, intent) {
                    self.intents.entry(intent).or_insert(OpenIntent {
                        first: message.seq,
                        request,
                        since: stored_at,
                    });
                }
            }
            Some(
                Address::ToolBlocked { agent, intent }
                | Address::ToolRevoked { agent, intent }
                | Address::ToolCompleted { agent, intent },
            ) => {
                if matches!(
                    Head::read(Some(*message), &agent, intent),
                    Head::Ended { .. }
                ) {
                    self.intents.remove(&intent);
                }
            }
            Some(Address::ControlApplied { .. } | Address::ControlReapplied { .. }) => {
                self.ordered(message, stored_at);
            }
            Some(Address::WindowOpened { window, .. }) => {
                let ours = said::<WindowOpened>(message);
                if ours.is_some_and(|opened| opened.window_id == window) {
                    self.windows
                        .entry(window)
                        .or_insert((message.seq, stored_at));
                }
            }
            Some(Address::WindowClosed { window, .. }) => {
                let ours = said::<WindowClosed>(message);
                if ours.is_some_and(|closed| closed.window_id == window) {
                    self.windows.remove(&window);
                }
            }
            _ => {}
        }
    }

    fn ordered(&mut self, message: &Last<'_>, stored_at: Timestamp) {
        let read = freeze::read(message);
        let effect = self.freezes.apply(&Placed {
            seq: message.seq,
            stored_at,
            read: &read,
        });
        let scope = match &read {
            Read::Applied(applied) => applied.event.scope.clone(),
            Read::Unreadable | Read::NotOurs => FreezeScope::default(),
        };
        let frozen = match effect {
            Effect::Frozen | Effect::Still => true,
            Effect::Released | Effect::Nothing => false,
            Effect::Superseded => {
                if let Some(order) = self.orders.get_mut(&scope) {
                    order.overrules = Some(stored_at);
                }
                return;
            }
            Effect::Blind => {
                self.blind.get_or_insert(message.seq);
                return;
            }
            Effect::Known | Effect::NotOurs => return,
        };
        let order = Order {
            seq: message.seq,
            frozen,
            overrules: None,
        };
        self.orders.insert(scope, order);
        if self.orders.len() > ORDERS_MAX {
            self.orders.retain(|_, order| order.frozen);
        }
    }

    /// The first message of `stream` that belongs to something open. What began before
    /// `ceiling` holds nothing back any more, freezes apart: raw messages are not kept for
    /// ever. A release stays while an order that it overrules is younger than `since`.
    #[must_use]
    pub fn first(
        &self,
        stream: Stream,
        ceiling: Timestamp,
        since: Timestamp,
    ) -> Option<(u64, String)> {
        let intents = self
            .intents
            .iter()
            .filter(|(_, open)| open.since >= ceiling);
        let intents = intents.filter_map(|(intent, open)| {
            let seq = match stream {
                Stream::Intents => open.request,
                Stream::Events => open.first,
                _ => return None,
            };
            Some((seq, format!("intent {intent} has no end yet")))
        });
        let lasting = match stream {
            Stream::Events => self.lasting(ceiling, since),
            _ => Vec::new(),
        };
        intents.chain(lasting).min()
    }

    fn lasting(&self, ceiling: Timestamp, since: Timestamp) -> Vec<(u64, String)> {
        let orders = self.orders.values().filter_map(|order| {
            let overrules = order.overrules.is_some_and(|at| at >= since);
            let why = match (order.frozen, overrules) {
                (true, _) => "a freeze is in force",
                (false, true) => "a release overrules an order behind it",
                (false, false) => return None,
            };
            Some((order.seq, why.to_owned()))
        });
        let windows = self
            .windows
            .iter()
            .filter(|(_, (_, opened))| *opened >= ceiling)
            .map(|(window, (seq, _))| (*seq, format!("window {window} is open")));
        let blind = self
            .blind
            .map(|seq| (seq, "a freeze cannot be read by this version".to_owned()));
        orders.chain(windows).chain(blind).collect()
    }
}

/// The body of a message of this type, where it is one.
fn said<E: Event>(message: &Last<'_>) -> Option<E> {
    (message.ce_type == Some(headers::ce_type::<E>().as_str()))
        .then(|| codec::decode(message.body).ok())
        .flatten()
}

/// The request of a genuine verdict; 0 for one of a version that this one cannot read.
fn request_of(message: &Last<'_>, agent: &AgentId, intent: IntentId) -> Option<u64> {
    match said::<PolicyChecked>(message) {
        Some(checked) => {
            (checked.agent == *agent && checked.intent_id == intent).then_some(checked.request.seq)
        }
        None => {
            let prefix = format!("dev.countersign.{}.v", PolicyChecked::NAME);
            let ours = message
                .ce_type
                .is_some_and(|said| said.starts_with(&prefix));
            ours.then_some(0)
        }
    }
}

#[cfg(test)]
mod tests;
