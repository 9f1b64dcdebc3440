//! Verdicts: what the checker found becomes a decision, or a question to people.

use std::sync::Arc;

use countersign_domain::decision::Course;
use countersign_domain::redact::Redactor;
use countersign_runtime::bus::{Failure, Handler, Incoming, Meta};
use countersign_schemas::events::{PolicyChecked, Verdict};
use countersign_schemas::{Address, headers};

use crate::office::{Office, decode, readable, trace_of};

/// Handles `policy.checked`.
pub(crate) struct Verdicts(pub(crate) Arc<Office>);

impl Handler for Verdicts {
    async fn handle(&self, message: Incoming) -> Result<(), Failure> {
        let checked = read(&message).or_else(|why| {
            readable(&message.as_last())?;
            Err(Failure::poison(why))
        })?;
        let office = &self.0;
        let trace = trace_of(&message);
        let trace = trace.as_deref();
        if let Some(place) = &checked.bundle {
            return office
                .gather(&checked, place, message.stored_at, trace)
                .await;
        }
        if checked.verdict == Verdict::Allow {
            office.trust_clock()?;
        }
        let course = office
            .desk
            .course(&checked, office.clock.now())
            .map_err(|error| Failure::fatal(format!("cannot sign a permit: {error}")))?;
        match course {
            Course::Decide(decision) => {
                let decision = office.unless_frozen(decision, &checked)?;
                office.decide_at_once(&decision, &checked, trace).await
            }
            Course::Ask if office.lift(&checked, &message).await? => Ok(()),
            Course::Ask => {
                let stored_at = message.stored_at;
                office.ask_unless_frozen(&checked, stored_at, trace).await
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

/// A verdict counts only if it speaks of the agent and intent of its own subject.
fn read(message: &Incoming) -> Result<PolicyChecked, String> {
    let checked: PolicyChecked = decode(message.header(headers::CE_TYPE), &message.payload)?;
    match &message.address {
        Address::PolicyChecked { agent, intent }
            if *agent == checked.agent && *intent == checked.intent_id =>
        {
            Ok(checked)
        }
        _ => Err("the verdict speaks of another intent than its subject".to_owned()),
    }
}
