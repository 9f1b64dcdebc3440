//! The janitor, two days later.

use std::sync::Arc;
use std::time::Duration;

use countersign_audit_archiver::{JanitorLimits, Settings, run};
use countersign_runtime::clock::{Clock as _, ManualClock, SystemClock};
use countersign_runtime::config::Config;
use countersign_runtime::service::{ClockTrust, ServiceContext};
use countersign_schemas::Stream;
use countersign_tests::{Deployment, PATIENCE, eventually};
use tokio_util::sync::CancellationToken;

/// Long after the horizon of a day.
const LATER: Duration = Duration::from_secs(2 * 86_400);

/// Has an archiver whose clock says so purge what may go, until each stream
/// begins at its sequence or later.
pub(crate) async fn purge(deployment: &Deployment, until: &[(Stream, u64)]) {
    let config = Config::load(&deployment.files().config()).unwrap();
    let mut settings = Settings::from_config(&config).unwrap();
    settings.janitor = JanitorLimits {
        every: Duration::from_millis(50),
        worth: 1,
    };
    let shutdown = CancellationToken::new();
    let clock = Arc::new(ManualClock::new(SystemClock.now().plus(LATER)));
    let bus = deployment.core("audit-archiver").await;
    let mut context = ServiceContext::new(config.deployment, bus.clone(), clock, shutdown.clone());
    context.clock_trust = ClockTrust::assumed();
    let health = context.health.clone();
    let archiver = tokio::spawn(run(context, settings));
    for (stream, seq) in until {
        let what = format!("{stream} begins at {seq}");
        eventually(PATIENCE, &what, async || {
            assert!(
                !archiver.is_finished(),
                "the archiver ended: {:?}",
                health.report()
            );
            let found = bus.jetstream().get_stream(stream.name()).await.ok()?;
            (found.cached_info().state.first_sequence >= *seq).then_some(())
        })
        .await;
    }
    shutdown.cancel();
    archiver.await.unwrap().unwrap();
}
