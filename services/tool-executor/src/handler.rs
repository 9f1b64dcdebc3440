//! From a stored decision to the one claim on it, or to its revocation.

use std::sync::Arc;
use std::time::Duration;

use countersign_domain::decision;
use countersign_domain::permit::{ClaimSigner, Permitted};
use countersign_domain::policy::Bundle;
use countersign_domain::redact::Redactor;
use countersign_runtime::bus::{
    Bus, Failure, Handler, Incoming, Meta, StoredMessage, metrics as bus_metrics,
};
use countersign_runtime::fingerprints;
use countersign_runtime::policy::{InForce, Policy};
use countersign_runtime::service::{ServiceContext, ServiceError};
use countersign_runtime::telemetry::{TraceParent, continue_trace, outgoing_trace};
use countersign_schemas::events::{RequestRef, RevokedCode, ToolApproved, ToolStarted};
use countersign_schemas::{Address, ServiceId, Stream, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use crate::call::Workers;
use crate::chain::{self, Link, Stored};
use crate::examine::{Examined, Refusal, Trust, examine, in_time, read_approved};
use crate::fence::Fence;
use crate::keys::Keys;
use crate::metrics;
use crate::recheck::{self, Said};
use crate::run::Run;
use crate::settings::Settings;
use crate::spool::{Spool, SpoolError};

/// How much longer than the call a claim lasts: room to tell how it ended.
const LEASE_EXTRA: Duration = Duration::from_secs(10);
/// How long a decision waits for a free run before it is given to whoever is free: well
/// below the 30 s after which the server would deliver it a second time by itself.
const SLOT_WAIT: Duration = Duration::from_secs(10);
/// Pause before a decision comes again while our clock is wrong.
const CLOCK_RETRY: Duration = Duration::from_secs(5);
/// Pause before a decision comes again while it is not known which bundle is in force.
const NO_BUNDLE_RETRY: Duration = Duration::from_secs(2);
/// Times that a checker is asked about one decision: once, and once more where it judged by
/// another bundle, since one of the two may have just been behind.
const RECHECKS_MAX: usize = 2;

/// The executor: what is needed to claim and to run.
#[derive(Debug)]
pub(crate) struct Executor {
    context: Context,
    id: ServiceId,
    source: ServiceId,
    policy: Policy,
    redactor: Redactor,
    keys: Keys,
    workers: Workers,
    spool: Spool,
    fence: Arc<Fence>,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// The service context, printable without what it connects to.
struct Context(ServiceContext);

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Context").field(&self.0.bus.name()).finish()
    }
}

impl Executor {
    pub(crate) fn new(
        context: ServiceContext,
        settings: Settings,
        policy: Policy,
    ) -> Result<Self, ServiceError> {
        let client = context.bus.client().clone();
        let keys = Keys::follow(&context, &settings);
        if let Some(dir) = &settings.keys_dir {
            fingerprints::follow(&context, dir, &settings.redactor);
        }
        Ok(Self {
            source: context
                .bus
                .name()
                .parse()
                .map_err(ServiceError::configured)?,
            context: Context(context),
            id: settings.id,
            policy,
            redactor: settings.redactor,
            keys,
            workers: Workers::new(client, settings.http).map_err(ServiceError::Failed)?,
            spool: Spool::open(&settings.spool_dir)?,
            fence: Fence::new(),
            slots: Arc::new(Semaphore::new(settings.max_running)),
            tasks: TaskTracker::new(),
        })
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.context.0.bus
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.context.0.clock.now()
    }

    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(crate) fn claims(&self) -> &ClaimSigner {
        self.keys.claims()
    }

    pub(crate) fn workers(&self) -> &Workers {
        &self.workers
    }

