//! The agents and the person, as anyone writes them from the documentation: one NATS
//! client, one key, JSON.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_nats::{Client, ConnectOptions, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::{IntentId, headers};
use futures::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Republish is at most once, so a client that hears nothing looks for itself.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A stored event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Its name, such as `tool.approved`.
    pub(crate) name: String,
    /// Its body.
    pub(crate) body: Value,
}

impl Event {
    fn read(subject: &str, payload: &[u8]) -> anyhow::Result<Self> {
        let name: Vec<&str> = subject.split('.').take(2).collect();
        Ok(Self {
            name: name.join("."),
            body: serde_json::from_slice(payload)
                .with_context(|| format!("the message on {subject} is not JSON"))?,
        })
    }

    /// A text of the body; empty where there is none.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        let found = self.body.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default()
    }

    /// Whether nothing more follows it in its chain.
    pub(crate) fn is_end(&self) -> bool {
        matches!(
            self.name.as_str(),
            "tool.completed" | "tool.blocked" | "tool.revoked" | "tool.refused"
        )
    }
}

async fn connect(url: &str, name: &str, seed: String) -> anyhow::Result<Client> {
    ConnectOptions::new()
        .name(name)
        .nkey(seed)
        .custom_inbox_prefix(format!("_INBOX_{name}"))
        .connect(url)
        .await
        .with_context(|| format!("the server refuses {name}"))
}

/// The last message over a filter, by direct get in the form that carries the subject.
async fn direct(client: &Client, filter: &str) -> anyhow::Result<Option<Event>> {
    let subject = format!("$JS.API.DIRECT.GET.CS_EVENTS.{filter}");
    let reply = client.request(subject, Bytes::new()).await?;
    let stored = reply
        .headers
        .as_ref()
        .and_then(|headers| headers.get("Nats-Subject"));
    stored
        .map(|subject| Event::read(subject.as_str(), &reply.payload))
        .transpose()
}

/// Publishes to a stream and returns the sequence of the stored message.
async fn store(client: &Client, subject: String, body: &Value) -> anyhow::Result<u64> {
    let mut given = HeaderMap::new();
    given.insert(headers::MSG_ID, uuid::Uuid::now_v7().to_string());
    let reply = client
        .request_with_headers(subject.clone(), given, body.to_string().into())
        .await
        .with_context(|| format!("no answer to the message on {subject}"))?;
    let ack: Value = serde_json::from_slice(&reply.payload)?;
    match ack.get("seq").and_then(Value::as_u64) {
        Some(seq) => Ok(seq),
        None => bail!("the server did not store the message on {subject}: {ack}"),
    }
}

/// An agent.
pub(crate) struct Agent {
    client: Client,
    name: String,
}

/// What an agent asks for.
pub(crate) struct Wish<'a> {
    /// Which tool.
    pub(crate) tool: &'a str,
    /// With what.
    pub(crate) input: Value,
    /// On whose behalf.
    pub(crate) requester: &'a str,
    /// Why.
    pub(crate) purpose: &'a str,
}

impl Agent {
    /// Connects with the agent's own key.
    ///
    /// # Errors
    /// When the server refuses it.
    pub(crate) async fn connect(url: &str, name: &str, seed: String) -> anyhow::Result<Self> {
        Ok(Self {
            client: connect(url, name, seed).await?,
            name: name.to_owned(),
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Subscribes first, then publishes the intent.
    ///
    /// # Errors
    /// When the intent is not stored.
    pub(crate) async fn ask(&self, wish: &Wish<'_>) -> anyhow::Result<Asked<'_>> {
        let intent = IntentId::new_at(SystemClock.now()).to_string();
        let chain = format!("tool.*.{}.{intent}", self.name);
        let heard = self.client.subscribe(chain.clone()).await?;
        self.client.flush().await?;
        let body = json!({
            "schema_version": 1,
            "intent_id": intent,
            "tool": wish.tool,
            "input": wish.input,
            "requester": {"id": wish.requester},
            "purpose": wish.purpose,
        });
        let subject = format!("tool.requested.{}", self.name);
        let seq = store(&self.client, subject, &body).await?;
        Ok(Asked {
            agent: self,
            intent,
            chain,
            seq,
            heard,
            seen: HashSet::new(),
            look: ticks(),
        })
    }
}

fn ticks() -> Interval {
    let mut look = interval(LOOK_AGAIN);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.reset();
    look
}

fn heard(message: Option<Message>) -> anyhow::Result<Event> {
    let message = message.context("the connection was closed")?;
    Event::read(&message.subject, &message.payload)
}

/// An intent that was asked for.
pub(crate) struct Asked<'a> {
    agent: &'a Agent,
    /// Its id.
    pub(crate) intent: String,
    chain: String,
    seq: u64,
    heard: Subscriber,
    seen: HashSet<String>,
    look: Interval,
}

impl Asked<'_> {
    /// The next event of the intent.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            // What was heard comes first, also during a look, which finds the last event alone.
            let event = tokio::select! {
                biased;
                message = self.heard.next() => Some(heard(message)?),
                _ = self.look.tick() => {
                    let found = self.look().await?;
                    match self.heard.next().now_or_never() {
                        Some(message) => Some(heard(message)?),
                        None => found,
                    }
                }
            };
            if let Some(event) = event.filter(|event| self.seen.insert(event.name.clone())) {
                return Ok(event);
            }
        }
    }

