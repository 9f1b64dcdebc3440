//! The files of a bucket for an engine that reads by object stores: only reading, and only
//! below the archive's root.
//!
//! Not the crate's own store with a prefix: that one answers a read with the full name, and
//! the query engine leaves out a file that is not called as it was asked for, without a word.

use std::fmt;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// A prefix of a bucket, to read.
#[derive(Clone)]
pub(super) struct Objects {
    pub(super) store: AmazonS3,
    pub(super) base: Path,
    pub(super) name: String,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objects").field(&self.name).finish()
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Objects {
    fn full(&self, path: &Path) -> Path {
        self.base.parts().chain(path.parts()).collect()
    }

    fn cannot(&self, operation: &str) -> Error {
        Error::NotImplemented {
            operation: operation.to_owned(),
            implementer: self.name.clone(),
        }
    }
}

fn relative(base: &Path, meta: ObjectMeta) -> ObjectMeta {
    let inside: Option<Path> = meta
        .location
        .prefix_match(base)
        .map(|parts| parts.collect());
    ObjectMeta {
        location: inside.unwrap_or(meta.location),
        ..meta
    }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let found = self.store.get_opts(&self.full(location), options).await?;
        Ok(GetResult {
            meta: relative(&self.base, found.meta),
            ..found
        })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.map_or_else(|| self.base.clone(), |prefix| self.full(prefix));
        let base = self.base.clone();
        let list = self.store.list(Some(&prefix));
        list.map_ok(move |meta| relative(&base, meta)).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        // The files of a query come from the manifest.
        Err(self.cannot("listing a folder"))
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(self.cannot("writing"))
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(self.cannot("writing"))
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let refused = Err(self.cannot("writing"));
        futures::stream::iter([refused]).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(self.cannot("writing"))
    }
}
