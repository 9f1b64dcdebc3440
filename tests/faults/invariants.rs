//! What must hold for every intent, whatever was killed.

use std::collections::{BTreeMap, BTreeSet};

use countersign_tests::{Deployment, Event, eventually};

use crate::load::END;

/// Checks the chain of every intent, the journal and the archive.
pub(crate) async fn hold(deployment: &Deployment, ids: &[String]) {
    let observer = deployment.observer().await;
    let chains = chains(&observer.read("CS_EVENTS", "tool.>").await);
    let runs = deployment.journal().counts();
    for id in ids {
        let chain = chains.get(id).map(Vec::as_slice).unwrap_or_default();
        one_decision_one_end(id, chain);
        let ran = runs.get(id).copied().unwrap_or_default();
        assert!(ran <= 1, "{id} ran {ran} times");
        let ends: Vec<&str> = chain.iter().map(|event| event.text("/outcome")).collect();
        if ends.contains(&"succeeded") {
            assert_eq!(ran, 1, "{id} is said to have succeeded and never ran");
        }
        if ran == 1 {
            assert!(
                count(chain, "tool.started") == 1,
                "{id} ran without a claim"
            );
        }
    }
    archived_exactly_once(deployment).await;
}

fn one_decision_one_end(id: &str, chain: &[Event]) {
    let names: Vec<String> = chain.iter().map(Event::name).collect();
    let decisions = count(chain, "tool.approved") + count(chain, "tool.blocked");
    assert_eq!(decisions, 1, "{id}: {names:?}");
    assert!(count(chain, "tool.started") <= 1, "{id}: {names:?}");
    let ends = chain.iter().filter(|event| event.is_end()).count();
    assert_eq!(ends, 1, "{id}: {names:?}");
    assert!(chain.last().is_some_and(Event::is_end), "{id}: {names:?}");
}

fn count(chain: &[Event], event: &str) -> usize {
    chain.iter().filter(|found| found.is(event)).count()
}

fn chains(events: &[Event]) -> BTreeMap<String, Vec<Event>> {
    let mut chains: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for event in events.iter().filter(|event| !event.is("tool.refused")) {
        chains
            .entry(event.text("/intent_id").to_owned())
            .or_default()
            .push(event.clone());
    }
    chains
}

/// Each message of every archived stream is one row. The archiver's own commits ride in
/// the next batch, so the last of them may be missing.
async fn archived_exactly_once(deployment: &Deployment) {
    let observer = deployment.observer().await;
    let mut stored = BTreeSet::new();
    for stream in ["CS_INTENTS", "CS_CONTROL", "CS_ORDERS", "CS_EVENTS"] {
        for event in observer.read(stream, ">").await {
            if !event.is("archive.committed") {
                stored.insert((stream.to_owned(), event.seq));
            }
        }
    }
    let rows = eventually(END, "every message is archived", async || {
        let rows = deployment.rows("select stream, seq from events").await;
        let found: Vec<(String, u64)> = rows
            .iter()
            .map(|row| {
                let stream = row["stream"].as_str().unwrap().to_owned();
                (stream, row["seq"].as_u64().unwrap())
            })
            .collect();
        let all = stored.iter().all(|one| found.contains(one));
        all.then_some(found)
    })
    .await;
    let distinct: BTreeSet<_> = rows.iter().collect();
    assert_eq!(distinct.len(), rows.len(), "some message has two rows");
}
