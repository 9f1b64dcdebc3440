//! What people say about windows: open one ahead of time, close one.

use std::time::Duration;

use countersign_domain::approvals::{Approval, spoken};
use countersign_domain::freeze::{Target, stopped};
use countersign_domain::policy::WindowTerms;
use countersign_domain::windows::{Demand, Opening, Placed, Window, window_id};
use countersign_runtime::bus::{Failure, Incoming};
use countersign_schemas::events::{WindowClosing, WindowRequested};
use countersign_schemas::limits::PENDING_APPROVALS_PER_AGENT_MAX;
use countersign_schemas::{Address, ApprovalId, PersonId, RequesterId, Timestamp, WindowId};

use super::PER_AGENT_MAX;
use crate::counters;
use crate::kept::Held;
use crate::office::{Office, TRIES, decode_outside, trace_of};

/// Why a request is refused, as a code and in words.
type Refused = (&'static str, String);

/// The approval by which others are asked for the window `id`.
fn approval_of(id: &WindowId) -> Result<ApprovalId, Failure> {
    let named = id.as_str().parse();
    named.map_err(|_| Failure::fatal(format!("`{id}` is no id of an approval")))
}

impl Office {
    /// Opens a window ahead of time, asks the others whom it takes, or says why not.
    pub(crate) async fn window_requested(
        &self,
        message: &Incoming,
        approver: &PersonId,
    ) -> Result<(), Failure> {
        let asked: WindowRequested = match decode_outside(message) {
            Ok(asked) => asked,
            Err(why) => return self.refuse(message, approver, "unreadable", why).await,
        };
        let id = window_id(&message.token.dashed()).map_err(|e| Failure::fatal(e.to_string()))?;
        // A redelivery tells of the window that stands, whatever the rules say by now.
        if let Some(held) = self.window(&id).await? {
            let trace = trace_of(message);
            return self.open_window(held.value, trace.as_deref()).await;
        }
        if let Some(held) = self.held(&approval_of(&id)?).await? {
            return self.ask_for_window(held, message).await;
        }
        self.rules_known().await?;
        match self.admitted(asked, approver, message)? {
            Ok(Opening::Open(window)) => {
                counters::window("opened");
                let trace = trace_of(message);
                self.open_window(*window, trace.as_deref()).await
            }
            Ok(Opening::Ask(approval)) => {
                let agent = approval.agent().clone();
                match self.open(*approval, trace_of(message).as_deref()).await? {
                    Some(held) => self.ask_for_window(held, message).await,
                    None => {
                        let why = format!(
                            "{agent} already waits for people with \
                             {PENDING_APPROVALS_PER_AGENT_MAX} intents; decide some first"
                        );
                        self.refuse(message, approver, "too_many_pending", why)
                            .await
                    }
                }
            }
            Err((code, why)) => self.refuse(message, approver, code, why).await,
        }
    }

    /// Asks the others, and answers the request as the vote that it is. Whatever ended the
    /// approval meanwhile is completed.
    async fn ask_for_window(
        &self,
        held: Held<Approval>,
        message: &Incoming,
    ) -> Result<(), Failure> {
        let trace = trace_of(message);
        let trace = trace.as_deref();
        if held.value.is_pending() {
            self.announce(&held.value, trace).await?;
        }
        if let Some(voted) = held.value.voted_with(&message.token) {
            let address = Address::ApprovalVoted {
                approval: held.value.id().clone(),
                seq: message.token.clone(),
            };
            self.say(&address, &voted, trace).await?;
        }
        self.settle(held, trace).await
    }

    /// What comes of `asked` by the rules in force.
    fn admitted(
        &self,
        asked: WindowRequested,
        approver: &PersonId,
        message: &Incoming,
    ) -> Result<Result<Opening, Refused>, Failure> {
        let unfit = |why: String| ("window_not_permitted", why);
        let via = countersign_runtime::identity::OWN_KEY.parse();
        let via = via.map_err(|_| Failure::fatal("`self` is no bridge name"))?;
        let reason = self.words(&asked.reason);
        let named = asked.requester.clone();
        let demand = match Demand::read(asked, approver.clone(), via) {
            Ok(demand) => demand,
            Err(why) => return Ok(Err(unfit(why))),
        };
        // A request is a vote, and a freeze beats every vote.
        if let Some(why) = self.frozen_window(&demand, named.as_ref(), approver)? {
            let why = format!("nothing was opened: {why} Ask again once it is released");
            return Ok(Err(("frozen", why)));
        }
        let agent = demand.agent();
        let there = self.windows.of_agent(agent) + self.pending.windows_of(agent);
        if there >= PER_AGENT_MAX {
            return Ok(Err(unfit(format!(
                "{agent} has {PER_AGENT_MAX} windows that are open or wait for people; close one \
                 first"
            ))));
        }
        let placed = Placed {
            message: &message.token,
            at: message.stored_at,
            salt: rand::random(),
        };
        let terms = match self.demanded(&demand, message.stored_at) {
            Ok(terms) => terms,
            Err(refused) => return Ok(Err(refused)),
        };
        let people = self.people();
        let opening = demand.open(&placed, &terms, &reason, people.as_ref());
        Ok(opening.map_err(unfit))
    }

    /// The freeze that covers a part of what somebody wants a window for, in words.
    fn frozen_window(
        &self,
        demand: &Demand,
        named: Option<&RequesterId>,
        approver: &PersonId,
    ) -> Result<Option<String>, Failure> {
        let own: Result<RequesterId, _> = approver.as_str().parse();
        let own = own.map_err(|error| Failure::fatal(error.to_string()))?;
        for tool in demand.tools() {
            let target = Target {
                agent: demand.agent(),
                tool,
                requester: named.unwrap_or(&own),
            };
            if let Some(void) = self.freezes.covers(&target)? {
                return Ok(Some(stopped(&void)));
            }
        }
        Ok(None)
    }

    /// What the rules in force demand of whoever opens such a window.
    fn demanded(&self, demand: &Demand, at: Timestamp) -> Result<WindowTerms, Refused> {
        let unknown = || {
            let why = "no policy bundle is in force, so nobody can open a window; try again later";
            ("unavailable", why.to_owned())
        };
        let by = self.policy.as_ref().ok_or_else(unknown)?.now();
        let bundle = by.bundle().map_err(|_| unknown())?;
        let span = Duration::from_secs(demand.limits().seconds);
        bundle
            .window_terms(demand.agent(), demand.tools(), demand.fields(), span, at)
            .map_err(|why| ("window_not_permitted", why))
    }

    /// Closes a window, whoever opened it, and answers once nothing under it can run any
    /// more that does not run already. Closing it again changes nothing.
    pub(crate) async fn window_closing(
        &self,
        message: &Incoming,
        approver: &PersonId,
    ) -> Result<(), Failure> {
        let asked: WindowClosing = match decode_outside(message) {
            Ok(asked) => asked,
            Err(why) => return self.refuse(message, approver, "unreadable", why).await,
        };
        let reason = asked.reason.as_deref().map(|reason| self.words(reason));
        let id = asked.window_id;
        let Some(held) = self.close_it(&id, approver, reason, message).await? else {
            let (code, why) = self.not_there(&id).await?;
            return self.refuse(message, approver, code, why).await;
        };
        if held.value.is_settled() || self.wind_up(&id).await? {
            return Ok(());
        }
        Err(Failure::transient(format!(
            "the end of window {id} is not carried out yet"
        )))
    }

    /// Why there is nothing to close.
    async fn not_there(&self, id: &WindowId) -> Result<Refused, Failure> {
        let waiting = match approval_of(id) {
            Ok(approval) => self.held(&approval).await?,
            Err(_) => None,
        };
        let waits = waiting.is_some_and(|held| held.value.is_pending());
        Ok(match waits {
            true => (
                "not_open",
                format!(
                    "window {id} is not open yet: it waits for people; say no with \
                     `countersign approvals deny {id}`"
                ),
            ),
            false => (
                "unknown",
                format!("there is no window {id}; see `countersign window list`"),
            ),
        })
    }

    async fn close_it(
        &self,
        id: &WindowId,
        by: &PersonId,
        reason: Option<String>,
        message: &Incoming,
    ) -> Result<Option<Held<Window>>, Failure> {
        for _ in 0..TRIES {
            let Some(mut held) = self.window(id).await? else {
                return Ok(None);
            };
            if !held.value.close(by, reason.clone(), message.stored_at) {
                return Ok(Some(held));
            }
            if self.keep_window(&mut held).await? {
                tracing::info!(window = %id, "a window is closed");
                return Ok(Some(held));
            }
        }
        Err(Failure::transient(format!("window {id} changes too fast")))
    }

    /// A person's words as others may read them.
    fn words(&self, text: &str) -> String {
        spoken(text, &|words| self.redact(words))
    }
}
