//! One invoice, calculated in exact decimals.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::{CurrencyOf, InvoiceTotal, Rounding};
use crate::guardrails::money::{self, Currency, MoneyError, minus, plus, quotient, times};
use crate::policy::Pointer;

/// Lines of an invoice: a body of 256 KiB holds no more that say anything.
const LINES_MAX: usize = 5_000;

/// Why an invoice does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It can be read, and is wrong.
    Sum(String),
    /// It cannot be calculated.
    Unreadable(String),
}

impl From<MoneyError> for Wrong {
    fn from(error: MoneyError) -> Self {
        Self::Unreadable(format!("an amount {error}"))
    }
}

fn unreadable<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Unreadable(what.into()))
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Sum(what.into()))
}

/// An invoice whose lines, currency and total were found.
pub(super) struct Bill<'a> {
    set: &'a InvoiceTotal,
    input: &'a Map<String, Value>,
    lines: &'a [Value],
    places: u32,
}

/// One line, calculated.
struct Line {
    /// After its discount, rounded where lines are.
    amount: Decimal,
    /// Its tax as a percentage; zero where it has none.
    percent: Decimal,
    /// Its tax as stated.
    tax: Option<Decimal>,
}

/// What the lines come to.
struct Sums {
    /// Without the discount on the whole.
    gross: Decimal,
    /// With it.
    net: Decimal,
}

impl<'a> Bill<'a> {
    pub(super) fn read(
        set: &'a InvoiceTotal,
        input: &'a Map<String, Value>,
    ) -> Result<Self, Wrong> {
        let lines = match set.lines.find(input).as_slice() {
            [Value::Array(lines)] => lines.as_slice(),
            _ => return unreadable("there are no lines"),
        };
        if lines.is_empty() || lines.len() > LINES_MAX {
            return unreadable(format!("there are not 1 to {LINES_MAX} lines"));
        }
        let currency = match &set.currency {
            CurrencyOf::Always(currency) => Some(*currency),
            CurrencyOf::Field(pointer) => match pointer.find(input).as_slice() {
                [Value::String(code)] => Currency::of(code),
                _ => None,
            },
        };
        let Some(currency) = currency else {
            return unreadable("the currency is missing or has no minor units");
        };
        Ok(Self {
            set,
            input,
            lines,
            places: currency.places,
        })
    }

    /// How many lines add up to the total, or why they do not.
    pub(super) fn check(&self) -> Result<usize, Wrong> {
        let Some(total) = self.stated(self.input, Some(&self.set.total), "the total")? else {
            return unreadable("there is no total");
        };
        if is_below_zero(total) && !self.set.credit_notes {
            return wrong("the total is below zero, which only a credit note may be");
        }
        let mut lines = Vec::with_capacity(self.lines.len());
        for (at, line) in self.lines.iter().enumerate() {
            lines.push(self.line(line, &format!("line {}", at + 1))?);
        }
        let sums = self.sums(&lines)?;
        let tax = self.tax(&lines, &sums)?;
        let due = match self.set.tax_included {
            true => sums.net,
            false => plus(sums.net, tax)?,
        };
        if !self.agree(total, self.round(due)?)? {
            return wrong("the total is not what the lines, discounts and taxes come to");
        }
        Ok(lines.len())
    }

    fn line(&self, line: &Value, name: &str) -> Result<Line, Wrong> {
        let Value::Object(line) = line else {
            return unreadable(format!("{name} is not an object"));
        };
        let places = &self.set.line;
        let quantity = self.number(
            line,
            Some(&places.quantity),
            &format!("the quantity of {name}"),
        )?;
        let price = self.money(line, Some(&places.price), &format!("the price of {name}"))?;
        let Some((quantity, price)) = quantity.zip(price) else {
            return unreadable(format!("{name} has no quantity or no price"));
        };
        let negative = usize::from(is_below_zero(quantity)) + usize::from(is_below_zero(price));
        if negative > usize::from(self.set.credit_notes) {
            return wrong(format!("{name} has a quantity or price below zero"));
        }
        let cuts = (places.discount.as_ref(), places.discount_percent.as_ref());
        let amount = self.less(times(quantity, price)?, line, cuts, name)?;
        let amount = match self.set.rounding {
            Rounding::Line => self.round(amount)?,
            Rounding::Total => amount,
        };
        let stated = self.stated(line, places.total.as_ref(), &format!("the total of {name}"))?;
        if let Some(stated) = stated
            && !self.agree(stated, self.round(amount)?)?
        {
            return wrong(format!("the total of {name} is not what it comes to"));
        }
        let percent = self.percent(
            line,
            places.tax_percent.as_ref(),
            &format!("the tax of {name}"),
        )?;
        let tax = self.stated(line, places.tax.as_ref(), &format!("the tax of {name}"))?;
        if tax.is_some_and(|tax| !is_share(tax, amount)) {
            return wrong(format!("the tax of {name} is no part of its amount"));
        }
        Ok(Line {
            amount,
            percent: percent.unwrap_or_default(),
            tax,
        })
    }