    pub(crate) fn fence(&self) -> Arc<Fence> {
        Arc::clone(&self.fence)
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(crate) fn own_meta(&self) -> Meta {
        Meta {
            source: self.source.clone(),
            encoding: self.context.0.deployment.encoding,
            claimed_at: self.now(),
            traceparent: None,
        }
    }

    /// Works on the spool away from the threads that must not block.
    pub(crate) async fn in_spool<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Spool) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        let spool = self.spool.clone();
        let done = tokio::task::spawn_blocking(move || work(&spool)).await;
        done.unwrap_or_else(|error| Err(SpoolError::Stopped(error.to_string())))
    }

    /// Waits for the runs that are under way.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn slot(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let free = Arc::clone(&self.slots).acquire_owned();
        match tokio::time::timeout(SLOT_WAIT, free).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) => Err(Failure::transient("the executor is closing")),
            Err(_) => Err(Failure::transient("every run is taken")),
        }
    }

    /// The raw request, if it is still there in the life of the stream that was judged.
    async fn request(&self, request: &RequestRef) -> Result<Option<StoredMessage>, Failure> {
        let bus = self.bus();
        let same_life = request.stream == Stream::Intents.name()
            && bus.incarnation(Stream::Intents).await? == request.incarnation;
        if !same_life {
            return Ok(None);
        }
        Ok(bus.by_seq(Stream::Intents, request.seq).await?)
    }

    async fn revoke(
        &self,
        approved: &ToolApproved,
        seq: u64,
        refusal: &Refusal,
        trace: Option<TraceParent>,
    ) -> Result<(), Failure> {
        let (agent, intent) = (&approved.agent, approved.intent_id);
        if refusal.alarming {
            bus_metrics::alarm(
                "approval_refused",
                &format!("{intent}: {}", refusal.message),
            );
        }
        let event = decision::revoked(approved, refusal.code, &refusal.message);
        let link = Link {
            agent,
            intent,
            address: Address::ToolRevoked {
                agent: agent.clone(),
                intent,
            },
            expected: seq,
            id: &chain::message_id(),
            event: &event,
        };
        match chain::store(self.bus(), link, &self.meta_in(trace)).await? {
            Stored::Ours(_) => {
                tracing::info!(code = %refusal.code, reason = refusal.message, "revoked");
                metrics::revoked(refusal.code);
            }
            Stored::Theirs => metrics::claim_lost(),
        }
        Ok(())
    }

    /// Stores the claim under this message id; its sequence if it is ours.
    async fn claim(
        &self,
        approved: &ToolApproved,
        lease: Duration,
        (seq, id): (u64, &str),
        trace: Option<TraceParent>,
    ) -> Result<Option<u64>, Failure> {
        let (agent, intent) = (&approved.agent, approved.intent_id);
        let event = ToolStarted {
            schema_version: 1,
            intent_id: intent,
            agent: agent.clone(),
            tool: approved.tool.clone(),
            executor: self.id.clone(),
            lease_until: self.now().plus(lease),
        };
        let link = Link {
            agent,
            intent,
            address: Address::ToolStarted {
                agent: agent.clone(),
                intent,
            },
            expected: seq,
            id,
            event: &event,
        };
        match chain::store(self.bus(), link, &self.meta_in(trace)).await? {
            Stored::Ours(claim_seq) => Ok(Some(claim_seq)),
            Stored::Theirs => {
                metrics::claim_lost();
                Ok(None)
            }
        }
    }

    fn meta_in(&self, trace: Option<TraceParent>) -> Meta {
        let trace = outgoing_trace(&Span::current(), trace);
        Meta {
            traceparent: trace.map(|trace| trace.to_string()),
            ..self.own_meta()
        }
    }

    async fn checked<'b>(
        &'b self,
        bundle: &'b Bundle,
        approved: &ToolApproved,
        stored: Option<&StoredMessage>,
    ) -> Result<Examined<'b>, Refusal> {
        let trust = Trust {
            permits: self.keys.permits_for(&approved.permit).await,
            deployment: self.context.0.deployment.name.as_str(),
            bundle,
            redactor: &self.redactor,
        };
        examine(&trust, approved, stored, self.now())
    }

    /// The bundle to run a decision by. Where it was judged by another than ours, the
    /// leader is asked first: it may be we who are behind.
    async fn bundle_for(&self, approved: &ToolApproved) -> Result<Arc<InForce>, Failure> {
        let now = self.policy.now();
        match now.bundle() {
            Ok(bundle) if bundle.digest() == approved.policy_digest => Ok(now),
            Ok(_) | Err(_) => self.refreshed().await,
        }
    }

    async fn refreshed(&self) -> Result<Arc<InForce>, Failure> {
        let asked = self.policy.refresh().await;
        asked.map_err(|behind| Failure::transient_in(behind.to_string(), NO_BUNDLE_RETRY))
    }

    /// Every check before the claim, by one bundle and, where another judged the decision,
    /// by a checker that goes by the same one.
    async fn passed(
        &self,
        approved: &ToolApproved,
        stored: Option<&StoredMessage>,
    ) -> Result<Passed, Halt> {
        let mut by = self.bundle_for(approved).await?;
        for _ in 0..RECHECKS_MAX {
            let bundle = by.bundle().map_err(|why| {
                Failure::transient_in(format!("no policy bundle: {why}"), NO_BUNDLE_RETRY)
            })?;
            let examined = self.checked(bundle, approved, stored).await?;
            let tool = examined.tool;
            if !examined.recheck
                || recheck::ask(self.bus(), approved, tool, bundle.digest()).await? == Said::Runs
            {
                return Ok(Passed {
                    lease: tool.timeout() + LEASE_EXTRA,
                    until: examined.until,
                    permitted: examined.permitted,
                    by: Arc::clone(&by),
                });
            }
            by = self.refreshed().await?;
        }
        Err(recheck::disagreed().into())
    }
}

