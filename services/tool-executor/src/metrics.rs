//! Metrics of the executor: name, unit and description of each.

use countersign_schemas::events::{Outcome, RevokedCode};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Runs, by outcome.
const RUNS: &str = "countersign_runs_total";
/// From the claim to the outcome.
const RUN_SECONDS: &str = "countersign_run_seconds";
/// Calls that run now.
const RUNNING: &str = "countersign_runs_running";
/// Approved intents that were revoked, by code.
const REVOKED: &str = "countersign_revocations_total";
/// Claims that another executor had already.
const CLAIMS_LOST: &str = "countersign_claims_lost_total";
/// Decisions of an earlier bundle that the checker was asked about again, by answer.
const RECHECKS: &str = "countersign_rechecks_total";
/// Outcomes that came after their lease.
const LATE: &str = "countersign_outcomes_late_total";
/// From the claim until it came back through the fence.
const FENCE_SECONDS: &str = "countersign_fence_seconds";
/// Outcomes that wait in the spool.
const SPOOLED: &str = "countersign_outcomes_spooled";

pub(crate) fn describe() {
    describe_counter!(RUNS, Unit::Count, "runs of tools, by outcome");
    describe_histogram!(RUN_SECONDS, Unit::Seconds, "from the claim to the outcome");
    describe_gauge!(RUNNING, Unit::Count, "calls that run now");
    describe_counter!(REVOKED, Unit::Count, "approved intents revoked, by code");
    describe_counter!(CLAIMS_LOST, Unit::Count, "claims that another had already");
    describe_counter!(RECHECKS, Unit::Count, "decisions judged again, by answer");
    describe_counter!(LATE, Unit::Count, "outcomes that came after their lease");
    describe_histogram!(
        FENCE_SECONDS,
        Unit::Seconds,
        "from the claim until it came back through the freeze fence"
    );
    describe_gauge!(SPOOLED, Unit::Count, "outcomes that wait in the spool");
}

pub(crate) fn run_started() {
    gauge!(RUNNING).increment(1.0);
}

pub(crate) fn run_ended(outcome: Outcome, seconds: f64) {
    gauge!(RUNNING).decrement(1.0);
    counter!(RUNS, "outcome" => outcome.as_str()).increment(1);
    histogram!(RUN_SECONDS).record(seconds);
}

pub(crate) fn revoked(code: RevokedCode) {
    counter!(REVOKED, "code" => code.as_str()).increment(1);
}

pub(crate) fn claim_lost() {
    counter!(CLAIMS_LOST).increment(1);
}

pub(crate) fn rechecked(runs: bool) {
    let answer = if runs { "runs" } else { "denied" };
    counter!(RECHECKS, "answer" => answer).increment(1);
}

pub(crate) fn late() {
    counter!(LATE).increment(1);
}

pub(crate) fn spooled() {
    gauge!(SPOOLED).increment(1.0);
}

pub(crate) fn unspooled() {
    gauge!(SPOOLED).decrement(1.0);
}

pub(crate) fn fence_passed(seconds: f64) {
    histogram!(FENCE_SECONDS).record(seconds);
}
