//! One NATS connection with one credential.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{Client, Event, ServerError};
use countersign_schemas::{Incarnation, Stream};

use super::credential::log_in;
use super::failure::BusError;
use super::fullness::Readings;
use super::metrics;
use super::publisher::Publisher;

/// Oldest server that has everything we rely on (scheduled messages that survive, compare
/// and set over a filter, atomic batches).
const SERVER_MIN: (u64, u64) = (2, 14);
/// How long the first connection may take before the caller hears about it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last messages may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest pause between two attempts to reconnect.
const RECONNECT_MAX: Duration = Duration::from_secs(2);
/// Commands that may wait for the connection: what one service has in flight, twice.
const CLIENT_CAPACITY: usize = 8_192;
/// Messages that one subscription may hold before it counts as slow.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// How to connect.
#[derive(Clone)]
pub struct ConnectOptions {
    /// One or more server URLs, separated by commas.
    pub url: String,
    /// The identity's name; its inbox prefix is `_INBOX_<name>`.
    pub name: String,
    /// Its credential: the seed of its nkey (`SU…`), or a NATS credentials file.
    pub credential: String,
    /// Certificate authority to trust, for TLS.
    pub tls_ca: Option<PathBuf>,
}

impl std::fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("url", &self.url)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// One connection with one credential. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    client: Client,
    jetstream: jetstream::Context,
    publisher: Publisher,
    lives: Arc<RwLock<Vec<(Stream, Incarnation)>>>,
    readings: Arc<Readings>,
    name: Arc<str>,
}

impl Bus {
    /// Connects and checks that the server is new enough.
    ///
    /// # Errors
    /// When nobody answers in 5 s, the credential is refused or the server is too old.
    pub async fn connect(options: ConnectOptions) -> Result<Self, BusError> {
        let refused: Arc<OnceLock<Publisher>> = Arc::default();
        let lives: Arc<RwLock<Vec<(Stream, Incarnation)>>> = Arc::default();
        let client = open(&options, Arc::clone(&refused), Arc::clone(&lives)).await?;
        check_version(&client, &options.url)?;
        let publisher = Publisher::start(client.clone()).await?;
        refused.set(publisher.clone()).ok();
        Ok(Self {
            jetstream: jetstream::new(client.clone()),
            client,
            publisher,
            lives,
            readings: Arc::default(),
            name: Arc::from(options.name),
        })
    }

    /// The identity's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client beneath, for subscriptions and requests.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The JetStream API beneath.
    #[must_use]
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// The publisher of this connection.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// How full the streams were when last asked.
    pub(super) fn readings(&self) -> &Readings {
        &self.readings
    }

    /// Whether the connection stands now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Which life of `stream` this is. Asked once and again after each disconnection.
    ///
    /// # Errors
    /// When the server does not answer or the stream does not exist.
    pub async fn incarnation(&self, stream: Stream) -> Result<Incarnation, BusError> {
        let known = self.lives.read().ok().and_then(|lives| {
            lives
                .iter()
                .find(|(name, _)| *name == stream)
                .map(|(_, life)| life.clone())
        });
        if let Some(life) = known {
            return Ok(life);
        }
        let life = self.ask_incarnation(stream.name()).await?;
        if let Ok(mut lives) = self.lives.write() {
            lives.push((stream, life.clone()));
        }
        Ok(life)
    }

    /// Which life of the stream that the server calls `name` this is.
    pub(super) async fn ask_incarnation(&self, name: &str) -> Result<Incarnation, BusError> {
        let what = || format!("cannot read the state of stream {name}");
        let info = self
            .jetstream
            .get_stream(name)
            .await
            .map_err(|error| BusError::request(what(), error))?;
        Ok(Incarnation::of_created(info.cached_info().created))
    }

