//! Coordinators of every kind, and the policy that they go by.

use std::path::Path;
use std::sync::Arc;

use countersign_approval_coordinator::{Equipment, Settings, run, run_with};
use countersign_domain::decision::Desk;
use countersign_domain::permit::PermitSigner;
use countersign_domain::policy::{Bundle, pack};
use countersign_domain::redact::{FingerprintKey, Redactor};
use countersign_runtime::bus::ConsumeLimits;
use countersign_runtime::config::Deployment as DeploymentConfig;
use countersign_runtime::health::HealthHandle;
use countersign_runtime::policy::Policy;
use countersign_runtime::policy::shelf::{Kept, Published, Shelf};
use countersign_runtime::service::{ClockTrust, ServiceContext};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

/// How long a permit may be claimed.
const PERMIT_LIFE: Duration = Duration::from_secs(300);

/// A tool that asks support, always.
pub(crate) const MAIL_TOOL: &str = r#"
[tools."mail.send"]
operation = "send"
description = "Sends a mail"
summary = "send a mail"
worker = { kind = "nats" }
[tools."mail.send".input]
type = "object"
additionalProperties = false
[tools."mail.send".input.properties]
to = { type = "string" }
[tools."mail.send".fields]
"/to" = { class = "personal:email" }
"#;

const MAIL_POLICY: &str = r#"
@id("mail")
@because("mailers may send mail")
permit (principal in Role::"mailer", action == Action::"mail.send", resource);

@id("mail-asks")
@because("support looks at each mail")
@ask("support")
@window("1h")
forbid (principal, action == Action::"mail.send", resource);
"#;

pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), countersign_runtime::service::ServiceError>>,
}

impl Running {
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await???;
        Ok(())
    }
}

/// The policy by which these teams decide on mails.
pub(crate) fn mail_policy(teams: &str) -> String {
    MAIL_POLICY.replace("@ask(\"support\")", &format!("@ask(\"{teams}\")"))
}

impl World {
    /// Starts a coordinator; it handles what comes from then on and what waits. Its clock
    /// is the world's, which is taken for right.
    pub(crate) async fn coordinator(&self) -> Result<Running> {
        self.coordinator_with(ClockTrust::assumed()).await
    }

    /// Starts a coordinator that compares its clock with the server's.
    pub(crate) async fn careful_coordinator(&self) -> Result<Running> {
        self.coordinator_with(ClockTrust::unproven()).await
    }

    async fn coordinator_with(&self, clock_trust: ClockTrust) -> Result<Running> {
        let bus = self.as_coordinator().await?;
        let shutdown = CancellationToken::new();
        let clock = Arc::new(self.clock.clone());
        let equipment = self.equipment()?;
        let mut context =
            ServiceContext::new(DeploymentConfig::default(), bus, clock, shutdown.clone());
        context.clock_trust = clock_trust;
        Ok(Running {
            shutdown,
            task: tokio::spawn(run_with(context, equipment)),
        })
    }

    /// Starts a coordinator that follows the bundle in force; who is in which team stays as
    /// in every other test.
    pub(crate) async fn coordinator_that_follows(&self) -> Result<Running> {
        let bus = self.as_coordinator().await?;
        let shutdown = CancellationToken::new();
        let clock = Arc::new(self.clock.clone());
        let mut context =
            ServiceContext::new(DeploymentConfig::default(), bus, clock, shutdown.clone());
        context.clock_trust = ClockTrust::assumed();
        let policy = Policy::start(&context, Err("there is no folder".to_owned())).await;
        let equipment = Equipment {
            policy: Some(policy),
            ..self.equipment()?
        };
        Ok(Running {
            shutdown,
            task: tokio::spawn(run_with(context, equipment)),
        })
    }

    /// What signs the coordinator's permits.
    pub(crate) fn desk(&self) -> Result<Desk> {
        let pem = self.deployment.dir().join("keys").join("permit.pem");
        let key = files::signing_key("permit key", &pem)?;
        Ok(Desk::new(PermitSigner::new(key), "acme", PERMIT_LIFE))
    }

    pub(super) fn equipment(&self) -> Result<Equipment> {
        let permit_life = PERMIT_LIFE;
        let company: Arc<dyn People + Send + Sync> = Arc::new(company()?);
        Ok(Equipment {
            desk: self.desk()?,
            people: Arc::new(move || Arc::clone(&company)),
            policy: None,
            redactor: Redactor::new(FingerprintKey::new("k1", [7; 32])?),
            permit_life,
            bundle_wait: self.bundle_wait,
            link_base: None,
            limits: ConsumeLimits::default(),
        })
    }

