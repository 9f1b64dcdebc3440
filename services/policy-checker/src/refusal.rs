//! `tool.refused`: the answer to a message that gets no verdict.

use countersign_domain::redact::Redactor;
use countersign_runtime::bus::Incoming;
use countersign_schemas::events::{RequestRef, ToolRefused};
use countersign_schemas::{Address, AgentId};

use crate::intake::Refusal;

/// Characters of the sentence: a line that a person reads.
const MESSAGE_CHARS_MAX: usize = 500;

/// The reference to a stored message.
pub(crate) fn request_ref(message: &Incoming) -> RequestRef {
    RequestRef {
        stream: message.stream.name().to_owned(),
        incarnation: message.token.incarnation.clone(),
        seq: message.seq,
    }
}

/// Where the refusal of a message is stored: once, whatever is redelivered.
pub(crate) fn address(message: &Incoming, agent: &AgentId) -> Address {
    Address::ToolRefused {
        agent: agent.clone(),
        seq: message.token.clone(),
    }
}

/// The refusal as an event. Its sentence is scanned once more: a reader's complaint may
/// quote what it could not read.
pub(crate) fn event(
    message: &Incoming,
    agent: &AgentId,
    refusal: Refusal,
    redactor: &Redactor,
) -> ToolRefused {
    let sentence = redactor.text(&refusal.message).text;
    ToolRefused {
        schema_version: 1,
        intent_id: refusal.intent,
        agent: agent.clone(),
        request: request_ref(message),
        code: refusal.code,
        message: sentence.chars().take(MESSAGE_CHARS_MAX).collect(),
    }
}
