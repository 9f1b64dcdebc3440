//! What every part of the coordinator shares: the connection, the desk that decides, who
//! is who, and the ways to store.

use std::sync::Arc;

use async_nats::HeaderMap;
use countersign_domain::approvals::{Approval, People};
use countersign_domain::chain::{Head, Last, is_unreadable};
use countersign_domain::decision::Desk;
use countersign_domain::handoff::Writer;
use countersign_domain::redact::Redactor;
use countersign_runtime::bus::layout::{APPROVALS, WINDOWS};
use countersign_runtime::bus::{
    Append, Bucket, Bus, Failure, Incoming, Meta, Outgoing, StoredMessage, metrics,
};
use countersign_runtime::clock::Clock;
use countersign_runtime::health::HealthHandle;
use countersign_runtime::policy::Policy;
use countersign_runtime::service::{ClockTrust, ServiceContext, ServiceError};
use countersign_runtime::telemetry::TraceParent;
use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::events::{Handoff, PolicyChecked};
use countersign_schemas::{
    Address, AgentId, ApprovalId, Event, IntentId, ServiceId, Stream, headers,
};
use tokio_util::sync::CancellationToken;

use crate::freezes::Board;
use crate::kept::{Held, known};
use crate::pending::Pending;
use crate::settings::{Companies, Company, Equipment};
use crate::windows::Windows;

/// How often a write that lost is tried on the new state before the input is given back:
/// each loss means that somebody else moved on.
pub(crate) const TRIES: usize = 16;

/// How much longer than the idempotency horizon an approval stays that has come to its
/// end: as long as the stream keeps its intent's chain, so that a late vote still learns
/// who decided.
const SETTLED_BEYOND_HORIZON: std::time::Duration = std::time::Duration::from_secs(3_600);

/// The shared state of one coordinator.
pub(crate) struct Office {
    pub(crate) bus: Bus,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) clock_trust: ClockTrust,
    pub(crate) shutdown: CancellationToken,
    pub(crate) health: HealthHandle,
    pub(crate) desk: Desk,
    pub(crate) policy: Option<Policy>,
    companies: Companies,
    pub(crate) pending: Pending,
    /// The bundles whose items are still being checked.
    pub(crate) bundles: Pending,
    /// Held while an item is taken into its bundle.
    pub(crate) gathering: tokio::sync::Mutex<()>,
    pub(crate) bundle_wait: std::time::Duration,
    pub(crate) freezes: Board,
    /// How long after it was last stored a freeze in force is stored again.
    pub(crate) freeze_again_after: std::time::Duration,
    pub(crate) approvals: Bucket,
    pub(crate) windows: Windows,
    pub(crate) windows_bucket: Bucket,
    pub(crate) permit_life: std::time::Duration,
    pub(crate) settled_life: std::time::Duration,
    pub(crate) started_at: countersign_schemas::Timestamp,
    pub(crate) redactor: Redactor,
    redact: Redact,
    link_base: Option<String>,
    source: ServiceId,
    encoding: Encoding,
}

/// Takes personal data and secrets out of a text.
type Redact = Box<dyn Fn(&str) -> String + Send + Sync>;

fn text_of(redactor: Redactor) -> Redact {
    Box::new(move |text| redactor.text(text).text)
}

impl Office {
    pub(crate) fn new(context: ServiceContext, equipment: Equipment) -> Result<Self, ServiceError> {
        Ok(Self {
            approvals: Bucket::new(&context.bus, APPROVALS),
            windows: Windows::default(),
            windows_bucket: Bucket::new(&context.bus, WINDOWS),
            started_at: context.clock.now(),
            bus: context.bus,
            clock: context.clock,
            clock_trust: context.clock_trust,
            shutdown: context.shutdown.child_token(),
            health: context.health,
            desk: equipment.desk,
            companies: equipment.people,
            policy: equipment.policy,
            pending: Pending::default(),
            bundles: Pending::default(),
            gathering: tokio::sync::Mutex::new(()),
            bundle_wait: equipment.bundle_wait,
            freezes: Board::default(),
            // Half, so that one that fails leaves as much time again.
            freeze_again_after: std::time::Duration::from_secs(context.deployment.horizon_s) / 2,
            permit_life: equipment.permit_life,
            settled_life: SETTLED_BEYOND_HORIZON
                + std::time::Duration::from_secs(context.deployment.horizon_s),
            redact: text_of(equipment.redactor.clone()),
            redactor: equipment.redactor,
            link_base: equipment.link_base,
            source: crate::NAME.parse().map_err(ServiceError::failed)?,
            encoding: context.deployment.encoding,
        })
    }

