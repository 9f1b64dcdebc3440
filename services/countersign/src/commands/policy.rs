//! `countersign policy`: what a bundle says, and which one is in force.

pub(crate) mod desk;
mod diff;
mod import;
mod learn;
mod lint;
mod push;
mod test;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_domain::mandate::Issuers;
use countersign_domain::policy::{Approved, Bundle, Premises, Rehearsal, StatedApproval};
use countersign_policy_checker::mandates::Keeper;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::{config, files};
use countersign_schemas::events::{PolicyChecked, Requester, TeamQuorum, ToolRequested, Verdict};
use countersign_schemas::json::parse_strict;
use countersign_schemas::{AgentId, IntentId, RequesterId, Timestamp, Token, ToolName};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::request::{object, token};
use crate::client::Place;
use crate::exit::{CliError, Exit};
use crate::output::{Output, pairs};

/// Try, test and publish policy bundles
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Judge one tool call; nothing is sent or stored
    Check(Box<CheckArgs>),
    /// Say what a sound bundle still should not say
    Lint(lint::Args),
    /// Run the tests of a bundle: tests/*.toml
    Test(test::TestArgs),
    /// Have the checker check a bundle, run its tests and put it in force everywhere
    Push(push::PushArgs),
    /// Put an earlier bundle in force again
    Rollback(push::RollbackArgs),
    /// Show which bundle is in force, and which are kept
    Status(push::StatusArgs),
    /// Judge archived intents by another bundle, and show what would change
    Replay(learn::ReplayArgs),
    /// Show permissions that nobody uses and asks that people always grant
    Suggest(learn::SuggestArgs),
    /// Begin a catalog from an MCP server's list of tools; nothing in it is permitted
    ImportMcp(import::ImportArgs),
    /// Show what changes between two bundles, in words
    Diff(diff::DiffArgs),
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// Who would act
    #[arg(long, value_name = "ID")]
    agent: AgentId,
    /// Which tool
    #[arg(long, value_name = "NAME")]
    tool: ToolName,
    /// Its input: a JSON object, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    input: String,
    /// On whose behalf
    #[arg(long, value_name = "ID", default_value = "unknown")]
    requester: RequesterId,
    /// What the agent claims to know: a JSON object, @FILE, or -
    #[arg(long, value_name = "JSON")]
    facts: Option<String>,
    /// The requester's mandate: a JWT, or @FILE; judged with the issuers of the deployment's settings
    #[arg(long, value_name = "JWT")]
    mandate: Option<String>,
    /// A label of what the agent has seen before; may be repeated
    #[arg(long, visible_alias = "label", value_name = "LABEL")]
    seen: Vec<Token>,
    /// An entry of the bucket CS_FACTS, such as orders.O-1={"customer":"C-1"}; may be repeated, and there are no others
    #[arg(long, value_name = "KEY=JSON", value_parser = fact)]
    fact: Vec<(String, Value)>,
    /// What others have taken of a rate or budget, such as mails=19; may be repeated, and else nothing is taken
    #[arg(long, value_name = "NAME=AMOUNT", value_parser = used)]
    used: Vec<(String, Decimal)>,
    /// What people decided, as when the call is judged again: {"approvers": ["lee"], "age": "10m"}, @FILE, or -
    #[arg(long, value_name = "JSON")]
    approval: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "not stated")]
    purpose: String,
    #[command(flatten)]
    place: Place,
}

/// Does what was asked.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.action {
        Action::Check(check) => {
            let bundle = bundle(&check.place)?;
            let checked = check.judged_by(&bundle).await?;
            output.answer(&answer(&checked), || text(&checked))?;
            Ok(exit(checked.verdict))
        }
        Action::Lint(args) => lint::run(&args, output),
        Action::Test(args) => test::run(&args, output),
        Action::Push(args) => push::push(&args, output).await,
        Action::Rollback(args) => push::rollback(&args, output).await,
        Action::Status(args) => push::status(&args, output).await,
        Action::Replay(args) => learn::replay_with(&args, output).await,
        Action::Suggest(args) => learn::suggest_from(&args, output).await,
        Action::ImportMcp(args) => import::run(&args, output),
        Action::Diff(args) => diff::run(&args, output).await,
    }
}

/// The bundle of a deployment, or the one that the directory itself holds.
fn bundle(place: &Place) -> Result<Bundle, CliError> {
    let dir = match place.dir.join(config::FILE_NAME).try_exists() {
        Ok(true) => place.config()?.policy.dir,
        _ => own_bundle(place),
    };
    load(&dir)
}

/// The bundle in `dir`, or everything that is wrong with it.
pub(crate) fn load(dir: &Path) -> Result<Bundle, CliError> {
    let parts = files::policy_bundle(dir)?;
    Bundle::from_files(&parts)
        .map_err(|error| CliError::Configured(format!("`{}`: {error}", dir.display())))
}

