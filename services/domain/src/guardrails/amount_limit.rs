//! `amount_limit`: amounts pass, ask people or are refused by how large they are.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::asking::AskKeys;
use super::money::{self, Currency};
use super::setup::{Faults, Setup, quote};
use super::{Case, Fault, Finding, Guardrail, GuardrailError};
use crate::policy::{AskRule, Pointer};

pub(super) const NAME: &str = "amount_limit";

/// The guardrail's table in the catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountLimitSettings {
    /// The fields that hold amounts; each is judged on its own.
    pub pointers: Vec<String>,
    /// The field with the currency, where amounts have one.
    pub currency: Option<String>,
    /// Whether amounts count in minor units, such as cents; limits never do.
    #[serde(default)]
    pub minor_units: bool,
    /// The limits: one for each currency, or one in all.
    pub limits: Vec<LimitTable>,
    /// Whether an amount may be left out; it passes then.
    #[serde(default)]
    pub optional: bool,
    /// Whether an amount may be zero.
    #[serde(default)]
    pub allow_zero: bool,
    /// Whether an amount may be below zero; its size is judged then.
    #[serde(default)]
    pub allow_negative: bool,
    /// Who decides on amounts above `ask_above`, as in `@ask`.
    pub ask: Option<String>,
    /// How long they have, as in `@expires`.
    pub expires: Option<String>,
    /// Whether they may answer in chat, as in `@chat`.
    pub chat: Option<String>,
    /// The longest time window that may lift it, as in `@window`.
    pub window: Option<String>,
}

/// The limits of one currency.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitTable {
    /// Its ISO 4217 code; none where amounts have no currency.
    pub currency: Option<String>,
    /// What is larger asks people.
    pub ask_above: Option<String>,
    /// What is larger is refused.
    pub deny_above: Option<String>,
}

impl AmountLimitSettings {
    pub(super) fn pointers(&self) -> Vec<&str> {
        let amounts = self.pointers.iter().chain(&self.currency);
        amounts.map(String::as_str).collect()
    }

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
pub struct AmountLimit {
    pointers: Vec<Pointer>,
    currency: Option<Pointer>,
    minor_units: bool,
    /// By currency; the empty name stands for amounts without one.
    limits: BTreeMap<String, Limit>,
    optional: bool,
    allow_zero: bool,
    allow_negative: bool,
    ask: Option<AskRule>,
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    ask_above: Option<Decimal>,
    deny_above: Option<Decimal>,
    /// Decimals of the minor unit.
    places: u32,
}

impl AmountLimit {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn new(
        settings: &AmountLimitSettings,
        setup: &Setup<'_>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let read = |text: &String| faults.pointer("pointers", text);
        let pointers: Vec<Pointer> = settings.pointers.iter().filter_map(read).collect();
        if settings.pointers.is_empty() {
            faults.note(
                "`pointers` names no field",
                "name every field with an amount",
            );
        }
        let currency = settings.currency.as_deref();
        let currency = currency.and_then(|text| faults.place("currency", text));
        if settings.minor_units && settings.currency.is_none() {
            faults.note(
                "`minor_units` needs `currency`, which says how small they are",
                "name the field with the currency",
            );
        }
        let limits = limits(settings, &mut faults);
        let asks = settings
            .limits
            .iter()
            .any(|limit| limit.ask_above.is_some());
        let ask = match asks {
            true => settings.keys().rule(setup, &mut faults),
            false => {
                let why = "no limit has `ask_above`";
                settings.keys().refuse(why, &mut faults);
                None
            }
        };
        faults.finish(Some(Self {
            pointers,
            currency,
            minor_units: settings.minor_units,
            limits,
            optional: settings.optional,
            allow_zero: settings.allow_zero,
            allow_negative: settings.allow_negative,
            ask,
        }))
    }

    fn limit(&self, input: &Map<String, Value>) -> Result<Limit, GuardrailError> {
        let code = match &self.currency {
            None => "",
            Some(pointer) => match pointer.find(input).as_slice() {
                [Value::String(code)] => code.as_str(),
                _ => return Err(refuse("there is no currency")),
            },
        };
        let found = self.limits.get(code).copied();
        found.ok_or_else(|| refuse("the currency is none that has limits"))
    }

