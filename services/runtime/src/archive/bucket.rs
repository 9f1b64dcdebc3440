//! A prefix of a bucket as a store, by conditional requests: `If-None-Match: *` creates,
//! `If-Match` replaces what was seen.
//!
//! A request whose answer is lost may have been done. A creation that finds the name taken
//! therefore looks who has taken it: bytes that are our own are our own success.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::aws::AmazonS3;
use object_store::path::Path as ObjectPath;
use object_store::{
    Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, UpdateVersion, WriteMultipart,
};
use tempfile::NamedTempFile;

use super::client::client;
use super::error::told;
use super::objects::Objects;
use super::place::BucketPlace;
use super::wait::wait;
use super::{Created, Listed, Seen, StoreError};

/// Requests at a time where there are many small ones.
const AT_ONCE: usize = 32;
/// How often a creation is tried that is refused although nothing has the name: somebody is
/// creating or removing it just then.
const CREATE_TRIES: usize = 5;
/// Bytes up to which a file is one request, which is held in memory and tells whether the
/// name was free.
const ONE_REQUEST_MAX: u64 = 32 * 1024 * 1024;
/// Bytes of each part of a larger one.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts on their way at a time.
const PARTS_AT_ONCE: usize = 4;

#[derive(Clone)]
pub(super) struct Bucket {
    store: Arc<AmazonS3>,
    base: ObjectPath,
    name: String,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.name).finish()
    }
}

impl Bucket {
    pub(super) fn new(place: &BucketPlace) -> Result<Self, StoreError> {
        let name = place.to_string();
        let store = client(place).map_err(StoreError::new("open", &name))?;
        Ok(Self {
            store: Arc::new(store),
            base: place.prefix.clone(),
            name,
        })
    }