    /// What we say of ourselves, in the trace of `cause`.
    pub(crate) fn meta(&self, traceparent: Option<&str>) -> Meta {
        Meta {
            source: self.source.clone(),
            encoding: self.encoding,
            claimed_at: self.clock.now(),
            traceparent: traceparent.map(str::to_owned),
        }
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        (self.redact)(text)
    }

    /// Makes sure that nobody counts as unknown only because the bundle could not be asked
    /// for during an outage.
    ///
    /// # Errors
    /// While it cannot be: whatever goes by people or rules waits for it.
    pub(crate) async fn rules_known(&self) -> Result<(), Failure> {
        let Some(policy) = &self.policy else {
            return Ok(());
        };
        let wanted = policy.wanted().await.map(drop);
        wanted.map_err(|behind| Failure::transient(behind.to_string()))
    }

    /// Who is in which team now. Take it once for each piece of work.
    pub(crate) fn people(&self) -> Company {
        (self.companies)()
    }

    pub(crate) fn writer<'a>(
        &'a self,
        people: &'a (dyn People + Send + Sync),
    ) -> Writer<'a, dyn People + Send + Sync + 'a> {
        Writer::new(people, self.redact.as_ref())
    }

    /// Where people open an approval.
    pub(crate) fn link(&self, id: &ApprovalId) -> Option<String> {
        self.link_base.as_ref().map(|base| format!("{base}{id}"))
    }

    /// Stores an event once under its own subject. Finding it there already is success.
    pub(crate) async fn say<E: Event>(
        &self,
        address: &Address,
        event: &E,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let subject = address.subject();
        let mut expected = 0;
        for _ in 0..TRIES {
            let out = Outgoing::event(address, event, &self.meta(trace))?;
            match self.bus.append(out, subject.as_str(), expected).await? {
                Append::Stored(_) => return Ok(()),
                Append::Lost(found) if is_type::<E>(&found) => return Ok(()),
                Append::Lost(found) => {
                    metrics::alarm("foreign_message", subject.as_str());
                    expected = found.seq;
                }
            }
        }
        Err(Failure::transient(format!("cannot store `{subject}`")))
    }

    /// What was said there, if that is one of ours.
    pub(crate) async fn said<E: Event>(&self, address: &Address) -> Result<Option<E>, Failure> {
        let subject = address.subject();
        let last = self
            .bus
            .last_by_subject(Stream::Events, subject.as_str())
            .await?;
        Ok(last.and_then(|last| decode(last.header(headers::CE_TYPE), &last.payload).ok()))
    }

    /// Whether the last message of a subject says that it is one of ours.
    pub(crate) async fn stands<E: Event>(&self, address: &Address) -> Result<bool, Failure> {
        let subject = address.subject();
        let last = self
            .bus
            .last_by_subject(Stream::Events, subject.as_str())
            .await?;
        Ok(last.as_ref().is_some_and(is_type::<E>))
    }

    /// Stores a handoff about `id`, once.
    pub(crate) async fn hand_off(
        &self,
        mut handoff: Handoff,
        id: &str,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        handoff.link = handoff.approval_id.as_ref().and_then(|id| self.link(id));
        let address = countersign_domain::handoff::address(&handoff, id)
            .ok_or_else(|| Failure::fatal(format!("`{id}` is not the id of a handoff")))?;
        self.say(&address, &handoff, trace).await
    }

    /// The head of an intent's chain, from the leader.
    pub(crate) async fn head(&self, agent: &AgentId, intent: IntentId) -> Result<Head, Failure> {
        let filter = Address::chain_filter(agent, intent);
        let last = self.bus.last_by_subject(Stream::Events, &filter).await?;
        Ok(read_head(last.as_ref(), agent, intent))
    }

    /// Stores the next message of an intent's chain if the last one is still `expected`;
    /// else the head that stands there. A head that is none of ours is an alarm, and our
    /// message follows it.
    pub(crate) async fn extend<E: Event>(
        &self,
        link: &Link<'_>,
        event: &E,
        expected: u64,
    ) -> Result<Extended, Failure> {
        let filter = Address::chain_filter(link.agent, link.intent);
        let mut expected = expected;
        for _ in 0..TRIES {
            let out = Outgoing::event(&link.address, event, &self.meta(link.trace))?;
            let found = match self.bus.append(out, &filter, expected).await? {
                Append::Stored(_) => return Ok(Extended::Stored),
                Append::Lost(found) => found,
            };
            readable(&found.as_last())?;
            match read_head(Some(&found), link.agent, link.intent) {
                Head::NotOurs { seq } => {
                    metrics::alarm("foreign_message", &filter);
                    expected = seq;
                }
                head => return Ok(Extended::Lost(head)),
            }
        }
        Err(Failure::transient(format!(
            "cannot store `{}`",
            link.address.subject()
        )))
    }

    /// The stored verdict on an intent, if it is ours.
    pub(crate) async fn verdict(
        &self,
        agent: &AgentId,
        intent: IntentId,
    ) -> Result<Option<(PolicyChecked, StoredMessage)>, Failure> {
        let filter = Address::checked_filter(intent);
        let Some(found) = self.bus.last_by_subject(Stream::Events, &filter).await? else {
            return Ok(None);
        };
        let read = decode::<PolicyChecked>(found.header(headers::CE_TYPE), &found.payload).ok();
        let own = format!("policy.checked.{agent}.{intent}");
        let fits = |checked: &PolicyChecked| {
            found.subject == own && checked.agent == *agent && checked.intent_id == intent
        };
        Ok(read.filter(fits).map(|checked| (checked, found)))
    }

    /// An approval, from the leader.
    pub(crate) async fn held(&self, id: &ApprovalId) -> Result<Option<Held<Approval>>, Failure> {
        let Some(entry) = self.approvals.get(id.as_str()).await? else {
            return Ok(None);
        };
        let value = known(&format!("approval {id}"), Approval::read(&entry.value))?;
        let revision = entry.revision;
        Ok(Some(Held { value, revision }))
    }

    /// Stores a changed approval; `None` if somebody else changed it first.
    pub(crate) async fn keep(&self, held: &Held<Approval>) -> Result<Option<u64>, Failure> {
        let (approval, bucket) = (&held.value, &self.approvals);
        let settled = approval.is_settled();
        self.store(bucket, approval.id().as_str(), held, settled)
            .await
    }

    /// Refuses to go on while our clock is not known to agree with the server's: a permit
    /// would carry a wrong time.
    pub(crate) fn trust_clock(&self) -> Result<(), Failure> {
        if self.clock_trust.is_trusted() {
            return Ok(());
        }
        Err(Failure::transient_in(
            "the clock is not known to agree with the server's, so nothing is signed",
            std::time::Duration::from_secs(2),
        ))
    }
}

