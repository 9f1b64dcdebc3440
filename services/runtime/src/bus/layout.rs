//! The one list of streams, buckets and durable consumers, and how they are made.
//!
//! Made by the credential `setup` alone: no service may create, change or delete a stream.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::CreateStreamError;
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Republish, RetentionPolicy, StorageType,
};
use countersign_schemas::{Stream, limits};

use super::connection::Bus;
use super::failure::BusError;

/// The bucket that holds approvals.
pub const APPROVALS: &str = "CS_APPROVALS";
/// The bucket that holds published policy bundles, and which of them is in force.
pub const POLICY: &str = "CS_POLICY";

/// The bucket of what agents have seen.
pub const LABELS: &str = "CS_LABELS";
/// The bucket of facts that guardrails compare inputs with. Only the credential `setup`
/// writes there.
pub const FACTS: &str = "CS_FACTS";
/// The bucket that holds what rates and budgets have taken.
pub const LEDGERS: &str = "CS_LEDGERS";
/// The bucket that holds time windows and their uses.
pub const WINDOWS: &str = "CS_WINDOWS";
/// Largest fact, in bytes: a record of a few fields, read for every intent that needs it.
pub const FACT_BYTES_MAX: usize = 16 * 1024;

/// Largest size of `CS_INTENTS` and of `CS_EVENTS` unless configured, in bytes. The server
/// sets it aside at once, so it must fit a small disk; what people say, and deadlines, get
/// a quarter of it each.
pub const STREAM_BYTES_DEFAULT: i64 = 256 * 1024 * 1024;
/// How long message ids are remembered. They only save work, so the server's default.
const DEDUPE_WINDOW: Duration = Duration::from_secs(120);
/// How long a service may take for one message before it is delivered again.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Far above what one service handles at once, so that messages waiting for a retry do
/// not hold up the rest.
const ACK_PENDING_MAX: i64 = 20_000;
/// How long a bucket says that an entry's life is over: whoever follows it hears it live.
const MARKER_LIFE: Duration = Duration::from_secs(1);
/// Bytes of the bucket of policy bundles: what the shelf keeps, and as much again for what
/// is being uploaded.
const POLICY_BYTES_MAX: i64 = 128 * 1024 * 1024;
/// A share per subject in `CS_CONTROL`, so that one person's small votes leave room for
/// those of others.
const CONTROL_PER_SUBJECT_MAX: i64 = 100_000;
/// How long a coordinator may take for an order, which is one small publish. Somebody who
/// stops everything must not wait for a coordinator that died: after this another one, or
/// the same one started again, has the order. Handling it twice changes nothing.
const ORDER_ACK_WAIT: Duration = Duration::from_secs(1);
/// Operators that may all use up their share of `CS_ORDERS` before it is full: more keys
/// than are stolen at once. It says nothing of how many there may be.
const ORDER_SHARES: i64 = 8;
/// What the server keeps beside the body and headers of an order, its subject included.
const ORDER_OVERHEAD_BYTES: i64 = 256;

/// A durable consumer of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    /// The stream.
    pub stream: Stream,
    /// Its name; the service's own.
    pub name: &'static str,
    /// What it takes.
    pub filters: &'static [&'static str],
}

/// Intents, for the checker.
pub const CHECKER_INTENTS: Durable = Durable {
    stream: Stream::Intents,
    name: "policy-checker",
    filters: &["tool.requested.*"],
};
/// Withdrawals, for the coordinator.
pub const COORDINATOR_INTENTS: Durable = Durable {
    stream: Stream::Intents,
    name: "approval-coordinator",
    filters: &["tool.withdrawn.*"],
};
/// Verdicts, for the coordinator.
pub const COORDINATOR_EVENTS: Durable = Durable {
    stream: Stream::Events,
    name: "approval-coordinator",
    filters: &["policy.checked.>"],
};
/// What people say, for the coordinator.
pub const COORDINATOR_CONTROL: Durable = Durable {
    stream: Stream::Control,
    name: "approval-coordinator",
    filters: &[],
};
/// The kill switch, for the coordinator.
pub const COORDINATOR_ORDERS: Durable = Durable {
    stream: Stream::Orders,
    name: "approval-coordinator",
    filters: &[],
};
/// Deadlines, for the coordinator.
pub const COORDINATOR_TIMERS: Durable = Durable {
    stream: Stream::Timers,
    name: "approval-coordinator",
    filters: &["timer.fired.>"],
};
/// Approved intents, for the executor.
pub const EXECUTOR_EVENTS: Durable = Durable {
    stream: Stream::Events,
    name: "tool-executor",
    filters: &["tool.approved.>"],
};

