//! `countersign policy test`: runs the tests of a bundle.

use countersign_domain::policy::{Bundle, CaseResult};
use serde_json::{Value, json};

use super::bundle;
use crate::client::Place;
use crate::exit::{CliError, Exit};
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    place: Place,
}

/// Runs every test and shows every failure.
pub(super) fn run(args: &TestArgs, output: &Output) -> Result<Exit, CliError> {
    let bundle = bundle(&args.place)?;
    let results = bundle.run_tests().map_err(CliError::unexpected)?;
    output.answer(&answer(&bundle, &results), || text(&results, output))?;
    Ok(match failed(&results) {
        0 => Exit::Done,
        _ => Exit::Denied,
    })
}

fn failed(results: &[CaseResult]) -> usize {
    results.iter().filter(|result| !result.passed()).count()
}

fn answer(bundle: &Bundle, results: &[CaseResult]) -> Value {
    let one = |result: &CaseResult| {
        json!({
            "file": result.file,
            "line": result.line,
            "name": result.name,
            "verdict": result.verdict,
            "passed": result.passed(),
            "faults": result.faults,
        })
    };
    json!({
        "tests": results.len(),
        "failed": failed(results),
        "results": results.iter().map(one).collect::<Vec<_>>(),
        "policy_digest": bundle.digest(),
    })
}

fn text(results: &[CaseResult], output: &Output) -> String {
    if results.is_empty() {
        return "the bundle has no tests; write some in tests/*.toml".to_owned();
    }
    let row = |result: &CaseResult| {
        let end = match result.passed() {
            true => "passed".to_owned(),
            false => format!("FAILED: {}", result.faults.join("; ")),
        };
        let place = format!("{}:{}", result.file, result.line);
        vec![place, result.name.clone(), result.verdict.to_string(), end]
    };
    let rows: Vec<Vec<String>> = results.iter().map(row).collect();
    let table = output.table(&["PLACE", "TEST", "VERDICT", "RESULT"], &rows);
    let (all, bad) = (results.len(), failed(results));
    format!("{}\n{all} tests, {bad} failed", table.trim_end())
}
