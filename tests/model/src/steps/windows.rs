//! The steps of time windows.

use countersign_domain::chain::Head;
use countersign_domain::windows::{Take, UseFate, Window};
use countersign_schemas::events::RevokedCode;

use super::Steps;
use crate::fixtures::{self, at};
use crate::shelf::Ref;
use crate::state::Said;

/// The last and the first message of a chain.
pub(crate) type Ends = (Option<Said>, Option<Said>);

/// What came of taking a use.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taken {
    /// It is taken in this window, which must be stored.
    Now(Ref),
    /// It was taken before.
    Before,
    /// The window does not lift this.
    Not,
}

/// What becomes of a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// The window is then this one.
    Settled(Ref),
    /// This must be stored first.
    First(Said),
}

impl Steps {
    pub(super) fn keep_window(&self, window: Window) -> Ref {
        let bytes = serde_json::to_vec(&window).expect("a window is JSON");
        let read = serde_json::from_slice(&bytes).expect("a window is read again");
        self.windows.put(read, bytes)
    }

    /// `Window::take` for what an intent asks.
    pub(crate) fn take(&self, window: Ref, intent: u8, now: u8) -> Taken {
        self.takes.of((window, intent, now), || {
            let mut after = (*self.windows.get(window)).clone();
            let checked = &self.checked[usize::from(intent)];
            match after.take(checked, at(now), &self.company) {
                Take::Taken => Taken::Now(self.keep_window(after)),
                Take::AlreadyTaken | Take::Stranded => Taken::Before,
                Take::Refused(_) => Taken::Not,
            }
        })
    }

    /// `Window::expire`; `None` where nothing changes.
    pub(crate) fn expired(&self, window: Ref, now: u8) -> Option<Ref> {
        self.expiries.of((window, now), || {
            let mut after = (*self.windows.get(window)).clone();
            after.expire(at(now)).then(|| self.keep_window(after))
        })
    }

    /// `Desk::under_window`.
    pub(crate) fn under_window(&self, window: Ref, intent: u8, now: u8) -> Said {
        self.under.of((window, intent, now), || {
            let checked = &self.checked[usize::from(intent)];
            let window = self.windows.get(window);
            let decided = self.desk.under_window(checked, &window, at(now));
            self.decision_said(&decided.expect("a permit"))
        })
    }

    /// `Window::fate` of the use that an intent holds, if it does, and what follows: the
    /// window after it, or what must be stored first.
    pub(crate) fn use_of(&self, window: Ref, intent: u8, ends: Ends, now: u8) -> Held {
        self.uses.of((window, intent, ends, now), || {
            let mut after = (*self.windows.get(window)).clone();
            let id = fixtures::intent(intent);
            if !after.open_uses().any(|open| open == id) {
                return Held::Settled(window);
            }
            let (last, decision) = ends;
            let head = last.map_or(Head::None, |said| self.read(said.body(), intent));
            let basis = decision.and_then(|said| match self.read(said.body(), intent) {
                Head::Decided { approved, .. } => Some(approved.basis),
                _ => None,
            });
            match (after.fate(&head, basis.as_ref(), at(now)), head) {
                (UseFate::Revoke, Head::Decided { approved, .. }) => {
                    Held::First(self.revoked(&approved, RevokedCode::WindowClosed))
                }
                (UseFate::Block, _) => Held::First(self.under_window(window, intent, now)),
                (UseFate::Keep, _) => {
                    after.keep(id);
                    Held::Settled(self.keep_window(after))
                }
                (UseFate::GiveBack, _) => {
                    after.give_back(id);
                    Held::Settled(self.keep_window(after))
                }
                (UseFate::Wait | UseFate::Revoke, _) => Held::Settled(window),
            }
        })
    }

    /// Whether a decision is one by a window.
    pub(crate) fn is_by_window(&self, said: Said, intent: u8) -> bool {
        self.by_window
            .of(said.body(), || match self.read(said.body(), intent) {
                Head::Decided { approved, .. } => approved.basis.window_id.is_some(),
                _ => false,
            })
    }
}
