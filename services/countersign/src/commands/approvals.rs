//! `countersign approvals`: what waits for people, and their votes.

mod ask;
mod show;
mod vote;

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};

use countersign_domain::approvals::{Shown, ViewReply};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::config::Config;
use countersign_schemas::events::VoteChoice;
use countersign_schemas::{ApprovalId, PersonId};
use serde_json::json;

use self::vote::Cast;
use crate::client::{Client, Place};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// The roles that may look at approvals, the one that may vote first.
const ROLES: [&str; 2] = ["approver", "operator"];

/// See and decide what waits for people
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List what waits, oldest first
    List(ListArgs),
    /// Show one approval with everything you may see
    Show(ShowArgs),
    /// Vote yes
    Approve(VoteArgs),
    /// Vote no
    Deny(VoteArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct Who {
    /// Act as this person; may be left out where only one credential of a person is there
    #[arg(long = "as", value_name = "PERSON", env = "COUNTERSIGN_AS")]
    pub(super) person: Option<PersonId>,
    #[command(flatten)]
    pub(super) place: Place,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only those on which you may vote
    #[arg(long)]
    mine: bool,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Which approval
    id: ApprovalId,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, clap::Args)]
struct VoteArgs {
    /// Which approvals
    #[arg(required = true, value_name = "ID")]
    ids: Vec<ApprovalId>,
    /// Why, in your own words
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask again
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    who: Who,
}

/// A person's connection.
struct Person {
    name: PersonId,
    client: Client,
}

/// Does what was asked as one person.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let who = match &args.action {
        Action::List(list) => &list.who,
        Action::Show(show) => &show.who,
        Action::Approve(vote) | Action::Deny(vote) => &vote.who,
    };
    let person = Person::connect(who).await?;
    let ended = match args.action {
        Action::List(list) => person.list(list.mine, output).await,
        Action::Show(show) => person.show(show.id, output).await,
        Action::Approve(vote) => person.vote(vote, VoteChoice::Approve, output).await,
        Action::Deny(vote) => person.vote(vote, VoteChoice::Deny, output).await,
    };
    person.client.bus.close().await;
    ended
}

impl Person {
    async fn connect(who: &Who) -> Result<Self, CliError> {
        let config = who.place.config()?;
        let (role, name) = credential(&config, who.person.clone())?;
        let client = Client::connect(&config, role, name.as_str()).await?;
        Ok(Self { name, client })
    }

    async fn list(&self, mine: bool, output: &Output) -> Result<Exit, CliError> {
        let reply = ask::list(&self.client.bus, &self.name, mine).await?;
        output.answer(&reply, || match &reply {
            ViewReply::Listed { approvals, more } => {
                show::list(approvals, *more, SystemClock.now(), output)
            }
            ViewReply::Shown { approval } => show::one(approval, SystemClock.now()),
        })?;
        Ok(Exit::Done)
    }

    async fn show(&self, id: ApprovalId, output: &Output) -> Result<Exit, CliError> {
        let shown = ask::show(&self.client.bus, &self.name, id).await?;
        output.answer(&shown, || show::one(&shown, SystemClock.now()))?;
        Ok(Exit::Done)
    }

    async fn vote(
        &self,
        args: VoteArgs,
        choice: VoteChoice,
        output: &Output,
    ) -> Result<Exit, CliError> {
        let mut shown = Vec::new();
        for id in args.ids.into_iter().collect::<BTreeSet<_>>() {
            shown.push(ask::show(&self.client.bus, &self.name, id).await?);
        }
        if !args.yes && !confirmed(&shown, choice, output)? {
            output.progress("nothing was sent");
            return Ok(Exit::Usage);
        }
        let mut cast = Vec::new();
        for shown in &shown {
            let done = vote::cast(self, shown, choice, args.reason.clone()).await;
            // Those before it are stored: they are told whatever becomes of the next.
            cast.push(done.unwrap_or_else(|error| Cast::failed(shown, choice, &error)));
        }
        output.answer(&json!({ "results": cast }), || show::results(&cast, output))?;
        Ok(vote::worst(&cast))
    }
}

