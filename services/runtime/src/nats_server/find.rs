//! Where a usable nats-server is: named, in `PATH`, in the cache, or installed now.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use etcetera::BaseStrategy;

use super::error::NatsServerError;
use super::provision::{Progress, install};
use super::version::{TESTED, Version};

/// Names the program to use, before anything else.
const NAMED_BY: &str = "COUNTERSIGN_NATS_SERVER";
const PROGRAM: &str = "nats-server";

/// A server program that will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsBinary {
    /// Where it is.
    pub path: PathBuf,
    /// What it says it is.
    pub version: Version,
}

/// Finds a usable nats-server, or installs the pinned one into the user's cache.
///
/// Blocks: installing takes seconds. Several processes may call it at once.
///
/// # Errors
/// When none is found and none can be installed; the text says how to install one.
pub fn find_or_provision(progress: Progress) -> Result<NatsBinary, NatsServerError> {
    Finder::from_env()?.find(progress)
}

/// The places to look in, read once from the environment.
#[derive(Debug, Clone)]
pub struct Finder {
    /// The program that `COUNTERSIGN_NATS_SERVER` names.
    pub named: Option<PathBuf>,
    /// The directories of `PATH`.
    pub search: Option<OsString>,
    /// The directory that holds one directory for each installed version.
    pub cache: PathBuf,
    /// The Python that installs.
    pub python: PathBuf,
}

impl Finder {
    /// The places that this process's environment names.
    ///
    /// # Errors
    /// When the user has no home directory.
    pub fn from_env() -> Result<Self, NatsServerError> {
        let base = etcetera::choose_base_strategy().map_err(|error| NatsServerError::Install {
            reason: format!("no cache directory ({error})"),
        })?;
        Ok(Self {
            named: env::var_os(NAMED_BY)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from),
            search: env::var_os("PATH"),
            cache: base.cache_dir().join("countersign").join(PROGRAM),
            python: PathBuf::from("python3"),
        })
    }

    /// Looks in each place, in order.
    ///
    /// # Errors
    /// When the named program will not do, or none is found and none can be installed.
    pub fn find(&self, progress: Progress) -> Result<NatsBinary, NatsServerError> {
        if let Some(path) = &self.named {
            return usable(path);
        }
        let in_path = self.in_path().and_then(|path| usable(&path).ok());
        if let Some(binary) = in_path {
            return Ok(binary);
        }
        let cached = self.cached();
        if let Ok(binary) = usable(&cached) {
            return Ok(binary);
        }
        install(&self.cache, &self.python, progress)?;
        usable(&cached)
    }

    fn in_path(&self) -> Option<PathBuf> {
        env::split_paths(self.search.as_ref()?)
            .map(|dir| dir.join(PROGRAM))
            .find(|path| path.is_file())
    }

    fn cached(&self) -> PathBuf {
        program_in(&self.cache.join(TESTED.to_string()))
    }
}

/// The program inside one installed version.
pub(super) fn program_in(version_dir: &Path) -> PathBuf {
    version_dir.join("bin").join(PROGRAM)
}

/// Asks the program for its version and refuses one that is too old.
pub(super) fn usable(path: &Path) -> Result<NatsBinary, NatsServerError> {
    let unusable = |reason: String| NatsServerError::Unusable {
        path: path.to_owned(),
        reason,
    };
    let output = Command::new(path)
        .arg("--version")
        .output()
        .map_err(|error| unusable(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = Version::find_in(&said)
        .ok_or_else(|| unusable("`--version` names no version".to_owned()))?;
    if version.will_do() {
        Ok(NatsBinary {
            path: path.to_owned(),
            version,
        })
    } else {
        Err(NatsServerError::TooOld {
            path: path.to_owned(),
            version,
        })
    }
}
