//! Agents and approvers as outsiders write them: a plain NATS client, a key, JSON.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap, Request};
use bytes::Bytes;
use countersign_runtime::bus::log_in;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::{IntentId, Timestamp};
use serde_json::{Value, json};

use crate::events::Event;
use crate::wait::eventually;

/// How long an answer may take on a busy machine, also where a service was killed: what it had
/// not acked comes again after half a minute.
pub const PATIENCE: Duration = Duration::from_secs(90);

async fn connect(url: &str, name: &str, seed: &str) -> Client {
    log_in(ConnectOptions::new(), seed)
        .expect("a credential")
        .name(name)
        .custom_inbox_prefix(format!("_INBOX_{name}"))
        .connection_timeout(PATIENCE)
        .connect(urls(url))
        .await
        .expect("the server accepts the key")
}

/// The servers of a list with commas.
pub(crate) fn urls(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

/// The last message over a filter, by direct get in the form that carries the subject.
async fn direct(client: &Client, filter: &str) -> Option<Event> {
    let subject = format!("$JS.API.DIRECT.GET.CS_EVENTS.{filter}");
    let reply = client.request(subject, Bytes::new()).await.ok()?;
    let headers = reply.headers.as_ref()?;
    let stored = headers.get("Nats-Subject")?.to_string();
    let seq = headers.get("Nats-Sequence")?.as_str().parse().ok()?;
    Some(Event::new(
        &stored,
        seq,
        reply.headers.as_ref(),
        &reply.payload,
    ))
}

/// Sends again under one message id until JetStream answers, as whoever hears nothing does.
async fn stored(client: &Client, subject: String, body: Bytes) -> Ack {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", uuid::Uuid::new_v4().to_string());
    eventually(PATIENCE, "JetStream answers", async || {
        let (subject, headers, body) = (subject.clone(), headers.clone(), body.clone());
        let sent = client.request_with_headers(subject, headers, body).await;
        serde_json::from_slice(&sent.ok()?.payload).ok().map(Ack)
    })
    .await
}

/// What JetStream said to a publish.
#[derive(Debug, Clone)]
pub struct Ack(Value);

impl Ack {
    /// The sequence in the stream.
    ///
    /// # Panics
    /// When the message was not stored.
    pub fn seq(&self) -> u64 {
        self.0["seq"].as_u64().expect("the message was stored")
    }

    /// The refusal, where there is one.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.0.pointer("/error/description")?.as_str()
    }
}

/// An agent.
#[derive(Clone)]
pub struct Agent {
    client: Client,
    name: String,
}

impl Agent {
    pub(crate) async fn connect(url: &str, name: &str, seed: &str) -> Self {
        Self {
            client: connect(url, name, seed).await,
            name: name.to_owned(),
        }
    }

    /// Its client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A new intent in full.
    #[must_use]
    pub fn intent(&self, tool: &str, input: Value) -> Value {
        self.intent_at(SystemClock.now(), tool, input)
    }

    /// A new intent whose id says that it was made at `at`.
    #[must_use]
    pub fn intent_at(&self, at: Timestamp, tool: &str, input: Value) -> Value {
        json!({
            "schema_version": 1,
            "intent_id": IntentId::new_at(at),
            "tool": tool,
            "input": input,
            "requester": {"id": "mia"},
            "purpose": "a customer asked for it",
        })
    }

    /// Publishes an intent and returns its id.
    ///
    /// # Panics
    /// When it is not stored.
    pub async fn publish(&self, intent: &Value) -> String {
        let body = serde_json::to_vec(intent).expect("an intent is JSON");
        self.publish_bytes(body).await.seq();
        intent["intent_id"]
            .as_str()
            .expect("an intent has an id")
            .to_owned()
    }

