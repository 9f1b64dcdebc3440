//! The annotations of a policy: who may lift it, why it is there, what would help.

use std::time::Duration;

use cedar_policy::{Effect, Policy};

use super::ask::{self, AskError, AskRule};
use super::escalation::{self, Chains};

/// Characters of a sentence for people.
const SENTENCE_CHARS_MAX: usize = 500;
/// Every annotation that has a meaning; another is a typing error.
const KNOWN: [&str; 12] = [
    "id", "ask", "expires", "chat", "window", "self", "remind", "escalate", "hours", "because",
    "need", "reviewed",
];
/// Those of them that say how people are asked.
const OF_ASK: [&str; 7] = [
    "expires", "chat", "window", "self", "remind", "escalate", "hours",
];

/// What a policy says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// `@id`.
    pub(crate) id: String,
    /// `@because`.
    pub(crate) because: String,
    /// `@need`.
    pub(crate) need: Option<String>,
    /// `@ask` and its companions: who may lift it.
    pub(crate) ask: Option<AskRule>,
}

impl Rule {
    /// Reads the annotations of `policy`; every fault, each with how to mend it.
    pub(crate) fn read(policy: &Policy) -> Result<Self, Vec<(String, &'static str)>> {
        let mut faults = Vec::new();
        for (key, value) in policy.annotations() {
            if !KNOWN.contains(&key) {
                faults.push((
                    format!("annotation `@{key}` has no meaning"),
                    "mend its spelling or use a comment",
                ));
            }
            if value.chars().count() > SENTENCE_CHARS_MAX {
                faults.push((
                    format!("`@{key}` is longer than {SENTENCE_CHARS_MAX} characters"),
                    "shorten it",
                ));
            }
        }
        let text = |key: &str| {
            policy
                .annotation(key)
                .map(str::trim)
                .filter(|text| !text.is_empty())
        };
        let id = match text("id") {
            Some(id) if is_id(id) => Some(id.to_owned()),
            Some(_) => {
                faults.push((
                    "its `@id` is not a name".to_owned(),
                    "use 1 to 64 of a-z A-Z 0-9 _ - .",
                ));
                None
            }
            None => {
                faults.push((
                    "it has no `@id`".to_owned(),
                    "give it one: every reason names its rule",
                ));
                None
            }
        };
        let ask = read_ask(policy, &mut faults);
        let because = match (text("because"), policy.effect()) {
            (Some(sentence), _) => sentence.to_owned(),
            (None, Effect::Permit) => {
                format!("rule `{}` allows it", id.as_deref().unwrap_or_default())
            }
            (None, Effect::Forbid) => {
                faults.push((
                    "it forbids without `@because`".to_owned(),
                    "say why in a sentence",
                ));
                String::new()
            }
        };
        match id {
            Some(id) if faults.is_empty() => Ok(Self {
                id,
                because,
                need: text("need").map(str::to_owned),
                ask,
            }),
            _ => Err(faults),
        }
    }
}