    fn sums(&self, lines: &[Line]) -> Result<Sums, Wrong> {
        let all = lines.iter().map(|line| line.amount);
        let gross = sum(all)?;
        let set = self.set;
        let cuts = (set.discount.as_ref(), set.discount_percent.as_ref());
        let net = self.less(gross, self.input, cuts, "the whole")?;
        let net = match set.rounding {
            Rounding::Line => self.round(net)?,
            Rounding::Total => net,
        };
        Ok(Sums { gross, net })
    }

    /// `amount` less a discount, which is an amount or a percentage but never both: in which
    /// order the two count is a matter of taste.
    fn less(
        &self,
        amount: Decimal,
        from: &Map<String, Value>,
        (cut, percent): (Option<&Pointer>, Option<&Pointer>),
        name: &str,
    ) -> Result<Decimal, Wrong> {
        let name = format!("the discount on {name}");
        let cut = self.stated(from, cut, &name)?;
        let percent = self.percent(from, percent, &name)?;
        match (cut, percent) {
            (None, None) => Ok(amount),
            (Some(_), Some(_)) => wrong(format!("{name} is an amount and a percentage")),
            (None, Some(percent)) => {
                let kept = minus(Decimal::ONE_HUNDRED, percent)?;
                Ok(money::from_minor(times(amount, kept)?, 2)?)
            }
            (Some(cut), None) if is_below_zero(cut) || cut > amount.abs() => {
                wrong(format!("{name} is below zero or more than there is"))
            }
            // It makes a credit smaller as well.
            (Some(cut), None) if is_below_zero(amount) => Ok(plus(amount, cut)?),
            (Some(cut), None) => Ok(minus(amount, cut)?),
        }
    }

    /// The tax on the whole, checked against what is stated.
    fn tax(&self, lines: &[Line], sums: &Sums) -> Result<Decimal, Wrong> {
        let set = self.set;
        let stated = self.stated(self.input, set.tax.as_ref(), "the tax")?;
        if stated.is_some_and(|tax| !is_share(tax, sums.net)) {
            return wrong("the tax is no part of the amount");
        }
        let percent = self.percent(self.input, set.tax_percent.as_ref(), "the tax")?;
        let calculated = match percent {
            Some(percent) => Some(self.tax_on(sums.gross, percent, sums)?),
            None if set.line.tax.is_some() || set.line.tax_percent.is_some() => {
                Some(self.tax_of_lines(lines, sums)?)
            }
            None if set.tax_percent.is_some() => Some(Decimal::ZERO),
            None => None,
        };
        match (stated, calculated) {
            (Some(stated), Some(calculated)) if !self.agree(stated, calculated)? => {
                wrong("the tax is not what its rates come to")
            }
            (stated, calculated) => Ok(stated.or(calculated).unwrap_or_default()),
        }
    }

    fn tax_of_lines(&self, lines: &[Line], sums: &Sums) -> Result<Decimal, Wrong> {
        let mut all = Decimal::ZERO;
        let mut rates: BTreeMap<Decimal, Decimal> = BTreeMap::new();
        for (at, line) in lines.iter().enumerate() {
            let whole_rate = self.set.rounding == Rounding::Total && line.tax.is_none();
            if whole_rate {
                let of_rate = rates.entry(line.percent).or_default();
                *of_rate = plus(*of_rate, line.amount)?;
                continue;
            }
            let calculated = self.tax_on(line.amount, line.percent, sums)?;
            let checked = self.set.line.tax_percent.is_some();
            if let Some(stated) = line.tax
                && checked
                && !self.agree(stated, calculated)?
            {
                return wrong(format!(
                    "the tax of line {} is not what its rate comes to",
                    at + 1
                ));
            }
            all = plus(all, line.tax.unwrap_or(calculated))?;
        }
        for (percent, amount) in rates {
            all = plus(all, self.tax_on(amount, percent, sums)?)?;
        }
        Ok(all)
    }

