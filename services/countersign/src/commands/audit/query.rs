//! Questions: to the query service as a person, or to the files of an archive directly.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use countersign_audit_query::output::{self as form, Format};
use countersign_audit_query::{Archive, QueryError, QueryLimits, QueryRequest, Settings, story};
use countersign_domain::approvals::visible;
use countersign_domain::archive::ManifestPublicKeys;
use countersign_schemas::subjects::service;
use countersign_schemas::{IntentId, headers};

use crate::client::Client;
use crate::commands::approvals::{Who, credential};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Added to the longest run of a query: the way there and back, and a turn to wait for.
const ANSWER_ROOM: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
struct From {
    /// Read the files of this archive instead of asking the service. Not recorded: guard
    /// them by file rights
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, clap::Args)]
pub(super) struct QueryArgs {
    /// One SELECT, EXPLAIN, SHOW or DESCRIBE
    sql: String,
    /// table, json, csv or parquet
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    from: From,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Which intent
    intent: IntentId,
    #[command(flatten)]
    from: From,
}

/// Answers a statement.
pub(super) async fn query(args: QueryArgs, output: &Output) -> Result<Exit, CliError> {
    let format = match args.format {
        Some(format) => format,
        None if output.is_json() => Format::Json,
        None => Format::Table,
    };
    if format == Format::Parquet && std::io::stdout().is_terminal() {
        return Err(CliError::usage(
            "a Parquet file is not for a terminal: send it to a file with `> answer.parquet`",
        ));
    }
    let bytes = answer(&args.from, &args.sql, format, output).await?;
    print(&bytes)?;
    Ok(Exit::Done)
}

/// Tells an intent.
pub(super) async fn show(args: ShowArgs, output: &Output) -> Result<Exit, CliError> {
    let statement = story::statement(args.intent);
    let bytes = answer(&args.from, &statement, Format::Parquet, output).await?;
    let told = form::read_parquet(Bytes::from(bytes)).map_err(CliError::unexpected)?;
    if told.rows() == 0 {
        return Err(CliError::Unexpected(format!(
            "the archive holds nothing about intent {}; what happened in the last second may \
             not be in it yet",
            args.intent
        )));
    }
    if output.is_json() {
        let bytes = form::write(&told, Format::Json).map_err(CliError::unexpected)?;
        print(&bytes)?;
    } else {
        for line in story::lines(&told) {
            // A line of a story may hold line breaks of its own, and nothing else unseen.
            for part in line.lines() {
                output.line(&visible(part))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn answer(
    from: &From,
    sql: &str,
    format: Format,
    output: &Output,
) -> Result<Vec<u8>, CliError> {
    match &from.archive {
        Some(dir) => read(dir, from, sql, format, output).await,
        None => ask(from, sql, format).await,
    }
}

/// Reads the files. Signatures are checked where the deployment's key is at hand.
async fn read(
    dir: &Path,
    from: &From,
    sql: &str,
    format: Format,
    output: &Output,
) -> Result<Vec<u8>, CliError> {
    let (pinned, limits) = match from.who.place.config_if_there()? {
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
    let archive = Archive::open(dir, pinned).map_err(refused)?;
    let found = archive.query(sql, limits).await.map_err(refused)?;
    form::write(&found, format).map_err(CliError::unexpected)
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

/// Asks the service as a person; the look-up is recorded.
async fn ask(from: &From, sql: &str, format: Format) -> Result<Vec<u8>, CliError> {
    let config = from.who.place.config()?;
    let (role, person) = credential(&config, from.who.person.clone())?;
    let client = Client::connect(&config, role, person.as_str()).await?;
    let request = QueryRequest {
        sql: sql.to_owned(),
        format: Some(format.as_str().to_owned()),
    };
    let body = serde_json::to_vec(&request).map_err(CliError::unexpected)?;
    let subject = service::audit_query(&person).to_string();
    let wait = Duration::from_secs(config.audit_query.timeout_s) + ANSWER_ROOM;
    let request = async_nats::Request::new()
        .payload(Bytes::from(body))
        .timeout(Some(wait));
    let reply = client
        .bus
        .client()
        .send_request(subject, request)
        .await
        .map_err(|error| {
            CliError::Unreachable(format!(
                "the audit query service does not answer ({error}); is it running? The files \
                 can be read directly with --archive"
            ))
        });
    client.bus.close().await;
    let reply = reply?;
    let header = |name: &str| {
        let headers = reply.headers.as_ref()?;
        headers.get(name).map(async_nats::HeaderValue::as_str)
    };
    match header(headers::SERVICE_ERROR) {
        None => Ok(reply.payload.to_vec()),
        Some(text) if header(headers::SERVICE_ERROR_CODE).is_some_and(|c| c.starts_with('5')) => {
            Err(CliError::unreachable(text))
        }
        Some(text) => Err(CliError::Refused(text.to_owned())),
    }
}

fn print(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // Whoever reads has read enough, such as `head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    async fn read_with(dir: &Path) -> Exit {
        let place = crate::client::Place {
            dir: dir.to_owned(),
            set: Vec::new(),
        };
        let who = Who {
            person: None,
            place,
        };
        let archive = dir.join("archive");
        let from = From {
            archive: Some(archive.clone()),
            who,
        };
        let output = Output::new(true);
        let read = read(&archive, &from, "SELECT 1", Format::Json, &output).await;
        read.map_or_else(|error| error.exit(), |_| Exit::Done)
    }

    #[tokio::test]
    async fn only_without_a_deployment_are_signatures_not_checked() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("archive/manifest")).unwrap();
        assert_eq!(read_with(dir.path()).await, Exit::Done);
        let file = dir.path().join("countersign.toml");
        std::fs::write(&file, "").unwrap();
        assert_eq!(read_with(dir.path()).await, Exit::Done);
        std::fs::write(&file, "[nats]\nulr = \"x\"\n").unwrap();
        assert_eq!(read_with(dir.path()).await, Exit::Configuration);
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(dir.path().join("keys")).unwrap();
        std::fs::write(dir.path().join("keys/manifest.pub"), "no key").unwrap();
        assert_eq!(read_with(dir.path()).await, Exit::Configuration);
    }
}
