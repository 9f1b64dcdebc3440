//! The coordinator against a real nats-server with the accounts and permissions of a
//! deployment: each test has a server of its own.

#[path = "it/ahead.rs"]
mod ahead;
#[path = "it/approvals.rs"]
mod approvals;
#[path = "it/bundle_deaths.rs"]
mod bundle_deaths;
#[path = "it/bundle_names.rs"]
mod bundle_names;
#[path = "it/bundles.rs"]
mod bundles;
#[path = "it/ends.rs"]
mod ends;
#[path = "it/foreign.rs"]
mod foreign;
#[path = "it/forms.rs"]
mod forms;
#[path = "it/found.rs"]
mod found;
#[path = "it/freeze.rs"]
mod freeze;
#[path = "it/members.rs"]
mod members;
#[path = "it/orders.rs"]
mod orders;
#[path = "it/refusals.rs"]
mod refusals;
#[path = "it/rejudge.rs"]
mod rejudge;
#[path = "it/rejudge_bundles.rs"]
mod rejudge_bundles;
#[path = "it/repeats.rs"]
mod repeats;
#[path = "it/silence.rs"]
mod silence;
#[path = "it/thaw.rs"]
mod thaw;
#[path = "it/theirs.rs"]
mod theirs;
#[path = "it/windows.rs"]
mod windows;
#[path = "it/world/mod.rs"]
mod world;

use std::process::Command;

use anyhow::{Result, ensure};
use countersign_schemas::events::{ApprovalVote, VoteChoice};
use countersign_schemas::{ApprovalId, Digest};

/// A deadline by the clock of the server, in seconds, that comes while a test waits and not
/// before it has done what must come first, though the machine stalls meanwhile.
const SOON: u64 = 10;

fn vote(id: &ApprovalId, digest: Digest, choice: VoteChoice) -> ApprovalVote {
    ApprovalVote {
        schema_version: 1,
        approval_id: id.clone(),
        digest,
        vote: choice,
        items: None,
        window: None,
        reason: Some("looks right".to_owned()),
    }
}

#[test]
fn the_binary_answers() -> Result<()> {
    let binary = env!("CARGO_BIN_EXE_countersign-approval-coordinator");
    let missing = Command::new(binary)
        .args(["--config", "/nonexistent/countersign.toml"])
        .output()?;
    ensure!(missing.status.code() == Some(64), "{missing:?}");
    ensure!(String::from_utf8_lossy(&missing.stderr).contains("/nonexistent"));
    Ok(())
}
