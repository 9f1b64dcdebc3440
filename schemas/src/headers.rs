//! Header names: CloudEvents binary mode, trace context, JetStream and the worker contract.

use crate::events::Event;

/// CloudEvents specification version; always `1.0`.
pub const CE_SPECVERSION: &str = "ce-specversion";
/// CloudEvents event id; equals [`MSG_ID`].
pub const CE_ID: &str = "ce-id";
/// CloudEvents source: `/countersign/<service or agent>`.
pub const CE_SOURCE: &str = "ce-source";
/// CloudEvents type: `dev.countersign.<event>.v<version>`.
pub const CE_TYPE: &str = "ce-type";
/// The time the sender claims, RFC 3339; never used to decide.
pub const CE_TIME: &str = "ce-time";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// JetStream message id. It saves work; it is never the lock.
pub const MSG_ID: &str = "Nats-Msg-Id";
/// JetStream compare-and-set: the expected last sequence of a subject.
pub const EXPECTED_LAST_SUBJECT_SEQ: &str = "Nats-Expected-Last-Subject-Sequence";
/// JetStream compare-and-set: the subject filter that the expectation is about.
pub const EXPECTED_LAST_SUBJECT_SEQ_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// JetStream atomic batch: its id.
pub const BATCH_ID: &str = "Nats-Batch-Id";
/// JetStream atomic batch: the place of a message in it, from 1.
pub const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
/// JetStream atomic batch: set on the last message, which stores them all.
pub const BATCH_COMMIT: &str = "Nats-Batch-Commit";
/// How long JetStream keeps a message, in whole seconds.
pub const TTL: &str = "Nats-TTL";
/// Why JetStream stored a marker in place of a message that it removed.
pub const MARKER_REASON: &str = "Nats-Marker-Reason";
/// What a client did to a key-value entry, where it did not set a value.
pub const KV_OPERATION: &str = "KV-Operation";

/// Worker contract: the intent that is being run.
pub const WORK_INTENT: &str = "Countersign-Intent";
/// Worker contract: the permit, a signed JWT.
pub const WORK_PERMIT: &str = "Countersign-Permit";
/// Worker contract: the claim token, a signed JWS.
pub const WORK_CLAIM: &str = "Countersign-Claim";
/// Worker contract: the key under which a repeat must not act twice; the intent id.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// Failure of a NATS micro service, in words.
pub const SERVICE_ERROR: &str = "Nats-Service-Error";
/// Failure code of a NATS micro service.
pub const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";

/// The `ce-type` of an event: `dev.countersign.tool.requested.v1`.
#[must_use]
pub fn ce_type<E: Event>() -> String {
    format!("dev.countersign.{}.v{}", E::NAME, E::VERSION)
}
