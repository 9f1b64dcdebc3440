//! What becomes of the uses of windows, and the end of a window: its unclaimed permits are
//! revoked, and when no use can change any more its last count is told.

use std::sync::Arc;
use std::time::Duration;

use countersign_domain::chain::{End, Head};
use countersign_domain::windows::{UseFate, Window};
use countersign_runtime::bus::{BusError, Failure, metrics};
use countersign_schemas::events::{Basis, RevokedCode, ToolApproved};
use countersign_schemas::{Address, ApprovalId, IntentId, Stream, Timestamp, WindowId, headers};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::TIMER_KIND;
use crate::counters;
use crate::office::{Office, TRIES, decode};

/// How often windows are looked at of which an intent came to its end.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many such looks pass until all are looked at: what a crash left behind.
const LOOKS_UNTIL_ALL: u32 = 10;
/// How late a timer may be before it counts as lost: the server fires within 250 ms.
const LATE: Duration = Duration::from_secs(5);
/// Chains of one window that are read at once.
const READS_MAX: usize = 32;

/// Settles uses and ends windows until shutdown.
pub(crate) async fn tend(office: Arc<Office>) -> Result<(), BusError> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            () = office.shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        // A clock that runs ahead would end windows before their time.
        if office.trust_clock().is_err() {
            continue;
        }
        looks = looks.wrapping_add(1);
        let now = office.clock.now();
        let all = looks.is_multiple_of(LOOKS_UNTIL_ALL);
        for id in office.windows.due(all, now.minus(LATE)) {
            match office.window_due(&id, now).await {
                Ok(()) => {}
                Err(Failure::Transient { what, .. }) => {
                    tracing::debug!(window = %id, %what, "looked at later");
                }
                Err(Failure::Poison { what }) => {
                    metrics::alarm("window_stuck", &format!("window {id}: {what}"));
                }
                Err(Failure::Fatal { what }) => return Err(BusError::Fatal { what }),
            }
        }
    }
}

