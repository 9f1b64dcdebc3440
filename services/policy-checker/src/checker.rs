//! Carries each message to its end: a stored verdict, a stored refusal, or silence for a
//! copy of what was judged before.

use std::sync::Arc;
use std::time::Duration;

use countersign_domain::ledger::{Answer, Order};
use countersign_domain::policy::{self, Judgement, Known, Learnt, Outcome, Wish};
use countersign_domain::redact::Redactor;
use countersign_runtime::bus::metrics::alarm;
use countersign_runtime::bus::{Append, Bus, Failure, Handler, Incoming, Meta, Outgoing};
use countersign_runtime::clock::Clock;
use countersign_runtime::policy::{InForce, Policy};
use countersign_runtime::service::{ServiceContext, ServiceError};
use countersign_runtime::telemetry::TraceParent;
use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::events::{Charge, PolicyChecked, ToolRequested, Verdict};
use countersign_schemas::headers::CE_TYPE;
use countersign_schemas::{Address, AgentId, IntentId, ServiceId, Stream, Timestamp};
use futures::future::join_all;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::external;
use crate::facts::Facts;
use crate::holder::{Holder, holder};
use crate::intake::{self, Refusal};
use crate::judge::{Judge, Stored};
use crate::labels::{Labels, Marked};
use crate::lanes::Lanes;
use crate::ledgers::Ledgers;
use crate::mandates::Keeper;
use crate::{NAME, metrics, refusal};

/// From a decision to the end of its call at the longest: a permit's life of an hour, and
/// the five minutes and ten seconds of a lease.
const RUN_WITHIN: Duration = Duration::from_secs(3_600 + 310);
/// Times that a message which is not ours is overruled at the head of an id: more than
/// one means that somebody writes there on purpose, and a person must look.
const FOREIGN_HEADS_MAX: usize = 3;
/// The janitor purges nothing younger than the horizon and an hour.
const NEVER_PURGED: Duration = Duration::from_secs(3_600);
/// How long an intent waits for those before it that may still set labels: shorter than
/// the 30 s after which the server gives an intent to another checker.
const LANE_TIMEOUT: Duration = Duration::from_secs(20);
/// Deliveries of an intent whose labels cannot be stored before it is denied: a moment's
/// trouble of the server passes, and nobody waits for ever for a bucket that is full.
const MARKINGS_MAX: u64 = 4;

/// The checker's handler.
pub(crate) struct Checker {
    bus: Bus,
    clock: Arc<dyn Clock>,
    judge: Judge,
    mandates: Arc<Keeper>,
    ledgers: Arc<Ledgers>,
    /// One bundle is pushed at a time: each may take the memory of several.
    pushing: Mutex<()>,
    labels: Labels,
    facts: Facts,
    lanes: Arc<Lanes>,
    horizon: Duration,
    raw_retention: Duration,
    encoding: Encoding,
    source: ServiceId,
}

/// What a judgement does to rates and budgets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parts {
    /// It takes its parts.
    Taken,
    /// It only sees whether it holds them or could.
    Seen,
}

impl Checker {
    pub(crate) fn new(
        context: ServiceContext,
        judge: Judge,
        mandates: Arc<Keeper>,
        ledgers: Arc<Ledgers>,
        label_life: Duration,
    ) -> Result<Self, ServiceError> {
        Ok(Self {
            horizon: Duration::from_secs(context.deployment.horizon_s),
            raw_retention: Duration::from_secs(context.deployment.raw_retention_s),
            encoding: context.deployment.encoding,
            source: NAME.parse().map_err(ServiceError::failed)?,
            labels: Labels::new(
                &context.bus,
                label_life,
                Duration::from_secs(context.deployment.raw_retention_s),
            ),
            facts: Facts::new(&context.bus),
            lanes: Arc::default(),
            bus: context.bus,
            clock: context.clock,
            judge,
            mandates,
            ledgers,
            pushing: Mutex::new(()),
        })
    }

    /// The connection.
    pub(crate) fn bus(&self) -> &Bus {
        &self.bus
    }

    /// What follows the bundle in force.
    pub(crate) fn policy(&self) -> &Policy {
        &self.judge.policy
    }

    /// Held while a bundle is pushed.
    pub(crate) fn pushing(&self) -> &Mutex<()> {
        &self.pushing
    }

