//! The service on a real nats-server: each look-up is stored before its answer leaves.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::{Message, RequestErrorKind};
use bytes::Bytes;
use countersign_audit_query::{QueryLimits, Settings, run};
use countersign_runtime::bus::layout::{self, LayoutOptions};
use countersign_runtime::bus::{Bus, ConnectOptions, StoredMessage};
use countersign_runtime::clock::SystemClock;
use countersign_runtime::config::Deployment;
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision, plain_config,
};
use countersign_runtime::service::{ServiceContext, ServiceError};
use countersign_schemas::codec;
use countersign_schemas::events::AuditAccessed;
use countersign_schemas::{Stream, headers};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::written::{Nothing, Written, key, story_archive};

const PATIENCE: Duration = Duration::from_secs(90);

struct Fixture {
    _server: NatsServer,
    bus: Bus,
    written: Written,
    task: JoinHandle<Result<(), ServiceError>>,
    shutdown: CancellationToken,
    _store: tempfile::TempDir,
}

impl Fixture {
    async fn start(streams: bool) -> Result<Self> {
        let store = tempfile::tempdir()?;
        let user = nkeys::KeyPair::new_user();
        let config = plain_config(&store.path().join("js"))
            + &format!(
                "authorization {{ users = [ {{ nkey: {} }} ] }}\n",
                user.public_key()
            );
        let binary = find_or_provision(Progress::Quiet)?;
        let config = ServerConfig::Text(config);
        let options = StartOptions::new(binary, config, store.path().join("js"));
        let server = NatsServer::start(options).await?;
        let connect = |name: &str, seed: String| {
            Bus::connect(ConnectOptions {
                url: server.url(),
                name: name.to_owned(),
                credential: seed,
                tls_ca: None,
            })
        };
        let bus = connect("lee", user.seed()?).await?;
        if streams {
            layout::ensure(&bus, LayoutOptions::default()).await?;
        }
        let written = story_archive();
        let shutdown = CancellationToken::new();
        let own = connect("audit-query", user.seed()?).await?;
        let clock = Arc::new(SystemClock);
        let context = ServiceContext::new(Deployment::default(), own, clock, shutdown.clone());
        let health = context.health.clone();
        let settings = Settings {
            place: written.dir().into(),
            pinned: key().public(),
            limits: QueryLimits {
                rows: 12,
                ..QueryLimits::default()
            },
            scrub: Arc::new(Nothing),
        };
        let task = tokio::spawn(run(context, settings));
        tokio::time::timeout(PATIENCE, async {
            while !health.is_ready() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .context("the service did not get ready")?;
        // Its subscription is on the way to the server then, and ours is another connection.
        tokio::time::timeout(PATIENCE, async {
            let asked = || {
                bus.client()
                    .request("cs.audit.query.lee", Bytes::from("{}"))
            };
            while let Err(error) = asked().await {
                ensure!(error.kind() == RequestErrorKind::NoResponders, "{error}");
            }
            Ok(())
        })
        .await
        .context("nobody answers queries")??;
        Ok(Self {
            _server: server,
            bus,
            written,
            task,
            shutdown,
            _store: store,
        })
    }

    async fn ask(&self, body: Value) -> Result<Message> {
        let subject = "cs.audit.query.lee";
        let asked = async_nats::Request::new()
            .payload(Bytes::from(body.to_string()))
            .timeout(Some(PATIENCE));
        Ok(self.bus.client().send_request(subject, asked).await?)
    }

    /// The last look-up that is stored.
    async fn recorded(&self) -> Result<AuditAccessed> {
        let filter = "audit.accessed.*";
        let stored: StoredMessage = self
            .bus
            .last_by_subject(Stream::Events, filter)
            .await?
            .context("no look-up is stored")?;
        Ok(codec::decode(&stored.payload)?)
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        self.task.await??;
        Ok(())
    }
}

fn refusal(message: &Message) -> Option<(String, String)> {
    let head = message.headers.as_ref()?;
    let value = |name| head.get(name).map(|value| value.as_str().to_owned());
    Some((
        value(headers::SERVICE_ERROR_CODE)?,
        value(headers::SERVICE_ERROR)?,
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_look_up_is_stored_before_its_answer_arrives() -> Result<()> {
    let mut fixture = Fixture::start(true).await?;
    let sql = "SELECT count(*) AS n FROM events";
    let answer = fixture.ask(json!({"sql": sql})).await?;
    ensure!(refusal(&answer).is_none(), "{answer:?}");
    assert_eq!(
        serde_json::from_slice::<Value>(&answer.payload)?,
        json!([{"n": 16}])
    );
    let recorded = fixture.recorded().await?;
    assert_eq!(
        (
            recorded.person.as_str(),
            recorded.query.as_str(),
            recorded.rows,
            recorded.result.as_str()
        ),
        ("lee", sql, 1, "ok")
    );
    fixture.written.add(crate::written::blocked_and_open());
    let table = fixture.ask(json!({"sql": sql, "format": "table"})).await?;
    let table = String::from_utf8(table.payload.to_vec())?;
    ensure!(
        table.contains("22") && table.ends_with("1 row\n"),
        "{table}"
    );
    fixture.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_words_with_a_code_and_are_recorded_too() -> Result<()> {
    let fixture = Fixture::start(true).await?;
    let large = "SELECT repeat('x', 2000000) AS x";
    let cases = [
        ("DROP TABLE events", "400", "not_reading", "only reading"),
        (
            "SELECT nope FROM events",
            "400",
            "bad_statement",
            "cannot answer",
        ),
        (
            "SELECT * FROM events",
            "413",
            "too_much",
            "more than 12 rows",
        ),
        (large, "413", "too_much", "fit one message"),
    ];
    for (sql, status, code, words) in cases {
        let answer = fixture.ask(json!({"sql": sql})).await?;
        let (found, text) = refusal(&answer).context("it was answered")?;
        assert_eq!(found, status, "{sql}: {text}");
        assert!(text.contains(words), "{sql}: {text}");
        let recorded = fixture.recorded().await?;
        assert_eq!(
            (recorded.query.as_str(), recorded.result.as_str()),
            (sql, code)
        );
    }
    let answer = fixture.ask(json!({"statement": "SELECT 1"})).await?;
    ensure!(
        refusal(&answer).is_some_and(|(code, _)| code == "400"),
        "{answer:?}"
    );
    fixture.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_not_answered() -> Result<()> {
    let fixture = Fixture::start(false).await?;
    let answer = fixture
        .ask(json!({"sql": "SELECT count(*) AS n FROM events"}))
        .await?;
    let (code, _) = refusal(&answer).context("it was answered")?;
    assert_eq!(code, "503");
    assert!(!String::from_utf8_lossy(&answer.payload).contains("16"));
    fixture.stop().await
}
