//! What is asked and answered on `cs.approval.view.<person>`, as JSON.

use countersign_schemas::events::{
    ApprovalRequested, ApprovalState, CountedVote, Outcome, OutcomeReconciled,
};
use countersign_schemas::{
    AgentId, ApprovalId, Digest, IntentId, JsonObject, PersonId, TeamId, Timestamp, ToolName,
};
use serde::{Deserialize, Serialize};

use super::People;
use super::approval::{Approval, Resolution};
use super::item::Item;
use super::strike::Struck;
use super::view::ApprovalView;
use crate::freeze::FreezeView;
use crate::windows::WindowListed;

/// A question: `{"op":"list"}`, narrowed by `"mine":true`, `"team":"finance"` and
/// `"agent":"billing"`, `{"op":"show","approval_id":"a-…"}`,
/// `{"op":"outcome","intent_id":"…"}`, `{"op":"windows"}`, narrowed by `"agent":"billing"`,
/// or `{"op":"freezes"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum ViewRequest {
    /// The pending approvals, the first to end first.
    List {
        /// Only those on which the person may vote.
        #[serde(default)]
        mine: bool,
        /// Only those that ask this team by now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        team: Option<TeamId>,
        /// Only those of this agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentId>,
    },
    /// One approval, whatever its state.
    Show {
        /// Which.
        approval_id: ApprovalId,
    },
    /// The time windows that are open, or whose end is being carried out.
    Windows {
        /// Only those of this agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentId>,
    },
    /// How one intent ended.
    Outcome {
        /// Which.
        intent_id: IntentId,
    },
    /// What is frozen.
    Freezes {},
}

/// Which of the pending approvals a list holds.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Only those on which the person may vote.
    pub mine: bool,
    /// Only those that ask this team by now.
    pub team: Option<&'a TeamId>,
    /// Only those of this agent.
    pub agent: Option<&'a AgentId>,
}

impl Wanted<'_> {
    /// Whether the list of `person` holds this one.
    #[must_use]
    pub fn holds(
        &self,
        approval: &Approval,
        person: &PersonId,
        people: &(impl People + ?Sized),
        now: Timestamp,
    ) -> bool {
        self.agent.is_none_or(|agent| approval.agent() == agent)
            && self.team.is_none_or(|team| approval.asks_team(team, now))
            && (!self.mine || approval.no_vote(person, people, now).is_none())
    }
}

/// Why a vote of a person cannot count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoVote {
    /// Others are asked.
    NotAsked,
    /// A team of theirs is asked only if nobody decides until then.
    NotYet,
    /// They asked for it, or stand behind who did.
    Own,
}

/// One approval without anything that only approvers may see. In a list it has no copy of
/// the input at all, so that many fit into one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// What was asked; with the redacted input only where one approval is shown.
    pub asked: ApprovalRequested,
    /// Its state.
    pub state: ApprovalState,
    /// The votes that counted so far.
    pub votes: Vec<CountedVote>,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// Whether a vote of the person who asks could count.
    pub may_vote: bool,
    /// Why not, while it is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_vote: Option<NoVote>,
    /// Why nobody's vote is counted now: what a freeze says that covers a part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    /// What was taken out of a bundle after people were asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub struck: Vec<StruckItem>,
}

/// An item of a bundle that was taken out after people were asked: it does not run,
/// whatever becomes of the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StruckItem {
    /// Which intent.
    pub intent_id: IntentId,
    /// Why, when and by whom.
    #[serde(flatten)]
    pub struck: Struck,
}

/// One approval with everything that the person may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// What everybody may see.
    #[serde(flatten)]
    pub listed: Listed,
    /// What approvers are shown; only for members of the teams asked, and only until it
    /// has ended. Its digest is the one that a vote must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<ApprovalView>,
    /// The digest that a vote must name.
    pub digest: Digest,
}

