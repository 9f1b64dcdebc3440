//! What is frozen, followed from the log, and stored again while it lasts.
//!
//! A decision is checked against what this coordinator knows. Another one may have stored
//! a freeze a moment ago that has not come here yet; what is decided in that moment is
//! stopped by the executor, which asks the log itself.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use countersign_domain::approvals::Approval;
use countersign_domain::decision::Decision;
use countersign_domain::freeze::{
    Again, Effect, Freeze, FreezeView, Freezes, Placed, Target, Void, frozen, read, stopped,
};
use countersign_runtime::bus::metrics;
use countersign_runtime::bus::{
    Append, BusError, Failure, Followed, Outgoing, ReplayFrom, Source, StoredMessage,
};
use countersign_runtime::health::HealthPart;
use countersign_schemas::events::{FreezeScope, PolicyChecked};
use countersign_schemas::{ApprovalId, Stream, Timestamp};
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::counters;
use crate::office::Office;

/// Everything that says what is frozen.
const FILTER: &str = "control.applied.>";
/// How often it is looked whether a freeze must be stored again.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Pause of whatever waits until the freezes are known.
const NOT_KNOWN_RETRY: Duration = Duration::from_millis(250);
/// How long the end of an order waits until the order is known here, before all of it is
/// tried again: both come from the same log within milliseconds.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// What this coordinator knows of freezes.
#[derive(Debug, Default)]
pub(crate) struct Board {
    known: RwLock<Known>,
    /// How far in the log it goes.
    at: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Known {
    freezes: Freezes,
    whole: bool,
}

impl Board {
    fn change<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        // No step of a change can panic half-way, so a poisoned board is still whole.
        with(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the freezes, once all that were stored before the start are known.
    fn look<T>(&self, at: impl FnOnce(&Freezes) -> T) -> Result<T, Failure> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if !known.whole {
            let why = "it is not known yet what is frozen";
            return Err(Failure::transient_in(why, NOT_KNOWN_RETRY));
        }
        Ok(at(&known.freezes))
    }

    /// Waits until the order that the log holds at `seq` is known here.
    ///
    /// # Errors
    /// When it does not come in time.
    pub(crate) async fn comes_to(&self, seq: u64) -> Result<(), Failure> {
        let mut at = self.at.subscribe();
        match timeout(KNOWN_WITHIN, at.wait_for(|at| *at >= seq)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Failure::transient("an order has not come here yet")),
        }
    }

    /// The freeze that covers an intent.
    ///
    /// # Errors
    /// While it is not known what is frozen.
    pub(crate) fn covers(&self, target: &Target<'_>) -> Result<Option<Void>, Failure> {
        self.look(|freezes| freezes.covers(target))
    }

    /// Whether a freeze of `scope` may be added where `most` are in force.
    ///
    /// # Errors
    /// While it is not known what is frozen.
    pub(crate) fn takes(&self, scope: &FreezeScope, most: usize) -> Result<bool, Failure> {
        self.look(|freezes| freezes.takes(scope, most))
    }

    /// Every freeze in force, the oldest first.
    ///
    /// # Errors
    /// While it is not known what is frozen.
    pub(crate) fn in_force(&self) -> Result<Vec<Freeze>, Failure> {
        let mut all = self.look(|freezes| freezes.in_force().cloned().collect::<Vec<_>>())?;
        all.sort_by(|one, other| (one.since, &one.scope).cmp(&(other.since, &other.scope)));
        Ok(all)
    }
}

/// Keeps the board until shutdown.
pub(crate) async fn follow(office: Arc<Office>) -> Result<(), BusError> {
    let shutdown = office.shutdown.clone();
    shutdown.run_until_cancelled(keep(&office)).await;
    Ok(())
}

async fn keep(office: &Office) {
    let part = office.health.part("freezes");
    let source = Source {
        what: "the freezes",
        stream: Stream::Events.name().to_owned(),
        filters: vec![FILTER.to_owned()],
        from: ReplayFrom::Start,
    };
    let mut feed = office.bus.follow(source, &part);
    let mut fresh = Freezes::default();
    let mut caught_up = false;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            Some(next) = feed.next() => {
                match next {
                    Followed::Message(message) => {
                        take_in(&mut fresh, &message);
                    }
                    Followed::CaughtUp => caught_up = true,
                    Followed::Broken => {
                        // From the start again: the stream may be another one than before.
                        (fresh, caught_up) = (Freezes::default(), false);
                        office.freezes.change(|known| known.whole = false);
                    }
                }
                if caught_up {
                    publish(office, &fresh, &part);
                }
            }
            _ = looks.tick(), if caught_up => office.store_again(&fresh).await,
        }
    }
}

