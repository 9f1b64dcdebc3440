//! What this checker knows of one ledger, and how it reads and writes it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_domain::ledger::{Ledger, Page, PageKey, Pages};
use countersign_runtime::bus::{Bucket, Cas, Failure};
use futures::future::try_join_all;
use tokio::time::Instant;

use crate::metrics;

/// How long after another checker's write the ledger is taken for shared.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// Longest pause between two writes of a shared ledger.
const WAY_MAX: Duration = Duration::from_millis(20);

/// Where one ledger lies.
#[derive(Clone, Copy)]
pub(super) struct Shelf<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) key: &'a str,
    /// How long a value written now is kept.
    pub(super) life: Duration,
}

impl Shelf<'_> {
    /// The head and its revision; an empty ledger where there is none yet.
    async fn head(&self) -> Result<(Ledger, u64), Failure> {
        let Some(entry) = self.bucket.get(self.key).await? else {
            return Ok((Ledger::default(), 0));
        };
        let ledger = Ledger::read(&entry.value).map_err(unreadable)?;
        Ok((ledger, entry.revision))
    }

    async fn page(&self, key: &PageKey) -> Result<Option<Page>, Failure> {
        let found = self.bucket.get(&self.page_key(key)).await?;
        let read = found.map(|entry| serde_json::from_slice(&entry.value));
        read.transpose().map_err(unreadable)
    }

    /// A page that a head names.
    async fn named_page(self, key: PageKey) -> Result<(PageKey, Arc<Page>), Failure> {
        let page = self.page(&key).await?;
        let page = page.ok_or_else(|| Failure::transient("a page of a ledger is gone"))?;
        Ok((key, Arc::new(page)))
    }

    async fn put_page(&self, key: &PageKey, page: &Page) -> Result<(), Failure> {
        let value = bytes(page)?;
        let stored = self
            .bucket
            .update_for(&self.page_key(key), value, 0, self.life)
            .await?;
        match stored {
            Cas::Stored(_) => Ok(()),
            Cas::Conflict => Err(Failure::transient("the key of a page was used before")),
        }
    }

    async fn put_head(&self, ledger: &Ledger, revision: u64) -> Result<Cas, Failure> {
        let value = bytes(ledger)?;
        self.bucket
            .update_for(self.key, value, revision, self.life)
            .await
    }

    /// Removes a page that no head names any more.
    pub(super) async fn remove(&self, key: &PageKey) -> Result<(), Failure> {
        self.bucket.remove(&self.page_key(key)).await
    }

    fn page_key(&self, key: &PageKey) -> String {
        format!("{}.{}", self.key, key.as_str())
    }
}

fn bytes<T: serde::Serialize>(value: &T) -> Result<Bytes, Failure> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Failure::transient(format!("a ledger cannot be written: {error}")))
}

fn unreadable(error: impl std::fmt::Display) -> Failure {
    Failure::transient(format!("a ledger cannot be read: {error}"))
}

/// What was read last of a ledger.
#[derive(Default)]
pub(super) struct View {
    pub(super) ledger: Ledger,
    pub(super) pages: Pages,
    revision: u64,
    /// Whether the last thing known of it is that it was so.
    current: bool,
    /// Pages that no head names any more.
    rubbish: Vec<PageKey>,
    /// When a write of another checker was met last.
    shared: Option<Instant>,
    /// When the next write may begin.
    next: Option<Instant>,
}

impl View {
    /// Waits as long as a write takes if the last one was ours and others write as well:
    /// whoever has written knows what is stored and would win again, while they must read
    /// first. What comes meanwhile becomes part of the same write.
    pub(super) async fn make_way(&mut self) {
        if let Some(next) = self.next.take() {
            tokio::time::sleep_until(next).await;
        }
    }

    /// Whether it may be built upon without reading it first.
    pub(super) fn is_current(&self) -> bool {
        self.current
    }

    /// What was read may be wrong.
    pub(super) fn doubt(&mut self) {
        self.current = false;
    }

    /// Reads what the leader holds; says whether it is what was known already. A page that
    /// is gone means that the head has moved on since, and it is read again.
    pub(super) async fn read(&mut self, shelf: Shelf<'_>) -> Result<bool, Failure> {
        let (ledger, revision) = shelf.head().await?;
        if self.current && revision == self.revision {
            return Ok(true);
        }
        self.current = false;
        let missing: Vec<PageKey> = ledger
            .pages()
            .filter(|key| !self.pages.contains_key(*key))
            .cloned()
            .collect();
        let read = try_join_all(missing.into_iter().map(|key| shelf.named_page(key))).await?;
        self.pages.extend(read);
        self.ledger = ledger;
        self.revision = revision;
        self.current = true;
        self.forget_pages();
        Ok(false)
    }

    /// Stores `next` if the leader still holds what was read; says whether it does.
    pub(super) async fn write(
        &mut self,
        mut next: Ledger,
        shelf: Shelf<'_>,
    ) -> Result<bool, Failure> {
        // Until the answer is there, nobody knows which of the two is stored.
        self.current = false;
        let began = Instant::now();
        next.tidy(&self.pages);
        let mut written = Vec::new();
        loop {
            let key = PageKey::new(rand::random());
            let Some(page) = next.spill(key.clone()) else {
                break;
            };
            shelf.put_page(&key, &page).await?;
            written.push((key, Arc::new(page)));
        }
        let stored = shelf.put_head(&next, self.revision).await?;
        metrics::ledger_write(stored != Cas::Conflict);
        match stored {
            Cas::Stored(revision) => {
                let shared = self.shared.is_some_and(|met| met.elapsed() < SHARED_FOR);
                let took = began.elapsed().min(WAY_MAX);
                self.next = shared.then(|| Instant::now() + took);
                self.pages.extend(written);
                self.ledger = next;
                self.revision = revision;
                self.current = true;
                let dropped = self.forget_pages();
                self.rubbish.extend(dropped);
                Ok(true)
            }
            Cas::Conflict => {
                self.shared = Some(Instant::now());
                self.rubbish.extend(written.into_iter().map(|(key, _)| key));
                Ok(false)
            }
        }
    }

    /// The pages that nobody needs any more, once.
    pub(super) fn take_rubbish(&mut self) -> Vec<PageKey> {
        std::mem::take(&mut self.rubbish)
    }

    /// Forgets the pages that the head does not name, and tells them.
    fn forget_pages(&mut self) -> Vec<PageKey> {
        let named: std::collections::HashSet<&PageKey> = self.ledger.pages().collect();
        let all = self.pages.keys();
        let dropped: Vec<PageKey> = all.filter(|key| !named.contains(key)).cloned().collect();
        for key in &dropped {
            self.pages.remove(key);
        }
        dropped
    }
}
