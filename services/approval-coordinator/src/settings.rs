//! What a coordinator is told by the configuration, and what it makes of it before it
//! connects: its key, who is who, and its bounds.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_domain::approvals::{Delegation, People};
use countersign_domain::decision::Desk;
use countersign_domain::permit::PermitSigner;
use countersign_domain::policy::Directory;
use countersign_domain::redact::Redactor;
use countersign_runtime::bus::ConsumeLimits;
use countersign_runtime::config::Config;
use countersign_runtime::identity::Signing;
use countersign_runtime::key_file::KeyFile;
use countersign_runtime::policy::{self, InForce, Policy};
use countersign_runtime::service::{ServiceContext, ServiceError};
use countersign_runtime::{files, fingerprints};
use countersign_schemas::{PersonId, TeamId};

/// Who is in which team, at one moment.
pub type Company = Arc<dyn People + Send + Sync>;

/// Gives the [`Company`] of now, once for each piece of work.
pub type Companies = Arc<dyn Fn() -> Company + Send + Sync>;

/// What the coordinator is told by the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The policy bundle's folder, for as long as none was published.
    pub policy_dir: PathBuf,
    /// The folder of the keys `permit.pem` and `fingerprint.key`.
    pub keys_dir: PathBuf,
    /// How long a permit may be claimed.
    pub permit_life: Duration,
    /// How long a bundle waits for its missing items.
    pub bundle_wait: Duration,
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
            bundle_wait: Duration::from_secs(own.bundle_wait_s),
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
    pub people: Companies,
    /// What follows the bundle in force; without it no tool ever changes.
    pub policy: Option<Policy>,
    /// Redacts texts of others.
    pub redactor: Redactor,
    /// How long a permit may be claimed.
    pub permit_life: Duration,
    /// How long a bundle waits for its missing items.
    pub bundle_wait: Duration,
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
    pub async fn read(settings: &Settings, context: &ServiceContext) -> Result<Self, ServiceError> {
        let keys = &settings.keys_dir;
        let path = Signing::Permit.private(keys);
        let signer = PermitSigner::new(files::signing_key("permit key", &path)?);
        let redactor = fingerprints::redactor(keys)?;
        fingerprints::follow(context, keys, &redactor);
        let deployment = context.deployment.name.as_str();
        follow_key(context, path, signer.clone());
        let policy = Policy::start(context, policy::folder(&settings.policy_dir)).await;
        Ok(Self {
            desk: Desk::new(signer, deployment, settings.permit_life),
            policy: Some(policy.clone()),
            people: Arc::new(move || Arc::new(Employees::of(policy.now()))),
            redactor,
            permit_life: settings.permit_life,
            bundle_wait: settings.bundle_wait,
            link_base: settings.link_base.clone(),
            limits: ConsumeLimits {
                in_flight_max: settings.max_in_flight,
            },
        })
    }
}

/// A rotation needs no restart.
fn follow_key(context: &ServiceContext, path: PathBuf, signer: PermitSigner) {
    KeyFile::follow(context, "permit-key", path, move |path| {
        signer.rotate(files::signing_key("permit key", path)?);
        Ok(())
    });
}

/// The people of the bundle in force; nobody without one, so that nothing is approved.
struct Employees {
    by: Arc<InForce>,
    nobody: Directory,
}

impl Employees {
    fn of(by: Arc<InForce>) -> Self {
        Self {
            by,
            nobody: Directory::default(),
        }
    }

    fn directory(&self) -> &Directory {
        let bundle = self.by.bundle();
        bundle.map_or(&self.nobody, |bundle| bundle.directory())
    }
}

impl People for Employees {
    fn members(&self, team: &TeamId) -> &BTreeSet<PersonId> {
        People::members(self.directory(), team)
    }

    fn name(&self, person: &PersonId) -> Option<&str> {
        People::name(self.directory(), person)
    }

    fn delegations_to(&self, delegate: &PersonId) -> Vec<&Delegation> {
        People::delegations_to(self.directory(), delegate)
    }

    fn delegations_of(&self, person: &PersonId) -> Vec<&Delegation> {
        People::delegations_of(self.directory(), person)
    }
}
