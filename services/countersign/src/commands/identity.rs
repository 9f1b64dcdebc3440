//! `countersign identity`: who may connect, what signs and by what values are marked, changed
//! on a running system.

mod epochs;
mod signing_keys;

use std::collections::BTreeSet;
use std::str::FromStr;

use countersign_runtime::bus::{Bus, ConnectOptions};
use countersign_runtime::config::Config;
use countersign_runtime::identity::{
    self, Change, ChangeError, Deployment, InForce, Principal, PrincipalError, RegistryError, Role,
    ServerAccess,
};
use countersign_schemas::events::IdentityChanged;
use countersign_schemas::ids::{PersonId, Token, ToolName};
use countersign_schemas::subjects::service;
use serde_json::{Value, json};

use crate::client::Place;
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Add, remove or rotate the keys of agents, people, workers and services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add an identity with a fresh key
    Add(AddArgs),
    /// Remove an identity; its connections are cut at once
    Remove(NamedArgs),
    /// Give an identity a fresh key; connections with the old one are cut at once. With the
    /// role `key`: a fresh key that signs permits or claim tokens, or by which values are
    /// fingerprinted
    Rotate(RotateArgs),
    /// Destroy an old epoch of the fingerprint key, so that what was marked in it can never
    /// be matched with a value again
    Destroy(epochs::DestroyArgs),
    /// Have every server read its accounts again, after they were copied to its machine
    Reload,
    /// List the identities
    List,
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// agent, approver, operator, worker or bridge
    role: Role,
    /// Its name: 1 to 64 of A-Z a-z 0-9 _ -
    name: String,
    /// The tools that a worker runs
    #[arg(long, value_name = "TOOL", value_delimiter = ',')]
    tools: Vec<ToolName>,
    /// The `external` guardrails that a worker answers for
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    guardrails: Vec<Token>,
    /// The people whose votes a bridge carries
    #[arg(long, value_name = "PERSON", value_delimiter = ',')]
    people: Vec<PersonId>,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, clap::Args)]
struct NamedArgs {
    /// service, agent, approver, operator, worker or bridge
    role: Role,
    /// Its name
    name: String,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, clap::Args)]
struct RotateArgs {
    /// service, agent, approver, operator, worker or bridge; or key
    role: Rotated,
    /// Its name; of a key, permit, claim or fingerprint
    name: String,
    /// Publish the new key and sign with the old one still: for workers and executors on
    /// other machines, which need the public keys first (keys only)
    #[arg(long, group = "step")]
    publish: bool,
    /// The old key was stolen: what it signed no longer counts, and approved intents that
    /// nobody has claimed are revoked (keys only)
    #[arg(long, group = "step")]
    stolen: bool,
    /// Only remove old keys whose last token has ended (keys only)
    #[arg(long, group = "step")]
    prune: bool,
    #[command(flatten)]
    by: By,
}

/// What is given a fresh key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rotated {
    /// Somebody who connects.
    Identity(Role),
    /// What signs permits or claim tokens, or fingerprints values.
    Key,
}

impl FromStr for Rotated {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "key" {
            return Ok(Self::Key);
        }
        let role = text.parse::<Role>().map_err(|error| error.to_string())?;
        Ok(Self::Identity(role))
    }
}

#[derive(Debug, clap::Args)]
struct By {
    /// Whose key signs this off in the audit log; needed only where there are several
    #[arg(long, value_name = "OPERATOR")]
    operator: Option<PersonId>,
}

/// Does what was asked.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let config = args.place.config()?;
    let deployment = Deployment::at(&args.place.dir);
    let access = ServerAccess {
        url: config.nats.url.clone(),
        tls_ca: config.nats.tls_ca.clone(),
    };
    let (change, by) = match args.command {
        Command::List => return list(&deployment, output),
        Command::Reload => {
            let in_force = identity::reload(&deployment, &access).await?;
            let text = in_force_text(&in_force);
            output.answer(&json!({ "in_force": in_force_json(&in_force) }), || text)?;
            return Ok(Exit::Done);
        }
        Command::Add(args) => {
            let principal = principal(&args)?;
            let change = identity::add(&deployment, &access, principal).await?;
            (change, args.by)
        }
        Command::Remove(args) => {
            let change = identity::remove(&deployment, &access, args.role, &args.name).await?;
            (change, args.by)
        }
        Command::Destroy(args) => {
            return epochs::destroy(args, &config, &deployment, output).await;
        }
        Command::Rotate(args) => match args.identity()? {
            Some(role) => {
                let change = identity::rotate(&deployment, &access, role, &args.name).await?;
                (change, args.by)
            }
            None if args.name == epochs::NAME => {
                return epochs::rotate(&args, &config, &deployment, output).await;
            }
            None => return signing_keys::change(&args, &config, &deployment, output).await,
        },
    };
    let told = Told {
        change: change.kind.name(),
        role: change.principal.role().name(),
        name: change.principal.name(),
        public_key: change.public_key.clone(),
    };
    put_on_record(&config, &deployment, told, by.operator, output).await;
    output.answer(&change_json(&change), || change_text(&change))?;
    Ok(Exit::Done)
}

