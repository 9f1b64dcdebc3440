//! Where questions go: to the query service as a person, or to the files of an archive.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use countersign_audit_query::output::{self as form, Format};
use countersign_audit_query::{Answer, Archive, QueryError, QueryLimits, QueryRequest, Settings};
use countersign_domain::archive::ManifestPublicKeys;
use countersign_runtime::config::Config;
use countersign_schemas::subjects::service;
use countersign_schemas::{PersonId, headers};

use super::named;
use crate::client::Client;
use crate::commands::approvals::{Who, credential};
use crate::exit::CliError;
use crate::output::Output;

/// Added to the longest run of a query: the way there and back, and a turn to wait for.
const ANSWER_ROOM: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct From {
    /// Read the files of this archive, a directory or s3://bucket/prefix, instead of asking
    /// the service. Not recorded: guard them by rights
    #[arg(long, value_name = "DIR")]
    pub(super) archive: Option<PathBuf>,
    #[command(flatten)]
    pub(super) who: Who,
}

/// Who answers.
pub(super) enum Source {
    /// The files, and how much one query may use.
    Files(Box<Archive>, QueryLimits),
    /// The service.
    Service(Box<Service>),
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It would have been too much; half of it might not be.
    TooMuch(CliError),
    /// Anything else.
    Failed(CliError),
}

impl std::convert::From<Unanswered> for CliError {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::TooMuch(error) | Unanswered::Failed(error) => error,
        }
    }
}

impl Source {
    /// Opens the archive, or connects as the person.
    pub(super) async fn open(from: &From, output: &Output) -> Result<Self, CliError> {
        match &from.archive {
            Some(dir) => {
                let (archive, limits) = open(dir, from, output)?;
                Ok(Self::Files(Box::new(archive), limits))
            }
            None => Ok(Self::Service(Box::new(Service::connect(from).await?))),
        }
    }

    /// The most rows that one answer may have.
    pub(super) fn rows_max(&self) -> usize {
        match self {
            Self::Files(_, limits) => limits.rows,
            Self::Service(service) => service.rows_max,
        }
    }

    /// Answers one statement, from what the archive holds by now.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Answer, Unanswered> {
        match self {
            Self::Files(archive, limits) => {
                let read = archive.refresh().map(drop);
                read.map_err(|error| Unanswered::Failed(refused(error)))?;
                archive
                    .query(sql, *limits)
                    .await
                    .map_err(|error| match error {
                        QueryError::Memory { .. } | QueryError::Rows { .. } => {
                            Unanswered::TooMuch(refused(error))
                        }
                        other => Unanswered::Failed(refused(other)),
                    })
            }
            Self::Service(service) => {
                let bytes = service.ask(sql, Format::Parquet).await?;
                form::read_parquet(Bytes::from(bytes))
                    .map_err(|error| Unanswered::Failed(CliError::unexpected(error)))
            }
        }
    }

    /// Ends the connection.
    pub(super) async fn close(self) {
        if let Self::Service(service) = self {
            service.client.bus.close().await;
        }
    }
}

/// Opens the files. Signatures are checked where the deployment's key is at hand.
pub(super) fn open(
    dir: &Path,
    from: &From,
    output: &Output,
) -> Result<(Archive, QueryLimits), CliError> {
    let config = from.who.place.config_if_there()?;
    let place = named(dir, config.as_ref())?;
    let (pinned, limits) = match config {
        Some(config) => {
            let settings = Settings::from_config(&config)?;
            (settings.pinned, settings.limits)
        }
        None => (ManifestPublicKeys::default(), QueryLimits::default()),
    };
    if pinned.is_empty() {
        output.progress(
            "signatures are not checked: there is no deployment with a manifest key here; name \
             one with --dir",
        );
    }
    let archive = Archive::open(place, pinned).map_err(refused)?;
    Ok((archive, limits))
}

