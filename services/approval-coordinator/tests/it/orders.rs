//! The stream of orders: nobody shuts anybody out of the kill switch, and an order does not
//! wait for a coordinator that died with it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::Config;
use countersign_runtime::bus::layout::{
    self, COORDINATOR_CONTROL, COORDINATOR_ORDERS, Durable, stream_config,
};
use countersign_runtime::bus::{Bus, FULL_PERCENT, Outgoing, PublishError};
use countersign_schemas::Stream;
use countersign_schemas::events::{ControlApplied, ControlDone};
use futures::StreamExt as _;
use serde_json::json;
use tokio::time::Instant;

use super::freeze::{order, switch};
use super::world::{World, eventually, layout_options};

/// Sizes of bodies, so that at the end no byte is left.
const SIZES: [usize; 4] = [1024 * 1024, 60 * 1024, 6 * 1024, 1];
/// Well below what any other message waits for a coordinator that died with it, and long
/// enough for a start on a busy machine.
const PROMPT: Duration = Duration::from_secs(20);

/// Publishes on `subject` until the stream takes no more of it; how often it was told that
/// a message is too large.
async fn fill(bus: &Bus, subject: &str) -> Result<usize> {
    let mut too_large = 0;
    for size in SIZES {
        loop {
            let out = Outgoing::raw(subject, vec![b'x'; size].into());
            match bus.publisher().publish(out).await {
                Ok(_) => {}
                Err(PublishError::Full { .. }) => break,
                Err(PublishError::TooLarge { .. }) => {
                    too_large += 1;
                    break;
                }
                Err(error) => bail!("{subject}: {error}"),
            }
        }
    }
    Ok(too_large)
}

async fn consumer(bus: &Bus, durable: Durable) -> Result<PullConsumer> {
    let jetstream = bus.jetstream();
    let found = jetstream.get_consumer_from_stream(durable.name, durable.stream.name());
    Ok(found.await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_who_fills_what_people_say_shuts_nobody_out_of_the_kill_switch() -> Result<()> {
    let world = World::start().await?;
    let (olga, lee) = (world.operator().await?, world.person("lee").await?);
    let running = world.coordinator().await?;
    let mut too_large = 0;
    for subject in ["approval.vote.lee", "window.requested.lee"] {
        too_large += fill(&lee, subject).await?;
    }
    ensure!(too_large == 2, "a vote of 1 MiB is refused for its size");
    let again = Outgoing::raw("approval.vote.lee", b"{}".as_slice().into());
    let again = lee.publisher().publish(again).await;
    ensure!(matches!(again, Err(PublishError::Full { .. })), "{again:?}");
    for what in ["freeze", "unfreeze"] {
        switch(&world, &olga, what, json!({})).await?;
    }
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_uses_up_a_share_shuts_no_other_out_of_the_kill_switch() -> Result<()> {
    let world = World::start().await?;
    let (olga, otto) = (world.operator().await?, world.other_operator().await?);
    for subject in ["control.freeze.olga", "control.unfreeze.olga"] {
        ensure!(fill(&olga, subject).await? == 2, "7 KiB at most");
    }
    let refused = order(&olga, "freeze", &json!({})).await;
    ensure!(refused.is_err(), "her share is used up");
    let full = world
        .as_coordinator()
        .await?
        .fullness(Stream::Orders)
        .await?;
    ensure!(full < FULL_PERCENT / 4, "{full} %: intake goes on");

    let running = world.coordinator().await?;
    let otto_freezes = Outgoing::raw(
        "control.freeze.otto",
        br#"{"scope":{},"reason":"olga's key is stolen"}"#.as_slice().into(),
    );
    let seq = otto.publisher().publish(otto_freezes).await?;
    let done = format!("control.done.*.{seq}");
    world.event::<ControlDone>(&done).await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_say_waits_while_the_log_is_nearly_full_and_orders_do_not() -> Result<()> {
    let world = World::start().await?;
    let (olga, lee) = (world.operator().await?, world.person("lee").await?);
    let running = world.coordinator().await?;
    // Foreign to everybody, and as large as may be.
    for n in 0..54 {
        let subject = format!("tool.refused.billing.full.{n}");
        let out = Outgoing::raw(&subject, vec![b'x'; 1024 * 1024].into());
        world.checker.publisher().publish(out).await?;
    }
    let coordinator = world.as_coordinator().await?;
    eventually("what she says is given back", || async {
        // The coordinator may have looked how full the log is a moment before it was.
        let said = Outgoing::raw("window.closing.lee", b"{}".as_slice().into());
        lee.publisher().publish(said).await?;
        let control = consumer(&coordinator, COORDINATOR_CONTROL).await?;
        Ok((control.cached_info().num_redelivered > 0).then_some(()))
    })
    .await?;
    switch(&world, &olga, "freeze", json!({})).await?;
    let control = consumer(&coordinator, COORDINATOR_CONTROL).await?;
    ensure!(control.cached_info().num_ack_pending > 0, "it waits still");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_given_before_it_had_a_stream_of_its_own_is_carried_out() -> Result<()> {
    let world = World::start().await?;
    let olga = world.operator().await?;
    let setup = world.setup().await?;
    // As it was: orders among all else that people say.
    let with = |stream: Stream, subjects: Vec<&str>| Config {
        subjects: subjects.into_iter().map(str::to_owned).collect(),
        ..stream_config(stream, layout_options())
    };
    let mut all = Stream::Control.subjects().to_vec();
    all.extend(Stream::Orders.subjects());
    let nothing = with(Stream::Orders, vec!["control.none.*"]);
    setup.jetstream().update_stream(nothing).await?;
    setup
        .jetstream()
        .update_stream(with(Stream::Control, all))
        .await?;
    let body = json!({"scope": {"agent": "billing"}, "reason": "looks wrong"});
    let before = order(&olga, "freeze", &body).await?;
    ensure!(before == 1, "it lies in CS_CONTROL");

    for _ in 0..2 {
        layout::ensure(&setup, layout_options()).await?;
    }
    let running = world.coordinator().await?;
    let done = format!("control.done.*.{before}");
    world.event::<ControlDone>(&done).await?;
    let after = order(&olga, "unfreeze", &body).await?;
    ensure!(after == Stream::Orders.first_seq(), "{after}");
    let done = format!("control.done.*.{after}");
    world.event::<ControlDone>(&done).await?;
    let applied = format!("control.applied.*.{after}");
    ensure!(!world.event::<ControlApplied>(&applied).await?.frozen);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_does_not_wait_for_a_coordinator_that_vanished_with_it() -> Result<()> {
    let world = World::start().await?;
    let olga = world.operator().await?;
    let vanished = world.as_coordinator().await?;
    let orders = consumer(&vanished, COORDINATOR_ORDERS).await?;
    let body = json!({"scope": {}, "reason": "looks wrong"});
    let seq = order(&olga, "freeze", &body).await?;
    let mut taken = orders.fetch().max_messages(1).messages().await?;
    let taken = taken.next().await.context("the order")?;
    ensure!(taken.is_ok(), "it was delivered");

    let begun = Instant::now();
    let running = world.coordinator().await?;
    let applied = format!("control.applied.*.{seq}");
    world.event::<ControlApplied>(&applied).await?;
    let took = begun.elapsed();
    ensure!(took < PROMPT, "{took:?}");
    eprintln!("in force {} ms after it was taken away", took.as_millis());
    running.stop().await
}
