//! Everything of one deployment in one process: the embedded nats-server and every
//! service, each with a connection and a credential of its own.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_approval_coordinator as coordinator;
use countersign_audit_archiver as archiver;
use countersign_audit_query as query;
use countersign_policy_checker as checker;
use countersign_runtime::bus::layout::{self, LayoutOptions};
use countersign_runtime::clock::SystemClock;
use countersign_runtime::config::{self, Config, EmbeddedNats};
use countersign_runtime::health::HealthHandle;
use countersign_runtime::nats_server::{
    NatsServer, NatsServerError, Port, Progress, ServerConfig, StartOptions, Version,
    find_or_provision,
};
use countersign_runtime::service::{self, ServiceContext, ServiceError};
use countersign_tool_executor as executor;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The parts cannot be started, or one of them ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StackError {
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// The settings name no server of our own.
    #[error(
        "`{}` has no section [nats.embedded]: `up` starts the server itself; with a server \
         of your own, start each service with its own binary",
        .0.display()
    )]
    NoServer(PathBuf),
    /// The settings do not say on which port.
    #[error("cannot read a port from the address of the server: write nats://127.0.0.1:4222")]
    NoPort,
    /// The server does not start.
    #[error(transparent)]
    Server(#[from] NatsServerError),
    /// A service cannot be started, or it ended.
    #[error("{name}: {reason}")]
    Service {
        /// Which.
        name: &'static str,
        /// Why.
        reason: ServiceError,
    },
    /// A service ended although nobody asked it to.
    #[error("{0} ended by itself; its log says why")]
    Ended(&'static str),
}

impl StackError {
    fn of(name: &'static str) -> impl FnOnce(ServiceError) -> Self {
        move |reason| Self::Service { name, reason }
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::NoServer(_) | Self::NoPort => 64,
            Self::Server(_) => 69,
            Self::Service { reason, .. } => reason.exit_code(),
            Self::Ended(_) => 1,
        }
    }
}

/// How a service ended.
type Ended = (&'static str, Result<(), ServiceError>);

/// A deployment that runs in this process. Dropping it ends everything at once.
pub(crate) struct Stack {
    config: Config,
    server: NatsServer,
    version: Version,
    services: JoinSet<Ended>,
    shutdown: CancellationToken,
    health: HealthHandle,
}

/// How to start.
pub(crate) struct StackOptions<'a> {
    /// The deployment's settings file.
    pub(crate) file: &'a Path,
    /// Settings that override it, `section.key=value` each.
    pub(crate) settings: &'a [String],
    /// Where the installation of a nats-server tells how far it is.
    pub(crate) progress: Progress,
    /// Largest size of each stream, in bytes; the server sets it aside at once.
    pub(crate) stream_bytes_max: i64,
}

impl Stack {
    /// Starts the server, makes streams and consumers, then starts every service.
    ///
    /// # Errors
    /// When the settings or one of the parts cannot be used.
    pub(crate) async fn start(options: StackOptions<'_>) -> Result<Self, StackError> {
        let config = Config::load_with(options.file, std::env::vars_os(), options.settings)?;
        let embedded = config.nats.embedded.clone();
        let embedded = embedded.ok_or_else(|| StackError::NoServer(options.file.to_owned()))?;
        let (server, version) = start_server(&config, embedded, options.progress).await?;
        set_up(&config, options.stream_bytes_max).await?;
        let mut stack = Self {
            config,
            server,
            version,
            services: JoinSet::new(),
            shutdown: CancellationToken::new(),
            health: HealthHandle::new(),
        };
        stack.start_services().await?;
        Ok(stack)
    }

    /// The one that takes intents comes last: whoever is answered finds all the others.
    async fn start_services(&mut self) -> Result<(), StackError> {
        let config = self.config.clone();
        let settings = archiver::Settings::from_config(&config);
        let settings = settings.map_err(StackError::of(archiver::NAME))?;
        self.launch(archiver::NAME, |context| archiver::run(context, settings))
            .await?;
        let settings = query::Settings::from_config(&config);
        let settings = settings.map_err(StackError::of(query::NAME))?;
        self.launch(query::NAME, |context| query::run(context, settings))
            .await?;
        let settings = executor::Settings::load(&config);
        let settings = settings.map_err(StackError::of(executor::NAME))?;
        self.launch(executor::NAME, |context| executor::run(context, settings))
            .await?;
        let settings = coordinator::Settings::from(&config);
        self.launch(coordinator::NAME, |context| {
            coordinator::run(context, settings)
        })
        .await?;
        let settings = checker::Settings::from(&config);
        self.launch(checker::NAME, |context| checker::run(context, settings))
            .await
    }

