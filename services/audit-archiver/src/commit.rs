//! From rows to a committed manifest entry.
//!
//! The order is the whole secret: files first, each stored for good and named by its contents, then
//! the one entry that names them, created only if its number is free. Whatever stops the
//! writer before that leaves files that nobody lists; after it, the rows are archived.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;

use countersign_domain::archive::{
    BadPlace, ChainState, Entry, EntryError, EntryKind, FileEntry, Files, Leaves, ManifestKey,
    ManifestPublicKeys, Position, Removed, Row, Span, Walked, leaf, verify_chain,
};
use countersign_domain::merkle::{CHECKPOINT_BYTES_MAX, Checkpoint, CheckpointError, Node, Tree};
use countersign_runtime::archive::Place;
use countersign_schemas::{Digest, Incarnation, Stream, Timestamp};

use crate::encode::{About, EncodeError, write_file};
use crate::hooks::{Hooks, Step, Stopped};
use crate::merge::Merged;
use crate::root::{Created, Root, StoreError};
use crate::state::State;
use crate::tidy::{Tidier, TidyLimits};
use crate::tiles::{self, CHECKPOINT, Tiles};
use crate::verify::Published;

/// How often it is tried to sign for the archive's end while another archiver does: each of
/// its turns is a commit, which takes far longer than ours.
const PUBLISH_TRIES: usize = 10;

/// Rows of one stored message: its own, and before it one for a gap, if there was one.
#[derive(Debug, Clone)]
pub struct Item {
    /// The stream.
    pub stream: Stream,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// First sequence that the rows account for.
    pub first_seq: u64,
    /// The message's sequence.
    pub last_seq: u64,
    /// Digest of the message.
    pub message: Digest,
    /// Whether the archiver itself sent the message: such a one never starts a batch.
    pub own: bool,
    /// The rows.
    pub rows: Vec<Row>,
}

/// Rows could not be committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another archiver has made the entry first. Open the archive again and go on.
    #[error("another archiver has committed manifest entry {0}")]
    Lost(u64),
    /// The rows do not go on where the archive ends.
    #[error("cannot archive {stream}: sequence {found} does not follow {expected}")]
    Order {
        /// The stream.
        stream: Stream,
        /// What would follow.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The archive is not as it was written.
    #[error("the archive is damaged: {0}; run `countersign audit verify`")]
    Damaged(#[from] BadPlace),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The entry could not be signed.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The checkpoint could not be signed.
    #[error("cannot sign a checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A test stopped the writer.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Where and how to write.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Where the archive lies.
    pub place: Place,
    /// The state file outside it.
    pub state_file: PathBuf,
    /// The name of the log in its checkpoints: that of the deployment.
    pub origin: String,
    /// Signs the entries.
    pub key: ManifestKey,
    /// Every key that may have signed them, this one's included.
    pub pinned: ManifestPublicKeys,
    /// Asked after each step.
    pub hooks: Hooks,
}

/// The end of an archive, as the world is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The chain of its entries.
    pub(crate) chain: ChainState,
    /// The signed checkpoint; none while it is empty.
    pub(crate) checkpoint: Option<String>,
    /// The files that make it up.
    pub(crate) files: Files,
}

/// The writer of an archive, standing at its end.
#[derive(Debug)]
pub struct Writer {
    root: Root,
    options: WriterOptions,
    head: ChainState,
    files: Files,
    tiles: Tiles,
    checkpoint: Option<String>,
}

