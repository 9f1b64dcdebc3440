//! Messages about a window that somebody asks for ahead of time. It is about no intent, so
//! it says how far the window would go.

use countersign_schemas::events::{Handoff, HandoffKind, WindowAsked, WindowLimits};
use countersign_schemas::{TeamId, Timestamp};

use super::text::{self, Page};
use super::{MESSAGE_CHARS_MAX, TITLE_CHARS_MAX, Writer, when};
use crate::approvals::{Approval, People, harmless};
use crate::decision::sentence;

/// Tools and fields that are written out; the view has all of them.
const NAMES_MAX: usize = 10;

impl<P: People + ?Sized> Writer<'_, P> {
    /// Asks `team` for a window, or reminds it; `None` for an approval of intents.
    pub(super) fn window_ask(
        &self,
        approval: &Approval,
        team: &TeamId,
        kind: HandoffKind,
        at: Timestamp,
        news: impl FnOnce(&mut Page<'_>),
    ) -> Option<Handoff> {
        let asked = approval.requested(self.redact).window?;
        let again = if kind == HandoffKind::Reminder {
            "still "
        } else {
            ""
        };
        let title = format!(
            "{} {again}asks for a window for {}",
            approval.requester().id,
            approval.agent()
        );
        let helpers = self.voters(approval, team, at);
        let mut page = self.window_opening(approval, &asked);
        page.line("No window is open; it waits for people.");
        news(&mut page);
        if kind == HandoffKind::Approval {
            page.votes(&approval.votes());
        }
        page.asked(&approval.ask().approvers, team, &self.names(&helpers));
        page.line(&format!(
            "An answer helps until {}; after that it is closed without having been opened.",
            when(approval.expires_at())
        ));
        page.line(&format!(
            "Look at all of it and decide: countersign approvals show {}",
            approval.id()
        ));
        let mut handoff = self.window_page(approval, &asked, team, page)?;
        handoff.kind = kind;
        handoff.title = text::clean(&str::to_owned, &title, TITLE_CHARS_MAX).text;
        handoff.people = helpers;
        handoff.until = Some(approval.expires_at());
        Some(handoff)
    }

    /// Tells the teams that were asked how it ended; nothing for an approval of intents.
    pub(super) fn window_resolved(&self, approval: &Approval) -> Vec<Handoff> {
        let Some(end) = approval.resolution() else {
            return Vec::new();
        };
        let Some(asked) = approval.requested(self.redact).window else {
            return Vec::new();
        };
        let state = approval.state();
        let one = |team: &TeamId| {
            let mut page = self.window_opening(approval, &asked);
            page.said(&sentence(&format!("It is {state}: {}", end.message)));
            page.line(&match approval.has_been_granted() {
                true => format!(
                    "It is open now; see it, or close it: countersign window list, countersign \
                     window close {}",
                    approval.id()
                ),
                false => "No window is opened; what it would have let through is asked about \
                          each time."
                    .to_owned(),
            });
            let mut handoff = self.window_page(approval, &asked, team, page)?;
            let title = format!("{state}: a window for {}", approval.agent());
            handoff.title = text::clean(&str::to_owned, &title, TITLE_CHARS_MAX).text;
            Some(handoff)
        };
        approval.asked_teams().into_iter().filter_map(one).collect()
    }

    /// The first lines: who asks for what, how far it would go, and why.
    fn window_opening(&self, approval: &Approval, asked: &WindowAsked) -> Page<'_> {
        let mut page = Page::new(self.redact);
        page.said(&tried(approval, asked));
        for line in limits(asked) {
            page.said(&line);
        }
        page.purpose(approval.purpose());
        page
    }

    fn window_page(
        &self,
        approval: &Approval,
        asked: &WindowAsked,
        team: &TeamId,
        page: Page<'_>,
    ) -> Option<Handoff> {
        let tried = text::clean(self.redact, &tried(approval, asked), MESSAGE_CHARS_MAX).text;
        Some(Handoff {
            schema_version: 1,
            kind: HandoffKind::Resolved,
            team: team.clone(),
            intents: Vec::new(),
            approval_id: Some(approval.id().clone()),
            agent: approval.agent().clone(),
            requester: approval.requester().clone(),
            tool: asked.tools.first()?.clone(),
            code: approval.state().as_str().to_owned(),
            title: String::new(),
            text: page.finish(None, Some(approval.id())),
            tried,
            reasons: Vec::new(),
            needs: Vec::new(),
            people: Vec::new(),
            until: None,
            link: None,
            view_complete: false,
        })
    }
}

fn tried(approval: &Approval, asked: &WindowAsked) -> String {
    format!(
        "{} asks for a window of {} for {}: until it ends, what would ask people about {} runs \
         at once.",
        approval.requester().id,
        span(&asked.limits),
        approval.agent(),
        listed(asked.tools.iter().map(ToString::to_string))
    )
}

/// How far it would go, one line for each limit.
fn limits(asked: &WindowAsked) -> Vec<String> {
    let mut lines = Vec::new();
    let uses = asked.limits.max_uses.unwrap_or_default();
    lines.push(match &asked.limits.max_total {
        Some(total) => format!("At most {uses} times, and for {total} together."),
        None => format!("At most {uses} times, with no limit on the amounts together."),
    });
    if !asked.fields.is_empty() {
        let fields = listed(asked.fields.iter().map(|field| harmless(field)));
        lines.push(format!("Of what exists it may change only {fields}."));
    }
    lines.push(match &asked.requester {
        Some(one) => format!("Only on behalf of {}, proved by a mandate.", one.id),
        None => "On behalf of anybody.".to_owned(),
    });
    lines
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Its time in its largest whole unit.
fn span(limits: &WindowLimits) -> String {
    let seconds = limits.seconds;
    let (count, unit) = match seconds {
        s if s.is_multiple_of(3_600) => (s / 3_600, "hour"),
        s if s.is_multiple_of(60) => (s / 60, "minute"),
        s => (s, "second"),
    };
    match count {
        1 => format!("1 {unit}"),
        many => format!("{many} {unit}s"),
    }
}
