//! The values that the small worlds are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_domain::approvals::{Delegation, People};
use countersign_domain::input::{input_digest, salt_text};
use countersign_domain::windows::{Limits, Origin, Window, window_id};
use countersign_schemas::events::{PolicyChecked, Requester, ToolRequested, Verdict, WindowLimits};
use countersign_schemas::{ApprovalId, Digest, IntentId, JsonObject, PersonId, TeamId, Timestamp};
use serde_json::json;

use crate::scenario::Scenario;
use crate::state::Input;

/// The deployment.
pub(crate) const DEPLOYMENT: &str = "acme";
/// Who asks; nobody approves their own request.
pub(crate) const REQUESTER: &str = "dana";
/// The team asked, with the requester in it.
pub(crate) const TEAM: [&str; 3] = ["lee", "sam", REQUESTER];
/// How long an ask waits.
const ASK_S: u64 = 60;
/// How long the window is open, which has one use.
const WINDOW_S: u64 = 200;
/// How long a permit may be claimed.
pub(crate) const PERMIT_LIFE: Duration = Duration::from_secs(300);
/// How long a claim holds.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// From one instant to the next: everything that was set by then is over.
const TICK: Duration = Duration::from_secs(400);

/// The time after `ticks`.
pub(crate) fn at(ticks: u8) -> Timestamp {
    let start: Timestamp = "2026-11-22T10:00:00Z".parse().expect("a time");
    start.plus(TICK * u32::from(ticks))
}

/// The id of an intent.
pub(crate) fn intent(number: u8) -> IntentId {
    let text = format!("019a0000-0000-7000-8000-0000000000{number:02x}");
    text.parse().expect("an id")
}

/// The request as it is stored.
pub(crate) fn request(number: u8, input: Input) -> ToolRequested {
    let city = match input {
        Input::Judged => "Utrecht",
        Input::Other => "Paris",
    };
    ToolRequested {
        schema_version: 1,
        intent_id: intent(number),
        tool: "crm.create_contact".parse().expect("a tool"),
        input: JsonObject::from_value(json!({"id": "C-1", "city": city})).expect("an object"),
        requester: Requester {
            id: REQUESTER.parse().expect("a requester"),
            mandate: None,
        },
        purpose: "fix the address".to_owned(),
        session_id: None,
        bundle: None,
        facts: None,
        expires_at: None,
        dry_run: None,
    }
}

/// The verdict on it.
pub(crate) fn checked(number: u8, scenario: &Scenario) -> PolicyChecked {
    let verdict = scenario.intents[usize::from(number)];
    let asked = request(number, Input::Judged);
    let salt = salt_text([number; 16]);
    let digest = input_digest(asked.intent_id, &asked.tool, &asked.input, &salt);
    let ask = json!({
        "approvers": [{"team": "support", "quorum": scenario.quorum}],
        "expires_in_s": ASK_S,
        "chat_may_approve": false,
        "self_allowed": false,
        "excluded": [REQUESTER],
        "window_max_s": WINDOW_S,
    });
    // As it is read from the stream: what it leaves out has its default.
    let read = serde_json::from_value(json!({
        "schema_version": 1,
        "intent_id": asked.intent_id,
        "request": {"stream": "CS_INTENTS", "incarnation": "abc", "seq": number + 1},
        "agent": "billing",
        "requester": {"id": asked.requester.id, "verified": false},
        "tool": asked.tool,
        "operation": "create",
        "purpose": asked.purpose,
        "verdict": verdict,
        "reasons": [],
        "needs": [],
        "ask": (verdict == Verdict::Ask).then_some(ask),
        "guardrails": [],
        "input_redacted": asked.input,
        "input_shown": asked.input,
        "summary": "change a contact",
        "changes": [],
        "input_digest": digest.expect("a canonical input"),
        "salt": salt,
        "input_match": "match",
        "policy_digest": Digest::of_bytes(b"policy"),
        "tool_digest": Digest::of_bytes(b"tool"),
        "expose": [],
        "charges": [],
        "requested_at": at(0),
    }));
    read.expect("a verdict")
}

/// A window for what is asked, with one use, that Lee opened.
pub(crate) fn window(checked: &PolicyChecked) -> Window {
    let limits = WindowLimits {
        seconds: WINDOW_S,
        max_uses: Some(1),
        max_total: None,
        same_input_only: None,
    };
    let vote = serde_json::from_value(json!({
        "approver": TEAM[0],
        "via": "self",
        "vote": "approve",
        "at": at(0),
    }));
    let origin = Origin {
        id: window_id("abc-1").expect("an id"),
        votes: &[vote.expect("a vote")],
        at: at(0),
    };
    let approval = ApprovalId::for_intent(checked.intent_id);
    let ask = checked.ask.as_ref().expect("an ask");
    let limits = Limits::read(&limits).expect("limits");
    Window::from_approval(&origin, &approval, checked, ask, limits)
}

/// Who is in which team.
#[derive(Debug)]
pub(crate) struct Company {
    teams: BTreeMap<TeamId, BTreeSet<PersonId>>,
    nobody: BTreeSet<PersonId>,
}

impl Company {
    pub(crate) fn new() -> Self {
        let team = TEAM.map(|name| name.parse().expect("a person"));
        let support = "support".parse().expect("a team");
        Self {
            teams: BTreeMap::from([(support, BTreeSet::from(team))]),
            nobody: BTreeSet::new(),
        }
    }
}

impl People for Company {
    fn members(&self, team: &TeamId) -> &BTreeSet<PersonId> {
        self.teams.get(team).unwrap_or(&self.nobody)
    }

    fn name(&self, _: &PersonId) -> Option<&str> {
        None
    }

    fn delegations_to(&self, _: &PersonId) -> Vec<&Delegation> {
        Vec::new()
    }

    fn delegations_of(&self, _: &PersonId) -> Vec<&Delegation> {
        Vec::new()
    }
}