impl Writer {
    /// Opens the archive, walks its whole chain and compares its end with the state file.
    ///
    /// # Errors
    /// When the store cannot be used, or the chain is not as it was written: an archive
    /// that was tampered with is not written to.
    pub fn open(options: WriterOptions) -> Result<Self, CommitError> {
        let root = Root::prepare(&options.place)?;
        let state = State::read(&options.state_file)?;
        let anchors: Vec<_> = state
            .iter()
            .map(|state| state.anchor(&options.state_file))
            .chain(Published::read(&root, &options.pinned)?.anchor())
            .collect();
        // Read last: another archiver at work writes the entry before it tells of it.
        let entries = root.entries()??;
        let bytes = entries.iter().map(Vec::as_slice);
        let walked = verify_chain(bytes, &options.pinned, &anchors)?;
        let tiles = Tiles::open(&root, &walked)?;
        let Walked {
            state: head, files, ..
        } = walked;
        if state.is_none() && head.n > 0 {
            tracing::warn!(
                state_file = %options.state_file.display(),
                "the state file is missing: whether the archive's tail was cut cannot be told"
            );
        }
        let mut writer = Self {
            root,
            options,
            head,
            files,
            tiles,
            checkpoint: None,
        };
        writer.publish()?;
        writer.remember()?;
        Ok(writer)
    }

    /// Where the archive ends.
    #[must_use]
    pub fn head(&self) -> &ChainState {
        &self.head
    }

    /// The files that make up the archive.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Its store.
    pub(crate) fn root(&self) -> Root {
        self.root.clone()
    }

    /// A tidier of this archive, standing where the writer does.
    pub(crate) fn tidier(&self, limits: TidyLimits) -> Tidier {
        let at = (self.head.clone(), self.files.clone());
        Tidier::new(self.root.clone(), self.options.pinned.clone(), at, limits)
    }

    /// Where the archive ends, and the checkpoint that signs for it.
    pub(crate) fn end(&self) -> Head {
        Head {
            chain: self.head.clone(),
            checkpoint: self.checkpoint.clone(),
            files: self.files.clone(),
        }
    }

    /// The name under which entries are signed.
    #[must_use]
    pub fn signer(&self) -> String {
        self.options.key.signer()
    }

    /// Commits `items`, which go on where each stream's position stands. What is archived
    /// already is left out. Returns whether anything was committed.
    ///
    /// # Errors
    /// Nothing is committed on an error, except after [`Step::Committed`].
    pub fn commit(&mut self, items: Vec<Item>, created: Timestamp) -> Result<bool, CommitError> {
        let parts = self.parts(items)?;
        if parts.is_empty() {
            return Ok(false);
        }
        let mut files = Vec::new();
        let mut positions = self.head.positions.clone();
        let mut tree = self.head.tree.clone();
        let mut leaves = Vec::new();
        for mut part in parts {
            part.number(&mut tree, &mut leaves);
            files.push(self.write_part(&part)?);
            move_position(&mut positions, part);
        }
        let entry = Entry {
            n: self.head.n.saturating_add(1),
            prev: self.head.digest,
            kind: EntryKind::Add,
            created,
            files,
            removes: Vec::new(),
            positions,
            tree,
            signer: String::new(),
        };
        self.commit_entry(entry, &leaves)?;
        Ok(true)
    }

    /// Puts a merged file in the place of those it was made from, as one entry. Returns
    /// whether it did: files that are no longer part of the archive are left alone.
    ///
    /// # Errors
    /// Nothing is committed on an error, except after [`Step::Committed`].
    pub fn replace(&mut self, merged: Merged, created: Timestamp) -> Result<bool, CommitError> {
        let Merged {
            file,
            entry,
            inputs,
        } = merged;
        let stands = |input: &FileEntry| self.files.get(&input.path) == Some(input);
        if !inputs.iter().all(stands) {
            return Ok(false);
        }
        self.options.hooks.after(Step::FileWritten)?;
        self.link(&file, &entry)?;
        self.options.hooks.after(Step::FileLinked)?;
        let removes = inputs.into_iter().map(|input| Removed {
            path: input.path,
            sha256: input.sha256,
        });
        let entry = Entry {
            n: self.head.n.saturating_add(1),
            prev: self.head.digest,
            kind: EntryKind::Replace,
            created,
            files: vec![entry],
            removes: removes.collect(),
            positions: self.head.positions.clone(),
            tree: self.head.tree.clone(),
            signer: String::new(),
        };
        self.commit_entry(entry, &[])?;
        Ok(true)
    }

