//! Bench `pipeline`: the checker and the coordinator against a bare JetStream relay.
//!
//! Both run in this process, on the same server, with the same message sizes, acks,
//! conditional headers and sync setting. `-- --quick` measures less and ends in 40 s;
//! `-- --sync default` or `-- --sync always` measures one setting alone.

mod requests;
mod services;

use anyhow::Result;
use countersign_benches::load::{self, Measured};
use countersign_benches::relay::{self, Hop};
use countersign_benches::report::{Ratio, median, quantile, say};
use countersign_benches::stage::{Stage, Sync};
use tokio_util::sync::CancellationToken;

use crate::requests::Kind;
use crate::services::Sizes;

// As the binaries of both services, for the relay too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    intents: usize,
    steady_intents: usize,
    rounds: usize,
}

const FULL: Effort = Effort {
    intents: 40_000,
    steady_intents: 10_000,
    rounds: 3,
};
const QUICK: Effort = Effort {
    intents: 4_000,
    steady_intents: 1_000,
    rounds: 1,
};

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    let effort = if quick { QUICK } else { FULL };
    let only = args.iter().skip_while(|arg| *arg != "--sync").nth(1);
    let only = only.map(String::as_str);
    anyhow::ensure!(
        matches!(only, None | Some("always" | "default")),
        "--sync takes `always` or `default`"
    );
    let mut ratios = Vec::new();
    for sync in [Sync::Always, Sync::Default] {
        if only.is_none_or(|word| sync.name().ends_with(word)) {
            ratios.extend(measure(sync, effort).await?);
        }
    }
    for ratio in ratios {
        say(&ratio.line());
    }
    Ok(())
}

async fn measure(sync: Sync, effort: Effort) -> Result<Vec<Ratio>> {
    say(&format!("pipeline, {}: {effort:?}", sync.name()));
    let sizes = services::sizes(sync).await?;
    say(&format!("bodies: {sizes:?}"));
    let (mut relays, mut products, mut one_hop) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        one_hop.push(one_relay(sync, sizes, effort.intents).await?.per_second);
        relays.push(two_relays(sync, sizes, effort).await?);
        products.push(product(sync, effort).await?);
    }
    let per_second =
        |runs: &[Run]| median(&runs.iter().map(|run| run.saturated).collect::<Vec<_>>());
    let p99 = |runs: &[Run]| median(&runs.iter().map(|run| run.p99_ms).collect::<Vec<_>>());
    let p50 = |runs: &[Run]| median(&runs.iter().map(|run| run.p50_ms).collect::<Vec<_>>());
    say(&format!("relay, one hop: {:.0}/s", median(&one_hop)));
    for (name, runs) in [
        ("relay, two hops", &relays),
        ("checker + coordinator", &products),
    ] {
        say(&format!(
            "{name}: {:.0}/s saturated; at 10 %: p50 {:.2} ms, p99 {:.2} ms",
            per_second(runs),
            p50(runs),
            p99(runs)
        ));
    }
    let (throughput, latency) = names(sync);
    Ok(vec![
        Ratio {
            name: throughput,
            value: per_second(&products) / per_second(&relays),
            target: 0.8,
            at_least: true,
        },
        Ratio {
            name: latency,
            value: p99(&products) / p99(&relays),
            target: 1.5,
            at_least: false,
        },
    ])
}

fn names(sync: Sync) -> (&'static str, &'static str) {
    match sync {
        Sync::Always => (
            "pipeline_throughput_sync_always",
            "pipeline_p99_sync_always",
        ),
        Sync::Default => (
            "pipeline_throughput_sync_default",
            "pipeline_p99_sync_default",
        ),
    }
}

struct Run {
    saturated: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Run {
    fn of(saturated: &Measured, steady: &Measured) -> Self {
        Self {
            saturated: saturated.per_second,
            p50_ms: median(&steady.latencies_ms),
            p99_ms: quantile(&steady.latencies_ms, 0.99),
        }
    }
}

async fn one_relay(sync: Sync, sizes: Sizes, intents: usize) -> Result<Measured> {
    let stage = Stage::start(sync).await?;
    let stop = CancellationToken::new();
    let hop = first_hop(sizes);
    let relaying = spawn_relay(&stage, hop, &stop).await?;
    let load = stage.connect("load").await?;
    let requests = requests::make(Kind::Relay, intents)?;
    let measured = load::saturate(load.client(), "relayed.bench.mid.>", requests).await?;
    stop.cancel();
    relaying.await??;
    Ok(measured)
}

async fn two_relays(sync: Sync, sizes: Sizes, effort: Effort) -> Result<Run> {
    let stage = Stage::start(sync).await?;
    let stop = CancellationToken::new();
    let second = Hop {
        stream: "BENCH_EVENTS",
        filter: "bench.mid.>",
        target: "bench.out",
        body_bytes: sizes.approved,
    };
    let hops = [
        spawn_relay(&stage, first_hop(sizes), &stop).await?,
        spawn_relay(&stage, second, &stop).await?,
    ];
    let run = load_twice(&stage, Kind::Relay, "relayed.bench.out.>", effort).await?;
    stop.cancel();
    for hop in hops {
        hop.await??;
    }
    Ok(run)
}

async fn product(sync: Sync, effort: Effort) -> Result<Run> {
    let stage = Stage::start(sync).await?;
    let running = services::start(&stage).await?;
    let run = load_twice(&stage, Kind::Intent, "out.tool.approved.>", effort).await?;
    running.stop().await?;
    Ok(run)
}

async fn load_twice(stage: &Stage, kind: Kind, answers: &str, effort: Effort) -> Result<Run> {
    let load = stage.connect("load").await?;
    let warm_up = requests::make(kind, effort.intents / 10)?;
    load::saturate(load.client(), answers, warm_up).await?;
    let requests = requests::make(kind, effort.intents)?;
    let saturated = load::saturate(load.client(), answers, requests).await?;
    let requests = requests::make(kind, effort.steady_intents)?;
    let rate = saturated.per_second / 10.0;
    let steady = load::steady(load.client(), answers, requests, rate).await?;
    Ok(Run::of(&saturated, &steady))
}

fn first_hop(sizes: Sizes) -> Hop {
    Hop {
        stream: "BENCH_INTENTS",
        filter: "bench.in.*",
        target: "bench.mid",
        body_bytes: sizes.checked,
    }
}

async fn spawn_relay(
    stage: &Stage,
    hop: Hop,
    stop: &CancellationToken,
) -> Result<tokio::task::JoinHandle<Result<()>>> {
    let bus = stage.connect("relay").await?;
    Ok(tokio::spawn(relay::run(
        bus.client().clone(),
        hop,
        stop.clone(),
    )))
}
