//! `countersign demo`: the whole path on this machine, told as it happens.

use std::path::PathBuf;

use countersign_runtime::config::Telemetry as Settings;
use countersign_runtime::signals::shutdown_on_signals;
use countersign_runtime::telemetry::Telemetry;

use crate::demo::{self, Options, Running, Story};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Watch agents, policy, a person, tools and the archive at work
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave everything running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Make the deployment in this new directory instead of a temporary one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Plays the demo; succeeds only if every step went as told.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let options = Options {
        dir: args.dir,
        keep: args.keep,
    };
    quiet()?;
    let story = Story::begin();
    let shutdown = shutdown_on_signals()?;
    let played = tokio::select! {
        played = demo::play(&options, &story) => played,
        () = shutdown.cancelled() => {
            output.progress("countersign: the demo was stopped");
            return Ok(Exit::Unexpected);
        }
    };
    let mut running = match played {
        Ok(running) => running,
        Err(failed) => {
            story.failed(&failed);
            return Ok(Exit::Unexpected);
        }
    };
    if args.keep {
        tokio::select! {
            () = shutdown.cancelled() => {}
            error = running.stack.until_one_ends() => return Err(error.into()),
        }
    }
    let Running { stack, company, .. } = running;
    stack.stop().await?;
    drop(company);
    Ok(Exit::Done)
}

/// The story is for reading; of the services only errors are heard.
fn quiet() -> Result<(), CliError> {
    let settings = Settings {
        level: "error".to_owned(),
        ..Settings::default()
    };
    Telemetry::start(&settings, "demo")
        .map(drop)
        .map_err(CliError::unexpected)
}
