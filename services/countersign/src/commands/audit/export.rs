//! `countersign audit export`: rows of the archive for other programs.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use countersign_audit_query::export::{Export, ExportError, Form, Plan};
use countersign_audit_query::select::{Pages, REACH, Selection};
use countersign_audit_query::{Answer, Rows};
use countersign_domain::export::TrailKey;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::files::secret;
use serde_json::json;
use tempfile::NamedTempFile;

use super::selecting::Selecting;
use super::source::{From, Source, Unanswered, refused};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Rows of a page from the files: few enough that a page of the largest rows is noticed
/// before it fills the memory, enough that opening the files does not count.
const PAGE_ROWS: usize = 8_192;
/// After so many rows a word on standard error.
const PROGRESS_ROWS: u64 = 100_000;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --archive the service is asked page after page and each page is \
                  recorded. Rows come in the order of their times, up to the archive's last \
                  row when it began, none twice and none left out. With --out the file appears \
                  whole or not at all, readable by its owner only; standard output ends early \
                  where something fails, and the exit code says so.\n\n\
                  Whoever reads an export reads what the archive says: redacted values stay \
                  redacted. docs/export.md describes the formats.\n\n\
                  Exit codes: 0 written; 2 a wrong call; 20 refused, or too much for one \
                  answer; 64 a key or setting cannot be used; 69 the service or the archive is \
                  out of reach."
)]
pub(super) struct Args {
    /// json (one object a line), csv, parquet, ocsf or aat
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: Form,
    /// Write to this file, put in its place when it is whole; standard output if left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    selecting: Selecting,
    /// All rows of every intent of which any row is selected
    #[arg(long)]
    whole_intents: bool,
    /// One SELECT in place of a selection. From the service it must fit one answer
    #[arg(
        long,
        value_name = "SELECT",
        conflicts_with_all = ["since", "until", "agent", "requester", "tool", "intent", "outcome", "whole_intents"]
    )]
    sql: Option<String>,
    /// For aat, the private key that signs: ECDSA on P-256, PKCS#8 PEM
    #[arg(long, value_name = "FILE")]
    sign_with: Option<PathBuf>,
    /// For aat, write the public key here as aat-verify takes it
    #[arg(long, value_name = "FILE")]
    keys_out: Option<PathBuf>,
    #[command(flatten)]
    from: From,
}

/// Writes what was selected.
pub(super) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let key = key(&args)?;
    if args.format == Form::Parquet && args.out.is_none() && io::stdout().is_terminal() {
        return Err(CliError::usage(
            "a Parquet file is not for a terminal: name a file with --out",
        ));
    }
    if let (Some(key), Some(path)) = (&key, &args.keys_out) {
        let text = format!("{}\n", key.public());
        std::fs::write(path, text).map_err(|error| unwritable(path, &error))?;
    }
    let mut source = Source::open(&args.from, output).await?;
    let written = match &args.out {
        None => {
            let sink = BufWriter::new(io::stdout());
            to_end(&mut source, &args, key, sink, output)
                .await
                .map(drop)
        }
        Some(path) => to_file(&mut source, &args, key, path, output).await,
    };
    source.close().await;
    match written {
        // Whoever reads has read enough, such as `head`.
        Err(Stopped::Write(ExportError::Write(error))) if error.kind() == ErrorKind::BrokenPipe => {
            Ok(Exit::Done)
        }
        other => other.map(|()| Exit::Done).map_err(CliError::from),
    }
}

/// The key of a trail, and nothing that only a trail has a use for where there is none.
fn key(args: &Args) -> Result<Option<TrailKey>, CliError> {
    match (args.format, &args.sign_with) {
        (Form::Aat, Some(path)) => {
            let pem = secret("key of the trail", path)?;
            let key = TrailKey::from_pem(&pem).map_err(|error| {
                CliError::configured(format!("cannot use `{}`: {error}", path.display()))
            })?;
            Ok(Some(key))
        }
        (Form::Aat, None) => Err(CliError::usage(
            "an agent audit trail is signed, because anybody could write an unsigned one: name \
             a private key with --sign-with",
        )),
        (_, None) if args.keys_out.is_none() => Ok(None),
        _ => Err(CliError::usage(
            "--sign-with and --keys-out are for --format aat",
        )),
    }
}

/// Why an export is not whole.
enum Stopped {
    /// There is no answer.
    Source(CliError),
    /// It cannot be written.
    Write(ExportError),
}

impl std::convert::From<ExportError> for Stopped {
    fn from(error: ExportError) -> Self {
        Self::Write(error)
    }
}

impl std::convert::From<CliError> for Stopped {
    fn from(error: CliError) -> Self {
        Self::Source(error)
    }
}

