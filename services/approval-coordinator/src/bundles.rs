//! Bundles: items are gathered in the bucket of approvals under a key of their own, and
//! nothing that may run is decided before the last is checked. What then follows is told by
//! the value that stands there, so that a redelivery, a timer or another coordinator
//! completes it.

use countersign_domain::approvals::{
    Added, Approval, BundleCourse, Gathering, Item, LeftOut, name_was_used,
};
use countersign_domain::chain::{End, Head};
use countersign_domain::decision::{Course, Decision, blocked, overruled};
use countersign_domain::freeze::{Target, stopped};
use countersign_runtime::bus::{Failure, layout::COORDINATOR_EVENTS};
use countersign_schemas::events::{BlockedCode, BundleRef, PolicyChecked, Verdict};
use countersign_schemas::limits::PENDING_APPROVALS_PER_AGENT_MAX;
use countersign_schemas::{ApprovalId, BundleId, Timestamp};

use crate::asking::{code_of, too_many};
use crate::kept::{Held, known};
use crate::office::{Office, TRIES};

/// The kind of the timers of bundles.
pub(crate) const TIMER_KIND: &str = "bundle";
/// What the key of a gathering begins with; an approval's is its id.
pub(crate) const KEY_PREFIX: &str = "g-";

/// An item that is no part of its bundle, and why.
type Refused = (BlockedCode, String);

/// Where an item of a bundle is.
pub(crate) enum Taken {
    /// In the bundle that is gathered under its name.
    In(Held<Gathering>),
    /// In the one that people were asked about, whose gathering is forgotten; left out of
    /// it where that is said.
    Before(Option<LeftOut>),
    /// In none.
    Not(Refused),
}

impl Office {
    /// Takes an item of a bundle in, and does what then follows. A redelivery finds it in
    /// its place and completes what is missing.
    pub(crate) async fn gather(
        &self,
        checked: &PolicyChecked,
        place: &BundleRef,
        stored_at: Timestamp,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let taken = {
            // Items of one bundle come together, and each changes the same value: in turn
            // they do not get in each other's way.
            let _turn = self.gathering.lock().await;
            self.take_into(checked, place, stored_at).await?
        };
        let held = match taken {
            Taken::In(held) => held,
            Taken::Before(out) => return self.decide_alone(checked, out.as_ref(), trace).await,
            Taken::Not((code, why)) => {
                return self
                    .decide_at_once(&blocked(checked, code, &why), checked, trace)
                    .await;
            }
        };
        let out = held.value.left_out(checked.intent_id);
        self.decide_alone(checked, out, trace).await?;
        match held.value.is_open() {
            true => self.set_bundle_timer(&held.value).await,
            false => self.finish(held, trace).await,
        }
    }

    async fn take_into(
        &self,
        checked: &PolicyChecked,
        place: &BundleRef,
        stored_at: Timestamp,
    ) -> Result<Taken, Failure> {
        let id = ApprovalId::for_bundle(&checked.agent, &place.id);
        for _ in 0..TRIES {
            let mut held = match self.bundle(&id).await? {
                Some(held) => held,
                None => match self.of_used_name(checked, &place.id, &id).await? {
                    Some(taken) => return Ok(taken),
                    None => match self.first_of(checked, place, stored_at) {
                        Ok(value) => Held { value, revision: 0 },
                        Err(refused) => return Ok(Taken::Not(refused)),
                    },
                },
            };
            let ended = match self.ended(checked).await? {
                Some(ended) => Some(ended),
                None => self.frozen_item(checked)?,
            };
            match held.value.add(checked, place, stored_at, ended) {
                Added::Known => return Ok(Taken::In(held)),
                Added::Refused(code, why) => return Ok(Taken::Not((code, why))),
                Added::Taken => {}
            }
            if let Some(revision) = self.keep_bundle(&held).await? {
                held.revision = revision;
                return Ok(Taken::In(held));
            }
        }
        Err(Failure::transient(format!("bundle {id} changes too fast")))
    }

