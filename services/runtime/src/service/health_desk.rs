//! Answers operators who ask how the service is, and reads what it tells them.

use std::time::Duration;

use countersign_schemas::{Stream, Timestamp};
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::ServiceContext;
use crate::bus::Bus;
use crate::health::{HealthHandle, HealthNumber};

/// Where operators ask; every process answers for itself.
const SUBJECT: &str = "cs.health.*";
/// How often it is read how full streams are: they fill up in hours.
const FULLNESS_EVERY: Duration = Duration::from_secs(5);

/// The desk of one service.
pub(super) struct Desk {
    pub(super) name: &'static str,
    pub(super) since: Timestamp,
    pub(super) bus: Bus,
    pub(super) health: HealthHandle,
}

impl Desk {
    /// Answers until shutdown.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        let client = self.bus.client();
        let questions = match client.subscribe(SUBJECT).await {
            Ok(questions) => questions,
            Err(error) => {
                tracing::warn!(%error, "operators cannot ask how this service is");
                return;
            }
        };
        let mut questions = std::pin::pin!(questions.take_until(shutdown.cancelled()));
        while let Some(question) = questions.next().await {
            let Some(reply) = question.reply else {
                continue;
            };
            let told = self.health.tell(self.name, self.since);
            let sent = match serde_json::to_vec(&told) {
                Ok(text) => client.publish(reply, text.into()).await,
                Err(error) => {
                    tracing::warn!(%error, "the health of this service cannot be written");
                    continue;
                }
            };
            if let Err(error) = sent {
                tracing::warn!(%error, "cannot answer how this service is");
            }
        }
    }
}

/// Keeps reading how full `streams` are, until shutdown.
pub(super) async fn watch_fullness(context: ServiceContext, streams: &'static [Stream]) {
    let number = |stream: &Stream| context.health.number("full_percent", stream.name());
    let numbers: Vec<(Stream, HealthNumber)> = streams
        .iter()
        .map(|stream| (*stream, number(stream)))
        .collect();
    let mut ticks = tokio::time::interval(FULLNESS_EVERY);
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for (stream, number) in &numbers {
            match context.bus.fullness(*stream).await {
                Ok(percent) => number.set(percent),
                // The connection's part says what is wrong.
                Err(_) => number.forget(),
            }
        }
    }
}
