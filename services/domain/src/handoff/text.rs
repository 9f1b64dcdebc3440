//! The lines of a handoff.

use countersign_schemas::events::{
    ApprovalState, CountedVote, Escalation, Need, NextAction, Outcome, Reason, TeamQuorum,
    VoteChoice,
};
use countersign_schemas::{ApprovalId, IntentId, TeamId, Timestamp};

use super::when;
use crate::approvals::Approval;
use crate::approvals::harmless;
use crate::decision::sentence;

/// Reasons or needs that are written out: more than a screen is not read.
const LINES_MAX: usize = 10;
/// Names of one team that are written out.
const NAMES_MAX: usize = 10;
/// Characters of a purpose that are quoted; the rest stands in the approval's view.
const PURPOSE_QUOTED_MAX: usize = 300;

/// What every handoff about something stopped ends with.
pub(super) const NO_WAY_AROUND: &str = "Please do not do it by another way: that would be seen \
    by nobody and undone by nobody.";

/// What a handoff about an unknown outcome ends with.
pub(super) const NOT_AGAIN: &str = "There is no deadline, but nobody else will look. Please do \
    not have it done again before that is known: it may already have happened.";

/// Characters of any other text of others on one line.
const LINE_CHARS_MAX: usize = 1_000;

/// Text of others, safe to send, and whether all of it is there.
pub(super) struct Clean {
    pub(super) text: String,
    pub(super) cut: bool,
}

/// Text of others, safe to send: first redacted, because a hidden character made visible
/// would hide a secret from the detectors; then made visible and without markup; cut at
/// last, because half a secret has no form to be found by.
pub(super) fn clean(redact: &dyn Fn(&str) -> String, text: &str, chars_max: usize) -> Clean {
    let safe = harmless(redact(text).trim());
    if safe.chars().count() <= chars_max {
        return Clean {
            text: safe,
            cut: false,
        };
    }
    let start: String = safe.chars().take(chars_max).collect();
    Clean {
        text: format!("{start}…"),
        cut: true,
    }
}

/// A text under construction. What others wrote is redacted and made harmless; what we
/// write is not.
pub(super) struct Page<'a> {
    redact: &'a (dyn Fn(&str) -> String + Send + Sync),
    lines: Vec<String>,
    cut: bool,
}

impl<'a> Page<'a> {
    pub(super) fn new(redact: &'a (dyn Fn(&str) -> String + Send + Sync)) -> Self {
        Self {
            redact,
            lines: Vec::new(),
            cut: false,
        }
    }

