//! Asks every service how it is.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use countersign_runtime::bus::Bus;
use countersign_runtime::health::ServiceHealth;
use countersign_schemas::PersonId;
use countersign_schemas::subjects::service;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::report::SERVICES;
use crate::exit::CliError;

/// How long a service may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long more is waited once each has answered: one may run several times.
const MORE_WITHIN: Duration = Duration::from_millis(250);
/// Answers of one question: more than any deployment runs.
const ANSWERS_MAX: usize = 1_000;

/// What every service that answers says, by name and start.
pub(super) async fn health(bus: &Bus, operator: &PersonId) -> Result<Vec<ServiceHealth>, CliError> {
    let client = bus.client();
    let inbox = client.new_inbox();
    let mut answers = client
        .subscribe(inbox.clone())
        .await
        .map_err(CliError::unreachable)?;
    let subject = service::health(operator).to_string();
    client
        .publish_with_reply(subject, inbox, Bytes::new())
        .await
        .map_err(CliError::unreachable)?;
    client.flush().await.map_err(CliError::unreachable)?;
    let mut told: Vec<ServiceHealth> = Vec::new();
    let mut silent: BTreeSet<&str> = SERVICES.iter().map(|service| service.name).collect();
    let mut deadline = Instant::now() + ANSWER_WITHIN;
    while let Ok(Some(answer)) = timeout_at(deadline, answers.next()).await {
        // A server without a single one of them says so with an empty message.
        let Ok(one) = serde_json::from_slice::<ServiceHealth>(&answer.payload) else {
            continue;
        };
        silent.remove(one.service.as_str());
        told.push(one);
        if silent.is_empty() {
            deadline = deadline.min(Instant::now() + MORE_WITHIN);
        }
        if told.len() >= ANSWERS_MAX {
            break;
        }
    }
    told.sort_by(|one, other| (&one.service, one.since).cmp(&(&other.service, other.since)));
    Ok(told)
}
