//! The head of a ledger, its pages, and everything that changes them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use countersign_schemas::IntentId;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Entries that stay in the head when it is relieved: the newest, whose redelivery is the
/// likeliest.
const RECENT_KEPT: usize = 64;
/// Entries of the head from which on older ones move to a page. Each change writes the
/// whole head, at 70 bytes an entry.
const RECENT_MAX: usize = 256;
/// Entries of one page: what one value of a bucket should hold at most.
const PAGE_ENTRIES_MAX: usize = 1_000;
/// Pages of one ledger: with half-full pages still ten thousand intents that wait at once,
/// and the head stays below 64 KiB.
const PAGES_MAX: usize = 128;
/// Ended entries of pages that the head remembers before a page is taken back.
const GONE_MAX: usize = 256;

/// What one open intent takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// How much.
    #[serde(rename = "a")]
    pub amount: Decimal,
    /// The number of its charge, unique in its ledger.
    #[serde(rename = "m")]
    pub mark: u64,
    /// Whether it went over the limit, so that people decide.
    #[serde(rename = "o", default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
}

/// The name of a page, beside the key of its ledger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PageKey(String);

impl PageKey {
    /// A page that was never written before, if the bytes are random.
    #[must_use]
    pub fn new(random: [u8; 8]) -> Self {
        Self(data_encoding::HEXLOWER.encode(&random))
    }

    /// As it stands behind the ledger's key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Open entries that left the head. Never changed once written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page(BTreeMap<IntentId, Entry>);

impl Page {
    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The pages that a head names, as read from the bucket.
pub type Pages = HashMap<PageKey, Arc<Page>>;

/// What a charge is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How much; never negative.
    pub amount: Decimal,
    /// How much may be taken in all.
    pub limit: Decimal,
    /// Whether more may be taken, because people then decide.
    pub beyond: bool,
}

/// What came of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charged {
    /// It is taken now.
    Fresh {
        /// The mark of the entry.
        mark: u64,
        /// Whether it went over the limit.
        over: bool,
    },
    /// It was taken before.
    Found {
        /// The mark of the entry.
        mark: u64,
        /// Whether it went over the limit.
        over: bool,
    },
    /// It does not fit, and nothing is taken.
    Exceeded {
        /// What is taken by others.
        used: Decimal,
    },
    /// More intents are open than a ledger holds; nothing is taken.
    Crowded,
}

/// How an open entry ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its part is used up.
    Kept,
    /// Its part is free again.
    GivenBack,
}

/// A ledger cannot be read as what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The head or a page is not the text that was written.
    #[error("a ledger cannot be read: {0}")]
    Unreadable(String),
    /// A page that the head names is not there.
    #[error("a page of a ledger is missing")]
    PageMissing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PageRef {
    #[serde(rename = "k")]
    key: PageKey,
    /// Entries of it that are still open.
    #[serde(rename = "l")]
    left: usize,
}

/// What was taken in one window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// All that counts, of open entries and of settled ones.
    total: Decimal,
    /// The mark of the last charge.
    last_mark: u64,
    /// The newest open entries.
    recent: BTreeMap<IntentId, Entry>,
    /// Where the other open entries lie.
    #[serde(default)]
    pages: Vec<PageRef>,
    /// Marks of entries in pages that are open no more.
    #[serde(default)]
    gone: BTreeSet<u64>,
}

impl Ledger {
    /// Reads a head.
    ///
    /// # Errors
    /// When the bytes are no ledger.
    pub fn read(bytes: &[u8]) -> Result<Self, LedgerError> {
        serde_json::from_slice(bytes).map_err(|error| LedgerError::Unreadable(error.to_string()))
    }

    /// What counts.
    #[must_use]
    pub fn total(&self) -> Decimal {
        self.total
    }

    /// How many entries are open.
    #[must_use]
    pub fn open(&self) -> usize {
        let in_pages: usize = self.pages.iter().map(|page| page.left).sum();
        self.recent.len() + in_pages
    }

    /// The pages that must be read to know every open entry.
    pub fn pages(&self) -> impl Iterator<Item = &PageKey> {
        self.pages.iter().map(|page| &page.key)
    }

