//! A running nats-server that dies with us.
//!
//! The child is a small shell that becomes the server (`exec`), after leaving a watchdog
//! behind which reads a pipe that only this process holds. When this process dies, by
//! SIGKILL too, the pipe ends and the watchdog stops the server.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::error::NatsServerError;
use super::find::NatsBinary;
use super::store::{Announced, Files, prepare};

const LOOPBACK: &str = "127.0.0.1";
const SUPERVISE: &str = include_str!("supervise.sh");
/// How often a condition of the process is looked at: far below what a person notices.
const POLL: Duration = Duration::from_millis(10);
/// How often a running server is looked at: soon enough to tell why nothing answers, rare
/// enough to cost nothing.
const WATCH: Duration = Duration::from_millis(200);
/// How long a graceful stop may take before the server is killed.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// The server's configuration; where it listens is said by [`Port`].
#[derive(Debug, Clone)]
pub enum ServerConfig {
    /// A configuration file.
    File(PathBuf),
    /// The text of one; it is written into the store directory.
    Text(String),
}

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// On a port of loopback that the system picks.
    Free,
    /// On this port of loopback.
    Fixed(u16),
    /// On this port of the address that the configuration names.
    Configured(u16),
}

impl Port {
    /// The server's flags for it.
    fn flags(self) -> Vec<String> {
        let (address, port) = match self {
            Self::Free => (Some(LOOPBACK), "-1".to_owned()),
            Self::Fixed(port) => (Some(LOOPBACK), port.to_string()),
            Self::Configured(port) => (None, port.to_string()),
        };
        let address = address.map(|address| ["--addr".to_owned(), address.to_owned()]);
        let port = ["--port".to_owned(), port];
        address.into_iter().flatten().chain(port).collect()
    }
}

/// How to start a server.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// The program.
    pub binary: NatsBinary,
    /// Its configuration.
    pub config: ServerConfig,
    /// Where streams, the log and the ports file lie. The configuration's own
    /// `store_dir` must be the same: the server takes it from nowhere else.
    pub store_dir: PathBuf,
    /// Where it listens.
    pub port: Port,
    /// How long it may take until it answers.
    pub ready_deadline: Duration,
}

impl StartOptions {
    /// A start on a free port with half a minute to get ready: a large store takes
    /// seconds to open.
    #[must_use]
    pub fn new(binary: NatsBinary, config: ServerConfig, store_dir: PathBuf) -> Self {
        Self {
            binary,
            config,
            store_dir,
            port: Port::Free,
            ready_deadline: Duration::from_secs(30),
        }
    }
}

/// A configuration with JetStream and without accounts, for tests of one connection.
#[must_use]
pub fn plain_config(store_dir: &Path) -> String {
    // JSON string syntax is a subset of the server's own.
    let store = serde_json::Value::from(store_dir.to_string_lossy());
    format!("jetstream {{ store_dir: {store} }}\nmax_payload: 2MB\n")
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct NatsServer {
    options: StartOptions,
    files: Files,
    running: Option<Running>,
    reached: Announced,
    // Held for as long as the store is ours.
    _lock: File,
}

#[derive(Debug)]
struct Running {
    child: Child,
    // A line dismisses the watchdog, end of file wakes it.
    watchdog: ChildStdin,
}

impl NatsServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When the store is in use, or the server cannot start or is not ready in time.
    pub async fn start(options: StartOptions) -> Result<Self, NatsServerError> {
        let (files, lock) = prepare(&options)?;
        let mut server = Self {
            options,
            files,
            running: None,
            reached: Announced::default(),
            _lock: lock,
        };
        server.launch().await?;
        Ok(server)
    }

    /// The URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.reached.tls { "tls" } else { "nats" };
        format!("{scheme}://{}:{}", self.reached.host, self.reached.port)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.reached.port
    }

    /// The file that it logs into.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.files.log
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Whether the process is alive.
    pub fn is_running(&mut self) -> bool {
        self.running
            .as_mut()
            .is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// Waits until the process ends although nobody stopped it, and tells so.
    pub async fn until_ended(&mut self) -> NatsServerError {
        while self.is_running() {
            sleep(WATCH).await;
        }
        // It has been awaited: its number may belong to another process now.
        if let Some(gone) = self.running.take() {
            gone.dismiss_watchdog();
        }
        NatsServerError::Died {
            log: self.files.log.clone(),
        }
    }

    /// Makes the server read its configuration file again, as `SIGHUP` does.
    ///
    /// # Errors
    /// When it does not run.
    pub fn reload(&self) -> Result<(), NatsServerError> {
        match &self.running {
            Some(running) => running.signal(Signal::HUP, "reload"),
            None => Ok(()),
        }
    }

    /// Stops it gracefully, by force after ten seconds.
    ///
    /// # Errors
    /// When the process cannot be signalled or awaited.
    pub async fn stop(&mut self) -> Result<(), NatsServerError> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        running.signal(Signal::TERM, "stop")?;
        if running
            .ended_by(Instant::now() + STOP_GRACE)
            .await?
            .is_none()
        {
            running.kill()?;
        }
        running.dismiss_watchdog();
        Ok(())
    }

    /// Kills it with SIGKILL, as a crash would.
    ///
    /// # Errors
    /// When the process cannot be killed.
    pub fn kill(&mut self) -> Result<(), NatsServerError> {
        match self.running.take() {
            Some(mut running) => {
                let killed = running.kill();
                running.dismiss_watchdog();
                killed
            }
            None => Ok(()),
        }
    }

    /// Starts it again on the same port and store, after stopping it if it runs.
    ///
    /// # Errors
    /// As for [`Self::stop`] and [`Self::start`].
    pub async fn restart(&mut self) -> Result<(), NatsServerError> {
        self.stop().await?;
        if self.options.port == Port::Free {
            self.options.port = Port::Fixed(self.reached.port);
        }
        self.launch().await
    }

    async fn launch(&mut self) -> Result<(), NatsServerError> {
        let deadline = Instant::now() + self.options.ready_deadline;
        self.files.clear_ports()?;
        let mut running = spawn(&self.options, &self.files)?;
        let ready = self.wait_until_ready(&mut running, deadline).await;
        match ready {
            Ok(reached) => {
                self.reached = reached;
                self.running = Some(running);
                Ok(())
            }
            Err(error) => {
                drop(running.kill());
                running.dismiss_watchdog();
                Err(error)
            }
        }
    }

    /// Refuses a server that keeps its streams elsewhere, such as in a shared `/tmp`.
    fn own_store(&self) -> Result<(), NatsServerError> {
        let path = &self.options.store_dir;
        if path.join("jetstream").is_dir() {
            return Ok(());
        }
        Err(NatsServerError::OtherStore { path: path.clone() })
    }

    async fn wait_until_ready(
        &self,
        running: &mut Running,
        deadline: Instant,
    ) -> Result<Announced, NatsServerError> {
        loop {
            if let Some(reached) = self.files.announced()
                && answers(&reached, deadline).await
            {
                return self.own_store().map(|()| reached);
            }
            if running.try_wait()?.is_some() {
                return Err(self.files.ended());
            }
            if Instant::now() >= deadline {
                return Err(NatsServerError::NotReady {
                    seconds: self.options.ready_deadline.as_secs(),
                    log: self.files.log.clone(),
                });
            }
            sleep(POLL).await;
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // Nothing can be told from here; the watchdog is the second net.
        drop(self.kill());
    }
}

