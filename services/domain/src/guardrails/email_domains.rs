//! `email_domains`: every recipient must be at a known domain; others ask people or are
//! refused.

use serde::Deserialize;

use super::address;
use super::asking::{AskKeys, Otherwise};
use super::domains::{Domain, Known};
use super::setup::{Faults, Setup, quote};
use super::{Case, Fault, Finding, Guardrail, GuardrailError};
use crate::policy::{AskRule, Pointer};

pub(super) const NAME: &str = "email_domains";

/// The guardrail's table in the catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailDomainsSettings {
    /// Every field that holds recipients: to, cc and bcc alike.
    pub pointers: Vec<String>,
    /// Known domains; `*.x.example` stands for everything below `x.example`.
    pub known: Vec<String>,
    /// What happens with other domains.
    pub unknown: Otherwise,
    /// Who decides on other domains, as in `@ask`.
    pub ask: Option<String>,
    /// How long they have, as in `@expires`.
    pub expires: Option<String>,
    /// Whether they may answer in chat, as in `@chat`.
    pub chat: Option<String>,
    /// The longest time window that may lift it, as in `@window`.
    pub window: Option<String>,
}

impl EmailDomainsSettings {
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
pub struct EmailDomains {
    pointers: Vec<Pointer>,
    known: Vec<Known>,
    /// Who decides on other domains; nobody where they are refused.
    ask: Option<AskRule>,
}

impl EmailDomains {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn new(
        settings: &EmailDomainsSettings,
        setup: &Setup<'_>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let read = |text: &String| faults.pointer("pointers", text);
        let pointers: Vec<Pointer> = settings.pointers.iter().filter_map(read).collect();
        let mut known = Vec::new();
        for text in &settings.known {
            match Known::read(text) {
                Some(entry) => known.push(entry),
                None => faults.note(
                    format!("`known` has `{}`, which is no domain", quote(text)),
                    "write `x.example`, or `*.x.example` for all below it",
                ),
            }
        }
        if settings.pointers.is_empty() {
            faults.note(
                "`pointers` names no field",
                "name every field of recipients",
            );
        }
        let keys = settings.keys();
        let ask = settings.unknown.rule("unknown", keys, setup, &mut faults);
        faults.finish(Some(Self {
            pointers,
            known,
            ask,
        }))
    }
}

impl Guardrail for EmailDomains {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, case: &Case<'_>) -> Result<Finding, GuardrailError> {
        let refuse = |what: String| GuardrailError { name: NAME, what };
        let found = address::recipients(&self.pointers, case.input)
            .map_err(|error| refuse(error.to_string()))?;
        if found.is_empty() {
            return Err(refuse("there is no recipient".to_owned()));
        }
        let mut strangers = 0_usize;
        for address in &found {
            let domain = Domain::read(&address.domain)
                .ok_or_else(|| refuse("a recipient's domain cannot exist".to_owned()))?;
            strangers += usize::from(!self.known.iter().any(|known| known.covers(&domain)));
        }
        let all = found.len();
        if strangers == 0 {
            let message = format!("all {all} recipient(s) are at known domains");
            return Ok(Finding::Pass { message });
        }
        let message =
            format!("{strangers} of {all} recipient(s) are at domains that are not known");
        Ok(match &self.ask {
            Some(ask) => Finding::asking(message, ask),
            None => Finding::Deny {
                message,
                need: "only recipients at known domains, or the domain added to the catalog"
                    .to_owned(),
            },
        })
    }

    fn recipients(&self) -> &[Pointer] {
        &self.pointers
    }

    fn asks(&self) -> Vec<&AskRule> {
        self.ask.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guardrails::tests::{self, Company, Desk};
    use serde_json::{Value, json};

    fn settings(unknown: &str) -> Value {
        json!({
            "pointers": ["/to", "/cc", "/bcc"],
            "known": ["northwind.example", "*.partners.example"],
            "unknown": unknown
        })
    }

    fn read(settings: Value) -> EmailDomainsSettings {
        serde_json::from_value(settings).unwrap()
    }

    fn build(settings: Value) -> Result<EmailDomains, Vec<Fault>> {
        EmailDomains::new(&read(settings), &Company::new().setup())
    }

    fn asking() -> EmailDomains {
        let mut settings = settings("ask");
        settings["ask"] = json!("leads");
        settings["expires"] = json!("30m");
        settings["chat"] = json!("no");
        build(settings).unwrap()
    }

    fn word(guard: &EmailDomains, input: Value) -> &'static str {
        tests::word(&Desk::new().check(guard, &input))
    }

