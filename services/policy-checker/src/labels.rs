//! Labels in their bucket: what an agent has seen, under compare-and-set, read from the
//! leader. A label is stored before the verdict that lets its tool run, so that nobody can
//! have seen anything before it is there.

use std::time::Duration;

use countersign_domain::policy::{Holder, Learnt, Marking, Seen, TooManyLabels};
use countersign_runtime::bus::layout::LABELS;
use countersign_runtime::bus::{Bucket, Bus, Cas, Entry, Failure};
use countersign_schemas::Timestamp;
use serde_json::Value;
use tokio::time::timeout;

/// How long the labels of one judgement may be waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// How much longer than raw messages ended labels stay: clocks differ, and what is judged
/// again was read a moment before.
const KEPT_LONGER: Duration = Duration::from_secs(60 * 60);
/// Tries to change one entry: whoever loses so often meets a thousand others that mark
/// the same, and after one of them there is nothing left to mark.
const TRIES_MAX: usize = 20;

/// The bucket of labels.
pub(crate) struct Labels {
    bucket: Bucket,
    life: Duration,
    kept: Duration,
}

/// What came of a marking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marked {
    /// It is stored.
    Stored,
    /// The agent carries as many labels as one entry holds.
    TooMany,
}

impl Labels {
    /// The bucket on this connection; `life` is that of a label without a mandate. What
    /// is stored raw for `raw_retention` may be judged again for so long, by what held
    /// when it was stored.
    pub(crate) fn new(bus: &Bus, life: Duration, raw_retention: Duration) -> Self {
        Self {
            bucket: Bucket::new(bus, LABELS),
            life,
            kept: raw_retention + KEPT_LONGER,
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
    ) -> Result<Marked, Failure> {
        for (key, end) in marking.holder.writes(seen, self.life) {
            if self.mark_entry(&key, marking, end, at).await? == Marked::TooMany {
                return Ok(Marked::TooMany);
            }
        }
        Ok(Marked::Stored)
    }

    async fn mark_entry(
        &self,
        key: &str,
        marking: &Marking,
        end: Timestamp,
        at: Timestamp,
    ) -> Result<Marked, Failure> {
        for _ in 0..TRIES_MAX {
            let entry = self.bucket.get(key).await?;
            let revision = entry.as_ref().map_or(0, |entry| entry.revision);
            let seen = read(entry.as_ref())?;
            let marked = match seen.mark(&marking.labels, end, at, self.kept) {
                Ok(Some(marked)) => marked,
                Ok(None) => return Ok(Marked::Stored),
                Err(TooManyLabels) => return Ok(Marked::TooMany),
            };
            let value = serde_json::to_vec(&marked)
                .map_err(|error| Failure::transient(format!("cannot write labels: {error}")))?;
            // One entry for each mandate: they leave by themselves, or they fill the bucket.
            let life = marked.end().unwrap_or(end).since(at) + self.kept;
            let stored = self.bucket.update_for(key, value.into(), revision, life);
            match stored.await? {
                Cas::Stored(_) => return Ok(Marked::Stored),
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
