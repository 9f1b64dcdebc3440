//! Messages to people: what was tried, why it stopped, what would make it possible, who
//! can help and until when. Redacted, because they leave the system through chat and mail.

mod stopped;
mod text;
mod window;

use countersign_schemas::events::{
    ApprovalKind, ApprovalState, Escalation, Handoff, HandoffKind, Need, NextAction,
    OutcomeReconciled, PolicyChecked, Reason, ToolBlocked, ToolCompleted, Verdict,
};
use countersign_schemas::{Address, ApprovalId, IntentId, PersonId, TeamId, Timestamp};

use crate::approvals::{Approval, Item, People, harmless};
use crate::decision::{of_block, sentence, tried};
pub use stopped::is_told;
use text::Page;

/// Characters of a title: what a phone shows of a notification.
const TITLE_CHARS_MAX: usize = 120;

/// Reasons and needs that a handoff carries: more than a screen is not read.
const LIST_MAX: usize = 20;
/// Characters of one reason or need.
const MESSAGE_CHARS_MAX: usize = 1_000;
/// The code of the entry that says how many reasons or needs are left out.
const LEFT_OUT: &str = "left_out";

/// Writes handoffs in the words of one directory, with one way of redacting.
pub struct Writer<'a, P: People + ?Sized> {
    people: &'a P,
    redact: &'a (dyn Fn(&str) -> String + Send + Sync),
}

/// What a handoff is about, before it is written.
struct Subject<'a> {
    kind: HandoffKind,
    checked: &'a PolicyChecked,
    approval: Option<&'a Approval>,
    code: String,
    title: String,
    reasons: &'a [Reason],
    needs: &'a [Need],
    until: Option<Timestamp>,
}

/// Where a handoff is stored.
#[must_use]
pub fn address(handoff: &Handoff, id: &str) -> Option<Address> {
    Some(Address::Handoff {
        kind: handoff.kind.token().ok()?,
        team: handoff.team.clone(),
        id: id.parse().ok()?,
    })
}

impl<'a, P: People + ?Sized> Writer<'a, P> {
    /// A writer that names the members of `people` and passes every text of others through
    /// `redact`.
    #[must_use]
    pub fn new(people: &'a P, redact: &'a (dyn Fn(&str) -> String + Send + Sync)) -> Self {
        Self { people, redact }
    }

    /// Asks every team whose approval is needed.
    #[must_use]
    pub fn approval(&self, approval: &Approval) -> Vec<Handoff> {
        let teams = approval.ask().approvers.iter();
        teams
            .filter_map(|entry| {
                let (team, kind) = (&entry.team, HandoffKind::Approval);
                self.ask_of(approval, team, kind, approval.created_at(), |_| ())
            })
            .collect()
    }

    /// Asks the team of `step`, whose time has come; `None` for an approval of nothing.
    #[must_use]
    pub fn further(&self, approval: &Approval, step: &Escalation) -> Option<Handoff> {
        let kind = HandoffKind::Approval;
        self.ask_of(approval, &step.team, kind, step.at, |page| {
            page.line(&text::stands_in(step));
            page.votes(&approval.votes());
        })
    }

    /// Asks every team again that was asked so far, for the `nth` time, at `at`.
    #[must_use]
    pub fn reminders(&self, approval: &Approval, nth: usize, at: Timestamp) -> Vec<Handoff> {
        let teams = approval.asked_teams().into_iter();
        teams
            .filter_map(|team| self.reminder(approval, team, nth, at))
            .collect()
    }

    /// Asks `team` again, for the `nth` time: it still waits, and who has answered so far.
    /// Stored under [`reminder_id`]. `None` for an approval of nothing.
    #[must_use]
    pub fn reminder(
        &self,
        approval: &Approval,
        team: &TeamId,
        nth: usize,
        at: Timestamp,
    ) -> Option<Handoff> {
        self.ask_of(approval, team, HandoffKind::Reminder, at, |page| {
            page.line(&format!("This is reminder {nth}: it still waits."));
            page.votes(&approval.votes());
        })
    }

