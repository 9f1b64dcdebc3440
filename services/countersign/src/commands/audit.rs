//! `countersign audit`: SQL over the archive, one intent as a story, the fingerprints of a
//! known value, exports for other programs, and the proof that nothing was changed.

pub(super) mod anchors;
mod export;
mod fingerprint;
mod prove;
mod query;
mod search;
mod selecting;
mod source;
pub(super) mod verify;

use std::path::Path;

use countersign_runtime::archive::Place;
use countersign_runtime::config::{Archive, Config};

use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Ask the audit archive, and verify it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Answer one reading SQL statement over the tables events, actions, approvals and windows
    Query(query::QueryArgs),
    /// Find rows by words and names, the newest first; no SQL needed
    Search(search::Args),
    /// Tell one intent from the request to its end
    Show(query::ShowArgs),
    /// Write selected rows for other programs: JSON lines, CSV, Parquet, OCSF, agent audit trail
    Export(Box<export::Args>),
    /// Tell under which fingerprints a known value stands in the archive
    Fingerprint(fingerprint::Args),
    /// Prove every row of one intent, so that it can be checked without the archive and without us
    Prove(prove::Args),
    /// Recompute the whole archive and name the first place that is not as it was written
    Verify(verify::Args),
}

/// The archive that somebody named; a bucket is reached as the deployment at hand says.
pub(super) fn named(name: &Path, config: Option<&Config>) -> Result<Place, CliError> {
    let settings = config.map_or_else(Archive::default, |config| config.archive.clone());
    Place::named(name, &settings).map_err(CliError::usage)
}

/// Does what was asked.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.action {
        Action::Query(args) => query::query(args, output).await,
        Action::Search(args) => search::run(args, output).await,
        Action::Show(args) => query::show(args, output).await,
        Action::Export(args) => export::run(*args, output).await,
        Action::Fingerprint(args) => fingerprint::run(args, output).await,
        Action::Prove(args) => prove::run(args, output).await,
        Action::Verify(args) => verify::run(args, output).await,
    }
}
