//! Records and enums that several events share.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ApprovalId, BundleId, Incarnation, PersonId, RequesterId, TeamId, Token};
use crate::time::Timestamp;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant),*
        }

        impl $name {
            /// Every value, in the order of the contract.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The value of a wire word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a tool does to the world.
    Operation {
        /// Reads only.
        Read = "read",
        /// Makes a new record.
        Create = "create",
        /// Changes a record.
        Update = "update",
        /// Removes a record.
        Delete = "delete",
        /// Sends something outside.
        Send = "send",
        /// Runs something.
        Execute = "execute",
    }
}
words! {
    /// The checker's finding.
    Verdict {
        /// May run.
        Allow = "allow",
        /// May not run.
        Deny = "deny",
        /// People must decide.
        Ask = "ask",
    }
}
words! {
    /// How a run ended.
    Outcome {
        /// The tool did it.
        Succeeded = "succeeded",
        /// The tool did not do it.
        Failed = "failed",
        /// Started and never heard of again: people must look.
        Unknown = "unknown",
    }
}
words! {
    /// The state of an approval, as in the OpenID AuthZEN access-request profile.
    ApprovalState {
        /// Waiting for people.
        Pending = "pending",
        /// Approved.
        Approved = "approved",
        /// A person said no.
        Denied = "denied",
        /// Nobody decided in time; never called a denial.
        Expired = "expired",
        /// Withdrawn, superseded or no longer possible.
        Cancelled = "cancelled",
        /// Could not be carried to an end.
        Failed = "failed",
        /// Some items of a bundle approved.
        Partial = "partial",
    }
}
words! {
    /// What a person votes.
    VoteChoice {
        /// Yes.
        Approve = "approve",
        /// No.
        Deny = "deny",
    }
}
words! {
    /// What an approval is about.
    ApprovalKind {
        /// One intent.
        Action = "action",
        /// Several intents decided as one object.
        Bundle = "bundle",
        /// A span of time.
        Window = "window",
    }
}
words! {
    /// What gave a permit.
    BasisKind {
        /// Policy alone.
        Policy = "policy",
        /// A person's approval.
        Person = "person",
        /// An open window.
        Window = "window",
    }
}
words! {
    /// What the agent may do after a block.
    NextAction {
        /// Ask people for the authority that is missing, then try again.
        Request = "request",
        /// Try again later with a new intent.
        Retry = "retry",
        /// Nothing; working around it is not wanted.
        None = "none",
    }
}
words! {
    /// Why an intent was blocked.
    BlockedCode {
        /// A rule forbids it or none permits it.
        PolicyDenied = "policy_denied",
        /// A guardrail refused it.
        GuardrailViolated = "guardrail_violated",
        /// A named person said no.
        DeniedByPerson = "denied_by_person",
        /// Nobody decided in time.
        ApprovalExpired = "approval_expired",
        /// The agent took it back.
        Withdrawn = "withdrawn",
        /// The kill switch is on.
        Frozen = "frozen",
        /// The tool is not in the catalog.
        UnknownTool = "unknown_tool",
        /// The input does not fit the tool's schema.
        InvalidInput = "invalid_input",
        /// The identity in the message is not the sender's.
        IdentityMismatch = "identity_mismatch",
        /// The mandate is missing, broken, expired or another's.
        MandateInvalid = "mandate_invalid",
        /// Policy could not be evaluated.
        PolicyError = "policy_error",
        /// A budget or rate is used up.
        BudgetExceeded = "budget_exceeded",
        /// A bundle never became complete.
        BundleIncomplete = "bundle_incomplete",
        /// Too many approvals of this agent are pending.
        TooManyPending = "too_many_pending",
        /// The tool's definition changed meanwhile.
        ToolChanged = "tool_changed",
        /// A part that is needed cannot be reached.
        Unavailable = "unavailable",
        /// It was a dry run.
        DryRun = "dry_run",
    }
}
words! {
    /// Why an approved intent will not run.
    RevokedCode {
        /// The kill switch is on.
        Frozen = "frozen",
        /// The agent took it back.
        Withdrawn = "withdrawn",
        /// The window it rested on was closed.
        WindowClosed = "window_closed",
        /// Nobody claimed it in time.
        PermitExpired = "permit_expired",
        /// Policy no longer allows it.
        RecheckDenied = "recheck_denied",
        /// The tool's definition changed meanwhile.
        ToolChanged = "tool_changed",
        /// The stored input is not what was approved.
        DigestMismatch = "digest_mismatch",
        /// The stored input was purged.
        InputGone = "input_gone",
    }
}
words! {
    /// Why a message gets no decision of its own.
    RefusedCode {
        /// Not a readable intent.
        Unreadable = "unreadable",
        /// Larger than what is judged.
        TooLarge = "too_large",
        /// The id is dated in the future or too far in the past.
        IntentOutOfTime = "intent_out_of_time",
        /// The id is already used with other content.
        IntentConflict = "intent_conflict",
    }
}
words! {
    /// What a guardrail found.
    GuardrailFinding {
        /// Nothing to object to.
        Pass = "pass",
        /// People must decide.
        Ask = "ask",
        /// Refused.
        Deny = "deny",
    }
}
words! {
    /// What a handoff is about.
    HandoffKind {
        /// People must decide.
        Approval = "approval",
        /// They have not yet.
        Reminder = "reminder",
        /// An intent was stopped.
        Blocked = "blocked",
        /// An approval reached its end.
        Resolved = "resolved",
        /// A run ended, or nobody knows how.
        Outcome = "outcome",
    }
}

