//! A real nats-server with checkers that follow the bundle in force, and an operator.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_domain::policy::protocol::{PushReply, PushRequest, Refused};
use countersign_domain::policy::{Bundle, pack};
use countersign_policy_checker::{NAME, Settings, run};
use countersign_runtime::bus::Bus;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::config::{Deployment, Mandates};
use countersign_runtime::files;
use countersign_runtime::health::HealthHandle;
use countersign_runtime::nats_server::NatsServer;
use countersign_runtime::policy::Policy;
use countersign_runtime::service::{ServiceContext, ServiceError};
use countersign_schemas::events::{PolicyChecked, PolicyPublished};
use countersign_schemas::{Address, Digest, IntentId, Stream, codec, headers};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::common;

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct World {
    pub(crate) server: NatsServer,
    pub(crate) bus: Bus,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) struct Checker {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServiceError>>,
    pub(crate) health: HealthHandle,
}

impl Checker {
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        Ok(self.task.await??)
    }
}

/// A bundle and its uploaded parts.
pub(crate) type Uploaded = (Digest, Vec<Digest>);

/// An answer, or status, sentence and body of a refusal.
pub(crate) type Answer = Result<PushReply, (String, String, Bytes)>;

pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../countersign/policy")
}

/// The sample with one more rule, or another text in place of a file.
pub(crate) fn bundle_with(path: &str, text: &str) -> Result<Files> {
    let mut files = files::policy_bundle(&sample())?;
    files.insert(path.to_owned(), text.as_bytes().to_vec());
    Ok(files)
}

/// The sample in which nobody searches documents.
pub(crate) fn closed() -> Result<Files> {
    let rule = "@id(\"closed\")\n@because(\"The documents are being moved.\")\nforbid (principal, action == Action::\"docs.search\", resource);\n";
    bundle_with("policies/closed.cedar", rule)
}

pub(crate) fn digest(files: &Files) -> Result<Digest> {
    let bundle = Bundle::from_files(files).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    Ok(bundle.digest())
}

