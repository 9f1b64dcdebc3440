//! A steady mix of intents, so that a kill always meets some in every stage.

use std::time::Duration;

use countersign_tests::Agent;
use futures::StreamExt as _;
use futures::future::join;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

/// How long the last intent may take after everything runs again: redelivery takes half a
/// minute where a service died with messages in hand.
pub(crate) const END: Duration = Duration::from_secs(90);

/// Intents that are published together.
const WAVE: usize = 8;
/// Pause between two publishes: a burst would be over before the second kill.
const PACE: Duration = Duration::from_millis(10);
/// Fewest intents of one run.
const INTENTS_MIN: usize = 60;
/// Most intents of one run: each is looked at alone afterwards.
const INTENTS_MAX: usize = 400;

fn nth(agent: &Agent, n: usize) -> Value {
    match n % 4 {
        0 => agent.intent("crm.read_contact", json!({"contact_id": format!("C-{n}")})),
        1 => agent.intent(
            "crm.update_contact",
            json!({"id": "C-1", "email": "x@acme.example"}),
        ),
        _ => agent.intent(
            "ledger.book",
            json!({"account": format!("{n}"), "amount": 10}),
        ),
    }
}

/// Publishes intents for as long as `trouble` lasts, repeating each publish until it is
/// known to be stored, as an agent does that loses its connection. Returns their ids.
pub(crate) async fn during(agent: &Agent, trouble: impl Future<Output = ()>) -> Vec<String> {
    let over = CancellationToken::new();
    let pace = Mutex::new(interval(PACE));
    let publishing = futures::stream::iter(0..INTENTS_MAX)
        .take_while(|n| {
            let more = *n < INTENTS_MIN || !over.is_cancelled();
            std::future::ready(more)
        })
        .map(async |n| {
            pace.lock().await.tick().await;
            agent.publish_until_stored(&nth(agent, n)).await
        })
        .buffer_unordered(WAVE)
        .collect();
    let trouble = async {
        trouble.await;
        over.cancel();
    };
    join(publishing, trouble).await.0
}

/// Waits until every intent has reached its end.
pub(crate) async fn all_end(agent: &Agent, ids: &[String]) {
    for id in ids {
        agent.end_within(END, id).await;
    }
}
