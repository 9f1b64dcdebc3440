//! Who votes in whose place and when, as `entities.json` says, and the calendars of open
//! hours there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{Days, NaiveDate, NaiveTime};
use countersign_schemas::{PersonId, TeamId, Timestamp};
use serde::Deserialize;

use crate::approvals::Delegation;

/// Delegations of one person: more are a policy of their own, and one team.
const DELEGATES_MAX: usize = 20;
/// The longest that lint takes for an absence.
pub(crate) const ABSENCE_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// An entry of `delegates` of a person.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DelegateRow {
    to: PersonId,
    from: String,
    until: String,
    /// All of the person's teams where none is named.
    #[serde(default)]
    teams: BTreeSet<TeamId>,
}

/// A row of `calendars`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CalendarRow {
    pub(super) zone: String,
    pub(super) open: Vec<String>,
    #[serde(default)]
    pub(super) holidays: Vec<String>,
}

/// What is wrong with a delegation, and how to mend it.
type Fault = (String, &'static str);

/// The delegations of `person`, who is in `teams`; what is sound is kept, by its number.
pub(super) fn delegations(
    person: &PersonId,
    teams: &BTreeSet<TeamId>,
    rows: &[DelegateRow],
    is_person: impl Fn(&PersonId) -> bool,
) -> (BTreeMap<usize, Delegation>, Vec<(usize, Fault)>) {
    let (mut sound, mut faults) = (BTreeMap::new(), Vec::new());
    for (number, row) in rows.iter().enumerate() {
        if number == DELEGATES_MAX {
            let what = format!("person `{person}` has more than {DELEGATES_MAX} delegates");
            faults.push((number, (what, "drop those whose time is over")));
            break;
        }
        match delegation(person, teams, row, &is_person) {
            Ok(one) => drop(sound.insert(number, one)),
            Err(fault) => faults.push((number, fault)),
        }
    }
    (sound, faults)
}

fn delegation(
    person: &PersonId,
    teams: &BTreeSet<TeamId>,
    row: &DelegateRow,
    is_person: impl Fn(&PersonId) -> bool,
) -> Result<Delegation, Fault> {
    let to = &row.to;
    if to == person {
        let what = format!("person `{person}` is their own delegate");
        return Err((what, "name somebody else"));
    }
    if !is_person(to) {
        let what = format!("delegate `{to}` of `{person}` is not in `people`");
        return Err((what, "add it or mend the name"));
    }
    if let Some(team) = row.teams.iter().find(|team| !teams.contains(*team)) {
        let what =
            format!("`{to}` may not vote for `{person}` in team `{team}`: `{person}` is not in it");
        return Err((what, "name teams of the person, or none for all of them"));
    }
    let moment = |text: &str, end: bool| {
        let what = format!("`{}` is neither a day nor a time", super::ask::cut(text));
        let mend = "write 2026-12-20, or 2026-12-20T08:00:00+01:00";
        moment(text, end).ok_or((what, mend))
    };
    let (from, until) = (moment(&row.from, false)?, moment(&row.until, true)?);
    if from >= until {
        let what = format!("delegate `{to}` of `{person}` has its end before its start");
        return Err((what, "write `from` before `until`"));
    }
    Ok(Delegation {
        person: person.clone(),
        delegate: to.clone(),
        from,
        until,
        teams: match row.teams.is_empty() {
            true => teams.clone(),
            false => row.teams.clone(),
        },
    })
}

/// An instant, or a day in UTC: its start, or as an end the start of the next one.
fn moment(text: &str, end: bool) -> Option<Timestamp> {
    let Ok(day) = text.parse::<NaiveDate>() else {
        return text.parse().ok();
    };
    let day = day.checked_add_days(Days::new(u64::from(end)))?;
    Some(Timestamp::new(day.and_time(NaiveTime::MIN).and_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(rows: serde_json::Value) -> (Vec<Delegation>, Vec<String>) {
        let rows: Vec<DelegateRow> = serde_json::from_value(rows).unwrap();
        let teams = ["finance", "heads"]
            .map(|team| team.parse().unwrap())
            .into();
        let known = |id: &PersonId| ["kim", "lee"].contains(&id.as_str());
        let (sound, faults) = delegations(&"lee".parse().unwrap(), &teams, &rows, known);
        let faults = faults
            .into_iter()
            .map(|(number, (what, _))| format!("{number}: {what}"));
        (sound.into_values().collect(), faults.collect())
    }

    #[test]
    fn days_and_times_are_read_and_the_last_day_counts() {
        let (sound, faults) = read(json!([
            {"to": "kim", "from": "2026-12-20", "until": "2026-12-20"},
            {"to": "kim", "from": "2026-12-20T08:00:00+01:00", "until": "2026-12-21", "teams": ["heads"]},
        ]));
        assert_eq!(faults, [""; 0]);
        let of = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(sound[0].from, of("2026-12-20T00:00:00Z"));
        assert_eq!(sound[0].until, of("2026-12-21T00:00:00Z"));
        assert_eq!(sound[0].teams.len(), 2);
        assert_eq!(sound[1].from, of("2026-12-20T07:00:00Z"));
        assert_eq!(sound[1].teams.len(), 1);
    }

    #[test]
    fn each_fault_is_named_with_its_number() {
        let span =
            |to: &str, from: &str, until: &str| json!({"to": to, "from": from, "until": until});
        let (sound, faults) = read(json!([
            span("lee", "2026-12-20", "2026-12-21"),
            span("eve", "2026-12-20", "2026-12-21"),
            span("kim", "2026-12-21", "2026-12-20"),
            span("kim", "soon", "2026-12-20"),
            span("kim", "2026-02-30", "2026-12-20"),
            {"to": "kim", "from": "2026-12-20", "until": "2026-12-21", "teams": ["board"]},
        ]));
        assert!(sound.is_empty());
        let words = [
            "own delegate",
            "not in `people`",
            "end before",
            "neither",
            "neither",
            "`board`",
        ];
        assert_eq!(faults.len(), words.len(), "{faults:?}");
        for (number, (fault, word)) in faults.iter().zip(words).enumerate() {
            assert!(
                fault.starts_with(&format!("{number}: ")) && fault.contains(word),
                "{fault}"
            );
        }
        let many: Vec<_> = (0..40)
            .map(|_| span("kim", "2026-12-20", "2026-12-21"))
            .collect();
        let (sound, faults) = read(json!(many));
        assert_eq!((sound.len(), faults.len()), (20, 1));
    }
}
