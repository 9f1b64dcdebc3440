//! Ending open entries by what is stored about their intents.

use std::sync::Arc;
use std::time::Duration;

use countersign_domain::chain::Head;
use countersign_domain::ledger::{Ending, EntryFate, fate, fate_of_relied, relies_on};
use countersign_runtime::bus::{BusError, Failure, StoredMessage};
use countersign_schemas::events::PolicyChecked;
use countersign_schemas::{Address, AgentId, IntentId, Stream};
use futures::StreamExt as _;
use futures::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::account::{Account, lock};
use super::{ACCOUNTS_MAX, Ledgers};
use crate::holder::genuine;
use crate::metrics;

/// Pause between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Reads of one sweep that are under way at once.
const READS_AT_ONCE: usize = 64;
/// Ledgers swept at once.
const LEDGERS_AT_ONCE: usize = 4;
/// How long an unused ledger without open entries is kept in memory.
const IDLE: Duration = Duration::from_secs(60);
/// Least pause between two looks before refusals.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// A look waits this many times as long as the one before it took, so that a ledger that
/// is used up costs a tenth of a checker at most.
const LOOK_SHARE: u32 = 10;

impl Ledgers {
    /// Sweeps until shutdown.
    ///
    /// # Errors
    /// Never: what fails now is swept later.
    pub(crate) async fn keep(&self, shutdown: CancellationToken) -> Result<(), BusError> {
        let mut tick = tokio::time::interval(SWEEP_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            let round = futures::stream::iter(self.forget_idle()).for_each_concurrent(
                LEDGERS_AT_ONCE,
                async |account| {
                    if let Err(error) = self.sweep(&account, false).await {
                        tracing::warn!(ledger = %account.key, %error, "a ledger is swept later");
                    }
                    account.clear_rubbish().await;
                },
            );
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = round => {}
            }
        }
    }

    /// Looks at all that is open, before an intent is refused; says whether it is worth
    /// asking again. One look serves all who were refused before it began.
    pub(super) async fn look_again(&self, account: &Account, refused: Instant) -> bool {
        let mut looked = account.looked.lock().await;
        let began = Instant::now();
        if let Some((last_began, last_ended)) = *looked {
            if last_began >= refused {
                return true;
            }
            let took = last_ended.duration_since(last_began);
            if began.duration_since(last_ended) < LOOK_PAUSE.max(took * LOOK_SHARE) {
                return false;
            }
        }
        let swept = self.sweep(account, true).await;
        *looked = Some((began, Instant::now()));
        if let Err(error) = &swept {
            tracing::warn!(ledger = %account.key, %error, "refused without a look");
        }
        swept.is_ok()
    }

    /// Looks at the entries whose time has come, or at all, and ends what has ended.
    async fn sweep(&self, account: &Account, all: bool) -> Result<(), Failure> {
        let now = Instant::now();
        let list = all || lock(&account.watch).wants_list(account.used(), now);
        if list {
            let open = account.open().await?;
            lock(&account.watch).list(&open, now);
        }
        let due = lock(&account.watch).due(all, now);
        let looks = due.into_iter().map(async |(intent, mark)| {
            let fate = self.look(account, intent, mark).await;
            (intent, mark, fate)
        });
        let looks: Vec<_> = futures::stream::iter(looks)
            .buffer_unordered(READS_AT_ONCE)
            .collect()
            .await;
        // All at once: so they become few writes.
        let ends = looks
            .into_iter()
            .map(|(intent, mark, fate)| end(account, intent, mark, fate));
        join_all(ends).await;
        Ok(())
    }

    async fn look(
        &self,
        account: &Account,
        intent: IntentId,
        mark: u64,
    ) -> Result<EntryFate, Failure> {
        let relied = lock(&account.watch).relied(intent, mark);
        if let Some(agent) = relied {
            return Ok(fate_of_relied(&self.head(&agent, intent).await?));
        }
        let checked = self.verdict(intent).await?;
        let head = match &checked {
            Some(checked) if relies_on(checked, account.key.as_str(), mark) => {
                self.head(&checked.agent, intent).await?
            }
            Some(_) | None => Head::None,
        };
        Ok(fate(&account.key, mark, checked.as_ref(), &head))
    }

    async fn verdict(&self, intent: IntentId) -> Result<Option<PolicyChecked>, Failure> {
        let filter = Address::checked_filter(intent);
        let found = self.bus.last_by_subject(Stream::Events, &filter).await?;
        Ok(found.and_then(|message| genuine(&message, intent)))
    }

    async fn head(&self, agent: &AgentId, intent: IntentId) -> Result<Head, Failure> {
        let filter = Address::chain_filter(agent, intent);
        let last = self.bus.last_by_subject(Stream::Events, &filter).await?;
        Ok(Head::read(
            last.as_ref().map(StoredMessage::as_last),
            agent,
            intent,
        ))
    }

    /// Forgets the ledgers that nobody needs, and tells the others.
    fn forget_idle(&self) -> Vec<Arc<Account>> {
        let mut accounts = lock(&self.accounts);
        accounts.retain(|_, account| !account.is_idle(IDLE));
        if accounts.len() > ACCOUNTS_MAX {
            let mut by_use: Vec<(Instant, String)> = accounts
                .iter()
                .map(|(key, account)| (account.used(), key.clone()))
                .collect();
            by_use.sort_unstable();
            let many = by_use.len().saturating_sub(ACCOUNTS_MAX);
            for (_, key) in by_use.into_iter().take(many) {
                accounts.remove(&key);
            }
        }
        accounts.values().map(Arc::clone).collect()
    }
}

/// Ends an entry by what was found, or leaves it for a later look.
async fn end(account: &Account, intent: IntentId, mark: u64, found: Result<EntryFate, Failure>) {
    let ending = match found {
        Ok(EntryFate::Kept) => Ending::Kept,
        Ok(EntryFate::GivenBack) => Ending::GivenBack,
        Ok(EntryFate::Open) => return lock(&account.watch).stays(intent, Instant::now()),
        Err(error) => return tracing::debug!(%intent, %error, "looked at later"),
    };
    if account.end(intent, mark, ending).await {
        metrics::ledger_end(ending);
        lock(&account.watch).ended(intent, mark);
    }
}
