//! `countersign identity rotate key fingerprint` and `identity destroy fingerprint`: by
//! what values are marked, and what can no longer be matched.

use countersign_runtime::config::Config;
use countersign_runtime::fingerprints;
use countersign_runtime::identity::{
    Deployment, EpochBegun, EpochError, begin_epoch, can_be_destroyed, destroy_epoch,
};
use serde_json::json;

use super::{By, RotateArgs, Told, put_on_record, tell};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// The name of the key.
pub(super) const NAME: &str = "fingerprint";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The key of the epoch is overwritten and removed, and the audit log says so \
                  first: where it cannot be recorded nothing is destroyed. What was marked in \
                  that epoch stays as it is and can be matched with no value any more. There \
                  is no way back. Copies on other machines and in backups are yours to remove. \
                  Asked again it changes nothing and succeeds.\n\n\
                  Exit codes: 0 it is destroyed, or was before; 2 the epoch marks now, or never \
                  was, or nobody agreed; 69 it cannot be recorded."
)]
pub(super) struct DestroyArgs {
    /// Which key: only `fingerprint` has epochs
    #[arg(value_parser = [NAME])]
    key: String,
    /// The epoch, such as k1: the middle part of a mark
    epoch: String,
    /// Do not ask again
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    by: By,
}

/// Begins a new epoch.
pub(super) async fn rotate(
    args: &RotateArgs,
    config: &Config,
    deployment: &Deployment,
    output: &Output,
) -> Result<Exit, CliError> {
    if args.publish || args.stolen || args.prune {
        return Err(CliError::usage(
            "the fingerprint key has epochs and nothing to publish or prune: rotate it, and \
             end an epoch whose key was stolen with `countersign identity destroy fingerprint \
             EPOCH`",
        ));
    }
    let begun = begin_epoch(deployment, &config.keys.dir)?;
    let name = epoch_name(&begun.epoch);
    let told = told("rotated", &name);
    put_on_record(config, deployment, told, args.by.operator.clone(), output).await;
    let file = fingerprints::newest_file(&config.keys.dir);
    let answer = json!({
        "change": "rotated", "key": NAME, "epoch": begun.epoch, "older": begun.older,
        "file": file,
    });
    output.answer(&answer, || {
        rotated_text(&begun, &file.display().to_string())
    })?;
    Ok(Exit::Done)
}

fn rotated_text(begun: &EpochBegun, file: &str) -> String {
    format!(
        "key {NAME} is rotated: running services mark with epoch {} within a second\n\
         older epochs, by which only the archiver answers look-ups: {}\n\
         services on other machines mark with the old epoch until {file} is copied there; the \
         archiver's machine needs the older ones beside it too",
        begun.epoch,
        begun.older.join(", "),
    )
}

/// Destroys an epoch once that is on record.
pub(super) async fn destroy(
    args: DestroyArgs,
    config: &Config,
    deployment: &Deployment,
    output: &Output,
) -> Result<Exit, CliError> {
    let epoch = args.epoch.as_str();
    if !can_be_destroyed(&config.keys.dir, epoch)? {
        return said(false, epoch, output);
    }
    if !args.yes && !agreed(epoch, output)? {
        output.progress("nothing was destroyed");
        return Ok(Exit::Usage);
    }
    let name = epoch_name(epoch);
    tell(
        config,
        deployment,
        told("destroyed", &name),
        args.by.operator,
    )
    .await
    .map_err(|reason| {
        CliError::Unreachable(format!(
            "nothing was destroyed: the audit log must have it first, and {reason}"
        ))
    })?;
    let now = destroy_epoch(deployment, &config.keys.dir, epoch).map_err(|error| {
        CliError::from(error).hinting("the audit log has it already: ask again to complete it")
    })?;
    said(now, epoch, output)
}

fn agreed(epoch: &str, output: &Output) -> Result<bool, CliError> {
    if !output.is_interactive() {
        return Err(CliError::usage(
            "nothing was destroyed: there is no way back, so add --yes to say that it is meant",
        ));
    }
    output.confirmed(&format!(
        "destroy epoch {epoch} for ever, so that nothing marked in it can be matched again?"
    ))
}

fn said(now: bool, epoch: &str, output: &Output) -> Result<Exit, CliError> {
    let change = if now { "destroyed" } else { "unchanged" };
    let answer = json!({ "change": change, "key": NAME, "epoch": epoch });
    output.answer(&answer, || match now {
        true => format!(
            "epoch {epoch} is destroyed: nobody can match what was marked in it any more\n\
             remove fingerprint-{epoch}.key from other machines and from every backup too"
        ),
        false => format!("epoch {epoch} was destroyed before; nothing is changed"),
    })?;
    Ok(Exit::Done)
}

fn epoch_name(epoch: &str) -> String {
    format!("{NAME}-{epoch}")
}

fn told<'a>(change: &'a str, name: &'a str) -> Told<'a> {
    Told {
        change,
        role: "key",
        name,
        public_key: None,
    }
}

impl From<EpochError> for CliError {
    fn from(error: EpochError) -> Self {
        match error {
            EpochError::Marks(_) | EpochError::Unknown(..) => Self::usage(error),
            other => Self::configured(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_says_what_to_copy_where() {
        let begun = EpochBegun {
            epoch: "k3".to_owned(),
            older: vec!["k1".to_owned(), "k2".to_owned()],
        };
        insta::assert_snapshot!(rotated_text(&begun, "keys/fingerprint.key"), @r"
        key fingerprint is rotated: running services mark with epoch k3 within a second
        older epochs, by which only the archiver answers look-ups: k1, k2
        services on other machines mark with the old epoch until keys/fingerprint.key is copied there; the archiver's machine needs the older ones beside it too
        ");
    }

    #[test]
    fn without_a_terminal_nothing_is_destroyed_unless_it_is_said_to_be_meant() {
        let error = agreed("k1", &Output::new(true)).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.to_string().contains("--yes"), "{error}");
    }
}
