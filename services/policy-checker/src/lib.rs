//! The policy checker: reads every intent, judges it by the policy bundle and stores one
//! verdict for each intent id, for ever.
//!
//! On the path of a fresh intent there are no reads and one publish. What is refused
//! without a verdict, a copy of an earlier intent among it, takes the slow path.

mod checker;
mod intake;
mod judge;
pub mod mandates;
pub mod metrics;
mod refusal;

use std::path::PathBuf;
use std::sync::Arc;

use countersign_domain::policy::{Bundle, MatchKey};
use countersign_domain::redact::{FingerprintKey, Redactor};
use countersign_runtime::bus::layout::CHECKER_INTENTS;
use countersign_runtime::bus::{ConsumeLimits, consume};
use countersign_runtime::config::{Config, Mandates};
use countersign_runtime::files;
use countersign_runtime::service::{ServiceContext, ServiceError};

use checker::Checker;
use judge::Judge;
use mandates::Keeper;

/// The service's name: of its credential, its binary and in its events.
pub const NAME: &str = "policy-checker";

/// What the checker is told by the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The policy bundle's folder.
    pub policy_dir: PathBuf,
    /// The folder of the keys `fingerprint.key` and `match.key`.
    pub keys_dir: PathBuf,
    /// Whose mandates count.
    pub mandates: Mandates,
    /// Intents judged at once.
    pub max_in_flight: usize,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            policy_dir: config.policy.dir.clone(),
            keys_dir: config.keys.dir.clone(),
            mandates: config.mandates.clone(),
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
    let judge = Judge {
        bundle: load_bundle(&settings),
        redactor: Redactor::new(fingerprint_key(&settings)?),
        match_key: match_key(&settings)?,
    };
    let health = context.health.part("policy");
    match &judge.bundle {
        Ok(bundle) => {
            tracing::info!(policy = %bundle.digest(), rules = bundle.policies(), "policy bundle in force");
            health.ready();
        }
        Err(why) => {
            tracing::error!(%why, "no policy bundle in force; every intent is denied");
            health.failing(format!("no policy bundle is in force: {why}"));
        }
    }
    let limits = ConsumeLimits {
        in_flight_max: settings.max_in_flight,
    };
    let shutdown = context.shutdown.clone();
    let bus = context.bus.clone();
    let mandates = Arc::new(Keeper::new(&settings.mandates)?);
    let reading = {
        let (mandates, shutdown) = (Arc::clone(&mandates), shutdown.clone());
        async move { mandates.run(shutdown).await }
    };
    tokio::spawn(reading);
    let checker = Checker::new(context, judge, mandates)?;
    consume(&bus, CHECKER_INTENTS, Arc::new(checker), limits, shutdown).await?;
    Ok(())
}

/// The bundle, or why there is none, in words that people are shown.
fn load_bundle(settings: &Settings) -> Result<Bundle, String> {
    let found = files::policy_bundle(&settings.policy_dir).map_err(|error| {
        tracing::error!(%error, "cannot read the policy bundle");
        "its folder cannot be read".to_owned()
    })?;
    Bundle::from_files(&found).map_err(|errors| {
        tracing::error!(%errors, "the policy bundle is broken");
        format!(
            "it has {} problem(s); `countersign policy check` lists them",
            errors.problems().len()
        )
    })
}

fn fingerprint_key(settings: &Settings) -> Result<FingerprintKey, ServiceError> {
    let line = files::secret(
        "fingerprint key",
        &settings.keys_dir.join("fingerprint.key"),
    )?;
    FingerprintKey::parse(&line).map_err(ServiceError::configured)
}

fn match_key(settings: &Settings) -> Result<MatchKey, ServiceError> {
    let line = files::secret("match key", &settings.keys_dir.join("match.key"))?;
    MatchKey::parse(&line).map_err(ServiceError::configured)
}
