//! The common main of every service binary, which reads as a list.

mod clock_watch;
mod connection_watch;
mod health_desk;

use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use countersign_schemas::Stream;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, BusError, ConnectOptions};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config, ConfigError};
use crate::files::{self, FileError};
use crate::health::HealthHandle;
use crate::identity::Service;
use crate::signals::shutdown_on_signals;
use crate::telemetry::{Telemetry, TelemetryError};

pub use clock_watch::{ClockTrust, clock_skew};

/// How long a service may take to finish what it has begun. Shorter than the 30 s after
/// which the server redelivers its inputs to another.
pub const DRAIN_GRACE: Duration = Duration::from_secs(15);
/// As long for the executor as the longest call may take (the catalog's bound of 300 s)
/// with the room of its lease: a call that is cut off leaves an unknown outcome.
pub const EXECUTOR_GRACE: Duration = Duration::from_secs(310);

/// How long the service `name` may finish what it has begun.
#[must_use]
pub fn drain_grace(name: &str) -> Duration {
    match name == Service::ToolExecutor.name() {
        true => EXECUTOR_GRACE,
        false => DRAIN_GRACE,
    }
}

/// What every service is given, besides its own settings.
#[derive(Clone)]
pub struct ServiceContext {
    /// What the whole deployment agrees on.
    pub deployment: config::Deployment,
    /// The connection with this service's own credential.
    pub bus: Bus,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Whether that clock agrees with the server's.
    pub clock_trust: ClockTrust,
    /// Cancelled when the service must stop taking inputs and finish.
    pub shutdown: CancellationToken,
    /// Where the service reports the state of its parts.
    pub health: HealthHandle,
}

impl ServiceContext {
    /// A context with a health of its own, whose clock is not trusted until
    /// [`ServiceContext::watch_clock`] has compared it.
    #[must_use]
    pub fn new(
        deployment: config::Deployment,
        bus: Bus,
        clock: Arc<dyn Clock>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            deployment,
            bus,
            clock,
            clock_trust: ClockTrust::unproven(),
            shutdown,
            health: HealthHandle::new(),
        }
    }

    /// Reports in health, until shutdown, whether the connection stands.
    pub fn watch_connection(&self) {
        let part = self.health.part("connection");
        let watch = connection_watch::run(self.bus.clone(), part, self.shutdown.clone());
        tokio::spawn(watch);
    }

    /// Answers operators who ask on `cs.health.<operator>` how the service `name` is, until
    /// shutdown.
    pub fn answer_health(&self, name: &'static str) {
        let desk = health_desk::Desk {
            name,
            since: self.clock.now(),
            bus: self.bus.clone(),
            health: self.health.clone(),
        };
        tokio::spawn(desk.run(self.shutdown.clone()));
    }

    /// Tells operators how full `streams` are, until shutdown. For a service that may read
    /// their state.
    pub fn watch_fullness(&self, streams: &'static [Stream]) {
        tokio::spawn(health_desk::watch_fullness(self.clone(), streams));
    }

    /// Compares the clock with the server's, now and again until shutdown. For services
    /// that claim or sign; they need the state of `CS_EVENTS`, which has the server's time.
    pub async fn watch_clock(&self) {
        if !self.clock_trust.is_compared() {
            return;
        }
        let part = self.health.part("clock");
        clock_watch::compare(self, &part).await;
        tokio::spawn(clock_watch::run(self.clone(), part));
    }
}

/// Why a service ended, each with its exit code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Something that is configured cannot be used: a file, a key, a policy.
    #[error("{0}")]
    Configured(String),
    /// NATS, or something in it that must be there, is out of reach.
    #[error("{0}")]
    Unreachable(String),
    /// The service found a fault that it cannot work around.
    #[error("{0}")]
    Failed(String),
    /// What was begun was not finished within the grace time; it will be redelivered.
    #[error(
        "not everything was finished within {} s: what is not acked is delivered again, and \
         a tool call that was cut off is ended as unknown",
        .0.as_secs()
    )]
    DrainTimeout(Duration),
}

impl ServiceError {
    /// Something configured cannot be used.
    pub fn configured(error: impl ToString) -> Self {
        Self::Configured(error.to_string())
    }

    /// A fault that cannot be worked around.
    pub fn failed(error: impl ToString) -> Self {
        Self::Failed(error.to_string())
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configured(_) => 64,
            Self::Unreachable(_) => 69,
            Self::Failed(_) | Self::DrainTimeout(_) => 1,
        }
    }
}

impl From<ConfigError> for ServiceError {
    fn from(error: ConfigError) -> Self {
        Self::configured(error)
    }
}

