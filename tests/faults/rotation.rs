//! The keys that sign permits and claim tokens are rotated under load, and nothing is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::identity::{KeyChange, KeyStep, Signing, change_key};
use countersign_tests::process::EXECUTOR;
use countersign_tests::{Agent, Deployment, PATIENCE, eventually};
use futures::future::join;
use serde_json::json;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::load::END;

/// Pause between two publishes.
const PACE: Duration = Duration::from_millis(20);
/// Most intents of one run, each of which is looked at afterwards: a minute of them.
const INTENTS_MAX: usize = 3_000;

fn change(deployment: &Deployment, signing: Signing, step: KeyStep) -> KeyChange {
    let files = deployment.files();
    let keys = files.dir().join("keys");
    change_key(files, &keys, signing, step, SystemClock.now()).unwrap()
}

async fn publish_until(over: &CancellationToken, agent: &Agent) -> Vec<String> {
    let mut pace = interval(PACE);
    let mut ids = Vec::new();
    while !over.is_cancelled() && ids.len() < INTENTS_MAX {
        pace.tick().await;
        let input = json!({"contact_id": format!("C-{}", ids.len())});
        ids.push(
            agent
                .publish(&agent.intent("crm.read_contact", input))
                .await,
        );
    }
    ids
}

/// The header of the permit on the last decision: it names the key.
async fn signed_by(deployment: &Deployment) -> String {
    let core = deployment.core("audit-archiver").await;
    let found = core.last_by_subject(countersign_schemas::Stream::Events, "tool.approved.>");
    let found = found.await.unwrap().expect("a decision");
    core.close().await;
    let approved: serde_json::Value = serde_json::from_slice(&found.payload).unwrap();
    let permit = approved["permit"].as_str().unwrap();
    permit.split('.').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_refuses_nothing() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let over = CancellationToken::new();
    let rotating = async {
        let mut keys = BTreeSet::from([signed_by(&deployment).await]);
        for steps in [
            &[KeyStep::Rotate][..],
            &[KeyStep::Publish, KeyStep::Rotate],
            &[KeyStep::Rotate],
        ] {
            for step in steps {
                change(&deployment, Signing::Permit, *step);
                change(&deployment, Signing::Claim, *step);
            }
            eventually(PATIENCE, "the new key signs", async || {
                keys.insert(signed_by(&deployment).await).then_some(())
            })
            .await;
        }
        over.cancel();
        keys.len()
    };
    let (ids, keys) = join(publish_until(&over, &agent), rotating).await;
    assert_eq!(keys, 4, "three rotations");
    for id in &ids {
        let end = agent.end_within(END, id).await;
        assert_eq!(end.text("/outcome"), "succeeded", "{}", end.body);
    }
    let refused = deployment.journal().refusals();
    assert!(refused.is_empty(), "{refused:?}");
    let runs = deployment.journal().counts();
    assert!(ids.iter().all(|id| runs.get(id) == Some(&1)));
    println!("{} intents met three rotations of both keys", ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_theft_what_the_old_key_signed_does_not_run() {
    let mut deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    deployment.service(EXECUTOR).kill();
    let id = agent
        .publish(&agent.intent("crm.read_contact", json!({"contact_id": "C-1"})))
        .await;
    eventually(PATIENCE, "it is approved", async || {
        let last = agent.last(&id).await?;
        last.is("tool.approved").then_some(())
    })
    .await;
    let left = change(&deployment, Signing::Permit, KeyStep::Replace);
    assert_eq!(left.retired, []);
    deployment.service(EXECUTOR).restart();
    let end = agent.end(&id).await;
    assert!(end.is("tool.revoked"), "{end:?}");
    assert_eq!(end.text("/code"), "digest_mismatch");
    assert!(!deployment.journal().counts().contains_key(&id));
    // The coordinator signs with the new key within a second, and then all is as before.
    eventually(PATIENCE, "it runs again", async || {
        let next = agent.intent("crm.read_contact", json!({"contact_id": "C-2"}));
        let next = agent.publish(&next).await;
        let end = agent.end(&next).await;
        (end.text("/outcome") == "succeeded").then_some(())
    })
    .await;
}
