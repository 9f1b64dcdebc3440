//! `countersign withdraw INTENT`.

use countersign_schemas::events::ToolWithdrawn;
use countersign_schemas::{Address, AgentId, IntentId};
use serde_json::json;

use crate::client::{Client, Place};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Act as an agent: take an intent back
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which intent
    intent: IntentId,
    /// Whose intent it is
    #[arg(long, value_name = "ID")]
    agent: AgentId,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Stores the withdrawal. What is already running still runs.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let config = args.place.config()?;
    let client = Client::connect(&config, "agent", args.agent.as_str()).await?;
    let withdrawn = ToolWithdrawn {
        schema_version: 1,
        intent_id: args.intent,
        reason: args.reason,
    };
    let address = Address::ToolWithdrawn { agent: args.agent };
    let sequence = client.send(&address, &withdrawn).await?;
    client.bus.close().await;
    let told = json!({ "intent_id": args.intent, "withdrawn": true, "sequence": sequence });
    output.answer(&told, || {
        format!(
            "{} is withdrawn; if it was already running, it still runs",
            args.intent
        )
    })?;
    Ok(Exit::Done)
}