fn publish(office: &Office, freezes: &Freezes, part: &HealthPart) {
    counters::frozen(freezes.in_force().count());
    office.freezes.change(|known| {
        known.freezes = freezes.clone();
        known.whole = true;
    });
    office.freezes.at.send_replace(freezes.at());
    part.ready();
}

/// Takes one message in, with an alarm where it is none that can be read.
pub(crate) fn take_in(freezes: &mut Freezes, message: &StoredMessage) -> Effect {
    let read = read(&message.as_last());
    let effect = freezes.apply(&Placed {
        seq: message.seq,
        stored_at: message.stored_at,
        read: &read,
    });
    match effect {
        Effect::Blind => metrics::alarm("unreadable_message", &message.subject),
        Effect::NotOurs => metrics::alarm("foreign_message", &message.subject),
        _ => {}
    }
    effect
}

impl Office {
    /// Stores the freezes again that would otherwise leave the log while they last.
    async fn store_again(&self, freezes: &Freezes) {
        if self.trust_clock().is_err() {
            return;
        }
        let mut after = freezes.at();
        for again in freezes.due(self.clock.now(), self.freeze_again_after) {
            after = match self.store_one_again(&again, after).await {
                Ok(Append::Stored(seq)) => seq,
                // Something else came first; it arrives here, and then we look again.
                Ok(Append::Lost(_)) => return,
                Err(failure) => {
                    tracing::warn!(%failure, "a freeze is not stored again yet");
                    return;
                }
            };
            tracing::info!(subject = %again.address.subject(), "a freeze is stored again");
        }
    }

    /// Only right after the last message that is known: one that released it meanwhile must
    /// not be followed by it.
    async fn store_one_again(&self, again: &Again, after: u64) -> Result<Append, Failure> {
        let out = Outgoing::event(&again.address, &again.event, &self.meta(None))?;
        self.bus.append(out, FILTER, after).await
    }

    /// `decision`, unless it lets something run that a freeze covers.
    pub(crate) fn unless_frozen(
        &self,
        decision: Decision,
        checked: &PolicyChecked,
    ) -> Result<Decision, Failure> {
        if let Decision::Approved(_) = decision
            && let Some(void) = self.freezes.covers(&Target::from(checked))?
        {
            return Ok(frozen(checked, &void));
        }
        Ok(decision)
    }

    /// Asks people, or blocks what a freeze covers. What people were asked about before the
    /// freeze stays with them.
    pub(crate) async fn ask_unless_frozen(
        &self,
        checked: &PolicyChecked,
        stored_at: Timestamp,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        if let Some(void) = self.freezes.covers(&Target::from(checked))?
            && !self.is_asked(checked).await?
        {
            let decision = frozen(checked, &void);
            return self.decide_at_once(&decision, checked, trace).await;
        }
        self.ask(checked, stored_at, trace).await
    }

    /// Whether an approval of this intent is there, alone or with others.
    async fn is_asked(&self, checked: &PolicyChecked) -> Result<bool, Failure> {
        let mut ids = vec![ApprovalId::for_intent(checked.intent_id)];
        let bundle = checked.bundle.as_ref();
        ids.extend(bundle.map(|bundle| ApprovalId::for_bundle(&checked.agent, &bundle.id)));
        for id in ids {
            let held = self.held(&id).await?;
            if held.is_some_and(|held| held.value.item(checked.intent_id).is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Why votes on an approval are not counted now, if a freeze covers a part of it.
    pub(crate) fn frozen_votes(&self, approval: &Approval) -> Result<Option<String>, Failure> {
        for item in approval.items() {
            if let Some(void) = self.freezes.covers(&Target::from(item.checked()))? {
                return Ok(Some(stopped(&void)));
            }
        }
        for (tool, requester) in approval.window_tools() {
            let target = Target {
                agent: approval.agent(),
                tool,
                requester,
            };
            if let Some(void) = self.freezes.covers(&target)? {
                return Ok(Some(stopped(&void)));
            }
        }
        Ok(None)
    }

    /// The freezes in force, as people are shown them.
    pub(crate) fn frozen_views(&self) -> Result<Vec<FreezeView>, Failure> {
        let all = self.freezes.in_force()?;
        let view = |freeze: &Freeze| FreezeView::of(freeze, self.knows(&freeze.scope));
        Ok(all.iter().map(view).collect())
    }

    /// Whether the bundle in force knows what a scope names; where there is none, nobody
    /// can say, and it counts as known.
    fn knows(&self, scope: &FreezeScope) -> bool {
        let Some(now) = self.policy.as_ref().map(|policy| policy.now()) else {
            return true;
        };
        let Ok(bundle) = now.bundle() else {
            return true;
        };
        let agent = scope.agent.as_ref();
        let tool = scope.tool.as_ref();
        agent.is_none_or(|agent| bundle.directory().agent(agent).is_some())
            && tool.is_none_or(|tool| bundle.catalog().tool(tool).is_some())
    }
}
