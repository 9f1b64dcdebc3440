//! `countersign approvals`: what waits for people, and their votes.

pub(super) mod ask;
pub(super) mod decide;
mod fields;
mod show;
pub(super) mod tables;
mod vote;
mod watch;
mod who;

use countersign_domain::approvals::{Listed, Shown};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::events::VoteChoice;
use countersign_schemas::{AgentId, ApprovalId, IntentId, PersonId, TeamId};
use serde_json::json;

use crate::client::Client;
use crate::exit::{CliError, Exit};
use crate::output::Output;

pub(super) use self::who::{Who, credential};

/// See and decide what waits for people
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List what waits, what ends first on top
    List(ListArgs),
    /// Show approvals with everything you may see; of several a table first
    Show(ShowArgs),
    /// Vote yes on exactly what is shown
    Approve(ApproveArgs),
    /// Vote no
    Deny(VoteArgs),
    /// Follow what waits and what becomes of it, until interrupted
    Watch(ListArgs),
}

/// Which approvals.
#[derive(Debug, Clone, Default, clap::Args)]
struct Filter {
    /// Only those on which you may vote
    #[arg(long)]
    mine: bool,
    /// Only those that ask this team by now
    #[arg(long, value_name = "TEAM")]
    team: Option<TeamId>,
    /// Only those of this agent
    #[arg(long, value_name = "ID")]
    agent: Option<AgentId>,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Which approvals; `-` reads them from standard input
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "All of each approval is printed before anything is sent: on a terminal before \
                  the question, with --yes on standard error.\n\n\
                  To let more of the same run for a while, say yes with `countersign window open \
                  --with ID` instead.\n\nExit codes: 0 it is decided so, or \
                  was by you before; 2 nothing was sent, for want of a yes; 20 refused, or decided otherwise; 21 no answer yet; \
                  22 expired; 69 out of reach. The worst of several counts."
)]
struct VoteArgs {
    /// Which approvals; `-` reads them from standard input
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Why, in your own words; others read it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask again
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, clap::Args)]
struct ApproveArgs {
    #[command(flatten)]
    vote: VoteArgs,
    /// Strike this item out of a bundle; may be repeated
    #[arg(long, value_name = "INTENT")]
    without: Vec<IntentId>,
}

/// A person's connection.
pub(super) struct Person {
    pub(super) name: PersonId,
    pub(super) client: Client,
}

/// Does what was asked as one person.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let who = match &args.action {
        Action::List(list) | Action::Watch(list) => &list.who,
        Action::Show(show) => &show.who,
        Action::Approve(approve) => &approve.vote.who,
        Action::Deny(vote) => &vote.who,
    };
    let person = Person::connect(who).await?;
    let ended = match args.action {
        Action::List(list) => person.list(list.filter, output).await,
        Action::Show(show) => decide::show(&person, &show.ids, output).await,
        Action::Approve(ApproveArgs { vote, without }) => {
            decide::run(&person, vote, VoteChoice::Approve, without, output).await
        }
        Action::Deny(vote) => {
            decide::run(&person, vote, VoteChoice::Deny, Vec::new(), output).await
        }
        Action::Watch(list) => watch::run(&person, list.filter, output).await,
    };
    person.client.bus.close().await;
    ended
}

impl Person {
    pub(super) async fn connect(who: &Who) -> Result<Self, CliError> {
        let config = who.place.config()?;
        let (role, name) = credential(&config, who.person.clone())?;
        let client = Client::connect(&config, role, name.as_str()).await?;
        Ok(Self { name, client })
    }

    /// What waits of one agent, as far as it fits into one answer.
    pub(super) async fn waiting_of(&self, agent: &AgentId) -> Result<Vec<Listed>, CliError> {
        let filter = Filter {
            agent: Some(agent.clone()),
            ..Filter::default()
        };
        Ok(self.waiting(filter).await?.0)
    }

    async fn waiting(&self, filter: Filter) -> Result<(Vec<Listed>, usize), CliError> {
        ask::list(&self.client.bus, &self.name, filter).await
    }

    pub(super) async fn look(&self, id: ApprovalId) -> Result<Shown, CliError> {
        ask::show(&self.client.bus, &self.name, id).await
    }

    async fn list(&self, filter: Filter, output: &Output) -> Result<Exit, CliError> {
        let (approvals, more) = self.waiting(filter).await?;
        let now = SystemClock.now();
        let text = || tables::list(&approvals, more, &self.name, now, output);
        output.answer(&json!({ "approvals": approvals, "more": more }), text)?;
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::help;

    #[test]
    fn the_help_of_each_way_to_decide() {
        let ways: [&[&str]; 6] = [
            &[],
            &["list"],
            &["show"],
            &["approve"],
            &["deny"],
            &["watch"],
        ];
        let all: String = ways
            .iter()
            .map(|way| help(&[&["approvals"][..], way].concat()) + "\n\n")
            .collect();
        insta::assert_snapshot!(all);
    }
}
