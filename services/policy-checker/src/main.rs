//! The policy checker as its own process.

use std::process::ExitCode;

use countersign_policy_checker::{NAME, Settings, run};

// Small buffers made in one thread and freed in another are most of what this process
// allocates: docs/adr/0005 has the figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    countersign_runtime::service::main(NAME, |context, config| {
        let settings = Settings::from(&config);
        run(context, settings)
    })
}
