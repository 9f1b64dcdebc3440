//! Waiting for the answer to a message that was stored: live messages, and a look at what
//! is stored at the start and every few seconds, because a live message may be lost.

use std::time::Duration;

use async_nats::Subscriber;
use countersign_runtime::bus::Bus;
use futures::StreamExt as _;
use futures::stream::{SelectAll, select_all};
use tokio::time::{Instant, interval, sleep_until};

use super::Received;
use crate::exit::CliError;

/// Messages on several subjects as they come.
pub(crate) type Live = SelectAll<Subscriber>;

/// Listens; what is published after this returns is not missed.
pub(crate) async fn listen(
    bus: &Bus,
    subjects: impl IntoIterator<Item = impl Into<String>>,
) -> Result<Live, CliError> {
    let mut all = Vec::new();
    for subject in subjects {
        let heard = bus.client().subscribe(subject.into()).await;
        all.push(heard.map_err(CliError::unreachable)?);
    }
    bus.client().flush().await.map_err(CliError::unreachable)?;
    Ok(select_all(all))
}

/// What is waited for.
pub(crate) trait Awaited {
    /// What it comes to.
    type Answer;

    /// How often a stored answer is looked for.
    const LOOK_EVERY: Duration = Duration::from_secs(2);

    /// The answer, if `message` is it or completes it.
    fn hears(&mut self, message: &Received) -> Option<Self::Answer>;

    /// The answer, if it is stored by now; a read that fails is tried with the next look.
    async fn look(&mut self) -> Option<Self::Answer>;
}

/// The answer; `None` where none came in time.
pub(crate) async fn until<A: Awaited>(
    live: &mut Live,
    awaited: &mut A,
    wait: Duration,
) -> Option<A::Answer> {
    let deadline = Instant::now() + wait;
    let mut looks = interval(A::LOOK_EVERY);
    loop {
        let found = tokio::select! {
            Some(message) = live.next() => {
                Received::live(message).and_then(|message| awaited.hears(&message))
            }
            _ = looks.tick() => awaited.look().await,
            () = sleep_until(deadline) => return None,
        };
        if found.is_some() {
            return found;
        }
    }
}
