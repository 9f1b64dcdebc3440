//! Bench `approvals`: what opening one more approval costs while few or many wait for
//! people, and how long a vote takes while many do; two real coordinators on a real server.
//!
//! Both are latencies of one thing at a time, until the event that tells of it reaches a
//! subscriber: the handoff that asks, and the answer to the vote. `-- --quick` measures less
//! and with the server's default sync only, and ends in 40 s.

mod asked;
mod services;

use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::Subscriber;
use bytes::Bytes;
use countersign_benches::load;
use countersign_benches::report::{Ratio, median, quantile, say};
use countersign_benches::stage::{Stage, Sync};
use countersign_runtime::bus::{Bus, Meta, Outgoing};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::events::{ApprovalRequested, ApprovalVote, VoteChoice};
use countersign_schemas::{Address, ApprovalId, Digest, PersonId};
use futures::StreamExt as _;
use tokio::time::Instant;

// As the coordinator's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Approvals that wait in the first measurement.
const FEW: usize = 10;
/// And in the second.
const MANY: usize = 10_000;
/// Who votes; of the team that is asked.
const VOTER: &str = "mara";
/// How long one answer may take before the bench gives up.
const STALL: Duration = Duration::from_secs(30);

/// What is stored one after the other, each before the next may be: the vote, what it makes
/// of the approval, the answer.
const WRITES_OF_A_VOTE: usize = 3;
/// Bytes of such a message.
const BODY_BYTES: usize = 1_000;

/// How much is measured at each size.
#[derive(Debug, Clone, Copy)]
struct Effort {
    opened: usize,
    votes: usize,
}

const FULL: Effort = Effort {
    opened: 400,
    votes: 400,
};
const QUICK: Effort = Effort {
    opened: 200,
    votes: 200,
};

/// Milliseconds of each opening and each vote at one size.
struct Measured {
    opened_ms: Vec<f64>,
    voted_ms: Vec<f64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let effort = if quick { QUICK } else { FULL };
    let mut ratios = Vec::new();
    if !quick {
        ratios.extend(measure(Sync::Always, effort).await?);
    }
    ratios.extend(measure(Sync::Default, effort).await?);
    for ratio in ratios {
        say(&ratio.line());
    }
    Ok(())
}

async fn measure(sync: Sync, effort: Effort) -> Result<[Ratio; 2]> {
    say(&format!("approvals, {}: {effort:?}", sync.name()));
    let stage = Stage::start(sync).await?;
    let running = services::start(&stage).await?;
    let bus = stage.connect("load").await?;
    let bundle = running.bundle;
    fill(&bus, FEW, bundle).await?;
    let few = at_size(&bus, FEW, bundle, effort).await?;
    fill(&bus, MANY.saturating_sub(FEW), bundle).await?;
    let many = at_size(&bus, MANY, bundle, effort).await?;
    let bare = in_a_row(&bus, effort.votes).await?;
    running.stop().await?;
    say(&format!(
        "{WRITES_OF_A_VOTE} messages stored one after the other, which no vote can beat: p50 \
         {:.2} ms, p99 {:.2} ms",
        median(&bare),
        quantile(&bare, 0.99),
    ));
    let (open, vote) = match sync {
        Sync::Always => (
            "approvals_new_10000_against_10_sync_always",
            "approvals_vote_p99_ms_sync_always",
        ),
        Sync::Default => (
            "approvals_new_10000_against_10_sync_default",
            "approvals_vote_p99_ms_sync_default",
        ),
    };
    Ok([
        Ratio {
            name: open,
            value: median(&many.opened_ms) / median(&few.opened_ms),
            target: 2.0,
            at_least: false,
        },
        Ratio {
            name: vote,
            value: quantile(&many.voted_ms, 0.99),
            target: 10.0,
            at_least: false,
        },
    ])
}

/// Has people asked `count` times.
async fn fill(bus: &Bus, count: usize, bundle: Digest) -> Result<()> {
    let requests = asked::make(count, bundle)?;
    let filled = load::saturate(bus.client(), "out.handoff.approval.>", requests).await?;
    say(&format!("{count} opened, {:.0}/s", filled.per_second));
    Ok(())
}

