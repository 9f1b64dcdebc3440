//! Votes that ask for a time window beside their yes.

use countersign_schemas::events::{ApprovalKind, ApprovalState, VoteChoice, WindowLimits};

use super::People;
use super::approval::Approval;
use super::vote::{Answer, Ballot, VoteCode};
use crate::windows::{Limits, Window, strictest};

impl Approval {
    /// Why the window that a vote asks for cannot be opened with this approval.
    pub(super) fn objection_to_window(&self, ballot: &Ballot<'_>) -> Option<Answer> {
        let asked = ballot.vote.window.as_ref()?;
        let why = match ballot.vote.vote {
            VoteChoice::Deny => Some("a no opens no window; vote without one".to_owned()),
            VoteChoice::Approve => self.unfit(asked).err(),
        };
        why.map(|why| Answer::refused(VoteCode::WindowNotPermitted, why))
    }

    /// The answer to a vote that asks for a window while `most` of its agent are open or
    /// wait for people: what would count does not, and every other answer is as ever.
    #[must_use]
    pub fn vote_beyond_windows(
        &self,
        ballot: &Ballot<'_>,
        people: &(impl People + ?Sized),
        most: usize,
    ) -> Answer {
        let answer = self.clone().vote(ballot, people);
        if !answer.changed {
            return answer;
        }
        let why = format!(
            "nothing was counted: {} has {most} windows that are open or wait for people; close \
             one first, or vote without a window",
            self.agent()
        );
        Answer::refused(VoteCode::WindowNotPermitted, why)
    }

    fn unfit(&self, asked: &WindowLimits) -> Result<(), String> {
        if self.kind() == ApprovalKind::Window {
            let why = "this asks for a window already, with the limits that are shown; vote \
                       without one, or say no and ask for another";
            return Err(why.to_owned());
        }
        let [item] = self.items() else {
            return Err("a window is opened with one action, not with several".to_owned());
        };
        let Some(max) = self.ask().window_max_s else {
            let why = "policy lets no window lift this; vote without one, and decide each time";
            return Err(why.to_owned());
        };
        let limits = Limits::read(asked).map_err(|fault| fault.to_string())?;
        if limits.seconds > max {
            return Err(format!(
                "policy lets a window here last {max} seconds at most"
            ));
        }
        let Some(total) = &limits.max_total else {
            return self.together(Some(asked));
        };
        let checked = item.checked();
        if checked.amount.is_none() {
            return Err("a total limits nothing here: no amount of this is known".to_owned());
        }
        if total.currency != checked.currency {
            let unit = checked.currency.as_deref().unwrap_or("no currency");
            return Err(format!(
                "the amounts of this are in {unit}: give the total in that"
            ));
        }
        self.together(Some(asked))
    }

    /// Whether the limits of all votes go together with these.
    fn together(&self, asked: Option<&WindowLimits>) -> Result<(), String> {
        let before = self.votes.iter().filter_map(|vote| vote.window.as_ref());
        let all = before.chain(asked).map(Some);
        strictest(all).map(drop).map_err(|fault| fault.to_string())
    }

    /// The limits of the window that it opens: the strictest over all votes for yes, if
    /// each of them asked for one, or those that were asked for ahead of time; `None` before
    /// it is approved.
    #[must_use]
    pub fn window_limits(&self) -> Option<Limits> {
        if self.state() != ApprovalState::Approved {
            return None;
        }
        match self.kind() {
            ApprovalKind::Action => {}
            ApprovalKind::Bundle => return None,
            ApprovalKind::Window => return self.asked_window().map(|asked| asked.limits.clone()),
        }
        let approving = self
            .votes
            .iter()
            .filter(|one| one.vote.vote == VoteChoice::Approve);
        strictest(approving.map(|one| one.window.as_ref()))
            .ok()
            .flatten()
    }

    /// The message that ended it, if that was a vote for yes.
    pub(crate) fn approved_with(&self) -> Option<&str> {
        let last = self.votes.last()?;
        (last.vote.vote == VoteChoice::Approve).then_some(last.message.as_str())
    }

    /// What becomes of the window that votes asked for, for the voter.
    pub(super) fn window_words(&self) -> String {
        let ahead = self.kind() == ApprovalKind::Window;
        if !ahead && self.votes.iter().all(|one| one.window.is_none()) {
            return String::new();
        }
        match (self.state(), Window::of(self)) {
            (ApprovalState::Pending, _) if ahead => format!(
                "; the window opens once all of them are there, before {}",
                self.expires_at()
            ),
            (ApprovalState::Approved, Some(window)) => {
                format!("; window {} is open until {}", window.id(), window.until())
            }
            (ApprovalState::Approved, None) => {
                "; no window is opened, because not everybody who approved asked for one".to_owned()
            }
            (ApprovalState::Pending, _) => {
                "; a window is opened if everybody who approves asks for one, with the strictest \
                 of their limits"
                    .to_owned()
            }
            _ => String::new(),
        }
    }
}
