//! `rate` and `budget`: how often, or for how much, within one window.
//!
//! What is left is only known where the ledger is, so the guardrail says what it wants to
//! take and judges by the answer.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_schemas::{Timestamp, Token};
use rust_decimal::Decimal;
use serde::Deserialize;

use super::asking::{AskKeys, Otherwise};
use super::setup::{Faults, Setup};
use super::{Case, Fault, Finding, Guardrail, GuardrailError, money};
use crate::ledger::{Answer, Counted, Dimension, LedgerKey, Order, Terms};
use crate::policy::{AskRule, Pointer, Wish, ask};

pub(super) const RATE: &str = "rate";
pub(super) const BUDGET: &str = "budget";

/// Shortest window: each has an entry of its own in the ledgers' bucket.
const WINDOW_MIN: Duration = Duration::from_secs(10);
/// Longest window: a month.
const WINDOW_MAX: Duration = Duration::from_secs(31 * 24 * 60 * 60);
/// Decimals of an amount: with [`UNITS_MAX`] every sum of a ledger is exact in 96 bits.
const PLACES_MAX: u32 = 6;
/// The largest amount and the largest limit.
const UNITS_MAX: i64 = 1_000_000_000_000_000;

/// The table of a `rate` in the catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateSettings {
    /// Its name: tools whose rate has one name share it.
    pub name: Token,
    /// What is counted apart; everything together where it is empty.
    #[serde(default)]
    pub per: BTreeSet<Dimension>,
    /// The span of one window, such as `1h`; windows begin at whole multiples of it, in UTC.
    pub window: String,
    /// How many intents one window takes.
    pub max: u32,
    /// What happens beyond that.
    #[serde(default)]
    pub over: Otherwise,
    /// Who decides beyond that, as in `@ask`.
    pub ask: Option<String>,
    /// How long they have, as in `@expires`.
    pub expires: Option<String>,
    /// Whether they may answer in chat, as in `@chat`.
    pub chat: Option<String>,
}

/// The table of a `budget` in the catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetSettings {
    /// Its name: tools whose budget has one name share it.
    pub name: Token,
    /// What is counted apart; everything together where it is empty.
    #[serde(default)]
    pub per: BTreeSet<Dimension>,
    /// The span of one window, such as `1d`; windows begin at whole multiples of it, in UTC.
    pub window: String,
    /// The field with the amount.
    pub amount: String,
    /// How much one window takes, as decimal text, in the units of `amount`.
    pub max: String,
    /// What happens beyond that.
    #[serde(default)]
    pub over: Otherwise,
    /// Who decides beyond that, as in `@ask`.
    pub ask: Option<String>,
    /// How long they have, as in `@expires`.
    pub expires: Option<String>,
    /// Whether they may answer in chat, as in `@chat`.
    pub chat: Option<String>,
}

/// What two guardrails of one name must have in common, since they share their ledgers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// `rate` or `budget`.
    pub kind: &'static str,
    /// Its name.
    pub name: Token,
    per: BTreeSet<Dimension>,
    window: Duration,
    limit: Decimal,
}

/// Either guardrail, ready.
#[derive(Debug)]
pub struct QuotaGuard {
    quota: Quota,
    /// Where the amount stands; a rate counts intents.
    amount: Option<Pointer>,
    /// Who decides beyond the limit; nobody where it is refused.
    ask: Option<AskRule>,
}

