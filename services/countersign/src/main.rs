//! Countersign on the command line.

mod cli;
mod client;
mod commands;
mod demo;
mod exit;
mod mistakes;
mod output;
mod sample;
mod stack;

use std::process::ExitCode;

use clap::Parser as _;

use cli::Cli;
use exit::{CliError, Exit};
use output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => return explain(&asked),
    };
    let output = Output::new(cli.json);
    let exit = live(cli, &output).unwrap_or_else(|error| {
        output.progress(&mistakes::covered(&format!("countersign: {error}")));
        error.exit()
    });
    ExitCode::from(exit.code())
}

fn live(cli: Cli, output: &Output) -> Result<Exit, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::unexpected)?
        .block_on(commands::run(cli.command, output))
}

/// Help and version are answers; everything else is a wrong call.
fn explain(asked: &clap::Error) -> ExitCode {
    if asked.use_stderr() {
        let said = mistakes::covered(&asked.render().to_string());
        Output::new(false).progress(said.trim_end());
        return ExitCode::from(Exit::Usage.code());
    }
    match asked.print() {
        Ok(()) => ExitCode::from(Exit::Done.code()),
        Err(_) => ExitCode::from(Exit::Usage.code()),
    }
}
