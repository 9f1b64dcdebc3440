//! The time of day, injected.
//!
//! Decisions use the store time of the message they judge. What is left for a clock is
//! waiting and asking whether something has run out; both go through [`Clock`], so that a
//! test can hold time still.

use std::fmt;
use std::time::Duration;

use countersign_schemas::Timestamp;
use futures::future::BoxFuture;
use tokio::sync::watch;

/// Longest single sleep before the wall clock is read again: a machine that slept or was
/// set to another time is noticed within it.
const NAP_MAX: Duration = Duration::from_secs(30);

/// Tells the time and waits for it.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Ends once [`Self::now`] has reached `at`, at once if it has already.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the clock"
        )]
        Timestamp::new(chrono::Utc::now())
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let clock = *self;
        Box::pin(async move {
            loop {
                let left = at.since(clock.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(NAP_MAX)).await;
            }
        })
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self {
            now: watch::Sender::new(start),
        }
    }

    /// Moves on by `span` and wakes whoever has waited for it.
    pub fn advance(&self, span: Duration) {
        self.now.send_modify(|now| *now = now.plus(span));
    }

    /// Moves to `at`, backwards too, as a corrected clock does.
    pub fn set(&self, at: Timestamp) {
        self.now.send_replace(at);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        // The sender is kept alive by the future, so that the wait ends by time alone.
        let now = self.now.clone();
        Box::pin(async move {
            let mut seen = now.subscribe();
            drop(seen.wait_for(|now| *now >= at).await);
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_exactly_at_the_time() {
        let clock = ManualClock::new(Timestamp::EPOCH);
        let mut sleep = clock.sleep_until(Timestamp::EPOCH.plus(Duration::from_secs(10)));
        assert!((&mut sleep).now_or_never().is_none());
        clock.advance(Duration::from_micros(9_999_999));
        assert!((&mut sleep).now_or_never().is_none());
        clock.advance(Duration::from_micros(1));
        sleep.await;
    }

    #[tokio::test]
    async fn a_corrected_clock_does_not_wake_early() {
        let clock = ManualClock::new(Timestamp::EPOCH.plus(Duration::from_secs(5)));
        let mut sleep = clock.sleep_until(Timestamp::EPOCH.plus(Duration::from_secs(6)));
        clock.set(Timestamp::EPOCH);
        assert!((&mut sleep).now_or_never().is_none());
        clock.advance(Duration::from_secs(6));
        sleep.await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_system_clock_returns_at_once_for_the_past() {
        let clock = SystemClock;
        clock.sleep_until(Timestamp::EPOCH).await;
        let at = clock.now().plus(Duration::from_millis(20));
        assert!(clock.sleep_until(at).now_or_never().is_none());
    }
}
