//! Labels in their bucket: what an agent has seen, under compare-and-set, read from the
//! leader. A label is stored before the verdict that lets its tool run, so that nobody can
//! have seen anything before it is there.

use std::time::Duration;

use countersign_domain::policy::{Holder, Learnt, Marking, Seen};
use countersign_runtime::bus::layout::LABELS;
use countersign_runtime::bus::{Bucket, Bus, Cas, Entry, Failure};
use countersign_schemas::Timestamp;
use serde_json::Value;
use tokio::time::timeout;

/// How long the labels of one judgement may be waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// How much longer than its last label an entry stays: what was stored before the end may
/// be judged after it.
const ENTRY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Tries to change one entry: whoever loses so often meets a thousand others that mark
/// the same, and after one of them there is nothing left to mark.
const TRIES_MAX: usize = 20;

/// The bucket of labels.
pub(crate) struct Labels {
    bucket: Bucket,
    life: Duration,
}

impl Labels {
    /// The bucket on this connection; `life` is that of a label without a mandate.
    pub(crate) fn new(bus: &Bus, life: Duration) -> Self {
        Self {
            bucket: Bucket::new(bus, LABELS),
            life,
        }
    }

    /// Every entry that says what `holder` has seen.
    pub(crate) async fn seen(&self, holder: &Holder) -> Learnt {
        let read = timeout(READ_TIMEOUT, self.entries(holder)).await;
        read.unwrap_or_else(|_| Err("they do not come in time".to_owned()))
    }

    async fn entries(&self, holder: &Holder) -> Learnt {
        let mut entries = Vec::new();
        for key in holder.reads() {
            let entry = self.bucket.get(&key).await;
            let entry = entry.map_err(|_| "the server does not answer".to_owned())?;
            if let Some(entry) = entry {
                let value: Value = serde_json::from_slice(&entry.value)
                    .map_err(|_| "an entry has another form".to_owned())?;
                entries.push(value);
            }
        }
        Ok(Value::Array(entries))
    }

    /// Stores what an agent will have seen, before anything lets it see that.
    ///
    /// # Errors
    /// When it cannot be stored now; the intent comes again.
    ///
    /// `at` is the time of judging; `seen` the time at which it may have seen it at the
    /// latest: people may take days, and a label that ended before would protect nothing.
    pub(crate) async fn mark(
        &self,
        marking: &Marking,
        at: Timestamp,
        seen: Timestamp,
    ) -> Result<(), Failure> {
        for (key, end) in marking.holder.writes(seen, self.life) {
            self.mark_entry(&key, marking, end, at).await?;
        }
        Ok(())
    }

    async fn mark_entry(
        &self,
        key: &str,
        marking: &Marking,
        end: Timestamp,
        at: Timestamp,
    ) -> Result<(), Failure> {
        for _ in 0..TRIES_MAX {
            let entry = self.bucket.get(key).await?;
            let revision = entry.as_ref().map_or(0, |entry| entry.revision);
            let seen = read(entry.as_ref())?;
            let marked = seen.mark(&marking.labels, end, at);
            let marked = marked.map_err(|error| Failure::transient(error.to_string()))?;
            let Some(marked) = marked else {
                return Ok(());
            };
            let value = serde_json::to_vec(&marked)
                .map_err(|error| Failure::transient(format!("cannot write labels: {error}")))?;
            // One entry for each mandate: they leave by themselves, or they fill the bucket.
            let life = marked.end().unwrap_or(end).since(at) + ENTRY_KEPT;
            let stored = self.bucket.update_for(key, value.into(), revision, life);
            match stored.await? {
                Cas::Stored(_) => return Ok(()),
                Cas::Conflict => {}
            }
        }
        Err(Failure::transient(format!(
            "the labels of an agent were changed {TRIES_MAX} times meanwhile"
        )))
    }
}

fn read(entry: Option<&Entry>) -> Result<Seen, Failure> {
    let Some(entry) = entry else {
        return Ok(Seen::default());
    };
    let read = serde_json::from_slice(&entry.value);
    read.map_err(|error| Failure::transient(format!("cannot read labels: {error}")))
}
