//! Deciding an ask by an open window.

use std::time::Duration;

use countersign_domain::approvals::Approval;
use countersign_domain::chain::{End, Head};
use countersign_domain::freeze::Target;
use countersign_domain::windows::{Take, Window};
use countersign_runtime::bus::{Failure, Incoming};
use countersign_schemas::events::PolicyChecked;
use countersign_schemas::{ApprovalId, IntentId, WindowId};

use crate::counters;
use crate::office::{Office, TRIES, trace_of};

/// How soon an ask comes again that came before the windows were read.
const UNTIL_KNOWN: Duration = Duration::from_millis(200);

impl Office {
    /// Decides an ask by a window that lifts it; `false` where people must be asked. A
    /// redelivery finds the use that its intent holds.
    pub(crate) async fn lift(
        &self,
        checked: &PolicyChecked,
        message: &Incoming,
    ) -> Result<bool, Failure> {
        if !self.windows.is_known() {
            let what = "the windows are being read";
            return Err(Failure::transient_in(what, UNTIL_KNOWN));
        }
        // A freeze beats every window; the use that its intent may hold is given back.
        if self.freezes.covers(&Target::from(checked))?.is_some() {
            return Ok(false);
        }
        let trace = trace_of(message);
        // What has its decision takes no other use, and is not asked about once the window
        // that gave it is forgotten.
        if message.deliveries > 1 && self.was_lifted(checked, trace.as_deref()).await? {
            return Ok(true);
        }
        let candidates = self.windows.candidates(checked);
        // What people are asked about, or have answered, is theirs: no window that opens
        // meanwhile overrules them.
        let asked = match candidates.is_empty() {
            true => None,
            false => self.asked_alone(checked.intent_id).await?,
        };
        if asked.as_ref().is_some_and(|asked| !asked.is_pending()) {
            return Ok(false);
        }
        let asked = asked.is_some();
        for (id, turn) in candidates {
            let window = {
                let _turn = turn.lock().await;
                self.take(&id, checked, message, asked).await?
            };
            if let Some(window) = window {
                self.decide_under(&window, checked, trace.as_deref())
                    .await?;
                if asked {
                    self.close_if_asked(checked.intent_id, trace.as_deref())
                        .await?;
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The approval of an intent alone, if people were ever asked about it.
    async fn asked_alone(&self, intent: IntentId) -> Result<Option<Approval>, Failure> {
        let held = self.held(&ApprovalId::for_intent(intent)).await?;
        Ok(held.map(|held| held.value))
    }

    /// Stores a use of the window for this intent; `None` where it does not lift it. What
    /// people were `asked` about goes on only with a use that is taken already.
    async fn take(
        &self,
        id: &WindowId,
        checked: &PolicyChecked,
        message: &Incoming,
        asked: bool,
    ) -> Result<Option<Window>, Failure> {
        let people = self.people();
        for _ in 0..TRIES {
            let Some(mut held) = self.readable_window(id).await? else {
                return Ok(None);
            };
            if asked && !held.value.holds(checked.intent_id) {
                return Ok(None);
            }
            self.trust_clock()?;
            let now = self.clock.now().max(message.stored_at);
            match held.value.take(checked, now, people.as_ref()) {
                Take::Refused(gone) => {
                    tracing::debug!(window = %id, intent = %checked.intent_id, %gone, "not lifted");
                    return Ok(None);
                }
                Take::AlreadyTaken | Take::Stranded => return Ok(Some(held.value)),
                Take::Taken if self.keep_window(&mut held).await? => {
                    counters::window("used");
                    return Ok(Some(held.value));
                }
                Take::Taken => {}
            }
        }
        Err(Failure::transient(format!("window {id} changes too fast")))
    }

    /// Stores the decision on an intent whose use of `window` is stored.
    pub(super) async fn decide_under(
        &self,
        window: &Window,
        checked: &PolicyChecked,
        trace: Option<&str>,
    ) -> Result<(), Failure> {
        self.trust_clock()?;
        let decision = self
            .desk
            .under_window(checked, window, self.clock.now())
            .map_err(|error| Failure::fatal(format!("cannot sign a permit: {error}")))?;
        let decision = self.unless_frozen(decision, checked)?;
        self.decide_at_once(&decision, checked, trace).await
    }

    /// Whether the intent of an ask that was delivered before has its decision though
    /// nobody was asked, such as by a window; what follows from it is completed.
    async fn was_lifted(
        &self,
        checked: &PolicyChecked,
        trace: Option<&str>,
    ) -> Result<bool, Failure> {
        let intent = checked.intent_id;
        let blocked = match self.head(&checked.agent, intent).await? {
            Head::None | Head::NotOurs { .. } => return Ok(false),
            Head::Ended {
                end: End::Blocked(blocked),
                ..
            } => Some(blocked),
            Head::Decided { .. } | Head::Claimed { .. } | Head::Ended { .. } => None,
        };
        if self.asked_alone(intent).await?.is_some() {
            return Ok(false);
        }
        if let Some(blocked) = blocked {
            let decision = countersign_domain::decision::Decision::Blocked(blocked);
            self.decide_at_once(&decision, checked, trace).await?;
        }
        Ok(true)
    }
}
