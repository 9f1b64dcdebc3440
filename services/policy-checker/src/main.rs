//! The policy checker as its own process.

use std::process::ExitCode;

use countersign_policy_checker::{NAME, Settings, run};

fn main() -> ExitCode {
    countersign_runtime::service::main(NAME, |context, config| {
        let settings = Settings::from(&config);
        run(context, settings)
    })
}
