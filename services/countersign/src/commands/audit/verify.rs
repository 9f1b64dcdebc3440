//! `countersign audit verify`.

use std::path::{Path, PathBuf};

use countersign_audit_archiver::{Report, VerifyError, verify};
use countersign_domain::archive::{
    Anchor, ManifestPublicKeys, PROOF_BYTES_MAX, ProvedRow, check_row_proof,
};
use countersign_runtime::archive;
use countersign_runtime::config::Config;
use serde_json::json;

use super::{anchors, named};
use crate::client::Place;
use crate::exit::{CliError, Exit};
use crate::output::{Output, pairs};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Root of the archive, a directory or s3://bucket/prefix; the deployment's own if left out
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// The pinned public key; the deployment's `keys/manifest.pub` if left out
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The state file outside the archive; the deployment's own if left out
    #[arg(long, value_name = "FILE")]
    state_file: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere; may be repeated. The deployment's own witness
    /// places are compared too
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Saved bodies of `archive.committed` events, one JSON object a line or one in Avro; may
    /// be repeated
    #[arg(long, value_name = "FILE")]
    committed: Vec<PathBuf>,
    /// Compare with the newest `archive.committed` event that NATS holds, read with the
    /// archiver's own credential
    #[arg(long)]
    stored: bool,
    /// Accept an archive whose end nothing outside it proves
    #[arg(long)]
    allow_unanchored: bool,
    /// Check this proof of one row instead, as `audit prove --out` writes it; needs the key
    /// and no archive. May be repeated
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["archive", "state_file", "checkpoint", "committed", "stored", "allow_unanchored"]
    )]
    proof: Vec<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// What is compared with what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) archive: archive::Place,
    pub(super) key: PathBuf,
    /// The deployment whose archive it is; its state file and witnesses say nothing about
    /// another.
    own: Option<Box<Config>>,
}

impl Sources {
    /// Without a deployment at hand, archive and key must be named.
    pub(super) fn of(
        place: &Place,
        archive: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> Result<Self, CliError> {
        let config = match (&archive, &key) {
            (Some(_), Some(_)) => place.config_if_there()?,
            _ => Some(place.config()?),
        };
        let missing = || CliError::usage("name --archive and --key, or a deployment with --dir");
        let archive = archive
            .map(|name| named(&name, config.as_ref()))
            .transpose()?;
        let theirs = config.as_ref().map(archive::Place::of).transpose();
        let theirs = theirs.map_err(CliError::configured)?;
        let same = match (&archive, &theirs) {
            (Some(named), Some(theirs)) => named.is_same(theirs),
            _ => true,
        };
        let of_deployment = config
            .as_ref()
            .map(|config| config.keys.dir.join("manifest.pub"));
        let key = key.or(of_deployment);
        Ok(Self {
            archive: archive.or(theirs).ok_or_else(missing)?,
            key: key.ok_or_else(missing)?,
            own: config.filter(|_| same).map(Box::new),
        })
    }
}

/// Verifies an archive, or a proof alone. Exit 0 if it is whole, 1 with the first bad place.
pub(super) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    if !args.proof.is_empty() {
        return check_proofs(&args, output);
    }
    let sources = Sources::of(&args.place, args.archive.clone(), args.key.clone())?;
    let keys = pinned(&sources.key)?;
    let anchors = all_anchors(&args, &sources, &keys, output).await?;
    match verify(&sources.archive, &keys, &anchors, args.allow_unanchored) {
        Ok(report) => {
            output.answer(&json!({"ok": true, "report": report}), || text(&report))?;
            Ok(Exit::Done)
        }
        Err(VerifyError::Store(error)) => Err(CliError::unreachable(error)),
        Err(error) => {
            let what = error.to_string();
            let place = match &error {
                VerifyError::Bad(place) => Some(place.whereabouts()),
                _ => None,
            };
            let told = json!({"ok": false, "bad_place": what, "place": place});
            output.answer(&told, || format!("NOT WHOLE: {what}"))?;
            Ok(Exit::Unexpected)
        }
    }
}

async fn all_anchors(
    args: &Args,
    sources: &Sources,
    keys: &ManifestPublicKeys,
    output: &Output,
) -> Result<Vec<Anchor>, CliError> {
    let mut found = Vec::new();
    let own = sources.own.as_deref();
    let state_file = args.state_file.as_deref();
    if let Some(path) = state_file.or(own.map(|own| own.audit_archiver.state_file.as_path())) {
        found.extend(anchors::state(path)?);
    }
    if let Some(own) = own {
        found.extend(anchors::witnesses(
            &own.audit_archiver.witnesses,
            keys,
            output,
        )?);
    }
    for path in &args.checkpoint {
        found.push(anchors::checkpoint(path, keys)?);
    }
    for path in &args.committed {
        found.extend(anchors::committed(path, keys)?);
    }
    if args.stored {
        let own =
            own.ok_or_else(|| CliError::usage("--stored needs the deployment: name --dir"))?;
        found.extend(anchors::stored(own, keys).await?);
    }
    Ok(found)
}

