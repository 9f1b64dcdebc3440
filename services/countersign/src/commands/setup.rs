//! `countersign setup`: streams, buckets and consumers.

use countersign_runtime::bus::layout::{self, LayoutOptions};
use countersign_runtime::service::connect;
use serde_json::json;

use crate::client::Place;
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// The identity that may make streams.
const IDENTITY: &str = "setup";

/// Make or update the streams, buckets and consumers of a deployment
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
}

/// Brings the server to the layout of this version; running it again changes nothing.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let config = args.place.config()?;
    let bus = connect(&config, IDENTITY).await?;
    layout::ensure(&bus, LayoutOptions::from(&config.nats)).await?;
    bus.close().await;
    let done = json!({ "deployment": config.deployment.name, "ready": true });
    output.answer(&done, || {
        format!("the streams of `{}` are ready", config.deployment.name)
    })?;
    Ok(Exit::Done)
}
