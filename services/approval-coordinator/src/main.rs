//! The approval coordinator as its own binary.

use std::process::ExitCode;

use countersign_approval_coordinator::{NAME, Settings, run};

// Small buffers made in one thread and freed in another are most of what this process
// allocates: docs/adr/0005 has the figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    countersign_runtime::service::main(NAME, |context, config| {
        run(context, Settings::from(&config))
    })
}