/// How one intent ended, and what people found out about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentOutcome {
    /// Which intent.
    pub intent_id: IntentId,
    /// Who acted.
    pub agent: AgentId,
    /// Which tool.
    pub tool: ToolName,
    /// How the run ended; `None` where none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What was found where nobody knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<OutcomeReconciled>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ViewReply {
    /// To `show`.
    Shown {
        /// The approval.
        approval: Box<Shown>,
    },
    /// To `list`.
    Listed {
        /// The approvals.
        approvals: Vec<Listed>,
        /// How many more there are than fit into one answer.
        more: usize,
    },
    /// To `windows`.
    Windows {
        /// The windows, the first to end first.
        windows: Vec<WindowListed>,
        /// How many more there are than fit into one answer.
        more: usize,
    },
    /// To `outcome`.
    Outcome {
        /// The intent.
        outcome_of: IntentOutcome,
    },
    /// To `freezes`.
    Frozen {
        /// The freezes in force, the oldest first.
        freezes: Vec<FreezeView>,
        /// How many more there are than fit into one answer.
        freezes_more: usize,
    },
}

impl Approval {
    /// The approval as a line of a list, for anyone who may ask.
    #[must_use]
    pub fn listed_for(
        &self,
        person: &PersonId,
        people: &(impl People + ?Sized),
        now: Timestamp,
        redact: &dyn Fn(&str) -> String,
    ) -> Listed {
        let mut listed = self.open_to(person, people, now, redact);
        for item in &mut listed.asked.items {
            item.input_redacted = JsonObject::default();
        }
        listed.asked.view_complete = false;
        listed
    }

    fn open_to(
        &self,
        person: &PersonId,
        people: &(impl People + ?Sized),
        now: Timestamp,
        redact: &dyn Fn(&str) -> String,
    ) -> Listed {
        let no_vote = self.no_vote(person, people, now);
        Listed {
            asked: self.requested(redact),
            state: self.state(),
            votes: self.votes(),
            resolution: self.resolution().cloned(),
            may_vote: self.is_pending() && no_vote.is_none(),
            no_vote: no_vote.filter(|_| self.is_pending()),
            frozen: None,
            struck: self.items().iter().filter_map(struck).collect(),
        }
    }

    /// Why a vote of `person` could not count at `at`.
    fn no_vote(
        &self,
        person: &PersonId,
        people: &(impl People + ?Sized),
        at: Timestamp,
    ) -> Option<NoVote> {
        if self.may_vote(person, people, at) {
            return None;
        }
        if self.leaves_out(person) {
            return Some(NoVote::Own);
        }
        let later = self.asked_later(person, people, at);
        Some(later.map_or(NoVote::NotAsked, |_| NoVote::NotYet))
    }

    /// The approval as `person` sees it: inputs only for members of the teams asked.
    #[must_use]
    pub fn shown_to(
        &self,
        person: &PersonId,
        people: &(impl People + ?Sized),
        now: Timestamp,
        redact: &dyn Fn(&str) -> String,
    ) -> Shown {
        Shown {
            listed: self.open_to(person, people, now, redact),
            view: (!self.is_settled() && self.asks(person, people, now)).then(|| self.view()),
            digest: self.digest(),
        }
    }
}

