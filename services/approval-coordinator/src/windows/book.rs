//! Reading and storing windows, and telling that one is open.

use countersign_domain::approvals::KeptError;
use countersign_domain::windows::{Window, WindowListed};
use countersign_runtime::bus::{Cas, Entry, Failure};
use countersign_schemas::{Address, AgentId, WindowId};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::TIMER_KIND;
use crate::kept::{known, unreadable_value};
use crate::office::Office;

/// Windows of a list that are read at once.
const READS_MAX: usize = 32;
/// Windows of a list: more than a person reads at once.
const LIST_MAX: usize = 500;

/// A window and the revision to expect when changing it.
pub(super) struct HeldWindow {
    pub(super) window: Window,
    pub(super) revision: u64,
}

impl Office {
    /// A window, from the leader.
    pub(super) async fn window(&self, id: &WindowId) -> Result<Option<HeldWindow>, Failure> {
        let Some(entry) = self.windows_bucket.get(id.as_str()).await? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&entry.value).map_err(KeptError::from);
        let window = known(&format!("window {id}"), read)?;
        let revision = entry.revision;
        Ok(Some(HeldWindow { window, revision }))
    }

    /// A window, or none where it cannot be read: one that is damaged, or that a newer version
    /// wrote, stands in nobody's way.
    pub(super) async fn readable_window(
        &self,
        id: &WindowId,
    ) -> Result<Option<HeldWindow>, Failure> {
        let Some(entry) = self.windows_bucket.get(id.as_str()).await? else {
            return Ok(None);
        };
        match serde_json::from_slice(&entry.value).map_err(KeptError::from) {
            Ok(window) => {
                let revision = entry.revision;
                Ok(Some(HeldWindow { window, revision }))
            }
            Err(error) => {
                unreadable_value(&format!("window {id}"), &error);
                Ok(None)
            }
        }
    }

    /// Stores a changed window; `false` if somebody else changed it first.
    pub(super) async fn keep_window(&self, held: &mut HeldWindow) -> Result<bool, Failure> {
        let value = written(&held.window)?;
        let (id, revision) = (held.window.id().as_str(), held.revision);
        let bucket = &self.windows_bucket;
        let kept = match held.window.is_settled() {
            true => {
                let life = self.settled_life;
                bucket.update_for(id, value, revision, life).await?
            }
            false => bucket.update(id, value, revision).await?,
        };
        match kept {
            Cas::Stored(revision) => {
                held.revision = revision;
                self.windows.note(&held.window, revision);
                Ok(true)
            }
            Cas::Conflict => Ok(false),
        }
    }

    /// Stores a new window, or finds the one that is there; then tells that it is open.
    pub(crate) async fn open_window(
        &self,
        window: Window,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let id = window.id().clone();
        let bucket = &self.windows_bucket;
        let window = match bucket.create(id.as_str(), written(&window)?).await? {
            Cas::Stored(revision) => {
                self.windows.note(&window, revision);
                tracing::info!(window = %id, trace, "a window is open");
                window
            }
            Cas::Conflict => {
                let found = self.window(&id).await?;
                let missing = || Failure::transient(format!("cannot find window {id}"));
                found.ok_or_else(missing)?.window
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
            match serde_json::from_slice::<Window>(&entry.value) {
                Ok(window) if window.is_settled() => {}
                Ok(window) => listed.push(window.listed(now)),
                Err(error) => {
                    unreadable_value(&format!("window {}", entry.key), &KeptError::from(error));
                    more += 1;
                }
            }
        }
        Ok((listed, more))
    }
}

fn written(window: &Window) -> Result<bytes::Bytes, Failure> {
    let value = serde_json::to_vec(window)
        .map_err(|error| Failure::fatal(format!("cannot write a window: {error}")))?;
    Ok(value.into())
}
