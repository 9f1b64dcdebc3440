//! `countersign up`: the server and every service of one deployment in one process.

use countersign_runtime::archive;
use countersign_runtime::bus::layout::LayoutOptions;
use countersign_runtime::config::FILE_NAME;
use countersign_runtime::nats_server::Progress;
use countersign_runtime::signals::shutdown_on_signals;
use countersign_runtime::telemetry::Telemetry;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::client::Place;
use crate::exit::{CliError, Exit};
use crate::output::{Output, pairs};
use crate::stack::{Stack, StackError, StackOptions};

/// Run the server and every service of one deployment on this machine
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
}

/// Runs until SIGINT or SIGTERM, then lets everything finish what it has begun.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let config = args.place.config()?;
    let telemetry = Telemetry::start(&config.telemetry, "up").map_err(CliError::configured)?;
    let shutdown = shutdown_on_signals()?;
    let file = args.place.dir.join(FILE_NAME);
    let starting = Stack::start(StackOptions {
        file: &file,
        settings: &args.place.set,
        progress: Progress::Stderr,
        stream_bytes_max: LayoutOptions::from(&config.nats).stream_bytes_max,
    });
    let mut stack = tokio::select! {
        started = starting => started?,
        () = shutdown.cancelled() => return Ok(Exit::Done),
    };
    // Health is told until the very end, so it has an end of its own.
    let over = CancellationToken::new();
    let _over_at_return = over.clone().drop_guard();
    let listening = telemetry
        .listen(&config.telemetry, stack.health(), over)
        .await
        .map_err(CliError::configured)?;
    say_where(&stack, listening.map(|address| address.to_string()), output)?;
    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        error = stack.until_one_ends() => {
            // Said at once: calls that run may take minutes to finish.
            output.progress(&format!("stopping: {error}"));
            Err(error)
        }
    };
    let stopped = stack.stop().await;
    telemetry.flush().await;
    ended.and(stopped)?;
    Ok(Exit::Done)
}

fn say_where(stack: &Stack, metrics: Option<String>, output: &Output) -> Result<(), CliError> {
    let config = stack.config();
    let archive = archive::Place::of(config)
        .map_err(CliError::configured)?
        .to_string();
    let creds = config.nats.creds_dir.display().to_string();
    let state = json!({
        "deployment": config.deployment.name,
        "nats": stack.url(),
        "metrics": metrics,
        "archive": archive,
        "creds": creds,
    });
    output.answer(&state, || {
        let lines = pairs(&[
            ("deployment", config.deployment.name.to_string()),
            (
                "nats",
                format!("{} ({})", stack.url(), stack.server_version()),
            ),
            ("metrics", metrics.clone().unwrap_or_default()),
            ("archive", archive.clone()),
            ("credentials", creds.clone()),
        ]);
        format!(
            "{lines}Running {} services; Ctrl-C ends them.",
            stack.services()
        )
    })
}

impl From<StackError> for CliError {
    fn from(error: StackError) -> Self {
        match error.exit_code() {
            64 => Self::configured(error),
            69 => Self::unreachable(error),
            _ => Self::unexpected(error),
        }
    }
}
