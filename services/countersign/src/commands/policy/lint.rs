//! `countersign policy lint`: permits without bounds, times beyond retention, rules that
//! never decide, and asks about what nobody sees.

use std::time::Duration;

use countersign_domain::policy::{LintFinding, LintLevel, LintLimits, lint};
use countersign_runtime::config;
use serde_json::json;

use super::bundle;
use crate::client::Place;
use crate::exit::{CliError, Exit};
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
}

/// Ends with 20 where something is refused, with 0 where things are only pointed out.
pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, CliError> {
    let bundle = bundle(&args.place)?;
    let findings = lint(&bundle, &limits(&args.place)?);
    let refused = findings
        .iter()
        .filter(|one| one.level == LintLevel::Refused)
        .count();
    let answer = json!({
        "policy_digest": bundle.digest(),
        "refused": refused,
        "findings": findings,
    });
    output.answer(&answer, || text(&findings, refused))?;
    Ok(match refused {
        0 => Exit::Done,
        _ => Exit::Denied,
    })
}

/// The retention of the deployment that the bundle lies in, or the usual one.
fn limits(place: &Place) -> Result<LintLimits, CliError> {
    match place.dir.join(config::FILE_NAME).try_exists() {
        Ok(true) => Ok(LintLimits {
            raw_retention: Duration::from_secs(place.config()?.deployment.raw_retention_s),
        }),
        Ok(false) | Err(_) => Ok(LintLimits::default()),
    }
}

fn text(findings: &[LintFinding], refused: usize) -> String {
    let lines = findings.iter().map(|one| format!("{one}\n"));
    let pointed_out = findings.len().saturating_sub(refused);
    let end = format!("{refused} refused, {pointed_out} pointed out");
    lines.chain([end]).collect()
}
