//! What people say about windows: open one ahead of time, close one.

use std::time::Duration;

use countersign_domain::approvals::visible;
use countersign_domain::policy::WindowTerms;
use countersign_domain::windows::{Demand, Window, window_id};
use countersign_runtime::bus::{Failure, Incoming};
use countersign_schemas::events::{WindowClosing, WindowRequested};
use countersign_schemas::limits::PURPOSE_CHARS_MAX;
use countersign_schemas::{PersonId, WindowId};

use super::PER_AGENT_MAX;
use super::book::HeldWindow;
use crate::counters;
use crate::office::{Office, TRIES, decode_outside, trace_of};

impl Office {
    /// Opens a window ahead of time, or says why not.
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
            return self.open_window(held.window, trace.as_deref()).await;
        }
        self.rules_known().await?;
        match self.admitted(asked, approver, id, message) {
            Ok(window) => {
                counters::window("opened");
                let trace = trace_of(message);
                self.open_window(window, trace.as_deref()).await
            }
            Err((code, why)) => self.refuse(message, approver, code, why).await,
        }
    }

    /// The window that `asked` opens, if the rules in force let this person open it alone.
    fn admitted(
        &self,
        asked: WindowRequested,
        approver: &PersonId,
        id: WindowId,
        message: &Incoming,
    ) -> Result<Window, (&'static str, String)> {
        let unfit = |why: String| ("window_not_permitted", why);
        let via = countersign_runtime::identity::OWN_KEY.parse();
        let via = via.map_err(|_| ("unreadable", "`self` is no bridge name".to_owned()))?;
        let reason = self.words(&asked.reason);
        let demand = Demand::read(asked, approver.clone(), via).map_err(unfit)?;
        if self.windows.of_agent(demand.agent()) >= PER_AGENT_MAX {
            return Err(unfit(format!(
                "{} has {PER_AGENT_MAX} open windows; close one first",
                demand.agent()
            )));
        }
        let terms = self.demanded(&demand)?;
        let people = self.people();
        demand
            .open(id, message.stored_at, &terms, &reason, people.as_ref())
            .map_err(unfit)
    }

    /// What the rules in force demand of whoever opens such a window.
    fn demanded(&self, demand: &Demand) -> Result<WindowTerms, (&'static str, String)> {
        let unknown = || {
            let why = "no policy bundle is in force, so nobody can open a window; try again later";
            ("unavailable", why.to_owned())
        };
        let by = self.policy.as_ref().ok_or_else(unknown)?.now();
        let bundle = by.bundle().map_err(|_| unknown())?;
        let span = Duration::from_secs(demand.limits().seconds);
        bundle
            .window_terms(demand.agent(), demand.tools(), demand.fields(), span)
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
            let why = format!("there is no window {id}; see `countersign window list`");
            return self.refuse(message, approver, "unknown", why).await;
        };
        if held.window.is_settled() || self.wind_up(&id).await? {
            return Ok(());
        }
        Err(Failure::transient(format!(
            "the end of window {id} is not carried out yet"
        )))
    }

    async fn close_it(
        &self,
        id: &WindowId,
        by: &PersonId,
        reason: Option<String>,
        message: &Incoming,
    ) -> Result<Option<HeldWindow>, Failure> {
        for _ in 0..TRIES {
            let Some(mut held) = self.window(id).await? else {
                return Ok(None);
            };
            if !held.window.close(by, reason.clone(), message.stored_at) {
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
        let cut: String = text.chars().take(PURPOSE_CHARS_MAX).collect();
        visible(&self.redact(&cut))
    }
}