impl QuotaGuard {
    /// Checks the settings of a rate.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn rate(settings: &RateSettings, setup: &Setup<'_>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let keys = AskKeys {
            ask: settings.ask.as_deref(),
            expires: settings.expires.as_deref(),
            chat: settings.chat.as_deref(),
            window: None,
        };
        let window = span(&settings.window, &mut faults);
        let ask = settings.over.rule("over", keys, setup, &mut faults);
        let built = window.map(|window| Self {
            quota: Quota {
                kind: RATE,
                name: settings.name.clone(),
                per: settings.per.clone(),
                window,
                limit: Decimal::from(settings.max),
            },
            amount: None,
            ask,
        });
        faults.finish(built)
    }

    /// Checks the settings of a budget.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn budget(settings: &BudgetSettings, setup: &Setup<'_>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let keys = AskKeys {
            ask: settings.ask.as_deref(),
            expires: settings.expires.as_deref(),
            chat: settings.chat.as_deref(),
            window: None,
        };
        let window = span(&settings.window, &mut faults);
        let amount = faults.place("amount", &settings.amount);
        let limit = money::plain(&settings.max).map_err(|error| error.to_string());
        let limit = limit.and_then(countable);
        let limit = faults.keep(limit, "max", "write a decimal number such as `5000.00`");
        let ask = settings.over.rule("over", keys, setup, &mut faults);
        let built = window
            .zip(amount)
            .zip(limit)
            .map(|((window, amount), limit)| Self {
                quota: Quota {
                    kind: BUDGET,
                    name: settings.name.clone(),
                    per: settings.per.clone(),
                    window,
                    limit,
                },
                amount: Some(amount),
                ask,
            });
        faults.finish(built)
    }

    fn order(&self, case: &Case<'_>) -> Result<Order, GuardrailError> {
        let quota = &self.quota;
        let amount = match &self.amount {
            None => Decimal::ONE,
            Some(pointer) => self.amount_at(pointer, case)?,
        };
        let value = |dimension: &Dimension| {
            let value = dimension.of(case.agent, case.tool, case.requester);
            (*dimension, value)
        };
        let values: Vec<(Dimension, Counted<'_>)> = quota.per.iter().map(value).collect();
        let start = window_start(case.at, quota.window)
            .ok_or_else(|| self.error("the intent's time is out of range"))?;
        Ok(Order {
            ledger: LedgerKey::new(quota.kind, &quota.name, quota.window, start, &values),
            terms: Terms {
                amount,
                limit: quota.limit,
                beyond: self.ask.is_some(),
            },
            ends_at: start.plus(quota.window),
        })
    }

    fn amount_at(&self, pointer: &Pointer, case: &Case<'_>) -> Result<Decimal, GuardrailError> {
        let found = pointer.find(case.input);
        let [value] = found.as_slice() else {
            return Err(self.error(format!("`{pointer}` is not there")));
        };
        let amount = money::number(value)
            .map_err(|error| error.to_string())
            .and_then(countable);
        amount.map_err(|why| self.error(format!("`{pointer}` {why}")))
    }

    fn error(&self, what: impl Into<String>) -> GuardrailError {
        GuardrailError {
            name: self.quota.kind,
            what: what.into(),
        }
    }

    /// What an answer of the ledger means.
    fn finding(&self, order: &Order, answer: &Answer) -> Result<Finding, GuardrailError> {
        let (limit, turns) = (order.terms.limit, order.ends_at);
        let what = format!("{} `{}`", self.quota.kind, self.quota.name);
        let wait = format!("an intent that fits, or a new one when the window turns at {turns}");
        Ok(match answer {
            Answer::Held { over: false, .. } => Finding::Pass {
                message: format!("it fits {what}, {limit} until {turns}"),
            },
            Answer::Held { over: true, .. } => {
                let message = format!("it goes over {what}, {limit} until {turns}");
                match &self.ask {
                    Some(rule) => Finding::asking(message, rule),
                    None => return Err(self.error("the ledger took more than it may")),
                }
            }
            Answer::Exceeded { used } => {
                let left = (limit - used).max(Decimal::ZERO).normalize();
                let used = used.normalize();
                Finding::Exceeded {
                    message: format!(
                        "it does not fit {what}: {used} of {limit} is used and {left} is left \
                         until {turns}"
                    ),
                    need: wait,
                }
            }
            Answer::Crowded => Finding::Exceeded {
                message: format!("too many intents that take from {what} are still open"),
                need: "a new intent when some of them have ended".to_owned(),
            },
            Answer::Closed => Finding::Exceeded {
                message: format!("the window of {what} in which it was sent is closed"),
                need: "a new intent".to_owned(),
            },
        })
    }
}

impl Guardrail for QuotaGuard {
    fn name(&self) -> &'static str {
        self.quota.kind
    }

    fn check(&self, case: &Case<'_>) -> Result<Finding, GuardrailError> {
        let order = self.order(case)?;
        let wish = Wish::Charge(order.clone());
        match case.known.get(&wish) {
            None => Ok(Finding::Wants(wish)),
            Some(Err(why)) => Err(self.error(why)),
            Some(Ok(value)) => {
                let answer: Answer = serde_json::from_value(value.clone())
                    .map_err(|_| self.error("the ledger's answer cannot be read"))?;
                self.finding(&order, &answer)
            }
        }
    }

    fn asks(&self) -> Vec<&AskRule> {
        self.ask.iter().collect()
    }

    fn quota(&self) -> Option<&Quota> {
        Some(&self.quota)
    }
}

/// The start of the window that holds `at`.
fn window_start(at: Timestamp, window: Duration) -> Option<Timestamp> {
    let seconds = i64::try_from(window.as_secs()).ok()?;
    let into = at.seconds().checked_rem_euclid(seconds)?;
    Timestamp::from_micros((at.seconds() - into).checked_mul(1_000_000)?)
}

fn span(text: &str, faults: &mut Faults) -> Option<Duration> {
    let mend = "write a span from `10s` to `31d`, such as `1h`";
    let read = ask::parse_span(text, WINDOW_MAX).map_err(|error| error.to_string());
    let read = read.and_then(|span| match span < WINDOW_MIN {
        true => Err("is too short".to_owned()),
        false => Ok(span),
    });
    faults.keep(read, "window", mend)
}

/// A number that ledgers can add exactly.
fn countable(number: Decimal) -> Result<Decimal, String> {
    let number = number.normalize();
    if number.is_sign_negative() && !number.is_zero() {
        return Err("is negative".to_owned());
    }
    let fits = number.scale() <= PLACES_MAX && number <= Decimal::from(UNITS_MAX);
    fits.then_some(number)
        .ok_or_else(|| "is too large or too precise to count".to_owned())
}
