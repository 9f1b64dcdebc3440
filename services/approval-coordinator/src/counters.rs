//! Metric names of the coordinator. Labels are closed sets; no identity is one.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// Decisions stored, by kind and code.
const DECISIONS: &str = "countersign_decisions_total";
/// Votes answered, by code.
const VOTES: &str = "countersign_votes_total";
/// Approvals that reached their end, by state.
const RESOLVED: &str = "countersign_approvals_resolved_total";
/// Reminders and further teams asked, by kind.
const NOTICES: &str = "countersign_approval_notices_total";
/// Approvals that wait for people.
const PENDING: &str = "countersign_approvals_pending";
/// Approved intents that have no end yet.
const OPEN: &str = "countersign_intents_open";
/// Ends that only the sweep stored, by kind.
const SWEPT: &str = "countersign_swept_total";
/// Freezes in force.
const FROZEN: &str = "countersign_freezes_in_force";
/// Messages of people that were refused, by code.
const REFUSED: &str = "countersign_control_refused_total";

/// What happened to time windows and their uses, by what.
const WINDOWS: &str = "countersign_windows_total";

/// Tells the exporter units and descriptions.
pub(crate) fn describe() {
    describe_counter!(DECISIONS, Unit::Count, "decisions stored");
    describe_counter!(VOTES, Unit::Count, "votes answered");
    describe_counter!(RESOLVED, Unit::Count, "approvals that reached their end");
    describe_counter!(NOTICES, Unit::Count, "reminders and further teams asked");
    describe_gauge!(PENDING, Unit::Count, "approvals that wait for people");
    describe_gauge!(OPEN, Unit::Count, "approved intents without an end");
    describe_counter!(SWEPT, Unit::Count, "ends that only the sweep stored");
    describe_gauge!(FROZEN, Unit::Count, "freezes in force");
    describe_counter!(
        WINDOWS,
        Unit::Count,
        "what happened to windows and their uses"
    );
    describe_counter!(REFUSED, Unit::Count, "messages of people that were refused");
}

pub(crate) fn decided(kind: &'static str, code: &'static str) {
    counter!(DECISIONS, "kind" => kind, "code" => code).increment(1);
}

pub(crate) fn voted(code: &'static str) {
    counter!(VOTES, "code" => code).increment(1);
}

pub(crate) fn resolved(state: &'static str) {
    counter!(RESOLVED, "state" => state).increment(1);
}

pub(crate) fn noticed(kind: &'static str) {
    counter!(NOTICES, "kind" => kind).increment(1);
}

pub(crate) fn swept(kind: &'static str) {
    counter!(SWEPT, "kind" => kind).increment(1);
}

pub(crate) fn window(what: &'static str) {
    counter!(WINDOWS, "what" => what).increment(1);
}

pub(crate) fn refused(code: &'static str) {
    counter!(REFUSED, "code" => code).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of a bounded count")]
pub(crate) fn pending(count: usize) {
    gauge!(PENDING).set(count as f64);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of a bounded count")]
pub(crate) fn open(count: usize) {
    gauge!(OPEN).set(count as f64);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of a bounded count")]
pub(crate) fn frozen(count: usize) {
    gauge!(FROZEN).set(count as f64);
}
