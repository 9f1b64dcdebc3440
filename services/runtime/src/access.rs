//! Putting a look-up on record. Whoever answers one stores it first: an answer that cannot
//! be recorded is not given.

use countersign_schemas::events::AuditAccessed;
use countersign_schemas::{Address, ServiceId, Token};

use crate::bus::{Meta, Outgoing, PublishError};
use crate::service::ServiceContext;

/// A look-up could not be recorded.
#[derive(Debug, thiserror::Error)]
#[error("a look-up could not be recorded: {0}")]
pub struct NotRecorded(String);

impl NotRecorded {
    /// What whoever asked is told.
    pub const SENTENCE: &str =
        "the look-up could not be recorded, so it is not answered; try again";

    fn because(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Stores `event` as `audit.accessed` under an id of its own.
///
/// # Errors
/// When it is not certain that it is stored.
pub async fn record(context: &ServiceContext, event: &AuditAccessed) -> Result<(), NotRecorded> {
    let id: Token = format!("{:032x}", rand::random::<u128>())
        .parse()
        .map_err(NotRecorded::because)?;
    let source: ServiceId = context.bus.name().parse().map_err(NotRecorded::because)?;
    let meta = Meta {
        source,
        encoding: context.deployment.encoding,
        claimed_at: context.clock.now(),
        traceparent: None,
    };
    let message = Outgoing::event(&Address::AuditAccessed { id }, event, &meta)
        .map_err(NotRecorded::because)?;
    let own = message.subject().to_owned();
    let publisher = context.bus.publisher();
    match publisher.publish(message.expecting(&own, 0)).await {
        // The id is random: a conflict is our own message, stored by an earlier try.
        Ok(_) | Err(PublishError::Conflict { .. }) => Ok(()),
        Err(error) => Err(NotRecorded::because(error)),
    }
}
