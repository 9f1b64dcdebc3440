//! Compares our clock with the server's.
//!
//! Expiries are judged by store time and by our own clock. Where the two are further
//! apart than the allowance, a service claims and signs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_schemas::Timestamp;
use countersign_schemas::limits::CLOCK_SKEW_SECONDS;
use serde::Deserialize;

use super::ServiceContext;
use crate::bus::layout::{Durable, EXECUTOR_EVENTS};
use crate::health::HealthPart;

/// How often the clocks are compared: drift is slow, a jump is noticed within this.
const EVERY: Duration = Duration::from_secs(20);
/// A slower answer says too little about the time at which it was written.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Whether our clock agrees with the server's. Clones share one state.
#[derive(Debug, Clone)]
pub struct ClockTrust(Arc<AtomicBool>);

impl ClockTrust {
    /// A clock that is trusted until a comparison says otherwise.
    #[must_use]
    pub fn trusted() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Whether claims and signatures may be made now.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, trusted: bool) {
        self.0.store(trusted, Ordering::Relaxed);
    }
}

#[derive(Debug, Deserialize)]
struct Told {
    ts: Timestamp,
}

pub(super) async fn run(context: ServiceContext, part: HealthPart) {
    let mut ticks = tokio::time::interval(EVERY);
    // The first comparison was made before this began.
    ticks.tick().await;
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        compare(&context, &part).await;
    }
}

/// One comparison. Without an answer nothing is known and nothing changes; the
/// connection's part says what is wrong.
pub(super) async fn compare(context: &ServiceContext, part: &HealthPart) {
    if let Some(skew) = skew(context).await {
        judge(skew, &context.clock_trust, part);
    }
}

pub(super) fn judge(skew: Duration, trust: &ClockTrust, part: &HealthPart) {
    let right = skew <= Duration::from_secs(CLOCK_SKEW_SECONDS);
    trust.set(right);
    if right {
        part.ready();
    } else {
        part.failing(format!(
            "the clock is {} s off the server's; nothing is claimed or signed until it is set",
            skew.as_secs()
        ));
    }
}

/// How far the clocks are apart at least, whatever the way of the answer took.
pub(super) async fn skew(context: &ServiceContext) -> Option<Duration> {
    // Every answer of the JetStream API holds the server's time; this one is small and
    // lists no subjects.
    let Durable { stream, name, .. } = EXECUTOR_EVENTS;
    let subject = format!("$JS.API.CONSUMER.INFO.{stream}.{name}");
    let before = context.clock.now();
    let answer = context.bus.client().request(subject, "".into());
    let answer = tokio::time::timeout(ANSWER_WITHIN, answer)
        .await
        .ok()?
        .ok()?;
    let after = context.clock.now();
    let told: Told = serde_json::from_slice(&answer.payload).ok()?;
    Some(before.since(told.ts).max(told.ts.since(after)))
}
