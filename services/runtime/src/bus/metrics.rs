//! Metric names of the bus. Each is registered with its unit and description.

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Inputs carried to their end, by durable and result.
pub const INPUTS: &str = "countersign_inputs_total";
/// From delivery to the end of handling, in seconds.
pub const INPUT_SECONDS: &str = "countersign_input_seconds";
/// Inputs being handled now.
pub const IN_FLIGHT: &str = "countersign_inputs_in_flight";
/// Compare-and-set publishes that lost.
pub const CONFLICTS: &str = "countersign_conflicts_total";
/// Operations that the server refused to a credential.
pub const REFUSALS: &str = "countersign_permission_refusals_total";
/// Alarms: something that must not happen happened; see the log for what.
pub const ALARMS: &str = "countersign_alarms_total";

/// Tells the exporter units and descriptions.
pub fn describe() {
    describe_counter!(INPUTS, Unit::Count, "inputs carried to their end");
    describe_histogram!(
        INPUT_SECONDS,
        Unit::Seconds,
        "from delivery to the end of handling"
    );
    describe_gauge!(IN_FLIGHT, Unit::Count, "inputs being handled now");
    describe_counter!(
        CONFLICTS,
        Unit::Count,
        "compare-and-set publishes that lost"
    );
    describe_counter!(REFUSALS, Unit::Count, "operations refused to a credential");
    describe_counter!(ALARMS, Unit::Count, "events that must not happen");
}

pub(crate) fn permission_refused() {
    counter!(REFUSALS).increment(1);
}

pub(crate) fn conflict() {
    counter!(CONFLICTS).increment(1);
}

pub(crate) fn input_done(durable: &'static str, result: &'static str, seconds: f64) {
    counter!(INPUTS, "durable" => durable, "result" => result).increment(1);
    histogram!(INPUT_SECONDS, "durable" => durable).record(seconds);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of a bounded count")]
pub(crate) fn in_flight(durable: &'static str, count: usize) {
    gauge!(IN_FLIGHT, "durable" => durable).set(count as f64);
}

/// Logs and counts something that must not happen.
pub fn alarm(kind: &'static str, what: &str) {
    tracing::error!(alarm = kind, %what, "alarm");
    counter!(ALARMS, "kind" => kind).increment(1);
}
