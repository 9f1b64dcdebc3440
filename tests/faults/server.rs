//! The nats-server stopped, killed and started again under load.

use countersign_tests::process::SERVICES;
use countersign_tests::{Deployment, eventually};

use crate::{invariants, load};

#[tokio::test]
async fn a_server_that_dies_and_comes_back_loses_nothing_that_it_acknowledged() {
    let mut deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let outages = async {
        for (count, gently) in [(5, false), (30, true)] {
            decided(&deployment, count).await;
            if gently {
                deployment.server().stop().await.unwrap();
            } else {
                deployment.server().kill().unwrap();
            }
            deployment.server().restart().await.unwrap();
        }
    };
    let ids = load::during(&agent, outages).await;
    load::all_end(&agent, &ids).await;
    for service in SERVICES {
        assert!(
            deployment.service(service).is_running(),
            "{service} did not survive"
        );
    }
    invariants::hold(&deployment, &ids).await;
}

/// Waits until the path is busy.
async fn decided(deployment: &Deployment, count: usize) {
    let observer = deployment.observer().await;
    eventually(load::END, "intents are decided", async || {
        let found = observer.read("CS_EVENTS", "tool.approved.>").await;
        (found.len() >= count).then_some(())
    })
    .await;
}