    fn commit_entry(&mut self, entry: Entry, leaves: &[Node]) -> Result<(), CommitError> {
        let before = self.head.tree.size();
        self.write_entry(entry)?;
        self.options.hooks.after(Step::Committed)?;
        self.tiles.append(&self.root, leaves)?;
        self.options.hooks.after(Step::TilesWritten)?;
        self.publish()?;
        self.options.hooks.after(Step::CheckpointWritten)?;
        self.remember()?;
        self.options.hooks.after(Step::StateWritten)?;
        tiles::collect(&self.root, before, self.head.tree.size());
        Ok(())
    }

    /// Signs for the archive's end, all of whose tiles are there, and says so in the file
    /// `checkpoint`, unless another archiver has signed for more.
    fn publish(&mut self) -> Result<(), CommitError> {
        if self.head.n == 0 {
            return Ok(());
        }
        let tree = &self.head.tree;
        let note = self.options.key.checkpoint(&self.options.origin, tree)?;
        let ours = Checkpoint::of(&self.options.origin, tree);
        for _ in 0..PUBLISH_TRIES {
            let seen = self.root.see(CHECKPOINT, CHECKPOINT_BYTES_MAX)?;
            let there = seen.bytes.as_deref().map(String::from_utf8_lossy);
            let there = there.and_then(|note| self.options.pinned.open_checkpoint(&note).ok());
            let stands = there.is_some_and(|there| there.size > ours.size || there == ours);
            if stands || self.root.swap(CHECKPOINT, note.as_bytes(), seen)? {
                self.checkpoint = Some(note);
                return Ok(());
            }
        }
        let reason = io::Error::other("it was replaced meanwhile, each time");
        Err(StoreError::new("write", self.root.full_name(CHECKPOINT))(reason).into())
    }

    /// Sorts the items by stream and cuts them where an hour or a life of a stream ends.
    fn parts(&self, items: Vec<Item>) -> Result<Vec<Part>, CommitError> {
        let mut by_stream: BTreeMap<Stream, Vec<Item>> = BTreeMap::new();
        for item in items {
            by_stream.entry(item.stream).or_default().push(item);
        }
        let mut parts: Vec<Part> = Vec::new();
        for (stream, items) in by_stream {
            let mut at = self
                .head
                .position(stream.name())
                .map(|at| (at.incarnation.clone(), at.seq));
            for item in items {
                if !follows(&item, &mut at)? {
                    continue;
                }
                match parts.last_mut() {
                    Some(part) if part.takes(&item) => part.add(item),
                    _ => parts.extend(Part::start(item)),
                }
            }
        }
        Ok(parts)
    }

    fn write_part(&self, part: &Part) -> Result<FileEntry, CommitError> {
        let rows = u64::try_from(part.rows.len()).unwrap_or(u64::MAX);
        let about = About {
            spans: vec![Span {
                stream: part.stream.name().to_owned(),
                incarnation: part.incarnation.clone(),
                first_seq: part.first_seq,
                last_seq: part.last_seq,
            }],
            leaves: vec![Leaves {
                first: part.first_leaf,
                last: part.first_leaf.saturating_add(rows).saturating_sub(1),
            }],
        };
        let file = self.root.temporary()?;
        let (sha256, bytes) = write_file(&part.rows, &about, file.as_file())?;
        self.options.hooks.after(Step::FileWritten)?;
        let mut entry = FileEntry {
            path: String::new(),
            sha256,
            bytes,
            rows,
            spans: about.spans,
            leaves: about.leaves,
            min_time: part.min_time,
            max_time: part.max_time,
        };
        entry.path = entry.expected_path();
        self.link(&file, &entry)?;
        self.options.hooks.after(Step::FileLinked)?;
        Ok(entry)
    }

    /// A file of that name can only be our own of an earlier try: its name holds the first
    /// digits of its digest, and the rest is compared here.
    fn link(&self, file: &tempfile::NamedTempFile, entry: &FileEntry) -> Result<(), CommitError> {
        if self.root.create_from(file, &entry.path)? == Created::Before {
            let (_, found, _) = self.root.open_file(&entry.path)?;
            if found != entry.sha256 {
                return Err(BadPlace::FileChanged {
                    n: self.head.n.saturating_add(1),
                    path: entry.path.clone(),
                    row: None,
                    found,
                }
                .into());
            }
        }
        Ok(())
    }

