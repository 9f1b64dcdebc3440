//! One claimed run: its attempts, within its lease.

use std::time::Duration;

use countersign_domain::permit::{Claim, Permitted};
use countersign_domain::policy::Tool;
use countersign_runtime::telemetry::{TraceParent, outgoing_trace};
use countersign_schemas::events::ToolApproved;
use tokio::time::Instant;
use tracing::Span;

use crate::call::{Call, End, Workers};
use crate::handler::Executor;
use crate::{chain, metrics, outcome, spool};

/// Past this after the claim was sent nothing is begun any more: whatever held it up may
/// have outlasted a freeze or the lease.
const BEGIN_WITHIN: Duration = Duration::from_secs(2);
/// Attempts of an idempotent tool: enough to outlast a restart of its worker.
const ATTEMPTS_MAX: u32 = 5;
/// Pause before the second attempt; it doubles.
const BACKOFF: Duration = Duration::from_millis(200);

/// A claim that is ours.
#[derive(Debug)]
pub(crate) struct Run {
    /// The decision.
    pub(crate) approved: ToolApproved,
    /// The proof that it may run.
    pub(crate) permitted: Permitted,
    /// The sequence of the claim.
    pub(crate) claim_seq: u64,
    /// When the claim was sent.
    pub(crate) claimed: Instant,
    /// Trace context of the decision.
    pub(crate) trace: Option<TraceParent>,
}

impl Executor {
    /// Calls the worker and tells how it ended.
    pub(crate) async fn run(&self, run: Run) {
        metrics::run_started();
        let ended = match self.tool(&run.approved.tool) {
            Some(tool) => {
                let end = self.attempts(&run, tool).await;
                let expose = &run.permitted.claims().expose;
                let took = run.claimed.elapsed();
                outcome::completed(self.redactor(), tool, expose, &run.approved, &end, took)
            }
            // INVARIANT: `examine` found the tool in the same bundle, which never changes.
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
        if run.claimed.elapsed() > BEGIN_WITHIN {
            return End::failed(
                "not_begun",
                "storing the claim took too long to begin safely",
            );
        }
        let deadline = run.claimed + tool.timeout();
        let mut attempt = 1;
        let mut pause = BACKOFF;
        loop {
            let end = self.attempt(run, tool, attempt, deadline).await;
            let again = matches!(end, End::Unknown(_))
                && tool.idempotent()
                && attempt < ATTEMPTS_MAX
                && Instant::now() + pause < deadline;
            if !again {
                return end;
            }
            tracing::info!(attempt, "trying an idempotent tool again");
            tokio::time::sleep(pause).await;
            attempt += 1;
            pause *= 2;
        }
    }

    async fn attempt(&self, run: &Run, tool: &Tool, attempt: u32, deadline: Instant) -> End {
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
            deadline,
        };
        self.workers().call(&call).await
    }
}
