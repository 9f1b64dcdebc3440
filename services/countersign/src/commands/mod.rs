//! One module for each command.

pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod freeze;
pub(crate) mod identity;
pub(crate) mod init;
pub(crate) mod policy;
pub(crate) mod reconcile;
pub(crate) mod redact;
pub(crate) mod request;
pub(crate) mod setup;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod window;
pub(crate) mod withdraw;

use crate::cli::Command;
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Does what was asked.
pub(crate) async fn run(command: Command, output: &Output) -> Result<Exit, CliError> {
    match command {
        Command::Demo(args) => demo::run(args, output).await,
        Command::Up(args) => up::run(args, output).await,
        Command::Init(args) => init::run(args, output),
        Command::Identity(args) => identity::run(args, output).await,
        Command::Setup(args) => setup::run(args, output).await,
        Command::Request(args) => request::run(args, output).await,
        Command::Withdraw(args) => withdraw::run(args, output).await,
        Command::Approvals(args) => approvals::run(args, output).await,
        Command::Freeze(args) => freeze::run(args, true, output).await,
        Command::Unfreeze(args) => freeze::run(args, false, output).await,
        Command::Status(args) => status::run(args, output).await,
        Command::Reconcile(args) => reconcile::run(args, output).await,
        Command::Window(args) => window::run(args, output).await,
        Command::Audit(args) => audit::run(args, output).await,
        Command::Redact(args) => redact::run(&args, output),
        Command::Doctor(args) => doctor::run(args, output).await,
        Command::Policy(args) => policy::run(args, output).await,
        Command::Completions(args) => completions::run(args, output),
    }
}
