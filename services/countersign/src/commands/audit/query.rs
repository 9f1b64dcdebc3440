//! `countersign audit query` and `audit show`.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use bytes::Bytes;
use countersign_audit_query::output::{self as form, Format};
use countersign_audit_query::story;
use countersign_domain::approvals::visible;
use countersign_schemas::IntentId;

use super::source::{From, Service, open, refused};
use crate::exit::{CliError, Exit};
use crate::output::Output;

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
        None => {
            let service = Service::connect(from).await?;
            let answer = service.ask(sql, format).await;
            service.close().await;
            Ok(answer?)
        }
    }
}

async fn read(
    dir: &Path,
    from: &From,
    sql: &str,
    format: Format,
    output: &Output,
) -> Result<Vec<u8>, CliError> {
    let (archive, limits) = open(dir, from, output)?;
    let found = archive.query(sql, limits).await.map_err(refused)?;
    form::write(&found, format).map_err(CliError::unexpected)
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
    use crate::commands::approvals::Who;

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
