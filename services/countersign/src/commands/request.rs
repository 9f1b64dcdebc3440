//! `countersign request`: act as an agent by the documented protocol.

pub(super) mod follow;

use std::io::Read as _;
use std::time::Duration;

use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::events::{BundleRef, Requester, ToolRequested};
use countersign_schemas::json::parse_strict;
use countersign_schemas::limits::{BUNDLE_ITEMS_MAX, STORED_BYTES_MAX};
use countersign_schemas::{
    Address, AgentId, BundleId, IntentId, JsonObject, RequesterId, Timestamp, ToolName,
};
use serde_json::{Value, json};

use self::follow::Follower;
use crate::client::{Client, IntentEvent, Place};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Act as an agent: ask for one tool call and wait for its end
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The agent to act as; its credential must be in the deployment's directory
    #[arg(long, value_name = "ID")]
    agent: AgentId,
    /// Look up an intent instead of making one
    #[arg(long, value_name = "INTENT")]
    status: Option<IntentId>,
    #[command(flatten)]
    call: Call,
    /// How long to wait for the end
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    #[command(flatten)]
    place: Place,
}

/// The tool call.
#[derive(Debug, clap::Args)]
struct Call {
    /// Which tool
    #[arg(long, value_name = "NAME", required_unless_present = "status")]
    tool: Option<ToolName>,
    /// Its input: a JSON object, @FILE, or - for standard input
    #[arg(long, value_name = "JSON", required_unless_present = "status")]
    input: Option<String>,
    /// On whose behalf
    #[arg(long, value_name = "ID", required_unless_present = "status")]
    requester: Option<RequesterId>,
    /// Why, for the people who decide
    #[arg(long, value_name = "TEXT", default_value = "not stated")]
    purpose: String,
    /// A signed mandate of the requester: a JWT, or @FILE
    #[arg(long, value_name = "JWT")]
    mandate: Option<String>,
    /// What the agent claims to know: a JSON object, @FILE, or -
    #[arg(long, value_name = "JSON")]
    facts: Option<String>,
    /// The agent's session, for display
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// After this it must not run, such as 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<Timestamp>,
    /// Judge only, never run
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    bundle: InBundle,
}

/// The place in a bundle: several intents that are decided as one.
#[derive(Debug, clap::Args)]
struct InBundle {
    /// The agent's name for the bundle that this intent belongs to
    #[arg(long, value_name = "NAME", requires_all = ["bundle_size", "bundle_index"])]
    bundle: Option<BundleId>,
    /// How many intents the bundle has
    #[arg(long, value_name = "N", requires = "bundle",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(BUNDLE_ITEMS_MAX)))]
    bundle_size: Option<u32>,
    /// Which of them this is, counted from 0
    #[arg(long, value_name = "N", requires = "bundle")]
    bundle_index: Option<u32>,
}

impl InBundle {
    fn place(self) -> Result<Option<BundleRef>, CliError> {
        let (Some(id), Some(size), Some(index)) =
            (self.bundle, self.bundle_size, self.bundle_index)
        else {
            return Ok(None);
        };
        match index < size {
            true => Ok(Some(BundleRef { id, size, index })),
            false => Err(CliError::usage(format!(
                "--bundle-index counts from 0, so in a bundle of {size} it is 0 to {}",
                size.saturating_sub(1)
            ))),
        }
    }
}

/// How long a new request waits where nobody says: shorter than the minute after which
/// most callers of a tool give up.
pub(super) const WAIT_DEFAULT: Duration = Duration::from_secs(45);

/// Publishes the intent, or looks one up, and waits for its end.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let request = match args.status {
        Some(_) => None,
        None => Some(args.call.request()?),
    };
    let config = args.place.config()?;
    let client = Client::connect(&config, "agent", args.agent.as_str()).await?;
    let wait = args.wait.map(Duration::from_secs);
    let ended = match (args.status, request) {
        (Some(intent), _) => look_up(&client, args.agent, intent, wait, output).await,
        (None, Some(request)) => ask(&client, args.agent, &request, wait, output).await,
        (None, None) => Err(CliError::usage("either a tool call or --status is needed")),
    };
    client.bus.close().await;
    ended
}

