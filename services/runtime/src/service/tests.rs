//! Start, stop and exit codes.

use std::fs;

use clap::CommandFactory;

use super::*;
use crate::clock::ManualClock;
use crate::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision, plain_config,
};

#[test]
fn flags_are_well_formed() {
    Flags::command().debug_assert();
}

#[test]
fn a_bad_configuration_ends_with_64_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(config::FILE_NAME);
    for text in ["[nats]\nurll = 1", "[nats]\nreplicas = 2", "nonsense"] {
        fs::write(&file, text).unwrap();
        let flags = Flags::parse_from(["x", "--config", file.to_str().unwrap()]);
        let error = live("test", &flags, async |_, _| Ok(())).unwrap_err();
        assert_eq!(error.exit_code(), 64, "{error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

#[tokio::test]
async fn a_missing_credential_names_the_file() {
    let config = Config::default();
    let error = connect(&config, "nobody").await.err().unwrap();
    assert_eq!(error.exit_code(), 64);
    assert!(
        error.to_string().contains("service-nobody.creds"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn draining_has_a_limit_and_needs_none_before_shutdown() {
    let shutdown = CancellationToken::new();
    let day = async {
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        Ok(())
    };
    assert!(until_drained(day, &shutdown, DRAIN_GRACE).await.is_ok());

    shutdown.cancel();
    let quick = async {
        tokio::time::sleep(DRAIN_GRACE / 2).await;
        Ok(())
    };
    assert!(until_drained(quick, &shutdown, DRAIN_GRACE).await.is_ok());
    let stuck = std::future::pending();
    let ended = until_drained(stuck, &shutdown, DRAIN_GRACE).await;
    assert!(matches!(ended, Err(ServiceError::DrainTimeout(grace)) if grace == DRAIN_GRACE));
}

#[test]
fn the_executor_may_finish_the_longest_call() {
    assert_eq!(drain_grace("tool-executor"), EXECUTOR_GRACE);
    assert_eq!(drain_grace("policy-checker"), DRAIN_GRACE);
    // The catalog's bound of a call, and the room of its lease.
    assert_eq!(EXECUTOR_GRACE, Duration::from_secs(300 + 10));
}

#[test]
fn each_end_has_its_exit_code() {
    let table = [
        (ServiceError::configured("x"), 64),
        (ServiceError::Unreachable("x".to_owned()), 69),
        (ServiceError::failed("x"), 1),
        (ServiceError::DrainTimeout(DRAIN_GRACE), 1),
    ];
    for (error, code) in table {
        assert_eq!(error.exit_code(), code, "{error}");
    }
}

#[test]
fn a_clock_beyond_the_allowance_is_not_trusted_until_it_is_set() {
    let health = HealthHandle::new();
    let part = health.part("clock");
    let trust = ClockTrust::unproven();
    assert!(!trust.is_trusted(), "nothing is known yet");
    for (seconds, trusted) in [(0, true), (5, true), (6, false), (90, false), (1, true)] {
        clock_watch::judge(Duration::from_secs(seconds), &trust, &part);
        assert_eq!(trust.clone().is_trusted(), trusted, "{seconds}");
        assert_eq!(health.is_ready(), trusted, "{seconds}");
    }
}

#[tokio::test]
async fn the_skew_is_measured_against_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let binary = find_or_provision(Progress::Stderr).unwrap();
    let text = ServerConfig::Text(plain_config(dir.path()));
    let options = StartOptions::new(binary, text, dir.path().to_owned());
    let server = NatsServer::start(options).await.unwrap();
    let bus = Bus::connect(ConnectOptions {
        url: server.url(),
        name: "test".to_owned(),
        credential: nkeys::KeyPair::new_user().seed().unwrap(),
        tls_ca: None,
    })
    .await
    .unwrap();
    crate::bus::layout::ensure(&bus, crate::bus::layout::LayoutOptions::default())
        .await
        .unwrap();

    let now = SystemClock.now();
    let clock = Arc::new(ManualClock::new(now.plus(Duration::from_secs(600))));
    let own: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let deployment = config::Deployment::default();
    let context = ServiceContext::new(deployment, bus, own, CancellationToken::new());
    assert!(!context.clock_trust.is_trusted(), "nobody has compared it");
    context.watch_clock().await;
    assert!(!context.clock_trust.is_trusted(), "it is ahead");
    let ahead = clock_watch::clock_skew(&context.bus, context.clock.as_ref())
        .await
        .unwrap();
    assert!((540..=600).contains(&ahead.as_secs()), "{ahead:?}");
    clock.set(now.minus(Duration::from_secs(600)));
    let behind = clock_watch::clock_skew(&context.bus, context.clock.as_ref())
        .await
        .unwrap();
    assert!((600..=660).contains(&behind.as_secs()), "{behind:?}");
    clock.set(SystemClock.now());
    let trusted = async {
        while !context.clock_trust.is_trusted() {
            clock.set(SystemClock.now());
            // sleep: the pause between two looks; the deadline is below.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), trusted)
        .await
        .unwrap();
}