impl From<FileError> for ServiceError {
    fn from(error: FileError) -> Self {
        Self::configured(error)
    }
}

impl From<TelemetryError> for ServiceError {
    fn from(error: TelemetryError) -> Self {
        Self::configured(error)
    }
}

impl From<BusError> for ServiceError {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Fatal { .. } => Self::failed(error),
            BusError::Connect { .. } | BusError::ServerTooOld { .. } | BusError::Request { .. } => {
                Self::Unreachable(error.to_string())
            }
        }
    }
}

/// The flags of every service binary.
#[derive(Debug, Parser)]
#[command(version, about = "One service of Countersign")]
struct Flags {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = config::FILE_NAME)]
    config: PathBuf,
    /// Override a setting, section.key=value; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the settings in force and exit
    #[arg(long)]
    print_config: bool,
}

/// The whole life of a service process: `countersign-<name> --config FILE`.
pub fn main<F, Fut>(name: &'static str, run: F) -> ExitCode
where
    F: FnOnce(ServiceContext, Config) -> Fut,
    Fut: Future<Output = Result<(), ServiceError>>,
{
    match live(name, &Flags::parse(), run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("countersign-{name}: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

fn live<F, Fut>(name: &'static str, flags: &Flags, run: F) -> Result<(), ServiceError>
where
    F: FnOnce(ServiceContext, Config) -> Fut,
    Fut: Future<Output = Result<(), ServiceError>>,
{
    let config = Config::load_with(&flags.config, std::env::vars_os(), &flags.set)?;
    if flags.print_config {
        return write!(std::io::stdout(), "{config}").map_err(ServiceError::failed);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ServiceError::failed)?;
    runtime.block_on(async {
        let telemetry = Telemetry::start(&config.telemetry, name)?;
        let ended = serve(name, config, &telemetry, run).await;
        telemetry.flush().await;
        ended
    })
}

async fn serve<F, Fut>(
    name: &'static str,
    config: Config,
    telemetry: &Telemetry,
    run: F,
) -> Result<(), ServiceError>
where
    F: FnOnce(ServiceContext, Config) -> Fut,
    Fut: Future<Output = Result<(), ServiceError>>,
{
    let shutdown = shutdown_on_signals().map_err(ServiceError::failed)?;
    let bus = connect(&config, name).await?;
    let clock = Arc::new(SystemClock);
    let context = ServiceContext::new(config.deployment.clone(), bus.clone(), clock, shutdown);
    // Health is told until the very end, so it has an end of its own.
    let over = CancellationToken::new();
    let _over_at_return = over.clone().drop_guard();
    let listening = telemetry
        .listen(&config.telemetry, context.health.clone(), over)
        .await?;
    context.watch_connection();
    context.answer_health(name);
    tracing::info!(
        service = name,
        version = env!("CARGO_PKG_VERSION"),
        deployment = %config.deployment.name,
        nats = config.nats.url,
        metrics = listening.map(|address| address.to_string()),
        "started"
    );
    let shutdown = context.shutdown.clone();
    let ended = until_drained(run(context, config), &shutdown, drain_grace(name)).await;
    bus.close().await;
    match &ended {
        Ok(()) => tracing::info!(service = name, "stopped"),
        Err(error) => tracing::error!(service = name, %error, "stopped"),
    }
    ended
}

/// Connects as the service `name`, with the credential that the configuration names.
///
/// # Errors
/// When the credential cannot be read or the server does not take it.
pub async fn connect(config: &Config, name: &str) -> Result<Bus, ServiceError> {
    let path = config.service_creds(name);
    let credential = files::secret("credential", &path)?;
    let options = ConnectOptions {
        url: config.nats.url.clone(),
        name: name.to_owned(),
        credential: credential.as_str().to_owned(),
        tls_ca: config.nats.tls_ca.clone(),
    };
    Ok(Bus::connect(options).await?)
}

/// Runs to the end, or for `grace` at most once `shutdown` was asked.
///
/// # Errors
/// What `running` ends with, or [`ServiceError::DrainTimeout`].
pub async fn until_drained<Fut>(
    running: Fut,
    shutdown: &CancellationToken,
    grace: Duration,
) -> Result<(), ServiceError>
where
    Fut: Future<Output = Result<(), ServiceError>>,
{
    let too_late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        ended = running => ended,
        () = too_late => Err(ServiceError::DrainTimeout(grace)),
    }
}

/// One line on stderr; with stderr closed there is nobody to tell.
fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

#[cfg(test)]
mod tests;