/// Where the next message of a chain goes.
pub(crate) struct Link<'a> {
    pub(crate) address: Address,
    pub(crate) agent: &'a AgentId,
    pub(crate) intent: IntentId,
    pub(crate) trace: Option<&'a str>,
}

/// What came of storing on a chain.
pub(crate) enum Extended {
    /// Our message is there.
    Stored,
    /// This one of ours stood there first.
    Lost(Head),
}

/// The trace that a message belongs to.
pub(crate) fn trace_of(message: &Incoming) -> Option<String> {
    trace_in(&message.headers)
}

/// The trace in `headers`, written anew: whatever else a sender put there goes no further,
/// neither into our events nor into logs.
pub(crate) fn trace_in(headers: &HeaderMap) -> Option<String> {
    TraceParent::in_headers(headers).map(|trace| trace.to_string())
}

/// A body whose `ce-type` says what it is. One of our own services' messages without it
/// is none.
pub(crate) fn decode<E: Event>(ce_type: Option<&str>, body: &[u8]) -> Result<E, String> {
    let expected = headers::ce_type::<E>();
    if ce_type != Some(expected.as_str()) {
        return Err(format!("the message does not say that it is `{expected}`"));
    }
    codec::decode(body).map_err(|error| format!("the body is no {}: {error}", E::NAME))
}

/// A body written by a person or agent, who may leave the `ce-type` out but not say
/// something else.
pub(crate) fn decode_outside<E: Event>(message: &Incoming) -> Result<E, String> {
    let expected = headers::ce_type::<E>();
    let said = message.header(headers::CE_TYPE).unwrap_or(&expected);
    if message.payload.len() > countersign_schemas::limits::BODY_BYTES_MAX {
        return Err(format!("the body is too large for {}", E::NAME));
    }
    decode(Some(said), &message.payload)
}

/// How long a message of ours waits that this version cannot read.
const UNREADABLE_RETRY: std::time::Duration = std::time::Duration::from_secs(30);

/// Gives the input back, with an alarm, where a message is one of ours that this version
/// cannot read: a newer service wrote it. It is neither foreign nor poison.
pub(crate) fn readable(last: &Last<'_>) -> Result<(), Failure> {
    if !is_unreadable(last) {
        return Ok(());
    }
    let (seq, subject) = (last.seq, last.subject);
    let what = format!("this version cannot read message {seq} on `{subject}`");
    metrics::alarm("unreadable_message", &what);
    Err(Failure::transient_in(what, UNREADABLE_RETRY))
}

/// Whether a message says that it is an event of this type.
pub(crate) fn is_type<E: Event>(found: &StoredMessage) -> bool {
    found.header(headers::CE_TYPE) == Some(headers::ce_type::<E>().as_str())
}

pub(crate) fn read_head(found: Option<&StoredMessage>, agent: &AgentId, intent: IntentId) -> Head {
    Head::read(found.map(StoredMessage::as_last), agent, intent)
}
