//! Messages to people: what was tried, why it stopped, what would make it possible, who
//! can help and until when. Redacted, because they leave the system through chat and mail.

mod text;

use countersign_schemas::events::{
    ApprovalState, Handoff, HandoffKind, Need, PolicyChecked, Reason, ToolBlocked, ToolCompleted,
};
use countersign_schemas::{Address, PersonId, TeamId, Timestamp};

use crate::approvals::{Approval, Item, People, visible};
use crate::decision::tried;
use text::Page;

/// Characters of a title: what a phone shows of a notification.
const TITLE_CHARS_MAX: usize = 120;

/// Reasons and needs that a handoff carries: more than a screen is not read.
const LIST_MAX: usize = 20;
/// Characters of one reason or need.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// Writes handoffs in the words of one directory, with one way of redacting.
pub struct Writer<'a, P: People + ?Sized> {
    people: &'a P,
    redact: &'a (dyn Fn(&str) -> String + Send + Sync),
}

/// What a handoff is about, before it is written.
struct Subject<'a> {
    kind: HandoffKind,
    checked: &'a PolicyChecked,
    code: String,
    title: String,
    reasons: &'a [Reason],
    needs: &'a [Need],
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
        let Some(checked) = approval.items().first().map(Item::checked) else {
            return Vec::new();
        };
        let subject = Subject {
            kind: HandoffKind::Approval,
            checked,
            code: ApprovalState::Pending.as_str().to_owned(),
            title: format!("{} asks to use {}", checked.agent, checked.tool),
            reasons: &checked.reasons,
            needs: &checked.needs,
        };
        let teams = approval.ask().approvers.iter();
        teams
            .map(|entry| {
                let helpers = self.voters(approval, &entry.team);
                let mut page = self.opening(&subject);
                page.line("Nothing has run; it waits for people.");
                page.reasons("It needs a person because", subject.reasons);
                page.asked(
                    &approval.ask().approvers,
                    &entry.team,
                    &self.names(&helpers),
                );
                page.until(approval.expires_at());
                page.line(&format!(
                    "Look at it and decide: countersign approvals show {}",
                    approval.id()
                ));
                page.line(text::NO_WAY_AROUND);
                let mut handoff = self.finish(&subject, &entry.team, helpers, page);
                handoff.intents = approval.intents();
                handoff.approval_id = Some(approval.id().clone());
                handoff.until = Some(approval.expires_at());
                handoff
            })
            .collect()
    }

    /// Tells the teams that were asked how it ended.
    #[must_use]
    pub fn resolved(&self, approval: &Approval) -> Vec<Handoff> {
        let Some(end) = approval.resolution() else {
            return Vec::new();
        };
        let Some(checked) = approval.items().first().map(Item::checked) else {
            return Vec::new();
        };
        let subject = Subject {
            kind: HandoffKind::Resolved,
            checked,
            code: approval.state().as_str().to_owned(),
            title: format!(
                "{}: {} with {}",
                approval.state(),
                checked.agent,
                checked.tool
            ),
            reasons: &checked.reasons,
            needs: &[],
        };
        let teams = approval.ask().approvers.iter();
        teams
            .map(|entry| {
                let mut page = self.opening(&subject);
                page.line(&format!(
                    "It is {}: {}.",
                    approval.state(),
                    (self.redact)(&end.message)
                ));
                page.line(text::after(approval.state()));
                let mut handoff = self.finish(&subject, &entry.team, Vec::new(), page);
                handoff.intents = approval.intents();
                handoff.approval_id = Some(approval.id().clone());
                handoff
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
            code: blocked.code.as_str().to_owned(),
            title: format!("{} was stopped from using {}", blocked.agent, blocked.tool),
            reasons: &blocked.reasons,
            needs: &blocked.needs,
        };
        let helpers: Vec<PersonId> = self.people.members(team).iter().cloned().collect();
        let mut page = self.opening(&subject);
        page.line("Nothing has run.");
        page.reasons("It was stopped because", subject.reasons);
        page.needs(subject.needs);
        page.helpers(team, &self.names(&helpers));
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
            code: completed.outcome.as_str().to_owned(),
            title: format!("Did it happen? {} with {}", checked.agent, checked.tool),
            reasons: &[],
            needs: &[],
        };
        let helpers: Vec<PersonId> = self.people.members(team).iter().cloned().collect();
        let mut page = self.opening(&subject);
        let why = completed.error.as_ref().map(|error| error.message.as_str());
        page.line(&format!(
            "The outcome is {}: {}.",
            completed.outcome,
            why.unwrap_or_default()
        ));
        page.line("Please look in the system itself whether it happened. It is not tried again.");
        page.helpers(team, &self.names(&helpers));
        self.finish(&subject, team, helpers, page)
    }

    fn voters(&self, approval: &Approval, team: &TeamId) -> Vec<PersonId> {
        let members = self.people.members(team).iter();
        members
            .filter(|person| approval.may_vote(person, self.people))
            .cloned()
            .collect()
    }

    fn names(&self, people: &[PersonId]) -> Vec<String> {
        let name = |person: &PersonId| match self.people.name(person) {
            Some(name) => format!("{} ({person})", visible(name)),
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
        page.purpose(&checked.purpose);
        if !checked.requester.verified {
            page.line(&format!(
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
        let clean = |text: &str| text::clean(self.redact, text, MESSAGE_CHARS_MAX);
        Handoff {
            schema_version: 1,
            kind: subject.kind,
            team: team.clone(),
            intents: vec![checked.intent_id],
            approval_id: None,
            agent: checked.agent.clone(),
            requester: checked.requester.clone(),
            tool: checked.tool.clone(),
            code: subject.code.clone(),
            title: subject.title.chars().take(TITLE_CHARS_MAX).collect(),
            text: page.finish(checked.intent_id),
            tried: clean(&tried(
                &checked.agent,
                &checked.tool,
                &checked.requester,
                &checked.summary,
            )),
            reasons: clean_reasons(subject.reasons, &clean),
            needs: clean_needs(subject.needs, &clean),
            people,
            until: None,
            link: None,
        }
    }
}

fn clean_reasons(reasons: &[Reason], clean: &dyn Fn(&str) -> String) -> Vec<Reason> {
    let one = |reason: &Reason| Reason {
        message: clean(&reason.message),
        ..reason.clone()
    };
    reasons.iter().take(LIST_MAX).map(one).collect()
}

fn clean_needs(needs: &[Need], clean: &dyn Fn(&str) -> String) -> Vec<Need> {
    let one = |need: &Need| Need {
        message: clean(&need.message),
        ..need.clone()
    };
    needs.iter().take(LIST_MAX).map(one).collect()
}

/// Formats an instant as people read it.
#[must_use]
pub fn when(at: Timestamp) -> String {
    at.datetime().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests;
