//! `countersign policy diff`: what changes between two bundles, in words.

use std::path::Path;

use countersign_domain::policy::{Bundle, Change, Difference, Kind, diff};
use countersign_schemas::Digest;
use serde_json::json;

use super::desk::{Desk, Operator};
use super::load;
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// The word for the bundle in force.
const CURRENT: &str = "current";

#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    /// The bundle before: `current`, a digest, or a folder
    #[arg(value_name = "FROM", default_value = CURRENT)]
    from: String,
    /// The bundle after: `current`, a digest, or a folder; the folder that the deployment is
    /// configured with if left out
    #[arg(value_name = "TO")]
    to: Option<String>,
    #[command(flatten)]
    who: Operator,
}

/// Compares two bundles. Only what is published needs a server.
pub(super) async fn run(args: &DiffArgs, output: &Output) -> Result<Exit, CliError> {
    let old = bundle(&args.from, args).await?;
    let new = match &args.to {
        Some(to) => bundle(to, args).await?,
        None => load(&args.who.place.config()?.policy.dir)?,
    };
    let found = diff(&old, &new);
    let answer = json!({
        "from": old.digest(),
        "to": new.digest(),
        "differences": found,
    });
    output.answer(&answer, || text(&old, &new, &found, output))?;
    Ok(Exit::Done)
}

async fn bundle(which: &str, args: &DiffArgs) -> Result<Bundle, CliError> {
    let digest = match (which, which.parse::<Digest>()) {
        (CURRENT, _) => None,
        (_, Ok(digest)) => Some(digest),
        (folder, Err(_)) => return load(Path::new(folder)),
    };
    let desk = Desk::connect(&args.who).await?;
    desk.bundle(digest).await
}

fn text(old: &Bundle, new: &Bundle, found: &[Difference], output: &Output) -> String {
    if found.is_empty() {
        return match old.digest() == new.digest() {
            true => "the same bundle".to_owned(),
            false => "no difference but in comments, order or tests".to_owned(),
        };
    }
    let row = |difference: &Difference| {
        vec![
            match difference.change {
                Change::Added => "added",
                Change::Removed => "removed",
                Change::Changed => "changed",
            }
            .to_owned(),
            match difference.kind {
                Kind::Rule => "rule",
                Kind::Tool => "tool",
                Kind::Agent => "agent",
                Kind::Person => "person",
                Kind::Team => "team",
                Kind::Role => "role",
                Kind::Calendar => "calendar",
            }
            .to_owned(),
            difference.name.clone(),
            difference.words.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    output.table(&["CHANGE", "WHAT", "NAME", "HOW"], &rows)
}
