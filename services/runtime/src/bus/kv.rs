//! A key-value bucket under compare-and-set, always read from the leader.

use std::time::Duration;

use bytes::Bytes;
use countersign_schemas::{Incarnation, headers};
use futures::StreamExt as _;
use serde_json::json;

use super::connection::Bus;
use super::failure::{BusError, Failure};
use super::outgoing::Outgoing;
use super::publisher::PublishError;
use super::reading::StoredMessage;
use super::replay::{ReplayFrom, Replayed};

/// How long the trace of a removed entry stays: longer than a read that was under way.
const TRACE_LIFE: Duration = Duration::from_secs(60);

/// A value and the revision to expect when changing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Its revision.
    pub revision: u64,
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cas {
    /// It is stored, under this revision.
    Stored(u64),
    /// Somebody else wrote first: read again and decide anew.
    Conflict,
}

impl StoredMessage {
    /// Whether a message of a bucket holds a value: a client marks a deletion, and the
    /// server marks an entry whose life is over.
    #[must_use]
    pub fn is_value(&self) -> bool {
        self.header(headers::KV_OPERATION).is_none()
            && self.header(headers::MARKER_REASON).is_none()
    }
}

/// A bucket.
#[derive(Clone)]
pub struct Bucket {
    bus: Bus,
    name: &'static str,
}

impl Bucket {
    /// The bucket called `name` on this connection. It must exist.
    #[must_use]
    pub fn new(bus: &Bus, name: &'static str) -> Self {
        Self {
            bus: bus.clone(),
            name,
        }
    }

    /// Which life of the bucket this is, asked of the server: a bucket that was made anew
    /// counts its revisions from 1 again.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn incarnation(&self) -> Result<Incarnation, BusError> {
        self.bus.ask_incarnation(&self.stream()).await
    }

    /// The value of `key`, from the leader.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, BusError> {
        let query = json!({ "last_by_subj": self.subject(key) });
        let found = self.bus.get(&self.stream(), query).await?;
        Ok(found.filter(StoredMessage::is_value).map(|message| Entry {
            key: key.to_owned(),
            value: message.payload,
            revision: message.seq,
        }))
    }

    /// Stores a value under a key that has never been used.
    ///
    /// # Errors
    /// When the outcome is not known.
    pub async fn create(&self, key: &str, value: Bytes) -> Result<Cas, Failure> {
        self.update(key, value, 0).await
    }

    /// Stores a value if the key's revision is still `revision`.
    ///
    /// # Errors
    /// When the outcome is not known: the caller reads again, as after a conflict.
    pub async fn update(&self, key: &str, value: Bytes, revision: u64) -> Result<Cas, Failure> {
        let subject = self.subject(key);
        self.store(Outgoing::raw(&subject, value).expecting(&subject, revision))
            .await
    }

    /// As [`Bucket::update`], and the entry leaves the bucket by itself after `life`, in
    /// whole seconds and at least one. A later plain update keeps it for good.
    ///
    /// # Errors
    /// As [`Bucket::update`].
    pub async fn update_for(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
        life: Duration,
    ) -> Result<Cas, Failure> {
        let subject = self.subject(key);
        let mut message = Outgoing::raw(&subject, value).expecting(&subject, revision);
        message.set(headers::TTL, &life.as_secs().max(1).to_string());
        self.store(message).await
    }

    /// Removes an entry that nobody will write again. The bucket must allow entries that
    /// leave by themselves: so does the trace of this one.
    ///
    /// # Errors
    /// When the outcome is not known.
    pub async fn remove(&self, key: &str) -> Result<(), Failure> {
        let stored = self.bus.publisher().publish(self.removal(key)).await;
        stored.map(drop).map_err(Failure::from)
    }

    /// As [`Bucket::remove`], if the key's revision is still `revision`.
    ///
    /// # Errors
    /// When the outcome is not known.
    pub async fn remove_if(&self, key: &str, revision: u64) -> Result<Cas, Failure> {
        let removal = self.removal(key);
        let subject = self.subject(key);
        self.store(removal.expecting(&subject, revision)).await
    }

    fn removal(&self, key: &str) -> Outgoing {
        let mut message = Outgoing::raw(&self.subject(key), Bytes::new());
        message.set(headers::KV_OPERATION, "DEL");
        message.set(headers::TTL, &TRACE_LIFE.as_secs().to_string());
        message
    }

    async fn store(&self, message: Outgoing) -> Result<Cas, Failure> {
        match self.bus.publisher().publish(message).await {
            Ok(revision) => Ok(Cas::Stored(revision)),
            Err(PublishError::Conflict { .. }) => Ok(Cas::Conflict),
            Err(error) => Err(error.into()),
        }
    }

    /// Stores a value whatever stood there, for `life`; then it is gone. For buckets whose
    /// entries may have a life of their own.
    ///
    /// # Errors
    /// When the outcome is not known.
    pub async fn put_for(&self, key: &str, value: Bytes, life: Duration) -> Result<(), Failure> {
        let mut message = Outgoing::raw(&self.subject(key), value);
        message.set(headers::TTL, &life.as_secs().max(1).to_string());
        self.bus.publisher().publish(message).await?;
        Ok(())
    }

    /// Stores a value whatever stood there.
    ///
    /// # Errors
    /// When the outcome is not known.
    pub async fn put(&self, key: &str, value: Bytes) -> Result<(), Failure> {
        let message = Outgoing::raw(&self.subject(key), value);
        self.bus.publisher().publish(message).await?;
        Ok(())
    }

    /// The last value of every key, read to the end of the bucket.
    ///
    /// # Errors
    /// When the bucket cannot be read to its end.
    pub async fn entries(&self) -> Result<Vec<Entry>, BusError> {
        let prefix = self.subject("");
        let filter = format!("{prefix}>");
        let replay = self
            .bus
            .replay(
                &self.stream(),
                &[filter.as_str()],
                ReplayFrom::LastPerSubject,
            )
            .await?;
        let mut entries = Vec::new();
        if replay.is_empty() {
            return Ok(entries);
        }
        let mut messages = replay.messages();
        while let Some(next) = messages.next().await {
            let Replayed { message, pending } = next?;
            if message.is_value()
                && let Some(key) = message.subject.strip_prefix(&prefix)
            {
                entries.push(Entry {
                    key: key.to_owned(),
                    value: message.payload.clone(),
                    revision: message.seq,
                });
            }
            if pending == 0 {
                return Ok(entries);
            }
        }
        Err(BusError::request(
            format!("cannot read bucket {} to its end", self.name),
            "the delivery stopped",
        ))
    }

    fn stream(&self) -> String {
        format!("KV_{}", self.name)
    }

    fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.name)
    }
}
