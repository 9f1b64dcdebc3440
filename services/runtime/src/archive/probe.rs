//! Whether a store keeps conditions: several that call themselves compatible take a
//! conditional request, ignore its condition and write. On those two archivers would both
//! believe that they had committed.

use object_store::path::Path;
use object_store::{
    Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, Result, UpdateVersion,
};

const FIRST: &str = "first";
const SECOND: &str = "second";
const THIRD: &str = "third";

/// Tries each condition on a file of its own, and removes it. Returns what the store gets
/// wrong, if anything.
pub(super) async fn probe(store: &dyn ObjectStore, key: &Path) -> Result<Option<String>> {
    let verdict = conditions(store, key).await;
    let removed = store.delete(key).await;
    match verdict? {
        None => removed.map(|()| None),
        wrong => Ok(wrong),
    }
}

async fn conditions(store: &dyn ObjectStore, key: &Path) -> Result<Option<String>> {
    let put = async |text: &'static str, mode: PutMode| {
        let payload = PutPayload::from_static(text.as_bytes());
        store.put_opts(key, payload, mode.into()).await
    };
    let seen = match put(FIRST, PutMode::Create).await {
        Ok(first) => UpdateVersion {
            e_tag: first.e_tag,
            version: first.version,
        },
        // Nobody else knows the name: it was done, and the answer was lost.
        Err(Error::AlreadyExists { .. }) => {
            let first = store.head(key).await?;
            UpdateVersion {
                e_tag: first.e_tag,
                version: first.version,
            }
        }
        Err(error) => return Err(error),
    };
    match put(SECOND, PutMode::Create).await {
        Err(Error::AlreadyExists { .. }) => {}
        Ok(_) => return Ok(Some(wrong("creates the same file twice", "If-None-Match"))),
        Err(error) => return Err(error),
    }
    match put(SECOND, PutMode::Update(seen.clone())).await {
        // As above; what stands there is compared below.
        Ok(_) | Err(Error::Precondition { .. }) => {}
        Err(error) => return Err(error),
    }
    match put(THIRD, PutMode::Update(seen)).await {
        Err(Error::Precondition { .. }) => {}
        Ok(_) => {
            let what = "replaces a file that has changed since it was read";
            return Ok(Some(wrong(what, "If-Match")));
        }
        Err(error) => return Err(error),
    }
    let stands = store.get(key).await?.bytes().await?;
    if stands != SECOND {
        let what = "writes although it says that it refuses";
        return Ok(Some(wrong(what, "If-None-Match or If-Match")));
    }
    Ok(None)
}

fn wrong(what: &str, header: &str) -> String {
    format!(
        "this store {what}: it ignores {header}, so two archivers could both commit; use a store \
         that keeps conditional writes, or a directory"
    )
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_store_that_keeps_conditions_is_taken_and_left_as_it_was() {
        let store = InMemory::new();
        let key = Path::from("tmp/probe");
        assert_eq!(probe(&store, &key).await.unwrap(), None);
        let gone = store.head(&key).await.unwrap_err();
        assert!(matches!(gone, Error::NotFound { .. }), "{gone}");
    }
}
