//! Opening hours by the clock on a wall, which people set forward and back: whether a place
//! is open, and when it will have been open for so long.
//!
//! A span opens the first time that the clock shows its start, and closes the first time
//! that it shows its end. An hour that happens twice therefore opens nothing again that was
//! closed, and an hour that is left out opens or closes at the jump.

use chrono::{
    DateTime, Datelike as _, Days, MappedLocalTime, NaiveDate, NaiveTime, TimeDelta, TimeZone as _,
    Utc, Weekday,
};
use chrono_tz::Tz;
use std::time::Duration;

use crate::guardrails::quote;

/// Minutes of a day.
const DAY_MINUTES: u32 = 24 * 60;
/// How far, in seconds, an instant lies from the one at which UTC shows the same time: zones
/// are at most 14 hours off, and a jump across the date line is one day.
const REACH_SECONDS: i64 = 40 * 60 * 60;
/// A leap year, in which every day of a year exists.
const LEAP_YEAR: i32 = 2024;

/// Days that are looked ahead for open hours: more than any ask lasts.
const DAYS_AHEAD_MAX: usize = 10;

/// Days and hours that are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hours {
    zone: Tz,
    open: Vec<Span>,
    holidays: Vec<Holiday>,
}

impl Hours {
    /// Reads hours as people write them: a zone of the IANA database, spans such as
    /// `mon-fri 08:00-18:00`, and days such as `2026-12-25` or `12-25`.
    ///
    /// # Errors
    /// Every fault, each with how to mend it.
    pub(crate) fn read(
        zone: &str,
        open: &[String],
        holidays: &[String],
    ) -> Result<Self, Vec<(String, &'static str)>> {
        let mut faults = Vec::new();
        let read_zone: Option<Tz> = zone.parse().ok();
        if read_zone.is_none() {
            faults.push((
                format!("`zone` is `{}`, which is no time zone", quote(zone)),
                "write a name of the IANA database, such as `Europe/Berlin`",
            ));
        }
        if open.is_empty() {
            faults.push((
                "`open` names no time".to_owned(),
                "write times such as `mon-fri 08:00-18:00`",
            ));
        }
        let mut spans = Vec::new();
        for text in open {
            match Span::parse(text) {
                Some(span) => spans.push(span),
                None => faults.push((
                    format!("`open` has `{}`, which is no time", quote(text)),
                    "write days and hours such as `mon-fri 08:00-18:00` or `sat 22:00-02:00`",
                )),
            }
        }
        let mut days = Vec::new();
        for text in holidays {
            match holiday(text) {
                Some(day) => days.push(day),
                None => faults.push((
                    format!("`holidays` has `{}`, which is no day", quote(text)),
                    "write `2026-12-25`, or `12-25` for every year",
                )),
            }
        }
        match read_zone {
            Some(zone) if faults.is_empty() => Ok(Self {
                zone,
                open: spans,
                holidays: days,
            }),
            _ => Err(faults),
        }
    }

    /// The name of the zone.
    pub(crate) fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// How long after `at` it will have been open for `span`; `most` where that is longer or
    /// further ahead than is looked.
    pub(crate) fn until_open_for(
        &self,
        at: DateTime<Utc>,
        span: Duration,
        most: Duration,
    ) -> Duration {
        let mut left = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
        for (from, to) in self.open_spans(at) {
            let from = from.max(at);
            let length = to - from;
            if length <= TimeDelta::zero() {
                continue;
            }
            if length >= left {
                let wall = (from - at)
                    .checked_add(&left)
                    .and_then(|all| all.to_std().ok());
                return wall.map_or(most, |wall| wall.min(most));
            }
            left -= length;
        }
        most
    }

    /// The spans that are open around and after `at`, in order, none over another and none
    /// on a holiday.
    fn open_spans(&self, at: DateTime<Utc>) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let Some(first) = at.with_timezone(&self.zone).date_naive().pred_opt() else {
            return Vec::new();
        };
        let days: Vec<NaiveDate> = first.iter_days().take(DAYS_AHEAD_MAX).collect();
        let mut spans: Vec<(DateTime<Utc>, DateTime<Utc>)> = Vec::new();
        for day in days.iter().filter(|day| !self.is_holiday(**day)) {
            let starting = self.open.iter().filter(|span| span.starts_on(*day));
            spans.extend(starting.filter_map(|span| {
                let (from, to) = (
                    self.first_shown(*day, span.from),
                    self.first_shown(*day, span.to),
                );
                from.zip(to)
            }));
        }
        // A span of the evening before ends where a holiday begins.
        for day in days.iter().filter(|day| self.is_holiday(**day)) {
            let (from, to) = (
                self.first_shown(*day, 0),
                self.first_shown(*day, DAY_MINUTES),
            );
            if let Some((from, to)) = from.zip(to) {
                spans = spans
                    .into_iter()
                    .flat_map(|span| without(span, (from, to)))
                    .collect();
            }
        }
        merged(spans)
    }
}

