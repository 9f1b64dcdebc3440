//! What has been read and is not yet committed. Bounded by rows, bytes and time; the
//! archiver's own events ride along and never start a batch.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::commit::Item;

/// When a batch is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// At this many rows,
    pub rows: usize,
    /// or at this many bytes,
    pub bytes: usize,
    /// or this long after the first message that is not the archiver's own.
    pub wait: Duration,
}

/// One message in memory, with its share of the memory budget.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) item: Item,
    pub(crate) bytes: usize,
    pub(crate) _share: OwnedSemaphorePermit,
}

/// Messages that will be committed together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    held: Vec<Held>,
    rows: usize,
    bytes: usize,
    due: Option<Instant>,
}

impl Batch {
    pub(crate) fn add(&mut self, held: Held, limits: &BatchLimits, now: Instant) {
        if !held.item.own && self.due.is_none() {
            self.due = Some(now + limits.wait);
        }
        self.rows += held.item.rows.len();
        self.bytes += held.bytes;
        self.held.push(held);
    }

    /// When it must be committed; `None` while it holds nothing but the archiver's own.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn is_full(&self, limits: &BatchLimits) -> bool {
        self.rows >= limits.rows || self.bytes >= limits.bytes
    }

    /// The items, and the shares of memory to give back once they are committed.
    pub(crate) fn take(&mut self) -> (Vec<Item>, Vec<OwnedSemaphorePermit>) {
        let held = std::mem::take(self).held;
        held.into_iter()
            .map(|held| (held.item, held._share))
            .unzip()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use countersign_schemas::Stream;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::tests::item;

    const LIMITS: BatchLimits = BatchLimits {
        rows: 3,
        bytes: 100,
        wait: Duration::from_millis(500),
    };

    fn held(own: bool, bytes: usize, budget: &Arc<Semaphore>) -> Held {
        Held {
            item: Item {
                own,
                ..item(Stream::Events, "abc", 1, 0)
            },
            bytes,
            _share: Arc::clone(budget).try_acquire_owned().unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn its_own_events_never_start_a_batch() {
        let budget = Arc::new(Semaphore::new(10));
        let (mut batch, now) = (Batch::default(), Instant::now());
        batch.add(held(true, 1, &budget), &LIMITS, now);
        assert_eq!(batch.due(), None);
        batch.add(held(false, 1, &budget), &LIMITS, now);
        let later = now + Duration::from_millis(100);
        batch.add(held(false, 1, &budget), &LIMITS, later);
        assert_eq!(batch.due(), Some(now + LIMITS.wait));
        let (items, shares) = batch.take();
        assert_eq!((items.len(), shares.len(), batch.due()), (3, 3, None));
        assert_eq!(budget.available_permits(), 7);
        drop(shares);
        assert_eq!(budget.available_permits(), 10);
    }

    #[tokio::test]
    async fn rows_or_bytes_fill_it() {
        let budget = Arc::new(Semaphore::new(10));
        let mut batch = Batch::default();
        for _ in 0..2 {
            batch.add(held(false, 1, &budget), &LIMITS, Instant::now());
        }
        assert!(!batch.is_full(&LIMITS));
        batch.add(held(false, 1, &budget), &LIMITS, Instant::now());
        assert!(batch.is_full(&LIMITS));
        batch.take();
        batch.add(held(false, 100, &budget), &LIMITS, Instant::now());
        assert!(batch.is_full(&LIMITS));
    }
}