    async fn launch<F, Fut>(&mut self, name: &'static str, run: F) -> Result<(), StackError>
    where
        F: FnOnce(ServiceContext) -> Fut,
        Fut: Future<Output = Result<(), ServiceError>> + Send + 'static,
    {
        let bus = service::connect(&self.config, name).await;
        let bus = bus.map_err(StackError::of(name))?;
        let mut context = ServiceContext::new(
            self.config.deployment.clone(),
            bus.clone(),
            Arc::new(SystemClock),
            self.shutdown.child_token(),
        );
        context.health = self.health.of(name);
        context.watch_connection();
        context.answer_health(name);
        let shutdown = context.shutdown.clone();
        let running = run(context);
        self.services.spawn(async move {
            let ended =
                service::until_drained(running, &shutdown, service::drain_grace(name)).await;
            bus.close().await;
            (name, ended)
        });
        Ok(())
    }

    /// The settings in force.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The server's URL.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// The server's version.
    pub(crate) fn server_version(&self) -> String {
        self.version.to_string()
    }

    /// The file that the server logs into.
    pub(crate) fn server_log(&self) -> &Path {
        self.server.log()
    }

    /// How many services run.
    pub(crate) fn services(&self) -> usize {
        self.services.len()
    }

    /// Where the services report the state of their parts.
    pub(crate) fn health(&self) -> HealthHandle {
        self.health.clone()
    }

    /// Waits until the server or a service ends, which none does by itself.
    pub(crate) async fn until_one_ends(&mut self) -> StackError {
        let ended = tokio::select! {
            // A service may end because the server did: that is the thing to tell.
            biased;
            died = self.server.until_ended() => return died.into(),
            ended = self.services.join_next() => ended,
        };
        if !self.server.is_running() {
            return self.server.until_ended().await.into();
        }
        match ended {
            Some(Ok((name, Err(reason)))) => StackError::Service { name, reason },
            Some(Ok((name, Ok(())))) => StackError::Ended(name),
            Some(Err(_)) | None => StackError::Ended("a service"),
        }
    }

    /// Asks every service to finish what it has begun, waits for that, then stops the
    /// server.
    ///
    /// # Errors
    /// The first that did not end well.
    pub(crate) async fn stop(mut self) -> Result<(), StackError> {
        self.shutdown.cancel();
        let mut first = Ok(());
        while let Some(ended) = self.services.join_next().await {
            let ended = match ended {
                Ok((name, ended)) => ended.map_err(StackError::of(name)),
                Err(_) => Err(StackError::Ended("a service")),
            };
            if first.is_ok() {
                first = ended;
            }
        }
        self.server.stop().await?;
        first
    }
}

async fn start_server(
    config: &Config,
    embedded: EmbeddedNats,
    progress: Progress,
) -> Result<(NatsServer, Version), StackError> {
    let port = port_of(&config.nats.url).ok_or(StackError::NoPort)?;
    // Finding it may install it first, which takes its time outside of the event loop.
    let found = tokio::task::spawn_blocking(move || find_or_provision(progress)).await;
    let binary = found.map_err(|_| StackError::Ended("the search for nats-server"))??;
    let version = binary.version;
    let mut options = StartOptions::new(
        binary,
        ServerConfig::File(embedded.config),
        embedded.store_dir,
    );
    options.port = Port::Configured(port);
    Ok((NatsServer::start(options).await?, version))
}

/// Makes the streams with the one credential that may.
async fn set_up(config: &Config, stream_bytes_max: i64) -> Result<(), StackError> {
    const NAME: &str = "setup";
    let bus = service::connect(config, NAME).await;
    let bus = bus.map_err(StackError::of(NAME))?;
    let options = LayoutOptions {
        replicas: config.nats.replicas.into(),
        stream_bytes_max,
    };
    let made = layout::ensure(&bus, options).await;
    bus.close().await;
    made.map_err(|error| StackError::of(NAME)(error.into()))
}

/// The port in the first URL; NATS' own where none is named.
fn port_of(urls: &str) -> Option<u16> {
    let url = urls.split(',').next()?.trim();
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    match address.rsplit_once(':') {
        Some((_, port)) => port.trim_end_matches('/').parse().ok(),
        None => Some(4222),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_comes_from_the_address() {
        for (urls, port) in [
            ("nats://127.0.0.1:4222", Some(4222)),
            ("tls://localhost:5000/, nats://b:1", Some(5000)),
            ("nats://localhost", Some(4222)),
            ("nats://localhost:x", None),
            ("nats://localhost:99999", None),
        ] {
            assert_eq!(port_of(urls), port, "{urls}");
        }
    }

    #[tokio::test]
    async fn settings_without_a_server_of_our_own_are_told_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("countersign.toml");
        std::fs::write(&file, "[deployment]\nname = \"acme\"\n").unwrap();
        let options = StackOptions {
            file: &file,
            settings: &[],
            progress: Progress::Quiet,
            stream_bytes_max: layout::STREAM_BYTES_DEFAULT,
        };
        let error = Stack::start(options).await.err().unwrap();
        assert_eq!(error.exit_code(), 64);
        assert!(error.to_string().contains("[nats.embedded]"), "{error}");
    }
}