/// A span without another one: what is left before and after it.
fn without(
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    (gone_from, gone_to): (DateTime<Utc>, DateTime<Utc>),
) -> impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)> {
    let parts = [(from, to.min(gone_from)), (from.max(gone_to), to)];
    parts.into_iter().filter(|(from, to)| from < to)
}

/// Spans in order, those that touch made one.
fn merged(mut spans: Vec<(DateTime<Utc>, DateTime<Utc>)>) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    spans.sort();
    let mut all: Vec<(DateTime<Utc>, DateTime<Utc>)> = Vec::new();
    for (from, to) in spans {
        match all.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => all.push((from, to)),
        }
    }
    all
}

/// Some hours on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// The days on which it starts, Monday first.
    days: [bool; 7],
    /// Minutes after midnight.
    from: u32,
    /// Minutes after the midnight of the same day; beyond [`DAY_MINUTES`] it ends on the
    /// next one.
    to: u32,
}

/// A day on which nothing is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holiday {
    /// Once.
    Day(NaiveDate),
    /// Every year: month and day.
    Yearly(u32, u32),
}

impl Span {
    /// Reads `mon-fri 08:00-18:00`, `sat,sun 10:00-14:00` or `fri 22:00-02:00`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (days, hours) = text.split_once(' ')?;
        let (from, to) = hours.split_once('-')?;
        let (from, to) = (minute(from)?, minute(to)?);
        if from == to || from == DAY_MINUTES {
            return None;
        }
        Some(Self {
            days: self::days(days)?,
            from,
            to: if to < from { to + DAY_MINUTES } else { to },
        })
    }

    fn starts_on(&self, day: NaiveDate) -> bool {
        let at = day.weekday().num_days_from_monday() as usize;
        self.days.get(at) == Some(&true)
    }
}

/// Reads `mon-fri` or `mon,wed-fri`; a range may go over the end of the week.
fn days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let last = weekday(last)?;
        let mut day = weekday(first)?;
        loop {
            *days.get_mut(day.num_days_from_monday() as usize)? = true;
            if day == last {
                break;
            }
            day = day.succ();
        }
    }
    Some(days)
}

fn weekday(text: &str) -> Option<Weekday> {
    match text {
        "mon" => Some(Weekday::Mon),
        "tue" => Some(Weekday::Tue),
        "wed" => Some(Weekday::Wed),
        "thu" => Some(Weekday::Thu),
        "fri" => Some(Weekday::Fri),
        "sat" => Some(Weekday::Sat),
        "sun" => Some(Weekday::Sun),
        _ => None,
    }
}

/// Reads `08:00`, up to `24:00`, as minutes after midnight.
fn minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let two = |part: &str| {
        let plain = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| part.parse::<u32>().ok()).flatten()
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    let all = hour * 60 + minute;
    (minute < 60 && all <= DAY_MINUTES).then_some(all)
}

/// Reads `2026-12-25` or `12-25`.
pub(crate) fn holiday(text: &str) -> Option<Holiday> {
    let shaped = |shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(b, s)| match s {
                b'-' => b == b'-',
                _ => b.is_ascii_digit(),
            })
    };
    if shaped("0000-00-00") {
        return text.parse().ok().map(Holiday::Day);
    }
    let of_year = shaped("00-00").then(|| format!("{LEAP_YEAR}-{text}"))?;
    let day: NaiveDate = of_year.parse().ok()?;
    Some(Holiday::Yearly(day.month(), day.day()))
}

impl Hours {
    /// Whether it is open at `at`.
    pub(crate) fn are_open(&self, at: DateTime<Utc>) -> bool {
        let today = at.with_timezone(&self.zone).date_naive();
        if self.is_holiday(today) {
            return false;
        }
        // The clock may have been set back over midnight, so that a span of tomorrow has
        // begun already.
        let around = [today.pred_opt(), Some(today), today.succ_opt()];
        around.into_iter().flatten().any(|day| {
            let starts = |span: &&Span| span.starts_on(day);
            !self.is_holiday(day)
                && self
                    .open
                    .iter()
                    .filter(starts)
                    .any(|span| self.covers(day, span, at))
        })
    }

    fn covers(&self, day: NaiveDate, span: &Span, at: DateTime<Utc>) -> bool {
        let from = self.first_shown(day, span.from);
        let to = self.first_shown(day, span.to);
        from.zip(to).is_some_and(|(from, to)| from <= at && at < to)
    }

    fn is_holiday(&self, day: NaiveDate) -> bool {
        self.holidays.iter().any(|holiday| match holiday {
            Holiday::Day(once) => *once == day,
            Holiday::Yearly(month, of_month) => (day.month(), day.day()) == (*month, *of_month),
        })
    }

