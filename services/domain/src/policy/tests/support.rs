//! A small bundle and a short way to judge by it.

use std::collections::BTreeMap;

use countersign_schemas::events::{PolicyChecked, RequestRef, Requester, ToolRequested};
use countersign_schemas::{AgentId, IntentId, JsonObject, Timestamp};
use serde_json::{Value, json};

use crate::mandate::Issuers;
use crate::policy::{Bundle, Judging, Known, MatchKey, Outcome, judge};
use crate::redact::{FingerprintKey, Redactor};

pub(super) type Files = BTreeMap<String, Vec<u8>>;

pub(super) const CATALOG: &str = r#"
[tools."doc.read"]
operation = "read"
description = "Reads."
summary = "Read {/id}"
worker = { kind = "nats" }
input = { type = "object", required = ["id"], properties = { id = { type = "string" } } }
fields."/id" = { class = "internal" }

[tools."contact.update"]
operation = "update"
description = "Updates."
summary = "Change {fields} of {/id}"
resource = "contact/{/id}"
updatable = ["/email", "/limit", "/pin"]
amount = "/limit"
helper = "leads"
worker = { kind = "http", method = "PATCH", service = "crm", path = "/c/{/id}" }
output = { "/id" = "internal", "/mail" = "personal:email" }

[tools."contact.update".input]
type = "object"
required = ["id"]
additionalProperties = false

[tools."contact.update".input.properties]
id = { type = "string", maxLength = 10 }
email = { type = "string" }
limit = { type = "number" }
pin = { type = "string" }
free = { type = "string" }

[tools."contact.update".fields]
"/id" = { class = "internal" }
"/email" = { class = "personal:email", shown = "domain" }
"/limit" = { class = "internal" }
"/pin" = { class = "secret" }
"/free" = { class = "internal", shown = "redacted" }

[tools."mail.send"]
operation = "send"
description = "Sends."
summary = "Mail to {/to}"
worker = { kind = "nats" }

[tools."mail.send".input]
type = "object"
required = ["to"]
properties.to = { type = "string" }
properties.body = { type = "string" }

[tools."mail.send".fields]
"/to" = { class = "personal:email", shown = "full" }
"/body" = { class = "internal" }

[[tools."mail.send".guardrails]]
kind = "email_domains"
pointers = ["/to"]
known = ["home.example"]
unknown = "ask"
ask = "leads"
expires = "30m"
"#;

pub(super) const POLICIES: &str = r#"
@id("work")
permit(principal in Role::"worker", action, resource);

@id("mail-asked")
@ask("leads:2 & money")
@expires("2h")
@chat("no")
@window("1h")
@because("New addresses are checked.")
@need("A lead who has called the customer.")
forbid(principal, action == Action::"contact.update", resource)
when { context.fields.contains("email") };

@id("limit-asked")
@ask("money")
@self("allowed")
@because("Limits are money.")
forbid(principal, action in Action::"update", resource)
when { context has amount && context.amount.greaterThan(decimal("100.0")) };

@id("limit-top")
@because("Nobody sets such a limit.")
@need("The board.")
forbid(principal, action in Action::"update", resource)
when { context has amount && context.amount.greaterThan(decimal("1000.0")) };
"#;

pub(super) fn entities() -> Value {
    json!({
        "teams": {"leads": {}, "money": {}, "help": {}},
        "people": {
            "lee": {"teams": ["leads"]}, "mara": {"teams": ["leads", "money"]},
            "jo": {"teams": ["leads"]}, "kim": {}
        },
        "roles": {"worker": {}},
        "agents": {
            "bot": {"owners": ["kim"], "users": ["jo"], "roles": ["worker"], "team": "help"},
            "orphan": {"roles": ["worker"], "team": "help"},
            "idle": {"owners": ["kim"], "team": "help"}
        }
    })
}

pub(super) fn files() -> Files {
    BTreeMap::from([
        ("catalog/all.toml".to_owned(), CATALOG.into()),
        ("policies/all.cedar".to_owned(), POLICIES.into()),
        (
            "entities.json".to_owned(),
            entities().to_string().into_bytes(),
        ),
    ])
}

pub(super) fn bundle() -> Bundle {
    Bundle::from_files(&files()).unwrap()
}

/// The bundle with the policies replaced.
pub(super) fn with_policies(text: &str) -> Bundle {
    let mut files = files();
    files.insert("policies/all.cedar".to_owned(), text.into());
    Bundle::from_files(&files).unwrap()
}

pub(super) fn redactor() -> Redactor {
    Redactor::new(FingerprintKey::new("k1", [7; 32]).unwrap())
}

pub(super) fn request(tool: &str, input: Value) -> ToolRequested {
    ToolRequested {
        schema_version: 1,
        intent_id: IntentId::new_at(Timestamp::EPOCH),
        tool: tool.parse().unwrap(),
        input: JsonObject::from_value(input).unwrap(),
        requester: Requester {
            id: "someone@home.example".parse().unwrap(),
            mandate: None,
        },
        purpose: "to test".to_owned(),
        session_id: None,
        bundle: None,
        facts: None,
        expires_at: None,
        dry_run: None,
    }
}

pub(super) fn judge_request(
    bundle: &Bundle,
    agent: &str,
    request: &ToolRequested,
) -> PolicyChecked {
    judge_at(
        bundle,
        agent,
        request,
        &Issuers::default(),
        Timestamp::EPOCH,
    )
}

pub(super) fn judge_at(
    bundle: &Bundle,
    agent: &str,
    request: &ToolRequested,
    issuers: &Issuers,
    at: Timestamp,
) -> PolicyChecked {
    match outcome(bundle, agent, request, issuers, at, &Known::default()) {
        Outcome::Judged(judged) => judged.checked,
        Outcome::Wants(wishes) => panic!("nothing here looks anything up: {wishes:?}"),
    }
}

pub(super) fn outcome(
    bundle: &Bundle,
    agent: &str,
    request: &ToolRequested,
    issuers: &Issuers,
    at: Timestamp,
    known: &Known,
) -> Outcome {
    let agent: AgentId = agent.parse().unwrap();
    let key = MatchKey::new("k1".parse().unwrap(), [9; 32]);
    judge(
        bundle,
        &redactor(),
        Judging {
            agent: &agent,
            request,
            request_ref: RequestRef {
                stream: "CS_INTENTS".to_owned(),
                incarnation: "abc".parse().unwrap(),
                seq: 1,
            },
            stored_at: at,
            salt: [3; 16],
            match_key: &key,
            issuers,
            known,
        },
    )
}

pub(super) fn check(bundle: &Bundle, agent: &str, tool: &str, input: Value) -> PolicyChecked {
    judge_request(bundle, agent, &request(tool, input))
}

/// Verdict, then the codes or policies of the reasons.
pub(super) fn words(checked: &PolicyChecked) -> String {
    let reason = |reason: &countersign_schemas::events::Reason| {
        reason
            .policy_id
            .clone()
            .unwrap_or_else(|| reason.code.clone())
    };
    let reasons: Vec<String> = checked.reasons.iter().map(reason).collect();
    format!("{} {}", checked.verdict, reasons.join(","))
}

/// One line of a table, `agent tool input => words`.
pub(super) fn case(line: &str) -> (&str, &str, Value, &str) {
    let (left, expected) = line.split_once(" => ").unwrap();
    let mut parts = left.splitn(3, ' ');
    let (agent, tool) = (parts.next().unwrap(), parts.next().unwrap());
    (
        agent,
        tool,
        serde_json::from_str(parts.next().unwrap()).unwrap(),
        expected,
    )
}
