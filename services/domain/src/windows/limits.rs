//! How far a window goes: read from what a person wrote, and the strictest of several.

use std::fmt;
use std::time::Duration;

use countersign_schemas::events::WindowLimits;
use countersign_schemas::limits::{WINDOW_SECONDS_MAX, WINDOW_USES_MAX};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::guardrails::money::{Currency, plain};
use crate::policy::{AskError, ask};

/// Reads how long a window should last, such as `30m`.
///
/// # Errors
/// When the text is no time, or more than a window may last.
pub fn window_span(text: &str) -> Result<Duration, AskError> {
    ask::parse_span(text, ask::window_max())
}

/// Limits of a window that cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitFault {
    /// No time at all, or more than a day.
    #[error("a window lasts 1 to {WINDOW_SECONDS_MAX} seconds")]
    Seconds,
    /// No use at all, or more than are kept.
    #[error("a window has 1 to {WINDOW_USES_MAX} uses")]
    Uses,
    /// Not an amount.
    #[error(
        "a total is a plain decimal number above zero, with the currency in capitals where \
         amounts have one: `500` or `500.00 EUR`"
    )]
    Total,
    /// Totals that cannot be compared.
    #[error("the totals of the votes are in different currencies, so none is the smallest")]
    Currencies,
}

/// A total amount, in one currency or in none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// How much.
    pub amount: Decimal,
    /// Its ISO 4217 code; none where the tool's amounts have no currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

impl Total {
    /// Reads `500` or `500.00 EUR`.
    ///
    /// # Errors
    /// When it is not a plain decimal above zero, or the currency does not exist.
    pub fn parse(text: &str) -> Result<Self, LimitFault> {
        let (amount, currency) = match text.split_once(' ') {
            Some((amount, code)) => (amount, Some(code)),
            None => (text, None),
        };
        let known = currency.is_none_or(|code| Currency::of(code).is_some());
        let amount = plain(amount).map_err(|_| LimitFault::Total)?;
        if !known || amount <= Decimal::ZERO {
            return Err(LimitFault::Total);
        }
        Ok(Self {
            amount,
            currency: currency.map(str::to_owned),
        })
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.amount)?;
        match &self.currency {
            Some(currency) => write!(f, " {currency}"),
            None => Ok(()),
        }
    }
}

/// How far a window goes, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// How long it lasts, counted from the approval.
    pub seconds: u64,
    /// How often it may be used; as often as uses are kept where nobody said.
    pub max_uses: u32,
    /// What its uses may come to together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total: Option<Total>,
    /// Only exactly the same tool and input.
    pub same_input_only: bool,
}

impl Limits {
    /// Checks what a person wrote.
    ///
    /// # Errors
    /// The first limit that cannot be taken.
    pub fn read(asked: &WindowLimits) -> Result<Self, LimitFault> {
        if !(1..=WINDOW_SECONDS_MAX).contains(&asked.seconds) {
            return Err(LimitFault::Seconds);
        }
        let max_uses = asked.max_uses.unwrap_or(WINDOW_USES_MAX);
        if !(1..=WINDOW_USES_MAX).contains(&max_uses) {
            return Err(LimitFault::Uses);
        }
        let total = asked.max_total.as_deref().map(Total::parse).transpose()?;
        Ok(Self {
            seconds: asked.seconds,
            max_uses,
            max_total: total,
            same_input_only: asked.same_input_only.unwrap_or(false),
        })
    }

    /// As events write them.
    #[must_use]
    pub fn written(&self) -> WindowLimits {
        WindowLimits {
            seconds: self.seconds,
            max_uses: Some(self.max_uses),
            max_total: self.max_total.as_ref().map(ToString::to_string),
            same_input_only: Some(self.same_input_only),
        }
    }

    /// What both allow.
    ///
    /// # Errors
    /// When their totals are in different currencies.
    pub fn and(self, other: Self) -> Result<Self, LimitFault> {
        let max_total = match (self.max_total, other.max_total) {
            (Some(a), Some(b)) if a.currency != b.currency => return Err(LimitFault::Currencies),
            (Some(a), Some(b)) if b.amount < a.amount => Some(b),
            (Some(one), _) | (None, Some(one)) => Some(one),
            (None, None) => None,
        };
        Ok(Self {
            seconds: self.seconds.min(other.seconds),
            max_uses: self.max_uses.min(other.max_uses),
            max_total,
            same_input_only: self.same_input_only || other.same_input_only,
        })
    }
}

/// The strictest limits over all votes that approved; `None` unless each asked for a
/// window: nobody's yes to one action becomes a yes to more.
///
/// # Errors
/// When a vote's limits cannot be taken, or not together.
pub fn strictest<'a>(
    votes: impl IntoIterator<Item = Option<&'a WindowLimits>>,
) -> Result<Option<Limits>, LimitFault> {
    let mut all: Option<Limits> = None;
    for vote in votes {
        let Some(asked) = vote else {
            return Ok(None);
        };
        let read = Limits::read(asked)?;
        all = Some(match all {
            Some(before) => before.and(read)?,
            None => read,
        });
    }
    Ok(all)
}
