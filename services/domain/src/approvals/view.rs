//! Everything that an approver is shown, and the digest that binds a vote to it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_schemas::events::{
    ApprovalKind, Change, CheckedRequester, Escalation, GuardrailResult, Operation, Reason,
    TeamQuorum, Verdict, WindowAsked,
};
use countersign_schemas::{AgentId, ApprovalId, Digest, IntentId, JsonObject, Timestamp, ToolName};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::approval::Approval;
use super::bundle::LeftOut;
use super::item::Item;
use super::visible::{visible, visible_object};

/// One thing to be approved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewItem {
    /// Which intent.
    pub intent_id: IntentId,
    /// Which tool.
    pub tool: ToolName,
    /// What the tool does.
    pub operation: Operation,
    /// One sentence on what would happen.
    pub summary: String,
    /// The input, field by field as the catalog lets approvers see it.
    pub input_shown: JsonObject,
    /// Digest of the exact input.
    pub input_digest: Digest,
    /// The amount at stake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// What would change.
    pub changes: Vec<Change>,
    /// In a bundle, what differs between its items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_bundle: Option<InBundle>,
}

/// What an item of a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InBundle {
    /// Its place, from 0.
    pub index: u32,
    /// What policy says of it alone.
    pub verdict: Verdict,
    /// On whose behalf.
    pub requester: CheckedRequester,
    /// Why, in the agent's words.
    pub purpose: String,
    /// Until when its agent wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Why people are asked about it.
    pub reasons: Vec<Reason>,
    /// The policy bundle that judged it.
    pub policy_digest: Digest,
}

/// Everything that an approver is shown. Nothing in it changes while people vote.
///
/// Every text that an agent wrote is already safe to print: see [`visible`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// Which approval.
    pub approval_id: ApprovalId,
    /// What it is about.
    pub kind: ApprovalKind,
    /// The things to be approved, in their order.
    pub items: Vec<ViewItem>,
    /// Of a bundle, what nobody can grant, with the reason: shown struck out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Who wants to act.
    pub agent: AgentId,
    /// On whose behalf.
    pub requester: CheckedRequester,
    /// Whether that is proved: `proved by a mandate` or `claimed, not proved`; of a window
    /// `proved by their own key`.
    pub requester_note: String,
    /// Why, in the agent's words.
    pub purpose: String,
    /// The agent's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Why people are asked.
    pub reasons: Vec<Reason>,
    /// What the guardrails found.
    pub guardrails: Vec<GuardrailResult>,
    /// All of these teams, each with its quorum.
    pub approvers: Vec<TeamQuorum>,
    /// Whether a vote through a chat bridge counts.
    pub chat_may_approve: bool,
    /// How long a window may last that is opened with the vote, in seconds; where it is
    /// absent none may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_max_s: Option<u64>,
    /// Of an approval of a window ahead of time: how far it would go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowAsked>,
    /// When it was asked.
    pub created_at: Timestamp,
    /// When nobody may grant it any more.
    pub expires_at: Timestamp,
    /// Teams that are asked too if nobody decides before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalation: Vec<Escalation>,
    /// When those asked are reminded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reminders: Vec<Timestamp>,
    /// The calendars whose open hours alone were counted for these times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub business_hours: Vec<String>,
    /// The policy bundle that judged; none where nothing was judged yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_digest: Option<Digest>,
    /// Keeps values from being guessed from the digest; only this view holds it.
    pub salt: String,
}

impl ApprovalView {
    /// The digest that a vote must name. A client computes it itself from what it shows.
    ///
    /// # Errors
    /// When the view has no canonical JSON form, which it always has.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        Digest::of_json(self)
    }

    /// The view of an approval.
    pub(super) fn of(approval: &Approval) -> Self {
        let verdicts = || approval.items().iter().map(Item::checked);
        let window = approval.asked_window();
        let salts: Vec<&str> = verdicts()
            .map(|checked| checked.salt.as_str())
            .chain(window.map(|asked| asked.salt.as_str()))
            .collect();
        let first = verdicts().next();
        let note = match (approval.requester().verified, window) {
            (true, Some(_)) => "proved by their own key",
            (true, None) => "proved by a mandate",
            (false, _) => "claimed, not proved",
        };
        Self {
            approval_id: approval.id().clone(),
            kind: approval.kind(),
            items: approval.items().iter().map(item).collect(),
            left_out: approval.left_out().iter().map(LeftOut::shown).collect(),
            agent: approval.agent().clone(),
            requester: approval.requester().clone(),
            requester_note: note.to_owned(),
            purpose: visible(approval.purpose()),
            session_id: first.and_then(|checked| checked.session_id.as_deref().map(visible)),
            reasons: approval.reasons().into_iter().map(reason).collect(),
            guardrails: verdicts()
                .flat_map(|checked| checked.guardrails.iter().map(guardrail))
                .collect(),
            approvers: approval.ask().approvers.clone(),
            chat_may_approve: approval.ask().chat_may_approve,
            window_max_s: match approval.kind() {
                ApprovalKind::Action => approval.ask().window_max_s,
                ApprovalKind::Bundle | ApprovalKind::Window => None,
            },
            window: window.map(|asked| asked.written(visible)),
            created_at: approval.created_at(),
            expires_at: approval.expires_at(),
            escalation: approval.escalation().to_vec(),
            reminders: approval.reminders().to_vec(),
            business_hours: approval.ask().business_hours.clone(),
            policy_digest: first
                .map(|checked| checked.policy_digest)
                .or(window.map(|asked| asked.policy_digest)),
            salt: view_salt(approval.id(), &salts),
        }
    }
}

fn item(item: &Item) -> ViewItem {
    let checked = item.checked();
    ViewItem {
        intent_id: item.intent(),
        tool: checked.tool.clone(),
        operation: item.operation(),
        summary: visible(&checked.summary),
        input_shown: visible_object(&checked.input_shown),
        input_digest: checked.input_digest,
        amount: checked.amount.clone(),
        changes: checked.changes.iter().map(visible_change).collect(),
        in_bundle: checked.bundle.as_ref().map(|place| InBundle {
            index: place.index,
            verdict: checked.verdict,
            requester: checked.requester.clone(),
            purpose: visible(&checked.purpose),
            expires_at: checked.expires_at,
            reasons: checked.reasons.iter().map(reason).collect(),
            policy_digest: checked.policy_digest,
        }),
    }
}

fn reason(reason: &Reason) -> Reason {
    Reason {
        message: visible(&reason.message),
        ..reason.clone()
    }
}

fn guardrail(result: &GuardrailResult) -> GuardrailResult {
    GuardrailResult {
        message: visible(&result.message),
        ..result.clone()
    }
}

fn visible_change(change: &Change) -> Change {
    Change {
        resource: visible(&change.resource),
        field: visible(&change.field),
        before: change.before.as_deref().map(visible),
        after: change.after.as_deref().map(visible),
    }
}

/// Derived from the secret salts of the items, so that a restart finds the same one and
/// nobody without them can compute it.
fn view_salt(approval: &ApprovalId, items: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"countersign view salt v1");
    for part in std::iter::once(approval.as_str()).chain(items.iter().copied()) {
        hash.update([0]);
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
