//! A freeze that is older than the horizon when coordinator and executor start again, both at
//! once: what was approved, or even claimed, before it does not run.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_schemas::Stream;
use countersign_tests::process::{COORDINATOR, EXECUTOR, SERVICES};
use countersign_tests::{Deployment, PATIENCE, Relay, eventually};
use futures::future::join_all;

use crate::freeze::{approved, chains, everything, holds, nth};
use crate::load;

/// The shortest there is. Permits last longer, so they stop nothing here.
const HORIZON: Duration = Duration::from_secs(60);
/// Intents from before the freeze.
const INTENTS: usize = 12;

/// A deployment with a relay before the coordinator and one before the executor.
async fn deployment() -> (Deployment, [Relay; 2]) {
    let horizon = HORIZON.as_secs().to_string();
    let settings = [("COUNTERSIGN_DEPLOYMENT__HORIZON_S", horizon.as_str())];
    let mut deployment = Deployment::without_services(&settings).await;
    let server = deployment.url();
    let relays = [Relay::start(&server).await, Relay::start(&server).await];
    for (name, relay) in [COORDINATOR, EXECUTOR].into_iter().zip(&relays) {
        deployment.set("COUNTERSIGN_NATS__URL", &relay.url());
        deployment.launch(name);
    }
    deployment.set("COUNTERSIGN_NATS__URL", &server);
    for name in SERVICES {
        if ![COORDINATOR, EXECUTOR].contains(&name) {
            deployment.launch(name);
        }
    }
    deployment.ready().await;
    (deployment, relays)
}

fn start_both(deployment: &mut Deployment) {
    for name in [COORDINATOR, EXECUTOR] {
        deployment.service(name).restart();
    }
}

/// Removes what the janitor would by then: everything before `seq`.
async fn purge_before(deployment: &Deployment, seq: u64) {
    let bus = deployment.core("audit-archiver").await;
    let stream = bus.jetstream().get_stream("CS_EVENTS").await;
    let stream = stream.expect("the archiver may look");
    let purged = stream.purge().sequence(seq).await;
    assert!(purged.expect("the archiver may purge").success);
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_from_before_an_old_freeze_runs_when_all_who_could_stop_it_start_again() {
    let (mut deployment, [by_coordinator, by_executor]) = deployment().await;
    let agent = deployment.agent("billing").await;
    let operator = deployment.operator().await;
    let before = deployment.journal().counts();

    // The executor dies between its first claims and their calls; what comes then is approved
    // and not claimed.
    let intents: Vec<_> = (0..INTENTS).map(|n| nth(&agent, n)).collect();
    let (first, then) = intents.split_at(INTENTS / 2);
    let calls = |subject: &str| subject.starts_with("work.").then(|| subject.to_owned());
    let publishing = join_all(first.iter().map(|one| agent.publish(one)));
    let (mut ids, _) = tokio::join!(publishing, by_executor.cut_before(calls));
    ids.extend(join_all(then.iter().map(|one| agent.publish(one))).await);
    approved(&deployment, INTENTS).await;
    deployment.service(EXECUTOR).kill();
    let observer = deployment.observer().await;
    let log = chains(&observer.read("CS_EVENTS", "tool.>").await);
    let claimed: BTreeSet<&String> = ids.iter().filter(|id| log[*id].claimed > 0).collect();
    assert!(
        !claimed.is_empty() && claimed.len() < INTENTS,
        "{claimed:?}"
    );

    // The coordinator dies between the freeze and the first of what follows from it.
    let revokes = |subject: &str| {
        let follows = ["tool.revoked.", "control.done."];
        let found = follows.iter().any(|event| subject.starts_with(event));
        found.then(|| subject.to_owned())
    };
    let scope = everything();
    let (order, _) = tokio::join!(
        operator.order("freeze", &scope),
        by_coordinator.cut_before(revokes)
    );
    let applied = operator.answer("control.applied", order).await;
    deployment.service(COORDINATOR).kill();

    // sleep: it is the span of time by which the freeze is to be older.
    tokio::time::sleep(HORIZON).await;
    start_both(&mut deployment);
    operator.answer("control.done", order).await;
    load::all_end(&agent, &ids).await;
    holds(&deployment, &operator, order).await;
    assert_eq!(deployment.journal().counts(), before, "nothing ran");

    // Nor does what is new, when both start again and the order itself has left the log.
    let log = deployment.core(COORDINATOR).await;
    let again = format!("control.applied.*.{order}.*");
    let repeated = eventually(PATIENCE, "the freeze is stored again", async || {
        let found = log.last_by_subject(Stream::Events, &again).await;
        found.expect("the coordinator may read")
    })
    .await;
    assert!(repeated.seq > applied.seq);
    for name in [COORDINATOR, EXECUTOR] {
        deployment.service(name).kill();
    }
    purge_before(&deployment, repeated.seq).await;
    start_both(&mut deployment);
    let new = agent.publish(&nth(&agent, 0)).await;
    let end = agent.end_within(load::END, &new).await;
    assert!(end.is("tool.blocked"), "{end:?}");
    assert_eq!(end.text("/code"), "frozen");
    assert_eq!(deployment.journal().counts(), before, "nothing ran");
}
