//! `audit verify`: the whole archive against its manifest, its keys and what is known
//! about it elsewhere.

use std::fs::File;
use std::path::Path;

use countersign_domain::archive::{
    Anchor, BadPlace, ChainState, Entry, FileEntry, ManifestPublicKeys, verify_chain,
};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde::Serialize;

use crate::root::{Root, StoreError};

/// What is wrong with an archive, or why that cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not as it was written.
    #[error("{0}")]
    Bad(#[from] BadPlace),
    /// Nothing outside the archive is known about its end.
    #[error(
        "the tail is not provable: no state file, stored commit or witness was given, so \
         entries cut off the end would not be noticed; name one, or pass --allow-unanchored"
    )]
    TailNotProvable,
    /// No public key is pinned, so that anybody could have signed it.
    #[error(
        "no manifest key is pinned, so signatures cannot be checked; name the file \
         `keys/manifest.pub` of the deployment"
    )]
    NoKey,
    /// The directory cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Manifest entries.
    pub entries: u64,
    /// Files.
    pub files: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Statements from outside the archive that agreed with it.
    pub anchors: usize,
    /// Whether the end of the archive is proved by at least one of them.
    pub tail_proved: bool,
}

/// Recomputes everything that can be recomputed.
///
/// # Errors
/// The first bad place, or why the archive cannot be verified.
pub fn verify(
    dir: &Path,
    keys: &ManifestPublicKeys,
    anchors: &[Anchor],
    allow_unanchored: bool,
) -> Result<Report, VerifyError> {
    if keys.is_empty() {
        return Err(VerifyError::NoKey);
    }
    let root = Root::open(dir)?;
    let bytes = root.entries()??;
    let (state, entries) = verify_chain(bytes.iter().map(Vec::as_slice), keys, anchors)?;
    for entry in &entries {
        for file in &entry.files {
            verify_file(&root, entry, file)?;
        }
    }
    if anchors.is_empty() && !allow_unanchored {
        return Err(VerifyError::TailNotProvable);
    }
    Ok(report(&state, &entries, anchors))
}

fn report(state: &ChainState, entries: &[Entry], anchors: &[Anchor]) -> Report {
    let files = || entries.iter().flat_map(|entry| &entry.files);
    Report {
        entries: state.n,
        files: u64::try_from(files().count()).unwrap_or(u64::MAX),
        rows: state.tree_size,
        bytes: files().map(|file| file.bytes).sum(),
        anchors: anchors.len(),
        tail_proved: anchors.iter().any(|anchor| anchor.n == state.n),
    }
}

fn verify_file(root: &Root, entry: &Entry, file: &FileEntry) -> Result<(), VerifyError> {
    let (n, path) = (entry.n, file.path.clone());
    let (found, bytes) = match root.digest(&file.path) {
        Err(error) if error.is_missing() => return Err(BadPlace::FileMissing { n, path }.into()),
        digest => digest?,
    };
    if found != file.sha256 {
        return Err(BadPlace::FileChanged { n, path, found }.into());
    }
    let rows = count_rows(root, file);
    if rows != Some(file.rows) || bytes != file.bytes {
        let what = format!(
            "holds {} rows in {bytes} bytes, the entry says {} rows in {} bytes",
            rows.map_or_else(|| "unreadable".to_owned(), |rows| rows.to_string()),
            file.rows,
            file.bytes
        );
        return Err(BadPlace::FileRows { n, path, what }.into());
    }
    Ok(())
}

fn count_rows(root: &Root, file: &FileEntry) -> Option<u64> {
    let file = File::open(root.path(&file.path)).ok()?;
    let reader = SerializedFileReader::new(file).ok()?;
    u64::try_from(reader.metadata().file_metadata().num_rows()).ok()
}

#[cfg(test)]
mod tests;
