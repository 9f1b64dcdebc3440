//! What the archive is made of, without any file: the row of each event, the signed
//! manifest, and the checks that find the first place where either was tampered with.

mod anchor;
mod columns;
mod compaction;
mod describe;
mod draft;
mod files;
mod keep;
mod leaf;
mod manifest;
mod marks;
mod message;
mod named;
mod proof;
mod redactor;
mod resume;
mod row;
mod scrub;
mod verify;
mod whereabouts;

pub use anchor::{Anchor, Known};
pub use columns::{
    BLOOM_FPP, COLUMNS, Cell, Column, GROUP_BYTES, GROUP_ROWS, Kind, Layout, ZSTD_LEVEL, markdown,
};
pub use compaction::{Compaction, CompactionLimits};
pub use files::Files;
pub use keep::{Gate, Gates, Keep, OpenWork};
pub use leaf::{leaf, leaf_bytes};
pub use manifest::{
    Entry, EntryError, EntryKind, FileEntry, Leaves, ManifestKey, ManifestPublicKeys, Position,
    Removed, SignedEntry, Span,
};
pub use message::{GAP_EVENT, Headers, Stored, bare_row, gap, row};
pub use proof::{PROOF_BYTES_MAX, ProvedRow, RowProofError, check_row_proof};
pub use resume::{Observed, Resume, Surprise, resume};
pub use row::{Level, ROW_VERSION, Redaction, Row};
pub use scrub::{Scrub, ScrubError, Scrubbed, TEXT_CHARS_MAX};
pub use verify::{BadPlace, ChainState, Walked, verify_chain};
pub use whereabouts::Whereabouts;
