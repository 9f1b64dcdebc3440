//! Named places between the steps of a commit, where a test can stop the writer as a
//! crash would. In production nothing stops.

use std::fmt;
use std::sync::Arc;

/// A place right after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A file is written under its temporary name.
    FileWritten,
    /// A file has its final name; no entry names it yet.
    FileLinked,
    /// The entry is written under its temporary name.
    EntryWritten,
    /// The entry has its number: the rows are committed.
    Committed,
    /// The tiles of the hash tree hold the rows.
    TilesWritten,
    /// The checkpoint signs for the rows.
    CheckpointWritten,
    /// The state file outside the archive knows the entry.
    StateWritten,
}

impl Step {
    /// Every step, in order.
    pub const ALL: &[Self] = &[
        Self::FileWritten,
        Self::FileLinked,
        Self::EntryWritten,
        Self::Committed,
        Self::TilesWritten,
        Self::CheckpointWritten,
        Self::StateWritten,
    ];
}

/// The writer was stopped by its hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped after {0:?}")]
pub struct Stopped(pub Step);

/// What is asked after each step whether to go on.
#[derive(Clone, Default)]
pub struct Hooks {
    go_on: Option<Arc<dyn Fn(Step) -> bool + Send + Sync>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.go_on.is_some() { "asks" } else { "none" };
        write!(f, "Hooks({kind})")
    }
}

impl Hooks {
    /// Asks `go_on` after each step.
    #[must_use]
    pub fn new(go_on: impl Fn(Step) -> bool + Send + Sync + 'static) -> Self {
        Self {
            go_on: Some(Arc::new(go_on)),
        }
    }

    pub(crate) fn after(&self, step: Step) -> Result<(), Stopped> {
        match &self.go_on {
            Some(go_on) if !go_on(step) => Err(Stopped(step)),
            _ => Ok(()),
        }
    }
}