pub(crate) async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "not in time: {what}");
        tokio::task::yield_now().await;
    }
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (server, bus) = common::start(dir.path()).await?;
        Ok(Self { server, bus, dir })
    }

    pub(crate) async fn checker_with(&self, policy_dir: PathBuf) -> Result<Checker> {
        let shutdown = CancellationToken::new();
        let bus = common::connect(&self.server, NAME).await?;
        let clock = Arc::new(SystemClock);
        let context = ServiceContext::new(Deployment::default(), bus, clock, shutdown.clone());
        let health = context.health.clone();
        let settings = Settings {
            policy_dir,
            keys_dir: self.dir.path().to_owned(),
            label_life: Duration::from_secs(3_600),
            max_in_flight: 100,
            mandates: Mandates::default(),
        };
        let task = tokio::spawn(run(context, settings));
        let checker = Checker {
            shutdown,
            task,
            health,
        };
        eventually("the checker answers", async || {
            Ok(self.ask(&PushRequest::Status {}).await.ok())
        })
        .await?;
        Ok(checker)
    }

    /// What another service holds that follows the bundle in force.
    pub(crate) async fn policy(&self) -> Result<Policy> {
        let bus = common::connect(&self.server, "executor").await?;
        let clock = Arc::new(SystemClock);
        let context =
            ServiceContext::new(Deployment::default(), bus, clock, CancellationToken::new());
        Ok(Policy::start(&context, Err("there is no folder".to_owned())).await)
    }

    pub(crate) async fn checker(&self) -> Result<Checker> {
        self.checker_with(sample()).await
    }

    pub(crate) async fn ask(&self, request: &PushRequest) -> Answer {
        let body = serde_json::to_vec(request).unwrap_or_default();
        self.send("cs.policy.push.kim", body).await
    }

    pub(crate) async fn send(&self, subject: &'static str, body: Vec<u8>) -> Answer {
        let lost =
            |error: &dyn std::fmt::Display| ("lost".to_owned(), error.to_string(), Bytes::new());
        let reply = self.bus.client().request(subject, body.into()).await;
        let reply = reply.map_err(|error| lost(&error))?;
        let header = |name: &str| {
            let found = reply.headers.as_ref()?.get(name)?;
            Some(found.as_str().to_owned())
        };
        if let Some(message) = header(headers::SERVICE_ERROR) {
            let code = header(headers::SERVICE_ERROR_CODE).unwrap_or_default();
            return Err((code, message, reply.payload.clone()));
        }
        serde_json::from_slice(&reply.payload).map_err(|error| lost(&error))
    }

    pub(crate) async fn upload(&self, packed: &[u8]) -> Result<Vec<Digest>> {
        let mut parts = Vec::new();
        for part in packed.chunks(500 * 1024) {
            let data = STANDARD.encode(part);
            match self.ask(&PushRequest::Part { data }).await {
                Ok(PushReply::Part { digest }) => parts.push(digest),
                other => bail!("a part is not taken: {other:?}"),
            }
        }
        Ok(parts)
    }

    pub(crate) async fn push(&self, files: &Files, digest: Digest) -> Result<Answer> {
        let parts = self.upload(&pack(files)?).await?;
        let request = PushRequest::Publish {
            digest,
            parts,
            replaces: None,
        };
        Ok(self.ask(&request).await)
    }

    /// The parts of a bundle that cannot be read, of one whose test fails, and of one that
    /// lint refuses.
    pub(crate) async fn unsound(&self) -> Result<(Vec<Digest>, Uploaded, Uploaded)> {
        let broken = bundle_with("policies/closed.cedar", "forbid (principal, action")?;
        let broken = self.upload(&pack(&broken)?).await?;
        let failing = bundle_with(
            "tests/failing.toml",
            "[[case]]\nname = \"no\"\nagent = \"ops\"\ntool = \"docs.search\"\ninput = { query = \"x\" }\nverdict = \"deny\"\n",
        )?;
        let failing = (digest(&failing)?, self.upload(&pack(&failing)?).await?);
        let admin = "@id(\"admin\")\npermit (principal, action, resource);\n";
        let admin = bundle_with("policies/admin.cedar", admin)?;
        let admin = (digest(&admin)?, self.upload(&pack(&admin)?).await?);
        Ok((broken, failing, admin))
    }

    pub(crate) async fn refuses(
        &self,
        request: &PushRequest,
        status: &str,
        said: &str,
    ) -> Result<()> {
        let Err((code, message, body)) = self.ask(request).await else {
            bail!("it was taken: {request:?}");
        };
        ensure!(
            code == status && message.contains(said),
            "{code} {message} for {said}"
        );
        if status == "422" {
            let refused: Refused = serde_json::from_slice(&body)?;
            let problem = refused.problems.first().context("no problem is named")?;
            ensure!(problem.line.is_some(), "{problem}");
        }
        Ok(())
    }

    pub(crate) async fn published(&self) -> Result<Option<Digest>> {
        match self.ask(&PushRequest::Status {}).await {
            Ok(PushReply::Status { published, .. }) => Ok(published),
            other => bail!("no status: {other:?}"),
        }
    }

    /// What an intent of now is judged.
    pub(crate) async fn verdict(&self) -> Result<PolicyChecked> {
        self.verdict_in(None).await
    }

    /// What an intent of now is judged that has this place in a bundle of intents.
    pub(crate) async fn verdict_in(&self, place: Option<Value>) -> Result<PolicyChecked> {
        let id = IntentId::new_at(SystemClock.now());
        let mut body = json!({"intent_id": id, "tool": "docs.search", "input": {"query": "returns"},
            "requester": {"id": "kim@northwind.example"}, "purpose": "to answer a letter"});
        if let (Some(place), Some(members)) = (place, body.as_object_mut()) {
            members.insert("bundle".to_owned(), place);
        }
        let sent = self
            .bus
            .jetstream()
            .publish("tool.requested.support", body.to_string().into());
        sent.await?.await?;
        eventually("a verdict", async || {
            let filter = Address::checked_filter(id);
            let found = self.bus.last_by_subject(Stream::Events, &filter).await?;
            Ok(found
                .map(|found| codec::decode(&found.payload))
                .transpose()?)
        })
        .await
    }

    pub(crate) async fn events(&self) -> Result<u64> {
        let jetstream = self.bus.jetstream();
        let mut stream = jetstream.get_stream(Stream::Events.name()).await?;
        Ok(stream.info().await?.state.last_sequence)
    }

    pub(crate) async fn records(&self, digest: Digest) -> Result<Option<(u64, PolicyPublished)>> {
        let subject = format!("policy.published.{}", digest.hex());
        let found = self.bus.last_by_subject(Stream::Events, &subject).await?;
        found
            .map(|found| Ok((found.seq, codec::decode(&found.payload)?)))
            .transpose()
    }
}
