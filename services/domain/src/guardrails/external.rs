//! `external`: a NATS micro service in any language decides. It may pass, ask or deny; it
//! can never widen what the rules say, and what it says in words is taken for the words of
//! a stranger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_schemas::{JsonObject, PersonId, TeamId, Token};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::asking::AskKeys;
use super::setup::{Faults, Setup};
use super::{Case, Fault, Finding, Guardrail, GuardrailError};
use crate::approvals::visible;
use crate::policy::{AskRule, FieldTree, Wish, ask};
use crate::redact::{self, FieldClass};

pub(super) const NAME: &str = "external";
/// What the body says of its own form; another number is another form.
const BODY_VERSION: u32 = 1;
/// How long a service may have, in milliseconds: an intent waits for it, and each of many
/// guardrails may take as long, within the time after which an intent is delivered again.
const DEADLINE_MS: std::ops::RangeInclusive<u64> = 10..=5_000;
/// Characters of a sentence of a service: a person reads them in a table.
const WORDS_CHARS_MAX: usize = 300;
/// Characters of the text by which a service names teams.
const ASK_CHARS_MAX: usize = 500;
/// Characters that a value of the input must have before a sentence is said to quote it:
/// shorter ones stand in every sentence.
const QUOTE_CHARS_MIN: usize = 3;

/// The guardrail's table in the catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalSettings {
    /// The service: it listens on `cs.guardrail.<name>`.
    pub name: Token,
    /// How long it has, in milliseconds.
    pub deadline_ms: u64,
    /// Who decides where it asks, as in `@ask`; it may name others beside them.
    pub ask: Option<String>,
    /// How long they have, as in `@expires`.
    pub expires: Option<String>,
    /// Whether they may answer in chat, as in `@chat`.
    pub chat: Option<String>,
    /// The longest time window that may lift it, as in `@window`.
    pub window: Option<String>,
}

impl ExternalSettings {
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
pub struct External {
    name: Token,
    deadline: Duration,
    ask: Option<AskRule>,
    /// Who can be asked at all.
    teams: BTreeMap<TeamId, BTreeSet<PersonId>>,
    fields: FieldTree,
}

/// What a service answers. Any other key is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    result: Answer,
    message: String,
    need: Option<String>,
    ask: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Pass,
    Ask,
    Deny,
}

