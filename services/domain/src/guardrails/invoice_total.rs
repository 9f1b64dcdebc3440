//! `invoice_total`: lines, discounts and taxes add up to the total that an input states.

mod bill;
#[cfg(test)]
mod tests;

use serde::Deserialize;

use super::money::{Currency, Halves};
use super::setup::{Faults, quote};
use super::{Case, Fault, Finding, Guardrail, GuardrailError};
use crate::policy::Pointer;

use bill::{Bill, Wrong};

pub(super) const NAME: &str = "invoice_total";
/// Minor units that a total may be off: a cent for each line of a long invoice. More is no
/// rounding.
const TOLERANCE_MAX: u32 = 100;

/// The guardrail's table in the catalog. What starts with `line_` stands in each line.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvoiceTotalSettings {
    /// The array of lines, such as `/lines`.
    pub lines: String,
    /// How many, such as `/lines/*/quantity`; decimals are allowed.
    pub quantity: String,
    /// The price of one.
    pub price: String,
    /// An amount off the line.
    pub line_discount: Option<String>,
    /// A percentage off the line.
    pub line_discount_percent: Option<String>,
    /// The tax on the line, as an amount.
    pub line_tax: Option<String>,
    /// The tax on the line, as a percentage.
    pub line_tax_percent: Option<String>,
    /// The line's amount after its discount.
    pub line_total: Option<String>,
    /// An amount off the whole.
    pub discount: Option<String>,
    /// A percentage off the whole.
    pub discount_percent: Option<String>,
    /// The tax on the whole, as an amount.
    pub tax: Option<String>,
    /// The tax on the whole, as a percentage.
    pub tax_percent: Option<String>,
    /// What is to be paid.
    pub total: String,
    /// The field with the currency.
    pub currency: Option<String>,
    /// The one currency, where no field holds it.
    pub currency_code: Option<String>,
    /// Whether prices, and so the total, include the tax.
    #[serde(default)]
    pub tax_included: bool,
    /// Whether amounts count in minor units, such as cents.
    #[serde(default)]
    pub minor_units: bool,
    /// Where amounts are rounded.
    #[serde(default)]
    pub rounding: Rounding,
    /// Where a half goes.
    #[serde(default = "halves_up")]
    pub halves: Halves,
    /// Minor units that each stated amount may be off.
    #[serde(default)]
    pub tolerance: u32,
    /// Whether lines and totals may be below zero.
    #[serde(default)]
    pub credit_notes: bool,
}

/// Where amounts between two minor units are rounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// Each line, each tax of a line and the discount on the whole.
    #[default]
    Line,
    /// Only the tax of each rate, and the total.
    Total,
}

fn halves_up() -> Halves {
    Halves::Up
}

impl InvoiceTotalSettings {
    pub(super) fn pointers(&self) -> Vec<&str> {
        let needed = [&self.lines, &self.quantity, &self.price, &self.total];
        let named = needed.into_iter().map(String::as_str);
        let others = self.line_options().into_iter().chain(self.whole_options());
        let others = others.filter_map(|(_, text)| text);
        named.chain(others).collect()
    }

