//! Bundles while the coordinator dies: between the first item and the last, and between a
//! yes that is stored and the batch that follows from it.

use std::time::Duration;

use countersign_schemas::ApprovalId;
use countersign_tests::process::COORDINATOR;
use countersign_tests::{Agent, Deployment};
use rand::Rng as _;
use serde_json::json;

use crate::{invariants, load};

/// Bundles of one run, each with its own kills: after one, what was not acked comes again
/// only when half a minute has passed.
const BUNDLES: usize = 2;
/// Items of each, the last of which policy allows by itself.
const ITEMS: usize = 6;
/// Longest pause before a kill: about what the way of a vote takes.
const PAUSE_MAX_MS: u64 = 25;

async fn kill_soon(deployment: &mut Deployment) {
    let pause = rand::rng().random_range(0..PAUSE_MAX_MS);
    // sleep: the point of a kill is a point in time, drawn at random.
    tokio::time::sleep(Duration::from_millis(pause)).await;
    deployment.service(COORDINATOR).kill();
    deployment.service(COORDINATOR).restart();
}

async fn publish(agent: &Agent, name: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for index in 0..ITEMS {
        let amount = if index + 1 == ITEMS { 10 } else { 500_000 };
        let input = json!({"account": index.to_string(), "amount": amount});
        let mut intent = agent.intent("ledger.book", input);
        intent["bundle"] = json!({"id": name, "size": ITEMS, "index": index});
        ids.push(agent.publish(&intent).await);
    }
    ids
}

#[tokio::test]
async fn a_bundle_is_decided_whole_whenever_the_coordinator_dies() {
    let mut deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    let mut all = Vec::new();
    for n in 0..BUNDLES {
        let name = format!("bundle-{n}");
        let agent_id = "billing".parse().unwrap();
        let approval = ApprovalId::for_bundle(&agent_id, &name.parse().unwrap()).to_string();
        let (ids, ()) = tokio::join!(publish(&agent, &name), kill_soon(&mut deployment));
        let asked = dora.asked_about(&approval).await;
        let digest = asked.text("/digest");
        dora.cast(&approval, digest, "approve", None).await;
        kill_soon(&mut deployment).await;
        assert_eq!(dora.told(&approval).await.text("/state"), "approved");
        load::all_end(&agent, &ids).await;
        let observer = deployment.observer().await;
        let mut decided = Vec::new();
        for id in &ids {
            let filter = format!("tool.approved.*.{id}");
            let found = observer.read("CS_EVENTS", &filter).await;
            assert_eq!(found.len(), 1, "{name}: {id}");
            decided.push(found[0].seq);
        }
        let one_piece = decided.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(one_piece, "{name} was not stored as one batch: {decided:?}");
        all.extend(ids);
    }
    invariants::hold(&deployment, &all).await;
}