    /// Sends what is buffered and closes the connection.
    pub async fn close(&self) {
        // Draining only begins here and may end after the process; acks must be out before.
        let flushed = tokio::time::timeout(FLUSH_TIMEOUT, self.client.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!(identity = %self.name, "not everything was sent before the end");
        }
        if let Err(error) = self.client.drain().await {
            tracing::debug!(%error, "connection was already closed");
        }
    }
}

async fn open(
    options: &ConnectOptions,
    refused: Arc<OnceLock<Publisher>>,
    lives: Arc<RwLock<Vec<(Stream, Incarnation)>>>,
) -> Result<Client, BusError> {
    let name: Arc<str> = Arc::from(options.name.as_str());
    let failed = |reason: String| BusError::Connect {
        url: options.url.clone(),
        name: options.name.clone(),
        reason,
    };
    let mut connect = log_in(async_nats::ConnectOptions::new(), &options.credential)
        .map_err(|error| failed(error.to_string()))?
        .name(format!("countersign {}", options.name))
        .custom_inbox_prefix(format!("_INBOX_{}", options.name))
        .connection_timeout(CONNECT_TIMEOUT)
        .client_capacity(CLIENT_CAPACITY)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            on_event(&event, &name, refused.get(), &lives);
            std::future::ready(())
        });
    if let Some(ca) = &options.tls_ca {
        connect = connect.add_root_certificates(ca.clone()).require_tls(true);
    }
    let urls: Vec<String> = options
        .url
        .split(',')
        .map(|url| url.trim().to_owned())
        .collect();
    connect
        .connect(urls)
        .await
        .map_err(|error| failed(error.to_string()))
}

fn reconnect_delay(attempts: usize) -> Duration {
    let doubled = 1_u64 << attempts.min(6);
    Duration::from_millis(25 * doubled).min(RECONNECT_MAX)
}

fn on_event(
    event: &Event,
    name: &str,
    publisher: Option<&Publisher>,
    lives: &RwLock<Vec<(Stream, Incarnation)>>,
) {
    match event {
        Event::ServerError(ServerError::Other(text)) => {
            tracing::warn!(identity = name, %text, "the server refused something");
            metrics::permission_refused();
            if let (Some(publisher), Some(subject)) = (publisher, refused_subject(text)) {
                publisher.refuse(subject);
            }
        }
        Event::Disconnected => {
            tracing::warn!(identity = name, "disconnected from NATS");
            if let Ok(mut lives) = lives.write() {
                lives.clear();
            }
        }
        other => tracing::info!(identity = name, event = %other, "NATS connection"),
    }
}

/// The subject in `Permissions Violation for Publish to "x"`.
fn refused_subject(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("Publish to \"")?;
    rest.split_once('"').map(|(subject, _)| subject)
}

fn check_version(client: &Client, url: &str) -> Result<(), BusError> {
    let found = client.server_info().version;
    if at_least(&found, SERVER_MIN) {
        return Ok(());
    }
    Err(BusError::ServerTooOld {
        url: url.to_owned(),
        found,
    })
}

fn at_least(version: &str, min: (u64, u64)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= min,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_unreadable_versions_are_refused() {
        for (version, good) in [
            ("2.14.0", true),
            ("2.15.1", true),
            ("3.0.0", true),
            ("2.9.25", false),
            ("1.99.0", false),
            ("", false),
            ("dev", false),
        ] {
            assert_eq!(at_least(version, SERVER_MIN), good, "{version}");
        }
    }

    #[test]
    fn a_refusal_names_its_subject() {
        let text = "Permissions Violation for Publish to \"tool.approved.a.b\"";
        assert_eq!(refused_subject(text), Some("tool.approved.a.b"));
        assert_eq!(refused_subject("maximum connections exceeded"), None);
    }

    #[test]
    fn credentials_are_not_printed() {
        let options = ConnectOptions {
            url: "nats://x".to_owned(),
            name: "checker".to_owned(),
            credential: "SUSECRET".to_owned(),
            tls_ca: None,
        };
        assert!(!format!("{options:?}").contains("SUSECRET"));
    }
}
