//! One time window over two coordinators, one of which is killed again and again.

use std::time::Duration;

use countersign_tests::process::{COORDINATOR, SERVICES};
use countersign_tests::{Agent, Approver, Deployment, eventually};
use futures::StreamExt as _;
use futures::future::join;
use serde_json::json;

use crate::kills;

/// Uses of the window.
const USES: usize = 20;
/// Intents that want one.
const INTENTS: usize = 60;
/// Intents that are published together.
const WAVE: usize = 8;
/// What a killed coordinator held comes again after half a minute, and then is done.
const END: Duration = Duration::from_secs(150);

async fn book(agent: &Agent) -> String {
    let input = json!({"account": "9", "amount": 500_000});
    agent
        .publish_until_stored(&agent.intent("ledger.book", input))
        .await
}

/// Whether the intent ran under the window; else people were asked.
async fn ran(agent: &Agent, dora: &Approver, id: &str) -> bool {
    eventually(END, &format!("an end of {id}, or an ask"), async || {
        if let Some(last) = agent.last(id).await {
            return last.is_end().then(|| {
                assert_eq!(last.text("/outcome"), "succeeded", "{last:?}");
                true
            });
        }
        let question = json!({"op": "show", "approval_id": format!("a-{id}")});
        let shown = dora.view(&question).await;
        (shown["approval"]["state"] == "pending").then_some(false)
    })
    .await
}

#[tokio::test]
async fn a_window_is_used_exactly_while_a_coordinator_is_killed() {
    let mut deployment = Deployment::without_services(&[]).await;
    for name in SERVICES.into_iter().chain([COORDINATOR]) {
        deployment.launch(name);
    }
    deployment.ready().await;
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    let first = book(&agent).await;
    let asked = dora.asked(&first).await;
    let limits = json!({"seconds": 3_000, "max_uses": USES});
    let (approval, digest) = (asked.text("/approval_id"), asked.text("/digest"));
    let voted = dora.vote_for_window(approval, digest, limits).await;
    assert_eq!(voted.body["counted"], json!(true), "{}", voted.body);
    agent.end(&first).await;
    let kills = async {
        for pause in kills::points("one of two coordinators") {
            // sleep: the point of a kill is a point in time, drawn at random.
            tokio::time::sleep(pause).await;
            deployment.service(COORDINATOR).kill();
            deployment.service(COORDINATOR).restart();
        }
    };
    let publishing = futures::stream::iter(0..INTENTS)
        .map(async |_| book(&agent).await)
        .buffer_unordered(WAVE)
        .collect::<Vec<String>>();
    let (ids, ()) = join(publishing, kills).await;
    let mut used = 0;
    for id in &ids {
        used += usize::from(ran(&agent, &dora, id).await);
    }
    assert_eq!(used, USES, "each use once, and each of them used");
    let listed = dora.view(&json!({"op": "windows"})).await;
    assert_eq!(listed["windows"][0]["uses"], json!(USES), "{listed}");
    let counts = deployment.journal().counts();
    let twice = ids
        .iter()
        .find(|id| counts.get(*id).is_some_and(|runs| *runs > 1));
    assert_eq!(twice, None, "run twice");
}
