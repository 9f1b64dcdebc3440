//! Storing an event exactly once, by compare-and-set.

use std::time::Duration;

use countersign_schemas::{Address, Stream};
use tokio::time::Instant;

use super::connection::Bus;
use super::failure::Failure;
use super::metrics;
use super::outgoing::Outgoing;
use super::publisher::PublishError;
use super::reading::StoredMessage;

/// How long one storing is tried before the input goes back to the stream. Below the
/// 30 s after which the server would deliver it again.
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);
/// Pause before the head is read again while an in-flight rival settles.
const SETTLE: Duration = Duration::from_millis(20);

/// What came of an attempt to store an event.
#[derive(Debug, Clone)]
pub enum Append {
    /// It is stored, at this sequence.
    Stored(u64),
    /// Another message stands there, or one's own of an earlier attempt.
    Lost(Box<StoredMessage>),
}

impl Bus {
    /// Stores `message` if the last sequence over `filter` is `expected`.
    ///
    /// All writers of one chain must use the same filter text: the server keys its check
    /// of messages in flight by it.
    ///
    /// # Errors
    /// A transient failure when the outcome could not be learnt in time: the caller gives
    /// its input back and meets the truth on the next delivery.
    pub async fn append(
        &self,
        message: Outgoing,
        filter: &str,
        expected: u64,
    ) -> Result<Append, Failure> {
        let message = message.expecting(filter, expected);
        let stream = Address::parse(message.subject()).map_or(Stream::Events, |a| a.stream());
        let give_up = Instant::now() + GIVE_UP_AFTER;
        let mut retried = false;
        loop {
            match self.publisher().publish(message.clone()).await {
                Ok(seq) => return Ok(Append::Stored(seq)),
                // On three replicas the id is looked at before the sequence, so one's own
                // retry is answered so. Anybody else's use of a random id is not.
                Err(PublishError::Duplicate { seq }) if retried => return Ok(Append::Stored(seq)),
                Err(PublishError::Conflict { last }) => {
                    metrics::conflict();
                    if let Some(head) = self.settled_head(stream, filter, expected, last).await? {
                        return Ok(Append::Lost(Box::new(head)));
                    }
                }
                Err(error @ (PublishError::Timeout | PublishError::Server { .. })) => {
                    tracing::warn!(subject = message.subject(), %error, "storing is tried again");
                }
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= give_up {
                return Err(Failure::transient(format!(
                    "cannot learn whether `{}` is stored",
                    message.subject()
                )));
            }
            retried = true;
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Stores `message` if nothing lies on its own subject yet.
    ///
    /// # Errors
    /// As [`Bus::append`].
    pub async fn store_once(&self, message: Outgoing) -> Result<Append, Failure> {
        let own = message.subject().to_owned();
        self.append(message, &own, 0).await
    }

    /// The head that made us lose; `None` while the leader does not show it yet: on three
    /// replicas an in-flight rival may still fail.
    async fn settled_head(
        &self,
        stream: Stream,
        filter: &str,
        expected: u64,
        last: u64,
    ) -> Result<Option<StoredMessage>, Failure> {
        let head = self.last_by_subject(stream, filter).await?;
        Ok(head.filter(|head| head.seq >= last && head.seq > expected))
    }
}
