//! Opening an approval: from verdicts to what people are asked.

use std::time::Duration;

use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::events::{ApprovalKind, ApprovalState, Ask, PolicyChecked, Verdict};
use countersign_schemas::{ApprovalId, Timestamp};
use serde::Serialize;

use super::approval::Approval;
use super::format::Form;
use super::item::Item;
use super::schedule::Timetable;

/// Longest life of an ask, whatever policy says: raw messages are kept for seven days, and
/// an approval must not outlive the input it is about.
pub const ASK_LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Bytes of what is shown for one approval. People cannot read more, and with the redacted
/// copy beside it an answer stays under what a server lets a message be. Text that hides
/// characters grows when they are made visible, so this is measured afterwards.
const SHOWN_BYTES_MAX: usize = 512 * 1024;

/// A verdict cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The verdict is not an ask.
    #[error("the verdict does not ask for people")]
    NotAnAsk,
    /// It names nobody who could grant it.
    #[error("the verdict asks for people but names no team with a quorum")]
    NobodyAsked,
    /// It speaks of a tool that the catalog does not know.
    #[error("the verdict asks for a tool without an operation")]
    UnknownTool,
    /// More than people could be shown.
    #[error("it is larger than people could be shown ({SHOWN_BYTES_MAX} bytes)")]
    TooLarge,
    /// People could not be shown it: the event that asks them has no form that is read.
    #[error("its input is nested too deeply to be shown to people")]
    NotShowable,
    /// It cannot be written as canonical JSON.
    #[error("the approval cannot be written as canonical JSON")]
    NotCanonical,
}

impl Approval {
    /// Opens the approval of one intent, asked at `stored_at`. The same verdict always
    /// gives the same approval.
    ///
    /// # Errors
    /// When the verdict is not an ask that people could grant.
    pub fn open(checked: &PolicyChecked, stored_at: Timestamp) -> Result<Self, OpenError> {
        if checked.verdict != Verdict::Ask {
            return Err(OpenError::NotAnAsk);
        }
        let ask = checked.ask.clone().ok_or(OpenError::NotAnAsk)?;
        let item = Item::new(checked).ok_or(OpenError::UnknownTool)?;
        let life = Duration::from_secs(ask.expires_in_s).min(ASK_LIFE_MAX);
        let asked_until = stored_at.plus(life);
        let expires_at = checked
            .expires_at
            .map_or(asked_until, |own| own.min(asked_until));
        let approval = Self {
            schema_version: Form::default(),
            id: ApprovalId::for_intent(checked.intent_id),
            kind: ApprovalKind::Action,
            agent: checked.agent.clone(),
            requester: checked.requester.clone(),
            purpose: checked.purpose.clone(),
            items: vec![item],
            left_out: Vec::new(),
            ask,
            created_at: stored_at,
            expires_at,
            timetable: Timetable::default(),
            digest: checked.input_digest,
            window: None,
            votes: Vec::new(),
            state: ApprovalState::Pending,
            resolution: None,
            settled: false,
        };
        approval.ready()
    }

    /// Sets the digest of what is shown, and looks that people could be shown it.
    pub(super) fn ready(mut self) -> Result<Self, OpenError> {
        if !can_be_granted(&self.ask) {
            return Err(OpenError::NobodyAsked);
        }
        self.set_timetable();
        let view = self.view();
        self.digest = view.digest().map_err(|_| OpenError::NotCanonical)?;
        let asked = self.requested(&str::to_owned);
        let asked = codec::encode(&asked, Encoding::Json).map_err(|_| OpenError::NotShowable)?;
        if size(&view)? > SHOWN_BYTES_MAX || asked.len() > SHOWN_BYTES_MAX {
            return Err(OpenError::TooLarge);
        }
        Ok(self)
    }
}

/// Whether anybody at all could grant an ask.
pub(super) fn can_be_granted(ask: &Ask) -> bool {
    !ask.approvers.is_empty() && ask.approvers.iter().all(|team| team.quorum > 0)
}

fn size<T: Serialize>(value: &T) -> Result<usize, OpenError> {
    let text = serde_json::to_vec(value).map_err(|_| OpenError::NotCanonical)?;
    Ok(text.len())
}