    async fn look(&self) -> anyhow::Result<Option<Event>> {
        let client = &self.agent.client;
        let refused = format!("tool.refused.{}.*.{}", self.agent.name, self.seq);
        match direct(client, &refused).await? {
            Some(event) => Ok(Some(event)),
            None => direct(client, &self.chain).await,
        }
    }

    /// The next event, which must be this one.
    ///
    /// # Errors
    /// When another one came.
    pub(crate) async fn expect(&mut self, name: &str) -> anyhow::Result<Event> {
        loop {
            let event = self.next().await?;
            if event.name == name {
                return Ok(event);
            }
            ensure!(
                !event.is_end(),
                "instead of {name} came {}: {}",
                event.name,
                event.body
            );
        }
    }
}

/// A person who decides.
pub(crate) struct Approver {
    client: Client,
    name: String,
    handoffs: Subscriber,
}

impl Approver {
    /// Connects with the person's own key and listens to what people are told.
    ///
    /// # Errors
    /// When the server refuses it.
    pub(crate) async fn connect(url: &str, name: &str, seed: String) -> anyhow::Result<Self> {
        let client = connect(url, name, seed).await?;
        let handoffs = client.subscribe("handoff.>").await?;
        client.flush().await?;
        Ok(Self {
            client,
            name: name.to_owned(),
            handoffs,
        })
    }

    /// Waits for the message to people of this kind about an intent.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) async fn told(&mut self, kind: &str, intent: &str) -> anyhow::Result<Event> {
        loop {
            let message = self.handoffs.next().await;
            let message = message.context("the connection was closed")?;
            let event = Event::read(&message.subject, &message.payload)?;
            let about = event.body.get("intents").and_then(Value::as_array);
            let about = about.is_some_and(|ids| ids.iter().any(|id| id == intent));
            if about && event.text("/kind") == kind {
                return Ok(event);
            }
        }
    }

    /// Opens one approval, as `countersign approvals show` does.
    ///
    /// # Errors
    /// When it is not shown.
    pub(crate) async fn view(&self, approval: &str) -> anyhow::Result<Value> {
        let question = json!({"op": "show", "approval_id": approval}).to_string();
        let subject = format!("cs.approval.view.{}", self.name);
        let reply = self.client.request(subject, question.into()).await?;
        let answer: Value = serde_json::from_slice(&reply.payload)
            .with_context(|| format!("the approval {approval} is not shown"))?;
        let shown = answer.get("approval").cloned();
        shown.with_context(|| format!("the approval {approval} is not shown: {answer}"))
    }

    /// Votes yes for exactly what was shown and returns the answer.
    ///
    /// # Errors
    /// When the vote is not answered.
    pub(crate) async fn approve(
        &self,
        approval: &str,
        digest: &str,
        reason: &str,
    ) -> anyhow::Result<Event> {
        let body = json!({
            "schema_version": 1,
            "approval_id": approval,
            "digest": digest,
            "vote": "approve",
            "reason": reason,
        });
        let mut heard = self
            .client
            .subscribe(format!("approval.voted.{approval}.>"))
            .await?;
        let seq = store(&self.client, format!("approval.vote.{}", self.name), &body).await?;
        let answer = format!("approval.voted.{approval}.*.{seq}");
        let mine = format!(".{seq}");
        let mut look = ticks();
        loop {
            let event = tokio::select! {
                biased;
                message = heard.next() => message
                    .filter(|message| message.subject.ends_with(&mine))
                    .map(|message| Event::read(&message.subject, &message.payload))
                    .transpose()?,
                _ = look.tick() => direct(&self.client, &answer).await?,
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_named_by_their_subject() {
        let event = Event::read("tool.blocked.support.1", br#"{"a":{"b":"x"}}"#).unwrap();
        assert_eq!(event.name, "tool.blocked");
        assert_eq!(event.text("/a/b"), "x");
        assert_eq!(event.text("/a/c"), "");
        assert!(event.is_end());
        assert!(!Event::read("tool.started.a.b", b"{}").unwrap().is_end());
        assert!(Event::read("tool.started.a.b", b"x").is_err());
    }
}
