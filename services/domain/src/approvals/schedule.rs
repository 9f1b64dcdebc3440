//! What happens with an approval while nobody decides: reminders, the teams that are asked
//! next, and its end. Every time is fixed when it is opened; what has come due is noted in
//! the value before anybody is told, so that each happens once whoever restarts.

use std::time::Duration;

use countersign_schemas::events::{ApprovalKind, ApprovalState, Ask, Escalation, PolicyChecked};
use countersign_schemas::{TeamId, Timestamp};
use serde::{Deserialize, Serialize};

use super::approval::Approval;
use super::item::Item;

/// When what comes, and how far it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timetable {
    /// From when its times are counted; absent in values of before there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked_from: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reminders: Vec<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    escalation: Vec<Escalation>,
    /// What has come due.
    #[serde(default)]
    fired: Count,
    /// Of what has come due, that of which people were told.
    #[serde(default)]
    told: Count,
}

/// So many of the reminders and of the steps, from the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    reminders: usize,
    steps: usize,
}

/// Something that has come due and that people must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The teams asked are reminded.
    Reminder {
        /// Which reminder, from 1.
        number: usize,
        /// When it came due.
        at: Timestamp,
    },
    /// A further team is asked.
    Escalation(Escalation),
}

/// The steps of an ask whose times are counted from `from` that come before `until`.
pub(super) fn escalation(ask: &Ask, from: Timestamp, until: Timestamp) -> Vec<Escalation> {
    let step = |step: &countersign_schemas::events::EscalationStep| Escalation {
        at: from.plus(Duration::from_secs(step.after_s)),
        team: step.team.clone(),
        instead_of: step.instead_of.clone(),
    };
    let mut steps: Vec<Escalation> = ask.escalation.iter().map(step).collect();
    steps.retain(|step| step.at < until);
    steps.sort_by_key(|step| step.at);
    steps
}

impl Timetable {
    pub(super) fn of(ask: &Ask, from: Timestamp, until: Timestamp) -> Self {
        let reminders = ask.remind_after_s.iter();
        let mut reminders: Vec<Timestamp> = reminders
            .map(|after| from.plus(Duration::from_secs(*after)))
            .filter(|at| *at < until)
            .collect();
        reminders.sort();
        Self {
            asked_from: Some(from),
            reminders,
            escalation: escalation(ask, from, until),
            fired: Count::default(),
            told: Count::default(),
        }
    }

    fn due_by(&self, now: Timestamp) -> Count {
        Count {
            reminders: self.reminders.partition_point(|at| *at <= now),
            steps: self.escalation.partition_point(|step| step.at <= now),
        }
    }

    /// When the next thing comes that has not come yet.
    fn next(&self) -> Option<Timestamp> {
        let reminder = self.reminders.get(self.fired.reminders).copied();
        let step = self.escalation.get(self.fired.steps).map(|step| step.at);
        reminder.into_iter().chain(step).min()
    }

    fn fired_steps(&self) -> &[Escalation] {
        self.escalation.get(..self.fired.steps).unwrap_or_default()
    }
}

/// From when the times of one ask are counted: from when people were asked, and where only
/// open hours count from when the intent was stored, for which they were computed.
pub(super) fn starts(ask: &Ask, requested_at: Timestamp, asked_at: Timestamp) -> Timestamp {
    match ask.business_hours.is_empty() {
        true => asked_at,
        false => requested_at.min(asked_at),
    }
}

/// The earliest of these for the asks of several verdicts: all their times fit behind it.
pub(super) fn earliest_start<'a>(
    verdicts: impl Iterator<Item = &'a PolicyChecked>,
    asked_at: Timestamp,
) -> Timestamp {
    let own = |checked: &PolicyChecked| {
        let ask = checked.ask.as_ref()?;
        Some(starts(ask, checked.requested_at, asked_at))
    };
    verdicts.filter_map(own).min().unwrap_or(asked_at)
}

impl Approval {
    fn counted_from(&self) -> Timestamp {
        earliest_start(self.items.iter().map(Item::checked), self.created_at)
    }

    /// Fixes every time. The end is never later than it was.
    pub(super) fn set_timetable(&mut self) {
        let from = self.counted_from();
        let life = Duration::from_secs(self.ask.expires_in_s);
        self.expires_at = self.expires_at.min(from.plus(life));
        self.timetable = Timetable::of(&self.ask, from, self.expires_at);
    }

    /// From when its times are counted, as its final record says. The rules of a bundle's
    /// items may count from different moments; it says when people were asked.
    #[must_use]
    pub fn asked_from(&self) -> Option<Timestamp> {
        let from = self.timetable.asked_from?;
        match self.kind {
            ApprovalKind::Bundle => Some(self.created_at),
            ApprovalKind::Action | ApprovalKind::Window => Some(from),
        }
    }

    /// The teams that are asked too if nobody decides, with their times.
    #[must_use]
    pub fn escalation(&self) -> &[Escalation] {
        &self.timetable.escalation
    }

    /// When the teams are reminded if nobody decides.
    #[must_use]
    pub fn reminders(&self) -> &[Timestamp] {
        &self.timetable.reminders
    }

    /// Every team that was asked so far, the first ones first.
    #[must_use]
    pub fn asked_teams(&self) -> Vec<&TeamId> {
        let mut teams: Vec<&TeamId> = self.ask.approvers.iter().map(|entry| &entry.team).collect();
        for step in self.timetable.fired_steps() {
            if !teams.contains(&&step.team) {
                teams.push(&step.team);
            }
        }
        teams
    }

    /// When it must be looked at next: what has come due and was not told, then what comes
    /// next, at last its end.
    #[must_use]
    pub fn next_due(&self) -> Timestamp {
        if let Some(end) = &self.resolution {
            return end.at;
        }
        let table = &self.timetable;
        match table.fired == table.told {
            true => table
                .next()
                .map_or(self.expires_at, |at| at.min(self.expires_at)),
            false => self.created_at,
        }
    }

    /// Notes what has come due by `now`; whether there was anything. An end has no more of
    /// it, and neither has one whose time is over.
    pub fn advance(&mut self, now: Timestamp) -> bool {
        if self.state != ApprovalState::Pending || now >= self.expires_at {
            return false;
        }
        let due = self.timetable.due_by(now);
        let fired = &mut self.timetable.fired;
        // A clock that goes back takes nothing back.
        let next = Count {
            reminders: due.reminders.max(fired.reminders),
            steps: due.steps.max(fired.steps),
        };
        let changed = *fired != next;
        *fired = next;
        changed
    }

    /// What has come due and was not told: of several reminders only the last, for nobody
    /// needs the one that an outage held up.
    #[must_use]
    pub fn untold(&self) -> Vec<Notice> {
        let table = &self.timetable;
        if self.state != ApprovalState::Pending {
            return Vec::new();
        }
        let mut notices: Vec<Notice> = table
            .fired_steps()
            .iter()
            .skip(table.told.steps)
            .cloned()
            .map(Notice::Escalation)
            .collect();
        if table.fired.reminders > table.told.reminders {
            let number = table.fired.reminders;
            let at = number
                .checked_sub(1)
                .and_then(|last| table.reminders.get(last));
            notices.extend(at.map(|at| Notice::Reminder { number, at: *at }));
        }
        notices
    }

    /// Notes that people were told of everything that has come due.
    pub fn note_told(&mut self) {
        self.timetable.told = self.timetable.fired;
    }
}
