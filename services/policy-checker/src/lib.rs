//! The policy checker: reads every intent, judges it by the policy bundle and stores one
//! verdict for each intent id, for ever.
//!
//! On the path of a fresh intent there are no reads and one publish, unless its tool has a
//! rate, a budget or something else that is looked up. What is refused without a verdict, a
//! copy of an earlier intent among it, takes the slow path.

mod announce;
mod checker;
mod desk;
mod external;
mod facts;
mod holder;
mod intake;
mod judge;
mod labels;
mod lanes;
mod ledgers;
pub mod mandates;
pub mod metrics;
mod push;
mod recheck;
mod refusal;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_domain::policy::MatchKey;
use countersign_runtime::bus::layout::CHECKER_INTENTS;
use countersign_runtime::bus::{ConsumeLimits, consume};
use countersign_runtime::config::{Config, Mandates};
use countersign_runtime::policy::{self, Policy};
use countersign_runtime::service::{ServiceContext, ServiceError};
use countersign_runtime::{files, fingerprints};

use checker::Checker;
use judge::Judge;
use ledgers::Ledgers;
use mandates::Keeper;

/// The service's name: of its credential, its binary and in its events.
pub const NAME: &str = "policy-checker";

/// What the checker is told by the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The policy bundle's folder, for as long as none was published.
    pub policy_dir: PathBuf,
    /// The folder of the keys `fingerprint.key` and `match.key`.
    pub keys_dir: PathBuf,
    /// Whose mandates count.
    pub mandates: Mandates,
    /// How long a label without a mandate lasts after it was last set.
    pub label_life: Duration,
    /// Intents judged at once.
    pub max_in_flight: usize,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            policy_dir: config.policy.dir.clone(),
            keys_dir: config.keys.dir.clone(),
            mandates: config.mandates.clone(),
            label_life: Duration::from_secs(config.policy_checker.label_life_s),
            max_in_flight: config.policy_checker.max_in_flight,
        }
    }
}

/// Judges intents until shutdown.
///
/// A bundle that is missing or broken does not stop the service: it then denies every
/// intent and says why, so that agents and people get an answer instead of silence.
///
/// # Errors
/// When a key cannot be read, or the intents' consumer cannot be opened.
pub async fn run(context: ServiceContext, settings: Settings) -> Result<(), ServiceError> {
    metrics::describe();
    let redactor = fingerprints::redactor(&settings.keys_dir)?;
    fingerprints::follow(&context, &settings.keys_dir, &redactor);
    let judge = Judge {
        redactor,
        match_key: match_key(&settings)?,
        policy: Policy::start(&context, policy::folder(&settings.policy_dir)).await,
    };
    let limits = ConsumeLimits {
        in_flight_max: settings.max_in_flight,
    };
    let shutdown = context.shutdown.clone();
    let bus = context.bus.clone();
    let mandates = Arc::new(Keeper::new(&settings.mandates)?);
    // Before the first intent: a mandate that meets no keys is refused for good.
    mandates.read_all().await;
    let reading = {
        let (mandates, shutdown) = (Arc::clone(&mandates), shutdown.clone());
        async move { mandates.run(shutdown).await }
    };
    tokio::spawn(reading);
    let ledgers = Arc::new(Ledgers::new(&bus, Arc::clone(&context.clock)));
    let shared = Arc::clone(&ledgers);
    let checker = Checker::new(context, judge, mandates, shared, settings.label_life)?;
    let checker = Arc::new(checker);
    let judging = consume(
        &bus,
        CHECKER_INTENTS,
        Arc::clone(&checker),
        limits,
        shutdown.clone(),
    );
    let answering = desk::serve(Arc::clone(&checker), shutdown.clone());
    let recording = announce::follow(checker, shutdown.clone());
    let sweeping = ledgers.keep(shutdown);
    tokio::try_join!(judging, answering, recording, sweeping)?;
    Ok(())
}

fn match_key(settings: &Settings) -> Result<MatchKey, ServiceError> {
    let line = files::secret("match key", &settings.keys_dir.join("match.key"))?;
    MatchKey::parse(&line).map_err(ServiceError::configured)
}