    /// A bundle counts as one of what waits for people, as it is one thing that they
    /// decide; from its first item on, because it takes room from then on.
    fn first_of(
        &self,
        checked: &PolicyChecked,
        place: &BundleRef,
        stored_at: Timestamp,
    ) -> Result<Gathering, Refused> {
        if self.waiting_of(&checked.agent) >= PENDING_APPROVALS_PER_AGENT_MAX {
            return Err(too_many(&checked.agent));
        }
        Gathering::open(checked, place, stored_at, self.bundle_wait)
    }

    /// Why an intent cannot run any more, where its chain has moved before its verdict was
    /// handled: it was withdrawn, or stopped otherwise.
    async fn ended(&self, checked: &PolicyChecked) -> Result<Option<Refused>, Failure> {
        let head = self.head(&checked.agent, checked.intent_id).await?;
        Ok(match head {
            Head::None | Head::NotOurs { .. } => None,
            Head::Ended {
                end: End::Blocked(block),
                ..
            } => {
                let first = block.reasons.first().map(|reason| reason.message.clone());
                Some((block.code, first.unwrap_or_else(|| block.tried.clone())))
            }
            Head::Decided { .. } | Head::Claimed { .. } | Head::Ended { .. } => {
                let why = "It has its decision already, apart from this bundle.".to_owned();
                Some((BlockedCode::Unavailable, why))
            }
        })
    }

    /// Why a freeze keeps an item out of its bundle. One that is in it already stays: what
    /// waits for people keeps waiting.
    fn frozen_item(&self, checked: &PolicyChecked) -> Result<Option<Refused>, Failure> {
        let void = self.freezes.covers(&Target::from(checked))?;
        Ok(void.map(|void| (BlockedCode::Frozen, stopped(&void))))
    }

    /// Decides an item that is left out, and does nothing about any other.
    async fn decide_alone(
        &self,
        checked: &PolicyChecked,
        out: Option<&LeftOut>,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let Some(out) = out else { return Ok(()) };
        let decision = self.alone(checked, out.code, &out.reason)?;
        self.decide_at_once(&decision, checked, trace).await
    }

    /// The decision on an item that is left out.
    fn alone(
        &self,
        checked: &PolicyChecked,
        code: BlockedCode,
        why: &str,
    ) -> Result<Decision, Failure> {
        let by_itself = checked.verdict == Verdict::Deny || checked.dry_run == Some(true);
        match self.course(checked)? {
            Course::Decide(decision) if by_itself => Ok(decision),
            Course::Decide(_) | Course::Ask => Ok(blocked(checked, code, why)),
        }
    }

    fn course(&self, checked: &PolicyChecked) -> Result<Course, Failure> {
        let course = self.desk.course(checked, self.clock.now());
        course.map_err(|error| Failure::fatal(format!("cannot sign a permit: {error}")))
    }

    /// Stores everything that follows from a bundle to which nothing can be added, then
    /// notes that it is done. Does nothing while it is gathered or once it is settled.
    pub(crate) async fn finish(
        &self,
        held: Held<Gathering>,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let mut held = self.up_to_date(held).await?;
        match held.value.course() {
            BundleCourse::Done | BundleCourse::Wait(_) => return Ok(()),
            BundleCourse::Incomplete(items, why) => {
                tracing::info!(bundle = %held.value.id(), trace, "a bundle never became whole");
                let code = BlockedCode::BundleIncomplete;
                self.block_each(&items, code, &why, trace).await?;
            }
            BundleCourse::Unaskable(items, error) => {
                let why = format!("People should be asked about its bundle, but {error}.");
                self.block_each(&items, code_of(error), &why, trace).await?;
            }
            BundleCourse::Emit(items) => {
                self.trust_clock()?;
                let mut decisions = Vec::with_capacity(items.len());
                for checked in items {
                    if let Course::Decide(decision) = self.course(checked)? {
                        decisions.push(self.unless_frozen(decision, checked)?);
                    }
                }
                self.decide_all(decisions, trace).await?;
                for (checked, stop) in held.value.stopped() {
                    let decision = overruled(checked, stop);
                    self.decide_at_once(&decision, checked, trace).await?;
                }
            }
            BundleCourse::Ask(approval) => {
                self.ask_about(held.value.name(), *approval, trace).await?
            }
        }
        held.value.settle();
        // Lost only to another coordinator that settles the same end.
        self.keep_bundle(&held).await.map(drop)
    }

