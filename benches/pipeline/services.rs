//! The real checker and coordinator in this process, and the sizes of what they write.

use std::path::Path;

use anyhow::{Context as _, Result};
use countersign_benches::load;
use countersign_benches::stage::{Stage, Sync, configure};
use countersign_runtime::service::ServiceError;
use countersign_schemas::Stream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::requests::{self, AGENT, Kind};

/// The sample company's policy bundle.
const POLICY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../services/countersign/policy"
);

/// Bytes of the bodies that the services write, for the relay to write as many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Of `policy.checked`.
    pub(crate) checked: usize,
    /// Of `tool.approved`.
    pub(crate) approved: usize,
}

/// The services while they run.
pub(crate) struct Running {
    stop: CancellationToken,
    parts: Vec<JoinHandle<Result<(), ServiceError>>>,
    _dir: tempfile::TempDir,
}

impl Running {
    /// Stops them and reports how they ended.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        for part in self.parts {
            part.await??;
        }
        Ok(())
    }
}

/// Starts both, each with a connection of its own.
pub(crate) async fn start(stage: &Stage) -> Result<Running> {
    let dir = tempfile::tempdir()?;
    let config = configure(dir.path(), Path::new(POLICY))?;
    let stop = CancellationToken::new();
    let context = async |name| stage.context(name, &config.deployment, &stop).await;
    let checker = context("policy-checker").await?;
    let coordinator = context("approval-coordinator").await?;
    let judging = countersign_policy_checker::Settings::from(&config);
    let deciding = countersign_approval_coordinator::Settings::from(&config);
    let parts = vec![
        tokio::spawn(countersign_policy_checker::run(checker, judging)),
        tokio::spawn(countersign_approval_coordinator::run(coordinator, deciding)),
    ];
    Ok(Running {
        stop,
        parts,
        _dir: dir,
    })
}

/// Lets the services decide one intent and measures what they wrote.
pub(crate) async fn sizes(sync: Sync) -> Result<Sizes> {
    let stage = Stage::start(sync).await?;
    let running = start(&stage).await?;
    let bus = stage.connect("load").await?;
    let request = requests::make(Kind::Intent, 1)?;
    let id = request.first().context("one request")?.id.clone();
    load::saturate(bus.client(), "out.tool.approved.>", request).await?;
    let checked = format!("policy.checked.{AGENT}.{id}");
    let approved = format!("tool.approved.{AGENT}.{id}");
    let sizes = Sizes {
        checked: size(&bus, &checked).await?,
        approved: size(&bus, &approved).await?,
    };
    running.stop().await?;
    Ok(sizes)
}

async fn size(bus: &countersign_runtime::bus::Bus, subject: &str) -> Result<usize> {
    let message = bus.last_by_subject(Stream::Events, subject).await?;
    Ok(message.context("a stored event")?.payload.len())
}