/// Shows everything that is about to be decided and asks once.
fn confirmed(shown: &[Shown], choice: VoteChoice, output: &Output) -> Result<bool, CliError> {
    if !output.is_interactive() {
        return Err(CliError::usage(
            "nothing was sent: look with `approvals show`, then add --yes",
        ));
    }
    for approval in shown {
        output.line(&show::one(approval, SystemClock.now()))?;
    }
    let mut out = std::io::stdout().lock();
    write!(out, "{choice} {} approval(s)? [y/N] ", shown.len())?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The credential to use: the one that is named, or the only one of a person that is there.
pub(super) fn credential(
    config: &Config,
    named: Option<PersonId>,
) -> Result<(&'static str, PersonId), CliError> {
    let dir = &config.nats.creds_dir;
    let there = people(dir)?;
    let mut fitting = there
        .iter()
        .filter(|(_, name)| named.as_ref().is_none_or(|named| name == named));
    match (fitting.next(), fitting.next()) {
        (Some((role, name)), None) => Ok((role, name.clone())),
        // One person with both roles: an approver can do everything that is done here.
        (Some((role, name)), Some((_, other))) if name == other && fitting.next().is_none() => {
            Ok((role, name.clone()))
        }
        (Some(_), Some(_)) => {
            let names: BTreeSet<&str> = there.iter().map(|(_, name)| name.as_str()).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            Err(CliError::Usage(format!(
                "say who you are with --as: {names}"
            )))
        }
        (None, _) => {
            let whom = named.map_or_else(|| "a person".to_owned(), |name| format!("`{name}`"));
            Err(CliError::Configured(format!(
                "there is no credential of {whom} in `{}`: add one with \
                 `countersign identity add approver NAME`",
                dir.display()
            )))
        }
    }
}

/// Role and name of every person's credential, approvers first.
fn people(dir: &std::path::Path) -> Result<Vec<(&'static str, PersonId)>, CliError> {
    let unreadable =
        |error| CliError::Configured(format!("cannot read `{}`: {error}", dir.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let name = name.to_string_lossy();
        for (rank, role) in ROLES.into_iter().enumerate() {
            let person = name
                .strip_prefix(role)
                .and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".creds"))
                .and_then(|person| person.parse::<PersonId>().ok());
            found.extend(person.map(|person| (rank, role, person)));
        }
    }
    found.sort();
    Ok(found
        .into_iter()
        .map(|(_, role, person)| (role, person))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_creds(files: &[&str]) -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(dir.path().join(file), "SU").unwrap();
        }
        let mut config = Config::default();
        config.nats.creds_dir = dir.path().to_owned();
        (dir, config)
    }

    fn person(name: &str) -> PersonId {
        name.parse().unwrap()
    }

    #[test]
    fn the_only_person_need_not_be_named() {
        let (_dir, config) = with_creds(&["approver-lee.creds", "agent-crm.creds", "notes.txt"]);
        assert_eq!(
            credential(&config, None).unwrap(),
            ("approver", person("lee"))
        );
    }

    #[test]
    fn among_several_people_one_must_be_named() {
        let (_dir, config) = with_creds(&["approver-lee.creds", "operator-olga.creds"]);
        let error = credential(&config, None).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.to_string().contains("lee, olga"), "{error}");
        let olga = credential(&config, Some(person("olga"))).unwrap();
        assert_eq!(olga, ("operator", person("olga")));
        let error = credential(&config, Some(person("sam"))).unwrap_err();
        assert_eq!(error.exit(), Exit::Configuration);
    }

    #[test]
    fn who_has_both_roles_votes_as_approver() {
        let (_dir, config) = with_creds(&["operator-lee.creds", "approver-lee.creds"]);
        assert_eq!(
            credential(&config, None).unwrap(),
            ("approver", person("lee"))
        );
    }

    #[test]
    fn without_a_terminal_a_vote_needs_yes() {
        let error = confirmed(&[], VoteChoice::Approve, &Output::new(true)).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.to_string().contains("--yes"));
    }
}