    /// Publishes an intent again and again until it is known to be stored, as an agent
    /// does that loses its connection, and returns its id.
    ///
    /// # Panics
    /// When it is not stored in time.
    pub async fn publish_until_stored(&self, intent: &Value) -> String {
        let subject = format!("tool.requested.{}", self.name);
        eventually(PATIENCE, "an intent is stored", async || {
            let body = Bytes::from(intent.to_string());
            let reply = self.client.request(subject.clone(), body).await.ok()?;
            let ack: Value = serde_json::from_slice(&reply.payload).ok()?;
            ack["seq"].as_u64()
        })
        .await;
        intent["intent_id"]
            .as_str()
            .expect("an intent has an id")
            .to_owned()
    }

    /// Publishes any body as an intent.
    ///
    /// # Panics
    /// When JetStream does not answer.
    pub async fn publish_bytes(&self, body: impl Into<Bytes>) -> Ack {
        let subject = format!("tool.requested.{}", self.name);
        stored(&self.client, subject, body.into()).await
    }

    /// Takes an intent back.
    ///
    /// # Panics
    /// When it is not stored.
    pub async fn withdraw(&self, id: &str) {
        let body = json!({"schema_version": 1, "intent_id": id}).to_string();
        let subject = format!("tool.withdrawn.{}", self.name);
        stored(&self.client, subject, body.into()).await.seq();
    }

    /// The last message of an intent's chain, if there is one yet.
    pub async fn last(&self, id: &str) -> Option<Event> {
        direct(&self.client, &format!("tool.*.{}.{id}", self.name)).await
    }

    /// Waits for the decision, or what came after it.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn decision(&self, id: &str) -> Event {
        eventually(PATIENCE, &format!("a decision on {id}"), async || {
            self.last(id).await
        })
        .await
    }

    /// Waits for the end of the chain.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn end(&self, id: &str) -> Event {
        self.end_within(PATIENCE, id).await
    }

    /// Waits for the end of the chain.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn end_within(&self, deadline: Duration, id: &str) -> Event {
        eventually(deadline, &format!("the end of {id}"), async || {
            self.last(id).await.filter(Event::is_end)
        })
        .await
    }

    /// Waits for the refusal of the message at `seq`.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn refusal(&self, ack: &Ack) -> Event {
        self.refusal_at(ack.seq()).await
    }

    /// As [`Self::refusal`], by the sequence alone.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn refusal_at(&self, seq: u64) -> Event {
        let filter = format!("tool.refused.{}.*.{seq}", self.name);
        eventually(PATIENCE, &format!("a refusal of {filter}"), async || {
            direct(&self.client, &filter).await
        })
        .await
    }
}

/// A person who runs the system.
pub struct Operator {
    client: Client,
    name: String,
}

impl Operator {
    pub(crate) async fn connect(url: &str, name: &str, seed: &str) -> Self {
        Self {
            client: connect(url, name, seed).await,
            name: name.to_owned(),
        }
    }

    /// Their client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Gives an order, `freeze` or `unfreeze`; its sequence. Sent until it is known to be
    /// stored, as a person does who sees no answer.
    ///
    /// # Panics
    /// When it is not stored in time.
    pub async fn order(&self, what: &str, scope: &Value) -> u64 {
        let subject = format!("control.{what}.{}", self.name);
        let body = json!({"schema_version": 1, "scope": scope, "reason": "a test"});
        let body = Bytes::from(body.to_string());
        stored(&self.client, subject, body).await.seq()
    }

    /// The event of this name about the order at `seq`, once it is there.
    ///
    /// # Panics
    /// When it is not there in time.
    pub async fn answer(&self, event: &str, seq: u64) -> Event {
        let filter = format!("{event}.*.{seq}");
        eventually(PATIENCE, &filter, async || {
            direct(&self.client, &filter).await
        })
        .await
    }
}

/// A person who decides.
pub struct Approver {
    client: Client,
    name: String,
}

impl Approver {
    pub(crate) async fn connect(url: &str, name: &str, seed: &str) -> Self {
        Self {
            client: connect(url, name, seed).await,
            name: name.to_owned(),
        }
    }