    async fn block_each(
        &self,
        items: &[&PolicyChecked],
        code: BlockedCode,
        why: &str,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        for checked in items {
            let decision = blocked(checked, code, why);
            self.decide_at_once(&decision, checked, trace).await?;
        }
        Ok(())
    }

    /// Asks people about a whole bundle. Its place among what waits was taken when its
    /// first item came.
    async fn ask_about(
        &self,
        name: &BundleId,
        approval: Approval,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        let held = self.create(approval.clone(), trace).await?;
        if !held.value.asks_the_same(&approval) {
            // What people were asked under this name is another bundle, and stays so.
            let items: Vec<_> = approval.items().iter().map(Item::checked).collect();
            let (code, why) = name_was_used(name);
            return self.block_each(&items, code, &why, trace).await;
        }
        if !held.value.is_pending() {
            return self.settle(held, trace).await;
        }
        self.announce(&held.value, trace).await?;
        // A bundle may have been gathered for longer than it is looked for changed tools.
        match &self.policy {
            Some(policy) => self.void_if_changed(held.value.id(), policy).await,
            None => Ok(()),
        }
    }

    /// Ends a bundle whose deadline has come, and stores what follows from its end whoever
    /// ended it.
    pub(crate) async fn bundle_come_due(
        &self,
        id: &ApprovalId,
        now: Timestamp,
    ) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let Some(mut held) = self.bundle(id).await? else {
                return Ok(());
            };
            if held.value.is_open() {
                let due = held.value.deadline();
                if now < due {
                    return self.set_bundle_timer(&held.value).await;
                }
                let what = "verdicts are waiting that may be of a bundle";
                self.is_caught_up(COORDINATOR_EVENTS, due, what).await?;
                held.value.close(now);
                match self.keep_bundle(&held).await? {
                    Some(revision) => held.revision = revision,
                    None => continue,
                }
            }
            return self.finish(held, None).await;
        }
        Err(Failure::transient(format!("bundle {id} changes too fast")))
    }

    /// Schedules the deadline of a bundle; setting it again replaces it.
    pub(crate) async fn set_bundle_timer(&self, bundle: &Gathering) -> Result<(), Failure> {
        self.schedule(TIMER_KIND, &bundle.id(), bundle.deadline())
            .await
    }

    /// A bundle, from the leader.
    pub(crate) async fn bundle(&self, id: &ApprovalId) -> Result<Option<Held<Gathering>>, Failure> {
        let Some(entry) = self.approvals.get(&key(id)).await? else {
            return Ok(None);
        };
        let value = known(&format!("bundle {id}"), Gathering::read(&entry.value))?;
        let revision = entry.revision;
        Ok(Some(Held { value, revision }))
    }

    /// Stores a changed bundle; `None` if somebody else changed it first.
    pub(crate) async fn keep_bundle(&self, held: &Held<Gathering>) -> Result<Option<u64>, Failure> {
        let (key, settled) = (key(&held.value.id()), held.value.is_settled());
        self.store(&self.approvals, &key, held, settled).await
    }
}

/// Where a bundle is gathered, beside the approval that it may become.
fn key(id: &ApprovalId) -> String {
    let name = id.as_str();
    format!("{KEY_PREFIX}{}", name.strip_prefix("b-").unwrap_or(name))
}
