//! Two real coordinators in this process.

use std::path::Path;

use anyhow::Result;
use countersign_approval_coordinator::Settings;
use countersign_benches::stage::{Stage, configure};
use countersign_domain::policy::Bundle;
use countersign_runtime::files;
use countersign_runtime::service::ServiceError;
use countersign_schemas::Digest;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The sample company's policy bundle: its people are asked.
const POLICY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../services/countersign/policy"
);
const COORDINATORS: usize = 2;

/// The coordinators while they run.
pub(crate) struct Running {
    /// The bundle in force.
    pub(crate) bundle: Digest,
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

/// Starts them, each with a connection of its own.
pub(crate) async fn start(stage: &Stage) -> Result<Running> {
    let dir = tempfile::tempdir()?;
    let config = configure(dir.path(), Path::new(POLICY))?;
    let stop = CancellationToken::new();
    let mut parts = Vec::new();
    for _ in 0..COORDINATORS {
        let name = countersign_approval_coordinator::NAME;
        let context = stage.context(name, &config.deployment, &stop).await?;
        let settings = Settings::from(&config);
        parts.push(tokio::spawn(countersign_approval_coordinator::run(
            context, settings,
        )));
    }
    let files = files::policy_bundle(Path::new(POLICY))?;
    let bundle = Bundle::from_files(&files.into_iter().collect())?.digest();
    Ok(Running {
        bundle,
        stop,
        parts,
        _dir: dir,
    })
}
