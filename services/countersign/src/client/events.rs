//! What an agent hears about its intent.

use countersign_schemas::events::{
    BlockedCode, Need, NextAction, Outcome, Reason, RevokedCode, ToolApproved, ToolBlocked,
    ToolCompleted, ToolRefused, ToolRevoked, ToolStarted,
};
use countersign_schemas::{Address, Event, SeqToken};
use serde::Serialize;
use serde_json::{Value, json};

use super::read::Received;
use crate::exit::{CliError, Exit};
use crate::output::pairs;

/// One event of an intent, proved to be what its subject says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum IntentEvent {
    /// The message got no decision of its own.
    Refused(ToolRefused),
    /// It may run.
    Approved(Box<ToolApproved>),
    /// It is running.
    Started(ToolStarted),
    /// It may not run.
    Blocked(Box<ToolBlocked>),
    /// It may no longer run.
    Revoked(Box<ToolRevoked>),
    /// It ran.
    Completed(Box<ToolCompleted>),
}

impl IntentEvent {
    /// Reads a message, but only if type, agent and intent in it equal its subject: a
    /// genuine message can be made to land on a foreign subject.
    pub(crate) fn read(message: &Received) -> Option<Self> {
        let event = match message.address {
            Address::ToolRefused { .. } => Self::Refused(message.event()?),
            Address::ToolApproved { .. } => Self::Approved(Box::new(message.event()?)),
            Address::ToolStarted { .. } => Self::Started(message.event()?),
            Address::ToolBlocked { .. } => Self::Blocked(Box::new(message.event()?)),
            Address::ToolRevoked { .. } => Self::Revoked(Box::new(message.event()?)),
            Address::ToolCompleted { .. } => Self::Completed(Box::new(message.event()?)),
            _ => return None,
        };
        (event.address() == message.address).then_some(event)
    }

    /// Where it belongs by its own words.
    fn address(&self) -> Address {
        match self {
            Self::Refused(event) => Address::ToolRefused {
                agent: event.agent.clone(),
                seq: SeqToken::new(event.request.incarnation.clone(), event.request.seq),
            },
            Self::Approved(event) => Address::ToolApproved {
                agent: event.agent.clone(),
                intent: event.intent_id,
            },
            Self::Started(event) => Address::ToolStarted {
                agent: event.agent.clone(),
                intent: event.intent_id,
            },
            Self::Blocked(event) => Address::ToolBlocked {
                agent: event.agent.clone(),
                intent: event.intent_id,
            },
            Self::Revoked(event) => Address::ToolRevoked {
                agent: event.agent.clone(),
                intent: event.intent_id,
            },
            Self::Completed(event) => Address::ToolCompleted {
                agent: event.agent.clone(),
                intent: event.intent_id,
            },
        }
    }

    /// The sequence of the message that it answers, where it says so.
    pub(crate) fn answers(&self) -> Option<u64> {
        match self {
            Self::Refused(event) => Some(event.request.seq),
            Self::Approved(event) => Some(event.request.seq),
            Self::Blocked(event) => Some(event.request.seq),
            Self::Revoked(event) => Some(event.request.seq),
            Self::Started(_) | Self::Completed(_) => None,
        }
    }

    /// How the process ends on it; `None` while something more must come.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match self {
            Self::Approved(_) | Self::Started(_) => None,
            Self::Refused(_) => Some(Exit::Denied),
            Self::Blocked(event) => Some(match event.code {
                BlockedCode::ApprovalExpired => Exit::Expired,
                _ => Exit::Denied,
            }),
            Self::Revoked(event) => Some(match event.code {
                RevokedCode::PermitExpired => Exit::Expired,
                _ => Exit::Denied,
            }),
            Self::Completed(event) => Some(match event.outcome {
                Outcome::Succeeded => Exit::Done,
                Outcome::Failed => Exit::ToolFailed,
                Outcome::Unknown => Exit::OutcomeUnknown,
            }),
        }
    }

    /// How far the intent has come, so that an older event never hides a newer one.
    pub(crate) fn stage(&self) -> u8 {
        match self {
            Self::Approved(_) => 1,
            Self::Started(_) => 2,
            Self::Refused(_) | Self::Blocked(_) | Self::Revoked(_) | Self::Completed(_) => 3,
        }
    }

    /// The event with its name. The permit is left out: it is for workers.
    pub(crate) fn to_json(&self) -> Result<Value, CliError> {
        match self {
            Self::Refused(event) => named(event),
            Self::Approved(event) => named(event.as_ref()).map(|mut value| {
                if let Some(fields) = value.as_object_mut() {
                    fields.remove("permit");
                }
                value
            }),
            Self::Started(event) => named(event),
            Self::Blocked(event) => named(event.as_ref()),
            Self::Revoked(event) => named(event.as_ref()),
            Self::Completed(event) => named(event.as_ref()),
        }
    }

    /// The event for a person.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Refused(event) => pairs(&[
                ("refused", event.code.to_string()),
                ("why", event.message.clone()),
            ]),
            Self::Approved(event) => pairs(&[
                ("approved", event.intent_id.to_string()),
                ("by", event.basis.kind.to_string()),
                ("until", event.approved_until.to_string()),
            ]),
            Self::Started(event) => pairs(&[
                ("started", event.intent_id.to_string()),
                ("until", event.lease_until.to_string()),
            ]),
            Self::Blocked(event) => {
                let stop = ("blocked", event.code.to_string());
                stopped(
                    stop,
                    &event.tried,
                    &event.reasons,
                    &event.needs,
                    event.next_action,
                )
            }
            Self::Revoked(event) => {
                let stop = ("revoked", event.code.to_string());
                stopped(
                    stop,
                    &event.tried,
                    &event.reasons,
                    &event.needs,
                    event.next_action,
                )
            }
            Self::Completed(event) => completed(event),
        }
    }
}

fn named<E: Event + Serialize>(event: &E) -> Result<Value, CliError> {
    let mut value = json!({ "event": E::NAME });
    if let (Some(fields), Value::Object(body)) = (
        value.as_object_mut(),
        serde_json::to_value(event).map_err(CliError::unexpected)?,
    ) {
        fields.extend(body);
    }
    Ok(value)
}

fn stopped(
    stop: (&str, String),
    tried: &str,
    reasons: &[Reason],
    needs: &[Need],
    next: NextAction,
) -> String {
    let next = match next {
        NextAction::Request => "ask the people named, then try again",
        NextAction::Retry => "try again later, as a new intent",
        NextAction::None => "nothing; do not work around it",
    };
    let mut lines = vec![stop, ("tried", tried.to_owned())];
    lines.extend(reasons.iter().map(|reason| ("why", reason.message.clone())));
    lines.extend(needs.iter().map(|need| ("needed", need.message.clone())));
    lines.push(("next", next.to_owned()));
    pairs(&lines)
}

fn completed(event: &ToolCompleted) -> String {
    let mut lines = vec![
        ("completed", event.outcome.to_string()),
        ("result", event.output_summary.clone()),
    ];
    if let Some(error) = &event.error {
        lines.push(("error", error.message.clone()));
    }
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "?".to_owned());
    lines.extend(event.changes.iter().map(|change| {
        let (before, after) = (shown(&change.before), shown(&change.after));
        let text = format!("{} {}: {before} → {after}", change.resource, change.field);
        ("changed", text)
    }));
    pairs(&lines)
}

#[cfg(test)]
#[path = "events/tests.rs"]
mod tests;
