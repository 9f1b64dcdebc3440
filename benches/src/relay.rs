//! A bare JetStream relay: the least that any service of this shape must do. It reads a
//! durable, publishes a message of a given size under compare-and-set, waits for its ack
//! and acks its input; it parses, judges and signs nothing.

use std::collections::HashMap;

use anyhow::Context as _;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{self, Message};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

/// Messages in flight in one hop, as the services have.
const IN_FLIGHT_MAX: usize = 1_000;

/// One hop of a relay.
#[derive(Debug, Clone)]
pub struct Hop {
    /// Stream that is read.
    pub stream: &'static str,
    /// Subjects of it that are read.
    pub filter: &'static str,
    /// First tokens of the subject that is written, such as `bench.mid`.
    pub target: &'static str,
    /// Bytes of the body that is written.
    pub body_bytes: usize,
}

/// Runs one hop until `shutdown`.
///
/// # Errors
/// When the consumer cannot be made or the connection ends.
pub async fn run(client: Client, hop: Hop, shutdown: CancellationToken) -> anyhow::Result<()> {
    let context = jetstream::new(client.clone());
    let config = pull::Config {
        durable_name: Some(hop.target.replace('.', "-")),
        filter_subject: hop.filter.to_owned(),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 20_000,
        ..pull::Config::default()
    };
    let consumer = context
        .create_consumer_on_stream(config, hop.stream)
        .await?;
    let mut inputs = consumer
        .stream()
        .max_messages_per_batch(IN_FLIGHT_MAX)
        .messages()
        .await?;
    let inbox = client.new_inbox();
    let mut acks = client.subscribe(format!("{inbox}.*")).await?;
    let body = Bytes::from(vec![b'x'; hop.body_bytes]);
    let mut waiting: HashMap<u64, Message> = HashMap::with_capacity(IN_FLIGHT_MAX);
    let mut next = 0_u64;
    loop {
        let room = waiting.len() < IN_FLIGHT_MAX;
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(ack) = acks.next() => acknowledge(&ack, &mut waiting).await?,
            input = inputs.next(), if room => {
                let input = input.context("the consumer ended")??;
                let (subject, headers) = outgoing(&hop, &input)?;
                let reply = format!("{inbox}.{next}");
                client
                    .publish_with_reply_and_headers(subject, reply, headers, body.clone())
                    .await?;
                waiting.insert(next, input);
                next += 1;
            }
        }
    }
}

async fn acknowledge(
    ack: &async_nats::Message,
    waiting: &mut HashMap<u64, Message>,
) -> anyhow::Result<()> {
    anyhow::ensure!(
        !ack.payload.windows(7).any(|part| part == b"\"error\""),
        "the relay's publish was refused: {}",
        String::from_utf8_lossy(&ack.payload)
    );
    let token = ack
        .subject
        .rsplit('.')
        .next()
        .and_then(|text| text.parse().ok());
    if let Some(input) = token.and_then(|token: u64| waiting.remove(&token)) {
        input
            .ack()
            .await
            .map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    Ok(())
}

/// Subject and headers as a service would write them, the id taken over from the input.
fn outgoing(hop: &Hop, input: &Message) -> anyhow::Result<(String, HeaderMap)> {
    let headers = input.headers.as_ref().context("an input without headers")?;
    let id = headers
        .get("ce-id")
        .context("an input without an id")?
        .as_str();
    let mut out = HeaderMap::new();
    out.insert("Nats-Msg-Id", format!("{:032x}", rand::random::<u128>()));
    out.insert("ce-specversion", "1.0");
    out.insert("ce-id", id);
    out.insert("ce-source", "/countersign/bench-relay");
    out.insert("ce-type", "dev.countersign.bench.v1");
    out.insert("ce-time", "2026-11-22T10:00:00.000000Z");
    out.insert("Nats-Expected-Last-Subject-Sequence", "0");
    out.insert(
        "Nats-Expected-Last-Subject-Sequence-Subject",
        format!("{}.*.{id}", hop.target),
    );
    Ok((format!("{}.bench.{id}", hop.target), out))
}
