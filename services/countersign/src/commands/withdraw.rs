//! `countersign withdraw INTENT`.

use std::time::Duration;

use countersign_schemas::events::{BlockedCode, ToolWithdrawn};
use countersign_schemas::{Address, AgentId, IntentId};
use serde_json::{Value, json};

use super::request::WAIT_DEFAULT;
use super::request::follow::Follower;
use crate::client::{Client, IntentEvent, Place};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Act as an agent: take an intent back, and wait for what comes of it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 it will not run (withdrawn, revoked, or blocked before); \
                  20 it is too late, or there is no such intent; 21 nothing is answered yet; \
                  69 NATS is out of reach."
)]
pub(crate) struct Args {
    /// Which intent
    intent: IntentId,
    /// Whose intent it is
    #[arg(long, value_name = "ID")]
    agent: AgentId,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How long to wait for the answer; that there is no such intent is known after 30 s
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    #[command(flatten)]
    place: Place,
}

/// Stores the withdrawal and tells what became of the intent.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let config = args.place.config()?;
    let client = Client::connect(&config, "agent", args.agent.as_str()).await?;
    let ended = take_back(&client, args, output).await;
    client.bus.close().await;
    ended
}

async fn take_back(client: &Client, args: Args, output: &Output) -> Result<Exit, CliError> {
    let intent = args.intent;
    let withdrawn = ToolWithdrawn {
        schema_version: 1,
        intent_id: intent,
        reason: args.reason,
    };
    let mut follower = Follower::start(&client.bus, args.agent.clone(), intent).await?;
    let address = Address::ToolWithdrawn { agent: args.agent };
    let sequence = client.send(&address, &withdrawn).await?;
    output.progress("the withdrawal is stored, waiting for what comes of it");
    follower.withdrawn_at(sequence);
    let wait = args.wait.map_or(WAIT_DEFAULT, Duration::from_secs);
    let last = follower.until(wait).await?;
    let became = Became::of(intent, last.as_ref());
    let event = match &last {
        Some(event) => event.to_json()?,
        None => Value::Null,
    };
    let told = json!({
        "intent_id": intent, "state": became.state, "message": became.message,
        "sequence": sequence, "event": event,
    });
    output.answer(&told, || became.message.clone())?;
    Ok(became.exit)
}

/// What became of an intent after its withdrawal was stored.
#[derive(Debug, PartialEq, Eq)]
struct Became {
    /// One word for scripts.
    state: &'static str,
    exit: Exit,
    message: String,
}

impl Became {
    fn of(intent: IntentId, last: Option<&IntentEvent>) -> Self {
        let (state, exit, message) = match last {
            None | Some(IntentEvent::Approved(_)) => (
                "pending",
                Exit::Pending,
                format!(
                    "the withdrawal of {intent} is stored, and nobody has answered it yet; look \
                     again with `countersign request --status {intent}`"
                ),
            ),
            Some(IntentEvent::Refused(event)) => (
                "refused",
                Exit::Denied,
                format!("refused: {}", event.message),
            ),
            Some(IntentEvent::Blocked(event)) if event.code == BlockedCode::Withdrawn => {
                ("withdrawn", Exit::Done, format!("{intent} is withdrawn"))
            }
            Some(IntentEvent::Blocked(event)) => (
                "blocked",
                Exit::Done,
                format!(
                    "{intent} was blocked before ({}); it never runs",
                    event.code
                ),
            ),
            Some(IntentEvent::Revoked(event)) => (
                "revoked",
                Exit::Done,
                format!(
                    "the approval of {intent} is revoked ({}); it never runs",
                    event.code
                ),
            ),
            Some(IntentEvent::Started(_)) => (
                "running",
                Exit::Denied,
                format!("too late: {intent} is running, and runs to its end"),
            ),
            Some(IntentEvent::Completed(event)) => (
                "ended",
                Exit::Denied,
                format!("too late: {intent} has ended before ({})", event.outcome),
            ),
        };
        Self {
            state,
            exit,
            message,
        }
    }
}
