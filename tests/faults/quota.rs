//! One rate over three checkers, one of which is killed again and again.

use countersign_tests::Deployment;
use countersign_tests::process::{CHECKER, SERVICES};
use futures::StreamExt as _;
use futures::future::join;
use serde_json::json;

use crate::{kills, load};

/// What the rate takes.
const MAX: usize = 60;
/// Intents that want it.
const INTENTS: usize = 100;
/// Intents that are published together.
const WAVE: usize = 8;

/// The window is a month, so that it does not turn during the test.
const RATE: &str = r#"
[[tools."ledger.book".guardrails]]
kind = "rate"
name = "bookings"
window = "31d"
max = 60
"#;

async fn deployment() -> Deployment {
    let mut deployment = Deployment::without_services(&[]).await;
    let catalog = deployment.files().dir().join("policy/catalog/company.toml");
    let text = std::fs::read_to_string(&catalog).unwrap();
    std::fs::write(&catalog, text + RATE).unwrap();
    for name in SERVICES.into_iter().chain([CHECKER, CHECKER]) {
        deployment.launch(name);
    }
    deployment.ready().await;
    deployment
}

#[tokio::test]
async fn a_rate_is_exact_over_three_checkers_while_one_is_killed() {
    let mut deployment = deployment().await;
    let agent = deployment.agent("billing").await;
    let kills = async {
        for pause in kills::points("one of three checkers") {
            // sleep: the point of a kill is a point in time, drawn at random.
            tokio::time::sleep(pause).await;
            deployment.service(CHECKER).kill();
            deployment.service(CHECKER).restart();
        }
    };
    let publishing = futures::stream::iter(0..INTENTS)
        .map(async |n| {
            let input = json!({"account": format!("{n}"), "amount": 10});
            let intent = agent.intent("ledger.book", input);
            agent.publish_until_stored(&intent).await
        })
        .buffer_unordered(WAVE)
        .collect::<Vec<String>>();
    let (ids, ()) = join(publishing, kills).await;
    let mut ran = 0;
    for id in &ids {
        let end = agent.end_within(load::END, id).await;
        if end.is("tool.completed") {
            ran += 1;
        } else {
            assert_eq!(end.text("/code"), "budget_exceeded", "{end:?}");
        }
    }
    assert_eq!(ran, MAX);
    let counts = deployment.journal().counts();
    let worked = ids.iter().filter_map(|id| counts.get(id));
    assert_eq!(worked.sum::<usize>(), MAX, "each of them once");
}