/// The pinned public keys in a file.
pub(in crate::commands) fn pinned(path: &Path) -> Result<ManifestPublicKeys, CliError> {
    let unusable = |error: &dyn std::fmt::Display| {
        CliError::configured(format!("cannot use `{}`: {error}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(&error))?;
    ManifestPublicKeys::from_pem(&text).map_err(|error| unusable(&error))
}

/// Checks proofs with nothing but the key.
fn check_proofs(args: &Args, output: &Output) -> Result<Exit, CliError> {
    let key = match &args.key {
        Some(key) => key.clone(),
        None => args.place.config()?.keys.dir.join("manifest.pub"),
    };
    let keys = pinned(&key)?;
    for path in &args.proof {
        let text = read_proof(path)?;
        match check_row_proof(&text, &keys) {
            Ok(row) => output.answer(&proved_json(&row), || proved_text(&row))?,
            Err(error) => {
                let what = format!("{}: {error}", path.display());
                let told = json!({"ok": false, "bad_place": what});
                output.answer(&told, || format!("PROVES NOTHING: {what}"))?;
                return Ok(Exit::Unexpected);
            }
        }
    }
    Ok(Exit::Done)
}

fn read_proof(path: &Path) -> Result<String, CliError> {
    use std::io::Read as _;
    let most = u64::try_from(PROOF_BYTES_MAX).unwrap_or(u64::MAX);
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(most.saturating_add(1)).read_to_string(&mut text))
        .map_err(|error| {
            CliError::unreachable(format!("cannot read `{}`: {error}", path.display()))
        })?;
    Ok(text)
}

fn proved_json(row: &ProvedRow) -> serde_json::Value {
    json!({
        "ok": true,
        "log": row.checkpoint.origin,
        "rows": row.checkpoint.size,
        "leaf_index": row.leaf,
        "row": row.columns,
    })
}

fn proved_text(row: &ProvedRow) -> String {
    let columns: Vec<_> = row
        .columns
        .iter()
        .map(|(name, value)| (name.as_str(), plain(value)))
        .collect();
    format!(
        "Row {} of the log {} is proved under its checkpoint for {} rows.\n{}",
        row.leaf,
        row.checkpoint.origin,
        row.checkpoint.size,
        pairs(&columns)
    )
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn text(report: &Report) -> String {
    let tail = match report.proved_by.as_slice() {
        [] => "NOT PROVED: nothing outside the archive knows its last entry".to_owned(),
        by => format!("proved by {}", by.join(", ")),
    };
    let counted = pairs(&[
        ("entries", report.entries.to_string()),
        ("files", report.files.to_string()),
        ("rows", report.rows.to_string()),
        ("bytes", report.bytes.to_string()),
        ("tail", tail),
    ]);
    format!("The archive is whole.\n{counted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(archive: Option<&str>, key: Option<&str>, dir: &str) -> Result<Sources, CliError> {
        let place = Place {
            dir: PathBuf::from(dir),
            set: Vec::new(),
        };
        Sources::of(&place, archive.map(PathBuf::from), key.map(PathBuf::from))
    }

    #[test]
    fn a_deployment_knows_everything_and_without_one_all_must_be_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("countersign.toml"), "").unwrap();
        let place = dir.path().display().to_string();
        let own = sources(None, None, &place).unwrap();
        assert!(own.own.is_some() && own.key.ends_with("keys/manifest.pub"));
        let elsewhere = tempfile::tempdir().unwrap();
        let other = elsewhere.path().display().to_string();
        let other = sources(Some(&other), None, &place).unwrap();
        assert!(other.own.is_none());
        let none = sources(Some("/other"), None, "/nonexistent");
        assert_eq!(none.unwrap_err().exit(), Exit::Configuration);
        let named = sources(Some("/other"), Some("/key"), "/nonexistent").unwrap();
        let archive = archive::Place::from(Path::new("/other"));
        assert_eq!((named.archive, named.key), (archive, "/key".into()));
        let bucket = sources(Some("s3://audit/acme"), None, &place).unwrap();
        assert_eq!(bucket.archive.to_string(), "s3://audit/acme");
        assert!(
            bucket.own.is_none(),
            "the deployment's state file is about another"
        );
        let text = "[archive]\nurl = \"s3://audit/acme\"\n";
        std::fs::write(dir.path().join("countersign.toml"), text).unwrap();
        for named in [None, Some("s3://audit/acme/")] {
            assert!(sources(named, None, &place).unwrap().own.is_some());
        }
        let none = sources(Some("s3:///acme"), None, &place);
        assert_eq!(none.unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn a_tail_that_nothing_proves_is_not_hidden() {
        let mut report = Report {
            entries: 1,
            files: 1,
            rows: 2,
            bytes: 3,
            anchors: 0,
            tail_proved: false,
            proved_by: Vec::new(),
        };
        assert!(text(&report).contains("NOT PROVED"));
        report.proved_by = vec!["the state file x".to_owned()];
        assert!(text(&report).contains("proved by the state file x"));
    }
}
