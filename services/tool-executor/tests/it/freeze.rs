//! What is frozen does not run, whenever the executor began to read.

use countersign_schemas::events::{FreezeScope, Outcome, RevokedCode};
use serde_json::json;

use super::world::World;

fn everything() -> FreezeScope {
    FreezeScope::default()
}

fn of_tool(tool: &str) -> FreezeScope {
    FreezeScope {
        tool: Some(tool.parse().unwrap()),
        ..everything()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_frozen_is_revoked_and_what_is_not_runs() {
    let world = World::start().await;
    world.order(1, None, true, of_tool("crm.read")).await;
    let _executor = world.executor("executor-1");
    let frozen = world.intent("crm.read", json!({"id": "C-1"}));
    world.approve(&frozen).await;
    let revoked = world.revoked(&frozen).await;
    assert_eq!(revoked.code, RevokedCode::Frozen);
    let free = world.intent("mail.send", json!({"id": "C-1"}));
    world.approve(&free).await;
    assert_eq!(world.completed(&free).await.outcome, Outcome::Succeeded);

    // One that comes while it runs.
    world.order(2, None, true, everything()).await;
    let late = world.intent("mail.send", json!({"id": "C-2"}));
    world.approve(&late).await;
    let head = world.ended(&late).await;
    // It may have been claimed a moment before the order came here; its claim is behind it.
    let what = head.subject.split('.').nth(1).unwrap();
    if what == "completed" {
        let stopped = world.completed(&late).await;
        assert_eq!(stopped.error.unwrap().code, "frozen", "{head:?}");
    } else {
        assert_eq!(world.revoked(&late).await.code, RevokedCode::Frozen);
    }
    for raw in [&frozen, &late] {
        assert!(world.runs(raw).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_older_than_the_horizon_holds_for_an_executor_that_starts_later() {
    let world = World::start().await;
    world.order(7, None, true, everything()).await;
    let filler = world.intent("crm.read", json!({"id": "C-0"}));
    let gone = world.approve(&filler).await;
    let again = world.order(7, Some(1), true, everything()).await;
    // What the janitor does: everything older than the horizon leaves the stream.
    world.purge_before(again).await;
    assert!(gone < again);
    let _executor = world.executor("executor-1");
    let raw = world.intent("crm.read", json!({"id": "C-1"}));
    world.approve(&raw).await;
    assert_eq!(world.revoked(&raw).await.code, RevokedCode::Frozen);
    assert!(world.runs(&raw).is_empty());

    world.order(8, None, false, everything()).await;
    // The first of them may be examined a moment before the release comes.
    world.until_one_succeeds("crm.read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_brings_back_no_decision_from_before() {
    let world = World::start().await;
    let raw = world.intent("crm.read", json!({"id": "C-1"}));
    world.approve(&raw).await;
    world.order(1, None, true, everything()).await;
    let during = world.intent("crm.read", json!({"id": "C-2"}));
    world.approve(&during).await;
    world.order(2, None, false, everything()).await;
    let _executor = world.executor("executor-1");
    for old in [&raw, &during] {
        assert_eq!(world.revoked(old).await.code, RevokedCode::Frozen);
        assert!(world.runs(old).is_empty());
    }
    let new = world.intent("crm.read", json!({"id": "C-3"}));
    world.approve(&new).await;
    assert_eq!(world.completed(&new).await.outcome, Outcome::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_that_cannot_be_read_stops_everything() {
    let world = World::start().await;
    world.newer_order(3).await;
    let _executor = world.executor("executor-1");
    let raw = world.intent("crm.read", json!({"id": "C-1"}));
    world.approve(&raw).await;
    assert_eq!(world.revoked(&raw).await.code, RevokedCode::Frozen);
}