impl RotateArgs {
    /// The role of the identity that is rotated; `None` for a signing key.
    fn identity(&self) -> Result<Option<Role>, CliError> {
        let of_keys = self.publish || self.stolen || self.prune;
        match self.role {
            Rotated::Key => Ok(None),
            Rotated::Identity(role) if !of_keys => Ok(Some(role)),
            Rotated::Identity(_) => Err(CliError::usage(
                "--publish, --stolen and --prune are for `rotate key permit` and `rotate key \
                 claim`; an old key of an identity is cut off at once",
            )),
        }
    }
}

fn principal(args: &AddArgs) -> Result<Principal, CliError> {
    if args.role == Role::Service {
        return Err(CliError::usage(
            "service identities are made by `countersign init`; rotate them",
        ));
    }
    let tools: BTreeSet<ToolName> = args.tools.iter().cloned().collect();
    let people: BTreeSet<PersonId> = args.people.iter().cloned().collect();
    let guardrails: BTreeSet<Token> = args.guardrails.iter().cloned().collect();
    let made = match (args.role, guardrails.is_empty()) {
        (Role::Worker, false) if people.is_empty() => {
            Principal::worker(&args.name, tools, guardrails)
        }
        (_, false) => {
            return Err(CliError::usage(
                "only a worker has --guardrails, and no people",
            ));
        }
        (_, true) => Principal::new(args.role, &args.name, tools, people),
    };
    made.map_err(|error| match error {
        PrincipalError::Tools(..) => {
            CliError::usage(format!("{error}; name them with --tools or --guardrails"))
        }
        PrincipalError::People(..) => CliError::usage(format!("{error}; name them with --people")),
        other => CliError::usage(other),
    })
}

fn list(deployment: &Deployment, output: &Output) -> Result<Exit, CliError> {
    let registry = deployment.registry()?;
    output.answer(&registry.entries(), || {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        table.set_header(["ROLE", "NAME", "ACCOUNT", "KEY", "TOOLS OR PEOPLE"]);
        for entry in registry.entries() {
            let who = &entry.principal;
            let tools = who.tools().into_iter().map(String::from);
            let people = who.people().into_iter().map(String::from);
            let guardrails = who.guardrails();
            let guardrails = guardrails
                .iter()
                .map(|name| service::guardrail(name).to_string());
            let extras: Vec<String> = tools.chain(guardrails).chain(people).collect();
            table.add_row([
                who.role().name(),
                who.name(),
                who.account().name(),
                &entry.public_key,
                &extras.join(" "),
            ]);
        }
        table.trim_fmt()
    })?;
    Ok(Exit::Done)
}

/// A change as the audit log has it.
struct Told<'a> {
    change: &'a str,
    role: &'a str,
    name: &'a str,
    public_key: Option<String>,
}

/// Puts a change into the audit log, or says why it is not there.
async fn put_on_record(
    config: &Config,
    deployment: &Deployment,
    told: Told<'_>,
    by: Option<PersonId>,
    output: &Output,
) {
    if let Err(reason) = tell(config, deployment, told, by).await {
        output.progress(&format!(
            "the change is made; it is not in the audit log, because {reason}"
        ));
    }
}

