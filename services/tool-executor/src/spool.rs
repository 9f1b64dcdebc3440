//! Outcomes that the server has not stored yet, on disk.
//!
//! A record is written and synced before its first publish and removed after the ack, so
//! that a crash in between loses nothing. It holds what `tool.completed` holds: redacted.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_runtime::service::ServiceError;
use countersign_schemas::IntentId;
use countersign_schemas::events::ToolCompleted;
use serde::{Deserialize, Serialize};

/// The ending of a whole record; anything else is a write that never finished.
const ENDING: &str = "json";

/// The spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// A file or folder of it.
    #[error("cannot {act} `{}` in the spool of outcomes: {source}", path.display())]
    Files {
        act: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Two executors share it.
    #[error("the spool `{}` is in use by another executor: give each its own", path.display())]
    InUse { path: PathBuf },
    /// A record that this program wrote cannot be read.
    #[error(
        "the record `{}` in the spool of outcomes cannot be read ({reason}): \
         move it away and reconcile its intent by hand",
        path.display()
    )]
    Record { path: PathBuf, reason: String },
    /// The process ends.
    #[error("the spool of outcomes is closed: {0}")]
    Stopped(String),
}

impl SpoolError {
    fn files(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Files { act, path, source }
    }
}

impl From<SpoolError> for ServiceError {
    fn from(error: SpoolError) -> Self {
        Self::configured(error)
    }
}

/// One outcome on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The id that it is published under, every time.
    pub(crate) message_id: String,
    /// The sequence of the claim.
    pub(crate) claim_seq: u64,
    /// The outcome.
    pub(crate) completed: ToolCompleted,
    /// Trace context of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
}

/// The folder of records. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    dir: Arc<PathBuf>,
    // Held for as long as the folder is ours.
    _lock: Arc<File>,
}

impl Spool {
    pub(crate) fn open(dir: &Path) -> Result<Self, SpoolError> {
        fs::create_dir_all(dir).map_err(SpoolError::files("create", dir))?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(SpoolError::files("create", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                dir: Arc::new(dir.to_owned()),
                _lock: Arc::new(lock),
            }),
            Err(TryLockError::WouldBlock) => Err(SpoolError::InUse {
                path: dir.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(SpoolError::files("lock", &path)(source)),
        }
    }

    /// Writes a record so that it survives a crash of the machine.
    pub(crate) fn write(&self, record: &Record) -> Result<(), SpoolError> {
        let path = self.path(record.completed.intent_id);
        let partial = path.with_extension("partial");
        let body = serde_json::to_vec(record).map_err(|error| SpoolError::Record {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let mut file = File::create(&partial).map_err(SpoolError::files("create", &partial))?;
        file.write_all(&body)
            .and_then(|()| file.sync_all())
            .map_err(SpoolError::files("write", &partial))?;
        fs::rename(&partial, &path).map_err(SpoolError::files("write", &path))?;
        self.sync()
    }

    /// Removes the record of an intent whose outcome is stored.
    pub(crate) fn remove(&self, intent: IntentId) -> Result<(), SpoolError> {
        let path = self.path(intent);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SpoolError::files("remove", &path)(error))
            }
            Ok(()) | Err(_) => self.sync(),
        }
    }

    /// Every record that was left behind.
    pub(crate) fn records(&self) -> Result<Vec<Record>, SpoolError> {
        let failed = || SpoolError::files("list", &self.dir);
        let mut records = Vec::new();
        for entry in fs::read_dir(self.dir.as_path()).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                records.push(read(&path)?);
            }
        }
        Ok(records)
    }

    fn path(&self, intent: IntentId) -> PathBuf {
        self.dir.join(format!("{intent}.{ENDING}"))
    }

    /// Makes names in the folder last, as `sync_all` does for the bytes of a file.
    fn sync(&self) -> Result<(), SpoolError> {
        File::open(self.dir.as_path())
            .and_then(|dir| dir.sync_all())
            .map_err(SpoolError::files("sync", &self.dir))
    }
}

fn read(path: &Path) -> Result<Record, SpoolError> {
    let bytes = fs::read(path).map_err(SpoolError::files("read", path))?;
    serde_json::from_slice(&bytes).map_err(|error| SpoolError::Record {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use countersign_schemas::Timestamp;
    use countersign_schemas::events::Outcome;

    use super::*;

    fn record(intent: IntentId) -> Record {
        Record {
            message_id: "m-1".to_owned(),
            claim_seq: 7,
            completed: ToolCompleted {
                schema_version: 1,
                intent_id: intent,
                agent: "billing".parse().unwrap(),
                tool: "crm.read".parse().unwrap(),
                outcome: Outcome::Succeeded,
                output: None,
                output_summary: "crm.read succeeded.".to_owned(),
                changes: Vec::new(),
                error: None,
                duration_ms: 3,
            },
            traceparent: None,
        }
    }

    #[test]
    fn a_record_stays_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let intent = IntentId::new_at(Timestamp::EPOCH);
        {
            let spool = Spool::open(dir.path()).unwrap();
            spool.write(&record(intent)).unwrap();
        }
        let spool = Spool::open(dir.path()).unwrap();
        assert_eq!(spool.records().unwrap(), [record(intent)]);
        spool.remove(intent).unwrap();
        spool.remove(intent).unwrap();
        assert!(spool.records().unwrap().is_empty());
    }

    #[test]
    fn a_write_that_never_finished_is_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        fs::write(dir.path().join("x.partial"), b"{\"mess").unwrap();
        assert!(spool.records().unwrap().is_empty());
    }

    #[test]
    fn a_damaged_record_is_told_and_not_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        fs::write(dir.path().join("x.json"), b"{}").unwrap();
        let text = spool.records().unwrap_err().to_string();
        assert!(
            text.contains("x.json") && text.contains("by hand"),
            "{text}"
        );
    }

    #[test]
    fn two_executors_never_share_a_spool() {
        let dir = tempfile::tempdir().unwrap();
        let first = Spool::open(dir.path()).unwrap();
        let error = Spool::open(dir.path()).unwrap_err();
        assert!(matches!(error, SpoolError::InUse { .. }), "{error}");
        drop(first);
        Spool::open(dir.path()).unwrap();
    }
}