impl External {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn new(settings: &ExternalSettings, setup: &Setup<'_>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        if !DEADLINE_MS.contains(&settings.deadline_ms) {
            faults.note(
                format!(
                    "`deadline_ms` is not between {} and {}",
                    DEADLINE_MS.start(),
                    DEADLINE_MS.end()
                ),
                "an intent waits for the answer; choose a time within these bounds",
            );
        }
        let keys = settings.keys();
        let ask = match settings.ask {
            Some(_) => keys.rule(setup, &mut faults),
            None => {
                keys.refuse("there is no `ask` that it belongs to", &mut faults);
                None
            }
        };
        let teams = setup.directory.teams();
        faults.finish(Some(Self {
            name: settings.name.clone(),
            deadline: Duration::from_millis(settings.deadline_ms),
            ask,
            teams: teams
                .map(|(team, people)| (team.clone(), people.clone()))
                .collect(),
            fields: setup.fields.clone(),
        }))
    }

    /// What the service is asked: the input without secrets and without what no class
    /// covers.
    fn wish(&self, case: &Case<'_>) -> Wish {
        let input = self.fields.kept(case.input, &|class, value: &Value| {
            // A flag tells nothing about anybody, as everywhere.
            let flag = matches!(value, Value::Bool(_));
            class.map_or(flag, |class| *class != FieldClass::Secret)
        });
        let body = json!({
            "version": BODY_VERSION,
            "guardrail": self.name,
            "agent": case.agent,
            "tool": case.tool,
            "requester": {"id": case.requester.id, "verified": case.requester.verified},
            "stored_at": case.at,
            "input": input,
        });
        Wish::External {
            name: self.name.clone(),
            deadline: self.deadline,
            body: JsonObject::from_value(body).unwrap_or_default(),
        }
    }

    fn refuse(&self, what: &str) -> GuardrailError {
        let what = format!("the service `{}` {what}", self.name);
        GuardrailError { name: NAME, what }
    }

    fn finding(&self, reply: &Reply, case: &Case<'_>) -> Result<Finding, GuardrailError> {
        let message = self.told(&reply.message, "no reason is given", case);
        let need = |default: &str| {
            let text = reply.need.as_deref().unwrap_or_default();
            self.told(text, default, case)
        };
        match (reply.result, &reply.need, &reply.ask) {
            (Answer::Pass, None, None) => Ok(Finding::Pass { message }),
            (Answer::Pass, ..) => Err(self.refuse("passes it and yet needs something")),
            (Answer::Deny, _, None) => Ok(Finding::Deny {
                message,
                need: need("an input that it passes"),
            }),
            (Answer::Deny, _, Some(_)) => Err(self.refuse("denies it and yet asks people")),
            (Answer::Ask, ..) => {
                let ask = self.asked(reply.ask.as_deref())?;
                Ok(Finding::Ask {
                    message,
                    need: need(&format!("approval by {}", ask.words())),
                    ask,
                })
            }
        }
    }

    /// The teams of the settings and those that the service names: never fewer.
    fn asked(&self, named: Option<&str>) -> Result<AskRule, GuardrailError> {
        let named = match named {
            None => None,
            Some(text) if text.chars().count() > ASK_CHARS_MAX => {
                return Err(self.refuse("names more teams than can be asked"));
            }
            Some(text) => {
                let teams = ask::parse_teams(text)
                    .map_err(|_| self.refuse("does not name teams as `@ask` does"))?;
                Some(AskRule::of_teams(teams))
            }
        };
        if named.as_ref().is_some_and(|rule| {
            !ask::impossible_teams(rule, |team| self.teams.get(team)).is_empty()
        }) {
            return Err(self.refuse("names a team that cannot decide this"));
        }
        let both = match (self.ask.clone(), named) {
            // What the catalog says of time, chat and windows holds for all of them.
            (Some(own), Some(more)) => Some(AskRule {
                teams: own.clone().and(more).teams,
                ..own
            }),
            (own, named) => own.or(named),
        };
        both.ok_or_else(|| self.refuse("asks people, but nobody says whom"))
    }

    /// A sentence of the service, or `default` where it says nothing. It is cut, what hides
    /// in it becomes visible, and a sentence that quotes the input is left out.
    fn told(&self, text: &str, default: &str, case: &Case<'_>) -> String {
        let words = match folded(text).as_str() {
            "" => default.to_owned(),
            words if self.quotes(words, case.input) => "its words quote the input".to_owned(),
            _ => {
                let mut seen = visible(text.trim());
                if let Some((end, _)) = seen.char_indices().nth(WORDS_CHARS_MAX) {
                    seen.truncate(end);
                    seen.push('…');
                }
                seen
            }
        };
        format!("the service `{}` says: {words}", self.name)
    }

    /// Whether `words` hold a value of the input that may not be shown to everybody who
    /// reads a reason, or something that a detector knows.
    fn quotes(&self, words: &str, input: &Map<String, Value>) -> bool {
        let sentence = Map::from_iter([("words".to_owned(), Value::from(words))]);
        let found = redact::types_by_member(&sentence);
        let hidden = self.fields.kept(input, &|class, _: &Value| {
            !matches!(class, Some(FieldClass::Public | FieldClass::Internal))
        });
        found.is_none_or(|found| !found.is_empty())
            || hidden.values().any(|value| holds(words, value))
    }
}

/// In small letters, on one line, with single spaces.
fn folded(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// Whether `words`, which are [`folded`], hold a text, number or key of `value`.
fn holds(words: &str, value: &Value) -> bool {
    let stands = |text: &str| {
        let text = folded(text);
        text.chars().count() >= QUOTE_CHARS_MIN && words.contains(&text)
    };
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => stands(&number.to_string()),
        Value::String(text) => stands(text),
        Value::Array(items) => items.iter().any(|item| holds(words, item)),
        Value::Object(members) => members
            .iter()
            .any(|(key, value)| stands(key) || holds(words, value)),
    }
}

