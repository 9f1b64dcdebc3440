//! Orders to freeze and to release. Storing `control.applied` is all that is done here:
//! whatever follows from it is done by every coordinator that finds it in the log.

use countersign_domain::freeze::{InvalidOrder, Order};
use countersign_runtime::bus::{Failure, Incoming};
use countersign_schemas::events::{ControlApplied, ControlFreeze, ControlUnfreeze};
use countersign_schemas::{Address, PersonId};

use crate::office::{Office, decode_outside, trace_of};

/// Freezes in force at once. Every decision looks at each of them, and nobody keeps more
/// than this apart: beyond it everything is frozen, and that order is never refused.
const IN_FORCE_MAX: usize = 1_000;

impl Office {
    /// An order to freeze.
    pub(crate) async fn freeze(
        &self,
        message: &Incoming,
        operator: &PersonId,
    ) -> Result<(), Failure> {
        let read = decode_outside::<ControlFreeze>(message);
        let read = read.map(|order| (order.scope, order.reason));
        self.switch(message, operator, true, read).await
    }

    /// An order to release.
    pub(crate) async fn unfreeze(
        &self,
        message: &Incoming,
        operator: &PersonId,
    ) -> Result<(), Failure> {
        let read = decode_outside::<ControlUnfreeze>(message);
        let read = read.map(|order| (order.scope, order.reason));
        self.switch(message, operator, false, read).await
    }

    async fn switch(
        &self,
        message: &Incoming,
        operator: &PersonId,
        frozen: bool,
        read: Result<(countersign_schemas::events::FreezeScope, String), String>,
    ) -> Result<(), Failure> {
        let (scope, reason) = match read {
            Ok(read) => read,
            Err(why) => return self.refuse(message, operator, "unreadable", why).await,
        };
        let redact = |text: &str| self.redact(text);
        let order = match Order::check(&message.payload, scope, &reason, &redact) {
            Ok(order) => order,
            Err(invalid) => {
                let (code, why) = (code_of(invalid), invalid.to_string());
                return self.refuse(message, operator, code, why).await;
            }
        };
        if frozen && !self.freezes.takes(&order.scope, IN_FORCE_MAX)? {
            let why = format!(
                "{IN_FORCE_MAX} freezes are in force already; freeze everything, or release \
                 some; nothing was changed"
            );
            return self
                .refuse(message, operator, "too_many_freezes", why)
                .await;
        }
        let event = ControlApplied {
            schema_version: 1,
            frozen,
            scope: order.scope,
            operator: operator.clone(),
            reason: order.reason,
            applied_at: message.stored_at,
        };
        let address = Address::ControlApplied {
            seq: message.token.clone(),
        };
        self.say(&address, &event, trace_of(message).as_deref())
            .await?;
        tracing::warn!(order = %message.token, %operator, frozen, "an order takes effect");
        Ok(())
    }
}

fn code_of(invalid: InvalidOrder) -> &'static str {
    match invalid {
        InvalidOrder::UnknownPart | InvalidOrder::NamesNothing => "unknown_scope",
        InvalidOrder::NoReason | InvalidOrder::LongReason => "reason",
    }
}
