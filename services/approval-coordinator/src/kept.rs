//! Values in buckets, changed under compare-and-set; another version of the coordinator may
//! have written them.

use std::time::Duration;

use countersign_runtime::bus::{Bucket, Cas, Failure, metrics};
use serde::Serialize;

use crate::office::Office;

/// How long a message waits for a value that this version cannot read: a person may be
/// waiting for the answer to a vote, and a newer coordinator may take it.
const VALUE_RETRY: Duration = Duration::from_secs(5);

/// A value as its bucket holds it, and the revision to expect when changing it.
pub(crate) struct Held<T> {
    pub(crate) value: T,
    pub(crate) revision: u64,
}

impl Office {
    /// Stores a changed value under `key`; its new revision, or `None` if somebody else
    /// changed it first. What is settled only answers whoever comes late, and leaves the
    /// bucket by itself.
    pub(crate) async fn store<T: Serialize>(
        &self,
        bucket: &Bucket,
        key: &str,
        held: &Held<T>,
        settled: bool,
    ) -> Result<Option<u64>, Failure> {
        let value = written(key, &held.value)?;
        let stored = match settled {
            true => {
                let life = self.settled_life;
                bucket.update_for(key, value, held.revision, life).await?
            }
            false => bucket.update(key, value, held.revision).await?,
        };
        Ok(match stored {
            Cas::Stored(revision) => Some(revision),
            Cas::Conflict => None,
        })
    }
}

/// A value as a bucket keeps it under `key`.
pub(crate) fn written<T: Serialize>(key: &str, value: &T) -> Result<bytes::Bytes, Failure> {
    let value = serde_json::to_vec(value)
        .map_err(|error| Failure::fatal(format!("cannot write `{key}`: {error}")))?;
    Ok(value.into())
}

/// Gives the input back, with an alarm, where a value in a bucket is one that this version
/// cannot read: a newer coordinator wrote it, and goes on with it. Nothing is lost meanwhile.
pub(crate) fn known<T, E: std::fmt::Display>(what: &str, read: Result<T, E>) -> Result<T, Failure> {
    read.map_err(|error| {
        let what = unreadable_value(what, &error);
        Failure::transient_in(what, VALUE_RETRY)
    })
}

/// Raises the alarm that a value in a bucket cannot be read by this version; in words.
pub(crate) fn unreadable_value(what: &str, error: &dyn std::fmt::Display) -> String {
    let what = format!("cannot read {what}: {error}");
    metrics::alarm("unreadable_value", &what);
    what
}