/// Tells the coordinator, which writes the change into the log as that operator's deed.
async fn tell(
    config: &Config,
    deployment: &Deployment,
    told: Told<'_>,
    by: Option<PersonId>,
) -> Result<(), String> {
    let (operator, seed) = operator(deployment, by)?;
    let event = IdentityChanged {
        schema_version: 1,
        change: told.change.to_owned(),
        role: told.role.to_owned(),
        name: told.name.to_owned(),
        public_key: told.public_key,
        operator: operator.clone(),
    };
    let body = serde_json::to_vec(&event).map_err(|error| error.to_string())?;
    let bus = Bus::connect(ConnectOptions {
        url: config.nats.url.clone(),
        name: operator.to_string(),
        credential: seed,
        tls_ca: config.nats.tls_ca.clone(),
    })
    .await
    .map_err(|error| error.to_string())?;
    let subject = service::identity_changed(&operator).to_string();
    // An id of its own, so that a report that is sent twice is one entry.
    let mut headers = async_nats::HeaderMap::new();
    let id = uuid::Uuid::new_v4().simple().to_string();
    headers.insert(countersign_schemas::headers::MSG_ID, id);
    let answer = bus
        .client()
        .request_with_headers(subject, headers, body.into());
    let answer = answer
        .await
        .map_err(|error| format!("the coordinator does not answer ({error})"))?;
    bus.close().await;
    let refused = answer.headers.as_ref().and_then(|headers| {
        let reason = headers.get(countersign_schemas::headers::SERVICE_ERROR)?;
        Some(reason.to_string())
    });
    refused.map_or(Ok(()), Err)
}

/// The operator named, or the only one whose credential is here.
fn operator(deployment: &Deployment, by: Option<PersonId>) -> Result<(PersonId, String), String> {
    let registry = deployment.registry().map_err(|error| error.to_string())?;
    let mut here = Vec::new();
    for entry in registry.entries() {
        if let Principal::Operator(person) = &entry.principal
            && by.as_ref().is_none_or(|by| by == person)
            && let Some(seed) = deployment
                .seed(&entry.principal)
                .map_err(|error| error.to_string())?
        {
            here.push((person.clone(), seed));
        }
    }
    match (here.pop(), here.is_empty()) {
        (Some(found), true) => Ok(found),
        (Some(_), false) => Err("there are several operators: name one with --operator".to_owned()),
        (None, _) => Err("no operator's credential is in creds/".to_owned()),
    }
}

fn in_force_json(in_force: &InForce) -> Value {
    match in_force {
        InForce::NoServer => json!({ "running": false }),
        InForce::Reloaded(seen) => json!({
            "running": true,
            "servers": seen.servers,
            "not_reachable": seen.unseen,
            "stale": seen.stale,
        }),
    }
}

fn change_json(change: &Change) -> Value {
    json!({
        "change": change.kind.name(),
        "role": change.principal.role().name(),
        "name": change.principal.name(),
        "public_key": change.public_key,
        "creds": change.creds,
        "in_force": in_force_json(&change.in_force),
    })
}

fn change_text(change: &Change) -> String {
    let mut text = format!("{} is {}", change.principal, change.kind.name());
    if let Some(creds) = &change.creds {
        let then = match change.principal.role() {
            Role::Service => "restart that service, which still holds the old key",
            _ => "hand it over and delete it here",
        };
        text.push_str(&format!("; its credential is {}: {then}", creds.display()));
    }
    format!("{text}\n{}", in_force_text(&change.in_force))
}

fn in_force_text(in_force: &InForce) -> String {
    let InForce::Reloaded(seen) = in_force else {
        return "no server runs: the change holds from its next start".to_owned();
    };
    let mut lines = Vec::new();
    let mut say = |servers: &[String], what: &str| {
        if !servers.is_empty() {
            lines.push(format!("{what}: {}", servers.join(", ")));
        }
    };
    say(&seen.servers, "in force, checked on");
    say(
        &seen.unseen,
        "reloaded, but not reachable from here to check",
    );
    say(
        &seen.stale,
        "NOT in force; copy nats/accounts.conf there and run `countersign identity reload`",
    );
    lines.join("\n")
}

impl From<RegistryError> for CliError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Exists(_)
            | RegistryError::Shared { .. }
            | RegistryError::Unknown { .. }
            | RegistryError::FixedServices(_)
            | RegistryError::Principal(_) => Self::usage(error),
            other => Self::configured(other),
        }
    }
}

impl From<ChangeError> for CliError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Registry(error) => error.into(),
            ChangeError::NotInForce(_) | ChangeError::Undone(_) => Self::unreachable(error),
            other => Self::configured(other),
        }
    }
}

#[cfg(test)]
mod tests;
