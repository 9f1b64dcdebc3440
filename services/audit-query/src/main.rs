//! The service as its own binary.

use std::process::ExitCode;

use countersign_audit_query::{NAME, Settings, run};

fn main() -> ExitCode {
    countersign_runtime::service::main(NAME, |context, config| async move {
        run(context, Settings::from_config(&config)?).await
    })
}