pub(super) fn refused(error: QueryError) -> CliError {
    match error {
        QueryError::Open(_) | QueryError::File { .. } => CliError::unreachable(error),
        QueryError::Sql(_) | QueryError::TooLong => CliError::usage(error),
        QueryError::NotReading(_)
        | QueryError::Memory { .. }
        | QueryError::Time { .. }
        | QueryError::Rows { .. } => CliError::Refused(error.to_string()),
    }
}

/// The query service, asked as a person; each look-up is recorded.
pub(super) struct Service {
    client: Client,
    person: PersonId,
    wait: Duration,
    rows_max: usize,
}

impl Service {
    /// Connects with the person's credential.
    pub(super) async fn connect(from: &From) -> Result<Self, CliError> {
        let config: Config = from.who.place.config()?;
        let (role, person) = credential(&config, from.who.person.clone())?;
        let client = Client::connect(&config, role, person.as_str()).await?;
        Ok(Self {
            client,
            person,
            wait: Duration::from_secs(config.audit_query.timeout_s) + ANSWER_ROOM,
            rows_max: config.audit_query.rows_max,
        })
    }

    /// The answer in a format.
    pub(super) async fn ask(&self, sql: &str, format: Format) -> Result<Vec<u8>, Unanswered> {
        let request = QueryRequest {
            sql: sql.to_owned(),
            format: Some(format.as_str().to_owned()),
        };
        let failed = |error| Unanswered::Failed(error);
        let body =
            serde_json::to_vec(&request).map_err(|error| failed(CliError::unexpected(error)))?;
        let subject = service::audit_query(&self.person).to_string();
        let request = async_nats::Request::new()
            .payload(Bytes::from(body))
            .timeout(Some(self.wait));
        let reply = self.client.bus.client().send_request(subject, request);
        let reply = reply.await.map_err(|error| {
            failed(CliError::Unreachable(format!(
                "the audit query service does not answer ({error}); is it running? The files \
                 can be read directly with --archive"
            )))
        })?;
        let header = |name: &str| {
            let headers = reply.headers.as_ref()?;
            headers.get(name).map(async_nats::HeaderValue::as_str)
        };
        let code = header(headers::SERVICE_ERROR_CODE).unwrap_or_default();
        match header(headers::SERVICE_ERROR) {
            None => Ok(reply.payload.to_vec()),
            Some(text) if code.starts_with('5') => Err(failed(CliError::unreachable(text))),
            Some(text) if code == "413" => {
                Err(Unanswered::TooMuch(CliError::Refused(text.to_owned())))
            }
            Some(text) => Err(failed(CliError::Refused(text.to_owned()))),
        }
    }

    /// Ends the connection.
    pub(super) async fn close(self) {
        self.client.bus.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn each_failure_has_its_exit() {
        let rows = refused(QueryError::Rows { max: 3 });
        assert_eq!(rows.exit(), Exit::Denied);
        assert!(rows.to_string().contains("more than 3 rows"));
        assert_eq!(refused(QueryError::Sql("x".to_owned())).exit(), Exit::Usage);
        let bytes = 3 * 1024 * 1024;
        let after = Duration::from_secs(7);
        let path = "events/x.parquet".to_owned();
        for (error, exit, words) in [
            (QueryError::TooLong, Exit::Usage, "shorten it"),
            (
                QueryError::NotReading("DELETE".to_owned()),
                Exit::Denied,
                "(DELETE)",
            ),
            (
                QueryError::Memory { bytes },
                Exit::Denied,
                "more than 3 MiB",
            ),
            (QueryError::Time { after }, Exit::Denied, "longer than 7 s"),
            (QueryError::File { path }, Exit::Unreachable, "audit verify"),
        ] {
            let error = refused(error);
            assert_eq!(error.exit(), exit, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
        let none = Archive::open(Path::new("/nonexistent"), ManifestPublicKeys::default());
        assert_eq!(refused(none.err().unwrap()).exit(), Exit::Unreachable);
    }
}
