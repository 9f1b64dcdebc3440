//! Bundles while the coordinator dies: between the first item and the last, and between a
//! yes that is stored and the batch that follows from it. And the largest one there is.

use std::time::Duration;

use countersign_schemas::ApprovalId;
use countersign_schemas::limits::BUNDLE_ITEMS_MAX;
use countersign_tests::process::{COORDINATOR, SERVICES};
use countersign_tests::{Agent, Deployment, Event};
use rand::Rng as _;
use serde_json::json;
use tokio::time::Instant;

use crate::{invariants, load};

/// Bundles of one run, each with its own kills: after one, what was not acked comes again
/// only when half a minute has passed.
const BUNDLES: usize = 2;
/// Items of each.
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

/// Publishes a bundle of so many items, the last of which policy allows by itself.
async fn publish(agent: &Agent, name: &str, size: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for index in 0..size {
        let amount = if index + 1 == size { 10 } else { 500_000 };
        let input = json!({"account": index.to_string(), "amount": amount});
        let mut intent = agent.intent("ledger.book", input);
        intent["bundle"] = json!({"id": name, "size": size, "index": index});
        ids.push(agent.publish(&intent).await);
    }
    ids
}

fn approval_of(name: &str) -> String {
    let agent = "billing".parse().unwrap();
    ApprovalId::for_bundle(&agent, &name.parse().unwrap()).to_string()
}

/// Looks that each of these was approved once, and all of them in one batch; its decisions.
async fn one_batch(deployment: &Deployment, name: &str, ids: &[String]) -> Vec<Event> {
    let observer = deployment.observer().await;
    let approved = observer.read("CS_EVENTS", "tool.approved.>").await;
    let mut decided = Vec::new();
    for id in ids {
        let own = |event: &&Event| event.text("/intent_id") == *id;
        let found: Vec<&Event> = approved.iter().filter(own).collect();
        assert_eq!(found.len(), 1, "{name}: {id}");
        decided.push(found[0].clone());
    }
    let one_piece = decided
        .windows(2)
        .all(|pair| pair[1].seq == pair[0].seq + 1);
    assert!(one_piece, "{name} was not stored as one batch: {decided:?}");
    decided
}

#[tokio::test]
async fn a_bundle_is_decided_whole_whenever_the_coordinator_dies() {
    let mut deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    let mut all = Vec::new();
    for n in 0..BUNDLES {
        let name = format!("bundle-{n}");
        let approval = approval_of(&name);
        let (ids, ()) = tokio::join!(publish(&agent, &name, ITEMS), kill_soon(&mut deployment));
        let asked = dora.asked_about(&approval).await;
        let digest = asked.text("/digest");
        dora.cast(&approval, digest, "approve", None).await;
        kill_soon(&mut deployment).await;
        assert_eq!(dora.told(&approval).await.text("/state"), "approved");
        load::all_end(&agent, &ids).await;
        one_batch(&deployment, &name, &ids).await;
        all.extend(ids);
    }
    invariants::hold(&deployment, &all).await;
}

/// The largest bundle that there is: all of it is approved in one batch, and each item runs
/// once. Says how long the batch took.
async fn the_largest(deployment: &Deployment, servers: &str) {
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    let (name, size) = ("largest", BUNDLE_ITEMS_MAX as usize);
    let ids = publish(&agent, name, size).await;
    let approval = approval_of(name);
    let asked = dora.asked_about(&approval).await;
    assert_eq!(asked.body["items"].as_array().map(Vec::len), Some(size));
    let began = Instant::now();
    dora.cast(&approval, asked.text("/digest"), "approve", None)
        .await;
    let told = dora.told(&approval).await;
    assert_eq!(told.text("/state"), "approved");
    load::all_end(&agent, &ids).await;
    let ended = began.elapsed();
    let decided = one_batch(deployment, name, &ids).await;
    assert_eq!(decided.len(), size);
    println!("{servers}: {size} items: all ran {ended:?} after the vote");
    invariants::hold(deployment, &ids).await;
    let runs = deployment.journal().counts();
    assert!(ids.iter().all(|id| runs.get(id) == Some(&1)), "each once");
}

#[tokio::test]
async fn the_largest_bundle_is_approved_in_one_batch_and_each_item_runs_once() {
    let deployment = Deployment::start().await;
    the_largest(&deployment, "one server").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_bundle_is_one_batch_on_three_servers_too() {
    let mut deployment = Deployment::clustered(&[]).await;
    for name in SERVICES {
        deployment.launch(name);
    }
    deployment.ready().await;
    the_largest(&deployment, "three servers").await;
}
