//! A company of many agents, tools and policies, and one intent to decide.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use cedar_policy::{Authorizer, Context, Decision, Entities, PolicySet, Request, Response};
use countersign_domain::mandate::Issuers;
use countersign_domain::policy::{Bundle, Judging, Known, MatchKey, Outcome, judge};
use countersign_domain::redact::{FingerprintKey, Redactor};
use countersign_schemas::events::{RequestRef, Requester, ToolRequested, Verdict};
use countersign_schemas::{AgentId, Incarnation, IntentId, JsonObject, Timestamp};
use serde_json::json;

/// Roles and tools over which the policies are spread.
const ROLES: usize = 40;
const TOOLS: usize = 50;

/// A bundle of a given size.
pub(crate) struct Company {
    bundle: Bundle,
    policies: String,
    agent: AgentId,
    request: ToolRequested,
    redactor: Redactor,
    match_key: MatchKey,
    known: Known,
    incarnation: Incarnation,
    issuers: Issuers,
}

/// One intent, ready to be decided in both ways.
pub(crate) struct Decider<'c> {
    company: &'c Company,
    policies: PolicySet,
    entities: Entities,
    request: Request,
    authorizer: Authorizer,
}

impl Company {
    /// A company with `policies` policies, of which `in_scope` can match the intent.
    pub(crate) fn with(in_scope: usize, policies: usize) -> Result<Self> {
        let policies = policy_texts(in_scope, policies);
        let files = BTreeMap::from([
            ("catalog/all.toml".to_owned(), catalog().into_bytes()),
            (
                "entities.json".to_owned(),
                entities_json().to_string().into_bytes(),
            ),
            (
                "policies/all.cedar".to_owned(),
                policies.clone().into_bytes(),
            ),
        ]);
        let key = FingerprintKey::new("k1", [7; 32]).map_err(|error| anyhow!("{error}"))?;
        Ok(Self {
            bundle: Bundle::from_files(&files)?,
            policies,
            agent: "agent-0".parse()?,
            request: request()?,
            redactor: Redactor::new(key),
            match_key: MatchKey::new("k1".parse()?, [9; 32]),
            known: Known::default(),
            incarnation: "bench".parse()?,
            issuers: Issuers::default(),
        })
    }

    /// The same policies and request for plain Cedar.
    pub(crate) fn decider(&self) -> Result<Decider<'_>> {
        let uid = |text: &str| text.parse().with_context(|| text.to_owned());
        let context = Context::from_json_value(
            json!({
                "operation": "update",
                "requester": {"id": "dana", "verified": false},
                "input": {"id": "C-1042", "limit": {"__extn": {"fn": "decimal", "arg": "40.0"}}},
                "fields": ["limit"],
                "amount": {"__extn": {"fn": "decimal", "arg": "40.0"}}
            }),
            None,
        )?;
        let (principal, action) = (uid("Agent::\"agent-0\"")?, uid("Action::\"tool-0\"")?);
        Ok(Decider {
            company: self,
            policies: self.policies.parse().map_err(|error| anyhow!("{error}"))?,
            entities: plain_entities()?,
            request: Request::new(principal, action, uid("Tool::\"tool-0\"")?, context, None)?,
            authorizer: Authorizer::new(),
        })
    }
}

impl Decider<'_> {
    /// The whole judgement, as the checker runs it.
    pub(crate) fn ours(&self) -> Outcome {
        let company = self.company;
        let judging = Judging {
            agent: &company.agent,
            request: &company.request,
            request_ref: RequestRef {
                stream: "CS_INTENTS".to_owned(),
                incarnation: company.incarnation.clone(),
                seq: 1,
            },
            stored_at: Timestamp::EPOCH,
            salt: [3; 16],
            match_key: &company.match_key,
            issuers: &company.issuers,
            known: &company.known,
        };
        judge(&company.bundle, &company.redactor, judging)
    }

    /// Plain Cedar over all policies.
    pub(crate) fn cedar(&self) -> Response {
        self.authorizer
            .is_authorized(&self.request, &self.policies, &self.entities)
    }

    /// Both ways must come to the same answer, or nothing is compared.
    pub(crate) fn same(&self) -> Result<()> {
        let Outcome::Judged(judged) = self.ours() else {
            anyhow::bail!("the judgement wants to look something up");
        };
        let checked = &judged.checked;
        ensure!(checked.verdict == Verdict::Allow, "{:?}", checked.reasons);
        let plain = self.cedar();
        ensure!(plain.decision() == Decision::Allow, "plain Cedar denies");
        ensure!(
            plain.diagnostics().errors().next().is_none(),
            "plain Cedar fails"
        );
        ensure!(
            checked.reasons.len() == plain.diagnostics().reason().count(),
            "other reasons"
        );
        Ok(())
    }
}