    /// The tax of `percent` on the part `amount` of the lines, after its share of the
    /// discount on the whole; rounded once.
    fn tax_on(&self, amount: Decimal, percent: Decimal, sums: &Sums) -> Result<Decimal, Wrong> {
        let parts = match self.set.tax_included {
            true => plus(Decimal::ONE_HUNDRED, percent)?,
            false => Decimal::ONE_HUNDRED,
        };
        let (above, below) = match sums.gross == sums.net {
            true => (times(amount, percent)?, parts),
            false => (
                times(times(amount, sums.net)?, percent)?,
                times(parts, sums.gross)?,
            ),
        };
        Ok(quotient(above, below, self.places, self.set.halves)?)
    }

    fn round(&self, amount: Decimal) -> Result<Decimal, Wrong> {
        Ok(money::rounded(amount, self.places, self.set.halves)?)
    }

    /// Whether a stated amount is within the tolerance of the calculated one.
    fn agree(&self, stated: Decimal, calculated: Decimal) -> Result<bool, Wrong> {
        let room = money::from_minor(Decimal::from(self.set.tolerance), self.places)?;
        Ok(minus(stated, calculated)?.abs() <= room)
    }

    /// A number of the input; `None` where it is left out or null.
    fn number(
        &self,
        from: &Map<String, Value>,
        at: Option<&Pointer>,
        name: &str,
    ) -> Result<Option<Decimal>, Wrong> {
        let Some(at) = at else { return Ok(None) };
        match at.find(from).as_slice() {
            [] | [Value::Null] => Ok(None),
            [value] => {
                let told = |error| Wrong::Unreadable(format!("{name} {error}"));
                money::number(value).map(Some).map_err(told)
            }
            _ => unreadable(format!("{name} stands in several places")),
        }
    }

    /// An amount of money; prices may be finer than the minor unit.
    fn money(
        &self,
        from: &Map<String, Value>,
        at: Option<&Pointer>,
        name: &str,
    ) -> Result<Option<Decimal>, Wrong> {
        let found = self.number(from, at, name)?;
        Ok(match self.set.minor_units {
            true => found
                .map(|one| money::from_minor(one, self.places))
                .transpose()?,
            false => found,
        })
    }

    /// An amount that can be paid: whole minor units.
    fn stated(
        &self,
        from: &Map<String, Value>,
        at: Option<&Pointer>,
        name: &str,
    ) -> Result<Option<Decimal>, Wrong> {
        let found = self.money(from, at, name)?;
        match found {
            Some(amount) if amount.scale() > self.places => {
                wrong(format!("{name} has more decimals than its currency"))
            }
            found => Ok(found),
        }
    }

    fn percent(
        &self,
        from: &Map<String, Value>,
        at: Option<&Pointer>,
        name: &str,
    ) -> Result<Option<Decimal>, Wrong> {
        let found = self.number(from, at, name)?;
        match found {
            Some(percent) if is_below_zero(percent) || percent > Decimal::ONE_HUNDRED => {
                wrong(format!("{name} is not between 0 and 100 percent"))
            }
            found => Ok(found),
        }
    }
}

fn is_below_zero(number: Decimal) -> bool {
    number < Decimal::ZERO
}

/// Whether `tax` can be a tax on `amount`: of the same sign, and no larger.
fn is_share(tax: Decimal, amount: Decimal) -> bool {
    tax.is_zero() || (is_below_zero(tax) == is_below_zero(amount) && tax.abs() <= amount.abs())
}

fn sum(all: impl Iterator<Item = Decimal>) -> Result<Decimal, MoneyError> {
    let mut total = Decimal::ZERO;
    for one in all {
        total = plus(total, one)?;
    }
    Ok(total)
}