fn own_bundle(place: &Place) -> PathBuf {
    let inside = place.dir.join("policy");
    if !place.dir.join("policies").is_dir() && inside.is_dir() {
        return inside;
    }
    place.dir.clone()
}

impl CheckArgs {
    async fn judged_by(&self, bundle: &Bundle) -> Result<PolicyChecked, CliError> {
        let now = SystemClock.now();
        let mandate = self.mandate.as_deref().map(token).transpose()?;
        let issuers = issuers(&self.place, mandate.as_deref()).await?;
        let facts = self.facts.as_deref().map(|facts| object("--facts", facts));
        let request = ToolRequested {
            schema_version: 1,
            intent_id: IntentId::new_at(now),
            tool: self.tool.clone(),
            input: object("--input", &self.input)?,
            requester: Requester {
                id: self.requester.clone(),
                mandate: mandate.clone(),
            },
            purpose: self.purpose.clone(),
            session_id: None,
            bundle: None,
            facts: facts.transpose()?,
            expires_at: None,
            dry_run: None,
        };
        let premises = Premises {
            labels: self.seen.iter().map(ToString::to_string).collect(),
            facts: self.fact.iter().cloned().collect(),
            used: self.used.iter().cloned().collect(),
            approval: self.approved(now)?,
            ..Premises::default()
        };
        // What is shown may hold fingerprints of the input: a key of the moment, so that
        // nobody guesses a value from one.
        let rehearsal = Rehearsal::with_key(bundle, rand::random());
        let rehearsal = rehearsal.map_err(CliError::unexpected)?;
        Ok(rehearsal.judge_trusting(&issuers, &self.agent, &request, now, &premises))
    }
}

impl CheckArgs {
    fn approved(&self, now: Timestamp) -> Result<Option<Approved>, CliError> {
        let Some(text) = &self.approval else {
            return Ok(None);
        };
        let form = "`--approval` is written {\"approvers\": [\"lee\"], \"age\": \"10m\"}, with `kind` and \
                    `window` where they matter";
        let stated = object("--approval", text)?.to_value();
        let stated: StatedApproval = serde_json::from_value(stated)
            .map_err(|error| CliError::usage(format!("{form}: {error}")))?;
        let approved = stated.as_of(now);
        approved.map(Some).map_err(CliError::usage)
    }
}

/// A rate or budget, and what is taken of it.
fn used(text: &str) -> Result<(String, Decimal), String> {
    let (name, amount) = text.split_once('=').ok_or("write NAME=AMOUNT")?;
    let amount = Decimal::from_str_exact(amount).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), amount))
}

/// A key of the bucket of facts, and the JSON that stands there.
fn fact(text: &str) -> Result<(String, Value), String> {
    let (key, json) = text.split_once('=').ok_or("write KEY=JSON")?;
    let value = parse_strict(json.as_bytes()).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value))
}

/// Whose mandates count: the issuers of the deployment's settings, where there are any.
async fn issuers(place: &Place, mandate: Option<&str>) -> Result<Arc<Issuers>, CliError> {
    let settings = place.dir.join(config::FILE_NAME).try_exists();
    if mandate.is_none() || !settings.unwrap_or_default() {
        return Ok(Arc::default());
    }
    let keeper = Keeper::new(&place.config()?.mandates);
    let keeper = keeper.map_err(|error| CliError::Configured(error.to_string()))?;
    let keeper = Arc::new(keeper);
    keeper.read_all().await;
    Ok(keeper.issuers_for(mandate).await)
}

fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Allow => Exit::Done,
        Verdict::Deny => Exit::Denied,
        Verdict::Ask => Exit::Pending,
    }
}

fn answer(checked: &PolicyChecked) -> Value {
    json!({
        "verdict": checked.verdict,
        "reasons": checked.reasons,
        "needs": checked.needs,
        "ask": checked.ask,
        "guardrails": checked.guardrails,
        "summary": checked.summary,
        "policy_digest": checked.policy_digest,
    })
}

fn text(checked: &PolicyChecked) -> String {
    let mut lines = vec![
        ("verdict", checked.verdict.to_string()),
        ("what", checked.summary.clone()),
    ];
    let why = checked.reasons.iter().map(|reason| {
        let policy = reason.policy_id.as_deref();
        let policy = policy.map(|id| format!(" [{id}]")).unwrap_or_default();
        ("why", format!("{}{policy}", reason.message))
    });
    lines.extend(why);
    lines.extend(
        checked
            .needs
            .iter()
            .map(|need| ("needed", need.message.clone())),
    );
    if let Some(ask) = &checked.ask {
        let each = |team: &TeamQuorum| format!("{} of {}", team.quorum, team.team);
        let teams: Vec<_> = ask.approvers.iter().map(each).collect();
        lines.push((
            "asks",
            format!("{} within {} s", teams.join(" and "), ask.expires_in_s),
        ));
    }
    lines.push(("policy", checked.policy_digest.to_string()));
    pairs(&lines)
}
