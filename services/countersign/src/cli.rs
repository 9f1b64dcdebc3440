//! The commands and their flags.

use clap::{Parser, Subcommand};

use crate::commands::{
    approvals, audit, completions, demo, doctor, freeze, identity, init, policy, reconcile, redact,
    request, setup, status, up, window, withdraw,
};

/// Decides what AI agents may do, asks people, and keeps the proof.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version,
    about,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, allowed or succeeded; 1 unexpected; 2 usage; \
                  20 denied, blocked or refused; 21 needs a person or still pending; 22 expired; \
                  23 the tool failed; 24 outcome unknown; 64 bad configuration; \
                  69 NATS or archive out of reach."
)]
pub(crate) struct Cli {
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch agents, policy, a person, tools and the archive at work on this machine
    Demo(demo::Args),
    /// Run the server and every service of one deployment on this machine
    Up(up::Args),
    /// Make a deployment in an empty directory: settings, keys, accounts, sample policy
    Init(init::Args),
    /// Add, remove or rotate the keys of agents, people, workers and services
    Identity(identity::Args),
    /// Make or update the streams, buckets and consumers of a deployment
    Setup(setup::Args),
    /// Act as an agent: ask for one tool call and wait for its end
    Request(request::Args),
    /// Act as an agent: take an intent back
    Withdraw(withdraw::Args),
    /// See and decide what waits for people
    Approvals(approvals::Args),
    /// Stop one agent, one tool, everything for one requester, or all
    Freeze(freeze::Args),
    /// Release what was frozen; nothing that was stopped comes back
    #[command(after_help = freeze::HOW_RELEASED)]
    Unfreeze(freeze::Args),
    /// Show what is frozen and, to operators, how every service is
    Status(status::Args),
    /// Say what was found out about an outcome that nobody knew
    Reconcile(reconcile::Args),
    /// Open, see and close time windows
    Window(window::Args),
    /// Try, test and publish policy bundles
    Policy(policy::Args),
    /// Ask the audit archive, and verify it
    Audit(audit::Args),
    /// Find and replace secrets and personal data in lines of JSON or text
    Redact(redact::Args),
    /// Check a deployment and say what to do where something is wrong
    Doctor(doctor::Args),
    /// Print completions for a shell
    Completions(completions::Args),
}

/// The long help of a command, on a terminal of 100 columns.
#[cfg(test)]
pub(crate) fn help(path: &[&str]) -> String {
    use clap::CommandFactory as _;
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut found = &mut command;
    for name in path {
        found = found.find_subcommand_mut(name).unwrap();
    }
    found.render_long_help().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use countersign_runtime::config::NOT_SETTINGS;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    /// Every variable of a command and of those below it.
    fn variables(command: &clap::Command) -> Vec<String> {
        let own = command.get_arguments().filter_map(clap::Arg::get_env);
        let own = own.map(|name| name.to_string_lossy().into_owned());
        own.chain(command.get_subcommands().flat_map(variables))
            .collect()
    }

    #[test]
    fn no_variable_of_a_flag_is_taken_for_a_setting() {
        let found = variables(&Cli::command());
        assert!(found.iter().any(|name| name == "COUNTERSIGN_DIR"));
        for name in found {
            assert!(NOT_SETTINGS.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn the_directory_may_stand_before_and_after_what_to_do() {
        for line in [
            "countersign identity --dir d list",
            "countersign identity list --dir d",
            "countersign identity add agent hr --dir d --set nats.url=nats://a:1",
            "countersign doctor --dir d",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_request_needs_a_call_or_an_intent_to_look_up() {
        let call = "countersign request --agent a --tool t --input {} --requester lee --json";
        assert!(parse(call).unwrap().json);
        let status = "01936b6a-7c00-7123-8abc-0123456789ab";
        assert!(parse(&format!("countersign request --agent a --status {status}")).is_ok());
        for bad in [
            "countersign request --agent a",
            "countersign request --agent a --tool t --input {}",
            "countersign request --tool t --input {} --requester lee",
            "countersign request --agent a.b --tool t --input {} --requester lee",
            "countersign request --agent a --status not-an-intent",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
