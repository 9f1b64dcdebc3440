//! What comes due with an approval: reminders, the teams that are asked next, and its end;
//! and the ends of windows. A firing is only a trigger: what counts is the approval or window
//! itself and the time at which the firing was stored. What has come due is stored in the approval before anybody is told, so
//! it happens once however often it is triggered.

use std::sync::Arc;
use std::time::Duration;

use countersign_domain::approvals::{Approval, Notice};
use countersign_domain::handoff::reminder_id;
use countersign_domain::redact::Redactor;
use countersign_runtime::bus::layout::{COORDINATOR_CONTROL, Durable};
use countersign_runtime::bus::{BusError, Failure, Handler, Incoming, Meta, metrics};
use countersign_schemas::{Address, ApprovalId, Timestamp, WindowId};

use crate::asking::TIMER_KIND;
use crate::bundles;
use crate::counters;
use crate::kept::Held;
use crate::office::{Office, TRIES};
use crate::windows;

/// How long an overdue approval waits for votes, and an overdue bundle for verdicts, that
/// were stored in time and are not handled yet, such as after an outage. Beyond it a
/// backlog that never ends cannot keep them open.
const WAIT_FOR_INPUTS: Duration = Duration::from_secs(30);
/// How often it looks whether they are handled.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often overdue approvals are looked for, in case a timer was lost.
const WATCH_EVERY: Duration = Duration::from_secs(5);
/// How late a timer may be before it counts as lost: the server fires within 250 ms.
const LATE: Duration = Duration::from_secs(5);

/// Handles `timer.fired`.
pub(crate) struct Deadlines(pub(crate) Arc<Office>);

impl Handler for Deadlines {
    async fn handle(&self, message: Incoming) -> Result<(), Failure> {
        let Address::TimerFired { kind, id } = &message.address else {
            return Err(Failure::poison("not a timer"));
        };
        if kind.as_str() == windows::TIMER_KIND {
            let id: WindowId = id
                .as_str()
                .parse()
                .map_err(|_| Failure::poison("the timer names no window"))?;
            return self.0.window_due(&id, message.stored_at).await;
        }
        let id: ApprovalId = id
            .as_str()
            .parse()
            .map_err(|_| Failure::poison("the timer names no approval"))?;
        match kind.as_str() {
            TIMER_KIND => self.0.come_due(&id, message.stored_at).await,
            bundles::TIMER_KIND => self.0.bundle_come_due(&id, message.stored_at).await,
            other => Err(Failure::poison(format!(
                "nobody handles timers of kind `{other}`"
            ))),
        }
    }

    fn redactor(&self) -> &Redactor {
        &self.0.redactor
    }

    fn meta(&self) -> Meta {
        self.0.meta(None)
    }
}

impl Office {
    /// Does what has come due by `now`: reminds, asks the next team, or ends the approval,
    /// and stores what follows from its end whoever ended it.
    pub(crate) async fn come_due(&self, id: &ApprovalId, now: Timestamp) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let Some(mut held) = self.held(id).await? else {
                return Ok(());
            };
            if !held.value.is_pending() {
                return self.settle(held, None).await;
            }
            let due = held.value.expires_at();
            if now < due {
                match self.pass_time(held, now).await? {
                    Some(next) => return self.set_timer(id, next).await,
                    None => continue,
                }
            }
            let what = "votes are waiting that may have come in time";
            self.is_caught_up(COORDINATOR_CONTROL, due, what).await?;
            held.value.expire(now);
            match self.keep(&held).await? {
                Some(revision) => held.revision = revision,
                None => continue,
            }
            return self.settle(held, None).await;
        }
        Err(Failure::transient(format!(
            "approval {id} changes too fast"
        )))
    }

    /// Stores what has come due, tells it, and stores that it was told; when to look again,
    /// or `None` where somebody else changed the approval first. What was told before a
    /// crash is told again then, which changes nothing: each has a subject of its own.
    async fn pass_time(
        &self,
        mut held: Held<Approval>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Failure> {
        if held.value.advance(now) {
            match self.keep(&held).await? {
                Some(revision) => held.revision = revision,
                None => return Ok(None),
            }
        }
        let notices = held.value.untold();
        if notices.is_empty() {
            return Ok(Some(held.value.next_due()));
        }
        for notice in &notices {
            self.give_notice(&held.value, notice).await?;
        }
        held.value.note_told();
        let kept = self.keep(&held).await?;
        Ok(kept.map(|_| held.value.next_due()))
    }

    async fn give_notice(&self, approval: &Approval, notice: &Notice) -> Result<(), Failure> {
        let people = self.people();
        let writer = self.writer(people.as_ref());
        match notice {
            Notice::Reminder { number, at } => {
                let id = reminder_id(approval.id(), *number);
                for handoff in writer.reminders(approval, *number, *at) {
                    self.hand_off(handoff, &id, None).await?;
                }
                counters::noticed("reminder");
            }
            Notice::Escalation(step) => {
                if let Some(handoff) = writer.further(approval, step) {
                    let id = approval.id().as_str();
                    self.hand_off(handoff, id, None).await?;
                }
                counters::noticed("escalation");
            }
        }
        tracing::info!(approval = %approval.id(), ?notice, "people are told that it waits");
        Ok(())
    }

    /// Waits until no message of `durable` is left that may have been stored before the
    /// deadline.
    pub(crate) async fn is_caught_up(
        &self,
        durable: Durable,
        due: Timestamp,
        what: &'static str,
    ) -> Result<(), Failure> {
        // After an outage the wait counts from our start.
        let own = self.clock_trust.is_trusted();
        if own && self.clock.now() >= due.max(self.started_at).plus(WAIT_FOR_INPUTS) {
            return Ok(());
        }
        let consumer: async_nats::jetstream::consumer::PullConsumer = self
            .bus
            .jetstream()
            .get_consumer_from_stream(durable.name, durable.stream.name())
            .await
            .map_err(|error| Failure::transient(format!("cannot read what waits: {error}")))?;
        let info = consumer.cached_info();
        if info.num_pending == 0 && info.num_ack_pending == 0 {
            return Ok(());
        }
        Err(Failure::transient_in(what, LOOK_EVERY))
    }
}

/// Looks for approvals whose timer was lost, and at the start for notices that nobody was
/// told of and for ends whose events are missing.
pub(crate) async fn watch(office: Arc<Office>) -> Result<(), BusError> {
    let mut ticks = tokio::time::interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = office.shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        // A clock that runs ahead would end approvals before their time. Timers go by the
        // server's clock.
        if office.trust_clock().is_err() {
            continue;
        }
        let now = office.clock.now();
        for id in office.bundles.overdue(now.minus(LATE)) {
            told(&id, office.bundle_come_due(&id, now).await)?;
        }
        for id in office.pending.overdue(now.minus(LATE)) {
            told(&id, office.come_due(&id, now).await)?;
        }
    }
}

/// Says what kept an overdue approval or bundle from ending; it is looked at again.
fn told(id: &ApprovalId, ended: Result<(), Failure>) -> Result<(), BusError> {
    match ended {
        Ok(()) => {}
        Err(Failure::Transient { what, .. }) => {
            tracing::debug!(approval = %id, %what, "not ended yet");
        }
        Err(Failure::Poison { what }) => {
            metrics::alarm("approval_stuck", &format!("approval {id}: {what}"));
        }
        Err(Failure::Fatal { what }) => return Err(BusError::Fatal { what }),
    }
    Ok(())
}
