//! `countersign policy push|rollback|status`: which bundle is in force, and changing it.

use std::path::PathBuf;

use countersign_domain::policy::protocol::{PushReply, PushRequest, Refused};
use countersign_domain::policy::{Bundle, Problem, pack};
use countersign_runtime::files;
use countersign_schemas::Digest;

use super::desk::{Denied, Desk, Operator, surprise};
use crate::exit::{CliError, Exit};
use crate::mistakes::covered;
use crate::output::{Output, pairs};

#[derive(Debug, clap::Args)]
pub(super) struct PushArgs {
    /// The bundle's folder; the one that the deployment is configured with if left out
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Refuse unless this bundle is in force: the one that you compared with
    #[arg(long, value_name = "DIGEST")]
    replaces: Option<Digest>,
    #[command(flatten)]
    who: Operator,
}

#[derive(Debug, clap::Args)]
pub(super) struct RollbackArgs {
    /// The bundle to put in force again; `policy status` lists those that are kept
    digest: Digest,
    /// Refuse unless this bundle is in force: the one that you mean to take out
    #[arg(long, value_name = "DIGEST")]
    replaces: Option<Digest>,
    #[command(flatten)]
    who: Operator,
}

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    who: Operator,
}

/// Checks a folder here first, so that most faults need no server, then has the checker
/// check it again and put it in force.
pub(super) async fn push(args: &PushArgs, output: &Output) -> Result<Exit, CliError> {
    let folder = match &args.folder {
        Some(folder) => folder.clone(),
        None => args.who.place.config()?.policy.dir,
    };
    let found = files::policy_bundle(&folder)?;
    let bundle = match Bundle::from_files(&found) {
        Ok(bundle) => bundle,
        Err(errors) => {
            let refused = Refused {
                message: "the bundle is broken; nothing was sent".to_owned(),
                problems: errors.problems().to_vec(),
                more: 0,
            };
            return told(&refused, output);
        }
    };
    let packed = pack(&found).map_err(CliError::configured)?;
    let desk = Desk::connect(&args.who).await?;
    let parts = desk.upload(&packed).await.map_err(CliError::from)?;
    let publish = PushRequest::Publish {
        digest: bundle.digest(),
        parts,
        replaces: args.replaces,
    };
    published(desk.ask(&publish).await, output)
}

/// Puts a kept bundle in force again.
pub(super) async fn rollback(args: &RollbackArgs, output: &Output) -> Result<Exit, CliError> {
    let desk = Desk::connect(&args.who).await?;
    let rollback = PushRequest::Rollback {
        digest: args.digest,
        replaces: args.replaces,
    };
    published(desk.ask(&rollback).await, output)
}

fn published(reply: Result<PushReply, Denied>, output: &Output) -> Result<Exit, CliError> {
    let reply = match reply {
        Ok(reply) => reply,
        Err(Denied::Bundle(refused)) => return told(&refused, output),
        Err(Denied::Other(error)) => return Err(error),
    };
    let PushReply::Published {
        digest,
        previous,
        tests,
        unchanged,
    } = &reply
    else {
        return Err(surprise(&reply));
    };
    output.answer(&reply, || {
        let what = match unchanged {
            true => "in force already; nothing was changed",
            false => "in force",
        };
        pairs(&[
            ("policy", digest.to_string()),
            ("state", what.to_owned()),
            (
                "before",
                previous
                    .map(|digest| digest.to_string())
                    .unwrap_or_default(),
            ),
            ("tests", format!("{tests} passed")),
        ])
    })?;
    Ok(Exit::Done)
}

/// Tells everything that is wrong with a bundle.
fn told(refused: &Refused, output: &Output) -> Result<Exit, CliError> {
    // A problem quotes what it is about.
    let problems = refused.problems.iter().cloned().map(|problem| Problem {
        what: covered(&problem.what),
        mend: covered(&problem.mend),
        ..problem
    });
    let refused = Refused {
        message: covered(&refused.message),
        problems: problems.collect(),
        more: refused.more,
    };
    output.answer(&refused, || {
        let mut lines = vec![refused.message.clone()];
        lines.extend(
            refused
                .problems
                .iter()
                .map(|problem| format!("  {problem}")),
        );
        if refused.more > 0 {
            lines.push(format!("  and {} more", refused.more));
        }
        lines.join("\n")
    })?;
    Ok(Exit::Denied)
}

/// Which bundle is in force, and which can be put in force again.
pub(super) async fn status(args: &StatusArgs, output: &Output) -> Result<Exit, CliError> {
    let desk = Desk::connect(&args.who).await?;
    let reply = desk
        .ask(&PushRequest::Status {})
        .await
        .map_err(CliError::from)?;
    let PushReply::Status {
        published,
        operator,
        at,
        in_force,
        kept,
    } = &reply
    else {
        return Err(surprise(&reply));
    };
    output.answer(&reply, || {
        let text = |digest: &Option<Digest>| digest.map(|digest| digest.to_string());
        let head = pairs(&[
            (
                "published",
                text(published)
                    .unwrap_or_else(|| "nothing; the configured folder counts".to_owned()),
            ),
            (
                "by",
                operator
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            ),
            ("at", at.map(|at| at.to_string()).unwrap_or_default()),
            (
                "in force",
                text(in_force).unwrap_or_else(|| "none: every intent is denied".to_owned()),
            ),
        ]);
        let rows: Vec<Vec<String>> = kept
            .iter()
            .map(|one| {
                vec![
                    one.digest.to_string(),
                    one.at.to_string(),
                    one.operator.to_string(),
                    one.bytes.to_string(),
                ]
            })
            .collect();
        match rows.is_empty() {
            true => head,
            false => format!(
                "{head}\n{}",
                output.table(&["KEPT", "PUSHED", "BY", "BYTES"], &rows)
            ),
        }
    })?;
    Ok(Exit::Done)
}