    /// Starts a coordinator as the binary does, with this text as its only policy.
    pub(crate) async fn coordinator_of(
        &self,
        policy: Option<&str>,
    ) -> Result<(Running, HealthHandle)> {
        let dir = self.deployment.dir();
        let policy_dir = dir.join("policy-of-the-test");
        if let Some(text) = policy {
            self.write_policy("policies", "all.cedar", text)?;
        }
        let bus = self.as_coordinator().await?;
        let shutdown = CancellationToken::new();
        let clock = Arc::new(SystemClock);
        let context =
            ServiceContext::new(DeploymentConfig::default(), bus, clock, shutdown.clone());
        let health = context.health.clone();
        let settings = Settings {
            policy_dir,
            keys_dir: dir.join("keys"),
            permit_life: Duration::from_secs(300),
            bundle_wait: self.bundle_wait,
            link_base: None,
            max_in_flight: 100,
        };
        let task = tokio::spawn(run(context, settings));
        let running = Running { shutdown, task };
        Ok((running, health))
    }

    /// Puts a file in its place at once: a coordinator that is starting reads the folder.
    fn write_policy(&self, folder: &str, file: &str, text: &str) -> Result<()> {
        let dir = self.deployment.dir();
        let folder = dir.join("policy-of-the-test").join(folder);
        std::fs::create_dir_all(&folder)?;
        let written = dir.join("policy-file-of-the-test");
        std::fs::write(&written, text)?;
        Ok(std::fs::rename(written, folder.join(file))?)
    }

    /// Starts a coordinator as the binary does, by a bundle in which one of support decides
    /// on mails, and may open windows of an hour.
    pub(crate) async fn coordinator_of_support(&self) -> Result<Running> {
        self.coordinator_by(&["lee", "sam"], "support").await
    }

    /// The same where these are in support.
    pub(crate) async fn coordinator_with_support(&self, support: &[&str]) -> Result<Running> {
        self.coordinator_by(support, "support").await
    }

    /// The same, where it takes these teams.
    pub(crate) async fn coordinator_asking(&self, teams: &str) -> Result<Running> {
        self.coordinator_by(&["lee", "sam"], teams).await
    }

    async fn coordinator_by(&self, support: &[&str], asked: &str) -> Result<Running> {
        let policy = mail_policy(asked);
        let teams = |who: &str| match support.contains(&who) {
            true => vec!["support"],
            false => Vec::new(),
        };
        let entities = json!({
            "teams": {"support": {}},
            "people": {
                "lee": {"name": "Lee", "teams": teams("lee")},
                "sam": {"name": "Sam", "teams": teams("sam")},
                "eve": {"name": "Eve", "teams": teams("eve")},
                "olga": {"name": "Olga"},
            },
            "roles": {"mailer": {}},
            "agents": {"billing": {"owners": ["olga"], "roles": ["mailer"], "team": "support"}},
        });
        self.write_policy("", "entities.json", &entities.to_string())?;
        self.write_policy("catalog", "tools.toml", MAIL_TOOL)?;
        self.write_policy("policies", "all.cedar", &policy)?;
        self.tool_digest().context("a bundle without faults")?;
        let (running, health) = self.coordinator_of(Some(&policy)).await?;
        eventually("the coordinator is ready", || async {
            // Other parts may be there and ready before this one begins.
            let begun = health.report().contains_key("policy");
            Ok((begun && health.is_ready()).then_some(()))
        })
        .await?;
        Ok(running)
    }

    /// The digest of the tool that [`World::coordinator_of_support`] knows.
    pub(crate) fn tool_digest(&self) -> Result<Digest> {
        let dir = self.deployment.dir().join("policy-of-the-test");
        let bundle = Bundle::from_files(&files::policy_bundle(&dir)?)?;
        let tool = bundle.catalog().tool(&"mail.send".parse()?);
        Ok(tool.context("the tool of the test")?.digest())
    }

    /// Publishes the bundle of the test company, whose tools are others than those of the
    /// verdicts here.
    pub(crate) async fn publish_another_bundle(&self) -> Result<Bundle> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/harness/bundle");
        self.publish(files::policy_bundle(&dir)?).await
    }

    /// Publishes the bundle of [`World::coordinator_asking`] with one file replaced.
    pub(crate) async fn publish_with(&self, path: &str, text: &str) -> Result<Bundle> {
        let dir = self.deployment.dir().join("policy-of-the-test");
        let mut found = files::policy_bundle(&dir)?;
        found.insert(path.to_owned(), text.as_bytes().to_vec());
        self.publish(found).await
    }

    async fn publish(&self, found: BTreeMap<String, Vec<u8>>) -> Result<Bundle> {
        let bundle = Bundle::from_files(&found)?;
        let packed = pack(&found)?;
        let (digest, operator, at) = (bundle.digest(), "kim".parse()?, SystemClock.now());
        let kept = Kept {
            digest,
            parts: 1,
            bytes: packed.len(),
            operator,
            at,
            leaving: false,
        };
        let shelf = Shelf::new(&self.checker);
        shelf.keep(&kept, &packed).await?;
        let (revision, previous) = match shelf.current().await? {
            Some((revision, before)) => (revision, Some(before.digest)),
            None => (0, None),
        };
        let published = Published {
            digest,
            parts: 1,
            bytes: packed.len(),
            previous,
            operator: kept.operator,
            at,
        };
        shelf.publish(&published, revision).await?;
        Ok(bundle)
    }
}