fn spawn(options: &StartOptions, files: &Files) -> Result<Running, NatsServerError> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&files.log)
        .map_err(NatsServerError::files("open", &files.log))?;
    let log_too = log
        .try_clone()
        .map_err(NatsServerError::files("open", &files.log))?;
    let mut child = Command::new("sh")
        .args(["-c", SUPERVISE, "sh"])
        .arg(&options.binary.path)
        .arg("--config")
        .arg(&files.config)
        .args(options.port.flags())
        .arg("--ports_file_dir")
        .arg(&files.ports_dir)
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(log_too)
        // Ctrl-C in a terminal reaches the whole group: the server must outlive the drain.
        .process_group(0)
        .spawn()
        .map_err(NatsServerError::process("start"))?;
    match child.stdin.take() {
        Some(watchdog) => Ok(Running { child, watchdog }),
        None => Err(NatsServerError::process("watch")(
            io::ErrorKind::BrokenPipe.into(),
        )),
    }
}

impl Running {
    fn signal(&self, signal: Signal, act: &'static str) -> Result<(), NatsServerError> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        match pid.map(|pid| kill_process(pid, signal)) {
            // A process that has ended is stopped already.
            Some(Ok(()) | Err(rustix::io::Errno::SRCH)) | None => Ok(()),
            Some(Err(error)) => Err(NatsServerError::process(act)(error.into())),
        }
    }

    fn kill(&mut self) -> Result<(), NatsServerError> {
        self.child
            .kill()
            .map_err(NatsServerError::process("kill"))?;
        self.child
            .wait()
            .map(drop)
            .map_err(NatsServerError::process("await"))
    }

    fn try_wait(&mut self) -> Result<Option<ExitStatus>, NatsServerError> {
        self.child
            .try_wait()
            .map_err(NatsServerError::process("await"))
    }

    async fn ended_by(&mut self, deadline: Instant) -> Result<Option<ExitStatus>, NatsServerError> {
        loop {
            let ended = self.try_wait()?;
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            sleep(POLL).await;
        }
    }

    /// Tells the watchdog that the process is gone and its number may belong to another.
    fn dismiss_watchdog(mut self) {
        drop(self.watchdog.write_all(b"done\n"));
    }
}

/// Whether a server greets there.
async fn answers(at: &Announced, deadline: Instant) -> bool {
    let greeting = async {
        let mut stream = TcpStream::connect(format!("{}:{}", at.host, at.port)).await?;
        let mut start = [0_u8; 5];
        stream.read_exact(&mut start).await?;
        Ok::<_, io::Error>(start == *b"INFO ")
    };
    let left = deadline.saturating_duration_since(Instant::now());
    matches!(timeout(left, greeting).await, Ok(Ok(true)))
}