    /// Each is found `expected` in the place of `to`, and beside a known recipient in `cc`
    /// and in `bcc` too.
    fn found(expected: &str, recipients: &[&str]) {
        let guard = asking();
        let known = "kim@northwind.example";
        for text in recipients {
            let places = [
                json!({"to": text}),
                json!({"to": [known, text]}),
                json!({"to": known, "cc": text}),
                json!({"to": [known], "bcc": [known, text]}),
            ];
            for input in places {
                assert_eq!(word(&guard, input.clone()), expected, "{input}");
            }
        }
    }

    #[test]
    fn known_domains_pass_however_they_are_written() {
        found(
            "pass",
            &[
                "kim@northwind.example",
                "Kim <kim+x@NORTHWIND.example>",
                "kim+a+b@northwind.example",
                "\"kim jo\"@northwind.example",
                "\"x@globex.example, y\" <kim@northwind.example>",
                "kim@eu.partners.example",
                "kim@a.b.partners.example",
                "kim@northwind.example, lee@northwind.example; jo@EU.partners.example",
            ],
        );
    }

    #[test]
    fn other_domains_ask_however_known_they_look() {
        found(
            "ask",
            &[
                "x@globex.example",
                "kim@northwind.example, x@globex.example",
                "x@globex.example;kim@northwind.example",
                "\"kim@northwind.example\" <x@globex.example>",
                // Beside the known ones, above and below them.
                "kim@partners.example",
                "kim@sub.northwind.example",
                "kim@notnorthwind.example",
                "kim@evilpartners.example",
                "kim@northwind.example.globex.example",
                "kim@northwind-example.globex.example",
                // Letters of other scripts, plain and in punycode, and full-width ones.
                "kim@northw\u{456}nd.example",
                "kim@northw\u{131}nd.example",
                "kim@xn--northwnd-ykb.example",
                "kim@northwind.\u{435}xample",
                "kim@\u{430}.partners.example",
                "kim@\u{ff4e}orthwind.example",
                "kim@northwind\u{3002}example",
            ],
        );
    }

    #[test]
    fn what_cannot_be_read_with_certainty_is_refused() {
        found(
            "error",
            &[
                "kim@northwind.example <x@globex.example>",
                "x%globex.example@northwind.example",
                "globex.example!x@northwind.example",
                "kim@northwind.example\nBcc: x@globex.example",
                "kim@northwind.example (x@globex.example)",
                "Team: kim@northwind.example, x@globex.example;",
                "Team:;",
                "=?utf-8?q?x=40globex.example=2c?=@northwind.example",
                "\"kim, jo\"@northwind.example",
                "\"x@globex.example\"@northwind.example",
                "kim@xn--a.example",
                "kim@northwind.example.",
                "kim@.northwind.example",
                "kim@[127.0.0.1]",
                "kim@[IPv6:::1]",
                "kim@127.0.0.1",
                "kim@northwind",
                "kim@northwind.example/globex.example",
                "kim@northwind_example.example",
                "kim@northwind.example\u{200b}",
                "",
                "kim",
            ],
        );
        let guard = asking();
        for input in [
            json!({"to": []}),
            json!({}),
            json!({"to": null}),
            json!({"to": {"email": "kim@northwind.example"}}),
            json!({"to": "kim@northwind.example", "cc": ["kim@northwind.example", 7]}),
            json!({"to": "kim@northwind.example", "bcc": {}}),
        ] {
            assert_eq!(word(&guard, input.clone()), "error", "{input}");
        }
        let none = json!({"cc": ["kim@northwind.example"], "to": null, "bcc": []});
        assert_eq!(word(&guard, none), "pass");
    }

    #[test]
    fn blocking_denies_and_no_message_holds_an_address() {
        let block = build(settings("block")).unwrap();
        let input = json!({"to": "kim@globex.example"});
        let found = Desk::new().check(&block, &input).unwrap();
        assert!(matches!(found, Finding::Deny { .. }));
        assert!(!format!("{found:?}").contains("globex"));
        let odd = json!({"to": "secret-name@@"});
        let error = Desk::new().check(&block, &odd).unwrap_err();
        assert!(!error.to_string().contains("secret-name"));
    }

    #[test]
    fn settings_report_every_fault() {
        let mut wrong = settings("ask");
        wrong["known"] = json!(["localhost"]);
        wrong["pointers"] = json!(["to"]);
        let faults = build(wrong.clone()).unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
        wrong["ask"] = json!("nobody");
        assert!(format!("{:?}", build(wrong).unwrap_err()).contains("nobody"));
        let mut odd = settings("block");
        odd["chat"] = json!("no");
        assert_eq!(build(odd).unwrap_err().len(), 1);
        let mut none = settings("block");
        none["pointers"] = json!([]);
        assert_eq!(build(none).unwrap_err().len(), 1);
    }
}
