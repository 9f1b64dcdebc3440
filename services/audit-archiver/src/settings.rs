//! What the archiver needs besides its connection.

use crate::batch::BatchLimits;
use crate::commit::WriterOptions;
use crate::reader::SharedScrub;

/// Everything that is configured.
#[derive(Clone)]
pub struct Settings {
    /// Where and how to write.
    pub writer: WriterOptions,
    /// When to commit.
    pub limits: BatchLimits,
    /// Redacts every row.
    pub scrub: SharedScrub,
}