fn struck(item: &Item) -> Option<StruckItem> {
    Some(StruckItem {
        intent_id: item.intent(),
        struck: item.struck()?.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approvals::fixtures::{at, checked, company, person};
    use countersign_schemas::events::EscalationStep;
    use serde_json::json;

    fn shown(who: &str) -> Shown {
        let approval = Approval::open(&checked(), at("10:00:01")).unwrap();
        approval.shown_to(&person(who), &company(), at("10:00:02"), &str::to_owned)
    }

    #[test]
    fn only_members_of_the_teams_asked_see_the_input() {
        for (who, sees, votes) in [
            ("lee", true, true),
            ("dana", true, false),
            ("kim", false, false),
            ("slack", false, false),
        ] {
            let shown = shown(who);
            assert_eq!(shown.view.is_some(), sees, "{who}");
            assert_eq!(shown.listed.may_vote, votes, "{who}");
            let text = serde_json::to_string(&shown).unwrap();
            assert_eq!(text.contains("…@example.org\"}"), sees, "{who}");
        }
        let view = shown("lee").view.unwrap();
        assert_eq!(view.digest().unwrap(), shown("lee").digest);
    }

    #[test]
    fn a_list_carries_no_copy_of_an_input() {
        let approval = Approval::open(&checked(), at("10:00:01")).unwrap();
        let listed =
            approval.listed_for(&person("lee"), &company(), at("10:00:02"), &str::to_owned);
        assert!(listed.asked.items[0].input_redacted.0.is_empty());
        assert!(!listed.asked.view_complete);
        assert!(
            !shown("lee").listed.asked.items[0]
                .input_redacted
                .0
                .is_empty()
        );
    }

    #[test]
    fn a_list_holds_what_was_asked_for() {
        let approval = Approval::open(&checked(), at("10:00:01")).unwrap();
        for (question, who, wants) in [
            (r#"{"op":"list"}"#, "kim", true),
            (r#"{"op":"list","mine":true}"#, "lee", true),
            (r#"{"op":"list","mine":true}"#, "dana", false),
            (
                r#"{"op":"list","team":"support","agent":"billing"}"#,
                "kim",
                true,
            ),
            (r#"{"op":"list","team":"security"}"#, "kim", false),
            (r#"{"op":"list","agent":"crm"}"#, "lee", false),
            (
                r#"{"op":"list","mine":true,"agent":"billing"}"#,
                "kim",
                false,
            ),
        ] {
            let ViewRequest::List { mine, team, agent } = serde_json::from_str(question).unwrap()
            else {
                panic!("{question}")
            };
            let (team, agent) = (team.as_ref(), agent.as_ref());
            let wanted = Wanted { mine, team, agent };
            let holds = wanted.holds(&approval, &person(who), &company(), at("10:00:02"));
            assert_eq!(holds, wants, "{question} for {who}");
        }
    }

    #[test]
    fn a_list_of_a_team_holds_what_came_to_it_because_nobody_decided() {
        let mut asked = checked();
        asked.ask.as_mut().unwrap().escalation = vec![EscalationStep {
            after_s: 60,
            team: "heads".parse().unwrap(),
            instead_of: vec!["support".parse().unwrap()],
        }];
        let approval = Approval::open(&asked, at("10:00:01")).unwrap();
        let [heads, support] = ["heads", "support"].map(|team| team.parse().unwrap());
        let holds = |team, now| {
            let wanted = Wanted {
                mine: false,
                team: Some(team),
                agent: None,
            };
            wanted.holds(&approval, &person("kim"), &company(), at(now))
        };
        for (now, wants) in [("10:00:02", false), ("10:01:01", true)] {
            assert_eq!(holds(&heads, now), wants, "{now}");
            assert!(holds(&support, now), "{now}");
        }
    }

    #[test]
    fn why_a_vote_cannot_count_is_told() {
        for (who, why) in [
            ("lee", None),
            ("dana", Some(NoVote::Own)),
            ("kim", Some(NoVote::NotAsked)),
        ] {
            let listed = shown(who).listed;
            assert_eq!((listed.no_vote, listed.may_vote), (why, why.is_none()));
        }
    }

    #[test]
    fn questions_and_answers_have_their_forms() {
        let read = |text: &str| serde_json::from_str::<ViewRequest>(text);
        assert_eq!(
            read(r#"{"op":"list"}"#).unwrap(),
            ViewRequest::List {
                mine: false,
                team: None,
                agent: None
            }
        );
        let id = ApprovalId::for_intent(checked().intent_id);
        let show = json!({"op": "show", "approval_id": id.as_str()}).to_string();
        assert_eq!(read(&show).unwrap(), ViewRequest::Show { approval_id: id });
        for bad in [
            "",
            "{}",
            r#"{"op":"purge"}"#,
            r#"{"op":"show","approval_id":"x"}"#,
            r#"{"op":"list","team":"a.b"}"#,
            r#"{"op":"list","tool":"crm.read"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let replies = [
            ViewReply::Shown {
                approval: Box::new(shown("lee")),
            },
            ViewReply::Listed {
                approvals: vec![shown("kim").listed],
                more: 2,
            },
            ViewReply::Outcome {
                outcome_of: IntentOutcome {
                    intent_id: checked().intent_id,
                    agent: checked().agent,
                    tool: checked().tool,
                    outcome: Some(Outcome::Unknown),
                    found: None,
                },
            },
        ];
        for reply in replies {
            let text = serde_json::to_string(&reply).unwrap();
            assert_eq!(serde_json::from_str::<ViewReply>(&text).unwrap(), reply);
        }
    }
}
