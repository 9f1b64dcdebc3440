//! `countersign audit verify`.

use std::path::PathBuf;

use countersign_audit_archiver::{Report, State, VerifyError, verify};
use countersign_domain::archive::{Anchor, ManifestPublicKeys};
use countersign_runtime::config::Config;
use serde_json::json;

use crate::client::Place;
use crate::exit::{CliError, Exit};
use crate::output::{Output, pairs};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Root of the archive; the deployment's own if left out
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// The pinned public key; the deployment's `keys/manifest.pub` if left out
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The state file outside the archive; the deployment's own if left out
    #[arg(long, value_name = "FILE")]
    state_file: Option<PathBuf>,
    /// Accept an archive whose end nothing outside it proves
    #[arg(long)]
    allow_unanchored: bool,
    #[command(flatten)]
    place: Place,
}

/// What is compared with what.
#[derive(Debug, PartialEq, Eq)]
struct Sources {
    archive: PathBuf,
    key: PathBuf,
    state_file: Option<PathBuf>,
}

/// Verifies an archive. Exit 0 if it is whole, 1 with the first bad place.
pub(super) fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let allow_unanchored = args.allow_unanchored;
    let sources = sources(args)?;
    let keys = key(&sources)?;
    let anchors = anchors(&sources)?;
    match verify(&sources.archive, &keys, &anchors, allow_unanchored) {
        Ok(report) => {
            output.answer(&json!({"ok": true, "report": report}), || text(&report))?;
            Ok(Exit::Done)
        }
        Err(VerifyError::Store(error)) => Err(CliError::unreachable(error)),
        Err(error) => {
            let what = error.to_string();
            output.answer(&json!({"ok": false, "bad_place": what}), || {
                format!("NOT WHOLE: {what}")
            })?;
            Ok(Exit::Unexpected)
        }
    }
}

/// Without a deployment at hand, everything must be named.
fn sources(args: Args) -> Result<Sources, CliError> {
    let config = match (&args.archive, &args.key) {
        (Some(_), Some(_)) => args.place.config_if_there()?,
        _ => Some(args.place.config()?),
    };
    let config = config.as_ref();
    let own = |pick: fn(&Config) -> PathBuf| config.map(pick);
    let missing = || CliError::usage("name --archive and --key, or a deployment with --dir");
    // The deployment's state file says nothing about another archive.
    let real = |path: &PathBuf| path.canonicalize().ok();
    let named = args.archive.as_ref();
    let same = named.is_none()
        || named.and_then(real) == config.and_then(|own| real(&own.audit_archiver.dir));
    let state_file = own(|config| config.audit_archiver.state_file.clone()).filter(|_| same);
    Ok(Sources {
        archive: args
            .archive
            .or_else(|| own(|config| config.audit_archiver.dir.clone()))
            .ok_or_else(missing)?,
        key: args
            .key
            .or_else(|| own(|config| config.keys.dir.join("manifest.pub")))
            .ok_or_else(missing)?,
        state_file: args.state_file.or(state_file),
    })
}

fn key(sources: &Sources) -> Result<ManifestPublicKeys, CliError> {
    let unusable = |error: &dyn std::fmt::Display| {
        CliError::configured(format!("cannot use `{}`: {error}", sources.key.display()))
    };
    let text = std::fs::read_to_string(&sources.key).map_err(|error| unusable(&error))?;
    ManifestPublicKeys::from_pem(&text).map_err(|error| unusable(&error))
}

fn anchors(sources: &Sources) -> Result<Vec<Anchor>, CliError> {
    let Some(path) = &sources.state_file else {
        return Ok(Vec::new());
    };
    let state = State::read(path).map_err(CliError::configured)?;
    Ok(state.iter().map(|state| state.anchor(path)).collect())
}

fn text(report: &Report) -> String {
    let tail = if report.tail_proved {
        "proved by the state file"
    } else {
        "NOT PROVED: nothing outside the archive knows its last entry"
    };
    let counted = pairs(&[
        ("entries", report.entries.to_string()),
        ("files", report.files.to_string()),
        ("rows", report.rows.to_string()),
        ("bytes", report.bytes.to_string()),
        ("tail", tail.to_owned()),
    ]);
    format!("The archive is whole.\n{counted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(archive: Option<&str>, key: Option<&str>, dir: &str) -> Args {
        Args {
            archive: archive.map(PathBuf::from),
            key: key.map(PathBuf::from),
            state_file: None,
            allow_unanchored: false,
            place: Place {
                dir: PathBuf::from(dir),
                set: Vec::new(),
            },
        }
    }

    #[test]
    fn a_deployment_knows_everything_and_without_one_all_must_be_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("countersign.toml"), "").unwrap();
        let place = dir.path().display().to_string();
        let own = sources(args(None, None, &place)).unwrap();
        assert!(own.state_file.is_some() && own.key.ends_with("keys/manifest.pub"));
        let elsewhere = tempfile::tempdir().unwrap();
        let other = elsewhere.path().display().to_string();
        let other = sources(args(Some(&other), None, &place)).unwrap();
        assert_eq!(other.state_file, None);
        let none = sources(args(Some("/other"), None, "/nonexistent"));
        assert_eq!(none.unwrap_err().exit(), Exit::Configuration);
        let named = sources(args(Some("/other"), Some("/key"), "/nonexistent")).unwrap();
        assert_eq!((named.archive, named.key), ("/other".into(), "/key".into()));
    }

    #[test]
    fn a_tail_that_nothing_proves_is_not_hidden() {
        let report = Report {
            entries: 1,
            files: 1,
            rows: 2,
            bytes: 3,
            anchors: 0,
            tail_proved: false,
        };
        assert!(text(&report).contains("NOT PROVED"));
    }
}
