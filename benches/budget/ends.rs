//! What follows a verdict, played: an allowed payment ends as a run does.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use countersign_runtime::bus::{Bus, Outgoing};
use countersign_schemas::codec;
use countersign_schemas::events::{PolicyChecked, ToolCompleted, Verdict};
use countersign_schemas::headers::{CE_TYPE, ce_type};
use futures::StreamExt as _;
use serde_json::{Map, Value, json};
use tokio::task::{JoinHandle, JoinSet};

const COMPLETED: &str = include_str!("../../schemas/golden/tool.completed/v1.json");

/// What became of the payments.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Allowed, with a part of the budget each if there is one.
    pub(crate) allowed: usize,
    /// Refused because they did not fit.
    pub(crate) refused: usize,
    /// The one ledger that all parts are from.
    pub(crate) ledger: Option<String>,
}

/// Counts the verdicts on `payments`, and ends what is allowed.
pub(crate) async fn play(bus: Bus, payments: usize) -> Result<JoinHandle<Result<Tally>>> {
    let mut verdicts = bus.client().subscribe("out.policy.checked.>").await?;
    bus.client().flush().await?;
    let playing = async move {
        let mut tally = Tally::default();
        let mut ends = JoinSet::new();
        while tally.allowed + tally.refused < payments {
            let verdict = verdicts.next().await.context("the connection ended")?;
            let checked: PolicyChecked = codec::decode(&verdict.payload)?;
            tally.count(&checked)?;
            if checked.verdict == Verdict::Allow {
                let (bus, end) = (bus.clone(), completed(&checked)?);
                ends.spawn(async move { bus.publisher().publish(end).await });
            }
            while let Some(ended) = ends.try_join_next() {
                ended??;
            }
        }
        while let Some(ended) = ends.join_next().await {
            ended??;
        }
        Ok(tally)
    };
    Ok(tokio::spawn(playing))
}

impl Tally {
    fn count(&mut self, checked: &PolicyChecked) -> Result<()> {
        if checked.verdict != Verdict::Allow {
            let reason = checked.reasons.first().map(|reason| reason.code.as_str());
            ensure!(reason == Some("budget_exceeded"), "refused by {reason:?}");
            self.refused += 1;
            return Ok(());
        }
        self.allowed += 1;
        for charge in &checked.charges {
            let ledger = self.ledger.get_or_insert_with(|| charge.ledger.clone());
            ensure!(*ledger == charge.ledger, "there are two ledgers");
        }
        Ok(())
    }
}

/// The golden outcome, made to speak of this intent.
fn completed(checked: &PolicyChecked) -> Result<Outgoing> {
    let mut body: Map<String, Value> = serde_json::from_str(COMPLETED)?;
    body.insert("intent_id".to_owned(), json!(checked.intent_id));
    body.insert("agent".to_owned(), json!(checked.agent));
    let subject = format!("tool.completed.{}.{}", checked.agent, checked.intent_id);
    let mut end = Outgoing::raw(&subject, Bytes::from(serde_json::to_vec(&body)?));
    end.set(CE_TYPE, &ce_type::<ToolCompleted>());
    Ok(end)
}
