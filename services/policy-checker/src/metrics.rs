//! What the checker counts. Labels are verdicts and codes, never anything of an input.

use std::time::Duration;

use countersign_domain::ledger::Ending;
use countersign_schemas::events::{RefusedCode, Verdict};
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

/// Intents judged, by verdict.
pub const VERDICTS: &str = "countersign_verdicts_total";
/// Messages refused without a verdict, by code.
pub const REFUSED: &str = "countersign_refused_total";
/// Copies of an intent that was judged before.
pub const COPIES: &str = "countersign_copies_total";
/// Readings of the keys of an issuer of mandates, by result.
pub const KEYS_READ: &str = "countersign_mandate_keys_read_total";
/// From reading an intent to its verdict, without storing it.
pub const JUDGE_SECONDS: &str = "countersign_judge_seconds";
/// Writes of ledgers, by result: many `lost` ones say that checkers contend for one ledger.
pub const LEDGER_WRITES: &str = "countersign_ledger_writes_total";
/// Entries of ledgers that a sweep ended, by ending.
pub const LEDGER_ENDS: &str = "countersign_ledger_ends_total";

/// Tells the exporter units and descriptions.
pub(crate) fn describe() {
    describe_counter!(VERDICTS, Unit::Count, "intents judged");
    describe_counter!(REFUSED, Unit::Count, "messages refused without a verdict");
    describe_counter!(LEDGER_WRITES, Unit::Count, "writes of ledgers");
    describe_counter!(
        LEDGER_ENDS,
        Unit::Count,
        "entries of ledgers ended by a sweep"
    );
    describe_counter!(COPIES, Unit::Count, "copies of an intent judged before");
    describe_counter!(KEYS_READ, Unit::Count, "readings of an issuer's keys");
    describe_histogram!(
        JUDGE_SECONDS,
        Unit::Seconds,
        "from reading an intent to its verdict"
    );
}

pub(crate) fn judged(verdict: Verdict, took: Duration) {
    counter!(VERDICTS, "verdict" => verdict.as_str()).increment(1);
    histogram!(JUDGE_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn refused(code: RefusedCode) {
    counter!(REFUSED, "code" => code.as_str()).increment(1);
}

pub(crate) fn keys_read(done: bool) {
    let result = if done { "ok" } else { "failed" };
    counter!(KEYS_READ, "result" => result).increment(1);
}

pub(crate) fn copy() {
    counter!(COPIES).increment(1);
}

pub(crate) fn ledger_write(stored: bool) {
    let result = if stored { "stored" } else { "lost" };
    counter!(LEDGER_WRITES, "result" => result).increment(1);
}

pub(crate) fn ledger_end(ending: Ending) {
    let word = match ending {
        Ending::Kept => "kept",
        Ending::GivenBack => "given_back",
    };
    counter!(LEDGER_ENDS, "ending" => word).increment(1);
}
