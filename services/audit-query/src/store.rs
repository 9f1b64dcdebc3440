//! The only files that a query can reach: those under the archive's root. No other scheme
//! and no other directory has a store, whatever a statement names.

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use url::Url;

/// Where the archive's files lie for the query engine.
pub(crate) const BASE: &str = "archive://local/";

/// A registry that knows one store and takes no other.
#[derive(Debug)]
pub(crate) struct ArchiveOnly {
    store: Arc<dyn ObjectStore>,
}

impl ArchiveOnly {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }
}

impl ObjectStoreRegistry for ArchiveOnly {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if url.as_str().starts_with(BASE.trim_end_matches('/')) {
            return Ok(Arc::clone(&self.store));
        }
        Err(DataFusionError::Plan(
            "only the tables of the archive can be read".to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_else_has_a_store() {
        let only = ArchiveOnly::new(Arc::new(object_store::memory::InMemory::new()));
        assert!(
            only.get_store(&Url::parse("archive://local/x").unwrap())
                .is_ok()
        );
        for other in [
            "file:///etc/passwd",
            "s3://bucket/x",
            "http://x/y",
            "archive://other/",
        ] {
            let url = Url::parse(other).unwrap();
            let store = Arc::new(object_store::memory::InMemory::new());
            assert!(only.register_store(&url, store).is_none());
            assert!(only.get_store(&url).is_err(), "{other}");
        }
    }
}