    /// Whether something of others was cut.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    fn clean(&mut self, text: &str, chars_max: usize) -> String {
        let clean = clean(self.redact, text, chars_max);
        self.cut |= clean.cut;
        clean.text
    }

    /// A line of ours.
    pub(super) fn line(&mut self, text: &str) {
        self.lines.push(text.to_owned());
    }

    /// A line that holds words of others.
    pub(super) fn said(&mut self, text: &str) {
        let line = self.clean(text, LINE_CHARS_MAX);
        self.lines.push(line);
    }

    /// The items of a bundle beside the one that the message begins with.
    pub(super) fn bundle(&mut self, approval: &Approval, lead: IntentId) {
        let all = approval.items();
        self.line(&format!(
            "It is one of a bundle of {} that are decided together:",
            all.len()
        ));
        let others = all.iter().filter(|item| item.intent() != lead);
        for item in others.take(LINES_MAX) {
            let checked = item.checked();
            let (tool, who) = (&checked.tool, &checked.requester.id);
            let text = format!("{tool} for {who}: {}", checked.summary);
            let shown = self.clean(&text, LINE_CHARS_MAX);
            self.lines.push(format!("- {shown}"));
        }
        if all.len() > LINES_MAX + 1 {
            self.line(&format!("- and {} more.", all.len() - LINES_MAX - 1));
        }
        match approval.left_out().len() {
            0 => {}
            out => self.line(&format!(
                "Of the same bundle {out} will not run, whatever is decided."
            )),
        }
    }

    pub(super) fn purpose(&mut self, purpose: &str) {
        let said = self.clean(purpose, PURPOSE_QUOTED_MAX);
        if !said.is_empty() {
            self.lines.push(format!("It said why: “{said}”"));
        }
    }

    pub(super) fn reasons(&mut self, lead: &str, reasons: &[Reason]) {
        let texts = reasons.iter().map(|reason| reason.message.as_str());
        self.listed(lead, texts.collect());
    }

    pub(super) fn needs(&mut self, needs: &[Need]) {
        let texts = needs.iter().map(|need| need.message.as_str());
        self.listed("What would make it possible", texts.collect());
    }

    fn listed(&mut self, lead: &str, texts: Vec<&str>) {
        let mut shown = Vec::new();
        for text in texts.iter().take(LINES_MAX) {
            shown.push(sentence(&self.clean(text, LINE_CHARS_MAX)));
        }
        match shown.as_slice() {
            [] => {}
            [one] => self.lines.push(format!("{lead}: {one}")),
            many => {
                self.lines.push(format!("{lead}:"));
                self.lines
                    .extend(many.iter().map(|text| format!("- {text}")));
            }
        }
        if texts.len() > LINES_MAX {
            let left = texts.len() - LINES_MAX;
            self.lines.push(format!("- and {left} more."));
            self.cut = true;
        }
    }

    /// Who is asked, and who else.
    pub(super) fn asked(&mut self, all: &[TeamQuorum], team: &TeamId, names: &[String]) {
        let teams: Vec<String> = all
            .iter()
            .map(|entry| format!("{} of {}", entry.quorum, entry.team))
            .collect();
        self.line(&format!(
            "To allow it, {} must approve.",
            teams.join(" and ")
        ));
        self.helpers(team, names);
    }

    pub(super) fn helpers(&mut self, team: &TeamId, names: &[String]) {
        let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
        let list = shown.join(", ");
        let text = match names.len() {
            0 => {
                format!("Nobody in {team} can help at the moment: the team has no member who may.")
            }
            n if n > NAMES_MAX => format!(
                "In {team} these can help: {list}, and {} more.",
                n - NAMES_MAX
            ),
            _ => format!("In {team} these can help: {list}."),
        };
        self.line(&text);
    }

    pub(super) fn until(&mut self, until: Timestamp) {
        self.line(&format!(
            "An answer helps until {}; after that it is closed without having run.",
            when(until)
        ));
    }

    /// Who has voted so far.
    pub(super) fn votes(&mut self, votes: &[CountedVote]) {
        if votes.is_empty() {
            self.line("Nobody has answered so far.");
            return;
        }
        let one = |vote: &CountedVote| {
            let said = match vote.vote {
                VoteChoice::Approve => "said yes",
                VoteChoice::Deny => "said no",
            };
            let who = match &vote.on_behalf_of {
                Some(person) => format!("{} for {person}", vote.approver),
                None => vote.approver.to_string(),
            };
            format!("{who} {said} at {}", when(vote.at))
        };
        let shown: Vec<String> = votes.iter().take(NAMES_MAX).map(one).collect();
        let shown = shown.join("; ");
        self.line(&match votes.len().saturating_sub(NAMES_MAX) {
            0 => format!("So far {shown}."),
            more => format!("So far {shown}; and {more} more."),
        });
    }

    /// The last lines: what is cut and where the whole stands, and the intent if it is about
    /// one.
    pub(super) fn finish(
        mut self,
        intent: Option<IntentId>,
        approval: Option<&ApprovalId>,
    ) -> String {
        let all = match (approval, intent) {
            (Some(id), _) => Some(format!(
                "Not all of it fits here, so do not decide by this message. All of it: \
                 countersign approvals show {id}"
            )),
            (None, Some(intent)) => Some(format!(
                "Not all of it fits here. All of it: countersign audit show {intent}"
            )),
            (None, None) => None,
        };
        self.lines.extend(all.filter(|_| self.cut));
        self.lines
            .extend(intent.map(|intent| format!("Intent: {intent}")));
        self.lines.join("\n")
    }
}

/// How long an answer to a block helps, and what becomes of it.
pub(super) fn prospect(next: NextAction, until: Option<Timestamp>) -> String {
    let until = until.map(when);
    match (next, until) {
        (NextAction::None, _) => "This one is closed for good.".to_owned(),
        (NextAction::Request | NextAction::Retry, Some(until)) => format!(
            "It is wanted before {until}. Help before then lets the agent ask again, with a new \
             intent; this one stays closed."
        ),
        (NextAction::Request | NextAction::Retry, None) => {
            "There is no deadline: once that is so, the agent may ask again, with a new intent; \
             this one stays closed."
                .to_owned()
        }
    }
}

/// Why a further team is asked.
pub(super) fn stands_in(step: &Escalation) -> String {
    format!(
        "Those asked before have not decided: from now on {} may answer in place of {}.",
        step.team,
        names(&step.instead_of)
    )
}

/// Who is asked next.
pub(super) fn asked_next(step: &Escalation) -> String {
    format!(
        "If nobody decides by {}, {} may answer in place of {}.",
        when(step.at),
        step.team,
        names(&step.instead_of)
    )
}

fn names(teams: &[TeamId]) -> String {
    let all: Vec<&str> = teams.iter().map(TeamId::as_str).collect();
    all.join(" and ")
}

/// What a finding means for what was tried.
pub(super) fn after_finding(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "It happened, once; please do not have it done again.",
        Outcome::Failed => "It did not happen; the agent may ask again with a new intent.",
        Outcome::Unknown => "Nobody knows yet.",
    }
}

/// What an ended approval means for what was asked.
pub(super) fn after(state: ApprovalState) -> &'static str {
    match state {
        ApprovalState::Pending => "It still waits for people.",
        ApprovalState::Approved => "It may run now, once, with exactly the input that was shown.",
        ApprovalState::Denied => "It will not run.",
        ApprovalState::Expired => {
            "Nobody said no, but it will not run; the agent may ask again with a new intent."
        }
        ApprovalState::Cancelled => "It will not run, and no vote is needed any more.",
        ApprovalState::Failed => {
            "It will not run, whatever people said; the agent may ask again with a new intent."
        }
        ApprovalState::Partial => "Only the items that were approved run.",
    }
}
