//! Keeps the index of windows, and at the start sets every end again: a timer may be lost.

use std::sync::Arc;

use countersign_domain::windows::Window;
use countersign_runtime::bus::layout::WINDOWS;
use countersign_runtime::bus::{BusError, Followed, Source, StoredMessage};
use futures::StreamExt as _;

use super::TIMER_KIND;
use crate::kept::unreadable_value;
use crate::office::Office;

/// Follows the bucket until shutdown.
pub(crate) async fn follow(office: Arc<Office>) -> Result<(), BusError> {
    let shutdown = office.shutdown.clone();
    shutdown.run_until_cancelled(keep(&office)).await;
    Ok(())
}

async fn keep(office: &Office) {
    let part = office.health.part("windows");
    let mut feed = office
        .bus
        .follow(Source::bucket("the windows", WINDOWS), &part);
    while let Some(next) = feed.next().await {
        match next {
            Followed::Message(message) => take_in(office, &message),
            Followed::CaughtUp => {
                office.windows.complete();
                set_timers(office).await;
                part.ready();
            }
            // The bucket is asked before anything is done: a row too many does no harm.
            Followed::Broken => {}
        }
    }
}

fn take_in(office: &Office, message: &StoredMessage) {
    // Only what is settled is ever removed, and that is in no index.
    if !message.is_value() {
        return;
    }
    match Window::read(&message.payload) {
        Ok(window) => office.windows.note(&window, message.seq),
        Err(error) => {
            unreadable_value(&message.subject, &error);
        }
    }
}

async fn set_timers(office: &Office) {
    for (id, until) in office.windows.ends() {
        if let Err(failure) = office.set_timer_of(TIMER_KIND, id.as_str(), until).await {
            tracing::warn!(window = %id, %failure, "its end is not set again");
        }
    }
}