impl std::convert::From<Stopped> for CliError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Source(error) => error,
            Stopped::Write(ExportError::Columns(error)) => Self::usage(error),
            Stopped::Write(error @ ExportError::Trail(_)) => Self::Refused(error.to_string()),
            Stopped::Write(error) => Self::unexpected(error),
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    CliError::unreachable(format!("cannot write `{}`: {error}", path.display()))
}

/// Writes beside the file and puts it in its place when it is whole and on the disk.
async fn to_file(
    source: &mut Source,
    args: &Args,
    key: Option<TrailKey>,
    path: &Path,
    output: &Output,
) -> Result<(), Stopped> {
    let cannot = |error: &io::Error| Stopped::Source(unwritable(path, error));
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = parent.unwrap_or(Path::new("."));
    let file = NamedTempFile::new_in(dir).map_err(|error| cannot(&error))?;
    let (rows, sink) = to_end(source, args, key, BufWriter::new(file), output).await?;
    let file = sink.into_inner().map_err(|error| cannot(error.error()))?;
    let kept = file
        .as_file()
        .sync_all()
        .and_then(|()| file.persist(path).map_err(|error| error.error))
        .and_then(|file| Ok((file.metadata()?.len(), File::open(dir)?.sync_all()?)));
    let (bytes, ()) = kept.map_err(|error| cannot(&error))?;
    let told = json!({"rows": rows, "bytes": bytes, "file": path, "format": args.format.as_str()});
    let text = || format!("{rows} rows in {} ({bytes} bytes)", path.display());
    Ok(output.answer(&told, text)?)
}

/// Writes all of it. Returns how many rows there were.
async fn to_end<W: Write + Send>(
    source: &mut Source,
    args: &Args,
    key: Option<TrailKey>,
    sink: W,
    output: &Output,
) -> Result<(u64, W), Stopped> {
    let export = match &args.sql {
        Some(sql) => answer(source, sql, plan(args, key, sql), sink).await?,
        None => {
            let selection = Selection {
                whole_intents: args.whole_intents,
                ..args.selecting.at(SystemClock.now())
            };
            let reach = source.ask(REACH).await.map_err(CliError::from)?;
            let rows_max = source.rows_max().min(PAGE_ROWS);
            let mut pages = Pages::new(selection, &reach, rows_max);
            let plan = plan(args, key, &pages.about());
            let first = next(source, &mut pages).await?;
            let mut export = Export::new(plan, &first.schema, sink)?;
            put(&mut export, &first)?;
            let mut told = 0;
            while !pages.done() {
                let page = next(source, &mut pages).await?;
                put(&mut export, &page)?;
                if export.rows() / PROGRESS_ROWS > told {
                    told = export.rows() / PROGRESS_ROWS;
                    output.progress(&format!("{} rows", export.rows()));
                }
            }
            export
        }
    };
    let rows = export.rows();
    let mut sink = export.finish()?;
    sink.flush().map_err(ExportError::from)?;
    if args.out.is_none() {
        output.progress(&format!("{rows} rows"));
    }
    Ok((rows, sink))
}

fn plan(args: &Args, key: Option<TrailKey>, about: &str) -> Plan {
    match key {
        Some(key) => Plan::Trail(key, about.to_owned()),
        None => Plan::Plain(args.format),
    }
}

fn put<W: Write + Send>(export: &mut Export<W>, answer: &Answer) -> Result<(), ExportError> {
    answer
        .batches
        .iter()
        .try_for_each(|batch| export.write(batch))
}

/// The answer to a statement: of any length from the files, a single one from the service.
async fn answer<W: Write + Send>(
    source: &mut Source,
    sql: &str,
    plan: Plan,
    sink: W,
) -> Result<Export<W>, Stopped> {
    if let Source::Files(archive, limits) = source {
        let mut rows: Rows = archive.rows(sql, *limits).await.map_err(refused)?;
        let mut export = Export::new(plan, &rows.schema, sink)?;
        while let Some(batch) = rows.next().await.map_err(refused)? {
            export.write(&batch)?;
        }
        return Ok(export);
    }
    let answer = source.ask(sql).await.map_err(CliError::from)?;
    let mut export = Export::new(plan, &answer.schema, sink)?;
    put(&mut export, &answer)?;
    Ok(export)
}

/// The next page; smaller ones where the rows are large.
async fn next(source: &mut Source, pages: &mut Pages) -> Result<Answer, CliError> {
    loop {
        match source.ask(&pages.statement()).await {
            Ok(page) => {
                pages.read(&page);
                return Ok(page);
            }
            Err(Unanswered::TooMuch(_)) if pages.shrink() => {}
            Err(why) => return Err(why.into()),
        }
    }
}
