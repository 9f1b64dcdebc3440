//! Bench `budget`: one global budget over three checkers and one nats-server that syncs
//! every message, as `init` configures it.
//!
//! Every payment wants a part of the same budget, the last tenth no longer fits, and what
//! is allowed ends at once as a run does, so that ledgers are swept meanwhile. A run that
//! is not exact to the last payment fails. The same payments without a budget tell what
//! the server and the rest of a checker take. `-- --quick` measures less and ends in 40 s;
//! `-- --sync default` lets the server sync every two minutes.

mod company;
mod ends;

use anyhow::{Context as _, Result, ensure};
use countersign_benches::load;
use countersign_benches::report::{Ratio, median, quantile, say};
use countersign_benches::stage::{Stage, Sync, configure};
use countersign_domain::ledger::Ledger;
use countersign_policy_checker::Settings;
use countersign_runtime::bus::layout::LEDGERS;
use countersign_runtime::bus::{Bucket, Bus};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ends::Tally;

// As the checker's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Checkers that share the budget.
const CHECKERS: usize = 3;
/// Payments a second.
const TARGET: f64 = 1_000.0;
const FULL: usize = 30_000;
const QUICK: usize = 5_000;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    let payments = if quick { QUICK } else { FULL };
    let sync = match args.iter().skip_while(|arg| *arg != "--sync").nth(1) {
        Some(word) if word == "default" => Sync::Default,
        Some(word) => anyhow::bail!("--sync takes `default`, not `{word}`"),
        None => Sync::Always,
    };
    let name = sync.name();
    say(&format!(
        "budget, {name}: {payments} payments, {CHECKERS} checkers"
    ));
    let free = measure(sync, payments, None).await?;
    say(&format!("without a budget: {free:.0}/s"));
    let value = measure(sync, payments, Some(payments / 10 * 9)).await?;
    let ratio = Ratio {
        name: "budget_payments_per_second",
        value,
        target: TARGET,
        at_least: true,
    };
    say(&ratio.line());
    Ok(())
}

/// Payments judged a second, `fits` of which the budget takes if there is one.
async fn measure(sync: Sync, payments: usize, fits: Option<usize>) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let bundle = dir.path().join("bundle");
    company::write(&bundle, fits)?;
    let config = configure(dir.path(), &bundle)?;
    let stage = Stage::start(sync).await?;
    let stop = CancellationToken::new();
    let mut checkers = JoinSet::new();
    for _ in 0..CHECKERS {
        let context = stage.context("policy-checker", &config.deployment, &stop);
        let running = countersign_policy_checker::run(context.await?, Settings::from(&config));
        checkers.spawn(running);
    }
    let ending = ends::play(stage.connect("ends").await?, payments).await?;
    let load = stage.connect("load").await?;
    let requests = company::payments(payments)?;
    let measured = load::saturate(load.client(), "out.policy.checked.>", requests).await?;
    let tally = ending.await??;
    if let Some(fits) = fits {
        let writes = exact(&load, &tally, fits).await?;
        say(&format!(
            "with one: {:.0}/s; p50 {:.0} ms, p99 {:.0} ms, in a queue of 2,000; exact: {} \
             allowed, {} refused; {writes} writes of the ledger",
            measured.per_second,
            median(&measured.latencies_ms),
            quantile(&measured.latencies_ms, 0.99),
            tally.allowed,
            tally.refused,
        ));
    }
    stop.cancel();
    while let Some(ended) = checkers.join_next().await {
        ended??;
    }
    Ok(measured.per_second)
}

/// What fits was allowed, all else refused, and the ledger says the same; tells how often
/// it was written, with its pages.
async fn exact(bus: &Bus, tally: &Tally, fits: usize) -> Result<u64> {
    let bucket = Bucket::new(bus, LEDGERS);
    let ledger = tally.ledger.as_deref().context("nothing was charged")?;
    let head = bucket.get(ledger).await?.context("there is no ledger")?;
    let total = Ledger::read(&head.value)?.total();
    ensure!(
        tally.allowed == fits && total == fits.into(),
        "not exact: {fits} fit, {} were allowed, the ledger says {total}",
        tally.allowed,
    );
    let stream = bus.jetstream().get_stream(format!("KV_{LEDGERS}")).await?;
    Ok(stream.cached_info().state.last_sequence)
}