/// What may be claimed.
struct Passed {
    by: Arc<InForce>,
    permitted: Permitted,
    lease: Duration,
    until: Timestamp,
}

/// Why something is not claimed now.
enum Halt {
    /// It never will be: it is revoked.
    Refused(Refusal),
    /// It comes again.
    Failed(Failure),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The consumer's handler: shares the executor with the runs that outlive a delivery.
pub(crate) struct Decisions(pub(crate) Arc<Executor>);

impl Handler for Decisions {
    async fn handle(&self, message: Incoming) -> Result<(), Failure> {
        let approved = read_approved(&message).map_err(|reason| {
            bus_metrics::alarm("forged_decision", &format!("{}: {reason}", message.subject));
            Failure::poison(reason)
        })?;
        let span = span_of(&approved);
        let trace = TraceParent::in_headers(&message.headers);
        continue_trace(&span, trace);
        self.decided(approved, message.seq, trace)
            .instrument(span)
            .await
    }

    fn redactor(&self) -> &Redactor {
        self.0.redactor()
    }

    fn meta(&self) -> Meta {
        self.0.own_meta()
    }
}

/// The span of a run. It names no requester: that is a person, and a log outlives them.
fn span_of(approved: &ToolApproved) -> Span {
    tracing::info_span!(
        "run",
        intent = %approved.intent_id,
        agent = %approved.agent,
        tool = %approved.tool,
    )
}

impl Decisions {
    async fn decided(
        &self,
        approved: ToolApproved,
        seq: u64,
        trace: Option<TraceParent>,
    ) -> Result<(), Failure> {
        let executor = &self.0;
        if !executor.context.0.clock_trust.is_trusted() {
            let why = "nothing is claimed while the clock is wrong";
            return Err(Failure::transient_in(why, CLOCK_RETRY));
        }
        let slot = executor.slot().await?;
        let stored = executor.request(&approved.request).await?;
        let Passed {
            by,
            permitted,
            lease,
            until,
        } = match executor.passed(&approved, stored.as_ref()).await {
            Ok(passed) => passed,
            Err(Halt::Refused(refusal)) => {
                return executor.revoke(&approved, seq, &refusal, trace).await;
            }
            Err(Halt::Failed(failure)) => return Err(failure),
        };
        // No evidence, no action: what is left of the stream is for outcomes and revocations.
        executor.bus().require_room(&[Stream::Events]).await?;
        executor.fence.stands().await?;
        if let Some(why) = executor.fence.voids(&approved, seq) {
            let refusal = Refusal::ordinary(RevokedCode::Frozen, &why);
            return executor.revoke(&approved, seq, &refusal, trace).await;
        }
        // A checker that thinks, or a fence that is down, may have taken all the time there was.
        if let Err(refusal) = in_time(until, executor.now()) {
            return executor.revoke(&approved, seq, &refusal, trace).await;
        }
        let (claimed, id) = (Instant::now(), chain::message_id());
        let passage = executor.fence.expect(&id, &approved, seq, claimed)?;
        let stored = executor.claim(&approved, lease, (seq, &id), trace).await?;
        let Some(claim_seq) = stored else {
            return Ok(());
        };
        let run = Run {
            by,
            approved,
            permitted,
            claim_seq,
            claimed,
            passage,
            trace,
        };
        // The claim is stored, so the decision is done with; the run lives on by itself.
        let executor = Arc::clone(executor);
        let running = async move {
            executor.run(run).await;
            drop(slot);
        };
        self.0.tasks.spawn(running.in_current_span());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture;

    #[test]
    fn a_log_line_of_a_run_names_no_person() {
        let bundle = fixture::bundle();
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let raw = fixture::requested("crm.read", json!({"id": "C-1"}), now);
        let approved = fixture::approved(&raw, &bundle, fixture::reference(1), now);
        let all = tracing_subscriber::registry();
        let span = tracing::subscriber::with_default(all, || span_of(&approved));
        let fields = span.metadata().unwrap().fields();
        let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
        assert_eq!(names, ["intent", "agent", "tool"]);
    }
}
