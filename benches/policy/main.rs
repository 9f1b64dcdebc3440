//! Bench `policy`: one decision among 10 to 10,000 policies, in scope and not, against
//! plain Cedar over all of them.
//!
//! A decision is the whole judgement of an intent: schema, rules, guardrails, redaction,
//! digests. Plain Cedar only evaluates the same policies on the same request, so the
//! comparison leans towards it. `-- --quick` measures less and ends in 40 s.

mod company;

use std::hint::black_box;
use std::time::Duration;

use anyhow::Result;
use countersign_benches::report::{Ratio, median, say};
use tokio::time::Instant;

use crate::company::{Company, Decider};

/// Policies in scope where the rest is not.
const IN_SCOPE: usize = 10;
const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

/// How long each figure is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    warm_up: Duration,
    round: Duration,
    rounds: usize,
}

const FULL: Effort = Effort {
    warm_up: Duration::from_millis(500),
    round: Duration::from_millis(500),
    rounds: 11,
};
const QUICK: Effort = Effort {
    warm_up: Duration::from_millis(100),
    round: Duration::from_millis(100),
    rounds: 5,
};

/// Microseconds of one decision among some policies.
#[derive(Debug, Clone, Copy)]
struct Figures {
    policies: usize,
    ours_us: f64,
    cedar_us: f64,
}

fn main() -> Result<()> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let effort = if quick { QUICK } else { FULL };
    say(&format!("policy: {effort:?}"));
    let scoped = series("10 in scope", effort, |policies| (IN_SCOPE, policies))?;
    series("all in scope", effort, |policies| (policies, policies))?;
    for ratio in ratios(&scoped) {
        say(&ratio.line());
    }
    Ok(())
}

fn series(
    name: &str,
    effort: Effort,
    sizes: impl Fn(usize) -> (usize, usize),
) -> Result<Vec<Figures>> {
    let mut all = Vec::new();
    for (in_scope, policies) in SIZES.map(sizes) {
        let started = Instant::now();
        let company = Company::with(in_scope, policies)?;
        let loading = started.elapsed();
        let decider = company.decider()?;
        decider.same()?;
        let figures = measure(&decider, policies, effort);
        say(&format!(
            "{policies:>6} policies, {name}: {:>9.1} us a decision, {:>9.1} us for plain Cedar alone; loaded in {:.2} s",
            figures.ours_us,
            figures.cedar_us,
            loading.as_secs_f64()
        ));
        all.push(figures);
    }
    Ok(all)
}

fn measure(decider: &Decider<'_>, policies: usize, effort: Effort) -> Figures {
    Figures {
        policies,
        ours_us: time(effort, || drop(black_box(decider.ours()))),
        cedar_us: time(effort, || drop(black_box(decider.cedar()))),
    }
}

/// The median over the rounds of the mean time of one call, in microseconds.
#[expect(clippy::cast_precision_loss, reason = "a count of calls in one round")]
fn time(effort: Effort, call: impl Fn()) -> f64 {
    let round = |length: Duration| {
        let started = Instant::now();
        let mut calls = 0_u64;
        while started.elapsed() < length {
            call();
            calls += 1;
        }
        started.elapsed().as_secs_f64() * 1e6 / calls as f64
    };
    round(effort.warm_up);
    let rounds: Vec<f64> = (0..effort.rounds).map(|_| round(effort.round)).collect();
    median(&rounds)
}

fn ratios(scoped: &[Figures]) -> Vec<Ratio> {
    let of = |policies: usize| scoped.iter().find(|one| one.policies == policies);
    let (Some(few), Some(many)) = (of(10), of(1_000)) else {
        return Vec::new();
    };
    vec![
        Ratio {
            name: "policy_1000_against_10",
            value: many.ours_us / few.ours_us,
            target: 2.0,
            at_least: false,
        },
        Ratio {
            name: "policy_faster_than_plain_cedar_1000",
            value: many.cedar_us / many.ours_us,
            target: 5.0,
            at_least: true,
        },
    ]
}
