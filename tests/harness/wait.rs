//! Waiting for a condition with a deadline, never for a span of time.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Asks again until `look` answers with a value, and returns it.
///
/// # Panics
/// When `deadline` has passed; the message names `what` was waited for.
pub async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let give_up = Instant::now() + deadline;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < give_up, "not within {deadline:?}: {what}");
    }
}
