//! The rules that types cannot hold, checked all at once before anything starts.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use countersign_schemas::Token;
use tracing_subscriber::EnvFilter;

use super::{Config, mandates};
use crate::archive::BucketPlace;
use crate::archive::place::check_endpoint;

/// Everything wrong with the values, one sentence each.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let mut found = Problems::default();
    check_shared(config, &mut found);
    check_services(config, &mut found);
    mandates::check(&config.mandates, &mut found);
    found.0
}

fn check_shared(config: &Config, found: &mut Problems) {
    found.range(
        "deployment.horizon_s",
        config.deployment.horizon_s,
        60..=604_800,
    );
    found.range(
        "deployment.raw_retention_s",
        config.deployment.raw_retention_s,
        3_600..=31_536_000,
    );
    let nats = &config.nats;
    for url in nats.url.split(',').map(str::trim) {
        found.url("nats.url", url, &["nats", "tls", "ws", "wss"]);
    }
    if ![1, 3, 5].contains(&nats.replicas) {
        found.add("nats.replicas", "must be 1, 3 or 5");
    }
    found.range(
        "nats.stream_mib",
        u64::from(nats.stream_mib),
        16..=1_048_576,
    );
    if nats.embedded.is_some() && nats.replicas != 1 {
        found.add("nats.replicas", "must be 1 with an embedded server");
    }
    let telemetry = &config.telemetry;
    if EnvFilter::try_new(&telemetry.level).is_err() {
        found.add("telemetry.level", "is not a level or filter such as `info`");
    }
    if let Some(url) = &telemetry.otlp_endpoint {
        found.url("telemetry.otlp_endpoint", url, &["http", "https"]);
    }
}

fn check_services(config: &Config, found: &mut Problems) {
    // Beyond `max_ack_pending` of the durables nothing more is delivered anyway.
    let in_flight = 1..=20_000;
    let checker = &config.policy_checker;
    found.range(
        "policy_checker.max_in_flight",
        checker.max_in_flight,
        in_flight.clone(),
    );
    found.range(
        "policy_checker.label_life_s",
        checker.label_life_s,
        60..=2_678_400,
    );
    let coordinator = &config.approval_coordinator;
    found.range(
        "approval_coordinator.max_in_flight",
        coordinator.max_in_flight,
        in_flight,
    );
    found.range(
        "approval_coordinator.permit_life_s",
        coordinator.permit_life_s,
        10..=3_600,
    );
    found.range(
        "approval_coordinator.bundle_wait_s",
        coordinator.bundle_wait_s,
        1..=3_600,
    );
    if let Some(url) = &coordinator.link_base {
        found.url("approval_coordinator.link_base", url, &["http", "https"]);
    }
    let executor = &config.tool_executor;
    found.range(
        "tool_executor.max_running",
        executor.max_running,
        1..=10_000,
    );
    for (name, url) in &executor.http {
        if name.parse::<Token>().is_err() {
            found.add("tool_executor.http", "each name must be of A-Z a-z 0-9 _ -");
        }
        found.url("tool_executor.http", url, &["http", "https"]);
    }
    check_archive(config, found);
}

fn check_archive(config: &Config, found: &mut Problems) {
    let archiver = &config.audit_archiver;
    found.range(
        "audit_archiver.batch_rows",
        archiver.batch_rows,
        1..=1_000_000,
    );
    found.range(
        "audit_archiver.batch_bytes",
        archiver.batch_bytes,
        65_536..=1_073_741_824,
    );
    found.range("audit_archiver.batch_ms", archiver.batch_ms, 10..=60_000);
    found.range(
        "audit_archiver.compact_after_s",
        archiver.compact_after_s,
        0..=86_400,
    );
    found.range(
        "audit_archiver.file_grace_s",
        archiver.file_grace_s,
        60..=604_800,
    );
    let bucket = &config.archive;
    if let Some(url) = &bucket.url
        && let Err(error) = BucketPlace::new(url, bucket)
    {
        found.add("archive.url", &format!("cannot be used: {error}"));
    }
    if let Some(endpoint) = &bucket.endpoint
        && let Err(error) = check_endpoint(endpoint, bucket.allow_http)
    {
        found.add("archive.endpoint", &format!("cannot be used: {error}"));
    }
    if archiver.state_file.starts_with(&archiver.dir) {
        found.add(
            "audit_archiver.state_file",
            "must lie outside audit_archiver.dir",
        );
    }
    let inside = |path: &PathBuf| path.starts_with(&archiver.dir);
    if archiver.witnesses.iter().any(inside) {
        found.add(
            "audit_archiver.witnesses",
            "must lie outside audit_archiver.dir",
        );
    }
    let query = &config.audit_query;
    found.range("audit_query.memory_mb", query.memory_mb, 16..=65_536);
    found.range("audit_query.timeout_s", query.timeout_s, 1..=3_600);
    if query.timeout_s >= archiver.file_grace_s {
        found.add(
            "audit_archiver.file_grace_s",
            "must be longer than audit_query.timeout_s, or a query loses its files",
        );
    }
    found.range("audit_query.rows_max", query.rows_max, 1..=10_000_000);
}

#[derive(Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    pub(super) fn add(&mut self, key: &str, rule: &str) {
        self.0.push(format!("`{key}` {rule}"));
    }

    pub(super) fn range<T>(&mut self, key: &str, value: T, allowed: RangeInclusive<T>)
    where
        T: PartialOrd + std::fmt::Display,
    {
        if !allowed.contains(&value) {
            let (least, most) = (allowed.start(), allowed.end());
            self.add(key, &format!("must be {least} to {most}, not {value}"));
        }
    }

    pub(super) fn url(&mut self, key: &str, url: &str, schemes: &[&str]) {
        let Some((scheme, rest)) = url.split_once("://") else {
            return self.add(key, "is not a URL such as scheme://host:port");
        };
        if !schemes.contains(&scheme) {
            self.add(
                key,
                &format!("must begin with {}://", schemes.join(":// or ")),
            );
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() {
            self.add(key, "names no host");
        }
        // The configuration is printed and shared: it holds no secret by construction.
        if authority.contains('@') {
            self.add(key, "must not hold a user or password");
        }
    }
}
