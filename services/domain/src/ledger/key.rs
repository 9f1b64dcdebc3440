//! The name of a ledger: equal for equal settings, values and window, and for nothing else.

use std::fmt;
use std::time::Duration;

use countersign_schemas::digest::canonical_json;
use countersign_schemas::events::CheckedRequester;
use countersign_schemas::{AgentId, Timestamp, Token, ToolName};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Characters of the digest in a key: 130 bits, so that no two ledgers share one.
const DIGEST_CHARS: usize = 26;

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Each agent.
    Agent,
    /// Each tool.
    Tool,
    /// Each requester whom a mandate proves; those whom an agent only names, together.
    Requester,
}

/// Whose count it is in one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Counted<'v> {
    /// This agent's, tool's or proved requester's.
    One(&'v str),
    /// Everybody's whom this agent names without proof: it could name somebody new each
    /// time.
    Unproved {
        /// The agent.
        unproved: &'v str,
    },
}

/// The key of one ledger: `<name>.<26 base32>.<start of the window in Unix seconds>`.
///
/// The values that are counted apart are only in the digest: a requester's id may be a mail
/// address, and keys are shown in logs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LedgerKey(String);

impl LedgerKey {
    /// The ledger of `kind` called `name` in the window that begins at `start`.
    #[must_use]
    pub fn new(
        kind: &str,
        name: &Token,
        window: Duration,
        start: Timestamp,
        values: &[(Dimension, Counted<'_>)],
    ) -> Self {
        let said = (kind, name.as_str(), window.as_secs(), values);
        // Text and numbers always have a canonical form.
        let bytes = canonical_json(&said).unwrap_or_default();
        let mut digest = data_encoding::BASE32_NOPAD
            .encode(&Sha256::digest(bytes))
            .to_ascii_lowercase();
        digest.truncate(DIGEST_CHARS);
        Self(format!("{name}.{digest}.{}", start.seconds()))
    }

    /// The name of the rate or budget.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// As it stands in a bucket and in a verdict.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LedgerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Dimension {
    /// The value of an intent in this dimension.
    #[must_use]
    pub fn of<'v>(
        self,
        agent: &'v AgentId,
        tool: &'v ToolName,
        requester: &'v CheckedRequester,
    ) -> Counted<'v> {
        match self {
            Self::Agent => Counted::One(agent.as_str()),
            Self::Tool => Counted::One(tool.as_str()),
            Self::Requester if requester.verified => Counted::One(requester.id.as_str()),
            Self::Requester => Counted::Unproved {
                unproved: agent.as_str(),
            },
        }
    }
}
