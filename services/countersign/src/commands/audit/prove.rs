//! `countersign audit prove`.

use std::path::{Path, PathBuf};

use countersign_audit_archiver::{Proofs, ProveError, RowProof, prove_rows};
use countersign_audit_query::output::{self as form, Format};
use countersign_audit_query::{Archive, QueryLimits};
use countersign_schemas::IntentId;
use serde::Deserialize;
use serde_json::json;

use super::source::refused;
use super::verify::{Sources, pinned};
use crate::client::Place;
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// What other tools take as the log's key: it lies beside the proofs, never in the archive.
const VERIFIER_KEY: &str = "log.vkey";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which intent
    intent: IntentId,
    /// Root of the archive, a directory or s3://bucket/prefix; the deployment's own if left out
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// The pinned public key; the deployment's `keys/manifest.pub` if left out
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Write the proofs here, one file for each row
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Deserialize)]
struct Found {
    leaf_index: u64,
}

/// Proves every row of an intent under the archive's checkpoint.
pub(super) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let sources = Sources::of(&args.place, args.archive, args.key)?;
    let keys = pinned(&sources.key)?;
    let archive = Archive::open(&sources.archive, keys.clone()).map_err(refused)?;
    let statement = format!(
        "SELECT leaf_index FROM events WHERE intent_id = '{}' ORDER BY leaf_index",
        args.intent
    );
    let answer = archive.query(&statement, QueryLimits::default()).await;
    let answer =
        form::write(&answer.map_err(refused)?, Format::Json).map_err(CliError::unexpected)?;
    let rows: Vec<Found> = serde_json::from_slice(&answer).map_err(CliError::unexpected)?;
    if rows.is_empty() {
        return Err(CliError::Unexpected(format!(
            "the archive holds nothing about intent {}; what happened in the last second may \
             not be in it yet",
            args.intent
        )));
    }
    let rows: Vec<u64> = rows.into_iter().map(|row| row.leaf_index).collect();
    let proofs = prove_rows(&sources.archive, &keys, &rows).map_err(|error| match error {
        ProveError::Store(error) => CliError::unreachable(error),
        other => CliError::unexpected(other),
    })?;
    let verifier_key = keys.verifier_key(&proofs.note).unwrap_or_default();
    if let Some(dir) = &args.out {
        write(dir, &proofs, &verifier_key)?;
    }
    let told = json!({
        "intent_id": args.intent,
        "checkpoint": proofs.note,
        "verifier_key": verifier_key,
        "rows": proofs.rows.iter().map(told).collect::<Vec<_>>(),
    });
    output.answer(&told, || text(&proofs, args.out.as_deref()))?;
    Ok(Exit::Done)
}

fn told(row: &RowProof) -> serde_json::Value {
    json!({
        "leaf_index": row.row,
        "row": String::from_utf8_lossy(&row.canonical),
        "leaf_sha256": row.leaf.hex(),
        "proof": row.proof,
    })
}

fn text(proofs: &Proofs, out: Option<&Path>) -> String {
    let rows: Vec<_> = proofs.rows.iter().map(|row| row.row.to_string()).collect();
    let under = &proofs.checkpoint;
    let written = match out {
        Some(dir) => format!(
            "Each proof is a file in {}; check one with `countersign audit verify --proof FILE`.",
            dir.display()
        ),
        None => "Write the proofs to files with --out DIR, or print them with --json.".to_owned(),
    };
    format!(
        "{} rows are proved under the checkpoint of {} for {} rows: {}.\n{written}",
        rows.len(),
        under.origin,
        under.size,
        rows.join(", ")
    )
}

/// For each row its canonical form and its proof, and beside them the checkpoint and the
/// key in the forms that other tools read.
fn write(dir: &Path, proofs: &Proofs, verifier_key: &str) -> Result<(), CliError> {
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(|error| {
            CliError::unreachable(format!("cannot write `{}`: {error}", path.display()))
        })
    };
    std::fs::create_dir_all(dir).map_err(|error| {
        CliError::unreachable(format!("cannot make `{}`: {error}", dir.display()))
    })?;
    for row in &proofs.rows {
        put(&format!("{}.json", row.row), &row.canonical)?;
        put(&format!("{}.tlog-proof", row.row), row.proof.as_bytes())?;
    }
    put("checkpoint", proofs.note.as_bytes())?;
    put(VERIFIER_KEY, format!("{verifier_key}\n").as_bytes())
}