async fn ask(
    client: &Client,
    agent: AgentId,
    request: &ToolRequested,
    wait: Option<Duration>,
    output: &Output,
) -> Result<Exit, CliError> {
    let intent = request.intent_id;
    let mut follower = Follower::start(&client.bus, agent.clone(), intent).await?;
    // Told before it is sent: whoever never hears whether it is stored can still ask.
    output.progress(&format!("sending intent {intent}"));
    let sent = client
        .send(&Address::ToolRequested { agent }, request)
        .await;
    let sequence = match sent {
        Ok(sequence) => sequence,
        Err(error) => return Err(unsent(intent, error, output)?),
    };
    output.progress(&format!("intent {intent} is stored, waiting for its end"));
    follower.only_answers_to(sequence);
    let last = follower.until(wait.unwrap_or(WAIT_DEFAULT)).await;
    let last = last.map_err(|error| error.hinting(&ask_again(intent)))?;
    tell(intent, Some(sequence), last, output)
}

fn ask_again(intent: IntentId) -> String {
    format!("ask again with --status {intent}")
}

/// The error of an intent that may be stored all the same: with its id, for scripts too.
fn unsent(intent: IntentId, error: CliError, output: &Output) -> Result<CliError, CliError> {
    if !matches!(error, CliError::NotKnown(_)) {
        return Ok(error);
    }
    let error = error.hinting(&ask_again(intent));
    if output.is_json() {
        let text = error.to_string();
        output.answer(&not_known(intent, &text), String::new)?;
    }
    Ok(error)
}

fn not_known(intent: IntentId, message: &str) -> Value {
    json!({
        "event": null, "state": "unknown", "intent_id": intent, "sequence": null,
        "message": message,
    })
}

async fn look_up(
    client: &Client,
    agent: AgentId,
    intent: IntentId,
    wait: Option<Duration>,
    output: &Output,
) -> Result<Exit, CliError> {
    let mut follower = Follower::start(&client.bus, agent, intent).await?;
    let last = follower.until(wait.unwrap_or(Duration::ZERO)).await?;
    tell(intent, None, last, output)
}

/// Prints the last event, or that there is none yet, which is never an answer.
fn tell(
    intent: IntentId,
    sequence: Option<u64>,
    last: Option<IntentEvent>,
    output: &Output,
) -> Result<Exit, CliError> {
    let Some(event) = last else {
        let pending = json!({
            "event": null, "state": "pending", "intent_id": intent, "sequence": sequence,
            "message": "nothing is decided yet",
        });
        output.answer(&pending, || {
            format!("pending: nothing is decided yet; {}", ask_again(intent))
        })?;
        return Ok(Exit::Pending);
    };
    output.answer(&event.to_json()?, || event.to_text())?;
    Ok(event.exit().unwrap_or(Exit::Pending))
}

impl Call {
    fn request(self) -> Result<ToolRequested, CliError> {
        let missing = || CliError::usage("--tool, --input and --requester belong together");
        let input = object("--input", &self.input.ok_or_else(missing)?)?;
        let facts = self.facts.map(|facts| object("--facts", &facts));
        Ok(ToolRequested {
            schema_version: 1,
            intent_id: IntentId::new_at(SystemClock.now()),
            tool: self.tool.ok_or_else(missing)?,
            input,
            requester: Requester {
                id: self.requester.ok_or_else(missing)?,
                mandate: self.mandate.as_deref().map(token).transpose()?,
            },
            purpose: self.purpose,
            session_id: self.session,
            bundle: self.bundle.place()?,
            facts: facts.transpose()?,
            expires_at: self.expires_at,
            dry_run: self.dry_run.then_some(true),
        })
    }
}

/// A JSON object from a flag: itself, `@FILE`, or `-` for standard input.
pub(crate) fn object(flag: &str, text: &str) -> Result<JsonObject, CliError> {
    let bytes = match text.strip_prefix('@') {
        Some(file) => read_bounded(flag, std::fs::File::open(file))?,
        None if text == "-" => read_bounded(flag, Ok(std::io::stdin()))?,
        None => text.as_bytes().to_vec(),
    };
    let value =
        parse_strict(&bytes).map_err(|error| CliError::usage(format!("{flag}: {error}")))?;
    JsonObject::from_value(value)
        .ok_or_else(|| CliError::usage(format!("{flag} is not a JSON object")))
}

fn read_bounded<R: std::io::Read>(
    flag: &str,
    source: std::io::Result<R>,
) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let room = u64::try_from(STORED_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    source
        .and_then(|source| source.take(room).read_to_end(&mut bytes))
        .map_err(|error| CliError::usage(format!("{flag} cannot be read: {error}")))?;
    if bytes.len() > STORED_BYTES_MAX {
        return Err(CliError::Refused(format!(
            "nothing was sent: {flag} has more than the {STORED_BYTES_MAX} bytes that are stored"
        )));
    }
    Ok(bytes)
}

