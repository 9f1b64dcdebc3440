//! The approval coordinator as its own binary.

use std::process::ExitCode;

use countersign_approval_coordinator::{NAME, Settings, run};

fn main() -> ExitCode {
    countersign_runtime::service::main(NAME, |context, config| {
        run(context, Settings::from(&config))
    })
}
