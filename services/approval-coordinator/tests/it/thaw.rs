//! A freeze and a window at once: the freeze wins while it lasts, and the window goes on
//! afterwards if it is still in time.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use countersign_runtime::bus::Outgoing;
use countersign_schemas::events::{
    BlockedCode, Outcome, RevokedCode, ToolBlocked, ToolCompleted, ToolError, ToolRevoked, Verdict,
    WindowClosed,
};
use countersign_schemas::{Address, IntentId};
use serde_json::json;

use crate::freeze::switch;
use crate::windows::{claim, kept, liftable, lifted, limits, open, uses};
use crate::world::{World, eventually};

/// An intent that the open window lifted and nobody has claimed.
async fn under_window(world: &World) -> Result<IntentId> {
    let intent = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(lifted(world, intent).await?, "the window lifts it");
    Ok(intent)
}

/// Says that a freeze stopped it behind its claim, as the executor does.
async fn stop_at_the_fence(world: &World, intent: IntentId) -> Result<()> {
    let stopped = ToolCompleted {
        schema_version: 1,
        intent_id: intent,
        agent: "billing".parse()?,
        tool: "mail.send".parse()?,
        outcome: Outcome::Failed,
        output: None,
        output_summary: String::new(),
        changes: Vec::new(),
        error: Some(ToolError {
            code: "frozen".to_owned(),
            message: "a freeze came first".to_owned(),
        }),
        duration_ms: 1,
    };
    let agent = "billing".parse()?;
    let filter = Address::chain_filter(&agent, intent);
    let address = Address::ToolCompleted { agent, intent };
    let head = world.head(intent).await?.context("a claim")?;
    let out = Outgoing::event(&address, &stopped, &world.meta("tool-executor")?)?;
    world.executor.append(out, &filter, head.seq).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_waits_out_a_freeze_and_goes_on_afterwards() -> Result<()> {
    let world = World::start().await?;
    let olga = world.operator().await?;
    let running = world.coordinator().await?;
    let id = open(&world, liftable(), limits(1_800, Some(3), None))
        .await?
        .window_id;
    let (open, begun) = (under_window(&world).await?, under_window(&world).await?);
    claim(&world, begun).await?;
    switch(&world, &olga, "freeze", json!({"agent": "billing"})).await?;

    let revoked: ToolRevoked = world.event(&format!("tool.revoked.billing.{open}")).await?;
    ensure!(revoked.code == RevokedCode::Frozen, "{revoked:?}");
    let during = world.judge(Verdict::Ask, liftable()).await?;
    let blocked: ToolBlocked = world
        .event(&format!("tool.blocked.billing.{during}"))
        .await?;
    ensure!(blocked.code == BlockedCode::Frozen, "{blocked:?}");
    stop_at_the_fence(&world, begun).await?;
    let bus = world.as_coordinator().await?;
    eventually("one use comes back, the other stays", || async {
        let (window, _) = kept(&bus, &id).await?;
        let settled = window.open_uses().count() == 0 && window.used() == 1;
        Ok(settled.then_some(window))
    })
    .await?;

    switch(&world, &olga, "unfreeze", json!({"agent": "billing"})).await?;
    let (second, third) = (under_window(&world).await?, under_window(&world).await?);
    ensure!(second != third && uses(&world, &id).await? == 3);
    let more = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(
        !lifted(&world, more).await?,
        "the freeze gave it no more uses"
    );
    ensure!(world.count("window.opened.>").await? == 1, "it is the same");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_ends_while_frozen_is_not_revived() -> Result<()> {
    let world = World::start().await?;
    let olga = world.operator().await?;
    let running = world.coordinator().await?;
    let opened = open(&world, liftable(), limits(60, None, None)).await?;
    switch(&world, &olga, "freeze", json!({"tool": "mail.send"})).await?;
    world.clock.advance(Duration::from_secs(90));
    let closed = format!("window.closed.billing.{}", opened.window_id);
    let closed: WindowClosed = world.event(&closed).await?;
    ensure!(
        (closed.code.as_str(), closed.uses) == ("expired", 0),
        "{closed:?}"
    );
    switch(&world, &olga, "unfreeze", json!({"tool": "mail.send"})).await?;
    let late = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(!lifted(&world, late).await?, "people are asked again");
    running.stop().await
}
