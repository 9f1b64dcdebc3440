//! What can go wrong with a server of our own, in words that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::version::{MINIMUM, TESTED, Version};

/// How to get a server by hand; part of every message that needs it.
const BY_HAND: &str = "install nats-server 2.14 or newer so that it is in PATH, \
    or name it in COUNTERSIGN_NATS_SERVER";

/// A nats-server cannot be found, installed, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsServerError {
    /// The named program cannot be run or does not say its version.
    #[error("cannot use `{}` as nats-server: {reason}; {BY_HAND}", path.display())]
    Unusable {
        /// The program.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The named program is too old.
    #[error(
        "`{}` is nats-server {version}, but Countersign needs {MINIMUM} or newer \
         ({TESTED} is the tested one): upgrade it, or unset COUNTERSIGN_NATS_SERVER",
        path.display()
    )]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: Version,
    },
    /// The server is not here and cannot be installed.
    #[error("cannot install nats-server {TESTED}: {reason}; {BY_HAND}")]
    Install {
        /// What happened.
        reason: String,
    },
    /// A file or directory of the server cannot be used.
    #[error("cannot {act} `{}`: {source}", path.display())]
    Files {
        /// What was tried.
        act: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The process cannot be spawned, signalled or awaited.
    #[error("cannot {act} nats-server: {source}")]
    Process {
        /// What was tried.
        act: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Another process runs a server on the same store.
    #[error("the store `{}` is in use by another process: stop that one first", path.display())]
    StoreInUse {
        /// The store.
        path: PathBuf,
    },
    /// The configuration names another store, or none.
    #[error(
        "the server does not keep its streams in `{0}`: set `jetstream {{ store_dir: \"{0}\" }}` \
         in its configuration",
        path.display()
    )]
    OtherStore {
        /// The store that was meant.
        path: PathBuf,
    },
    /// The server ended before it was ready.
    #[error("nats-server ended before it was ready; its log `{}` ends with: {tail}", log.display())]
    Ended {
        /// Its log.
        log: PathBuf,
        /// The end of that log.
        tail: String,
    },
    /// The running server ended although nobody stopped it.
    #[error("nats-server ended by itself; its log `{}` says why", log.display())]
    Died {
        /// Its log.
        log: PathBuf,
    },
    /// The server did not answer in time.
    #[error("nats-server did not answer within {seconds} s; look into its log `{}`", log.display())]
    NotReady {
        /// How long we waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
    },
}

impl NatsServerError {
    pub(super) fn files(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Files { act, path, source }
    }

    pub(super) fn process(act: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Process { act, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads it must not need another page to go on.
    #[test]
    fn each_error_about_the_program_says_how_to_get_one_that_works() {
        let path = || PathBuf::from("/opt/nats-server");
        let reason = || "it is not a program".to_owned();
        let old: Version = Version::find_in("2.9.1").unwrap();
        for error in [
            NatsServerError::Unusable {
                path: path(),
                reason: reason(),
            },
            NatsServerError::TooOld {
                path: path(),
                version: old,
            },
            NatsServerError::Install { reason: reason() },
        ] {
            let told = error.to_string();
            assert!(told.contains("COUNTERSIGN_NATS_SERVER"), "{told}");
            assert!(told.contains("2.14"), "{told}");
        }
    }

    #[test]
    fn each_error_about_a_file_names_it() {
        let path = Path::new("/data/store");
        let source = || io::Error::from(io::ErrorKind::PermissionDenied);
        for error in [
            NatsServerError::files("create", path)(source()),
            NatsServerError::StoreInUse { path: path.into() },
            NatsServerError::OtherStore { path: path.into() },
            NatsServerError::Ended {
                log: path.into(),
                tail: "bad key".to_owned(),
            },
            NatsServerError::NotReady {
                seconds: 30,
                log: path.into(),
            },
        ] {
            let told = error.to_string();
            assert!(told.contains("`/data/store`"), "{told}");
        }
        let told = NatsServerError::process("stop")(source()).to_string();
        assert!(told.starts_with("cannot stop nats-server: "), "{told}");
    }
}
