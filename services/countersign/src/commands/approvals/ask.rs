//! Questions to the approval coordinator.

use std::time::Duration;

use bytes::Bytes;
use countersign_domain::approvals::{IntentOutcome, Listed, Shown, ViewReply, ViewRequest};
use countersign_domain::windows::WindowListed;
use countersign_runtime::bus::Bus;
use countersign_schemas::subjects::service;
use countersign_schemas::{AgentId, ApprovalId, IntentId, PersonId, headers};

use super::Filter;
use crate::exit::CliError;

/// How long the coordinator may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The pending approvals, and how many more there are than fit into one answer.
pub(super) async fn list(
    bus: &Bus,
    person: &PersonId,
    filter: Filter,
) -> Result<(Vec<Listed>, usize), CliError> {
    let Filter { mine, team, agent } = filter;
    match ask(bus, person, &ViewRequest::List { mine, team, agent }).await? {
        ViewReply::Listed { approvals, more } => Ok((approvals, more)),
        ViewReply::Shown { .. }
        | ViewReply::Outcome { .. }
        | ViewReply::Frozen { .. }
        | ViewReply::Windows { .. } => Err(something_else()),
    }
}

/// How many approvals wait for people.
pub(in crate::commands) async fn count(bus: &Bus, person: &PersonId) -> Result<usize, CliError> {
    let (approvals, more) = list(bus, person, Filter::default()).await?;
    Ok(approvals.len().saturating_add(more))
}

/// One approval.
pub(super) async fn show(
    bus: &Bus,
    person: &PersonId,
    approval_id: ApprovalId,
) -> Result<Shown, CliError> {
    let id = approval_id.clone();
    match ask(bus, person, &ViewRequest::Show { approval_id }).await? {
        ViewReply::Shown { approval } if approval.listed.asked.approval_id == id => Ok(*approval),
        ViewReply::Shown { .. }
        | ViewReply::Listed { .. }
        | ViewReply::Outcome { .. }
        | ViewReply::Windows { .. }
        | ViewReply::Frozen { .. } => Err(something_else()),
    }
}

/// How one intent ended.
pub(in crate::commands) async fn outcome(
    bus: &Bus,
    person: &PersonId,
    intent_id: IntentId,
) -> Result<IntentOutcome, CliError> {
    match ask(bus, person, &ViewRequest::Outcome { intent_id }).await? {
        ViewReply::Outcome { outcome_of } if outcome_of.intent_id == intent_id => Ok(outcome_of),
        ViewReply::Shown { .. }
        | ViewReply::Listed { .. }
        | ViewReply::Outcome { .. }
        | ViewReply::Windows { .. }
        | ViewReply::Frozen { .. } => Err(something_else()),
    }
}

/// The time windows of one agent or of all, and how many more there are than fit into one
/// answer.
pub(in crate::commands) async fn windows(
    bus: &Bus,
    person: &PersonId,
    agent: Option<&AgentId>,
) -> Result<(Vec<WindowListed>, usize), CliError> {
    let agent = agent.cloned();
    match ask(bus, person, &ViewRequest::Windows { agent }).await? {
        ViewReply::Windows { windows, more } => Ok((windows, more)),
        ViewReply::Shown { .. }
        | ViewReply::Listed { .. }
        | ViewReply::Outcome { .. }
        | ViewReply::Frozen { .. } => Err(something_else()),
    }
}

/// What is frozen.
pub(in crate::commands) async fn freezes(
    bus: &Bus,
    person: &PersonId,
) -> Result<ViewReply, CliError> {
    ask(bus, person, &ViewRequest::Freezes {}).await
}

fn something_else() -> CliError {
    CliError::unexpected("the coordinator answered something else than was asked")
}

async fn ask(bus: &Bus, person: &PersonId, question: &ViewRequest) -> Result<ViewReply, CliError> {
    let silent = |reason: String| {
        CliError::Unreachable(format!(
            "the approval coordinator does not answer ({reason}); is it running?"
        ))
    };
    let body = serde_json::to_vec(question).map_err(CliError::unexpected)?;
    let subject = service::approval_view(person).to_string();
    let asked = bus.client().request(subject, Bytes::from(body));
    let reply = tokio::time::timeout(ANSWER_TIMEOUT, asked)
        .await
        .map_err(|_| silent(format!("{} s", ANSWER_TIMEOUT.as_secs())))?
        .map_err(|error| silent(error.to_string()))?;
    let header = |name: &str| {
        let headers = reply.headers.as_ref()?;
        headers.get(name).map(async_nats::HeaderValue::as_str)
    };
    if let Some(text) = header(headers::SERVICE_ERROR) {
        return Err(refusal(header(headers::SERVICE_ERROR_CODE), text));
    }
    serde_json::from_slice(&reply.payload)
        .map_err(|_| CliError::unexpected("the coordinator's answer cannot be read"))
}

/// What a service error means to the caller: 5xx is the service's own trouble.
fn refusal(code: Option<&str>, text: &str) -> CliError {
    match code {
        Some(code) if code.starts_with('5') => CliError::unreachable(text),
        _ => CliError::Refused(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_refusal_and_a_failing_service_are_told_apart() {
        assert_eq!(refusal(Some("404"), "none").exit(), Exit::Denied);
        assert_eq!(refusal(None, "no").exit(), Exit::Denied);
        assert_eq!(refusal(Some("503"), "later").exit(), Exit::Unreachable);
    }
}
