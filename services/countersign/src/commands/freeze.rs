//! `countersign freeze|unfreeze`: the kill switch.

pub(super) mod told;
mod wait;

use std::time::Duration;

use countersign_domain::approvals::ViewReply;
use countersign_domain::freeze::{FreezeView, words};
use countersign_schemas::events::{ControlFreeze, ControlUnfreeze, FreezeScope};
use countersign_schemas::{Address, PersonId};
use tokio::time::Instant;

use self::told::{Ended, Told};
use self::wait::{Answers, Given, Outcome};
use super::approvals;
use super::policy::desk::Operator;
use crate::client::Client;
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// What an order is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// One agent, whatever it calls and for whom
    Agent,
    /// One tool, whoever calls it
    Tool,
    /// Everything on behalf of one requester, whether claimed or proved by a mandate
    Requester,
    /// Everything
    All,
}

/// How `unfreeze` ends.
pub(crate) const HOW_RELEASED: &str = "It releases exactly what it names and returns once that \
    is in force; it then lists what else is still frozen. Agents ask again as new intents. On a \
    terminal it asks once; elsewhere it does what it says. The same order again succeeds.\n\n\
    Exit codes: 0 it is complete; 2 nothing was sent, for want of a yes; 20 refused, nothing was \
    changed; 21 it is stored, and not yet complete; 69 NATS is out of reach.";

/// Give an order, and wait until everything that it covers has stopped or is named
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It returns once everything that was approved, had not begun and is covered is \
                  revoked, and names what was already running. What waits for people goes on \
                  waiting, and votes on it are not counted meanwhile. On a terminal it asks \
                  once; elsewhere it does what it says. The same order again succeeds.\n\n\
                  Exit codes: 0 it is complete; 2 nothing was sent, for want of a yes; 20 \
                  refused, nothing was changed; 21 it is stored, and not yet complete; 69 NATS \
                  is out of reach."
)]
pub(crate) struct Args {
    /// What to stop or release
    kind: Kind,
    /// Its name; none for `all`
    name: Option<String>,
    /// Why, in your own words; people and the archive see it, agents do not
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do not ask on a terminal
    #[arg(long, short)]
    yes: bool,
    /// How long to wait until it is complete
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    #[command(flatten)]
    who: Operator,
}

/// Gives the order.
pub(crate) async fn run(args: Args, frozen: bool, output: &Output) -> Result<Exit, CliError> {
    let scope = scope(args.kind, args.name.as_deref())?;
    if args.reason.trim().is_empty() {
        return Err(CliError::usage("say why with --reason"));
    }
    let verb = if frozen { "freeze" } else { "unfreeze" };
    let question = format!("{verb} {}?", words(&scope));
    if !args.yes && output.is_interactive() && !output.confirmed(&question)? {
        output.progress("nothing was sent");
        return Ok(Exit::Usage);
    }
    let (client, operator) = args.who.connect().await?;
    let order = Order {
        client: &client,
        operator,
        scope,
        reason: args.reason,
        frozen,
    };
    let ended = order.give(Duration::from_secs(args.wait), output).await;
    client.bus.close().await;
    ended
}

/// What the words of the command line mean.
fn scope(kind: Kind, name: Option<&str>) -> Result<FreezeScope, CliError> {
    let everything = FreezeScope::default();
    let named = || name.ok_or_else(|| CliError::usage("say which one, such as `agent billing`"));
    match kind {
        Kind::All if name.is_some() => Err(CliError::usage("`all` takes no name")),
        Kind::All => Ok(everything),
        Kind::Agent => Ok(FreezeScope {
            agent: Some(named()?.parse().map_err(CliError::usage)?),
            ..everything
        }),
        Kind::Tool => Ok(FreezeScope {
            tool: Some(named()?.parse().map_err(CliError::usage)?),
            ..everything
        }),
        Kind::Requester => Ok(FreezeScope {
            requester: Some(named()?.parse().map_err(CliError::usage)?),
            ..everything
        }),
    }
}

