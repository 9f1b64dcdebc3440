//! Bench `redaction`: recall and precision for each type on values made from the published
//! formats, and megabytes of tool-call JSON a second on one core: for each second that a core
//! works for this process, where the kernel says so, so that others on the machine do not count;
//! elsewhere of the clock.
//!
//! The values come from a seeded generator. `-- --quick` measures less.

mod calls;
mod values;

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, anyhow};
use countersign_benches::report::{Ratio, median, say};
use countersign_domain::redact::{FieldClasses, FingerprintKey, Redactor};
use serde_json::Value;
use tokio::time::Instant;

use crate::calls::Calls;

/// Megabytes a second on one core that a busy deployment needs.
const MEGABYTES_MIN: f64 = 50.0;

fn main() -> Result<()> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (rounds, round) = match quick {
        true => (5, Duration::from_millis(200)),
        false => (15, Duration::from_secs(1)),
    };
    let redactor = Redactor::new(FingerprintKey::new("k1", [7; 32])?);
    for ratio in values::accuracy(&redactor)? {
        say(&ratio.line());
    }
    let calls = Calls::new(2_000)?;
    let none = FieldClasses::none();
    let speed = |work: &dyn Fn(&Calls)| megabytes(&calls, rounds, round, work);
    let value = speed(&|calls| {
        for call in &calls.values {
            black_box(redactor.value(call, &none));
        }
    });
    let rescan = speed(&|calls| {
        for call in &calls.values {
            black_box(redactor.rescan(call));
        }
    });
    let lines = speed(&|calls| {
        for line in &calls.lines {
            black_box(redactor.clean_line(line, &none));
        }
    });
    let findings = speed(&|calls| {
        for line in &calls.lines {
            black_box(redactor.line(line, &none));
        }
    });
    let parse = speed(&|calls| {
        for line in &calls.lines {
            black_box(serde_json::from_str::<Value>(line).ok());
        }
    });
    say(&format!(
        "redact a parsed call {value:.1} MB/s, scan one again {rescan:.1} MB/s, a line of `countersign redact` {lines:.1} MB/s and {findings:.1} MB/s with findings, serde_json alone {parse:.1} MB/s; {} bytes a call",
        calls.bytes / calls.lines.len().max(1)
    ));
    say(&format!(
        "of the speed of serde_json: redact {:.2}, second scan {:.2}",
        value / parse,
        rescan / parse
    ));
    say(&speed_ratio("redaction_mb_per_s", value).line());
    say(&speed_ratio("redaction_second_scan_mb_per_s", rescan).line());
    Ok(())
}

fn speed_ratio(name: &'static str, value: f64) -> Ratio {
    Ratio {
        name,
        value,
        target: MEGABYTES_MIN,
        at_least: true,
    }
}

/// The median over the rounds of megabytes a second.
#[expect(clippy::cast_precision_loss, reason = "bytes of one round")]
fn megabytes(calls: &Calls, rounds: usize, round: Duration, work: &dyn Fn(&Calls)) -> f64 {
    work(calls);
    let one = || {
        let started = Busy::now();
        let mut bytes = 0_usize;
        while started.elapsed() < round {
            work(calls);
            bytes += calls.bytes;
        }
        bytes as f64 / 1e6 / started.elapsed().as_secs_f64()
    };
    let figures: Vec<f64> = (0..rounds).map(|_| one()).collect();
    median(&figures)
}

/// A moment, and what this thread had worked until then.
struct Busy {
    clock: Instant,
    worked: Option<Duration>,
}

impl Busy {
    fn now() -> Self {
        Self {
            clock: Instant::now(),
            worked: worked(),
        }
    }

    /// How long this thread has worked since.
    fn elapsed(&self) -> Duration {
        match (self.worked, worked()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => self.clock.elapsed(),
        }
    }
}

/// How long this thread has been on a core, as Linux counts it.
fn worked() -> Option<Duration> {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = said.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// What serde says of a value that cannot be written.
pub(crate) fn wrong(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}
