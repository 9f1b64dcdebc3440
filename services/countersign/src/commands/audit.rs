//! `countersign audit`: SQL over the archive, one intent as a story, the fingerprints of a
//! known value, exports for other programs, and the proof that nothing was changed.

mod anchors;
mod export;
mod fingerprint;
mod prove;
mod query;
mod selecting;
mod source;
mod verify;

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

/// Does what was asked.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.action {
        Action::Query(args) => query::query(args, output).await,
        Action::Show(args) => query::show(args, output).await,
        Action::Export(args) => export::run(*args, output).await,
        Action::Fingerprint(args) => fingerprint::run(args, output).await,
        Action::Prove(args) => prove::run(args, output).await,
        Action::Verify(args) => verify::run(args, output).await,
    }
}
