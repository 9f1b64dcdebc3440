//! `secrets_in_input`: the detectors of redaction read every string and key of an input
//! that is not meant to hold secrets.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::asking::{AskKeys, Otherwise};
use super::setup::{Faults, Setup, quote};
use super::{Case, Fault, Finding, Guardrail, GuardrailError};
use crate::policy::{AskRule, Field, FieldTree};
use crate::redact::{self, FieldClass};

pub(super) const NAME: &str = "secrets_in_input";
/// Fields that a message names: a person reads them in one line.
const FIELDS_TOLD_MAX: usize = 5;

/// The guardrail's table in the catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsInInputSettings {
    /// What happens with an input that holds one.
    pub found: Otherwise,
    /// What is looked for: `secret`, and other types of the detectors.
    #[serde(default = "secrets")]
    pub types: Vec<String>,
    /// Fields that may hold them, beside those of the class `secret`.
    #[serde(default)]
    pub except: Vec<String>,
    /// Who decides, as in `@ask`.
    pub ask: Option<String>,
    /// How long they have, as in `@expires`.
    pub expires: Option<String>,
    /// Whether they may answer in chat, as in `@chat`.
    pub chat: Option<String>,
    /// The longest time window that may lift it, as in `@window`.
    pub window: Option<String>,
}

fn secrets() -> Vec<String> {
    vec!["secret".to_owned()]
}

impl SecretsInInputSettings {
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
pub struct SecretsInInput {
    /// The tool's fields, those that may hold secrets classed so.
    fields: FieldTree,
    types: BTreeSet<String>,
    ask: Option<AskRule>,
}

impl SecretsInInput {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn new(
        settings: &SecretsInInputSettings,
        setup: &Setup<'_>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let mut fields = setup.fields.clone();
        for text in &settings.except {
            if let Some(pointer) = faults.pointer("except", text) {
                fields.insert(&pointer, Field::new(FieldClass::Secret, None));
            }
        }
        if settings.types.is_empty() {
            faults.note(
                "`types` names nothing to look for",
                "leave it out, or name a type",
            );
        }
        for kind in &settings.types {
            if !redact::TYPES.contains(&kind.as_str()) {
                let what = format!("`types` has `{}`, which no detector finds", quote(kind));
                faults.note(what, format!("use {}", redact::TYPES.join(", ")));
            }
        }
        let keys = settings.keys();
        let ask = settings.found.rule("found", keys, setup, &mut faults);
        faults.finish(Some(Self {
            fields,
            types: settings.types.iter().cloned().collect(),
            ask,
        }))
    }

    /// The members of the input in which something was found, where the catalog knows their
    /// names: one that it does not know may itself be a secret.
    fn told(&self, found: &BTreeMap<String, BTreeSet<&'static str>>) -> String {
        let known: Vec<&str> = found
            .keys()
            .map(String::as_str)
            .filter(|name| self.fields.names(name))
            .take(FIELDS_TOLD_MAX)
            .collect();
        match known.is_empty() {
            true => "a field that the catalog does not name".to_owned(),
            false => format!("the field(s) {}", known.join(", ")),
        }
    }
}

impl Guardrail for SecretsInInput {
    fn name(&self) -> &'static str {
        NAME
    }

    fn asks(&self) -> Vec<&AskRule> {
        self.ask.iter().collect()
    }

