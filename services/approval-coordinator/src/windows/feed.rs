//! Keeps the index of windows, and at the start sets every end again: a timer may be lost.

use std::sync::Arc;
use std::time::Duration;

use countersign_domain::windows::Window;
use countersign_runtime::bus::layout::WINDOWS;
use countersign_runtime::bus::{BusError, ReplayFrom, StoredMessage};
use countersign_runtime::health::HealthPart;
use futures::StreamExt as _;

use super::TIMER_KIND;
use crate::office::Office;

/// Pause before a broken feed is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// Follows the bucket until shutdown.
pub(crate) async fn follow(office: Arc<Office>) -> Result<(), BusError> {
    let part = office.health.part("windows");
    loop {
        let fed = tokio::select! {
            () = office.shutdown.cancelled() => return Ok(()),
            fed = feed(&office, &part) => fed,
        };
        if let Err(error) = fed {
            part.failing("the windows are being read again");
            tracing::warn!(%error, "the feed of windows broke; opening it again");
        }
        tokio::time::sleep(REOPEN_AFTER).await;
    }
}

async fn feed(office: &Arc<Office>, part: &HealthPart) -> Result<(), BusError> {
    let stream = format!("KV_{WINDOWS}");
    let filter = format!("$KV.{WINDOWS}.>");
    let last = ReplayFrom::LastPerSubject;
    let replay = office.bus.replay(&stream, &[filter.as_str()], last).await?;
    let mut caught_up = replay.is_empty();
    if caught_up {
        office.windows.complete();
        part.ready();
    }
    let mut messages = replay.messages();
    while let Some(next) = messages.next().await {
        let replayed = next?;
        take_in(office, &replayed.message);
        if !caught_up && replayed.pending == 0 {
            caught_up = true;
            office.windows.complete();
            set_timers(office).await;
            part.ready();
        }
    }
    Ok(())
}

fn take_in(office: &Office, message: &StoredMessage) {
    // Only what is settled is ever removed, and that is in no index.
    if !message.is_value() {
        return;
    }
    match serde_json::from_slice::<Window>(&message.payload) {
        Ok(window) => office.windows.note(&window, message.seq),
        Err(error) => tracing::error!(seq = message.seq, %error, "a window cannot be read"),
    }
}

async fn set_timers(office: &Office) {
    for (id, until) in office.windows.ends() {
        if let Err(failure) = office.set_timer_of(TIMER_KIND, id.as_str(), until).await {
            tracing::warn!(window = %id, %failure, "its end is not set again");
        }
    }
}
