//! Telling how a run ended, until the server has stored it.

use std::time::Duration;

use countersign_runtime::bus::{Append, Failure, Meta, Outgoing, metrics as bus_metrics};
use countersign_schemas::Address;

use crate::chain::{self, Link, Stored};
use crate::handler::Executor;
use crate::metrics;
use crate::outcome;
use crate::spool::{Record, SpoolError};

/// Pause before an outcome is published again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Executor {
    /// Puts `record` on disk, publishes it and takes it off again.
    pub(crate) async fn report(&self, record: Record) {
        let kept = record.clone();
        if let Err(error) = self.in_spool(move |spool| spool.write(&kept)).await {
            // The outcome is still told; only a crash right now would lose it to the sweep.
            bus_metrics::alarm("spool", &error.to_string());
        }
        metrics::spooled();
        self.deliver(record).await;
    }

    /// Publishes `record` until it is stored; a spooled one is tried again after a restart.
    pub(crate) async fn deliver(&self, record: Record) {
        loop {
            match self.publish(&record).await {
                Ok(()) => break,
                Err(failure @ Failure::Transient { .. }) => {
                    tracing::warn!(%failure, "an outcome is not stored yet");
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                Err(failure @ (Failure::Poison { .. } | Failure::Fatal { .. })) => {
                    bus_metrics::alarm("outcome_not_stored", &failure.to_string());
                    return;
                }
            }
        }
        let intent = record.completed.intent_id;
        match self.in_spool(move |spool| spool.remove(intent)).await {
            Ok(()) => metrics::unspooled(),
            // It is published again after a restart, which changes nothing.
            Err(error) => tracing::warn!(%error, "an outcome stays in the spool"),
        }
    }

    async fn publish(&self, record: &Record) -> Result<(), Failure> {
        let completed = &record.completed;
        let meta = Meta {
            traceparent: record.traceparent.clone(),
            ..self.own_meta()
        };
        let link = Link {
            agent: &completed.agent,
            intent: completed.intent_id,
            address: Address::ToolCompleted {
                agent: completed.agent.clone(),
                intent: completed.intent_id,
            },
            expected: record.claim_seq,
            id: &record.message_id,
            event: completed,
        };
        match chain::store(self.bus(), link, &meta).await? {
            Stored::Ours(_) => Ok(()),
            Stored::Theirs => self.publish_late(record, &meta).await,
        }
    }

    /// The sweep ended the chain before us.
    async fn publish_late(&self, record: &Record, meta: &Meta) -> Result<(), Failure> {
        let late = outcome::late(&record.completed);
        let address = Address::OutcomeLate {
            agent: late.agent.clone(),
            intent: late.intent_id,
        };
        tracing::warn!(intent = %late.intent_id, outcome = %late.outcome, "late outcome");
        match self
            .bus()
            .store_once(Outgoing::event(&address, &late, meta)?)
            .await?
        {
            Append::Stored(_) => metrics::late(),
            // An earlier try of ours had been stored.
            Append::Lost(_) => {}
        }
        Ok(())
    }

    /// Publishes what an earlier process left behind, in the background.
    pub(crate) async fn replay_spool(self: &std::sync::Arc<Self>) -> Result<(), SpoolError> {
        let records = self.in_spool(|spool| spool.records()).await?;
        for record in records {
            tracing::info!(intent = %record.completed.intent_id, "telling a kept outcome");
            metrics::spooled();
            let executor = std::sync::Arc::clone(self);
            self.tasks()
                .spawn(async move { executor.deliver(record).await });
        }
        Ok(())
    }
}
