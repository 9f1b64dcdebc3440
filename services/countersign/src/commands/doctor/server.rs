//! The server: reachable with each service's credential, its streams and consumers there
//! and not too full, its clock ours.

use std::time::Duration;

use async_nats::jetstream;
use countersign_runtime::bus::layout::{DURABLES, Durable};
use countersign_runtime::bus::{Bus, FULL_PERCENT};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::config::Config;
use countersign_runtime::nats_server::{TESTED, Version};
use countersign_runtime::service::{clock_skew, connect};
use countersign_schemas::limits::CLOCK_SKEW_SECONDS;
use countersign_schemas::{Stream, Timestamp};

use super::Check;
use crate::exit::{CliError, Exit};

/// The identity that may see streams and consumers.
const SETUP: &str = "setup";
/// The services that connect.
const SERVICES: [&str; 5] = [
    countersign_policy_checker::NAME,
    countersign_approval_coordinator::NAME,
    countersign_tool_executor::NAME,
    countersign_audit_archiver::NAME,
    countersign_audit_query::NAME,
];
/// How full it may be before somebody should look.
const FILLING_PERCENT: u64 = 60;
/// Messages that a consumer may be behind: seconds of work at full load.
const LAG_MAX: u64 = 10_000;

/// How much longer than the horizon a message lies in a stream at most, unless something
/// holds it: an hour by the rules, and the time between two looks of the janitor.
const KEPT_AFTER_S: u64 = 3_600 + 1_200;

/// Everything that can be learnt from the server.
pub(super) async fn checks(config: &Config) -> Vec<Check> {
    let setup = match connect(config, SETUP).await {
        Ok(bus) => bus,
        // Nothing else would answer either.
        Err(error) => return vec![Check::of("nats", Err::<String, _>(CliError::from(error)))],
    };
    let mut checks = vec![version(&setup)];
    for service in SERVICES {
        checks.push(credential(config, service).await);
    }
    for stream in Stream::ALL {
        checks.push(stream_state(&setup, stream).await);
    }
    for durable in DURABLES {
        checks.push(lag(&setup, *durable).await);
    }
    let kept_s = config.deployment.horizon_s.saturating_add(KEPT_AFTER_S);
    for stream in Stream::ARCHIVED {
        checks.push(kept(&setup, stream, Duration::from_secs(kept_s)).await);
    }
    checks.push(clock(&setup).await);
    setup.close().await;
    checks
}

fn version(bus: &Bus) -> Check {
    let told = bus.client().server_info().version;
    // A server that is too old was refused when connecting.
    match Version::find_in(&told) {
        Some(found) if found >= TESTED => Check::ok("nats", format!("nats-server {told}")),
        _ => Check::warn(
            "nats",
            format!("nats-server {told} is older than the tested {TESTED}: plan an upgrade"),
        ),
    }
}

async fn credential(config: &Config, service: &str) -> Check {
    let connected = match connect(config, service).await {
        Ok(bus) => {
            bus.close().await;
            Ok("connects")
        }
        Err(error) => Err(error),
    };
    Check::of(service, connected)
}

async fn stream_state(bus: &Bus, stream: Stream) -> Check {
    match bus.jetstream().get_stream(stream.name()).await {
        Ok(found) => {
            let info = found.cached_info();
            let size = u64::try_from(info.config.max_bytes).unwrap_or_default();
            fullness(stream, info.state.messages, info.state.bytes, size)
        }
        Err(error) => Check::fail(
            stream.name(),
            Exit::Unreachable,
            format!("cannot be read ({error}): run `countersign setup`"),
        ),
    }
}

fn fullness(stream: Stream, messages: u64, bytes: u64, size: u64) -> Check {
    let percent = match size {
        0 => 0,
        size => bytes.saturating_mul(100) / size,
    };
    let found = format!("{messages} messages, {percent} % full");
    match percent {
        FULL_PERCENT.. => Check::fail(
            stream.name(),
            Exit::Unreachable,
            format!("{found}: nothing more is taken in; raise nats.stream_mib and run setup"),
        ),
        FILLING_PERCENT.. => Check::warn(
            stream.name(),
            format!("{found}: see what holds messages below, or plan to raise nats.stream_mib"),
        ),
        _ => Check::ok(stream.name(), found),
    }
}

async fn lag(bus: &Bus, durable: Durable) -> Check {
    let name = format!("{}/{}", durable.stream, durable.name);
    match consumer(bus, durable).await {
        Ok(info) => judge_lag(name, info.num_pending, info.num_ack_pending),
        Err(reason) => Check::fail(
            name,
            Exit::Unreachable,
            format!("cannot be read ({reason}): run `countersign setup`"),
        ),
    }
}