    /// Every open entry.
    pub fn entries<'a>(&'a self, pages: &'a Pages) -> impl Iterator<Item = (IntentId, &'a Entry)> {
        let in_pages = self
            .pages
            .iter()
            .filter_map(|page| pages.get(&page.key))
            .flat_map(|page| page.0.iter())
            .filter(|(_, entry)| !self.gone.contains(&entry.mark));
        let all = self.recent.iter().chain(in_pages);
        all.map(|(intent, entry)| (*intent, entry))
    }

    /// Takes `amount` for `intent`, once.
    ///
    /// # Errors
    /// When a page that may hold the intent was not read.
    pub fn charge(
        &mut self,
        intent: IntentId,
        terms: Terms,
        pages: &Pages,
    ) -> Result<Charged, LedgerError> {
        // An amount below nothing would make room for others.
        if terms.amount < Decimal::ZERO {
            return Ok(Charged::Exceeded { used: self.total });
        }
        if let Some(entry) = self.find(intent, pages)? {
            let (amount, mark, over) = (entry.amount, entry.mark, entry.over);
            // The same id with another amount is another request: what was taken for the
            // one must not let the other run.
            return Ok(match amount == terms.amount {
                true => Charged::Found { mark, over },
                false => Charged::Exceeded { used: self.total },
            });
        }
        // What cannot be added exactly fits no limit.
        let Some(total) = self.total.checked_add(terms.amount) else {
            return Ok(Charged::Exceeded { used: self.total });
        };
        let over = total > terms.limit;
        if over && !terms.beyond {
            return Ok(Charged::Exceeded { used: self.total });
        }
        if self.pages.len() >= PAGES_MAX && self.recent.len() >= RECENT_MAX {
            return Ok(Charged::Crowded);
        }
        self.total = total;
        self.last_mark = self.last_mark.saturating_add(1);
        let mark = self.last_mark;
        let entry = Entry {
            amount: terms.amount,
            mark,
            over,
        };
        self.recent.insert(intent, entry);
        Ok(Charged::Fresh { mark, over })
    }

    /// Ends the entry of `intent` that has this `mark`; says whether there was one.
    ///
    /// # Errors
    /// When a page that may hold the intent was not read.
    pub fn end(
        &mut self,
        intent: IntentId,
        mark: u64,
        ending: Ending,
        pages: &Pages,
    ) -> Result<bool, LedgerError> {
        let found = self.find(intent, pages)?;
        let Some(amount) = found.filter(|e| e.mark == mark).map(|e| e.amount) else {
            return Ok(false);
        };
        if self.recent.remove(&intent).is_none() {
            self.leave_page(intent, mark, pages);
        }
        match ending {
            Ending::Kept => {}
            Ending::GivenBack => self.total -= amount,
        }
        Ok(true)
    }

    /// Moves older entries out of a head that has become long; the page must be stored
    /// before the head is. `None` while the head is short.
    pub fn spill(&mut self, key: PageKey) -> Option<Page> {
        if self.recent.len() <= RECENT_MAX || self.pages.len() >= PAGES_MAX {
            return None;
        }
        let mut by_age: Vec<(u64, IntentId)> = self
            .recent
            .iter()
            .map(|(intent, entry)| (entry.mark, *intent))
            .collect();
        by_age.sort_unstable();
        let count = by_age
            .len()
            .saturating_sub(RECENT_KEPT)
            .min(PAGE_ENTRIES_MAX);
        let old = by_age.into_iter().take(count);
        let moved: BTreeMap<IntentId, Entry> = old
            .filter_map(|(_, intent)| self.recent.remove_entry(&intent))
            .collect();
        let left = moved.len();
        self.pages.push(PageRef { key, left });
        Some(Page(moved))
    }

    /// Keeps the list of ended entries short: takes back what is left of the pages that
    /// have the most of them.
    pub fn tidy(&mut self, pages: &Pages) {
        let ended = |page: &&PageRef| {
            let all = pages.get(&page.key).map_or(0, |entries| entries.len());
            all.saturating_sub(page.left)
        };
        while self.gone.len() > GONE_MAX {
            let emptiest = self.pages.iter().max_by_key(ended);
            let Some(key) = emptiest.map(|page| page.key.clone()) else {
                return;
            };
            let Some(page) = pages.get(&key) else { return };
            self.pages.retain(|page| page.key != key);
            for (intent, entry) in &page.0 {
                if !self.gone.remove(&entry.mark) {
                    self.recent.insert(*intent, entry.clone());
                }
            }
        }
    }

    fn find<'a>(
        &'a self,
        intent: IntentId,
        pages: &'a Pages,
    ) -> Result<Option<&'a Entry>, LedgerError> {
        if let Some(entry) = self.recent.get(&intent) {
            return Ok(Some(entry));
        }
        for page in &self.pages {
            let page = pages.get(&page.key).ok_or(LedgerError::PageMissing)?;
            let entry = page.0.get(&intent);
            if let Some(entry) = entry.filter(|entry| !self.gone.contains(&entry.mark)) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Marks an entry of a page as ended; a page without open entries is forgotten.
    fn leave_page(&mut self, intent: IntentId, mark: u64, pages: &Pages) {
        let holds = |key: &PageKey| {
            let entry = pages.get(key).and_then(|page| page.0.get(&intent));
            entry.is_some_and(|entry| entry.mark == mark)
        };
        self.gone.insert(mark);
        for page in &mut self.pages {
            if holds(&page.key) {
                page.left = page.left.saturating_sub(1);
            }
        }
        let gone = &mut self.gone;
        self.pages.retain(|page| {
            let empty = page.left == 0;
            if empty && let Some(entries) = pages.get(&page.key) {
                for entry in entries.0.values() {
                    gone.remove(&entry.mark);
                }
            }
            !empty
        });
    }
}