impl Office {
    /// Ends a window whose time is over, and settles what can be settled of any other.
    pub(crate) async fn window_due(&self, id: &WindowId, now: Timestamp) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let Some(mut held) = self.window(id).await? else {
                return Ok(());
            };
            if held.value.expire(now) && !self.keep_window(&mut held).await? {
                continue;
            }
            if held.value.end().is_none() {
                self.set_timer_of(TIMER_KIND, id.as_str(), held.value.until())
                    .await?;
            }
            return self.wind_up(id).await.map(drop);
        }
        Err(Failure::transient(format!("window {id} changes too fast")))
    }

    /// Settles the uses of a window as far as they can be, and tells its end once all are;
    /// says whether everything is told.
    pub(super) async fn wind_up(&self, id: &WindowId) -> Result<bool, Failure> {
        for _ in 0..TRIES {
            let Some(mut held) = self.window(id).await? else {
                return Ok(true);
            };
            self.windows.note(&held.value, held.revision);
            if held.value.is_settled() {
                return Ok(true);
            }
            if self.settle_uses(&mut held.value).await? && !self.keep_window(&mut held).await? {
                continue;
            }
            let Some(closed) = held.value.closed() else {
                return Ok(false);
            };
            let address = Address::WindowClosed {
                agent: held.value.agent().clone(),
                window: id.clone(),
            };
            self.say(&address, &closed, None).await?;
            held.value.settle();
            // Lost only to another coordinator that tells the same end.
            if self.keep_window(&mut held).await? {
                counters::window(match closed.code.as_str() {
                    "revoked" => "revoked",
                    _ => "expired",
                });
                tracing::info!(window = %id, code = closed.code, uses = closed.uses, "a window has ended");
            }
            return Ok(true);
        }
        Err(Failure::transient(format!("window {id} changes too fast")))
    }

    /// Keeps and gives back what has come to its end; says whether anything changed.
    async fn settle_uses(&self, window: &mut Window) -> Result<bool, Failure> {
        let open: Vec<IntentId> = window.open_uses().collect();
        let of: &Window = window;
        let fates: Vec<(IntentId, UseFate)> = stream::iter(open)
            .map(|intent| async move {
                let fate = self.use_fate(of, intent).await?;
                Ok::<_, Failure>((intent, fate))
            })
            .buffered(READS_MAX)
            .try_collect()
            .await?;
        let mut changed = false;
        for (intent, fate) in fates {
            changed |= match fate {
                UseFate::Keep => window.keep(intent),
                UseFate::GiveBack => {
                    counters::window("given_back");
                    window.give_back(intent)
                }
                UseFate::Wait | UseFate::Revoke | UseFate::Block => false,
            };
        }
        Ok(changed)
    }

    /// What becomes of the use of `intent`, after what must happen first has happened.
    async fn use_fate(&self, window: &Window, intent: IntentId) -> Result<UseFate, Failure> {
        let agent = window.agent();
        for _ in 0..TRIES {
            let head = self.head(agent, intent).await?;
            let basis = self.basis(&head, window, intent).await?;
            self.nobody_is_asked(&head, intent).await?;
            match window.fate(&head, basis.as_ref(), self.clock.now()) {
                UseFate::Revoke => {
                    if let Head::Decided { seq, approved } = &head {
                        self.revoke_under(window, approved, *seq).await?;
                    }
                }
                UseFate::Block => {
                    let Some((checked, _)) = self.verdict(agent, intent).await? else {
                        // Nothing can decide it any more.
                        return Ok(UseFate::GiveBack);
                    };
                    self.decide_under(window, &checked, None).await?;
                }
                fate => return Ok(fate),
            }
        }
        Err(Failure::transient(format!(
            "intent {intent} changes too fast"
        )))
    }

    /// Ends the approval of an intent that holds a use and is decided: another coordinator
    /// may have asked people before it knew of the window.
    async fn nobody_is_asked(&self, head: &Head, intent: IntentId) -> Result<(), Failure> {
        let decided = match head {
            Head::None | Head::NotOurs { .. } => false,
            Head::Decided { .. } | Head::Claimed { .. } | Head::Ended { .. } => true,
        };
        match decided && self.pending.holds(&ApprovalId::for_intent(intent)) {
            true => self.close_if_asked(intent, None).await,
            false => Ok(()),
        }
    }

    /// By what an intent was approved, where its chain has gone on since.
    async fn basis(
        &self,
        head: &Head,
        window: &Window,
        intent: IntentId,
    ) -> Result<Option<Basis>, Failure> {
        match head {
            Head::Decided { approved, .. } => return Ok(Some(approved.basis.clone())),
            Head::None
            | Head::NotOurs { .. }
            | Head::Ended {
                end: End::Blocked(_) | End::Revoked(_),
                ..
            } => return Ok(None),
            Head::Claimed { .. } | Head::Ended { .. } => {}
        }
        let address = Address::ToolApproved {
            agent: window.agent().clone(),
            intent,
        };
        let subject = address.subject();
        let found = self
            .bus
            .last_by_subject(Stream::Events, subject.as_str())
            .await?;
        let read = found.and_then(|found| {
            let said = found.header(headers::CE_TYPE);
            decode::<ToolApproved>(said, &found.payload).ok()
        });
        Ok(read.map(|approved| approved.basis))
    }

    /// Revokes a permit that the window gave and nobody claimed.
    async fn revoke_under(
        &self,
        window: &Window,
        approved: &ToolApproved,
        seq: u64,
    ) -> Result<(), Failure> {
        let by = window.end().and_then(|end| end.by.as_ref());
        let why = match by {
            Some(by) => format!(
                "Window {} was closed by {by} before it was started.",
                window.id()
            ),
            None => format!("Window {} ended before it was started.", window.id()),
        };
        // Whoever stored something else there first is seen with the next look.
        let code = RevokedCode::WindowClosed;
        self.revoke(approved, seq, code, &why, None).await.map(drop)
    }
}