    fn ask_of(
        &self,
        approval: &Approval,
        team: &TeamId,
        kind: HandoffKind,
        at: Timestamp,
        news: impl FnOnce(&mut Page<'_>),
    ) -> Option<Handoff> {
        let Some(checked) = lead(approval) else {
            return self.window_ask(approval, team, kind, at, news);
        };
        let again = if kind == HandoffKind::Reminder {
            "still "
        } else {
            ""
        };
        let subject = Subject {
            kind,
            checked,
            approval: Some(approval),
            code: ApprovalState::Pending.as_str().to_owned(),
            title: format!(
                "{} {again}asks {}",
                checked.agent,
                what(approval, "to use", checked)
            ),
            reasons: &checked.reasons,
            needs: &checked.needs,
            until: Some(approval.expires_at()),
        };
        let helpers = self.voters(approval, team, at);
        let mut page = self.opening(&subject);
        page.line("Nothing has run; it waits for people.");
        news(&mut page);
        page.reasons("It needs a person because", subject.reasons);
        page.asked(&approval.ask().approvers, team, &self.names(&helpers));
        for step in approval.escalation().iter().filter(|step| step.at > at) {
            page.line(&text::asked_next(step));
        }
        page.until(approval.expires_at());
        page.line(&format!(
            "Look at all of it and decide: countersign approvals show {}",
            approval.id()
        ));
        page.line(text::NO_WAY_AROUND);
        let shows_all = approval.requested(self.redact).view_complete && !page.is_cut();
        let mut handoff = self.finish(&subject, team, helpers, page);
        handoff.view_complete = shows_all;
        Some(handoff)
    }

    /// Tells the teams that were asked how it ended.
    #[must_use]
    pub fn resolved(&self, approval: &Approval) -> Vec<Handoff> {
        let Some(end) = approval.resolution() else {
            return Vec::new();
        };
        let Some(checked) = lead(approval) else {
            return self.window_resolved(approval);
        };
        let state = approval.state();
        let subject = Subject {
            kind: HandoffKind::Resolved,
            checked,
            approval: Some(approval),
            code: state.as_str().to_owned(),
            title: format!(
                "{state}: {} {}",
                checked.agent,
                what(approval, "with", checked)
            ),
            reasons: &checked.reasons,
            needs: &[],
            until: None,
        };
        let teams = approval.asked_teams().into_iter();
        teams
            .map(|team| {
                let mut page = self.opening(&subject);
                page.said(&sentence(&format!("It is {state}: {}", end.message)));
                page.line(text::after(state));
                if state != ApprovalState::Approved && state != ApprovalState::Partial {
                    page.line(text::NO_WAY_AROUND);
                }
                self.finish(&subject, team, Vec::new(), page)
            })
            .collect()
    }

    /// Tells the team that can help that an intent was blocked; `None` where no team can.
    #[must_use]
    pub fn blocked(&self, blocked: &ToolBlocked, checked: &PolicyChecked) -> Option<Handoff> {
        let team = &blocked.handoff.as_ref()?.team;
        let subject = Subject {
            kind: HandoffKind::Blocked,
            checked,
            approval: None,
            code: blocked.code.as_str().to_owned(),
            title: format!("{} was stopped from using {}", blocked.agent, blocked.tool),
            reasons: &blocked.reasons,
            needs: &blocked.needs,
            until: match blocked.next_action {
                NextAction::Request | NextAction::Retry => checked.expires_at,
                NextAction::None => None,
            },
        };
        let helpers: Vec<PersonId> = self.people.members(team).iter().cloned().collect();
        let mut page = self.opening(&subject);
        page.line(&format!(
            "Nothing has run. {}",
            of_block(blocked.code).about
        ));
        page.reasons("It was stopped because", subject.reasons);
        page.needs(subject.needs);
        page.helpers(team, &self.names(&helpers));
        page.line(&text::prospect(blocked.next_action, subject.until));
        page.line(text::NO_WAY_AROUND);
        Some(self.finish(&subject, team, helpers, page))
    }

    /// Tells `team` that nobody knows whether a run happened.
    #[must_use]
    pub fn outcome(
        &self,
        completed: &ToolCompleted,
        checked: &PolicyChecked,
        team: &TeamId,
    ) -> Handoff {
        let subject = Subject {
            kind: HandoffKind::Outcome,
            checked,
            approval: None,
            code: completed.outcome.as_str().to_owned(),
            title: format!("Did it happen? {} with {}", checked.agent, checked.tool),
            reasons: &[],
            needs: &[],
            until: None,
        };
        let helpers: Vec<PersonId> = self.people.members(team).iter().cloned().collect();
        let mut page = self.opening(&subject);
        let why = completed.error.as_ref().map(|error| error.message.as_str());
        page.said(&sentence(&format!(
            "The outcome is {}: {}",
            completed.outcome,
            why.unwrap_or("nothing is known")
        )));
        page.line("Please look in the system itself whether it happened. It is not tried again.");
        page.helpers(team, &self.names(&helpers));
        page.line(&format!(
            "Then an operator says what was found: countersign reconcile {} --outcome \
             succeeded|failed --reason TEXT",
            checked.intent_id
        ));
        page.line(text::NOT_AGAIN);
        self.finish(&subject, team, helpers, page)
    }

    /// Tells `team` what was found out about an outcome that nobody knew. Stored under
    /// [`found_id`].
    #[must_use]
    pub fn found(
        &self,
        found: &OutcomeReconciled,
        checked: &PolicyChecked,
        team: &TeamId,
    ) -> Handoff {
        let (operator, outcome) = (&found.operator, found.outcome);
        let subject = Subject {
            kind: HandoffKind::Outcome,
            checked,
            approval: None,
            code: outcome.as_str().to_owned(),
            title: format!(
                "Found out: {} with {} {outcome}",
                checked.agent, checked.tool
            ),
            reasons: &[],
            needs: &[],
            until: None,
        };
        let mut page = self.opening(&subject);
        page.line("Nobody knew whether it happened.");
        page.said(&sentence(&format!(
            "{operator} found at {} that it {outcome}: {}",
            when(found.reconciled_at),
            found.reason
        )));
        page.line(text::after_finding(outcome));
        self.finish(&subject, team, Vec::new(), page)
    }

    /// Who of `team` may vote at `at`, and who may in the place of one of them.
    fn voters(&self, approval: &Approval, team: &TeamId, at: Timestamp) -> Vec<PersonId> {
        let may = |person: &PersonId| approval.may_vote(person, self.people, at);
        let members = self.people.members(team);
        let stand_ins = members.iter().flat_map(|member| {
            let lent = self.people.delegations_of(member).into_iter();
            lent.filter(|one| one.holds(at) && one.teams.contains(team))
                .map(|one| &one.delegate)
        });
        let mut voters: Vec<PersonId> = Vec::new();
        for person in members.iter().chain(stand_ins) {
            if !voters.contains(person) && may(person) {
                voters.push(person.clone());
            }
        }
        voters
    }

    fn names(&self, people: &[PersonId]) -> Vec<String> {
        let name = |person: &PersonId| match self.people.name(person) {
            Some(name) => format!("{} ({person})", harmless(name)),
            None => person.to_string(),
        };
        people.iter().map(name).collect()
    }

    /// The first lines of every handoff: who tried what, for whom and why.
    fn opening(&self, subject: &Subject<'_>) -> Page<'_> {
        let checked = subject.checked;
        let mut page = Page::new(self.redact);
        page.said(&tried(
            &checked.agent,
            &checked.tool,
            &checked.requester,
            &checked.summary,
        ));
        if let Some(bundle) = subject.approval.filter(|all| is_bundle(all)) {
            page.bundle(bundle, checked.intent_id);
        }
        page.purpose(&checked.purpose);
        if !checked.requester.verified {
            page.said(&format!(
                "That it is for {} is claimed, not proved.",
                checked.requester.id
            ));
        }
        page
    }

    fn finish(
        &self,
        subject: &Subject<'_>,
        team: &TeamId,
        people: Vec<PersonId>,
        page: Page<'_>,
    ) -> Handoff {
        let checked = subject.checked;
        let clean = |text: &str| text::clean(self.redact, text, MESSAGE_CHARS_MAX).text;
        let approval_id = subject.approval.map(Approval::id);
        Handoff {
            schema_version: 1,
            kind: subject.kind,
            team: team.clone(),
            intents: subject
                .approval
                .map_or_else(|| vec![checked.intent_id], Approval::intents),
            approval_id: approval_id.cloned(),
            agent: checked.agent.clone(),
            requester: checked.requester.clone(),
            tool: checked.tool.clone(),
            code: subject.code.clone(),
            title: text::clean(&str::to_owned, &subject.title, TITLE_CHARS_MAX).text,
            text: page.finish(Some(checked.intent_id), approval_id),
            tried: clean(&tried(
                &checked.agent,
                &checked.tool,
                &checked.requester,
                &checked.summary,
            )),
            reasons: clean_reasons(subject.reasons, &clean),
            needs: clean_needs(subject.needs, &clean),
            people,
            until: subject.until,
            link: None,
            view_complete: false,
        }
    }
}

/// The verdict that a message begins with: the first that asks.
fn lead(approval: &Approval) -> Option<&PolicyChecked> {
    let verdicts = || approval.items().iter().map(Item::checked);
    let asks = verdicts().find(|checked| checked.verdict == Verdict::Ask);
    asks.or_else(|| verdicts().next())
}

fn is_bundle(approval: &Approval) -> bool {
    approval.kind() == ApprovalKind::Bundle
}

/// What an approval is about, in a title.
fn what(approval: &Approval, word: &str, checked: &PolicyChecked) -> String {
    match approval.items().len() {
        count if is_bundle(approval) => format!("for a bundle of {count}"),
        _ => format!("{word} {}", checked.tool),
    }
}

fn clean_reasons(reasons: &[Reason], clean: &dyn Fn(&str) -> String) -> Vec<Reason> {
    let one = |reason: &Reason| Reason {
        message: clean(&reason.message),
        ..reason.clone()
    };
    let more = left_out(reasons.len()).map(|message| Reason {
        code: LEFT_OUT.to_owned(),
        message,
        policy_id: None,
    });
    let shown = reasons.iter().take(LIST_MAX).map(one);
    shown.chain(more).collect()
}

fn clean_needs(needs: &[Need], clean: &dyn Fn(&str) -> String) -> Vec<Need> {
    let one = |need: &Need| Need {
        message: clean(&need.message),
        ..need.clone()
    };
    let more = left_out(needs.len()).map(|message| Need {
        code: LEFT_OUT.to_owned(),
        message,
    });
    needs.iter().take(LIST_MAX).map(one).chain(more).collect()
}

fn left_out(all: usize) -> Option<String> {
    let more = all.saturating_sub(LIST_MAX);
    (more > 0).then(|| format!("and {more} more, which do not fit here"))
}

/// The id under which it is told what was found out about an intent.
#[must_use]
pub fn found_id(intent: IntentId) -> String {
    format!("{intent}-found")
}

/// The id under which the `nth` reminder of an approval is stored.
#[must_use]
pub fn reminder_id(approval: &ApprovalId, nth: usize) -> String {
    format!("{approval}-{nth}")
}

/// Formats an instant as people read it.
#[must_use]
pub fn when(at: Timestamp) -> String {
    at.datetime().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
