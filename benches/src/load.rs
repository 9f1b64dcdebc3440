//! The load: intents sent, decisions awaited.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::{Client, HeaderMap, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::time::Instant;

/// Intents that wait for their decision at once, in the saturated run.
const OUTSTANDING_MAX: usize = 2_000;
/// A run that hears nothing for this long has stalled.
const STALL: Duration = Duration::from_secs(30);

/// One message to send.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its id, the last token of the subject on which the answer comes.
    pub id: String,
    /// Where it goes.
    pub subject: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What a run measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Answers a second.
    pub per_second: f64,
    /// From the scheduled sending to the answer, in milliseconds, one for each request.
    pub latencies_ms: Vec<f64>,
}

struct Run {
    answers: Subscriber,
    scheduled: HashMap<String, Instant>,
    latencies_ms: Vec<f64>,
}

impl Run {
    async fn answer(&mut self) -> anyhow::Result<()> {
        let answer = tokio::time::timeout(STALL, self.answers.next())
            .await
            .context("no answer for 30 s: the pipeline has stalled")?
            .context("the connection ended")?;
        let id = answer.subject.rsplit('.').next().unwrap_or_default();
        if let Some(at) = self.scheduled.remove(id) {
            self.latencies_ms.push(at.elapsed().as_secs_f64() * 1_000.0);
        }
        Ok(())
    }
}

async fn start(client: &Client, answers: &str) -> anyhow::Result<Run> {
    let answers = client.subscribe(answers.to_owned()).await?;
    client.flush().await?;
    Ok(Run {
        answers,
        scheduled: HashMap::new(),
        latencies_ms: Vec::new(),
    })
}

async fn send(client: &Client, request: Request) -> anyhow::Result<()> {
    // A reply subject makes the server write an ack, as it does for a real agent.
    let reply = client.new_inbox();
    client
        .publish_with_reply_and_headers(request.subject, reply, request.headers, request.body)
        .await
        .context("cannot send a request")
}

/// Sends all of `requests`, at most 2,000 of them unanswered at any time.
///
/// # Errors
/// When the pipeline stalls or the connection ends.
pub async fn saturate(
    client: &Client,
    answers: &str,
    requests: Vec<Request>,
) -> anyhow::Result<Measured> {
    let mut run = start(client, answers).await?;
    let total = requests.len();
    let started = Instant::now();
    for request in requests {
        while run.scheduled.len() >= OUTSTANDING_MAX {
            run.answer().await?;
        }
        run.scheduled.insert(request.id.clone(), Instant::now());
        send(client, request).await?;
    }
    while !run.scheduled.is_empty() {
        run.answer().await?;
    }
    Ok(measured(total, started, run))
}

/// Sends `requests` at `per_second`, whether or not answers come.
///
/// # Errors
/// When the pipeline stalls or the connection ends.
pub async fn steady(
    client: &Client,
    answers: &str,
    requests: Vec<Request>,
    per_second: f64,
) -> anyhow::Result<Measured> {
    let mut run = start(client, answers).await?;
    let total = requests.len();
    let started = Instant::now();
    let gap = Duration::from_secs_f64(1.0 / per_second.max(1.0));
    let mut due = started;
    let mut requests = requests.into_iter();
    let mut next = requests.next();
    while next.is_some() || !run.scheduled.is_empty() {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(due), if next.is_some() => {
                if let Some(request) = next.take() {
                    run.scheduled.insert(request.id.clone(), due);
                    send(client, request).await?;
                }
                due += gap;
                next = requests.next();
            }
            answered = run.answer(), if !run.scheduled.is_empty() => answered?,
        }
    }
    Ok(measured(total, started, run))
}

#[expect(clippy::cast_precision_loss, reason = "a count of requests in one run")]
fn measured(total: usize, started: Instant, run: Run) -> Measured {
    Measured {
        per_second: total as f64 / started.elapsed().as_secs_f64(),
        latencies_ms: run.latencies_ms,
    }
}