    /// Their client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What `cs.approval.view` shows this person.
    pub async fn view(&self, request: &Value) -> Value {
        let subject = format!("cs.approval.view.{}", self.name);
        let body = request.to_string();
        match self.client.request(subject, body.into()).await {
            Ok(reply) => serde_json::from_slice(&reply.payload).unwrap_or(Value::Null),
            Err(_) => Value::Null,
        }
    }

    /// What the query service answers, if it does within `deadline`.
    pub async fn look_up(&self, deadline: Duration, sql: &str) -> Option<Value> {
        let subject = format!("cs.audit.query.{}", self.name);
        let body = json!({"sql": sql}).to_string();
        let asked = Request::new().payload(body.into()).timeout(Some(deadline));
        let reply = self.client.send_request(subject, asked).await.ok()?;
        let refused = reply
            .headers
            .is_some_and(|head| head.get("Nats-Service-Error-Code").is_some());
        match refused {
            true => None,
            false => serde_json::from_slice(&reply.payload).ok(),
        }
    }

    /// Waits until people are asked about an intent, and returns `approval.requested`.
    ///
    /// # Panics
    /// When nobody is asked in time.
    pub async fn asked(&self, id: &str) -> Event {
        self.asked_about(&format!("a-{id}")).await
    }

    /// Waits until people are asked about an approval, and returns `approval.requested`.
    ///
    /// # Panics
    /// When nobody is asked in time.
    pub async fn asked_about(&self, approval: &str) -> Event {
        let filter = format!("approval.requested.{approval}");
        let what = format!("people are asked about {approval}");
        eventually(PATIENCE, &what, async || {
            direct(&self.client, &filter).await
        })
        .await
    }

    /// Waits until it is told how an approval ended.
    ///
    /// # Panics
    /// When it is not told in time.
    pub async fn told(&self, approval: &str) -> Event {
        let filter = format!("approval.resolved.{approval}");
        let what = format!("the end of {approval}");
        eventually(PATIENCE, &what, async || {
            direct(&self.client, &filter).await
        })
        .await
    }

    /// Votes and returns the answer, `approval.voted`.
    ///
    /// # Panics
    /// When there is no answer in time.
    pub async fn vote(&self, approval: &str, digest: &str, vote: &str) -> Event {
        let seq = self.cast(approval, digest, vote, None).await;
        self.answer(approval, seq).await
    }

    async fn answer(&self, approval: &str, seq: u64) -> Event {
        let filter = format!("approval.voted.{approval}.*.{seq}");
        eventually(PATIENCE, "an answer to the vote", async || {
            direct(&self.client, &filter).await
        })
        .await
    }

    /// Votes, for these items of a bundle only where some are named, and returns the
    /// sequence of the vote.
    ///
    /// # Panics
    /// When it is not stored.
    pub async fn cast(
        &self,
        approval: &str,
        digest: &str,
        vote: &str,
        items: Option<&[String]>,
    ) -> u64 {
        let body = json!({
            "schema_version": 1,
            "approval_id": approval,
            "digest": digest,
            "vote": vote,
            "items": items,
            "reason": "looked at it",
        });
        self.send(&body).await
    }

    /// Approves and asks for a time window with it.
    ///
    /// # Panics
    /// When there is no answer in time.
    pub async fn vote_for_window(&self, approval: &str, digest: &str, window: Value) -> Event {
        let body = json!({
            "schema_version": 1,
            "approval_id": approval,
            "digest": digest,
            "vote": "approve",
            "window": window,
        });
        let seq = self.send(&body).await;
        self.answer(approval, seq).await
    }

    async fn send(&self, body: &Value) -> u64 {
        let subject = format!("approval.vote.{}", self.name);
        stored(&self.client, subject, body.to_string().into())
            .await
            .seq()
    }
}
