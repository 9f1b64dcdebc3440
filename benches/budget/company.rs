//! One agent that pays, and one budget for everything that it pays.

use std::path::Path;

use anyhow::Result;
use async_nats::HeaderMap;
use bytes::Bytes;
use countersign_benches::load::Request;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::IntentId;
use serde_json::json;

const ENTITIES: &str = r#"{
  "teams": {"desk": {}},
  "people": {"lee": {"teams": ["desk"]}},
  "roles": {"payer": {}},
  "agents": {"billing": {"owners": ["lee"], "roles": ["payer"], "team": "desk"}}
}"#;
const POLICY: &str = r#"
@id("pay")
@because("payers pay")
permit (principal in Role::"payer", action in Action::"create", resource in ToolGroup::"money");
"#;

const TOOL: &str = r#"
[tools.pay]
operation = "create"
description = "Pays."
summary = "pay {/amount}"
groups = ["money"]
worker = { kind = "nats" }
input = { type = "object", required = ["amount"], properties = { amount = { type = "number" } } }
fields."/amount" = { class = "internal" }
"#;

/// The window is a month, so that it does not turn during a run.
fn budget(max: usize) -> String {
    format!(
        r#"
[[tools.pay.guardrails]]
kind = "budget"
name = "all"
window = "31d"
amount = "/amount"
max = "{max}"
"#
    )
}

/// Writes the bundle into `dir`; the budget, if there is one, takes `max` payments of 1.
pub(crate) fn write(dir: &Path, max: Option<usize>) -> Result<()> {
    std::fs::create_dir_all(dir.join("catalog"))?;
    std::fs::create_dir_all(dir.join("policies"))?;
    let budget = max.map(budget).unwrap_or_default();
    std::fs::write(dir.join("catalog/money.toml"), TOOL.to_owned() + &budget)?;
    std::fs::write(dir.join("policies/money.cedar"), POLICY)?;
    Ok(std::fs::write(dir.join("entities.json"), ENTITIES)?)
}

/// `count` payments of 1 with fresh ids.
pub(crate) fn payments(count: usize) -> Result<Vec<Request>> {
    let now = SystemClock.now();
    (0..count)
        .map(|_| {
            let id = IntentId::new_at(now).to_string();
            let body = json!({
                "intent_id": id, "tool": "pay", "input": {"amount": 1},
                "requester": {"id": "kim"}, "purpose": "to pay what is due",
            });
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", id.as_str());
            headers.insert("ce-type", "dev.countersign.tool.requested.v1");
            Ok(Request {
                subject: "tool.requested.billing".to_owned(),
                headers,
                body: Bytes::from(serde_json::to_vec(&body)?),
                id,
            })
        })
        .collect()
}