    fn check(&self, case: &Case<'_>) -> Result<Finding, GuardrailError> {
        let read = self.fields.kept(case.input, &|class, _: &Value| {
            class != Some(&FieldClass::Secret)
        });
        let Some(mut found) = redact::types_by_member(&read) else {
            let what = "a detector could not read the input to its end".to_owned();
            return Err(GuardrailError { name: NAME, what });
        };
        for types in found.values_mut() {
            types.retain(|kind| self.types.contains(*kind));
        }
        found.retain(|_, types| !types.is_empty());
        if found.is_empty() {
            let message = "nothing that looks like a secret stands in the input".to_owned();
            return Ok(Finding::Pass { message });
        }
        let kinds: BTreeSet<&str> = found.values().flatten().copied().collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        let message = format!("{} may hold: {}", self.told(&found), kinds.join(", "));
        Ok(match &self.ask {
            Some(ask) => Finding::asking(message, ask),
            None => Finding::Deny {
                message,
                need: "an input without it; a field that must hold secrets gets the class \
                       `secret` in the catalog"
                    .to_owned(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::guardrails::tests::{Company, Desk, word};
    use serde_json::{Value, json};

    const BLOCK: &str = "kind = \"secrets_in_input\"\nfound = \"block\"";
    const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";

    fn company() -> Company {
        Company::new()
            .classed("/body", "internal")
            .classed("/pin", "secret")
            .classed("/auth", "secret")
            .classed("/auth/note", "public")
            .classed("/lines", "internal")
            .classed("/lines/*/key", "secret")
    }

    fn check(settings: &str, input: &Value) -> &'static str {
        let guard = company().build(settings).unwrap();
        word(&Desk::new().check(guard.as_ref(), input))
    }

    #[test]
    fn hard_cases() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
        let percent = KEY_ID.replace('A', "%41");
        let wide: String = KEY_ID
            .chars()
            .filter_map(|c| char::from_u32(u32::from(c) + 0xfee0))
            .collect();
        let split = KEY_ID.replace("FODNN", "FOD\u{200b}NN");
        let table = [
            (json!({"body": "a letter"}), "pass"),
            (json!({"body": "write to kim@northwind.example"}), "pass"),
            (json!({}), "pass"),
            (json!({"body": format!("use {KEY_ID} for it")}), "deny"),
            (json!({"body": jwt}), "deny"),
            (json!({"body": "password=Tr0ub4dor&3x9Q"}), "deny"),
            (
                json!({"body": "-----BEGIN RSA PRIVATE KEY-----\nMIIE"}),
                "deny",
            ),
            // Hidden from simple readers.
            (json!({"body": percent}), "deny"),
            (json!({"body": wide}), "deny"),
            (json!({"body": split}), "deny"),
            (json!({"body": format!("{{\"k\": \"{KEY_ID}\"}}")}), "deny"),
            // Wherever it stands, as a key too.
            (json!({"deep": [{"er": [[KEY_ID]]}]}), "deny"),
            (json!({(KEY_ID): 1}), "deny"),
            (json!({"body": {(KEY_ID): null}}), "deny"),
            (json!({"lines": [{"part": KEY_ID}]}), "deny"),
            // Places that are meant for secrets, and their neighbours.
            (json!({"pin": KEY_ID}), "pass"),
            (json!({"auth": {"token": [KEY_ID]}}), "pass"),
            (json!({"auth": {(KEY_ID): 1}}), "pass"),
            (json!({"auth": {"note": KEY_ID}}), "deny"),
            (json!({"lines": [{"key": KEY_ID, "part": "x"}]}), "pass"),
            (json!({"lines": [{"key": "x"}, {"part": KEY_ID}]}), "deny"),
            (json!({"Pin": KEY_ID}), "deny"),
            // Numbers and personal data are not secrets.
            (json!({"body": 4_111_111_111_111_111_u64}), "pass"),
            (json!({"body": null, "x": [true, 1.5]}), "pass"),
        ];
        for (input, expected) in table {
            assert_eq!(check(BLOCK, &input), expected, "{input}");
        }
    }

    #[test]
    fn other_types_and_exceptions_are_settings() {
        let cards = format!("{BLOCK}\ntypes = [\"secret\", \"card\", \"iban\"]");
        assert_eq!(
            check(&cards, &json!({"body": 4_111_111_111_111_111_u64})),
            "deny"
        );
        assert_eq!(
            check(&cards, &json!({"body": "DE89 3704 0044 0532 0130 00"})),
            "deny"
        );
        assert_eq!(
            check(&cards, &json!({"body": "kim@northwind.example"})),
            "pass"
        );
        let except = format!("{BLOCK}\nexcept = [\"/lines\"]");
        assert_eq!(
            check(&except, &json!({"lines": [{"part": KEY_ID}]})),
            "pass"
        );
        assert_eq!(check(&except, &json!({"body": KEY_ID})), "deny");
        let ask = "kind = \"secrets_in_input\"\nfound = \"ask\"\nask = \"leads\"";
        assert_eq!(check(ask, &json!({"body": KEY_ID})), "ask");
        assert_eq!(check(ask, &json!({"body": "x"})), "pass");
    }

    #[test]
    fn what_was_found_is_named_by_its_field_alone() {
        let guard = company().build(BLOCK).unwrap();
        let told = |input: Value| format!("{:?}", Desk::new().check(guard.as_ref(), &input));
        let named = told(json!({"body": KEY_ID, (KEY_ID): "x", "lines": [{"part": KEY_ID}]}));
        assert!(
            named.contains("the field(s) body, lines may hold: secret"),
            "{named}"
        );
        let unnamed = told(json!({(KEY_ID): "x"}));
        assert!(unnamed.contains("does not name"), "{unnamed}");
        for text in [named, unnamed] {
            assert!(!text.contains("AKIA"), "{text}");
        }
    }

    #[test]
    fn settings_report_every_fault() {
        let wrong = "kind = \"secrets_in_input\"\nfound = \"block\"\ntypes = [\"pasword\"]\nexcept = [\"body\"]\nask = \"leads\"\nwindow = \"1h\"";
        let faults = company().faults(wrong);
        let words = ["`body`", "`pasword`", "has `ask`", "has `window`"];
        assert_eq!(faults.len(), words.len(), "{faults:?}");
        for (fault, word) in faults.iter().zip(words) {
            assert!(fault.contains(word), "{fault}");
        }
        assert_eq!(
            company()
                .faults("kind = \"secrets_in_input\"\nfound = \"ask\"\ntypes = []")
                .len(),
            2
        );
    }
}
