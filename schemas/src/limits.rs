//! The sizes a stranger could otherwise choose, each with its reason.

/// Largest body that is judged, in bytes: one screen of JSON is under 4 KiB, the largest
/// honest tool call we have seen under 100 KiB, and every service holds many in flight.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Largest body that a stream stores, in bytes; between the two a message is answered
/// `too_large` and archived as metadata, beyond it the server refuses it.
pub const STORED_BYTES_MAX: usize = 1024 * 1024;
/// Room for headers on top of [`STORED_BYTES_MAX`] in a stream's maximum message size.
pub const HEADER_ROOM_BYTES: usize = 64 * 1024;
/// Largest body of what people say, in bytes: a reason of 2,000 characters as JSON escapes
/// is 24 KiB, the 50 tools and 50 fields of a window 26 KiB.
pub const CONTROL_BYTES_MAX: usize = 60 * 1024;
/// Largest body of an order to freeze or release, in bytes: a reason of 2,000 characters is
/// 6 KB where each takes three bytes, and a scope under 1 KB.
pub const ORDER_BYTES_MAX: usize = 7 * 1024;
/// Room for the headers of what people say: ours take half of it.
pub const SAID_HEADER_BYTES_MAX: usize = 1024;
/// Sequence of the first order. What people said else would have to be 10,000 messages each
/// second for three years to reach it, and JSON holds it exactly.
pub const ORDERS_FIRST_SEQ: u64 = 1_000_000_000_001;
/// `max_payload` of the server: larger than what a stream stores, so that the refusal
/// comes from the stream as an answer and not as a closed connection.
pub const SERVER_PAYLOAD_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Nesting of arrays and objects: every walk over an input recurses at most this deep.
pub const JSON_DEPTH_MAX: usize = 64;
/// Characters of a purpose: a person reads it in full before approving.
pub const PURPOSE_CHARS_MAX: usize = 2_000;
/// Items in a bundle: one person reads them in one table.
pub const BUNDLE_ITEMS_MAX: u32 = 100;
/// Seconds a window may last: a day, so that standing authority is a policy, not a window.
pub const WINDOW_SECONDS_MAX: u64 = 24 * 60 * 60;
/// Uses of one window: all of them lie in one value, which each use writes.
pub const WINDOW_USES_MAX: u32 = 1_000;
/// Tools of one window, and fields: what a person reads before opening it.
pub const WINDOW_NAMES_MAX: usize = 50;
/// Pending approvals per agent: more would hide the urgent one from the people asked.
pub const PENDING_APPROVALS_PER_AGENT_MAX: usize = 1_000;
/// Unpurged messages per agent in `CS_INTENTS`: a share, so that one agent cannot fill
/// the stream for the others.
pub const INTENTS_PER_AGENT_MAX: i64 = 100_000;
/// Length of one identity token in a subject, in characters.
pub const TOKEN_CHARS_MAX: usize = 64;
/// Length of a tool name, in characters: it is part of subjects and metric labels.
pub const TOOL_NAME_CHARS_MAX: usize = 128;
/// Seconds of clock difference between machines that are accepted everywhere.
pub const CLOCK_SKEW_SECONDS: u64 = 5;
/// Seconds an intent id may lie in the future of its store time.
pub const INTENT_FUTURE_SECONDS_MAX: u64 = 5 * 60;
/// Seconds for which an intent id stays unique and repeatable (the idempotency horizon).
pub const HORIZON_SECONDS: u64 = 24 * 60 * 60;