/// An order to be given.
struct Order<'a> {
    client: &'a Client,
    operator: PersonId,
    scope: FreezeScope,
    reason: String,
    frozen: bool,
}

impl Order<'_> {
    async fn give(self, wait: Duration, output: &Output) -> Result<Exit, CliError> {
        let begun = Instant::now();
        let mut answers = Answers::start(&self.client.bus).await?;
        let sequence = self.send().await?;
        output.progress("the order is stored; waiting until everything that it covers has ended");
        let given = Given {
            frozen: self.frozen,
            operator: &self.operator,
            scope: &self.scope,
        };
        let outcome = answers.until(sequence, given, wait).await;
        let took = begun.elapsed();
        // What else is in force is worth knowing, and its absence no failure of the order.
        let shown = match &outcome {
            Outcome::Done { .. } => self.in_force(output).await,
            Outcome::Refused(_) | Outcome::Applied | Outcome::Stored => None,
        };
        let told = Told::of(Ended {
            frozen: self.frozen,
            scope: self.scope,
            sequence,
            outcome,
            took,
            in_force: shown,
        });
        output.answer(&told, || told.to_text())?;
        Ok(told.exit())
    }

    async fn send(&self) -> Result<u64, CliError> {
        let stored = self.publish().await;
        stored.map_err(|error| match error {
            // Nobody should have to find that out in an emergency.
            CliError::Unreachable(_) => error.hinting(
                "the order is not in force; another operator's key may still have room, \
                 and `nats.stream_mib` with `countersign setup` makes more",
            ),
            error => error,
        })
    }

    async fn publish(&self) -> Result<u64, CliError> {
        let operator = self.operator.clone();
        let (scope, reason) = (self.scope.clone(), self.reason.clone());
        if self.frozen {
            let order = ControlFreeze {
                schema_version: 1,
                scope,
                reason,
            };
            return self
                .client
                .send(&Address::Freeze { operator }, &order)
                .await;
        }
        let order = ControlUnfreeze {
            schema_version: 1,
            scope,
            reason,
        };
        let address = Address::Unfreeze { operator };
        self.client.send(&address, &order).await
    }

    async fn in_force(&self, output: &Output) -> Option<Vec<FreezeView>> {
        match approvals::ask::freezes(&self.client.bus, &self.operator).await {
            Ok(ViewReply::Frozen { freezes, .. }) => Some(freezes),
            Ok(
                ViewReply::Shown { .. }
                | ViewReply::Listed { .. }
                | ViewReply::Outcome { .. }
                | ViewReply::Windows { .. },
            ) => None,
            Err(error) => {
                output.progress(&format!("what else is frozen cannot be shown: {error}"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_the_command_is_one_scope() {
        for (kind, name, words_of_it) in [
            (Kind::Agent, Some("billing"), "agent billing"),
            (Kind::Tool, Some("mail.send"), "tool mail.send"),
            (
                Kind::Requester,
                Some("dana@acme.example"),
                "requester dana@acme.example",
            ),
            (Kind::All, None, "everything"),
        ] {
            assert_eq!(words(&scope(kind, name).unwrap()), words_of_it);
        }
        for (kind, name) in [
            (Kind::All, Some("billing")),
            (Kind::Agent, None),
            (Kind::Agent, Some("a.b")),
            (Kind::Tool, Some("")),
            (Kind::Requester, Some("two words")),
        ] {
            assert_eq!(
                scope(kind, name).unwrap_err().exit(),
                Exit::Usage,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn help_says_what_it_does_and_how_it_ends() {
        use clap::CommandFactory as _;
        let mut cli = crate::cli::Cli::command();
        let texts: Vec<String> = ["freeze", "unfreeze", "status"]
            .into_iter()
            .map(|name| {
                let command = cli.find_subcommand_mut(name).unwrap();
                command.render_long_help().to_string()
            })
            .collect();
        insta::assert_snapshot!(texts.join("\n----\n"));
    }
}