/// Opens approvals one after the other and decides them, so that as many wait as before.
async fn at_size(bus: &Bus, waiting: usize, bundle: Digest, effort: Effort) -> Result<Measured> {
    let (opened_ms, open) = open_each(bus, effort.opened, bundle).await?;
    let voted_ms = vote_each(bus, open.iter().take(effort.votes)).await?;
    say(&format!(
        "{waiting:>6} wait: opening p50 {:.2} ms, p99 {:.2} ms; a vote p50 {:.2} ms, p99 {:.2} ms",
        median(&opened_ms),
        quantile(&opened_ms, 0.99),
        median(&voted_ms),
        quantile(&voted_ms, 0.99),
    ));
    Ok(Measured {
        opened_ms,
        voted_ms,
    })
}

/// An approval and the digest that a vote must name.
type Open = (ApprovalId, Digest);

async fn open_each(bus: &Bus, count: usize, bundle: Digest) -> Result<(Vec<f64>, Vec<Open>)> {
    let client = bus.client();
    let mut handoffs = client.subscribe("out.handoff.approval.>").await?;
    let mut requested = client.subscribe("out.approval.requested.>").await?;
    client.flush().await?;
    let (mut times, mut open) = (Vec::new(), Vec::new());
    for request in asked::make(count, bundle)? {
        let started = Instant::now();
        let (subject, headers, body) = (request.subject, request.headers, request.body);
        client
            .publish_with_headers(subject, headers, body)
            .await
            .context("cannot send a verdict")?;
        next_about(&mut handoffs, &request.id).await?;
        times.push(started.elapsed().as_secs_f64() * 1_000.0);
        let event = next_about(&mut requested, &request.id).await?;
        let event: ApprovalRequested = codec::decode(&event)?;
        open.push((event.approval_id, event.digest));
    }
    Ok((times, open))
}

async fn vote_each<'a>(bus: &Bus, open: impl Iterator<Item = &'a Open>) -> Result<Vec<f64>> {
    let client = bus.client();
    let mut answers = client.subscribe("out.approval.voted.>").await?;
    client.flush().await?;
    let approver: PersonId = VOTER.parse()?;
    let mut times = Vec::new();
    for (id, digest) in open {
        let vote = ApprovalVote {
            schema_version: 1,
            approval_id: id.clone(),
            digest: *digest,
            vote: VoteChoice::Approve,
            items: None,
            window: None,
            reason: None,
        };
        let address = Address::Vote {
            approver: approver.clone(),
        };
        let meta = Meta {
            source: "bench".parse()?,
            encoding: Encoding::Json,
            claimed_at: SystemClock.now(),
            traceparent: None,
        };
        let out = Outgoing::event(&address, &vote, &meta)?;
        let started = Instant::now();
        bus.publisher().publish(out).await?;
        let answer = next_about(&mut answers, id.as_str()).await?;
        times.push(started.elapsed().as_secs_f64() * 1_000.0);
        let answer: countersign_schemas::events::ApprovalVoted = codec::decode(&answer)?;
        anyhow::ensure!(answer.counted, "a vote did not count: {}", answer.message);
    }
    Ok(times)
}

/// Milliseconds of as many messages, one after the other, as a vote needs; `times` times.
async fn in_a_row(bus: &Bus, times: usize) -> Result<Vec<f64>> {
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    let mut took = Vec::new();
    for n in 0..times {
        let started = Instant::now();
        for step in 0..WRITES_OF_A_VOTE {
            let subject = format!("bench.out.{n}.{step}");
            let message = Outgoing::raw(&subject, body.clone());
            bus.publisher().publish(message).await?;
        }
        took.push(started.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(took)
}

/// The body of the next message whose subject names `id`.
async fn next_about(messages: &mut Subscriber, id: &str) -> Result<Bytes> {
    loop {
        let next = tokio::time::timeout(STALL, messages.next()).await;
        let message = next
            .context("no answer for 30 s")?
            .context("the connection ended")?;
        if message.subject.split('.').any(|token| token == id) {
            return Ok(message.payload);
        }
    }
}