    fn line_options(&self) -> [(&'static str, Option<&str>); 5] {
        [
            ("line_discount", self.line_discount.as_deref()),
            (
                "line_discount_percent",
                self.line_discount_percent.as_deref(),
            ),
            ("line_tax", self.line_tax.as_deref()),
            ("line_tax_percent", self.line_tax_percent.as_deref()),
            ("line_total", self.line_total.as_deref()),
        ]
    }

    fn whole_options(&self) -> [(&'static str, Option<&str>); 5] {
        [
            ("discount", self.discount.as_deref()),
            ("discount_percent", self.discount_percent.as_deref()),
            ("tax", self.tax.as_deref()),
            ("tax_percent", self.tax_percent.as_deref()),
            ("currency", self.currency.as_deref()),
        ]
    }
}

/// The guardrail, ready.
#[derive(Debug)]
pub struct InvoiceTotal {
    lines: Pointer,
    /// In each line.
    line: LinePlaces,
    discount: Option<Pointer>,
    discount_percent: Option<Pointer>,
    tax: Option<Pointer>,
    tax_percent: Option<Pointer>,
    total: Pointer,
    currency: CurrencyOf,
    tax_included: bool,
    minor_units: bool,
    rounding: Rounding,
    halves: Halves,
    tolerance: u32,
    credit_notes: bool,
}

/// Places below one line.
#[derive(Debug)]
struct LinePlaces {
    quantity: Pointer,
    price: Pointer,
    discount: Option<Pointer>,
    discount_percent: Option<Pointer>,
    tax: Option<Pointer>,
    tax_percent: Option<Pointer>,
    total: Option<Pointer>,
}

#[derive(Debug)]
enum CurrencyOf {
    Field(Pointer),
    Always(Currency),
}

impl InvoiceTotal {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn new(settings: &InvoiceTotalSettings) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let built = Self::read(settings, &mut faults);
        if settings.tolerance > TOLERANCE_MAX {
            let what = format!("`tolerance` is more than {TOLERANCE_MAX} minor units");
            faults.note(what, "a rounding difference is a few minor units");
        }
        let line_taxes = settings.line_tax.is_some() || settings.line_tax_percent.is_some();
        if line_taxes && settings.tax_percent.is_some() {
            faults.note(
                "taxes each line and the whole by a percentage",
                "keep `tax_percent` or the taxes of the lines",
            );
        }
        faults.finish(built)
    }

    /// Reads every pointer before it gives up on one, so that each fault is noted.
    fn read(settings: &InvoiceTotalSettings, faults: &mut Faults) -> Option<Self> {
        let currency = currency(settings, faults);
        let lines = faults.place("lines", &settings.lines);
        let mut in_line = |key, text| in_line(key, text, &settings.lines, faults);
        let quantity = in_line("quantity", &settings.quantity);
        let price = in_line("price", &settings.price);
        let [discount, discount_percent, tax, tax_percent, total] = settings
            .line_options()
            .map(|(key, text)| text.and_then(|text| in_line(key, text)));
        let line = quantity.zip(price).map(|(quantity, price)| LinePlaces {
            quantity,
            price,
            discount,
            discount_percent,
            tax,
            tax_percent,
            total,
        });
        let [discount, discount_percent, tax, tax_percent, _] = settings
            .whole_options()
            .map(|(key, text)| text.and_then(|text| faults.place(key, text)));
        let total = faults.place("total", &settings.total);
        Some(Self {
            lines: lines?,
            line: line?,
            discount,
            discount_percent,
            tax,
            tax_percent,
            total: total?,
            currency: currency?,
            tax_included: settings.tax_included,
            minor_units: settings.minor_units,
            rounding: settings.rounding,
            halves: settings.halves,
            tolerance: settings.tolerance,
            credit_notes: settings.credit_notes,
        })
    }
}

fn currency(settings: &InvoiceTotalSettings, faults: &mut Faults) -> Option<CurrencyOf> {
    match (&settings.currency, &settings.currency_code) {
        // Its faults are noted with those of the other places.
        (Some(text), None) => Pointer::parse(text).ok().map(CurrencyOf::Field),
        (None, Some(code)) => {
            let known = Currency::of(code);
            if known.is_none() {
                faults.note(
                    format!("`{}` is no currency with minor units", quote(code)),
                    "use a code of ISO 4217 in capitals",
                );
            }
            known.map(CurrencyOf::Always)
        }
        (None, None) | (Some(_), Some(_)) => {
            faults.note(
                "has not exactly one of `currency` and `currency_code`",
                "name the field with the currency, or the one currency",
            );
            None
        }
    }
}

/// A place below each line, read from its full pointer `<lines>/*/<place>`.
fn in_line(key: &str, text: &str, lines: &str, faults: &mut Faults) -> Option<Pointer> {
    faults.pointer(key, text)?;
    let below = text
        .strip_prefix(lines)
        .and_then(|rest| rest.strip_prefix("/*"))
        .filter(|rest| rest.starts_with('/'));
    let Some(below) = below else {
        faults.note(
            format!("`{key}` is not below a line"),
            format!("write it as `{}/*/…`", quote(lines)),
        );
        return None;
    };
    faults.place(key, below)
}

impl Guardrail for InvoiceTotal {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, case: &Case<'_>) -> Result<Finding, GuardrailError> {
        match Bill::read(self, case.input).and_then(|bill| bill.check()) {
            Ok(lines) => Ok(Finding::Pass {
                message: format!("{lines} line(s) add up to the total"),
            }),
            Err(Wrong::Sum(message)) => Ok(Finding::Deny {
                message,
                need: "an invoice that adds up, or somebody who writes it themselves".to_owned(),
            }),
            Err(Wrong::Unreadable(what)) => Err(GuardrailError { name: NAME, what }),
        }
    }
}
