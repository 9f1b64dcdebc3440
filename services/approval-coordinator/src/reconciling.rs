//! What operators found out about outcomes that nobody knew.

use countersign_domain::approvals::{IntentOutcome, ViewReply};
use countersign_domain::chain::{End, Head};
use countersign_domain::decision::{Finding, Reconciled, reconcile};
use countersign_domain::handoff::found_id;
use countersign_runtime::bus::{Append, Failure, Incoming, Outgoing, metrics};
use countersign_schemas::events::{OutcomeFound, OutcomeReconciled, PolicyChecked};
use countersign_schemas::{Address, AgentId, IntentId, PersonId, Stream, headers};

use crate::office::{Office, TRIES, decode, decode_outside, trace_of};

impl Office {
    /// Records a finding once, and tells the team that was asked to look. A redelivery
    /// completes what is missing.
    pub(crate) async fn outcome_found(
        &self,
        message: &Incoming,
        operator: &PersonId,
    ) -> Result<(), Failure> {
        let found: OutcomeFound = match decode_outside(message) {
            Ok(found) => found,
            Err(why) => return self.refuse(message, operator, "unreadable", why).await,
        };
        let reason = self.redact(&found.reason);
        let finding = Finding {
            operator,
            stored_at: message.stored_at,
            found: &found,
            reason: &reason,
        };
        let trace = trace_of(message);
        let trace = trace.as_deref();
        for _ in 0..TRIES {
            let head = self.head(&found.agent, found.intent_id).await?;
            let (known, seq) = self.reconciled(&found.agent, found.intent_id).await?;
            match reconcile(&finding, &head, known.as_ref()) {
                Reconciled::Refused { code, why } => {
                    return self.refuse(message, operator, code, why).await;
                }
                Reconciled::Known(record) => return self.tell_found(&record, trace).await,
                Reconciled::Record(record) => {
                    if self.record_finding(&record, seq, trace).await? {
                        return self.tell_found(&record, trace).await;
                    }
                }
            }
        }
        Err(Failure::transient(format!(
            "the finding on {} changes too fast",
            found.intent_id
        )))
    }

    /// What was found before, from the leader, and the sequence that a finding must expect.
    async fn reconciled(
        &self,
        agent: &AgentId,
        intent: IntentId,
    ) -> Result<(Option<OutcomeReconciled>, u64), Failure> {
        let address = address(agent, intent);
        let subject = address.subject();
        let last = self
            .bus
            .last_by_subject(Stream::Events, subject.as_str())
            .await?;
        let Some(last) = last else {
            return Ok((None, 0));
        };
        let read = decode::<OutcomeReconciled>(last.header(headers::CE_TYPE), &last.payload).ok();
        let ours = read.filter(|known| known.agent == *agent && known.intent_id == intent);
        if ours.is_none() {
            metrics::alarm("foreign_message", subject.as_str());
        }
        Ok((ours, last.seq))
    }

    /// Stores a finding; `false` where another came first.
    async fn record_finding(
        &self,
        record: &OutcomeReconciled,
        expected: u64,
        trace: Option<&str>,
    ) -> Result<bool, Failure> {
        let address = address(&record.agent, record.intent_id);
        let out = Outgoing::event(&address, record, &self.meta(trace))?;
        let filter = address.subject();
        let stored = self.bus.append(out, filter.as_str(), expected).await?;
        let stored = matches!(stored, Append::Stored(_));
        if stored {
            tracing::info!(intent = %record.intent_id, outcome = %record.outcome, trace, "found out");
        }
        Ok(stored)
    }

    async fn tell_found(
        &self,
        record: &OutcomeReconciled,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let verdict = self.verdict(&record.agent, record.intent_id).await?;
        let Some((checked, _)) = verdict else {
            return Ok(());
        };
        let Some(team) = checked.helper.clone() else {
            return Ok(());
        };
        let people = self.people();
        let handoff = self.writer(people.as_ref()).found(record, &checked, &team);
        self.hand_off(handoff, &found_id(record.intent_id), trace)
            .await
    }

    /// How an intent ended, for whoever wants to find out; `None` where there is none.
    pub(crate) async fn outcome_of(&self, intent: IntentId) -> Result<Option<ViewReply>, Failure> {
        let filter = Address::checked_filter(intent);
        let Some(last) = self.bus.last_by_subject(Stream::Events, &filter).await? else {
            return Ok(None);
        };
        let read = decode::<PolicyChecked>(last.header(headers::CE_TYPE), &last.payload).ok();
        let Some(checked) = read.filter(|checked| checked.intent_id == intent) else {
            return Ok(None);
        };
        let head = self.head(&checked.agent, intent).await?;
        let outcome = match head {
            Head::Ended {
                end: End::Completed(completed),
                ..
            } => Some(completed.outcome),
            _ => None,
        };
        let (found, _) = self.reconciled(&checked.agent, intent).await?;
        Ok(Some(ViewReply::Outcome {
            outcome_of: IntentOutcome {
                intent_id: intent,
                agent: checked.agent,
                tool: checked.tool,
                outcome,
                found,
            },
        }))
    }
}

fn address(agent: &AgentId, intent: IntentId) -> Address {
    Address::OutcomeReconciled {
        agent: agent.clone(),
        intent,
    }
}
