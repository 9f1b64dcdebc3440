//! The last commit, kept outside the archive: whoever can cut the archive's tail cannot
//! also cut this file, if it lies where they cannot write.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use countersign_domain::archive::{Anchor, ChainState};
use countersign_schemas::Digest;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use countersign_runtime::archive::{make_dirs, replace_file};

use crate::root::StoreError;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Number of the last committed entry.
    pub n: u64,
    /// Digest of its bytes.
    pub entry_digest: Digest,
    /// Rows in the whole archive after it.
    pub tree_size: u64,
    /// The signed checkpoint for them, for whoever has no archive at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

impl State {
    /// The state after the last entry of a chain, if there is one.
    #[must_use]
    pub fn of(chain: &ChainState, checkpoint: Option<String>) -> Option<Self> {
        Some(Self {
            n: chain.n,
            entry_digest: chain.digest?,
            tree_size: chain.tree.size(),
            checkpoint,
        })
    }

    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// When it exists and holds anything else.
    pub fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(StoreError::new("read", path))?,
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| StoreError::new("understand", path)(error.into()))
    }

    /// Replaces the file; a crash leaves the old or the new one, whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), StoreError> {
        let parent = path.parent().unwrap_or(Path::new("."));
        make_dirs(parent)?;
        let fail = || StoreError::new("write", path);
        let file = NamedTempFile::new_in(parent).map_err(fail())?;
        let mut text = serde_json::to_vec(self).map_err(|error| fail()(error.into()))?;
        text.push(b'\n');
        replace_file(file, path, &text)
    }

    /// The same as a statement about the chain.
    #[must_use]
    pub fn anchor(&self, path: &Path) -> Anchor {
        let source = format!("the state file {}", path.display());
        Anchor::entry(source, self.n, self.entry_digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/state.json");
        assert_eq!(State::read(&path).unwrap(), None);
        for n in [1, 2] {
            let state = State {
                n,
                entry_digest: Digest::of_bytes(b"x"),
                tree_size: n * 2,
                checkpoint: (n == 2).then(|| "note\n".to_owned()),
            };
            state.write(&path).unwrap();
            assert_eq!(State::read(&path).unwrap(), Some(state));
        }
        fs::write(&path, "{").unwrap();
        assert!(
            State::read(&path)
                .unwrap_err()
                .to_string()
                .contains("understand")
        );
    }
}