    /// When the clock first shows this many minutes after the midnight of `day`, or, where
    /// it jumps over that time, the moment of the jump.
    fn first_shown(&self, day: NaiveDate, minutes: u32) -> Option<DateTime<Utc>> {
        let day = day.checked_add_days(Days::new(u64::from(minutes / DAY_MINUTES)))?;
        let seconds = minutes % DAY_MINUTES * 60;
        let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0)?;
        let wanted = day.and_time(time);
        match self.zone.from_local_datetime(&wanted) {
            MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => {
                Some(at.with_timezone(&Utc))
            }
            MappedLocalTime::None => {
                // The first second at which the clock shows a later time, found by halving.
                let middle = wanted.and_utc();
                let (mut before, mut after) = (-REACH_SECONDS, REACH_SECONDS);
                while after - before > 1 {
                    let half = before.midpoint(after);
                    let at = middle.checked_add_signed(TimeDelta::seconds(half))?;
                    if at.with_timezone(&self.zone).naive_local() < wanted {
                        before = half;
                    } else {
                        after = half;
                    }
                }
                middle.checked_add_signed(TimeDelta::seconds(after))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hours(zone: &str, open: &[&str], holidays: &[&str]) -> Hours {
        let own = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Hours::read(zone, &own(open), &own(holidays)).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    const MOST: Duration = Duration::from_secs(6 * 24 * 3_600);

    /// Each line: from when, how long it must be open, and when that is so.
    fn times(hours: &Hours, table: &[(&str, u64, &str)]) {
        for (from, minutes, end) in table {
            let span = Duration::from_secs(minutes * 60);
            let wall = hours.until_open_for(at(from), span, MOST);
            let found = at(from) + TimeDelta::from_std(wall).unwrap();
            assert_eq!(found, at(end), "{from} and {minutes} min");
        }
    }

    #[test]
    fn only_open_hours_count() {
        let office = hours("UTC", &["mon-fri 09:00-17:00"], &["2026-11-25"]);
        times(
            &office,
            &[
                // Monday, 23 November 2026.
                ("2026-11-23T10:00:00Z", 60, "2026-11-23T11:00:00Z"),
                ("2026-11-23T06:00:00Z", 60, "2026-11-23T10:00:00Z"),
                ("2026-11-23T16:30:00Z", 60, "2026-11-24T09:30:00Z"),
                ("2026-11-23T16:00:00Z", 60, "2026-11-23T17:00:00Z"),
                // Over the holiday on Wednesday, and over a weekend.
                ("2026-11-24T16:30:00Z", 60, "2026-11-26T09:30:00Z"),
                ("2026-11-27T16:30:00Z", 60, "2026-11-30T09:30:00Z"),
                ("2026-11-28T12:00:00Z", 30, "2026-11-30T09:30:00Z"),
                // Never longer than the most that is allowed.
                ("2026-11-23T09:00:00Z", 6_000, "2026-11-29T09:00:00Z"),
            ],
        );
        let night = hours("UTC", &["tue 22:00-02:00"], &["2026-11-25"]);
        // What runs into a holiday ends with the day before.
        times(
            &night,
            &[("2026-11-24T21:00:00Z", 120, "2026-11-25T00:00:00Z")],
        );
        let nothing = hours("UTC", &["mon 09:00-10:00"], &["2026-11-23"]);
        assert_eq!(
            nothing.until_open_for(at("2026-11-23T08:00:00Z"), MOST, MOST),
            MOST
        );
    }

    #[test]
    fn a_clock_that_is_set_back_or_forward_is_followed() {
        let berlin = hours("Europe/Berlin", &["sat-mon 01:00-05:00"], &[]);
        times(
            &berlin,
            &[
                // Set back on 25 October 2026 at 01:00 UTC: five hours are four on the clock.
                ("2026-10-24T23:00:00Z", 5 * 60, "2026-10-25T04:00:00Z"),
                // Set forward on 29 March 2026: three hours are four on the clock.
                ("2026-03-29T00:00:00Z", 3 * 60, "2026-03-29T03:00:00Z"),
            ],
        );
    }

    #[test]
    fn every_fault_is_told() {
        let own = |text: &str| vec![text.to_owned()];
        let faults = Hours::read("Berlin", &own("always"), &own("soon")).unwrap_err();
        assert_eq!(faults.len(), 3);
        assert_eq!(Hours::read("UTC", &[], &[]).unwrap_err().len(), 1);
    }

    proptest! {
        /// Counting minute by minute while it is open comes to the same.
        #[test]
        fn it_agrees_with_looking_every_minute(
            start in 0_i64..7 * 24 * 60,
            minutes in 1_u64..900,
            from in 0_u32..23,
            length in 1_u32..10,
            holiday in 1_u32..8,
        ) {
            let to = (from + length) % 24;
            prop_assume!(from != to);
            let open = format!("mon,wed-fri {from:02}:00-{to:02}:00");
            let hours = hours("UTC", &[&open], &[&format!("2026-11-{:02}", 22 + holiday)]);
            let at = at("2026-11-22T00:00:00Z") + TimeDelta::minutes(start);
            let most = Duration::from_secs(7 * 24 * 3_600);
            let found = hours.until_open_for(at, Duration::from_secs(minutes * 60), most);
            let mut left = minutes;
            let mut wall = 0_u64;
            while left > 0 && wall < 7 * 24 * 60 {
                let now = at + TimeDelta::minutes(i64::try_from(wall).unwrap());
                left -= u64::from(hours.are_open(now));
                wall += 1;
            }
            prop_assert_eq!(found, Duration::from_secs(wall * 60).min(most));
        }
    }
}
