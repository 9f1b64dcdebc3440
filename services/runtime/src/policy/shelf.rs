//! The bucket `CS_POLICY`: packed bundles in parts, and which of them is in force.
//!
//! | key | value |
//! |---|---|
//! | `current` | [`Published`]: the bundle in force, changed under compare-and-set |
//! | `kept` | the bundles that are there, [`Kept`] each, the newest first; those that leave last |
//! | `bundle.<hex>.<n>` | part `n` of a packed bundle, by the bundle's digest |
//! | `part.<hex>` | a part that was uploaded, by its own digest; it goes after a while |
//!
//! A message holds a megabyte and a bundle sixteen, hence the parts; the client's object
//! store is left out because it would be one more feature to keep on the path of every
//! build. The parts of a bundle are written first and `current` last, so a publication
//! that breaks off changes nothing. Whoever loads a bundle checks it against its digest,
//! whatever the parts hold.
//!
//! INVARIANT: whoever publishes looks at `current` first, then writes every part
//! ([`Shelf::keep`]), then changes `current` from what it looked at ([`Shelf::publish`]).
//! So the parts of whatever is published later are younger than the publication in force
//! now, and [`Shelf::clear`], which takes only older ones, can take none of them, whatever
//! is pushed and rolled back at the same time.

mod kept;

use std::time::Duration;

use bytes::Bytes;
use countersign_domain::policy::PACKED_BYTES_MAX;
use countersign_schemas::{Digest, Incarnation, PersonId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::bus::layout::POLICY;
use crate::bus::{Bucket, Bus, BusError, Cas, Failure};
pub use kept::Kept;
use kept::{cleared, listed};

/// Bytes of one part: half of what every server takes as a message, since a part travels
/// as base64 when it is pushed.
pub const PART_BYTES_MAX: usize = 512 * 1024;
/// Parts of one bundle.
pub const PARTS_MAX: usize = PACKED_BYTES_MAX / PART_BYTES_MAX;
/// How long an uploaded part waits for its bundle to be published.
const UPLOAD_LIFE: Duration = Duration::from_secs(600);
/// How often the list of what is kept is tried again when somebody else changes it.
const TRIES: usize = 8;
/// The entry that says which bundle is in force.
const CURRENT: &str = "current";
/// The entry that lists the bundles that are there.
const KEPT: &str = "kept";

/// A publication: which bundle is in force, by whom, since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The bundle.
    pub digest: Digest,
    /// Its parts.
    pub parts: usize,
    /// The bytes of all of them.
    pub bytes: usize,
    /// The bundle that it replaced, if one was published before.
    pub previous: Option<Digest>,
    /// Who published it.
    pub operator: PersonId,
    /// When.
    pub at: Timestamp,
}

/// Why a bundle cannot be taken from the bucket. Holds nothing of the bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// The server does not answer.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Something could not be stored.
    #[error("{0}")]
    NotStored(String),
    /// Somebody else changed the same entry.
    #[error("somebody else published at the same time")]
    Conflict,
    /// The entry that names the bundle in force cannot be read.
    #[error("the entry that names the bundle in force cannot be read")]
    Unreadable,
    /// A part is missing, or there are more than a bundle has.
    #[error("the bundle is not stored whole")]
    Incomplete,
    /// What is stored is not a sound bundle of that digest.
    #[error("what is stored is not a sound bundle of that digest")]
    Broken,
}

/// The bucket.
#[derive(Clone)]
pub struct Shelf {
    bucket: Bucket,
}

impl Shelf {
    /// The bucket on this connection. It must exist.
    #[must_use]
    pub fn new(bus: &Bus) -> Self {
        Self {
            bucket: Bucket::new(bus, POLICY),
        }
    }

