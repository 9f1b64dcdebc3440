//! Everything that people say: each kind of message goes to the file that answers it.

use std::sync::Arc;

use countersign_domain::redact::Redactor;
use countersign_runtime::bus::{Failure, Handler, Incoming, Meta};
use countersign_schemas::events::ControlRefused;
use countersign_schemas::{Address, PersonId, Stream};

use crate::counters;
use crate::office::{Office, trace_of};

/// Handles everything in `CS_CONTROL` and `CS_ORDERS`. Orders are taken from both: those
/// given before they had a stream of their own may still lie in the first.
pub(crate) struct Control(pub(crate) Arc<Office>);

impl Handler for Control {
    async fn handle(&self, message: Incoming) -> Result<(), Failure> {
        let office = &self.0;
        let order = matches!(
            message.address,
            Address::Freeze { .. } | Address::Unfreeze { .. }
        );
        if !order {
            // Each message has an answer in the log: a flood of them waits, and what is left
            // of the log takes orders and ends.
            office.bus.require_room(&[Stream::Events]).await?;
        }
        // Whoever was told that nothing was done has done something else since.
        if message.deliveries > 1 && office.was_refused(&message).await? {
            return Ok(());
        }
        match message.address.clone() {
            Address::Vote { approver } => office.own_vote(&message, &approver).await,
            Address::VoteVia { approver, via } => {
                office.bridged_vote(&message, &approver, &via).await
            }
            Address::WindowRequested { approver } => {
                office.window_requested(&message, &approver).await
            }
            Address::WindowClosing { approver } => office.window_closing(&message, &approver).await,
            Address::Freeze { operator } => office.freeze(&message, &operator).await,
            Address::Unfreeze { operator } => office.unfreeze(&message, &operator).await,
            Address::OutcomeFound { operator } => office.outcome_found(&message, &operator).await,
            other => {
                let subject = other.subject();
                Err(Failure::poison(format!(
                    "`{subject}` is nothing that people say"
                )))
            }
        }
    }

    fn redactor(&self) -> &Redactor {
        &self.0.redactor
    }

    fn meta(&self) -> Meta {
        self.0.meta(None)
    }
}

impl Office {
    /// Whether a message that came before was refused then.
    async fn was_refused(&self, message: &Incoming) -> Result<bool, Failure> {
        let seq = message.token.clone();
        self.stands::<ControlRefused>(&Address::ControlRefused { seq })
            .await
    }

    /// Answers a message that changes nothing and gets no other answer, with a stable code
    /// and a sentence that says why and what to do.
    pub(crate) async fn refuse(
        &self,
        message: &Incoming,
        person: &PersonId,
        code: &'static str,
        why: String,
    ) -> Result<(), Failure> {
        let address = Address::ControlRefused {
            seq: message.token.clone(),
        };
        let event = ControlRefused {
            schema_version: 1,
            person: person.clone(),
            code: code.to_owned(),
            // A reader's complaint may quote what it could not read.
            message: self.redact(&why),
        };
        counters::refused(code);
        self.say(&address, &event, trace_of(message).as_deref())
            .await
    }
}