    pub(super) fn full_name(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("{}/{path}", self.name))
    }

    pub(super) fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::new(Objects {
            store: AmazonS3::clone(&self.store),
            base: self.base.clone(),
            name: self.name.clone(),
        })
    }

    /// Does one thing there, and waits for it.
    fn act<T, F>(
        &self,
        act: &'static str,
        path: &str,
        work: impl FnOnce(Arc<AmazonS3>, ObjectPath) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        let fail = StoreError::new(act, self.full_name(path));
        let done = self.key(path).and_then(|key| {
            let work = work(Arc::clone(&self.store), key);
            wait(async move { work.await.map_err(|error| told(&error)) })
        });
        done.map_err(fail)
    }

    fn key(&self, path: &str) -> io::Result<ObjectPath> {
        let path = ObjectPath::parse(path).map_err(io::Error::other)?;
        Ok(self.base.parts().chain(path.parts()).collect())
    }

    pub(super) fn find_manifest(&self) -> Result<(), StoreError> {
        let found = self.act(READ_MANIFEST, "manifest", |store, key| async move {
            store.list(Some(&key)).try_next().await
        })?;
        match found {
            Some(_) => Ok(()),
            None => {
                let reason = io::Error::new(io::ErrorKind::NotFound, "there is none");
                Err(StoreError::new(READ_MANIFEST, self.full_name("manifest"))(
                    reason,
                ))
            }
        }
    }

    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        let name = format!("tmp/probe-{}", uuid::Uuid::now_v7());
        let verdict = self.act("try", &name, |store, key| async move {
            super::probe::probe(store.as_ref(), &key).await
        })?;
        verdict.map_or(Ok(()), |wrong| {
            let reason = io::Error::new(io::ErrorKind::Unsupported, wrong);
            Err(StoreError::new("use", &self.name)(reason))
        })
    }

    pub(super) fn see(&self, path: &str, most: usize) -> Result<Seen, StoreError> {
        self.act("read", path, move |store, key| async move {
            see(&store, &key, most).await
        })
    }

    pub(super) fn read_all(
        &self,
        paths: Vec<String>,
        most: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let keys: io::Result<Vec<_>> = paths.iter().map(|path| self.key(path)).collect();
        let first = paths.first().map_or("", String::as_str);
        let keys = keys.map_err(StoreError::new("read", self.full_name(first)))?;
        self.act("read", first, move |store, _| async move {
            let one = |key: ObjectPath| {
                let store = Arc::clone(&store);
                async move { Ok(see(&store, &key, most).await?.bytes) }
            };
            stream::iter(keys.into_iter().map(one))
                .buffered(AT_ONCE)
                .try_collect()
                .await
        })
    }

    pub(super) fn fetch(&self, path: &str) -> Result<File, StoreError> {
        let copy = || StoreError::new("make a copy of", self.full_name(path));
        let mut file = tempfile::tempfile().map_err(copy())?;
        let meta = self.act(
            "read",
            path,
            |store, key| async move { store.head(&key).await },
        )?;
        let step = u64::try_from(PART_BYTES.saturating_mul(PARTS_AT_ONCE)).unwrap_or(u64::MAX);
        let mut at = 0;
        while at < meta.size {
            let end = at.saturating_add(step).min(meta.size);
            let ranges = parts(at..end);
            let read = self.act("read", path, |store, key| async move {
                store.get_ranges(&key, &ranges).await
            })?;
            for part in read {
                file.write_all(&part).map_err(copy())?;
            }
            at = end;
        }
        file.seek(SeekFrom::Start(0)).map_err(copy())?;
        Ok(file)
    }

    pub(super) fn create_from(
        &self,
        file: &NamedTempFile,
        path: &str,
    ) -> Result<Created, StoreError> {
        let fail = || StoreError::new("read", file.path());
        let mut file = file.reopen().map_err(fail())?;
        if file.metadata().map_err(fail())?.len() > ONE_REQUEST_MAX {
            return self.upload(file, path);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail())?;
        self.act("create", path, |store, key| async move {
            create(&store, &key, bytes.into()).await
        })
    }

    /// Creates a file in parts. Between the look and the end somebody else may create it,
    /// who can only have the same bytes: the name of a large file holds its hash.
    fn upload(&self, mut file: File, path: &str) -> Result<Created, StoreError> {
        self.act("create", path, |store, key| async move {
            match store.head(&key).await {
                Ok(_) => return Ok(Created::Before),
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            let upload = store.put_multipart(&key).await?;
            let mut writing = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            let mut part = vec![0; PART_BYTES];
            loop {
                let read = match file.read(&mut part) {
                    Ok(read) => read,
                    Err(error) => {
                        // What is left of it costs, so it is tried; the error is the file's.
                        drop(writing.abort().await);
                        return Err(unread(error));
                    }
                };
                if read == 0 {
                    break;
                }
                writing.wait_for_capacity(PARTS_AT_ONCE).await?;
                writing.write(part.get(..read).unwrap_or_default());
            }
            writing.finish().await.map(|_| Created::Now)
        })
    }

    pub(super) fn create_all(
        &self,
        files: &[(String, Vec<u8>)],
    ) -> Result<Vec<Created>, StoreError> {
        let first = files.first().map_or("", |(path, _)| path.as_str());
        let one = |(path, bytes): &(String, Vec<u8>)| {
            Ok((self.key(path)?, Bytes::copy_from_slice(bytes)))
        };
        let files: io::Result<Vec<_>> = files.iter().map(one).collect();
        let files = files.map_err(StoreError::new("create", self.full_name(first)))?;
        self.act("create", first, move |store, _| async move {
            let one = |(key, bytes): (ObjectPath, Bytes)| {
                let store = Arc::clone(&store);
                async move { create(&store, &key, bytes).await }
            };
            stream::iter(files.into_iter().map(one))
                .buffered(AT_ONCE)
                .try_collect()
                .await
        })
    }

    pub(super) fn swap(
        &self,
        path: &str,
        bytes: Bytes,
        seen: Option<UpdateVersion>,
    ) -> Result<bool, StoreError> {
        self.act("write", path, |store, key| async move {
            let Some(version) = seen else {
                let created = create(&store, &key, bytes).await?;
                return Ok(created == Created::Now);
            };
            let payload = PutPayload::from(bytes.clone());
            let done = store.put_opts(&key, payload, PutMode::Update(version).into());
            let Err(refused) = done.await else {
                return Ok(true);
            };
            let changed = matches!(refused, Error::Precondition { .. });
            if !changed && !matches!(refused, Error::Generic { .. }) {
                return Err(refused);
            }
            match is_ours(&store, &key, &bytes).await {
                Ok(true) => Ok(true),
                Ok(false) if changed => Ok(false),
                _ => Err(refused),
            }
        })
    }

    pub(super) fn list(&self, dir: &str) -> Result<Vec<Listed>, StoreError> {
        let base = self.base.clone();
        self.act("list", dir, |store, key| async move {
            let mut found = Vec::new();
            let mut list = store.list(Some(&key));
            while let Some(meta) = list.try_next().await? {
                let Some(parts) = meta.location.prefix_match(&base) else {
                    continue;
                };
                let parts: ObjectPath = parts.collect();
                found.push(Listed {
                    path: parts.to_string(),
                    bytes: meta.size,
                });
            }
            Ok(found)
        })
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.act("remove", path, |store, key| async move {
            match store.delete(&key).await {
                Err(Error::NotFound { .. }) => Ok(()),
                other => other,
            }
        })
    }
}

