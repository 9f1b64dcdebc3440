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
use crate::bus::Bus;
use crate::bus::layout::{Durable, EXECUTOR_EVENTS};
use crate::clock::Clock;
use crate::health::HealthPart;

/// How often the clocks are compared: drift is slow, a jump is noticed within this.
const EVERY: Duration = Duration::from_secs(20);
/// How often they are compared while the clock is not trusted: nothing is done meanwhile.
const EVERY_UNTRUSTED: Duration = Duration::from_secs(1);
/// A slower answer says too little about the time at which it was written.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Whether our clock agrees with the server's. Clones share one state.
#[derive(Debug, Clone)]
pub struct ClockTrust {
    agrees: Arc<AtomicBool>,
    compared: bool,
}

impl ClockTrust {
    /// A clock that is not trusted until a comparison says that it may be.
    #[must_use]
    pub fn unproven() -> Self {
        Self {
            agrees: Arc::new(AtomicBool::new(false)),
            compared: true,
        }
    }

    /// A clock that is trusted and never compared: one that a test sets by hand.
    #[must_use]
    pub fn assumed() -> Self {
        Self {
            agrees: Arc::new(AtomicBool::new(true)),
            compared: false,
        }
    }

    /// Whether claims and signatures may be made now.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.agrees.load(Ordering::Relaxed)
    }

    /// Whether comparisons decide on it.
    pub(super) fn is_compared(&self) -> bool {
        self.compared
    }

    pub(super) fn set(&self, trusted: bool) {
        self.agrees.store(trusted, Ordering::Relaxed);
    }
}

#[derive(Debug, Deserialize)]
struct Told {
    ts: Timestamp,
}

pub(super) async fn run(context: ServiceContext, part: HealthPart) {
    loop {
        // The first comparison was made before this began.
        let pause = match context.clock_trust.is_trusted() {
            true => EVERY,
            false => EVERY_UNTRUSTED,
        };
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        compare(&context, &part).await;
    }
}

/// One comparison. Without an answer nothing is known and nothing changes: a clock that
/// was never compared stays untrusted, and the connection's part says what is wrong.
pub(super) async fn compare(context: &ServiceContext, part: &HealthPart) {
    if let Some(skew) = clock_skew(&context.bus, context.clock.as_ref()).await {
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

/// How far `clock` and the server's are apart at least, whatever the way of the answer
/// took; `None` where the server does not say in time.
pub async fn clock_skew(bus: &Bus, clock: &dyn Clock) -> Option<Duration> {
    // Every answer of the JetStream API holds the server's time; this one is small and
    // lists no subjects.
    let Durable { stream, name, .. } = EXECUTOR_EVENTS;
    let subject = format!("$JS.API.CONSUMER.INFO.{stream}.{name}");
    let before = clock.now();
    let answer = bus.client().request(subject, "".into());
    let answer = tokio::time::timeout(ANSWER_WITHIN, answer)
        .await
        .ok()?
        .ok()?;
    let after = clock.now();
    let told: Told = serde_json::from_slice(&answer.payload).ok()?;
    Some(before.since(told.ts).max(told.ts.since(after)))
}
