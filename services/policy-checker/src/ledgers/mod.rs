//! The ledgers of `rate` and `budget` that this checker uses.
//!
//! A part is taken before the verdict that relies on it is stored, and given back only
//! after a verdict is stored that does not, or when the chain of its intent ended without
//! a run. So a crash at any point leaves an entry that the next delivery finds again, or
//! that a sweep ends by what is stored.

mod account;
mod sweep;
mod view;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use countersign_domain::ledger::{Answer, Ending, Order, relies_on};
use countersign_runtime::bus::layout::LEDGERS;
use countersign_runtime::bus::{Bucket, Bus};
use countersign_runtime::clock::Clock;
use countersign_schemas::IntentId;
use countersign_schemas::events::{Charge, PolicyChecked};
use tokio::time::Instant;

use account::{Account, lock};

/// Ledgers kept in memory; those beyond are read again when they are used.
const ACCOUNTS_MAX: usize = 10_000;

/// The ledgers, each with those who wait for it.
pub(crate) struct Ledgers {
    bus: Bus,
    bucket: Bucket,
    clock: Arc<dyn Clock>,
    accounts: Mutex<HashMap<String, Arc<Account>>>,
}

impl Ledgers {
    pub(crate) fn new(bus: &Bus, clock: Arc<dyn Clock>) -> Self {
        Self {
            bus: bus.clone(),
            bucket: Bucket::new(bus, LEDGERS),
            clock,
            accounts: Mutex::default(),
        }
    }

    /// Takes what `order` says for `intent`, once, however often it is called. Before it
    /// refuses, it looks which of the open intents have ended since.
    ///
    /// # Errors
    /// In words, when the ledger cannot be reached.
    pub(crate) async fn take(&self, intent: IntentId, order: &Order) -> Result<Answer, String> {
        let out_of_reach = || "its ledger cannot be reached".to_owned();
        let account = self.account(order);
        let asked = Instant::now();
        let first = account.charge(intent, order.terms).await;
        let first = first.ok_or_else(out_of_reach)?;
        let refused = match first {
            Answer::Exceeded { .. } | Answer::Crowded => true,
            Answer::Held { .. } | Answer::Closed => false,
        };
        if !refused || !self.look_again(&account, asked).await {
            return Ok(first);
        }
        let second = account.charge(intent, order.terms).await;
        second.ok_or_else(out_of_reach)
    }

    /// What [`Self::take`] would answer; nothing is taken.
    ///
    /// # Errors
    /// In words, when the ledger cannot be reached.
    pub(crate) async fn peek(&self, intent: IntentId, order: &Order) -> Result<Answer, String> {
        let seen = self.account(order).peek(intent, order.terms).await;
        seen.map_err(|error| {
            tracing::warn!(%intent, %error, "a ledger cannot be read");
            "its ledger cannot be reached".to_owned()
        })
    }

    /// What was taken for `intent` by the verdict that is stored now: its own parts are
    /// watched to their end, others are given back.
    pub(crate) async fn stored(&self, intent: IntentId, taken: &[Charge], by: &PolicyChecked) {
        for charge in taken {
            let found = lock(&self.accounts).get(&charge.ledger).cloned();
            let Some(account) = found else { continue };
            if relies_on(by, &charge.ledger, charge.mark) {
                lock(&account.watch).own(intent, charge.mark, &by.agent, Instant::now());
            } else if !account.end(intent, charge.mark, Ending::GivenBack).await {
                tracing::warn!(%intent, ledger = charge.ledger, "a part is given back later");
            }
        }
    }

    fn account(&self, order: &Order) -> Arc<Account> {
        let mut accounts = lock(&self.accounts);
        let key = order.ledger.as_str();
        if let Some(account) = accounts.get(key) {
            return Arc::clone(account);
        }
        let (bucket, clock) = (self.bucket.clone(), Arc::clone(&self.clock));
        let made = Account::new(order.ledger.clone(), order.ends_at, bucket, clock);
        let made = Arc::new(made);
        accounts.insert(key.to_owned(), Arc::clone(&made));
        made
    }
}