fn request() -> Result<ToolRequested> {
    let input = json!({"id": "C-1042", "limit": 40});
    Ok(ToolRequested {
        schema_version: 1,
        intent_id: IntentId::new_at(Timestamp::EPOCH),
        tool: "tool-0".parse()?,
        input: JsonObject::from_value(input).context("an object")?,
        requester: Requester {
            id: "dana".parse()?,
            mandate: None,
        },
        purpose: "to measure".to_owned(),
        session_id: None,
        bundle: None,
        facts: None,
        expires_at: None,
        dry_run: None,
    })
}

/// A permit in three, forbids and asks that do not hold for the intent: what is in scope
/// is about the intent's role and tool, the rest about other roles, other tools, or both.
fn policy_texts(in_scope: usize, policies: usize) -> String {
    let mut text = String::new();
    for at in 0..policies {
        let other_role = 1 + at % (ROLES - 1);
        let other_tool = 1 + at % (TOOLS - 1);
        let (role, tool) = match at {
            _ if at < in_scope => (0, 0),
            _ if at % 3 == 0 => (other_role, other_tool),
            _ if at % 3 == 1 => (0, other_tool),
            _ => (other_role, 0),
        };
        let head = match at % 3 {
            0 => "permit",
            1 => "@ask(\"leads\") forbid",
            _ => "forbid",
        };
        let when = match at % 3 {
            0 => "context.requester.id != \"nobody\"".to_owned(),
            _ => format!(
                "context has amount && context.amount.greaterThan(decimal(\"{}.0\"))",
                1_000 + at
            ),
        };
        writeln!(
            text,
            "@id(\"p{at}\") @because(\"x\") {head}(principal in Role::\"role-{role}\", \
             action == Action::\"tool-{tool}\", resource) when {{ {when} }};"
        )
        .ok();
    }
    text
}

fn catalog() -> String {
    let mut text = String::new();
    for at in 0..TOOLS {
        writeln!(
            text,
            "[tools.\"tool-{at}\"]\noperation = \"update\"\ndescription = \"x\"\nsummary = \"Change {{/id}}\"\n\
             updatable = [\"/limit\", \"/note\"]\namount = \"/limit\"\nworker = {{ kind = \"nats\" }}\n\
             fields = {{ \"/id\" = {{ class = \"internal\" }}, \"/limit\" = {{ class = \"internal\" }}, \
             \"/note\" = {{ class = \"internal\" }} }}\n\
             [tools.\"tool-{at}\".input]\ntype = \"object\"\nrequired = [\"id\"]\nadditionalProperties = false\n\
             properties = {{ id = {{ type = \"string\" }}, limit = {{ type = \"number\" }}, note = {{ type = \"string\" }} }}\n"
        )
        .ok();
    }
    text
}

fn entities_json() -> serde_json::Value {
    let roles: serde_json::Map<_, _> = (0..ROLES)
        .map(|at| (format!("role-{at}"), json!({})))
        .collect();
    let agent = |at: usize| json!({"roles": [format!("role-{at}")], "team": "leads"});
    let agents: serde_json::Map<_, _> = (0..ROLES)
        .map(|at| (format!("agent-{at}"), agent(at)))
        .collect();
    json!({
        "teams": {"leads": {}},
        "people": {"kim": {"teams": ["leads"]}},
        "roles": roles,
        "agents": agents
    })
}

fn plain_entities() -> Result<Entities> {
    let mut rows =
        vec![json!({"uid": {"type": "ToolGroup", "id": "update"}, "attrs": {}, "parents": []})];
    for at in 0..ROLES {
        let role = json!({"type": "Role", "id": format!("role-{at}")});
        rows.push(json!({"uid": role, "attrs": {}, "parents": []}));
        let agent = json!({"type": "Agent", "id": format!("agent-{at}")});
        rows.push(json!({"uid": agent, "attrs": {}, "parents": [role]}));
    }
    for at in 0..TOOLS {
        let (tool, action) = (format!("tool-{at}"), format!("tool-{at}"));
        let group = json!({"type": "ToolGroup", "id": "update"});
        rows.push(json!({"uid": {"type": "Tool", "id": tool}, "attrs": {}, "parents": [group]}));
        let update = json!({"type": "Action", "id": "update"});
        rows.push(
            json!({"uid": {"type": "Action", "id": action}, "attrs": {}, "parents": [update]}),
        );
    }
    rows.push(json!({"uid": {"type": "Action", "id": "update"}, "attrs": {}, "parents": []}));
    Ok(Entities::from_json_value(
        serde_json::Value::Array(rows),
        None,
    )?)
}