    /// The size of one amount.
    fn size(&self, value: &Value, limit: Limit) -> Result<Decimal, GuardrailError> {
        let told = |error: money::MoneyError| refuse(&format!("an amount {error}"));
        let mut amount = money::number(value).map_err(told)?;
        if self.minor_units {
            if amount.scale() > 0 {
                return Err(refuse("an amount in minor units has decimals"));
            }
            amount = money::from_minor(amount, limit.places).map_err(told)?;
        }
        if amount.is_zero() && !self.allow_zero {
            return Err(refuse("an amount is zero"));
        }
        if amount.is_sign_negative() && !amount.is_zero() && !self.allow_negative {
            return Err(refuse("an amount is below zero"));
        }
        Ok(amount.abs())
    }
}

fn refuse(what: &str) -> GuardrailError {
    GuardrailError {
        name: NAME,
        what: what.to_owned(),
    }
}

fn limits(settings: &AmountLimitSettings, faults: &mut Faults) -> BTreeMap<String, Limit> {
    let mut read = BTreeMap::new();
    if settings.limits.is_empty() {
        faults.note(
            "has no `limits`",
            "give at least one with `ask_above` or `deny_above`",
        );
    }
    for table in &settings.limits {
        let code = table.currency.clone().unwrap_or_default();
        let known = Currency::of(&code);
        match (&settings.currency, &table.currency) {
            (Some(_), None) => faults.note(
                "a limit has no `currency`, though amounts have one",
                "give each limit the ISO 4217 code that it is for",
            ),
            (None, Some(_)) => faults.note(
                format!(
                    "a limit has a currency, `{}`, though amounts have none",
                    quote(&code)
                ),
                "name the field with the currency in `currency`",
            ),
            (Some(_), Some(_)) if known.is_none() => faults.note(
                format!("`{}` is no currency with minor units", quote(&code)),
                "use a code of ISO 4217 in capitals",
            ),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let limit = limit(table, known, faults);
        if read.insert(code.clone(), limit).is_some() {
            let what = format!("has two limits for the currency `{}`", quote(&code));
            faults.note(what, "keep one; two guardrails may stand on a tool");
        }
    }
    read
}

fn limit(table: &LimitTable, currency: Option<Currency>, faults: &mut Faults) -> Limit {
    let mut read = |key: &str, text: &Option<String>| {
        let number = money::plain(text.as_deref()?);
        let number = faults.keep(
            number,
            key,
            "write a decimal number as text, such as \"5000\"",
        )?;
        if number.is_sign_negative() && !number.is_zero() {
            faults.note(
                format!("`{key}` is below zero"),
                "limits are for the size of an amount",
            );
        }
        Some(number)
    };
    let ask_above = read("ask_above", &table.ask_above);
    let deny_above = read("deny_above", &table.deny_above);
    if table.ask_above.is_none() && table.deny_above.is_none() {
        faults.note(
            "a limit limits nothing",
            "give it `ask_above` or `deny_above`",
        );
    }
    if ask_above
        .zip(deny_above)
        .is_some_and(|(ask, deny)| ask >= deny)
    {
        faults.note(
            "`ask_above` is not below `deny_above`, so nobody would be asked",
            "ask about less than you refuse",
        );
    }
    Limit {
        ask_above,
        deny_above,
        places: currency.map_or(0, |currency| currency.places),
    }
}

impl Guardrail for AmountLimit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn asks(&self) -> Vec<&AskRule> {
        self.ask.iter().collect()
    }

    fn check(&self, case: &Case<'_>) -> Result<Finding, GuardrailError> {
        let limit = self.limit(case.input)?;
        let (mut count, mut largest) = (0_usize, Decimal::ZERO);
        for pointer in &self.pointers {
            let found = pointer.find(case.input);
            if found.is_empty() && !self.optional {
                return Err(refuse("an amount is missing"));
            }
            for value in found {
                largest = largest.max(self.size(value, limit)?);
                count += 1;
            }
        }
        if let Some(most) = limit.deny_above.filter(|most| largest > *most) {
            return Ok(Finding::Deny {
                message: format!("an amount is above {most}, more than is allowed"),
                need: "a smaller amount, or somebody who may do this themselves".to_owned(),
            });
        }
        let above = limit.ask_above.filter(|most| largest > *most);
        Ok(match above.zip(self.ask.as_ref()) {
            Some((most, ask)) => Finding::asking(
                format!("an amount is above {most}, where people decide"),
                ask,
            ),
            None => Finding::Pass {
                message: format!("{count} amount(s) are within the limits"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::guardrails::tests::{Company, Desk, word};
    use serde_json::{Value, json};

    const PLAIN: &str = r#"
        kind = "amount_limit"
        pointers = ["/total"]
        limits = [{ ask_above = "5000", deny_above = "100000" }]
        ask = "finance:2"
        expires = "4h"
        chat = "no"
    "#;

    fn words(settings: &str, table: &[(Value, &str)]) {
        let guard = Company::new().build(settings).unwrap();
        for (input, expected) in table {
            let found = Desk::new().check(guard.as_ref(), input);
            assert_eq!(word(&found), *expected, "{input}");
        }
    }

    #[test]
    fn hard_cases() {
        words(
            PLAIN,
            &[
                (json!({"total": 5000}), "pass"),
                (json!({"total": "5000.00"}), "pass"),
                (json!({"total": 0.01}), "pass"),
                (json!({"total": "5000.0000000000000000000001"}), "ask"),
                (json!({"total": 5000.01}), "ask"),
                (json!({"total": "100000"}), "ask"),
                (json!({"total": "100000.01"}), "deny"),
                (json!({"total": "79228162514264337593543950335"}), "deny"),
                (json!({"total": "79228162514264337593543950336"}), "error"),
                (json!({"total": 1e300}), "error"),
                (json!({"total": "1e3"}), "error"),
                (json!({"total": "0x10"}), "error"),
                (json!({"total": 0}), "error"),
                (json!({"total": "-0.00"}), "error"),
                (json!({"total": -1}), "error"),
                (json!({"total": "-6000"}), "error"),
                (json!({"total": "5,000"}), "error"),
                (json!({"total": "five"}), "error"),
                (json!({"total": null}), "error"),
                (json!({"total": true}), "error"),
                (json!({"total": [1]}), "error"),
                (json!({"Total": 1}), "error"),
                (json!({}), "error"),
            ],
        );
    }

    #[test]
    fn zero_negative_and_missing_amounts_pass_only_where_they_may() {
        let settings =
            format!("{PLAIN}\noptional = true\nallow_zero = true\nallow_negative = true");
        words(
            &settings,
            &[
                (json!({}), "pass"),
                (json!({"total": 0}), "pass"),
                (json!({"total": "-5000"}), "pass"),
                // A refund is as large as a payment.
                (json!({"total": "-5000.01"}), "ask"),
                (json!({"total": -100001}), "deny"),
                (json!({"total": null}), "error"),
            ],
        );
    }

    #[test]
    fn each_currency_has_its_own_limits() {
        let settings = r#"
            kind = "amount_limit"
            pointers = ["/items/*/cents", "/fee"]
            currency = "/currency"
            minor_units = true
            allow_zero = true
            limits = [
                { currency = "EUR", ask_above = "50" },
                { currency = "JPY", ask_above = "5000" },
                { currency = "KWD", ask_above = "15.5", deny_above = "20" },
            ]
            ask = "finance"
        "#;
        let input = |code: &str, cents: Value, fee: Value| json!({"currency": code, "items": [{"cents": 1}, {"cents": cents}], "fee": fee});
        words(
            settings,
            &[
                (input("EUR", json!(5000), json!(0)), "pass"),
                (input("EUR", json!(5001), json!(0)), "ask"),
                (input("EUR", json!(1), json!(5001)), "ask"),
                (input("JPY", json!(5000), json!(0)), "pass"),
                (input("JPY", json!(5001), json!(0)), "ask"),
                (input("KWD", json!(15_500), json!(0)), "pass"),
                (input("KWD", json!(15_501), json!(0)), "ask"),
                (input("KWD", json!(20_001), json!(0)), "deny"),
                (input("EUR", json!(1.5), json!(0)), "error"),
                (input("USD", json!(1), json!(0)), "error"),
                (input("eur", json!(1), json!(0)), "error"),
                (input("", json!(1), json!(0)), "error"),
                (json!({"items": [{"cents": 1}], "fee": 1}), "error"),
                (
                    json!({"currency": ["EUR"], "items": [{"cents": 1}], "fee": 1}),
                    "error",
                ),
                (json!({"currency": "EUR", "items": [], "fee": 1}), "error"),
                (json!({"currency": "EUR", "items": [{"cents": 1}]}), "error"),
            ],
        );
    }

    #[test]
    fn no_message_holds_the_amount() {
        let guard = Company::new().build(PLAIN).unwrap();
        for total in ["77777.77", "777777.77", "-77777.77", "77777,77"] {
            let found = Desk::new().check(guard.as_ref(), &json!({ "total": total }));
            assert!(!format!("{found:?}").contains("7777"), "{found:?}");
        }
    }

    #[test]
    fn settings_report_every_fault() {
        let company = Company::new();
        let table: &[(&str, &[&str])] = &[
            (
                "pointers = [\"total\"]\nlimits = [{ ask_above = \"5e3\" }, { deny_above = \"-1\" }]\nask = \"nobody\"",
                &[
                    "`total`",
                    "`ask_above`",
                    "`deny_above` is below",
                    "two limits",
                    "`nobody`",
                ],
            ),
            (
                "pointers = []\nlimits = []\nask = \"finance\"\nminor_units = true",
                &[
                    "names no field",
                    "`minor_units`",
                    "no `limits`",
                    "has `ask`",
                ],
            ),
            (
                "pointers = [\"/a\"]\ncurrency = \"/*\"\nlimits = [{ ask_above = \"2\", deny_above = \"2\" }, { currency = \"XAU\" }]\nask = \"finance\"",
                &[
                    "several fields",
                    "no `currency`",
                    "not below",
                    "`XAU`",
                    "limits nothing",
                ],
            ),
            (
                "pointers = [\"/a\"]\nlimits = [{ currency = \"EUR\", ask_above = \"2\" }]",
                &["amounts have none", "lacks `ask`"],
            ),
        ];
        for (settings, words) in table {
            let faults = company.faults(&format!("kind = \"amount_limit\"\n{settings}"));
            assert_eq!(faults.len(), words.len(), "{faults:?}");
            for (fault, word) in faults.iter().zip(*words) {
                assert!(fault.contains(word), "{fault} does not say {word}");
            }
        }
    }
}