fn is_id(text: &str) -> bool {
    text.len() <= 64
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn read_ask(policy: &Policy, faults: &mut Vec<(String, &'static str)>) -> Option<AskRule> {
    let Some(teams) = policy.annotation("ask") else {
        for key in OF_ASK {
            if policy.annotation(key).is_some() {
                faults.push((
                    format!("`@{key}` stands without `@ask`"),
                    "add `@ask` or drop it",
                ));
            }
        }
        return None;
    };
    if policy.effect() == Effect::Permit {
        faults.push((
            "`@ask` stands on a permit".to_owned(),
            "put it on a forbid: people lift what forbids",
        ));
    }
    let mut keep = |result: Result<(), AskError>, key: &str| {
        if let Err(error) = result {
            faults.push((format!("`@{key}`: {error}"), "mend the annotation"));
        }
    };
    let mut rule = AskRule::of_teams(Default::default());
    keep(
        ask::parse_teams(teams).map(|teams| rule.teams = teams),
        "ask",
    );
    if let Some(text) = policy.annotation("expires") {
        keep(
            ask::parse_span(text, ask::EXPIRES_MAX).map(|span| rule.expires = span),
            "expires",
        );
    }
    if let Some(text) = policy.annotation("chat") {
        keep(
            ask::parse_flag(text, "yes", "no", "`yes`, `no`").map(|flag| rule.chat = flag),
            "chat",
        );
    }
    if let Some(text) = policy.annotation("window") {
        keep(
            ask::parse_span(text, ask::window_max()).map(|span: Duration| rule.window = Some(span)),
            "window",
        );
    }
    if let Some(text) = policy.annotation("self") {
        let read = ask::parse_flag(text, "allowed", "excluded", "`allowed`, `excluded`");
        keep(read.map(|flag| rule.self_allowed = flag), "self");
    }
    read_silence(policy, &mut rule, keep);
    Some(rule)
}

/// Reads what happens while nobody answers; after the teams and how long they have.
fn read_silence(
    policy: &Policy,
    rule: &mut AskRule,
    mut keep: impl FnMut(Result<(), AskError>, &str),
) {
    if let Some(text) = policy.annotation("remind") {
        let read = ask::parse_span(text, ask::EXPIRES_MAX);
        let end = rule.expires;
        keep(
            read.map(|every| rule.remind = escalation::reminders(every, end)),
            "remind",
        );
    }
    if let Some(text) = policy.annotation("escalate") {
        let read = Chains::parse(text, &rule.teams);
        keep(read.map(|chains| rule.escalate = chains), "escalate");
    }
    if let Some(text) = policy.annotation("hours") {
        let read = ask::parse_calendar(text);
        keep(read.map(|name| rule.hours = [name].into()), "hours");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Rule, Vec<(String, &'static str)>> {
        let policy = Policy::parse(None, text).map_err(|error| vec![(error.to_string(), "")])?;
        Rule::read(&policy)
    }

    #[test]
    fn everything_is_read() {
        let rule = read(
            r#"@id("big") @ask("finance:2 & security") @expires("30m") @chat("no")
               @window("1h") @self("allowed") @because("Large sums.") @need("Two of finance.")
               @remind("10m") @escalate("15m: heads") @hours("office")
               forbid(principal, action, resource);"#,
        )
        .unwrap();
        assert_eq!(
            (rule.id.as_str(), rule.because.as_str()),
            ("big", "Large sums.")
        );
        assert_eq!(rule.need.as_deref(), Some("Two of finance."));
        let ask = rule.ask.unwrap();
        assert_eq!(ask.words(), "2 of finance and one of security");
        assert_eq!(
            (ask.expires.as_secs(), ask.window),
            (1800, Some(Duration::from_secs(3600)))
        );
        assert!(!ask.chat && ask.self_allowed);
        let minutes = |n: u64| Duration::from_secs(n * 60);
        assert_eq!(ask.remind, [minutes(10), minutes(20)]);
        assert_eq!(ask.escalate.longest(), Some(minutes(15)));
        assert_eq!(ask.hours, ["office".parse().unwrap()].into());
    }

    #[test]
    fn faults_are_found_together() {
        let table = [
            (r#"forbid(principal, action, resource);"#, 2),
            (r#"@id("a b") permit(principal, action, resource);"#, 1),
            (
                r#"@id("a") @ask("x") permit(principal, action, resource);"#,
                1,
            ),
            (
                r#"@id("a") @because("b") @chat("no") forbid(principal, action, resource);"#,
                1,
            ),
            (
                r#"@id("a") @because("b") @asks("x") forbid(principal, action, resource);"#,
                1,
            ),
            (
                r#"@id("a") @because("b") @ask("x") @chat("never") @expires("9d") @window("2d") @self("yes")
               forbid(principal, action, resource);"#,
                4,
            ),
            (
                r#"@id("a") @because("b") @remind("1h") @escalate("1h: x") @hours("office")
               forbid(principal, action, resource);"#,
                3,
            ),
            (
                r#"@id("a") @because("b") @ask("x") @remind("often") @escalate("1h: x") @hours("a b")
               forbid(principal, action, resource);"#,
                3,
            ),
        ];
        for (text, count) in table {
            assert_eq!(read(text).unwrap_err().len(), count, "{text}");
        }
    }
}
