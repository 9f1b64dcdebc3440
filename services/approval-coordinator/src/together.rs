//! Storing the decisions on several intents: those that run are stored all together or not
//! at all, so that nobody sees half a bundle run because a coordinator died.

use std::time::Duration;

use countersign_domain::chain::Head;
use countersign_domain::decision::Decision;
use countersign_runtime::bus::{Failure, Outgoing, Together, metrics};
use countersign_schemas::{Address, Stream};

use crate::deciding::count;
use crate::office::{Office, TRIES, read_head, readable};

/// Pause before a batch is tried again where nothing stands in its way any more: on three
/// replicas a rival in flight may still fail.
const SETTLE: Duration = Duration::from_millis(20);

/// A decision and the sequence that its chain must end with.
struct Next {
    decision: Decision,
    expected: u64,
}

impl Office {
    /// Stores these decisions, each unless its intent has one: approvals in one batch,
    /// without those whose chain has moved meanwhile, then the blocks.
    pub(crate) async fn decide_all(
        &self,
        decisions: Vec<Decision>,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let runs = |decision: &Decision| matches!(decision, Decision::Approved(_));
        let (run, stop): (Vec<_>, Vec<_>) = decisions.into_iter().partition(runs);
        self.approve_together(run, trace).await?;
        for decision in stop {
            // An intent that was withdrawn or decided otherwise meanwhile stays so.
            self.decide(&decision, trace).await?;
        }
        Ok(())
    }

    async fn approve_together(
        &self,
        decisions: Vec<Decision>,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let first = |decision| Next {
            decision,
            expected: 0,
        };
        let mut left: Vec<Next> = decisions.into_iter().map(first).collect();
        for _ in 0..TRIES {
            if let [] | [_] = left.as_slice() {
                return match left.first() {
                    Some(only) => self.decide(&only.decision, trace).await.map(drop),
                    None => Ok(()),
                };
            }
            let batch: Result<Vec<Outgoing>, Failure> = left
                .iter()
                .map(|next| self.outgoing(&next.decision, next.expected, trace))
                .collect();
            match self.bus.append_together(batch?).await? {
                Together::Stored => {
                    left.iter().for_each(|next| count(&next.decision));
                    return Ok(());
                }
                Together::Conflict => {
                    let tried = left.len();
                    left = self.unmoved(left).await?;
                    if left.len() == tried {
                        tokio::time::sleep(SETTLE).await;
                    }
                }
            }
        }
        Err(Failure::transient("the items of a bundle change too fast"))
    }

    fn outgoing(
        &self,
        decision: &Decision,
        expected: u64,
        trace: Option<&str>,
    ) -> Result<Outgoing, Failure> {
        let (address, meta) = (decision.address(), self.meta(trace));
        let out = match decision {
            Decision::Approved(approved) => Outgoing::event(&address, approved.as_ref(), &meta),
            Decision::Blocked(blocked) => Outgoing::event(&address, blocked.as_ref(), &meta),
        };
        let filter = Address::chain_filter(decision.agent(), decision.intent());
        Ok(out?.expecting(&filter, expected))
    }

    /// Those whose chain has no decision yet.
    async fn unmoved(&self, tried: Vec<Next>) -> Result<Vec<Next>, Failure> {
        let mut left = Vec::with_capacity(tried.len());
        for Next { decision, .. } in tried {
            let (agent, intent) = (decision.agent(), decision.intent());
            let filter = Address::chain_filter(agent, intent);
            let found = self.bus.last_by_subject(Stream::Events, &filter).await?;
            if let Some(found) = &found {
                readable(&found.as_last())?;
            }
            let expected = match read_head(found.as_ref(), agent, intent) {
                Head::None => 0,
                Head::NotOurs { seq } => {
                    metrics::alarm("foreign_message", &filter);
                    seq
                }
                Head::Decided { .. } | Head::Claimed { .. } | Head::Ended { .. } => continue,
            };
            left.push(Next { decision, expected });
        }
        Ok(left)
    }
}
