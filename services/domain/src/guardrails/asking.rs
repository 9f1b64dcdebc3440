//! Who decides where a guardrail asks: the same keys, in the same language, as the
//! annotations of a policy.

use serde::Deserialize;

use super::setup::{Faults, Setup};
use super::{Fault, Finding};
use crate::policy::{AskRule, ask};

/// What happens with an intent that a guardrail does not let pass by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// People decide.
    Ask,
    /// It is refused.
    #[default]
    Block,
}

impl Otherwise {
    /// Who decides, by `keys`; nobody where it is refused, and then the keys have no
    /// meaning. `key` is the one that says which of the two.
    pub(crate) fn rule(
        self,
        key: &str,
        keys: AskKeys<'_>,
        setup: &Setup<'_>,
        faults: &mut Faults,
    ) -> Option<AskRule> {
        match self {
            Self::Ask => keys.rule(setup, faults),
            Self::Block => {
                keys.refuse(&format!("`{key} = \"block\"` asks nobody"), faults);
                None
            }
        }
    }
}

/// The keys of a guardrail's settings that say who decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskKeys<'s> {
    /// Who, as in `@ask`.
    pub(crate) ask: Option<&'s str>,
    /// How long they have, as in `@expires`.
    pub(crate) expires: Option<&'s str>,
    /// Whether they may answer in chat, as in `@chat`.
    pub(crate) chat: Option<&'s str>,
    /// The longest time window that may lift it, as in `@window`.
    pub(crate) window: Option<&'s str>,
}

impl AskKeys<'_> {
    /// The rule; each key with a fault is noted, and so is a missing `ask`.
    pub(crate) fn rule(&self, setup: &Setup<'_>, faults: &mut Faults) -> Option<AskRule> {
        let Some(teams) = self.ask else {
            faults.note(
                "lacks `ask`",
                "name the teams that decide, such as `finance:2 & security`",
            );
            return None;
        };
        let teams = faults.keep(
            ask::parse_teams(teams),
            "ask",
            "write teams such as `finance:2 & security`",
        );
        let span = |text: Option<&str>, max| text.map(|text| ask::parse_span(text, max));
        let in_bounds = "write a time such as `30m` within the bounds of docs/policy.md";
        let expires = span(self.expires, ask::EXPIRES_MAX)
            .and_then(|read| faults.keep(read, "expires", in_bounds));
        let window = span(self.window, ask::window_max())
            .and_then(|read| faults.keep(read, "window", in_bounds));
        let flag = |text| ask::parse_flag(text, "yes", "no", "`yes`, `no`");
        let chat = self
            .chat
            .and_then(|text| faults.keep(flag(text), "chat", "write `yes` or `no`"));
        let mut rule = AskRule::of_teams(teams?);
        rule.expires = expires.unwrap_or(rule.expires);
        rule.chat = chat.unwrap_or(rule.chat);
        rule.window = window;
        for what in ask::impossible_teams(&rule, |team| setup.directory.team(team)) {
            faults.note(what, "name a team of entities.json with enough members");
        }
        Some(rule)
    }

    /// Notes the keys that have no meaning because nobody is asked; `why` says so.
    pub(crate) fn refuse(&self, why: &str, faults: &mut Faults) {
        let keys = [
            ("ask", self.ask),
            ("expires", self.expires),
            ("chat", self.chat),
            ("window", self.window),
        ];
        for (key, value) in keys {
            if value.is_some() {
                faults.note(format!("has `{key}`, but {why}"), "drop the key");
            }
        }
    }
}

impl Finding {
    /// People must decide by `rule`.
    pub(crate) fn asking(message: String, rule: &AskRule) -> Self {
        Self::Ask {
            message,
            need: format!("approval by {}", rule.words()),
            ask: rule.clone(),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.what, self.mend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guardrails::tests::Company;
    use std::time::Duration;

    fn keys<'s>(ask: &'s str, expires: &'s str, chat: &'s str, window: &'s str) -> AskKeys<'s> {
        let given = |text: &'s str| (!text.is_empty()).then_some(text);
        AskKeys {
            ask: given(ask),
            expires: given(expires),
            chat: given(chat),
            window: given(window),
        }
    }

    fn read(keys: AskKeys<'_>) -> Result<AskRule, Vec<String>> {
        let company = Company::new();
        let mut faults = Faults::default();
        let rule = keys.rule(&company.setup(), &mut faults);
        let told = |all: Vec<Fault>| all.iter().map(ToString::to_string).collect();
        faults.finish(rule).map_err(told)
    }

    #[test]
    fn every_key_is_read_as_in_an_annotation() {
        let rule = read(keys("finance:2 & leads", "30m", "no", "1h")).unwrap();
        assert_eq!(rule.words(), "2 of finance and one of leads");
        assert_eq!(rule.expires, Duration::from_secs(30 * 60));
        assert_eq!(
            (rule.chat, rule.window),
            (false, Some(Duration::from_secs(3600)))
        );
        let bare = read(keys("leads", "", "", "")).unwrap();
        assert_eq!(bare, AskRule::of_teams(bare.teams.clone()));
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let faults = read(keys("finance:9", "30", "perhaps", "25h")).unwrap_err();
        let words = ["`expires`", "`window`", "`chat`", "never give 9"];
        assert_eq!(faults.len(), words.len(), "{faults:?}");
        for (fault, word) in faults.iter().zip(words) {
            assert!(fault.contains(word), "{fault}");
        }
        assert_eq!(read(keys("a & a", "0s", "", "")).unwrap_err().len(), 2);
        assert!(read(keys("nobody", "", "", "")).unwrap_err()[0].contains("not in entities.json"));
        assert_eq!(read(keys("", "1h", "", "")).unwrap_err().len(), 1);
    }

    #[test]
    fn keys_without_a_meaning_are_faults() {
        let mut faults = Faults::default();
        keys("leads", "1h", "", "1h").refuse("nobody is asked", &mut faults);
        let told = faults.finish::<()>(None).unwrap_err();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].what.contains("has `ask`, but nobody is asked"));
    }
}
