//! `time_of_day`: on which days and at which hours, by the clock of a place, an intent may
//! pass. The time is that at which the intent was stored.

#[cfg(test)]
mod tests;

use serde::Deserialize;

use super::asking::{AskKeys, Otherwise};
use super::setup::{Faults, Setup};
use super::{Case, Fault, Finding, Guardrail, GuardrailError};
use crate::hours::Hours;
use crate::policy::AskRule;

pub(super) const NAME: &str = "time_of_day";

/// The guardrail's table in the catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeOfDaySettings {
    /// The place whose clock counts: a name of the IANA time zone database.
    pub zone: String,
    /// When it is open, such as `mon-fri 08:00-18:00`.
    pub open: Vec<String>,
    /// Days on which it is closed: `2026-12-25`, or `12-25` for every year.
    #[serde(default)]
    pub holidays: Vec<String>,
    /// What happens at other times.
    pub closed: Otherwise,
    /// Who decides at other times, as in `@ask`.
    pub ask: Option<String>,
    /// How long they have, as in `@expires`.
    pub expires: Option<String>,
    /// Whether they may answer in chat, as in `@chat`.
    pub chat: Option<String>,
    /// The longest time window that may lift it, as in `@window`.
    pub window: Option<String>,
}

impl TimeOfDaySettings {
    fn keys(&self) -> AskKeys<'_> {
        AskKeys {
            ask: self.ask.as_deref(),
            expires: self.expires.as_deref(),
            chat: self.chat.as_deref(),
            window: self.window.as_deref(),
        }
    }
}

/// The guardrail, ready.
#[derive(Debug)]
pub struct TimeOfDay {
    hours: Hours,
    /// Who decides at other times; nobody where it is refused.
    ask: Option<AskRule>,
}

impl TimeOfDay {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn new(settings: &TimeOfDaySettings, setup: &Setup<'_>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let hours = Hours::read(&settings.zone, &settings.open, &settings.holidays);
        let hours = hours
            .map_err(|all| {
                all.into_iter()
                    .for_each(|(what, mend)| faults.note(what, mend))
            })
            .ok();
        let keys = settings.keys();
        let ask = settings.closed.rule("closed", keys, setup, &mut faults);
        faults.finish(hours.map(|hours| Self { hours, ask }))
    }
}

impl Guardrail for TimeOfDay {
    fn name(&self) -> &'static str {
        NAME
    }

    fn asks(&self) -> Vec<&AskRule> {
        self.ask.iter().collect()
    }

    fn check(&self, case: &Case<'_>) -> Result<Finding, GuardrailError> {
        let zone = self.hours.zone();
        if self.hours.are_open(case.at.datetime()) {
            let message = format!("it is within the hours, by the clock of {zone}");
            return Ok(Finding::Pass { message });
        }
        let message = format!("it is outside of the hours, by the clock of {zone}");
        Ok(match &self.ask {
            Some(ask) => Finding::asking(message, ask),
            None => Finding::Deny {
                message,
                need: "the same intent, sent again within the hours".to_owned(),
            },
        })
    }
}
