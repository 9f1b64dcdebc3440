//! The directory of one server: its lock, configuration, log and ports file.

use std::fs::{self, File, TryLockError};
use std::path::PathBuf;

use super::error::NatsServerError;
use super::process::{ServerConfig, StartOptions};
use super::provision::tail;

/// How much of the log's end is read for an error.
const LOG_TAIL_BYTES: usize = 4_096;

#[derive(Debug)]
pub(super) struct Files {
    pub(super) config: PathBuf,
    pub(super) ports_dir: PathBuf,
    pub(super) log: PathBuf,
}

/// Where a server says that it listens; of several addresses the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// Makes the directories, takes the store's lock and writes the configuration.
pub(super) fn prepare(options: &StartOptions) -> Result<(Files, File), NatsServerError> {
    let store = &options.store_dir;
    let ports_dir = store.join("ports");
    fs::create_dir_all(&ports_dir).map_err(NatsServerError::files("create", &ports_dir))?;
    let lock_path = store.join("countersign.lock");
    let lock = File::create(&lock_path).map_err(NatsServerError::files("create", &lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(NatsServerError::StoreInUse {
                path: store.clone(),
            });
        }
        Err(TryLockError::Error(source)) => {
            return Err(NatsServerError::files("lock", &lock_path)(source));
        }
    }
    let config = match &options.config {
        ServerConfig::File(path) => path.clone(),
        ServerConfig::Text(text) => {
            let path = store.join("nats-server.conf");
            fs::write(&path, text).map_err(NatsServerError::files("write", &path))?;
            path
        }
    };
    let log = store.join("nats-server.log");
    let files = Files {
        config,
        ports_dir,
        log,
    };
    Ok((files, lock))
}

impl Files {
    /// Removes what an earlier run announced.
    pub(super) fn clear_ports(&self) -> Result<(), NatsServerError> {
        for path in self.ports_files() {
            fs::remove_file(&path).map_err(NatsServerError::files("remove", &path))?;
        }
        Ok(())
    }

    fn ports_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.ports_dir).into_iter().flatten();
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "ports"))
            .collect()
    }

    /// Where clients reach it, once the server has written its ports file.
    pub(super) fn announced(&self) -> Option<Announced> {
        let text = fs::read_to_string(self.ports_files().first()?).ok()?;
        let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
        let url = ports.pointer("/nats/0")?.as_str()?;
        let (scheme, address) = url.split_once("://")?;
        let (host, port) = address.rsplit_once(':')?;
        Some(Announced {
            host: host.to_owned(),
            port: port.parse().ok()?,
            tls: scheme == "tls",
        })
    }

    pub(super) fn ended(&self) -> NatsServerError {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let from = bytes.len().saturating_sub(LOG_TAIL_BYTES);
        let end = bytes.get(from..).unwrap_or_default();
        NatsServerError::Ended {
            log: self.log.clone(),
            tail: tail(&String::from_utf8_lossy(end)),
        }
    }
}
