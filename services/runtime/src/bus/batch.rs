//! Storing several events together: all of them or none.

use countersign_schemas::headers;

use super::connection::Bus;
use super::failure::Failure;
use super::metrics;
use super::outgoing::Outgoing;
use super::publisher::PublishError;

/// Messages of one batch: what the server takes by default.
const BATCH_MESSAGES_MAX: usize = 1_000;

/// What came of storing several messages together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    /// All are stored, one after the other.
    Stored,
    /// None is: something stands already where one of them expected nothing, or one's own
    /// batch of an earlier attempt.
    Conflict,
}

impl Bus {
    /// Stores all of `messages` in `CS_EVENTS`, or none of them. Each says by
    /// [`Outgoing::expecting`] what must be true for it.
    ///
    /// On one server with file storage a batch costs about a millisecond, in which no other
    /// writer is served.
    ///
    /// # Errors
    /// A transient failure when they are not stored or the outcome is not known: the caller
    /// gives its input back and meets the truth on the next delivery.
    pub async fn append_together(&self, messages: Vec<Outgoing>) -> Result<Together, Failure> {
        let count = messages.len();
        if count == 0 || count > BATCH_MESSAGES_MAX {
            let what = format!("a batch has 1 to {BATCH_MESSAGES_MAX} messages, not {count}");
            return Err(Failure::fatal(what));
        }
        let id = format!("{:032x}", rand::random::<u128>());
        let mut answer = Ok(0);
        for (before, mut message) in messages.into_iter().enumerate() {
            message.set(headers::BATCH_ID, &id);
            message.set(headers::BATCH_SEQUENCE, &(before + 1).to_string());
            if before + 1 < count {
                self.publisher().send(message).await?;
                continue;
            }
            message.set(headers::BATCH_COMMIT, "1");
            answer = self.publisher().publish(message).await;
        }
        match answer {
            Ok(_) => Ok(Together::Stored),
            Err(PublishError::Conflict { .. }) => {
                metrics::conflict();
                Ok(Together::Conflict)
            }
            // What the server says against a batch, such as that too many are under way,
            // is nothing against its messages.
            Err(PublishError::Rejected { code, text }) => Err(Failure::transient(format!(
                "the server did not take a batch: {text} ({code})"
            ))),
            Err(error) => Err(error.into()),
        }
    }
}
