//! Bench `freeze`: from an operator's order to `control.done`, with thousands of approved
//! intents open and more in flow, against the bare reads and conditional publishes that
//! revoking them takes on the same server. `-- --quick` measures less.

#[expect(
    dead_code,
    reason = "the relay of bench `pipeline` is not measured here"
)]
#[path = "../pipeline/requests.rs"]
mod requests;
#[expect(dead_code, reason = "sizes are measured by bench `pipeline`")]
#[path = "../pipeline/services.rs"]
mod services;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use countersign_benches::load;
use countersign_benches::report::{Ratio, median, say};
use countersign_benches::stage::{Stage, Sync};
use countersign_runtime::bus::{Append, Bus, Outgoing};
use countersign_schemas::codec;
use countersign_schemas::events::ControlDone;
use countersign_schemas::{IntentId, Stream, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::time::{Duration, Instant, timeout};

use crate::requests::Kind;

// As the binary of the coordinator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As the coordinator: looked at at once.
const AT_ONCE: usize = 64;
/// A freeze that takes longer has failed.
const DONE_WITHIN: Duration = Duration::from_secs(120);
/// Bytes of a revocation.
const BODY_BYTES: usize = 600;

#[tokio::main]
async fn main() -> Result<()> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (open, rounds) = if quick { (2_000, 1) } else { (5_000, 3) };
    let (mut froze, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let stage = Stage::start(Sync::Always).await?;
        froze.push(freeze(&stage, open).await?);
        bare.push(revocations(&stage, open).await?);
    }
    say(&format!(
        "{open} open and {} in flow: {:.0} ms from the order to its completion; {:.0} ms for \
         the bare reads and conditional publishes",
        open / 2,
        median(&froze) * 1_000.0,
        median(&bare) * 1_000.0
    ));
    let ratio = Ratio {
        name: "freeze_done",
        value: median(&froze) / median(&bare),
        target: 2.0,
        at_least: false,
    };
    say(&ratio.line());
    Ok(())
}

/// Seconds from the order to `control.done`.
async fn freeze(stage: &Stage, open: usize) -> Result<f64> {
    let running = services::start(stage).await?;
    let load = stage.connect("load").await?;
    let approved = requests::make(Kind::Intent, open)?;
    load::saturate(load.client(), "out.tool.approved.>", approved).await?;
    let mut done = load.client().subscribe("out.control.done.>").await?;
    load.client().flush().await?;
    let flow = flow(stage.connect("flow").await?, open / 2);
    let order = json!({"scope": {}, "reason": "a bench"}).to_string();
    let order = Outgoing::raw("control.freeze.olga", Bytes::from(order));
    let begun = Instant::now();
    let freeze = async {
        load.publisher().publish(order).await?;
        let done = timeout(DONE_WITHIN, done.next()).await?;
        let took = begun.elapsed().as_secs_f64();
        let done: ControlDone = codec::decode(&done.context("an answer")?.payload)?;
        ensure!(done.revoked >= open as u64, "{done:?}");
        Ok(took)
    };
    let (took, flowed) = tokio::join!(freeze, flow);
    flowed?;
    running.stop().await?;
    took
}

/// Intents that nobody waits for.
async fn flow(bus: Bus, count: usize) -> Result<()> {
    for request in requests::make(Kind::Intent, count)? {
        let client = bus.client();
        client
            .publish_with_headers(request.subject, request.headers, request.body)
            .await?;
    }
    bus.client().flush().await?;
    Ok(())
}

/// Seconds for as many reads of a head and conditional publishes.
async fn revocations(stage: &Stage, open: usize) -> Result<f64> {
    let bus = stage.connect("bare").await?;
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    let chains: Vec<IntentId> = (0..open)
        .map(|_| IntentId::new_at(Timestamp::EPOCH))
        .collect();
    let lay = |id: IntentId| {
        let message = Outgoing::raw(&format!("tool.approved.bare.{id}"), body.clone());
        async { bus.publisher().publish(message).await }
    };
    let laid = stream::iter(chains.clone())
        .map(lay)
        .buffer_unordered(AT_ONCE);
    laid.try_collect::<Vec<_>>().await?;
    let begun = Instant::now();
    let revoke = |id: IntentId| revoke(&bus, id, body.clone());
    let revoked = stream::iter(chains).map(revoke).buffer_unordered(AT_ONCE);
    revoked.try_collect::<Vec<_>>().await?;
    Ok(begun.elapsed().as_secs_f64())
}

async fn revoke(bus: &Bus, id: IntentId, body: Bytes) -> Result<()> {
    let filter = format!("tool.*.bare.{id}");
    let head = bus.last_by_subject(Stream::Events, &filter).await?;
    let head = head.context("a head")?.seq;
    let message = Outgoing::raw(&format!("tool.revoked.bare.{id}"), body);
    let stored = bus.append(message, &filter, head).await?;
    ensure!(matches!(stored, Append::Stored(_)), "{filter}");
    Ok(())
}
