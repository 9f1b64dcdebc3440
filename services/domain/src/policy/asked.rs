//! An ask as a verdict carries it, and the rule that it says.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_schemas::PersonId;
use countersign_schemas::events::Ask;

use super::ask::AskRule;
use super::escalation::Chains;

impl AskRule {
    /// The rule that an ask says, to merge it with others.
    #[must_use]
    pub fn of_ask(ask: &Ask) -> Self {
        let mut rule = Self::of_teams(Default::default());
        for entry in &ask.approvers {
            let quorum = rule.teams.entry(entry.team.clone()).or_default();
            *quorum = (*quorum).max(entry.quorum);
        }
        Self {
            expires: Duration::from_secs(ask.expires_in_s),
            chat: ask.chat_may_approve,
            window: ask.window_max_s.map(Duration::from_secs),
            self_allowed: ask.self_allowed,
            remind: ask
                .remind_after_s
                .iter()
                .copied()
                .map(Duration::from_secs)
                .collect(),
            escalate: Chains::of_steps(&ask.escalation),
            hours: ask
                .business_hours
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect(),
            ..rule
        }
    }

    /// The same rule where its times are counted from `span` earlier. In whole seconds what
    /// people are told comes no earlier than before, and the end no later.
    #[must_use]
    pub(crate) fn moved_on(mut self, span: Duration) -> Self {
        let up = u64::from(span.subsec_nanos() > 0);
        let later = Duration::from_secs(span.as_secs().saturating_add(up));
        let on = |after: Duration| after.saturating_add(later);
        self.remind = self.remind.into_iter().map(on).collect();
        self.escalate = self.escalate.with_times(on);
        self.expires = self.expires.saturating_add(span);
        self
    }

    /// The ask that this rule makes, with `more` people than it says in each team and
    /// without a vote of `excluded`.
    #[must_use]
    pub fn to_ask(&self, more: u32, excluded: BTreeSet<PersonId>) -> Ask {
        let before_end = self.remind.iter().filter(|after| **after < self.expires);
        Ask {
            approvers: self.quorums(more),
            expires_in_s: self.expires.as_secs(),
            chat_may_approve: self.chat,
            self_allowed: self.self_allowed,
            excluded: excluded.into_iter().collect(),
            window_max_s: self.window.map(|span| span.as_secs()),
            remind_after_s: before_end.map(Duration::as_secs).collect(),
            escalation: self.escalate.steps(self.expires),
            business_hours: self.hours.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_ask_and_its_rule_say_the_same() {
        let ask: Ask = serde_json::from_value(json!({
            "approvers": [{"team": "finance", "quorum": 2}, {"team": "security", "quorum": 1}],
            "expires_in_s": 3600, "chat_may_approve": true, "self_allowed": false,
            "excluded": ["dana"], "window_max_s": 60, "remind_after_s": [600, 1200],
            "escalation": [
                {"after_s": 900, "team": "heads", "instead_of": ["finance", "security"]},
                {"after_s": 1800, "team": "board", "instead_of": ["finance"]},
            ],
            "business_hours": ["office"],
        }))
        .unwrap();
        let rule = AskRule::of_ask(&ask);
        let excluded = BTreeSet::from(["dana".parse().unwrap()]);
        assert_eq!(rule.to_ask(0, excluded.clone()), ask);
        let more = rule.to_ask(1, excluded).approvers;
        assert_eq!((more[0].quorum, more[1].quorum), (3, 2));
    }
}
