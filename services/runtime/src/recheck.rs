//! Asking the checker whether something that an earlier bundle judged still runs. Silence
//! is an answer of its own: whoever asks never takes it for a yes.

use std::time::Duration;

use bytes::Bytes;
use countersign_domain::policy::protocol::{RecheckReply, RecheckRequest};
use countersign_schemas::headers;

use crate::bus::Bus;

/// Where the checkers answer.
const SUBJECT: &str = "cs.policy.recheck";
/// How long the answer may take: a judgement with its look-ups, well below the 30 s after
/// which whatever asks would be delivered again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no answer, in words that people are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswered {
    /// Nobody answered in time.
    #[error("the policy checker does not answer")]
    Silent,
    /// It cannot read what is stored, or finds nothing.
    #[error("the policy checker cannot judge it again")]
    Refused,
    /// The question or the answer has no form.
    #[error("the policy checker's answer is unreadable")]
    Unreadable,
    /// The answer is about something else.
    #[error("the policy checker's answer is about another intent")]
    Foreign,
}

/// Asks about one intent.
///
/// # Errors
/// Why there is no answer.
pub async fn ask(bus: &Bus, question: &RecheckRequest) -> Result<RecheckReply, Unanswered> {
    let body = serde_json::to_vec(question).map_err(|_| Unanswered::Unreadable)?;
    let asked = bus.client().request(SUBJECT, Bytes::from(body));
    let reply = match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) | Err(_) => return Err(Unanswered::Silent),
    };
    let refused = reply.headers.as_ref();
    if refused.is_some_and(|all| all.get(headers::SERVICE_ERROR).is_some()) {
        return Err(Unanswered::Refused);
    }
    let answer: RecheckReply =
        serde_json::from_slice(&reply.payload).map_err(|_| Unanswered::Unreadable)?;
    match answer.intent_id == question.intent_id {
        true => Ok(answer),
        false => Err(Unanswered::Foreign),
    }
}