async fn consumer(bus: &Bus, durable: Durable) -> Result<jetstream::consumer::Info, String> {
    let stream = bus
        .jetstream()
        .get_stream(durable.stream.name())
        .await
        .map_err(|error| error.to_string())?;
    let info = stream.consumer_info(durable.name).await;
    info.map_err(|error| error.to_string())
}

fn judge_lag(name: String, waiting: u64, in_work: usize) -> Check {
    let found = format!("{waiting} waiting, {in_work} in work");
    if waiting > LAG_MAX {
        return Check::warn(
            name,
            format!("{found}: is the service running and keeping up?"),
        );
    }
    Check::ok(name, found)
}

/// Whether messages lie in a stream for longer than they need to, and what holds them.
async fn kept(bus: &Bus, stream: Stream, at_most: Duration) -> Check {
    let name = format!("{stream}/kept");
    let found = match bus.jetstream().get_stream(stream.name()).await {
        Ok(found) => found,
        // Told by the check of the stream itself.
        Err(_) => return Check::warn(name, "cannot be read: run `countersign setup`"),
    };
    let state = &found.cached_info().state;
    if state.messages == 0 {
        return Check::ok(name, "holds nothing");
    }
    let oldest = SystemClock
        .now()
        .since(Timestamp::new(state.first_timestamp));
    let mut behind = Vec::new();
    for durable in DURABLES.iter().filter(|durable| durable.stream == stream) {
        let unhandled = consumer(bus, *durable).await.map_or(true, |info| {
            info.num_pending > 0 || info.num_ack_pending > 0
        });
        if unhandled {
            behind.push(durable.name);
        }
    }
    judge_kept(name, oldest, at_most, &behind)
}

fn judge_kept(name: String, oldest: Duration, at_most: Duration, behind: &[&str]) -> Check {
    let found = format!("the oldest message is {} h old", oldest.as_secs() / 3_600);
    if oldest <= at_most {
        return Check::ok(name, found);
    }
    let by = match behind {
        [] => "the archiver has not archived it, or an intent, a freeze or a window that it \
               belongs to has no end: the metric countersign_janitor_kept_messages says which"
            .to_owned(),
        services => format!("{} may not have handled it", services.join(" and ")),
    };
    Check::warn(name, format!("{found} and is not purged: {by}"))
}

async fn clock(bus: &Bus) -> Check {
    match clock_skew(bus, &SystemClock).await {
        Some(apart) => judge_clock(apart),
        None => Check::warn(
            "clock",
            "the server does not tell its time; look again later",
        ),
    }
}

/// `apart` is how far the clocks are apart at least.
fn judge_clock(apart: Duration) -> Check {
    let found = format!("{} ms off the server's", apart.as_millis());
    if apart <= Duration::from_secs(CLOCK_SKEW_SECONDS) {
        return Check::ok("clock", found);
    }
    Check::fail(
        "clock",
        Exit::Configuration,
        format!("{found}, {CLOCK_SKEW_SECONDS} s are allowed: set this machine's clock"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::State;

    #[test]
    fn streams_that_fill_up_are_told_in_time() {
        let state = |bytes| fullness(Stream::Events, 7, bytes, 1_000).state;
        assert_eq!(state(0), State::Ok);
        assert_eq!(state(599), State::Ok);
        assert_eq!(state(600), State::Warn);
        assert_eq!(state(800), State::Fail);
        assert_eq!(fullness(Stream::Events, 7, u64::MAX, 0).state, State::Ok);
    }

    #[test]
    fn consumers_that_lag_are_told() {
        assert_eq!(judge_lag("x".to_owned(), LAG_MAX, 3).state, State::Ok);
        assert_eq!(judge_lag("x".to_owned(), LAG_MAX + 1, 3).state, State::Warn);
    }

    #[test]
    fn what_lies_too_long_is_told_with_what_holds_it() {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let kept = |oldest, behind: &[&str]| judge_kept("x".to_owned(), oldest, hours(25), behind);
        assert_eq!(kept(hours(25), &["policy-checker"]).state, State::Ok);
        let held = kept(hours(26), &["policy-checker"]);
        assert_eq!(held.state, State::Warn);
        assert!(
            held.finding.contains("policy-checker may not"),
            "{}",
            held.finding
        );
        let open = kept(hours(26), &[]);
        assert!(open.finding.contains("countersign_janitor_kept_messages"));
    }

    #[test]
    fn a_clock_beyond_the_allowance_fails() {
        assert_eq!(judge_clock(Duration::from_secs(5)).state, State::Ok);
        let off = judge_clock(Duration::from_secs(6));
        assert_eq!(off.state, State::Fail);
        assert!(off.finding.contains("set this machine's clock"));
    }
}
