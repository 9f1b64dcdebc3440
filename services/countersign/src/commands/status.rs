//! `countersign status`: what is frozen, which services answer, how full and how far behind.

mod ask;
mod report;

use countersign_domain::approvals::ViewReply;
use countersign_runtime::config::Config;
use countersign_schemas::PersonId;

use self::report::{Frozen, Report};
use super::approvals::{self, Who};
use crate::client::Client;
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Show what is frozen and, to operators, how every service is
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Operators are shown which services answer, since when, and why one is not \
                  ready; how full each stream is, and how many messages the archive is behind; \
                  others see what is frozen and what waits for people.\n\n\
                  Exit codes: 0 all that is needed answers and is ready, whatever is frozen; 69 \
                  NATS is out of reach, or a service does not answer, is not ready or takes \
                  nothing more in: the table says which."
)]
pub(crate) struct Args {
    #[command(flatten)]
    who: Who,
}

/// Shows it.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let config = args.who.place.config()?;
    let (role, name) = approvals::credential(&config, args.who.person)?;
    let operates = role == "operator" || is_operator(&config, &name);
    let role = if operates { "operator" } else { role };
    let client = Client::connect(&config, role, name.as_str()).await?;
    let report = look(&client, &name, operates).await;
    client.bus.close().await;
    let report = report?;
    output.answer(&report, || report.to_text(output))?;
    Ok(report.exit())
}

/// Whether this person, who may be an approver too, has an operator's credential here.
fn is_operator(config: &Config, name: &PersonId) -> bool {
    let file = format!("operator-{name}.creds");
    config.nats.creds_dir.join(file).is_file()
}

async fn look(client: &Client, name: &PersonId, operates: bool) -> Result<Report, CliError> {
    let health = async {
        match operates {
            true => ask::health(&client.bus, name).await.map(Some),
            false => Ok(None),
        }
    };
    let (frozen, waiting, health) = tokio::join!(
        approvals::ask::freezes(&client.bus, name),
        approvals::ask::count(&client.bus, name),
        health,
    );
    let frozen = match frozen {
        Ok(ViewReply::Frozen {
            freezes,
            freezes_more,
        }) => Ok(Frozen {
            freezes,
            freezes_more,
        }),
        Ok(
            ViewReply::Shown { .. }
            | ViewReply::Listed { .. }
            | ViewReply::Outcome { .. }
            | ViewReply::Windows { .. },
        ) => Err(CliError::unexpected(
            "the coordinator answered something else than was asked",
        )),
        Err(error) => Err(error),
    };
    match (frozen, health?) {
        // The services tell more than that one of them is silent.
        (Err(CliError::Unreachable(why)), Some(told)) => {
            Ok(Report::new(Err(why), None, Some(told)))
        }
        (Err(error), _) => Err(error),
        (Ok(frozen), told) => Ok(Report::new(Ok(frozen), waiting.ok(), told)),
    }
}