/// What reading the manifest is called in sentences.
const READ_MANIFEST: &str = "read the archive's manifest";

/// The ranges of parts that make up a range.
fn parts(range: Range<u64>) -> Vec<Range<u64>> {
    let step = u64::try_from(PART_BYTES).unwrap_or(u64::MAX);
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let end = at.saturating_add(step).min(range.end);
        found.push(at..end);
        at = end;
    }
    found
}

async fn see(store: &AmazonS3, key: &ObjectPath, most: usize) -> object_store::Result<Seen> {
    let found = match store.get(key).await {
        Err(Error::NotFound { .. }) => return Ok(Seen::default()),
        found => found?,
    };
    let version = Some(UpdateVersion {
        e_tag: found.meta.e_tag.clone(),
        version: found.meta.version.clone(),
    });
    let mut bytes = Vec::new();
    let mut body = found.into_stream();
    while bytes.len() <= most
        && let Some(part) = body.try_next().await?
    {
        bytes.extend_from_slice(&part);
    }
    bytes.truncate(most.saturating_add(1));
    Ok(Seen {
        bytes: Some(bytes),
        version,
    })
}

async fn create(store: &AmazonS3, key: &ObjectPath, bytes: Bytes) -> object_store::Result<Created> {
    let mut tries = 1;
    loop {
        let payload = PutPayload::from(bytes.clone());
        let refused = match store.put_opts(key, payload, PutMode::Create.into()).await {
            Ok(_) => return Ok(Created::Now),
            Err(error) => error,
        };
        let taken = matches!(refused, Error::AlreadyExists { .. });
        // An answer that did not come says nothing about what was done.
        if !taken && !matches!(refused, Error::Generic { .. }) {
            return Err(refused);
        }
        match see(store, key, bytes.len()).await {
            Ok(Seen {
                bytes: Some(found), ..
            }) if found == bytes => return Ok(Created::Now),
            Ok(Seen { bytes: Some(_), .. }) => return Ok(Created::Before),
            Ok(Seen { bytes: None, .. }) if taken && tries < CREATE_TRIES => tries += 1,
            _ => return Err(refused),
        }
    }
}

/// Whether these bytes stand there.
async fn is_ours(store: &AmazonS3, key: &ObjectPath, bytes: &[u8]) -> object_store::Result<bool> {
    let found = see(store, key, bytes.len()).await?;
    Ok(found.bytes.as_deref() == Some(bytes))
}

fn unread(error: io::Error) -> Error {
    Error::Generic {
        store: "file",
        source: Box::new(error),
    }
}
