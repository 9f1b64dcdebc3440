//! What is counted of the bundle in force.

use metrics::{Unit, counter, describe_counter};

/// Published bundles that were met, by result: `done` or `refused`.
pub const SWAPS: &str = "countersign_policy_swaps_total";
/// Times that it could not be asked which bundle is in force.
pub const LOOKS_FAILED: &str = "countersign_policy_looks_failed_total";

pub(super) fn describe() {
    describe_counter!(SWAPS, Unit::Count, "published policy bundles met");
    describe_counter!(
        LOOKS_FAILED,
        Unit::Count,
        "times that the bundle in force could not be asked for"
    );
}

pub(super) fn swapped(result: &'static str) {
    counter!(SWAPS, "result" => result).increment(1);
}

pub(super) fn look_failed() {
    counter!(LOOKS_FAILED).increment(1);
}
