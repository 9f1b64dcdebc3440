//! What must stay in a stream although it is archived: the least of four gates.
//!
//! A stream is purged from its beginning up to the first message that one of them holds.
//! Pure: the caller brings what the server, the manifest and the log say.

use std::collections::BTreeMap;
use std::fmt;

use countersign_schemas::events::{ControlApplied, FreezeScope, PolicyChecked};
use countersign_schemas::{Address, IntentId, Stream, Timestamp, WindowId, codec};

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

/// What goes on, gathered from `CS_EVENTS` in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenWork {
    intents: BTreeMap<IntentId, OpenIntent>,
    freezes: BTreeMap<FreezeScope, u64>,
    windows: BTreeMap<WindowId, u64>,
}

/// An intent that has no end yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OpenIntent {
    /// Its first event in `CS_EVENTS`.
    first: u64,
    /// Its message in `CS_INTENTS`, where its verdict could be read.
    request: Option<u64>,
    since: Timestamp,
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
    pub fn take(&mut self, seq: u64, stored_at: Timestamp, subject: &str, body: &[u8]) {
        match Address::parse(subject) {
            Some(Address::PolicyChecked { intent, .. }) => {
                let request = codec::decode::<PolicyChecked>(body).ok();
                let opened = OpenIntent {
                    first: seq,
                    request: request.map(|checked| checked.request.seq),
                    since: stored_at,
                };
                self.intents.entry(intent).or_insert(opened);
            }
            Some(
                Address::ToolBlocked { intent, .. }
                | Address::ToolRevoked { intent, .. }
                | Address::ToolCompleted { intent, .. },
            ) => {
                self.intents.remove(&intent);
            }
            Some(Address::ControlApplied { .. } | Address::ControlReapplied { .. }) => {
                if let Ok(applied) = codec::decode::<ControlApplied>(body) {
                    self.frozen(seq, applied);
                }
            }
            Some(Address::WindowOpened { window, .. }) => {
                self.windows.entry(window).or_insert(seq);
            }
            Some(Address::WindowClosed { window, .. }) => {
                self.windows.remove(&window);
            }
            _ => {}
        }
    }

    fn frozen(&mut self, seq: u64, applied: ControlApplied) {
        if applied.frozen {
            // Stored again, an earlier copy may go.
            self.freezes.insert(applied.scope, seq);
        } else {
            self.freezes.remove(&applied.scope);
        }
    }

    /// The first message of `stream` that belongs to something open. An intent that began
    /// before `ceiling` holds nothing back any more: raw messages are not kept for ever.
    #[must_use]
    pub fn first(&self, stream: Stream, ceiling: Timestamp) -> Option<(u64, String)> {
        let intents = self
            .intents
            .iter()
            .filter(|(_, open)| open.since >= ceiling);
        let intents = intents.filter_map(|(intent, open)| {
            let seq = match stream {
                Stream::Intents => open.request,
                Stream::Events => Some(open.first),
                _ => None,
            };
            Some((seq?, format!("intent {intent} has no end yet")))
        });
        let lasting: Vec<(u64, String)> = match stream {
            Stream::Events => {
                let freezes = self
                    .freezes
                    .values()
                    .map(|seq| (*seq, "a freeze is in force".to_owned()));
                let windows = self
                    .windows
                    .iter()
                    .map(|(window, seq)| (*seq, format!("window {window} is open")));
                freezes.chain(windows).collect()
            }
            _ => Vec::new(),
        };
        intents.chain(lasting).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates() -> Gates {
        Gates {
            archived: 50,
            handled: vec![("policy-checker".to_owned(), 60)],
            young: 60,
            open: Some((60, "x".to_owned())),
        }
    }

    #[test]
    fn the_least_gate_holds_and_says_why() {
        type Change = fn(&mut Gates);
        let table: [(Change, u64, &str); 5] = [
            (|_| {}, 50, "not_archived"),
            (|gates| gates.archived = 0, 0, "not_archived"),
            (|gates| gates.handled[0].1 = 9, 10, "not_handled"),
            (|gates| gates.young = 10, 10, "too_young"),
            (|gates| gates.open = Some((10, "x".to_owned())), 10, "open"),
        ];
        for (change, from, code) in table {
            let mut gates = gates();
            change(&mut gates);
            let keep = gates.keep();
            assert_eq!((keep.from, keep.gate.code()), (from, code));
            assert!(Gate::CODES.contains(&code));
        }
    }

    #[test]
    fn the_last_archived_message_stays() {
        let mut gates = gates();
        (gates.handled[0].1, gates.young, gates.open) = (99, 99, None);
        assert_eq!(gates.keep().from, 50);
    }

    const INTENT: &str = "01920000-0000-7000-8000-000000000001";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000).unwrap()
    }

    fn open(events: &[(&str, &str)]) -> OpenWork {
        let mut work = OpenWork::default();
        for ((subject, body), seq) in events.iter().zip(5..) {
            work.take(seq, at(100), subject, body.as_bytes());
        }
        work
    }

    #[test]
    fn the_verdict_says_which_request_must_stay() {
        let body = include_str!("../../../../schemas/golden/policy.checked/v1.json");
        let checked: PolicyChecked = codec::decode(body.as_bytes()).unwrap();
        let subject = format!("policy.checked.{}.{}", checked.agent, checked.intent_id);
        let work = open(&[(&subject, body)]);
        let (seq, why) = work.first(Stream::Intents, at(0)).unwrap();
        assert_eq!(seq, checked.request.seq);
        assert!(
            why.contains(checked.intent_id.to_string().as_str()),
            "{why}"
        );
        assert_eq!(work.first(Stream::Control, at(0)), None);
    }

    #[test]
    fn a_freeze_holds_its_last_copy_and_a_window_its_opening_until_they_end() {
        let applied = |frozen: bool| {
            format!(
                r#"{{"schema_version":1,"frozen":{frozen},"scope":{{"agent":"billing"}},"operator":"olivia","reason":"x","applied_at":"2026-11-22T10:00:00Z"}}"#
            )
        };
        let (freeze, thaw) = (applied(true), applied(false));
        let first = |work: &OpenWork| work.first(Stream::Events, at(0)).map(|(seq, _)| seq);
        let (one, two) = ("control.applied.abc.7", "control.applied.abc.7.1");
        assert_eq!(first(&open(&[(one, &freeze)])), Some(5));
        assert_eq!(first(&open(&[(one, &freeze), (two, &freeze)])), Some(6));
        assert_eq!(first(&open(&[(one, &freeze), (two, &thaw)])), None);
        let (opened, closed) = (
            "window.opened.billing.w-abc-3",
            "window.closed.billing.w-abc-3",
        );
        assert_eq!(first(&open(&[(opened, "{}")])), Some(5));
        assert_eq!(first(&open(&[(opened, "{}"), (closed, "{}")])), None);
    }

    #[test]
    fn an_intent_is_open_from_its_verdict_to_its_end() {
        let checked = format!("policy.checked.billing.{INTENT}");
        let approved = format!("tool.approved.billing.{INTENT}");
        let first =
            |work: &OpenWork, ceiling| work.first(Stream::Events, at(ceiling)).map(|(seq, _)| seq);
        let begun = open(&[(&checked, "{}"), (&approved, "{}")]);
        assert_eq!(first(&begun, 0), Some(5));
        assert_eq!(first(&begun, 101), None, "older than raw retention");
        for end in ["tool.blocked", "tool.revoked", "tool.completed"] {
            let end = format!("{end}.billing.{INTENT}");
            assert_eq!(first(&open(&[(&checked, "{}"), (&end, "{}")]), 0), None);
        }
        let other = "tool.completed.billing.01920000-0000-7000-8000-000000000002";
        assert_eq!(first(&open(&[(&checked, "{}"), (other, "{}")]), 0), Some(5));
    }
}
