//! The worlds that are checked, and what is taken out of one to see that a property fails.

use countersign_schemas::events::{Verdict, VoteChoice};

/// A vote that somebody may cast, at any time after people were asked.
#[derive(Debug, Clone, Copy)]
pub struct Voter {
    /// Who.
    pub name: &'static str,
    /// What they say.
    pub choice: VoteChoice,
    /// Whether they name the digest of what is to be approved, or that of something else
    /// that they were shown.
    pub saw_it: bool,
}

/// One small world: what is asked, who may vote, and how much may go wrong.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The verdict on each intent.
    pub intents: Vec<Verdict>,
    /// How many of support must approve an ask.
    pub quorum: u32,
    /// Who may vote on the first intent, each once.
    pub voters: Vec<Voter>,
    /// Whether the agent may withdraw the first intent.
    pub withdrawal: bool,
    /// Whether a window with one use is open at the beginning.
    pub window: bool,
    /// Whether an operator may freeze everything, and release it.
    pub freeze: bool,
    /// How often the clock may pass every deadline that is set by then, besides when nothing
    /// else is left to happen.
    pub ticks: u8,
    /// How many things may go wrong in one run: a crash, a lost ack, an in-flight conflict,
    /// a stale read, a redelivery, a request that reads otherwise.
    pub faults: u8,
}

/// A safeguard that is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The stream stores whatever is published, whatever sequence was expected.
    ChainWithoutCas,
    /// The bucket stores whatever is put, whatever revision was expected.
    BucketWithoutCas,
    /// A vote counts whatever digest it names.
    VoteWithoutDigest,
    /// The executor runs the stored input without looking at its digest.
    RunWithoutDigest,
    /// The executor runs what it did not claim.
    RunWithoutClaim,
    /// The executor looks at the freezes that it knew when the decision came, and does not
    /// wait for its claim to come by in the log.
    NoFence,
    /// A use of a window is not stored before what it lifts is decided.
    WindowWithoutSet,
    /// Nobody ends what its executor left.
    NoSweep,
}
