//! The form in which approvals and bundles are kept. A value of an older form is read as
//! what it means now.

use countersign_schemas::events::{ApprovalKind, ApprovalState, Ask, Operation, PolicyChecked};
use countersign_schemas::{ApprovalId, Digest, Timestamp};
use serde::Deserialize;

use super::approval::{Approval, RecordedVote, Resolution};
use super::bundle::Gathering;
use super::item::Item;
use super::schedule::Timetable;
use crate::kept::{self, KeptError};

/// The form that this version writes. Form 1 held one verdict instead of items.
const FORM: u16 = 2;
/// The form before bundles.
const ONE_VERDICT: u16 = 1;

/// Stands first in every kept approval and bundle.
pub(super) type Form = kept::Form<FORM>;

/// Form 1: one intent, before there were bundles, timetables and windows.
#[derive(Deserialize)]
struct OneVerdict {
    id: ApprovalId,
    checked: PolicyChecked,
    operation: Operation,
    ask: Ask,
    created_at: Timestamp,
    expires_at: Timestamp,
    digest: Digest,
    votes: Vec<RecordedVote>,
    state: ApprovalState,
    resolution: Option<Resolution>,
    settled: bool,
}

impl From<OneVerdict> for Approval {
    /// A vote names the digest of what was shown then, so that stays.
    fn from(old: OneVerdict) -> Self {
        Self {
            schema_version: Form::default(),
            id: old.id,
            kind: ApprovalKind::Action,
            agent: old.checked.agent.clone(),
            requester: old.checked.requester.clone(),
            purpose: old.checked.purpose.clone(),
            items: vec![Item::of(old.checked, old.operation)],
            left_out: Vec::new(),
            ask: old.ask,
            created_at: old.created_at,
            expires_at: old.expires_at,
            timetable: Timetable::default(),
            digest: old.digest,
            window: None,
            votes: old.votes,
            state: old.state,
            resolution: old.resolution,
            settled: old.settled,
        }
    }
}

impl Approval {
    /// Reads a kept approval, also one of an earlier form.
    ///
    /// # Errors
    /// When another version wrote it, in a form that this one does not know.
    pub fn read(value: &[u8]) -> Result<Self, KeptError> {
        match kept::read(value, FORM) {
            Err(KeptError::OtherForm {
                found: ONE_VERDICT, ..
            }) => Ok(serde_json::from_slice::<OneVerdict>(value)?.into()),
            read => read,
        }
    }
}

impl Gathering {
    /// Reads a kept bundle. There was none in an earlier form.
    ///
    /// # Errors
    /// When another version wrote it, in a form that this one does not know.
    pub fn read(value: &[u8]) -> Result<Self, KeptError> {
        kept::read(value, FORM)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, checked, company, person};
    use super::super::tests::{approve, put_to};
    use super::*;
    use serde_json::{Value, json};

    /// What the version before bundles kept of an approval.
    fn of_form_one(approval: &Approval) -> Value {
        let kept = serde_json::to_value(approval).unwrap();
        let mut old = json!({"schema_version": 1});
        for field in ["id", "ask", "created_at", "expires_at", "digest", "votes"] {
            old[field] = kept[field].clone();
        }
        for field in ["state", "resolution", "settled"] {
            old[field] = kept[field].clone();
        }
        old["checked"] = kept["items"][0]["checked"].clone();
        old["operation"] = kept["items"][0]["operation"].clone();
        old
    }

    fn read(value: &Value) -> Result<Approval, KeptError> {
        Approval::read(value.to_string().as_bytes())
    }

    #[test]
    fn an_approval_of_form_one_waits_is_granted_and_ends_as_ever() {
        let approval = Approval::open(&checked(), at("10:00:00")).unwrap();
        let mut old = read(&of_form_one(&approval)).unwrap();
        assert_eq!(old.view(), approval.view());
        assert_eq!(old.digest(), approval.digest());
        assert_eq!(old.next_due(), approval.expires_at());
        assert!(old.may_vote(&person("lee"), &company(), at("10:05:00")));
        let mut over = old.clone();
        assert!(over.expire(approval.expires_at()));
        let vote = approve(&old, "lee", 1);
        put_to(&mut old, &vote, &company());
        assert_eq!(old.state(), ApprovalState::Approved);
        let ended = read(&of_form_one(&old)).unwrap();
        assert_eq!((ended.state(), ended.votes()), (old.state(), old.votes()));
        let written = serde_json::to_value(&old).unwrap();
        assert_eq!(written["schema_version"], FORM, "and is kept in our form");
    }

    #[test]
    fn what_a_newer_version_wrote_is_said_to_be_that() {
        let approval = Approval::open(&checked(), at("10:00:00")).unwrap();
        let mut newer = serde_json::to_value(&approval).unwrap();
        for other in [0, 3] {
            newer["schema_version"] = json!(other);
            assert!(
                matches!(read(&newer), Err(KeptError::OtherForm { found, .. }) if found == other)
            );
        }
        newer["items"] = json!({"other": "shape"});
        let why = read(&newer).unwrap_err().to_string();
        assert!(why.contains("kept in form 3"), "{why}");
        let mut unknown = serde_json::to_value(&approval).unwrap();
        unknown["state"] = json!("paused");
        assert!(matches!(read(&unknown), Err(KeptError::Unreadable { .. })));
        let gathered = json!({"schema_version": 3});
        let gathered = Gathering::read(gathered.to_string().as_bytes());
        assert!(matches!(
            gathered,
            Err(KeptError::OtherForm { found: 3, .. })
        ));
    }
}