/// The token itself, or that in a file.
pub(crate) fn token(given: &str) -> Result<String, CliError> {
    let Some(path) = given.strip_prefix('@') else {
        return Ok(given.to_owned());
    };
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| CliError::Usage(format!("--mandate: `{path}`: {error}")))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use countersign_runtime::bus::PublishError;

    use super::*;

    #[test]
    fn inputs_are_strict_objects() {
        assert!(object("--input", r#"{"a":1}"#).is_ok());
        for (text, why) in [
            ("[]", "not a JSON object"),
            (r#"{"a":1,"a":2}"#, "already used"),
            ("{", "ends in the middle"),
            ("@/nonexistent/file", "cannot be read"),
        ] {
            let error = object("--input", text).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{text}");
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn a_place_in_a_bundle_counts_from_zero() {
        let place = |index| {
            InBundle {
                bundle: Some("payroll".parse().unwrap()),
                bundle_size: Some(3),
                bundle_index: Some(index),
            }
            .place()
        };
        let last = place(2).unwrap().unwrap();
        assert_eq!((last.id.as_str(), last.size, last.index), ("payroll", 3, 2));
        let error = place(3).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.to_string().contains("it is 0 to 2"), "{error}");
    }

    #[test]
    fn an_intent_that_may_be_stored_is_told_with_its_id() {
        let intent: IntentId = "01920000-0000-7000-8000-000000000001".parse().unwrap();
        let lost = CliError::from(PublishError::Timeout);
        let lost = unsent(intent, lost, &Output::new(false)).unwrap();
        assert_eq!(lost.exit(), Exit::Unreachable);
        let hint = format!("--status {intent}");
        assert!(lost.to_string().ends_with(&hint), "{lost}");
        let json = not_known(intent, &lost.to_string());
        assert_eq!(json["intent_id"], intent.to_string());
        assert_eq!(json["state"], "unknown");
        // What was refused is not stored, and there is nothing to ask for.
        let subject = "tool.requested.crm".to_owned();
        let refused = CliError::from(PublishError::Refused { subject });
        let refused = unsent(intent, refused, &Output::new(false)).unwrap();
        assert!(!refused.to_string().contains("--status"), "{refused}");
    }

    #[test]
    fn a_file_can_hold_the_input_and_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("input.json");
        let flag = format!("@{}", file.display());
        std::fs::write(&file, r#"{"a":"b"}"#).unwrap();
        assert_eq!(object("--input", &flag).unwrap().0.len(), 1);
        std::fs::write(&file, vec![b' '; STORED_BYTES_MAX + 1]).unwrap();
        let error = object("--input", &flag).unwrap_err();
        assert_eq!(error.exit(), Exit::Denied);
    }

    fn call() -> Call {
        Call {
            tool: Some("crm.read".parse().unwrap()),
            input: Some("{}".to_owned()),
            requester: Some("ana".parse().unwrap()),
            mandate: None,
            purpose: "a test".to_owned(),
            facts: None,
            session: None,
            expires_at: None,
            dry_run: false,
            bundle: InBundle {
                bundle: None,
                bundle_size: None,
                bundle_index: None,
            },
        }
    }

    #[test]
    fn a_call_is_whole_or_nothing_is_sent() {
        let whole = call().request().unwrap();
        assert_eq!((whole.dry_run, whole.facts), (None, None));
        let dry = Call {
            dry_run: true,
            facts: Some(r#"{"sum":"1.10"}"#.to_owned()),
            ..call()
        };
        let dry = dry.request().unwrap();
        assert_eq!(dry.dry_run, Some(true));
        assert_eq!(dry.facts.unwrap().0["sum"], "1.10");
        for (broken, words) in [
            (
                Call {
                    tool: None,
                    ..call()
                },
                "belong together",
            ),
            (
                Call {
                    input: None,
                    ..call()
                },
                "belong together",
            ),
            (
                Call {
                    requester: None,
                    ..call()
                },
                "belong together",
            ),
            (
                Call {
                    input: Some("1".to_owned()),
                    ..call()
                },
                "--input is not",
            ),
            (
                Call {
                    facts: Some("1".to_owned()),
                    ..call()
                },
                "--facts is not",
            ),
        ] {
            let error = broken.request().unwrap_err();
            assert_eq!(error.exit(), Exit::Usage);
            assert!(error.to_string().contains(words), "{error}");
        }
        let again = call().request().unwrap().intent_id;
        assert_ne!(again, whole.intent_id, "each call is an intent of its own");
    }
}