    /// The publication in force with its revision, from the leader; `None` if there never
    /// was one.
    ///
    /// # Errors
    /// When the server does not answer, or the entry is none of ours.
    pub async fn current(&self) -> Result<Option<(u64, Published)>, ShelfError> {
        let Some(entry) = self.bucket.get(CURRENT).await? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&entry.value).map_err(|_| ShelfError::Unreadable)?;
        Ok(Some((entry.revision, read)))
    }

    /// The packed bundle of a publication. It is not checked.
    ///
    /// # Errors
    /// When the server does not answer, or parts are missing.
    pub async fn packed(&self, published: &Published) -> Result<Vec<u8>, ShelfError> {
        self.read(published.digest, published.parts, published.bytes)
            .await
    }

    /// The packed bundle of something kept. It is not checked.
    ///
    /// # Errors
    /// As [`Self::packed`].
    pub async fn packed_kept(&self, kept: &Kept) -> Result<Vec<u8>, ShelfError> {
        self.read(kept.digest, kept.parts, kept.bytes).await
    }

    async fn read(
        &self,
        digest: Digest,
        parts: usize,
        bytes: usize,
    ) -> Result<Vec<u8>, ShelfError> {
        if parts > PARTS_MAX || bytes > PACKED_BYTES_MAX {
            return Err(ShelfError::Incomplete);
        }
        let mut packed = Vec::with_capacity(bytes);
        for number in 0..parts {
            let part = self.part(digest, number).await?;
            packed.extend_from_slice(&part.ok_or(ShelfError::Incomplete)?);
            if packed.len() > bytes {
                return Err(ShelfError::Incomplete);
            }
        }
        match packed.len() == bytes {
            true => Ok(packed),
            false => Err(ShelfError::Incomplete),
        }
    }

    /// One part of a bundle that is kept; it is not checked.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn part(&self, digest: Digest, number: usize) -> Result<Option<Bytes>, ShelfError> {
        let entry = self.bucket.get(&part_key(digest, number)).await?;
        Ok(entry.map(|entry| entry.value))
    }

    /// The bundles that are there, the newest first.
    ///
    /// # Errors
    /// When the server does not answer, or the entry is none of ours.
    pub async fn kept(&self) -> Result<Vec<Kept>, ShelfError> {
        let (_, all) = self.kept_entry().await?;
        Ok(all.into_iter().filter(|one| !one.leaving).collect())
    }

    async fn kept_entry(&self) -> Result<(u64, Vec<Kept>), ShelfError> {
        let Some(entry) = self.bucket.get(KEPT).await? else {
            return Ok((0, Vec::new()));
        };
        let read = serde_json::from_slice(&entry.value).map_err(|_| ShelfError::Unreadable)?;
        Ok((entry.revision, read))
    }

    /// Keeps an uploaded part for a while; its digest names it from then on.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn upload(&self, part: Bytes) -> Result<Digest, ShelfError> {
        let digest = Digest::of_bytes(&part);
        let key = upload_key(digest);
        self.bucket.put_for(&key, part, UPLOAD_LIFE).await?;
        Ok(digest)
    }

    /// The uploaded parts in this order, as one.
    ///
    /// # Errors
    /// When the server does not answer, or a part is missing or is not what its name says.
    pub async fn uploaded(&self, parts: &[Digest]) -> Result<Vec<u8>, ShelfError> {
        let mut packed = Vec::new();
        for digest in parts.iter().take(PARTS_MAX) {
            let part = self.bucket.get(&upload_key(*digest)).await?;
            let part = part.ok_or(ShelfError::Incomplete)?.value;
            if Digest::of_bytes(&part) != *digest {
                return Err(ShelfError::Incomplete);
            }
            packed.extend_from_slice(&part);
        }
        match parts.len() <= PARTS_MAX && packed.len() <= PACKED_BYTES_MAX {
            true => Ok(packed),
            false => Err(ShelfError::Incomplete),
        }
    }

    /// Keeps a packed bundle: first its place in the list, so that whatever breaks off
    /// between is found and removed again, then its parts, also those that are there. What
    /// falls off the list stays until [`Self::clear`].
    ///
    /// # Errors
    /// When it cannot be stored whole.
    pub async fn keep(&self, kept: &Kept, packed: &[u8]) -> Result<(), ShelfError> {
        let in_force = self.current().await?.map(|(_, published)| published.digest);
        self.list(kept, in_force).await?;
        for (number, part) in packed.chunks(PART_BYTES_MAX).enumerate() {
            let key = part_key(kept.digest, number);
            self.bucket.put(&key, Bytes::copy_from_slice(part)).await?;
        }
        Ok(())
    }

    /// Puts a bundle at the head of the list. What is in force never falls off it.
    async fn list(&self, kept: &Kept, in_force: Option<Digest>) -> Result<(), ShelfError> {
        for _ in 0..TRIES {
            let (revision, before) = self.kept_entry().await?;
            match self
                .write_kept(&listed(kept, before, in_force), revision)
                .await?
            {
                Cas::Stored(_) => return Ok(()),
                Cas::Conflict => {}
            }
        }
        Err(ShelfError::Conflict)
    }

    async fn write_kept(&self, list: &[Kept], revision: u64) -> Result<Cas, ShelfError> {
        let value = serde_json::to_vec(list).map_err(|_| ShelfError::Unreadable)?;
        Ok(self.bucket.update(KEPT, value.into(), revision).await?)
    }

    /// Removes the parts of what fell off the list, as far as they are older than the
    /// publication in force. What is not removed now is by a later call.
    ///
    /// # Errors
    /// When the server does not answer, or an entry is none of ours.
    pub async fn clear(&self) -> Result<(), ShelfError> {
        let Some((since, published)) = self.current().await? else {
            return Ok(());
        };
        let (revision, list) = self.kept_entry().await?;
        let mut gone = Vec::new();
        for old in list.iter().filter(|old| old.leaving) {
            if old.digest != published.digest && self.remove_older(old, since).await? {
                gone.push(old.digest);
            }
        }
        let after = cleared(&list, &gone, published.digest);
        if after != list {
            // Lost to somebody who pushes: the next one who clears finds the same.
            self.write_kept(&after, revision).await?;
        }
        Ok(())
    }

    /// Removes the parts that are older than revision `since`; whether none is left.
    async fn remove_older(&self, old: &Kept, since: u64) -> Result<bool, ShelfError> {
        let mut all = true;
        for number in 0..old.parts.min(PARTS_MAX) {
            let key = part_key(old.digest, number);
            let Some(part) = self.bucket.get(&key).await? else {
                continue;
            };
            all &= part.revision < since
                && matches!(
                    self.bucket.remove_if(&key, part.revision).await?,
                    Cas::Stored(_)
                );
        }
        Ok(all)
    }

    /// Which life of the bucket its revisions belong to.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn incarnation(&self) -> Result<Incarnation, ShelfError> {
        Ok(self.bucket.incarnation().await?)
    }

    /// Puts a bundle in force that was kept since `revision` was read as that of the one
    /// before it; 0 if there was none. Gives the new revision.
    ///
    /// # Errors
    /// [`ShelfError::Conflict`] if somebody else was first.
    pub async fn publish(&self, published: &Published, revision: u64) -> Result<u64, ShelfError> {
        let value = serde_json::to_vec(published).map_err(|_| ShelfError::Unreadable)?;
        match self.bucket.update(CURRENT, value.into(), revision).await? {
            Cas::Stored(revision) => Ok(revision),
            Cas::Conflict => Err(ShelfError::Conflict),
        }
    }
}

impl From<Failure> for ShelfError {
    fn from(failure: Failure) -> Self {
        Self::NotStored(failure.to_string())
    }
}

fn part_key(digest: Digest, number: usize) -> String {
    format!("bundle.{}.{number}", digest.hex())
}

fn upload_key(digest: Digest) -> String {
    format!("part.{}", digest.hex())
}
