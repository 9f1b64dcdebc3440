//! A service as its own process, so that a test can kill it as a crash would.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, eventually};

/// The services of the path of an intent, as their binaries are called.
pub const CHECKER: &str = "policy-checker";
/// Carries approvals and decisions.
pub const COORDINATOR: &str = "approval-coordinator";
/// Runs tools.
pub const EXECUTOR: &str = "tool-executor";
/// Writes the archive.
pub const ARCHIVER: &str = "audit-archiver";
/// Answers questions about the archive.
pub const QUERY: &str = "audit-query";
/// Every service that an intent needs to reach its end and the archive.
pub const SERVICES: [&str; 4] = [CHECKER, COORDINATOR, EXECUTOR, ARCHIVER];

/// The program `name` that cargo built beside this test.
///
/// # Panics
/// When it is not there: only a build of the whole workspace makes it.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let path = test
        .parent()
        .and_then(Path::parent)
        .expect("a test lies in deps/")
        .join(name);
    assert!(
        path.is_file(),
        "`{}` is not built: run the tests with `cargo test --workspace`",
        path.display()
    );
    path
}

/// A running service. Dropping it kills it.
#[derive(Debug)]
pub struct Service {
    name: String,
    config: PathBuf,
    log: PathBuf,
    settings: Vec<(String, String)>,
    child: Option<Child>,
}

impl Service {
    /// Starts `countersign-<name>` with `config` and `COUNTERSIGN_*` settings on top.
    ///
    /// # Panics
    /// When the process cannot be started.
    #[must_use]
    pub fn start(name: &str, config: &Path, logs: &Path, settings: &[(String, String)]) -> Self {
        let mut service = Self {
            name: name.to_owned(),
            config: config.to_owned(),
            log: logs.join(format!("{name}.log")),
            settings: settings.to_vec(),
            child: None,
        };
        service.restart();
        service
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether the process is alive.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Stops it with SIGSTOP, wherever it is.
    ///
    /// # Panics
    /// When it does not run or cannot be stopped.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Self::pause`].
    ///
    /// # Panics
    /// When it does not run or cannot be continued.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the service runs");
        kill_process(Pid::from_child(child), signal).expect("our own child takes signals");
    }

    /// Ends it in good order, with SIGTERM: what it has begun is finished.
    ///
    /// # Panics
    /// When it does not run or does not end.
    pub async fn end(&mut self) {
        self.signal(Signal::TERM);
        let what = format!("{} ends when told to", self.name);
        eventually(PATIENCE, &what, async || (!self.is_running()).then_some(())).await;
        self.child = None;
    }

    /// Kills it with SIGKILL.
    ///
    /// # Panics
    /// When the process cannot be killed.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be awaited");
        }
    }

    /// Starts it again, killing it before where it runs.
    ///
    /// # Panics
    /// When the process cannot be started.
    pub fn restart(&mut self) {
        self.kill();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log can be opened");
        let child = Command::new(program(&format!("countersign-{}", self.name)))
            .arg("--config")
            .arg(&self.config)
            .envs(self.settings.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file has two handles"))
            .stderr(log)
            .spawn()
            .expect("the service can be started");
        self.child = Some(child);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(LOG_TAIL).collect();
            for line in tail.into_iter().rev() {
                eprintln!("{}: {line}", self.name);
            }
        }
    }
}

/// Lines of a service's log that a failed test shows.
const LOG_TAIL: usize = 25;
