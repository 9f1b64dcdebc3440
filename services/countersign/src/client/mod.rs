//! What every command that speaks to a deployment needs: its directory, its settings and
//! a connection with one identity's own credential.

mod events;
mod hear;
mod read;

use std::path::PathBuf;

use countersign_runtime::bus::{Bus, ConnectOptions, Meta, Outgoing};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::config::{self, Config};
use countersign_runtime::files;
use countersign_schemas::{Address, Event, ServiceId, Stream};

pub(crate) use events::IntentEvent;
pub(crate) use hear::{Awaited, Live, listen, until};
pub(crate) use read::{Received, last_by_subject};

use crate::exit::CliError;

/// Publishing is tried this often when no answer comes; the message id makes it once.
const PUBLISH_ATTEMPTS: usize = 3;

/// Which deployment.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Place {
    /// Directory of the deployment: the one that holds countersign.toml
    #[arg(
        long,
        value_name = "DIR",
        default_value = ".",
        env = "COUNTERSIGN_DIR",
        global = true
    )]
    pub(crate) dir: PathBuf,
    /// Override a setting, section.key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub(crate) set: Vec<String>,
}

impl Place {
    /// The settings of the deployment.
    pub(crate) fn config(&self) -> Result<Config, CliError> {
        let file = self.dir.join(config::FILE_NAME);
        Ok(Config::load_with(&file, std::env::vars_os(), &self.set)?)
    }

    /// The settings of the deployment, for what also works without one: `None` only where
    /// there is no settings file.
    pub(crate) fn config_if_there(&self) -> Result<Option<Config>, CliError> {
        let file = self.dir.join(config::FILE_NAME);
        match std::fs::symlink_metadata(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            // One that cannot be read is told by whoever reads it.
            Err(_) | Ok(_) => self.config().map(Some),
        }
    }
}

/// A connection that acts as one agent or person.
pub(crate) struct Client {
    /// The connection.
    pub(crate) bus: Bus,
    meta: Meta,
}

impl Client {
    /// Connects with `<role>-<name>.creds`.
    pub(crate) async fn connect(config: &Config, role: &str, name: &str) -> Result<Self, CliError> {
        let creds = config.nats.creds_dir.join(format!("{role}-{name}.creds"));
        let credential = files::secret("credential", &creds)?;
        let source: ServiceId = name.parse().map_err(CliError::usage)?;
        let bus = Bus::connect(ConnectOptions {
            url: config.nats.url.clone(),
            name: name.to_owned(),
            credential: credential.as_str().to_owned(),
            tls_ca: config.nats.tls_ca.clone(),
        })
        .await?;
        let meta = Meta {
            source,
            encoding: config.deployment.encoding,
            claimed_at: SystemClock.now(),
            traceparent: None,
        };
        Ok(Self { bus, meta })
    }

    /// Stores a message and returns its sequence.
    ///
    /// Where no answer comes it is sent again under the same message id, so that it is
    /// stored once.
    pub(crate) async fn send<E: Event>(
        &self,
        address: &Address,
        event: &E,
    ) -> Result<u64, CliError> {
        use countersign_runtime::bus::PublishError;

        let message = Outgoing::event(address, event, &self.meta).map_err(CliError::unexpected)?;
        check_size(address.stream(), message.payload().len())?;
        let mut sent = self.bus.publisher().publish(message.clone()).await;
        for _ in 1..PUBLISH_ATTEMPTS {
            if sent != Err(PublishError::Timeout) {
                break;
            }
            sent = match self.bus.publisher().publish(message.clone()).await {
                // The answer to our own earlier attempt.
                Err(PublishError::Duplicate { seq }) => Ok(seq),
                other => other,
            };
        }
        Ok(sent?)
    }
}

fn check_size(stream: Stream, bytes: usize) -> Result<(), CliError> {
    let most = stream.body_bytes_max();
    if bytes <= most {
        return Ok(());
    }
    Err(CliError::Refused(format!(
        "nothing was sent: the message has {bytes} bytes and {stream} stores at most {most}; {}",
        match stream {
            Stream::Control | Stream::Orders => "say it in fewer words",
            Stream::Intents | Stream::Events | Stream::Timers =>
                "put large content elsewhere and send a reference to it",
        }
    )))
}

/// The golden event of its kind, for tests.
#[cfg(test)]
pub(crate) fn golden<E: Event>() -> E {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/golden");
    let file = format!("{folder}/{}/v1.json", E::NAME);
    countersign_schemas::codec::decode(&std::fs::read(file).unwrap()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn what_no_stream_stores_is_refused_before_it_is_sent() {
        for stream in Stream::ALL {
            let most = stream.body_bytes_max();
            assert!(check_size(stream, most).is_ok());
            let error = check_size(stream, most + 1).unwrap_err();
            assert_eq!(error.exit(), Exit::Denied);
            assert!(error.to_string().contains("nothing was sent"), "{error}");
        }
    }

    #[test]
    fn a_missing_deployment_is_bad_configuration() {
        let place = Place {
            dir: PathBuf::from("/nonexistent"),
            set: Vec::new(),
        };
        let error = place.config().unwrap_err();
        assert_eq!(error.exit(), Exit::Configuration);
        assert!(error.to_string().contains("countersign.toml"), "{error}");
    }
}
