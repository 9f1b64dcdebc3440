//! A verdict and a small company, for tests.

use std::collections::{BTreeMap, BTreeSet};

use countersign_schemas::events::{
    Ask, Change, CheckedRequester, GuardrailFinding, GuardrailResult, Need, Operation,
    PolicyChecked, Reason, RequestRef, TeamQuorum, Verdict,
};
use countersign_schemas::{Digest, JsonObject, PersonId, TeamId, Timestamp};
use serde_json::json;

use super::{Delegation, People};
use crate::input::salt_text;

pub(crate) fn at(text: &str) -> Timestamp {
    format!("2026-11-22T{text}Z").parse().unwrap()
}

pub(crate) fn person(id: &str) -> PersonId {
    id.parse().unwrap()
}

#[derive(Clone, Default)]
pub(crate) struct Company {
    pub(crate) teams: BTreeMap<TeamId, BTreeSet<PersonId>>,
    nobody: BTreeSet<PersonId>,
    pub(crate) away: Vec<Delegation>,
}

impl People for Company {
    fn members(&self, team: &TeamId) -> &BTreeSet<PersonId> {
        self.teams.get(team).unwrap_or(&self.nobody)
    }

    fn name(&self, person: &PersonId) -> Option<&str> {
        match person.as_str() {
            "lee" => Some("Lee Chen"),
            "sam" => Some("Sam Ortiz"),
            _ => None,
        }
    }

    fn delegations_to(&self, delegate: &PersonId) -> Vec<&Delegation> {
        let all = self.away.iter();
        all.filter(|one| one.delegate == *delegate).collect()
    }

    fn delegations_of(&self, person: &PersonId) -> Vec<&Delegation> {
        let all = self.away.iter();
        all.filter(|one| one.person == *person).collect()
    }
}

/// Lee and Sam in support; Sam and Kim in security; Dana, the requester, in support too.
pub(crate) fn company() -> Company {
    let team = |members: &[&str]| members.iter().map(|id| person(id)).collect();
    Company {
        teams: BTreeMap::from([
            ("support".parse().unwrap(), team(&["lee", "sam", "dana"])),
            ("security".parse().unwrap(), team(&["sam", "kim"])),
        ]),
        nobody: BTreeSet::new(),
        away: Vec::new(),
    }
}

pub(crate) fn asked(teams: &[(&str, u32)]) -> Vec<TeamQuorum> {
    let entry = |(team, quorum): &(&str, u32)| TeamQuorum {
        team: team.parse().unwrap(),
        quorum: *quorum,
    };
    teams.iter().map(entry).collect()
}

/// An ask of the agent `billing` for Dana: one of support must approve within an hour.
pub(crate) fn checked() -> PolicyChecked {
    PolicyChecked {
        schema_version: 1,
        intent_id: "019a0000-0000-7000-8000-000000000001".parse().unwrap(),
        request: RequestRef {
            stream: "CS_INTENTS".to_owned(),
            incarnation: "abc".parse().unwrap(),
            seq: 7,
        },
        agent: "billing".parse().unwrap(),
        requester: CheckedRequester {
            id: "dana".parse().unwrap(),
            verified: false,
        },
        tool: "mail.send".parse().unwrap(),
        operation: Some(Operation::Send),
        purpose: "answer a customer".to_owned(),
        bundle: None,
        session_id: None,
        expires_at: None,
        dry_run: None,
        verdict: Verdict::Ask,
        reasons: vec![Reason {
            code: "unknown_domain".to_owned(),
            message: "Mail to a domain that we do not know needs a second pair of eyes.".to_owned(),
            policy_id: Some("ask-unknown-domain".to_owned()),
        }],
        needs: vec![Need {
            code: "approval".to_owned(),
            message: "One of support must approve.".to_owned(),
        }],
        ask: Some(Ask {
            approvers: asked(&[("support", 1)]),
            expires_in_s: 3_600,
            chat_may_approve: false,
            self_allowed: false,
            excluded: vec![person("dana")],
            window_max_s: None,
            remind_after_s: Vec::new(),
            escalation: Vec::new(),
            business_hours: Vec::new(),
        }),
        guardrails: vec![GuardrailResult {
            name: "email_domains".to_owned(),
            result: GuardrailFinding::Ask,
            message: "example.org is not on the list".to_owned(),
        }],
        input_redacted: JsonObject::from_value(json!({"to": "[email:k1:9f2c]"})).unwrap(),
        input_shown: JsonObject::from_value(json!({"to": "…@example.org"})).unwrap(),
        amount: None,
        currency: None,
        summary: "Send a mail to …@example.org".to_owned(),
        changes: vec![Change {
            resource: "mail".to_owned(),
            field: "sent".to_owned(),
            before: None,
            after: Some("yes".to_owned()),
        }],
        input_digest: Digest::of_bytes(b"input"),
        salt: salt_text([5; 16]),
        input_match: "match".to_owned(),
        policy_digest: Digest::of_bytes(b"policy"),
        tool_digest: Some(Digest::of_bytes(b"tool")),
        expose: vec!["/id".to_owned()],
        helper: Some("support".parse().unwrap()),
        charges: Vec::new(),
        requested_at: at("10:00:00"),
    }
}