impl Guardrail for External {
    fn name(&self) -> &'static str {
        NAME
    }

    fn asks(&self) -> Vec<&AskRule> {
        self.ask.iter().collect()
    }

    fn check(&self, case: &Case<'_>) -> Result<Finding, GuardrailError> {
        let wish = self.wish(case);
        match case.known.get(&wish) {
            None => Ok(Finding::Wants(wish)),
            Some(Err(why)) => Err(self.refuse(&format!("gave no answer that counts: {why}"))),
            Some(Ok(answer)) => {
                // An array of the right length would be read as one too.
                let object = answer.is_object().then_some(answer);
                let reply = object.and_then(|answer| Reply::deserialize(answer).ok());
                let reply = reply.ok_or_else(|| {
                    self.refuse("did not answer with `result`, `message`, `need` and `ask` alone")
                })?;
                self.finding(&reply, case)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guardrails::tests::{Company, Desk, word};

    const SETTINGS: &str = "kind = \"external\"\nname = \"names\"\ndeadline_ms = 200";
    const ASKING: &str = "ask = \"leads\"\nexpires = \"30m\"\nchat = \"no\"";

    fn company() -> Company {
        Company::new()
            .classed("/name", "personal:person")
            .classed("/pin", "secret")
            .classed("/lines/*/part", "internal")
    }

    fn input() -> Value {
        json!({"name": "Ann Example", "pin": "918273", "note": "unclassified", "urgent": true,
               "lines": [{"part": "P-1", "key": "k-9"}]})
    }

    fn build(more: &str) -> Box<dyn Guardrail> {
        company().build(&format!("{SETTINGS}\n{more}")).unwrap()
    }

    /// What the guardrail finds when its service answers so.
    fn answered(more: &str, answer: Result<Value, String>) -> Result<Finding, GuardrailError> {
        let guard = build(more);
        let mut desk = Desk::new();
        let Ok(Finding::Wants(wish)) = desk.check(guard.as_ref(), &input()) else {
            panic!("it asks nobody");
        };
        desk.known.learn(wish, answer);
        desk.check(guard.as_ref(), &input())
    }

    #[test]
    fn the_body_holds_no_secret_and_nothing_without_a_class() {
        let found = Desk::new().check(build("").as_ref(), &input()).unwrap();
        let Finding::Wants(Wish::External {
            name,
            deadline,
            body,
        }) = found
        else {
            panic!("it wants nothing");
        };
        assert_eq!((name.as_str(), deadline.as_millis()), ("names", 200));
        assert_eq!(
            body.to_value(),
            json!({
                "version": 1, "guardrail": "names", "agent": "billing", "tool": "mail.send",
                "requester": {"id": "kim", "verified": false},
                "stored_at": "1970-01-01T00:00:00Z",
                "input": {"name": "Ann Example", "urgent": true, "lines": [{"part": "P-1"}]}
            })
        );
    }

    #[test]
    fn answers_are_read_strictly() {
        let ask = |teams: &str| json!({"result": "ask", "message": "m", "ask": teams});
        let table = [
            (json!({"result": "pass", "message": "fine"}), "pass", "pass"),
            (
                json!({"result": "pass", "message": "fine", "need": null, "ask": null}),
                "pass",
                "pass",
            ),
            (json!({"result": "deny", "message": "no"}), "deny", "deny"),
            (
                json!({"result": "deny", "message": "no", "need": "x"}),
                "deny",
                "deny",
            ),
            (json!({"result": "ask", "message": "m"}), "error", "ask"),
            (ask("finance:2"), "ask", "ask"),
            (ask("finance:2 & leads"), "ask", "ask"),
            (ask("finance:4"), "error", "error"),
            (ask("nobody"), "error", "error"),
            (ask(""), "error", "error"),
            (ask(&"leads & ".repeat(100)), "error", "error"),
            (
                json!({"result": "pass", "message": "m", "ask": "leads"}),
                "error",
                "error",
            ),
            (
                json!({"result": "pass", "message": "m", "need": "x"}),
                "error",
                "error",
            ),
            (
                json!({"result": "deny", "message": "m", "ask": "leads"}),
                "error",
                "error",
            ),
            (json!({"result": "allow", "message": "m"}), "error", "error"),
            (json!({"result": "PASS", "message": "m"}), "error", "error"),
            (
                json!({"result": ["pass"], "message": "m"}),
                "error",
                "error",
            ),
            (json!({"result": "pass"}), "error", "error"),
            (json!({"message": "m"}), "error", "error"),
            (json!({"result": "pass", "message": 1}), "error", "error"),
            (
                json!({"result": "pass", "message": "m", "expires": "6d"}),
                "error",
                "error",
            ),
            (
                json!({"result": "ask", "message": "m", "ask": {"teams": "leads"}}),
                "error",
                "error",
            ),
            (json!("pass"), "error", "error"),
            (json!(["pass", "m", null, null]), "error", "error"),
            (json!(null), "error", "error"),
        ];
        for (answer, bare, asking) in table {
            let found = |more: &str| answered(more, Ok(answer.clone()));
            assert_eq!(word(&found("")), bare, "{answer}");
            assert_eq!(word(&found(ASKING)), asking, "{answer}");
        }
        let none = answered("", Err("nobody listens".to_owned())).unwrap_err();
        assert!(none.to_string().contains("nobody listens"), "{none}");
    }

    #[test]
    fn a_service_adds_teams_and_loosens_nothing() {
        let answer = json!({"result": "ask", "message": "m", "ask": "finance:2"});
        let Ok(Finding::Ask { ask, .. }) = answered(ASKING, Ok(answer)) else {
            panic!("it does not ask");
        };
        assert_eq!(ask.words(), "2 of finance and one of leads");
        assert_eq!((ask.expires.as_secs(), ask.chat), (30 * 60, false));
        assert_eq!(ask.window, None);
    }

    #[test]
    fn its_words_are_those_of_a_stranger() {
        let said = |message: &str, need: &str| {
            let answer = json!({"result": "deny", "message": message, "need": need});
            match answered("", Ok(answer)) {
                Ok(Finding::Deny { message, need }) => (message, need),
                other => panic!("{other:?}"),
            }
        };
        let (message, need) = said("The name is on a list.", "");
        assert_eq!(message, "the service `names` says: The name is on a list.");
        assert!(need.ends_with("an input that it passes"), "{need}");
        // What is classed as fit to be read may be named.
        assert!(
            said("The part P-1 is unknown.", "")
                .0
                .ends_with("P-1 is unknown.")
        );
        let (message, _) = said("fine\u{202e}\u{200b}\n\u{1b}[31m", "x");
        assert!(
            !message.chars().any(char::is_control) && !message.contains('\u{202e}'),
            "{message}"
        );
        let long = said(&"word ".repeat(1_000), &"\u{202e}".repeat(1_000));
        assert!(long.0.chars().count() < 350 && long.1.chars().count() < 350);
        assert!(long.0.ends_with('…'), "it says that it is cut: {}", long.0);
        // It saw the input, and people who may not see it read what it says.
        for quote in [
            "ANN EXAMPLE is on a list",
            "it is ann\n  example",
            "an unclassified note",
            "write to kim@northwind.example",
            "try 918273",
        ] {
            let (message, need) = said(quote, quote);
            for told in [message, need] {
                assert!(told.ends_with("its words quote the input"), "{told}");
            }
        }
    }

    #[test]
    fn settings_report_every_fault() {
        let table = [
            ("name = \"a.b\"\ndeadline_ms = 200", 1),
            (
                "name = \"a\"\ndeadline_ms = 9\nexpires = \"1h\"\nchat = \"no\"",
                3,
            ),
            ("name = \"a\"\ndeadline_ms = 5001\nask = \"nobody\"", 2),
            ("name = \"a\"\ndeadline_ms = 50\nurl = \"http://x\"", 1),
        ];
        for (settings, count) in table {
            let faults = company().faults(&format!("kind = \"external\"\n{settings}"));
            assert_eq!(faults.len(), count, "{faults:?}");
        }
    }
}
