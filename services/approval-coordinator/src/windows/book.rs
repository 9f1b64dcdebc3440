//! Reading and storing windows, and telling that one is open.

use countersign_domain::windows::{Window, WindowListed};
use countersign_runtime::bus::{Cas, Entry, Failure};
use countersign_schemas::{Address, AgentId, WindowId};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::TIMER_KIND;
use crate::kept::{Held, known, unreadable_value, written};
use crate::office::Office;

/// Windows of a list that are read at once.
const READS_MAX: usize = 32;
/// Windows of a list: more than a person reads at once.
const LIST_MAX: usize = 500;

impl Office {
    /// A window, from the leader.
    pub(super) async fn window(&self, id: &WindowId) -> Result<Option<Held<Window>>, Failure> {
        let Some(entry) = self.windows_bucket.get(id.as_str()).await? else {
            return Ok(None);
        };
        let value = known(&format!("window {id}"), Window::read(&entry.value))?;
        let revision = entry.revision;
        Ok(Some(Held { value, revision }))
    }

    /// A window, or none where it cannot be read: one that is damaged, or that a newer version
    /// wrote, stands in nobody's way.
    pub(super) async fn readable_window(
        &self,
        id: &WindowId,
    ) -> Result<Option<Held<Window>>, Failure> {
        let Some(entry) = self.windows_bucket.get(id.as_str()).await? else {
            return Ok(None);
        };
        match Window::read(&entry.value) {
            Ok(value) => {
                let revision = entry.revision;
                Ok(Some(Held { value, revision }))
            }
            Err(error) => {
                unreadable_value(&format!("window {id}"), &error);
                Ok(None)
            }
        }
    }

    /// Stores a changed window; `false` if somebody else changed it first.
    pub(super) async fn keep_window(&self, held: &mut Held<Window>) -> Result<bool, Failure> {
        let (window, bucket) = (&held.value, &self.windows_bucket);
        let (id, settled) = (window.id().as_str(), window.is_settled());
        let Some(revision) = self.store(bucket, id, held, settled).await? else {
            return Ok(false);
        };
        held.revision = revision;
        self.windows.note(&held.value, revision);
        Ok(true)
    }

    /// Stores a new window, or finds the one that is there; then tells that it is open.
    pub(crate) async fn open_window(
        &self,
        window: Window,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let id = window.id().clone();
        let bucket = &self.windows_bucket;
        let window = match bucket
            .create(id.as_str(), written(id.as_str(), &window)?)
            .await?
        {
            Cas::Stored(revision) => {
                self.windows.note(&window, revision);
                tracing::info!(window = %id, trace, "a window is open");
                window
            }
            Cas::Conflict => {
                let found = self.window(&id).await?;
                let missing = || Failure::transient(format!("cannot find window {id}"));
                found.ok_or_else(missing)?.value
            }
        };
        if !window.is_settled() {
            self.set_timer_of(TIMER_KIND, id.as_str(), window.until())
                .await?;
        }
        let address = Address::WindowOpened {
            agent: window.agent().clone(),
            window: id,
        };
        self.say(&address, &window.opened(), trace).await
    }

    /// The windows that are not settled, of one agent or of all, as people see them, and how
    /// many more there are.
    pub(crate) async fn list_windows(
        &self,
        agent: Option<&AgentId>,
    ) -> Result<(Vec<WindowListed>, usize), Failure> {
        let ids = self.windows.ids_of(agent);
        let mut more = ids.len().saturating_sub(LIST_MAX);
        let now = self.clock.now();
        let bucket = &self.windows_bucket;
        let read = |id: WindowId| async move { bucket.get(id.as_str()).await };
        let entries: Vec<Option<Entry>> = stream::iter(ids.into_iter().take(LIST_MAX))
            .map(read)
            .buffered(READS_MAX)
            .try_collect()
            .await?;
        let mut listed = Vec::with_capacity(entries.len());
        for entry in entries.into_iter().flatten() {
            // One that a newer coordinator keeps hides none of the others.
            match Window::read(&entry.value) {
                Ok(window) if window.is_settled() => {}
                Ok(window) => listed.push(window.listed(now)),
                Err(error) => {
                    unreadable_value(&format!("window {}", entry.key), &error);
                    more += 1;
                }
            }
        }
        Ok((listed, more))
    }
}
