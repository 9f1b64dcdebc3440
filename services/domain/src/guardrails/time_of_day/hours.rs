//! Opening hours by the clock on a wall, which people set forward and back.
//!
//! A span opens the first time that the clock shows its start, and closes the first time
//! that it shows its end. An hour that happens twice therefore opens nothing again that was
//! closed, and an hour that is left out opens or closes at the jump.

use chrono::{
    DateTime, Datelike as _, Days, MappedLocalTime, NaiveDate, NaiveTime, TimeDelta, TimeZone as _,
    Utc, Weekday,
};
use chrono_tz::Tz;

/// Minutes of a day.
const DAY_MINUTES: u32 = 24 * 60;
/// How far, in seconds, an instant lies from the one at which UTC shows the same time: zones
/// are at most 14 hours off, and a jump across the date line is one day.
const REACH_SECONDS: i64 = 40 * 60 * 60;
/// A leap year, in which every day of a year exists.
const LEAP_YEAR: i32 = 2024;

/// The zone of this name.
pub(super) fn zone(name: &str) -> Option<Tz> {
    name.parse().ok()
}

/// Days and hours that are open.
#[derive(Debug)]
pub(super) struct Hours {
    pub(super) zone: Tz,
    pub(super) open: Vec<Span>,
    pub(super) holidays: Vec<Holiday>,
}

/// Some hours on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
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
pub(super) enum Holiday {
    /// Once.
    Day(NaiveDate),
    /// Every year: month and day.
    Yearly(u32, u32),
}

impl Span {
    /// Reads `mon-fri 08:00-18:00`, `sat,sun 10:00-14:00` or `fri 22:00-02:00`.
    pub(super) fn parse(text: &str) -> Option<Self> {
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
pub(super) fn holiday(text: &str) -> Option<Holiday> {
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
    pub(super) fn are_open(&self, at: DateTime<Utc>) -> bool {
        let today = at.with_timezone(&self.zone).date_naive();
        if self.is_holiday(today) {
            return false;
        }
        // The clock may have been set back over midnight, so that a span of tomorrow has
        // begun already.
        let around = [today.pred_opt(), Some(today), today.succ_opt()];
        around.into_iter().flatten().any(|day| {
            let starts = |span: &&Span| {
                let at = day.weekday().num_days_from_monday() as usize;
                span.days.get(at) == Some(&true)
            };
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
