//! The tool executor as a process of its own.

use std::process::ExitCode;

use countersign_runtime::service;
use countersign_tool_executor::{NAME, Settings, run};

fn main() -> ExitCode {
    service::main(NAME, async |context, config| {
        run(context, Settings::load(&config)?).await
    })
}
