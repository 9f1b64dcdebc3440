//! What is asked and answered on `cs.policy.push.<operator>` and `cs.policy.recheck`, as
//! JSON. A refusal has the headers of a micro service's error and, where a bundle is at
//! fault, a [`Refused`] as its body.

use countersign_schemas::events::{ApprovalResolved, Need, Reason, Verdict};
use countersign_schemas::{AgentId, Digest, IntentId, PersonId, Timestamp};
use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum PushRequest {
    /// Which bundle is in force, and which are kept.
    Status {},
    /// Uploads one part of a packed bundle.
    Part {
        /// Its bytes as base64.
        data: String,
    },
    /// Checks an uploaded bundle and puts it in force.
    Publish {
        /// The bundle's digest.
        digest: Digest,
        /// Its uploaded parts, in order.
        parts: Vec<Digest>,
        /// The bundle that the operator means to replace; refused if another is in force.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<Digest>,
    },
    /// Checks a kept bundle again and puts it in force.
    Rollback {
        /// The bundle.
        digest: Digest,
        /// The bundle that the operator means to replace; refused if another is in force.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<Digest>,
    },
    /// One part of a packed bundle.
    Read {
        /// The bundle; the one in force where it does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
        /// Which part, from 0.
        number: usize,
    },
}

/// A bundle that can be put in force again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptBundle {
    /// The bundle.
    pub digest: Digest,
    /// Its bytes when packed.
    pub bytes: usize,
    /// Who pushed it first.
    pub operator: PersonId,
    /// When.
    pub at: Timestamp,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum PushReply {
    /// To `status`.
    Status {
        /// The bundle that was published last; none where the folder counts.
        #[serde(skip_serializing_if = "Option::is_none")]
        published: Option<Digest>,
        /// Who published it.
        #[serde(skip_serializing_if = "Option::is_none")]
        operator: Option<PersonId>,
        /// When.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
        /// The bundle that the checker which answers judges by now.
        #[serde(skip_serializing_if = "Option::is_none")]
        in_force: Option<Digest>,
        /// What can be put in force again, the newest first.
        kept: Vec<KeptBundle>,
    },
    /// To `part`.
    Part {
        /// Its digest, which names it in `publish`.
        digest: Digest,
    },
    /// To `publish` and `rollback`.
    Published {
        /// The bundle that is in force now.
        digest: Digest,
        /// The bundle that it replaced.
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<Digest>,
        /// Its tests, all passed.
        tests: usize,
        /// Whether it was in force already.
        unchanged: bool,
    },
    /// To `read`.
    Read {
        /// The bundle.
        digest: Digest,
        /// How many parts it has.
        parts: usize,
        /// This one, as base64.
        data: String,
    },
}

/// Why a bundle was not put in force. What was in force still is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// A sentence.
    pub message: String,
    /// What is wrong with the bundle, each with its place.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// How many more there are than are listed.
    #[serde(default)]
    pub more: usize,
}

/// What executor and coordinator ask about something that an earlier bundle judged. What
/// was asked is read from the streams, and so is what was approved once it is decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecheckRequest {
    /// Who acts.
    pub agent: AgentId,
    /// The intent.
    pub intent_id: IntentId,
    /// What people have just decided and the coordinator is about to store. It counts only
    /// while the intent has no decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Box<ApprovalResolved>>,
}

/// Whether it still runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecheckReply {
    /// The same intent, so that an answer is never taken for another's.
    pub intent_id: IntentId,
    /// Whether it may run.
    pub runs: bool,
    /// The verdict of the bundle in force.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What would make it possible.
    pub needs: Vec<Need>,
    /// The bundle that judged.
    pub policy_digest: Digest,
    /// The tool's definition by that bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_digest: Option<Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn questions_have_their_forms_and_no_others() {
        let read = |value: serde_json::Value| serde_json::from_value::<PushRequest>(value);
        let digest = Digest::of_bytes(b"x");
        assert_eq!(
            read(json!({"op": "status"})).unwrap(),
            PushRequest::Status {}
        );
        let rollback = PushRequest::Rollback {
            digest,
            replaces: None,
        };
        assert_eq!(
            read(json!({"op": "rollback", "digest": digest})).unwrap(),
            rollback
        );
        let publish = PushRequest::Publish {
            digest,
            parts: vec![digest],
            replaces: None,
        };
        assert_eq!(serde_json::to_value(&publish).unwrap()["op"], "publish");
        for bad in [
            json!({}),
            json!({"op": "purge"}),
            json!({"op": "status", "force": true}),
            json!({"op": "rollback", "digest": "x"}),
            json!({"op": "publish", "digest": digest}),
            json!({"op": "read", "number": -1}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_recheck_takes_coordinates_and_no_other_claim_than_a_whole_approval() {
        let good = json!({"agent": "billing", "intent_id": "019a0000-0000-7000-8000-000000000001"});
        assert!(serde_json::from_value::<RecheckRequest>(good.clone()).is_ok());
        for (name, claim) in [
            ("approvers", json!(["lee"])),
            ("approval", json!({"approvers": ["lee"]})),
            ("approval", json!("a-1")),
        ] {
            let mut claimed = good.clone();
            claimed[name] = claim;
            assert!(serde_json::from_value::<RecheckRequest>(claimed).is_err());
        }
    }
}