impl HandoffKind {
    /// The kind as a subject token.
    ///
    /// # Errors
    /// Never for the words above; the signature keeps the conversion total.
    pub fn token(self) -> Result<Token, crate::ids::IdError> {
        self.as_str().parse()
    }
}

/// The stored message that something answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRef {
    /// Server name of the stream.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: Incarnation,
    /// Its sequence there.
    pub seq: u64,
}

/// The human on whose behalf an agent says it acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// Who.
    pub id: RequesterId,
    /// A signed mandate (JWT) that proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandate: Option<String>,
}

/// A requester after judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedRequester {
    /// Who.
    pub id: RequesterId,
    /// Whether a mandate proved it.
    pub verified: bool,
}

/// The place of an intent in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleRef {
    /// The agent's name for the bundle.
    pub id: BundleId,
    /// How many intents it has.
    pub size: u32,
    /// Which of them this is, from 0.
    pub index: u32,
}

/// Why, as a sentence, with the rule that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable code.
    pub code: String,
    /// A sentence that a person understands.
    pub message: String,
    /// The policy that determined it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
}

/// What would make it possible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Stable code.
    pub code: String,
    /// A sentence that a person understands.
    pub message: String,
}

/// How many distinct members of a team must approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamQuorum {
    /// The team.
    pub team: TeamId,
    /// Distinct members needed.
    pub quorum: u32,
}

/// A team that is asked too if those asked before do not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscalationStep {
    /// Seconds after which it is asked.
    pub after_s: u64,
    /// The team.
    pub team: TeamId,
    /// The teams whose places its members may fill from then on.
    pub instead_of: Vec<TeamId>,
}

/// What people must grant, as policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// All of these teams, each with its quorum.
    pub approvers: Vec<TeamQuorum>,
    /// Seconds until nobody may grant it any more.
    pub expires_in_s: u64,
    /// Whether a vote through a chat bridge counts.
    pub chat_may_approve: bool,
    /// Whether the requester may vote.
    #[serde(default)]
    pub self_allowed: bool,
    /// People who may not vote because they are, or may be, the requester.
    #[serde(default)]
    pub excluded: Vec<PersonId>,
    /// Longest window that may lift this ask, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_max_s: Option<u64>,
    /// Seconds after which the teams asked are reminded, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remind_after_s: Vec<u64>,
    /// Teams that are asked too, in order of their times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalation: Vec<EscalationStep>,
    /// The calendars whose open hours alone were counted, by name. The seconds of this ask
    /// are those of the clock all the same, and count from when the intent was stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub business_hours: Vec<String>,
}

/// A team that is asked from a time on, and may stand in for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    /// When.
    pub at: Timestamp,
    /// The team.
    pub team: TeamId,
    /// The teams whose places its members may fill from then on.
    pub instead_of: Vec<TeamId>,
}

/// What one guardrail found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardrailResult {
    /// The guardrail.
    pub name: String,
    /// Its finding.
    pub result: GuardrailFinding,
    /// A sentence that a person understands.
    pub message: String,
}

/// What an intent takes from one rate or budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The ledger of one window.
    pub ledger: String,
    /// How much, as decimal text; for a rate always `1`.
    pub amount: String,
    /// The number of the entry there: the verdict relies on this one and no other.
    pub mark: u64,
}

/// One field of one resource, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What was changed, such as `customer/C-1042`.
    pub resource: String,
    /// Which field of it.
    pub field: String,
    /// Its value before, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its value after, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What gave a permit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// Policy, a person or a window.
    pub kind: BasisKind,
    /// The policies that determined it.
    pub policy_ids: Vec<String>,
    /// The people who approved.
    pub approvers: Vec<PersonId>,
    /// Their approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<ApprovalId>,
    /// The window that covered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_id: Option<crate::ids::WindowId>,
}

/// Who can help with a stopped intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoffRef {
    /// The team.
    pub team: TeamId,
    /// The approval that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<ApprovalId>,
    /// Where a person reads more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// A failure of a tool, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolError {
    /// Stable code.
    pub code: String,
    /// A sentence; never a value of the input.
    pub message: String,
}
