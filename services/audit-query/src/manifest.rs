//! Reads the manifest and hands out exactly the files that it lists, never the directory:
//! an orphan of an interrupted write must not be counted.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use countersign_domain::archive::{BadPlace, ChainState, Entry, Files, ManifestPublicKeys};

/// Longest manifest entry that is read.
const ENTRY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The archive cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none.
    #[error(
        "`{}` is no archive: it holds no manifest; name the directory that \
         `audit_archiver.dir` names", dir.display()
    )]
    NoArchive {
        /// Where one was looked for.
        dir: PathBuf,
    },
    /// It is not as it was written.
    #[error("the archive is damaged: {0}; run `countersign audit verify`")]
    Damaged(#[from] BadPlace),
    /// A file cannot be read.
    #[error("cannot read `{}`: {reason}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
}

/// The manifest as far as it has been read.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    dir: PathBuf,
    keys: ManifestPublicKeys,
    chain: ChainState,
    /// Shared with the queries that run; copied only when an entry comes meanwhile.
    files: Files,
}

impl Manifest {
    /// Reads every entry, checks the chain, and the signatures if `keys` holds any.
    pub(crate) fn open(dir: &Path, keys: ManifestPublicKeys) -> Result<Self, OpenError> {
        let mut manifest = Self {
            dir: dir.to_owned(),
            keys,
            chain: ChainState::default(),
            files: Files::default(),
        };
        let later = manifest.last_entry()?;
        manifest.refresh()?;
        if manifest.chain.n < later {
            let n = manifest.chain.n.saturating_add(1);
            return Err(BadPlace::Missing { n, later }.into());
        }
        Ok(manifest)
    }

    /// Reads the entries that have come since. Returns whether there were any.
    pub(crate) fn refresh(&mut self) -> Result<bool, OpenError> {
        let before = self.chain.n;
        while let Some(bytes) = self.entry(self.chain.n.saturating_add(1))? {
            self.chain.advance(&bytes, &self.keys, &mut self.files)?;
        }
        Ok(self.chain.n != before)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn chain(&self) -> &ChainState {
        &self.chain
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    fn entry(&self, n: u64) -> Result<Option<Vec<u8>>, OpenError> {
        let path = self.dir.join(Entry::path(n));
        let mut bytes = Vec::new();
        let read =
            File::open(&path).and_then(|file| file.take(ENTRY_BYTES_MAX).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(reason) => Err(OpenError::Read { path, reason }),
        }
    }

    /// The highest number in the directory: an entry that was dropped in the middle must
    /// not make a shorter archive.
    fn last_entry(&self) -> Result<u64, OpenError> {
        let dir = self.dir.join("manifest");
        let list = fs::read_dir(&dir).map_err(|reason| match reason.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => OpenError::NoArchive {
                dir: self.dir.clone(),
            },
            _ => OpenError::Read {
                path: dir.clone(),
                reason,
            },
        })?;
        Ok(list
            .flatten()
            .filter_map(|item| {
                let name = item.file_name();
                name.to_str()?.strip_suffix(".json")?.parse().ok()
            })
            .max()
            .unwrap_or(0))
    }
}