    /// The commit: the entry gets its number, or another archiver has it.
    fn write_entry(&mut self, entry: Entry) -> Result<(), CommitError> {
        let n = entry.n;
        let bytes = self.options.key.sign(entry)?.bytes()?;
        let (mut next, mut files) = (self.head.clone(), self.files.clone());
        // Whatever we would not accept from others, we do not write either.
        next.advance(&bytes, &self.options.pinned, &mut files)?;
        let mut file = self.root.temporary()?;
        file.write_all(&bytes)
            .map_err(StoreError::new("write", file.path()))?;
        self.options.hooks.after(Step::EntryWritten)?;
        match self.root.create_from(&file, &Entry::path(n))? {
            Created::Before => Err(CommitError::Lost(n)),
            Created::Now => {
                (self.head, self.files) = (next, files);
                Ok(())
            }
        }
    }

    fn remember(&self) -> Result<(), CommitError> {
        if let Some(state) = State::of(&self.head, self.checkpoint.clone()) {
            state.write(&self.options.state_file)?;
        }
        Ok(())
    }
}

/// Whether the item is new; an error if it leaves something out.
fn follows(item: &Item, at: &mut Option<(Incarnation, u64)>) -> Result<bool, CommitError> {
    let expected = match at {
        Some((life, seq)) if *life == item.incarnation => seq.saturating_add(1),
        _ => item.stream.first_seq(),
    };
    if item.last_seq < expected {
        return Ok(false);
    }
    if item.first_seq != expected {
        return Err(CommitError::Order {
            stream: item.stream,
            expected,
            found: item.first_seq,
        });
    }
    *at = Some((item.incarnation.clone(), item.last_seq));
    Ok(true)
}

fn move_position(positions: &mut Vec<Position>, part: Part) {
    let position = Position {
        stream: part.stream.name().to_owned(),
        incarnation: part.incarnation,
        seq: part.last_seq,
        last_message_hmac: part.message,
    };
    match positions.iter_mut().find(|at| at.stream == position.stream) {
        Some(at) => *at = position,
        None => positions.push(position),
    }
}

/// The rows of one file: one stream, one life of it, one hour.
#[derive(Debug)]
struct Part {
    stream: Stream,
    incarnation: Incarnation,
    first_seq: u64,
    last_seq: u64,
    message: Digest,
    min_time: Timestamp,
    max_time: Timestamp,
    first_leaf: u64,
    rows: Vec<Row>,
}

impl Part {
    fn start(item: Item) -> Option<Self> {
        let time = item.rows.first()?.time;
        Some(Self {
            stream: item.stream,
            incarnation: item.incarnation,
            first_seq: item.first_seq,
            last_seq: item.last_seq,
            message: item.message,
            min_time: time,
            max_time: time,
            first_leaf: 0,
            rows: item.rows,
        })
    }

    fn takes(&self, item: &Item) -> bool {
        let hour = |time: Timestamp| time.seconds().div_euclid(3_600);
        self.stream == item.stream
            && self.incarnation == item.incarnation
            && item
                .rows
                .iter()
                .all(|row| hour(row.time) == hour(self.min_time))
    }

    fn add(&mut self, item: Item) {
        for row in &item.rows {
            self.min_time = self.min_time.min(row.time);
            self.max_time = self.max_time.max(row.time);
        }
        self.last_seq = item.last_seq;
        self.message = item.message;
        self.rows.extend(item.rows);
    }

    /// Gives each row its place in the whole archive, and to the tree its leaf.
    fn number(&mut self, tree: &mut Tree, leaves: &mut Vec<Node>) {
        self.first_leaf = tree.size();
        for row in &mut self.rows {
            row.leaf_index = i64::try_from(tree.size()).unwrap_or(i64::MAX);
            let leaf = leaf(row);
            tree.push(leaf);
            leaves.push(leaf);
        }
    }
}

#[cfg(test)]
mod tests;