    /// Whose mandates count.
    pub(crate) fn mandates(&self) -> &Arc<Keeper> {
        &self.mandates
    }

    /// How long raw messages are kept: nothing that is asked may last longer.
    pub(crate) fn raw_retention(&self) -> Duration {
        self.raw_retention
    }

    /// The time of day.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn intent(&self, message: &Incoming, agent: &AgentId) -> Result<(), Failure> {
        let place = self.lanes.place(agent, message.seq);
        // No evidence, no action: what is left of the streams is for the ends of what runs.
        self.bus.require_room(&Stream::ARCHIVED).await?;
        let started = Instant::now();
        let request = match intake::read(&message.payload, message.header(CE_TYPE)) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(message, agent, refusal).await,
        };
        let mut late = intake::out_of_time(request.intent_id, message.stored_at, self.horizon);
        if late.is_none() {
            late = self.forgotten(request.intent_id).await?;
        }
        if let Some(late) = late {
            return self.out_of_time(message, agent, &request, late).await;
        }
        if let Some(telling) = intake::telling_name(&request, &self.judge.redactor) {
            return self.refuse(message, agent, telling).await;
        }
        let by = self.judge.in_force().await?;
        let place = Some(place).filter(|_| Judge::may_label(&by, &request.tool));
        let mandate = request.requester.mandate.as_deref();
        let issuers = self.mandates.issuers_for(mandate).await;
        let stored = Stored {
            agent,
            request: refusal::request_ref(message),
            at: message.stored_at,
            salt: rand::random(),
            issuers: &issuers,
            approval: None,
        };
        let mut judgement = self.judge_by(&by, &request, &stored, Parts::Taken).await;
        if !self.mark(message, &judgement).await? {
            judgement.checked = policy::without_labels(judgement.checked);
        }
        metrics::judged(judgement.checked.verdict, started.elapsed());
        drop(place);
        self.store(message, agent, judgement).await
    }

    /// Stores what the agent will have seen; `false` where it cannot be, so that the agent
    /// may not see it.
    async fn mark(&self, message: &Incoming, judgement: &Judgement) -> Result<bool, Failure> {
        let Some(marking) = &judgement.labels else {
            return Ok(true);
        };
        let at = message.stored_at;
        let seen = self.seen_at_the_latest(&judgement.checked, at);
        match self.labels.mark(marking, at, seen).await {
            Ok(marked) => Ok(marked == Marked::Stored),
            Err(failure) if message.deliveries < MARKINGS_MAX => Err(failure),
            Err(failure) => {
                alarm("labels_not_stored", &failure.to_string());
                Ok(false)
            }
        }
    }

    /// When a tool may have run at the latest that is allowed or asked now: after an outage
    /// it is judged long after it was stored, and people may take days.
    fn seen_at_the_latest(&self, checked: &PolicyChecked, stored_at: Timestamp) -> Timestamp {
        let asked = checked.ask.as_ref().map_or(0, |ask| ask.expires_in_s);
        let judged = stored_at.max(self.clock.now());
        judged.plus(Duration::from_secs(asked) + RUN_WITHIN)
    }

    /// Judges until nothing more must be learnt: each round learns everything that the one
    /// before it wished for, and the wishes of one judgement are bounded.
    pub(crate) async fn judge_by(
        &self,
        by: &InForce,
        request: &ToolRequested,
        stored: &Stored<'_>,
        parts: Parts,
    ) -> Judgement {
        let mut known = Known::after(stored.approval.clone());
        loop {
            match self.judge.judge(by, request, stored, &known) {
                Outcome::Judged(judgement) => return *judgement,
                Outcome::Wants(wishes) => {
                    // At once: each may take as long as its deadline.
                    let all = wishes
                        .iter()
                        .map(|wish| self.learn(request.intent_id, wish, stored, parts));
                    let learnt = join_all(all).await;
                    for (wish, learnt) in wishes.into_iter().zip(learnt) {
                        known.learn(wish, learnt);
                    }
                }
            }
        }
    }

    /// Looks into one wish. Whatever goes wrong is told, and the judgement fails closed.
    async fn learn(
        &self,
        intent: IntentId,
        wish: &Wish,
        stored: &Stored<'_>,
        parts: Parts,
    ) -> Learnt {
        match wish {
            Wish::Labels(holder) => {
                let first = self.lanes.first(stored.agent, stored.request.seq);
                match timeout(LANE_TIMEOUT, first).await {
                    Ok(()) => self.labels.seen(holder).await,
                    Err(_) => Err("an earlier intent is still being judged".to_owned()),
                }
            }
            Wish::Fact { key } => self.facts.look_up(key).await,
            Wish::External {
                name,
                deadline,
                body,
            } => external::ask(self.bus.client(), name, *deadline, body).await,
            Wish::Charge(order) => self.charge(intent, order, parts).await,
        }
    }

    async fn charge(&self, intent: IntentId, order: &Order, parts: Parts) -> Learnt {
        let answer = match parts {
            Parts::Taken => self.take(intent, order).await?,
            Parts::Seen => self.ledgers.peek(intent, order).await?,
        };
        serde_json::to_value(answer).map_err(|error| error.to_string())
    }

    /// Takes a part of a rate or budget. A copy of what was judged must not take it a second
    /// time; what is judged here is then refused when it is stored.
    async fn take(&self, intent: IntentId, order: &Order) -> Result<Answer, String> {
        match self.holder_of(intent).await {
            Ok(Some(Holder::Verdict(_))) => Err("the intent has its verdict already".to_owned()),
            Ok(Some(Holder::Foreign(_)) | None) => self.ledgers.take(intent, order).await,
            Err(error) => {
                tracing::warn!(%intent, %error, "nothing is taken for it");
                Err("the stream cannot be read".to_owned())
            }
        }
    }

    /// Stores a verdict, or finds out who holds the id already.
    async fn store(
        &self,
        message: &Incoming,
        agent: &AgentId,
        judgement: Judgement,
    ) -> Result<(), Failure> {
        let Judgement { checked, taken, .. } = judgement;
        let intent = checked.intent_id;
        let address = Address::PolicyChecked {
            agent: agent.clone(),
            intent,
        };
        let filter = Address::checked_filter(intent);
        let (verdict, code) = (checked.verdict, first_code(&checked));
        let outgoing = self.outgoing(&address, checked, &self.meta_for(message))?;
        let mut expected = 0;
        for _ in 0..FOREIGN_HEADS_MAX {
            match self.bus.append(outgoing.clone(), &filter, expected).await? {
                Append::Stored(seq) => {
                    // The stream is the record; a log line for each routine permit would
                    // cost more than judging it.
                    match verdict {
                        Verdict::Allow => tracing::debug!(%intent, %agent, %verdict, seq, "judged"),
                        Verdict::Ask | Verdict::Deny => {
                            tracing::info!(%intent, %agent, %verdict, code, seq, "judged");
                        }
                    }
                    self.keep(intent, &taken, outgoing.payload()).await;
                    return Ok(());
                }
                Append::Lost(head) => match holder(&head, intent) {
                    Holder::Verdict(held) => {
                        self.ledgers.stored(intent, &taken, &held).await;
                        return self.repeated(message, agent, intent, &held).await;
                    }
                    Holder::Foreign(seq) => expected = seq,
                },
            }
        }
        Err(Failure::transient(format!(
            "the id of intent {intent} is held by messages that are not ours"
        )))
    }

    /// Gives back what the verdict that is stored now does not rely on.
    async fn keep(&self, intent: IntentId, taken: &[Charge], stored: &[u8]) {
        if taken.is_empty() {
            return;
        }
        // What is stored decides, not what was meant to be.
        match codec::decode(stored) {
            Ok(checked) => self.ledgers.stored(intent, taken, &checked).await,
            Err(error) => tracing::warn!(%intent, %error, "parts are given back by the sweep"),
        }
    }

    /// The verdict as a message. Nothing that an agent sends may stop the service: what
    /// cannot be encoded is denied without its input.
    fn outgoing(
        &self,
        address: &Address,
        checked: PolicyChecked,
        meta: &Meta,
    ) -> Result<Outgoing, Failure> {
        Outgoing::event(address, &checked, meta).or_else(|failure| {
            alarm("verdict_not_encoded", &failure.to_string());
            Outgoing::event(address, &policy::without_input(checked), meta)
        })
    }

    /// An id out of time may still be a copy of what was judged in time.
    async fn out_of_time(
        &self,
        message: &Incoming,
        agent: &AgentId,
        request: &ToolRequested,
        late: Refusal,
    ) -> Result<(), Failure> {
        let intent = request.intent_id;
        match self.holder_of(intent).await? {
            Some(Holder::Verdict(held)) => self.repeated(message, agent, intent, &held).await,
            Some(Holder::Foreign(_)) | None => self.refuse(message, agent, late).await,
        }
    }

    /// Refuses an id that may have had a verdict which is purged by now. The janitor keeps
    /// what this horizon needs, so it is only met where another one was configured before.
    async fn forgotten(&self, intent: IntentId) -> Result<Option<Refusal>, Failure> {
        // Nothing younger than this is ever purged, so most ids ask nobody.
        if self.clock.now().since(intent.made_at()) < NEVER_PURGED {
            return Ok(None);
        }
        let events = self.bus.oldest(Stream::Events).await?;
        Ok(intake::forgotten(intent, events))
    }

    async fn holder_of(&self, intent: IntentId) -> Result<Option<Holder>, Failure> {
        let filter = Address::checked_filter(intent);
        let head = self.bus.last_by_subject(Stream::Events, &filter).await?;
        Ok(head.map(|head| holder(&head, intent)))
    }

    /// The id has its verdict: our own redelivery and a copy are done, all else is refused.
    async fn repeated(
        &self,
        message: &Incoming,
        agent: &AgentId,
        intent: IntentId,
        held: &PolicyChecked,
    ) -> Result<(), Failure> {
        if held.agent != *agent {
            let refusal = Refusal::conflict(intent, "by another agent");
            return self.refuse(message, agent, refusal).await;
        }
        let own = refusal::request_ref(message);
        if held.request == own {
            return Ok(());
        }
        // A sequence of another life of the stream names some other message.
        let same_life =
            held.request.stream == own.stream && held.request.incarnation == own.incarnation;
        let first = match same_life {
            true => self.bus.by_seq(message.stream, held.request.seq).await?,
            false => None,
        };
        match first {
            Some(first)
                if first.subject == message.subject
                    && intake::same_content(&first.payload, &message.payload) =>
            {
                metrics::copy();
                tracing::debug!(%intent, %agent, "a copy");
                Ok(())
            }
            Some(_) => {
                self.refuse(
                    message,
                    agent,
                    Refusal::conflict(intent, "with other content"),
                )
                .await
            }
            None => {
                let how = "by a message that is no longer stored, so the two cannot be compared";
                self.refuse(message, agent, Refusal::conflict(intent, how))
                    .await
            }
        }
    }

    async fn refuse(
        &self,
        message: &Incoming,
        agent: &AgentId,
        refusal: Refusal,
    ) -> Result<(), Failure> {
        let code = refusal.code;
        let event = refusal::event(message, agent, refusal, &self.judge.redactor);
        let address = refusal::address(message, agent);
        let outgoing = Outgoing::event(&address, &event, &self.meta_for(message))?;
        self.bus.store_once(outgoing).await?;
        metrics::refused(code);
        tracing::info!(%agent, seq = message.seq, %code, "refused");
        Ok(())
    }

    fn meta_for(&self, message: &Incoming) -> Meta {
        let trace = TraceParent::in_headers(&message.headers);
        Meta {
            traceparent: trace.map(|trace| trace.to_string()),
            ..self.meta()
        }
    }
}

impl Handler for Checker {
    fn arrives(&self, address: &Address, seq: u64) {
        if let Address::ToolRequested { agent } = address {
            self.lanes.enter(agent, seq);
        }
    }

    async fn handle(&self, message: Incoming) -> Result<(), Failure> {
        match &message.address {
            Address::ToolRequested { agent } => self.intent(&message, &agent.clone()).await,
            _ => Err(Failure::poison(format!(
                "`{}` is not an intent",
                message.address.event()
            ))),
        }
    }

    fn redactor(&self) -> &Redactor {
        &self.judge.redactor
    }

    fn meta(&self) -> Meta {
        Meta {
            source: self.source.clone(),
            encoding: self.encoding,
            claimed_at: self.clock.now(),
            traceparent: None,
        }
    }
}

/// The code that a log line names; of a deny it says why.
fn first_code(checked: &PolicyChecked) -> Option<String> {
    let first = checked
        .reasons
        .first()
        .filter(|_| checked.verdict == Verdict::Deny);
    first.map(|reason| reason.code.clone())
}
