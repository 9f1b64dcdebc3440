//! The values that the small worlds are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_domain::approvals::People;
use countersign_domain::input::{input_digest, salt_text};
use countersign_schemas::events::{
    Ask, CheckedRequester, Operation, PolicyChecked, RequestRef, Requester, TeamQuorum,
    ToolRequested, Verdict,
};
use countersign_schemas::{Digest, IntentId, JsonObject, PersonId, TeamId, Timestamp};
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
        tool: "crm.update_contact".parse().expect("a tool"),
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
    let ask = Ask {
        approvers: vec![TeamQuorum {
            team: "support".parse().expect("a team"),
            quorum: scenario.quorum,
        }],
        expires_in_s: ASK_S,
        chat_may_approve: false,
        self_allowed: false,
        excluded: vec![REQUESTER.parse().expect("a person")],
        window_max_s: None,
    };
    PolicyChecked {
        schema_version: 1,
        intent_id: asked.intent_id,
        request: RequestRef {
            stream: "CS_INTENTS".to_owned(),
            incarnation: "abc".parse().expect("an incarnation"),
            seq: u64::from(number) + 1,
        },
        agent: "billing".parse().expect("an agent"),
        requester: CheckedRequester {
            id: asked.requester.id.clone(),
            verified: false,
        },
        tool: asked.tool.clone(),
        operation: Some(Operation::Update),
        purpose: asked.purpose.clone(),
        bundle: None,
        session_id: None,
        expires_at: None,
        dry_run: None,
        verdict,
        reasons: Vec::new(),
        needs: Vec::new(),
        ask: (verdict == Verdict::Ask).then_some(ask),
        guardrails: Vec::new(),
        input_redacted: asked.input.clone(),
        input_shown: asked.input.clone(),
        amount: None,
        summary: "change a contact".to_owned(),
        changes: Vec::new(),
        input_digest: digest.expect("a canonical input"),
        salt,
        input_match: "match".to_owned(),
        policy_digest: Digest::of_bytes(b"policy"),
        tool_digest: Some(Digest::of_bytes(b"tool")),
        expose: Vec::new(),
        helper: None,
        charges: Vec::new(),
        requested_at: at(0),
    }
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
}