/// Every durable consumer.
pub const DURABLES: &[Durable] = &[
    CHECKER_INTENTS,
    COORDINATOR_INTENTS,
    COORDINATOR_EVENTS,
    COORDINATOR_CONTROL,
    COORDINATOR_ORDERS,
    COORDINATOR_TIMERS,
    EXECUTOR_EVENTS,
];

/// How large and how safe.
#[derive(Debug, Clone, Copy)]
pub struct LayoutOptions {
    /// Copies of each stream: 1, or 3 on a cluster.
    pub replicas: usize,
    /// Largest size of `CS_INTENTS` and of `CS_EVENTS`, in bytes.
    pub stream_bytes_max: i64,
}

impl Default for LayoutOptions {
    fn default() -> Self {
        Self {
            replicas: 1,
            stream_bytes_max: STREAM_BYTES_DEFAULT,
        }
    }
}

impl From<&crate::config::Nats> for LayoutOptions {
    fn from(nats: &crate::config::Nats) -> Self {
        Self {
            replicas: usize::from(nats.replicas),
            stream_bytes_max: i64::from(nats.stream_mib) * 1024 * 1024,
        }
    }
}

/// The configuration of one stream.
#[must_use]
pub fn stream_config(stream: Stream, options: LayoutOptions) -> Config {
    let size = stream.body_bytes_max() + stream.header_bytes_max();
    let base = Config {
        name: stream.name().to_owned(),
        subjects: stream.subjects().iter().map(|&s| s.to_owned()).collect(),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: options.replicas,
        max_message_size: i32::try_from(size).unwrap_or(i32::MAX),
        max_bytes: options.stream_bytes_max,
        duplicate_window: DEDUPE_WINDOW,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    match stream {
        Stream::Intents => Config {
            max_messages_per_subject: limits::INTENTS_PER_AGENT_MAX,
            discard_new_per_subject: true,
            ..base
        },
        Stream::Control => Config {
            max_bytes: options.stream_bytes_max / 4,
            max_messages_per_subject: CONTROL_PER_SUBJECT_MAX,
            discard_new_per_subject: true,
            ..base
        },
        Stream::Orders => orders_config(base, options),
        Stream::Events => Config {
            allow_direct: true,
            allow_atomic_publish: true,
            republish: Some(Republish {
                source: ">".to_owned(),
                destination: "out.>".to_owned(),
                headers_only: false,
            }),
            ..base
        },
        // The server refuses "discard new" together with schedules; a timer that is lost
        // is made good by the coordinator's scan of pending approvals.
        Stream::Timers => Config {
            max_bytes: options.stream_bytes_max / 4,
            allow_message_schedules: true,
            allow_rollup: true,
            discard: DiscardPolicy::Old,
            max_messages_per_subject: 1,
            ..base
        },
    }
}

/// Small messages in few bytes, and so many of each operator that one alone never fills it:
/// freezes and releases are a subject each.
fn orders_config(base: Config, options: LayoutOptions) -> Config {
    let max_bytes = options.stream_bytes_max / 8;
    let largest = i64::from(base.max_message_size) + ORDER_OVERHEAD_BYTES;
    Config {
        max_bytes,
        max_messages_per_subject: (max_bytes / (2 * ORDER_SHARES * largest)).max(1),
        discard_new_per_subject: true,
        first_sequence: Some(Stream::Orders.first_seq()),
        ..base
    }
}

/// Makes every stream, bucket and durable that is missing and brings the others to their
/// configuration. Running it again changes nothing.
///
/// # Errors
/// When the server refuses one of them; the message names which.
pub async fn ensure(bus: &Bus, options: LayoutOptions) -> Result<(), BusError> {
    for stream in Stream::ALL {
        bus.jetstream()
            .create_or_update_stream(stream_config(stream, options))
            .await
            .map_err(|error| {
                BusError::request(format!("cannot make stream {stream}"), room(&error))
            })?;
    }
    for config in buckets(options) {
        let what = format!("cannot make bucket {}", config.bucket);
        let made = bus.jetstream().create_or_update_key_value(config).await;
        made.map_err(|error| BusError::request(what, error))?;
    }
    for durable in DURABLES {
        ensure_durable(bus, *durable, options).await?;
    }
    Ok(())
}

/// Every bucket.
fn buckets(options: LayoutOptions) -> [kv::Config; 6] {
    let base = kv::Config {
        history: 1,
        storage: StorageType::File,
        num_replicas: options.replicas,
        ..kv::Config::default()
    };
    [
        kv::Config {
            bucket: APPROVALS.to_owned(),
            // One that has ended keeps about two kilobytes and no input, and leaves by
            // itself, so this holds everything that waits and a day's hundred thousand.
            max_bytes: options.stream_bytes_max,
            limit_markers: Some(MARKER_LIFE),
            ..base.clone()
        },
        kv::Config {
            bucket: POLICY.to_owned(),
            max_bytes: options.stream_bytes_max.min(POLICY_BYTES_MAX),
            // What was uploaded and never published goes by itself.
            limit_markers: Some(MARKER_LIFE),
            ..base.clone()
        },
        // A full one refuses new entries, and nothing leaves before its own end, which
        // each write says, to make room: a label is never lost to a flood of others.
        kv::Config {
            bucket: LABELS.to_owned(),
            max_bytes: options.stream_bytes_max / 16,
            limit_markers: Some(MARKER_LIFE),
            ..base.clone()
        },
        kv::Config {
            bucket: FACTS.to_owned(),
            max_bytes: options.stream_bytes_max / 16,
            max_value_size: i32::try_from(FACT_BYTES_MAX).unwrap_or(i32::MAX),
            ..base.clone()
        },
        kv::Config {
            bucket: LEDGERS.to_owned(),
            // A ledger without open intents has 150 bytes and leaves a day after its
            // window, so this holds a million of them.
            max_bytes: options.stream_bytes_max / 4,
            limit_markers: Some(MARKER_LIFE),
            ..base.clone()
        },
        kv::Config {
            bucket: WINDOWS.to_owned(),
            // One that is open has 60 KiB at most, with a thousand uses; one that is over
            // has two and leaves by itself.
            max_bytes: options.stream_bytes_max / 4,
            limit_markers: Some(MARKER_LIFE),
            ..base
        },
    ]
}

/// The server's words; for a full disk also what to do.
fn room(error: &CreateStreamError) -> String {
    let text = error.to_string();
    if text.contains("10047") {
        return format!("{text}; give nats-server more disk, or set nats.stream_mib lower");
    }
    text
}

async fn ensure_durable(
    bus: &Bus,
    durable: Durable,
    options: LayoutOptions,
) -> Result<(), BusError> {
    let config = pull::Config {
        durable_name: Some(durable.name.to_owned()),
        name: Some(durable.name.to_owned()),
        filter_subjects: durable.filters.iter().map(|&f| f.to_owned()).collect(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: match durable.stream {
            Stream::Orders => ORDER_ACK_WAIT,
            Stream::Intents | Stream::Control | Stream::Events | Stream::Timers => ACK_WAIT,
        },
        max_ack_pending: ACK_PENDING_MAX,
        num_replicas: options.replicas,
        ..pull::Config::default()
    };
    bus.jetstream()
        .create_consumer_on_stream(config, durable.stream.name())
        .await
        .map(drop)
        .map_err(|error| {
            let what = format!(
                "cannot make consumer {} of {}",
                durable.name, durable.stream
            );
            BusError::request(what, error)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_outsiders_reach_have_no_feature_to_misuse() {
        for stream in [Stream::Intents, Stream::Control, Stream::Orders] {
            let config = stream_config(stream, LayoutOptions::default());
            assert!(!config.allow_rollup, "{stream}");
            assert!(!config.allow_message_ttl, "{stream}");
            assert!(!config.allow_message_schedules, "{stream}");
            assert!(!config.allow_atomic_publish, "{stream}");
            assert!(config.discard_new_per_subject, "{stream}");
            assert!(config.republish.is_none(), "{stream}");
        }
    }

    #[test]
    fn no_operator_alone_fills_the_stream_of_orders_whatever_its_size() {
        for mib in [16, 64, 2_048, 1_048_576] {
            let options = LayoutOptions {
                stream_bytes_max: mib * 1024 * 1024,
                ..LayoutOptions::default()
            };
            let config = stream_config(Stream::Orders, options);
            let largest = i64::from(config.max_message_size) + ORDER_OVERHEAD_BYTES;
            let one = 2 * config.max_messages_per_subject * largest;
            assert!(config.max_messages_per_subject >= 15, "{mib} MiB");
            assert!(ORDER_SHARES * one <= config.max_bytes, "{mib} MiB");
        }
    }

    #[test]
    fn nothing_archived_ages_out_or_makes_room_by_itself() {
        for stream in Stream::ARCHIVED {
            let config = stream_config(stream, LayoutOptions::default());
            assert_eq!(config.max_age, Duration::ZERO);
            assert_eq!(config.discard, DiscardPolicy::New);
        }
    }
}
