//! What a coordinator is told by the configuration, and what it makes of it before it
//! connects: its key, who is who, and its bounds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_domain::approvals::People;
use countersign_domain::decision::Desk;
use countersign_domain::permit::PermitSigner;
use countersign_domain::policy::{Bundle, Directory};
use countersign_domain::redact::{FingerprintKey, Redactor};
use countersign_runtime::bus::ConsumeLimits;
use countersign_runtime::config::Config;
use countersign_runtime::files;
use countersign_runtime::service::{ServiceContext, ServiceError};

/// Takes personal data and secrets out of a text.
pub type Redact = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// What the coordinator is told by the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The policy bundle's folder.
    pub policy_dir: PathBuf,
    /// The folder of the keys `permit.pem` and `fingerprint.key`.
    pub keys_dir: PathBuf,
    /// How long a permit may be claimed.
    pub permit_life: Duration,
    /// Where people open an approval; its id is appended.
    pub link_base: Option<String>,
    /// Messages handled at once by each consumer.
    pub max_in_flight: usize,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let own = &config.approval_coordinator;
        Self {
            policy_dir: config.policy.dir.clone(),
            keys_dir: config.keys.dir.clone(),
            permit_life: Duration::from_secs(own.permit_life_s),
            link_base: own.link_base.clone(),
            max_in_flight: own.max_in_flight,
        }
    }
}

/// What a coordinator works with.
pub struct Equipment {
    /// Decides and signs.
    pub desk: Desk,
    /// Who is in which team.
    pub people: Arc<dyn People + Send + Sync>,
    /// Redacts texts of others.
    pub redact: Redact,
    /// How long a permit may be claimed.
    pub permit_life: Duration,
    /// Where people open an approval; its id is appended.
    pub link_base: Option<String>,
    /// Bounds of each consumer.
    pub limits: ConsumeLimits,
}

impl Equipment {
    /// Reads what `settings` name.
    ///
    /// A bundle that is missing or broken does not stop the service: then nobody is in any
    /// team, so that nothing can be approved, and what the checker denies is still told.
    ///
    /// # Errors
    /// When a key is missing or broken.
    pub fn read(settings: &Settings, context: &ServiceContext) -> Result<Self, ServiceError> {
        let keys = &settings.keys_dir;
        let key = files::signing_key("permit key", &keys.join("permit.pem"))?;
        let fingerprint = files::secret("fingerprint key", &keys.join("fingerprint.key"))?;
        let fingerprint = FingerprintKey::parse(&fingerprint).map_err(ServiceError::configured)?;
        let redactor = Redactor::new(fingerprint);
        let deployment = context.deployment.name.as_str();
        let signer = PermitSigner::new(key);
        Ok(Self {
            desk: Desk::new(signer, deployment, settings.permit_life),
            people: Arc::new(directory(settings, context)),
            redact: Arc::new(move |text| redactor.text(text).text),
            permit_life: settings.permit_life,
            link_base: settings.link_base.clone(),
            limits: ConsumeLimits {
                in_flight_max: settings.max_in_flight,
            },
        })
    }
}

fn directory(settings: &Settings, context: &ServiceContext) -> Directory {
    let part = context.health.part("people");
    let read = files::policy_bundle(&settings.policy_dir)
        .map_err(|error| error.to_string())
        .and_then(|found| Bundle::from_files(&found).map_err(|errors| errors.to_string()));
    match read {
        Ok(bundle) => {
            part.ready();
            bundle.directory().clone()
        }
        Err(why) => {
            tracing::error!(%why, "the policy bundle cannot be used; nobody can approve");
            part.failing("the policy bundle cannot be used, so nobody can approve anything");
            Directory::default()
        }
    }
}
