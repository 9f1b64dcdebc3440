//! One claimed run: its attempts, within its lease.

use std::sync::Arc;
use std::time::Duration;

use countersign_domain::freeze::BEGIN_WITHIN;
use countersign_domain::permit::{Claim, Permitted};
use countersign_domain::policy::Tool;
use countersign_runtime::policy::InForce;
use countersign_runtime::telemetry::{TraceParent, outgoing_trace};
use countersign_schemas::events::ToolApproved;
use tokio::time::Instant;
use tracing::Span;

use crate::call::{Call, End, Workers};
use crate::fence::Passage;
use crate::handler::Executor;
use crate::{chain, metrics, outcome, spool};

/// Attempts of an idempotent tool: enough to outlast a restart of its worker.
const ATTEMPTS_MAX: u32 = 5;
/// Pause before the second attempt; it doubles.
const BACKOFF: Duration = Duration::from_millis(200);

/// A claim that is ours.
#[derive(Debug)]
pub(crate) struct Run {
    /// The bundle that it was examined by; it stays the same to the end of the run.
    pub(crate) by: Arc<InForce>,
    /// The decision.
    pub(crate) approved: ToolApproved,
    /// The proof that it may run.
    pub(crate) permitted: Permitted,
    /// The sequence of the claim.
    pub(crate) claim_seq: u64,
    /// When the claim was sent.
    pub(crate) claimed: Instant,
    /// Its way through the fence.
    pub(crate) passage: Passage,
    /// Trace context of the decision.
    pub(crate) trace: Option<TraceParent>,
}

impl Executor {
    /// Calls the worker and tells how it ended.
    pub(crate) async fn run(&self, mut run: Run) {
        metrics::run_started();
        let passed = run.passage.pass(run.claim_seq).await;
        let bundle = run.by.bundle().ok();
        let ended = match bundle.and_then(|bundle| bundle.catalog().tool(&run.approved.tool)) {
            Some(tool) => {
                let end = match passed {
                    Ok(()) => self.attempts(&run, tool).await,
                    Err(end) => end,
                };
                let ran = outcome::Ran {
                    tool,
                    approved: &run.approved,
                    expose: &run.permitted.claims().expose,
                    input: run.permitted.input(),
                };
                let took = run.claimed.elapsed();
                let told = outcome::completed(self.redactor(), &ran, &end, took);
                outcome::storable(told, self.own_meta().encoding)
            }
            // INVARIANT: `examine` found the tool in this very bundle.
            None => return,
        };
        metrics::run_ended(ended.outcome, run.claimed.elapsed().as_secs_f64());
        tracing::info!(outcome = %ended.outcome, duration_ms = ended.duration_ms, "ended");
        let trace = outgoing_trace(&Span::current(), run.trace);
        self.report(spool::Record {
            message_id: chain::message_id(),
            claim_seq: run.claim_seq,
            completed: ended,
            traceparent: trace.map(|trace| trace.to_string()),
        })
        .await;
    }

    async fn attempts(&self, run: &Run, tool: &Tool) -> End {
        let deadline = run.claimed + tool.timeout();
        let begin_by = deadline.min(run.claimed + BEGIN_WITHIN);
        let mut end = self.attempt(run, tool, 1, [begin_by, deadline]).await;
        let mut pause = BACKOFF;
        for attempt in 2..=ATTEMPTS_MAX {
            let again = matches!(end, End::Unknown(_))
                && tool.idempotent()
                && Instant::now() + pause < deadline;
            if !again {
                break;
            }
            tracing::info!(attempt, "trying an idempotent tool again");
            tokio::time::sleep(pause).await;
            pause *= 2;
            let next = self.attempt(run, tool, attempt, [deadline; 2]).await;
            // That this one failed says nothing about the one whose end nobody knows.
            if let End::Done(_) = next {
                end = next;
            }
        }
        end
    }

    async fn attempt(
        &self,
        run: &Run,
        tool: &Tool,
        attempt: u32,
        [begin_by, deadline]: [Instant; 2],
    ) -> End {
        let token = Workers::name(tool)
            .map_err(|error| error.to_string())
            .and_then(|worker| {
                let claim = Claim {
                    seq: run.claim_seq,
                    attempt,
                    worker,
                };
                let token = self.claims().sign(&run.permitted, claim, self.now());
                token.map_err(|error| error.to_string())
            });
        let token = match token {
            Ok(token) => token,
            Err(reason) => return End::failed("not_begun", reason),
        };
        let call = Call {
            tool,
            intent: run.approved.intent_id,
            input: run.permitted.input(),
            permit: &run.approved.permit,
            claim: &token,
            trace: outgoing_trace(&Span::current(), run.trace),
            begin_by,
            deadline,
        };
        self.workers().call(&call).await
    }
}
