//! Which files make up the archive after so many entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::manifest::{Entry, EntryKind, FileEntry, Leaves, Removed, Span};

/// The files that an archive consists of, by path. A clone is cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    by_path: Arc<BTreeMap<String, Arc<FileEntry>>>,
}

impl Files {
    /// Every file, by path.
    pub fn iter(&self) -> impl Iterator<Item = &FileEntry> {
        self.by_path.values().map(AsRef::as_ref)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// The file at this place.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&FileEntry> {
        self.by_path.get(path).map(AsRef::as_ref)
    }

    /// Checks what an entry adds and removes, and takes it in.
    ///
    /// # Errors
    /// What does not add up; nothing is taken in then.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        let removed = self.removed(&entry.removes)?;
        match entry.kind {
            EntryKind::Add if !removed.is_empty() => {
                return Err("adds rows and removes files at once".to_owned());
            }
            EntryKind::Add => {}
            EntryKind::Replace => same_rows(&removed, &entry.files)?,
        }
        let stays = |path: &str| {
            self.by_path.contains_key(path) && entry.removes.iter().all(|gone| gone.path != path)
        };
        if let Some(twice) = entry.files.iter().find(|file| stays(&file.path)) {
            return Err(format!("file {} is in the archive already", twice.path));
        }
        let files = Arc::make_mut(&mut self.by_path);
        for gone in &entry.removes {
            files.remove(&gone.path);
        }
        for file in &entry.files {
            files.insert(file.path.clone(), Arc::new(file.clone()));
        }
        Ok(())
    }

    fn removed(&self, removes: &[Removed]) -> Result<Vec<Arc<FileEntry>>, String> {
        let mut found: Vec<Arc<FileEntry>> = Vec::with_capacity(removes.len());
        for gone in removes {
            let file = self
                .by_path
                .get(&gone.path)
                .filter(|file| file.sha256 == gone.sha256)
                .ok_or_else(|| {
                    format!("removes file {}, which is not in the archive", gone.path)
                })?;
            found.push(Arc::clone(file));
        }
        Ok(found)
    }
}

/// Whether `new` holds exactly the rows of `old`.
fn same_rows(old: &[Arc<FileEntry>], new: &[FileEntry]) -> Result<(), String> {
    if old.is_empty() || new.is_empty() {
        return Err("replaces files by none, or none by files".to_owned());
    }
    for file in new {
        is_consistent(file)?;
    }
    let before = || old.iter().map(AsRef::as_ref);
    let rows = same(leaves_of(before()), leaves_of(new.iter()));
    let spans = same(spans_of(before()), spans_of(new.iter()));
    if rows && spans {
        Ok(())
    } else {
        Err("the new files do not hold exactly the rows of the old ones".to_owned())
    }
}

fn same<T: PartialEq>(old: Option<T>, new: Option<T>) -> bool {
    old.is_some() && old == new
}

/// Whether what a file says about itself adds up.
fn is_consistent(file: &FileEntry) -> Result<(), String> {
    let rows = file
        .leaves
        .iter()
        .fold(0_u64, |sum, leaves| sum.saturating_add(leaves.count()));
    let ordered = file.leaves.is_sorted_by(|one, next| one.last < next.first);
    let whole = file.leaves.iter().all(|leaves| leaves.first <= leaves.last);
    if file.rows == 0 || rows != file.rows || !ordered || !whole {
        return Err(format!("the rows of file {} do not add up", file.path));
    }
    if file.path != file.expected_path() {
        return Err(format!(
            "file {} is not named after its contents",
            file.path
        ));
    }
    Ok(())
}

/// All their rows as the fewest ranges; `None` if one is there twice.
fn leaves_of<'a>(files: impl Iterator<Item = &'a FileEntry>) -> Option<Vec<Leaves>> {
    let mut all: Vec<Leaves> = files.flat_map(|file| file.leaves.iter().copied()).collect();
    all.sort_unstable();
    let mut merged: Vec<Leaves> = Vec::new();
    for next in all {
        match merged.last_mut() {
            Some(last) if next.first <= last.last => return None,
            Some(last) if last.last.checked_add(1) == Some(next.first) => last.last = next.last,
            _ => merged.push(next),
        }
    }
    Some(merged)
}

/// All their messages as the fewest spans; `None` if one is there twice.
fn spans_of<'a>(files: impl Iterator<Item = &'a FileEntry>) -> Option<Vec<Span>> {
    let mut all: Vec<Span> = files.flat_map(|file| file.spans.iter().cloned()).collect();
    all.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for next in all {
        let follows = merged
            .last()
            .filter(|last| (&last.stream, &last.incarnation) == (&next.stream, &next.incarnation))
            .map(|last| (next.first_seq > last.last_seq, last.last_seq.checked_add(1)));
        match (follows, merged.last_mut()) {
            (Some((false, _)), _) => return None,
            (Some((true, after)), Some(last)) if after == Some(next.first_seq) => {
                last.last_seq = next.last_seq;
            }
            _ => merged.push(next),
        }
    }
    Some(merged)
}
