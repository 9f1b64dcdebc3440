//! A bundle on its whole way: an agent asks for several things at once, people look at the
//! table and leave one out, the rest runs, and the archive can tell it.

use countersign_schemas::ApprovalId;
use countersign_tests::{Agent, Deployment, PATIENCE, eventually};
use serde_json::{Value, json};

use crate::policy;

fn approval_of(bundle: &str) -> String {
    let agent = "billing".parse().unwrap();
    ApprovalId::for_bundle(&agent, &bundle.parse().unwrap()).to_string()
}

/// Publishes these calls as one bundle, the last first.
async fn publish(agent: &Agent, bundle: &str, calls: &[(&str, Value)]) -> Vec<String> {
    let mut ids = Vec::new();
    for (index, (tool, input)) in calls.iter().enumerate().rev() {
        let mut intent = agent.intent(tool, input.clone());
        intent["bundle"] = json!({"id": bundle, "size": calls.len(), "index": index});
        ids.push(agent.publish(&intent).await);
    }
    ids.reverse();
    ids
}

fn booking(account: &str, amount: u32) -> (&'static str, Value) {
    ("ledger.book", json!({"account": account, "amount": amount}))
}

#[tokio::test]
async fn a_bundle_is_shown_whole_decided_once_and_run_in_part() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let forbidden = json!({"id": "7", "email": "new@partner.example"});
    let calls = [
        booking("1", 500_000),
        booking("2", 10),
        booking("3", 700_000),
        ("crm.update_contact", forbidden),
    ];
    let ids = publish(&agent, "november", &calls).await;
    let denied = agent.end(&ids[3]).await;
    assert!(denied.is("tool.blocked"), "{denied:?}");

    let approval = approval_of("november");
    let dora = deployment.approver("dora").await;
    let asked = dora.asked_about(&approval).await;
    assert_eq!(asked.text("/kind"), "bundle");
    let question = json!({"op": "show", "approval_id": approval});
    let shown = dora.view(&question).await;
    let view = &shown["approval"]["view"];
    let items = view["items"].as_array().expect("the table of items");
    let shown: Vec<&Value> = items.iter().map(|item| &item["intent_id"]).collect();
    assert_eq!(shown, [&json!(ids[0]), &json!(ids[1]), &json!(ids[2])]);
    assert_eq!(items[1]["in_bundle"]["verdict"], "allow");
    assert_eq!(view["left_out"][0]["intent_id"], json!(ids[3]));
    assert!(
        agent.last(&ids[1]).await.is_none(),
        "what policy allows waits too"
    );

    let named = [ids[0].clone(), ids[1].clone()];
    dora.cast(&approval, asked.text("/digest"), "approve", Some(&named))
        .await;
    let told = dora.told(&approval).await;
    assert_eq!(told.text("/state"), "partial");
    assert_eq!(told.body["intents"], json!(named));
    for id in &named {
        assert_eq!(agent.end(id).await.text("/outcome"), "succeeded");
    }
    let left = agent.end(&ids[2]).await;
    assert_eq!(left.text("/code"), "denied_by_person");
    let runs = deployment.journal().counts();
    let ran: Vec<_> = ids.iter().map(|id| runs.get(id).copied()).collect();
    assert_eq!(ran, [Some(1), Some(1), None, None]);
    archive_tells(&deployment, &approval).await;
}

async fn archive_tells(deployment: &Deployment, approval: &str) {
    let sql = format!(
        "select event, approval_kind, decision from events \
         where approval_id = '{approval}' and event = 'approval.resolved'"
    );
    let row = eventually(PATIENCE, "the end of the bundle is archived", async || {
        deployment.rows(&sql).await.pop()
    })
    .await;
    assert_eq!(row["approval_kind"], "bundle");
    assert_eq!(row["decision"], "partial");
    let sql = "select intent_id from events where bundle_id = 'november' \
               and event = 'policy.checked'";
    assert_eq!(deployment.rows(sql).await.len(), 4);
}

#[tokio::test]
async fn a_bundle_that_people_approved_runs_on_after_a_push() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    let calls = [booking("1", 500_000), booking("2", 700_000)];
    let ids = publish(&agent, "december", &calls).await;
    let approval = approval_of("december");
    let asked = dora.asked_about(&approval).await;
    let text = "// nothing new\n";
    policy::publish(&deployment, "policies/more.cedar", text).await;
    dora.cast(&approval, asked.text("/digest"), "approve", None)
        .await;
    // Judged by the earlier rules: the coordinator asks before it stores the end, and the
    // executor before each claim.
    assert_eq!(dora.told(&approval).await.text("/state"), "approved");
    for id in &ids {
        let end = agent.end(id).await;
        assert!(end.is("tool.completed"), "{end:?}");
        assert_eq!(end.text("/outcome"), "succeeded");
    }
}

#[tokio::test]
async fn half_a_bundle_runs_nothing_and_says_what_is_missing() {
    let settings = [("COUNTERSIGN_APPROVAL_COORDINATOR__BUNDLE_WAIT_S", "2")];
    let deployment = Deployment::with_settings(&settings).await;
    let agent = deployment.agent("billing").await;
    let mut intent = agent.intent("ledger.book", json!({"account": "1", "amount": 10}));
    intent["bundle"] = json!({"id": "half", "size": 2, "index": 1});
    let id = agent.publish(&intent).await;
    let end = agent.end(&id).await;
    assert_eq!(end.text("/code"), "bundle_incomplete");
    let why = end.text("/reasons/0/message");
    assert!(why.contains("1 of 2 items came"), "{why}");
    assert!(why.contains("missing (counted from 0): 0."), "{why}");
    assert!(!deployment.journal().counts().contains_key(&id));
}
