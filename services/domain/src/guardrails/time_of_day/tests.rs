//! Clocks that jump, nights that end on another day, and days on which nobody works.

use proptest::prelude::*;

use crate::guardrails::Guardrail;
use crate::guardrails::tests::{Company, Desk, word};
use crate::hours::{Holiday, Span, holiday};
use countersign_schemas::Timestamp;
use serde_json::json;

fn guard(zone: &str, open: &str, holidays: &str) -> Box<dyn Guardrail> {
    let settings = format!(
        "kind = \"time_of_day\"\nzone = \"{zone}\"\nopen = {open}\nholidays = {holidays}\nclosed = \"block\""
    );
    Company::new().build(&settings).unwrap()
}

fn at(guard: &dyn Guardrail, time: Timestamp) -> &'static str {
    let mut desk = Desk::new();
    desk.at = time;
    word(&desk.check(guard, &json!({})))
}

/// Each line: a time in UTC and whether it is open then.
fn times(guard: &dyn Guardrail, table: &[(&str, bool)]) {
    for (time, open) in table {
        let expected = if *open { "pass" } else { "deny" };
        assert_eq!(at(guard, time.parse().unwrap()), expected, "{time}");
    }
}

#[test]
fn days_and_hours_are_those_of_the_place() {
    let guard = guard(
        "Europe/Berlin",
        "[\"mon-fri 08:00-18:00\", \"sat 09:00-12:00\"]",
        "[]",
    );
    times(
        guard.as_ref(),
        &[
            // Monday, 23 November 2026: one hour ahead of UTC.
            ("2026-11-23T06:59:59.999999Z", false),
            ("2026-11-23T07:00:00Z", true),
            ("2026-11-23T16:59:59.999999Z", true),
            ("2026-11-23T17:00:00Z", false),
            // In summer it is two.
            ("2026-07-06T06:00:00Z", true),
            ("2026-07-06T05:59:59Z", false),
            ("2026-11-28T08:00:00Z", true),
            ("2026-11-28T11:00:00Z", false),
            ("2026-11-29T10:00:00Z", false),
        ],
    );
    // Sunday evening in UTC is Monday morning in Tokyo.
    let tokyo = self::guard("Asia/Tokyo", "[\"mon 08:00-10:00\"]", "[]");
    times(
        tokyo.as_ref(),
        &[
            ("2026-11-22T23:30:00Z", true),
            ("2026-11-23T23:30:00Z", false),
        ],
    );
}

#[test]
fn a_span_over_midnight_belongs_to_the_day_it_starts_on() {
    let guard = guard("UTC", "[\"fri 22:00-02:00\"]", "[]");
    times(
        guard.as_ref(),
        &[
            ("2026-11-27T21:59:59Z", false),
            ("2026-11-27T22:00:00Z", true),
            ("2026-11-28T01:59:59Z", true),
            ("2026-11-28T02:00:00Z", false),
            ("2026-11-27T01:00:00Z", false),
            ("2026-11-28T22:30:00Z", false),
        ],
    );
    let always = self::guard("UTC", "[\"mon-sun 00:00-24:00\"]", "[]");
    times(
        always.as_ref(),
        &[
            ("2026-11-27T23:59:59.999999Z", true),
            ("2026-11-28T00:00:00Z", true),
        ],
    );
    let week_end = self::guard("UTC", "[\"sat-mon 00:00-24:00\"]", "[]");
    times(
        week_end.as_ref(),
        &[
            ("2026-11-28T00:00:00Z", true),
            ("2026-11-30T23:00:00Z", true),
            ("2026-12-01T00:00:00Z", false),
        ],
    );
}

#[test]
fn an_hour_that_is_left_out_opens_and_closes_at_the_jump() {
    // Berlin, Sunday 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
    let whole = guard("Europe/Berlin", "[\"sun 02:00-03:00\"]", "[]");
    times(
        whole.as_ref(),
        &[
            ("2026-03-29T00:59:59Z", false),
            ("2026-03-29T01:00:00Z", false),
            ("2026-03-22T01:30:00Z", true),
        ],
    );
    let from = guard("Europe/Berlin", "[\"sun 02:30-04:00\"]", "[]");
    times(
        from.as_ref(),
        &[
            ("2026-03-29T00:59:59Z", false),
            ("2026-03-29T01:00:00Z", true),
            ("2026-03-29T02:00:00Z", false),
        ],
    );
    let to = guard("Europe/Berlin", "[\"sun 01:00-02:30\"]", "[]");
    times(
        to.as_ref(),
        &[
            ("2026-03-29T00:00:00Z", true),
            ("2026-03-29T00:59:59Z", true),
            ("2026-03-29T01:00:00Z", false),
        ],
    );
    // Cairo jumps at midnight, Friday 24 April 2026: the day begins at 01:00.
    let midnight = guard("Africa/Cairo", "[\"fri 00:00-24:00\"]", "[]");
    times(
        midnight.as_ref(),
        &[
            ("2026-04-23T21:59:59Z", false),
            ("2026-04-23T22:00:00Z", true),
        ],
    );
    let eve = guard("Africa/Cairo", "[\"thu 12:00-24:00\"]", "[]");
    times(
        eve.as_ref(),
        &[
            ("2026-04-23T21:59:59Z", true),
            ("2026-04-23T22:00:00Z", false),
        ],
    );
    // Samoa left out the whole of Friday, 30 December 2011.
    let lost = guard("Pacific/Apia", "[\"fri 00:00-24:00\"]", "[]");
    times(
        lost.as_ref(),
        &[
            ("2011-12-30T09:59:59Z", false),
            ("2011-12-30T10:00:00Z", false),
            ("2012-01-05T10:30:00Z", true),
        ],
    );
}

#[test]
fn an_hour_that_happens_twice_opens_nothing_again() {
    // Berlin, Sunday 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC.
    let to = guard("Europe/Berlin", "[\"sun 01:00-02:30\"]", "[]");
    times(
        to.as_ref(),
        &[
            ("2026-10-25T00:29:59Z", true),
            ("2026-10-25T00:30:00Z", false),
            // 02:00 and 02:15, the second time.
            ("2026-10-25T01:00:00Z", false),
            ("2026-10-25T01:15:00Z", false),
        ],
    );
    let from = guard("Europe/Berlin", "[\"sun 02:30-04:00\"]", "[]");
    times(
        from.as_ref(),
        &[
            ("2026-10-25T00:29:59Z", false),
            ("2026-10-25T00:30:00Z", true),
            ("2026-10-25T01:15:00Z", true),
            ("2026-10-25T03:00:00Z", false),
        ],
    );
    let whole = guard("Europe/Berlin", "[\"sun 02:00-03:00\"]", "[]");
    times(
        whole.as_ref(),
        &[
            ("2026-10-25T00:00:00Z", true),
            ("2026-10-25T01:59:59Z", true),
            ("2026-10-25T02:00:00Z", false),
        ],
    );
    // Havana sets the clock back from 01:00 to midnight, Sunday 1 November 2026.
    let always = guard("America/Havana", "[\"mon-sun 00:00-24:00\"]", "[]");
    let saturday = guard("America/Havana", "[\"sat 00:00-24:00\"]", "[]");
    for (time, saturdays) in [
        ("2026-11-01T03:59:59Z", true),
        ("2026-11-01T04:00:00Z", false),
        ("2026-11-01T05:30:00Z", false),
    ] {
        times(always.as_ref(), &[(time, true)]);
        times(saturday.as_ref(), &[(time, saturdays)]);
    }
}

#[test]
fn nothing_is_open_on_a_holiday() {
    let guard = guard(
        "Europe/Berlin",
        "[\"mon-sun 08:00-18:00\", \"thu-sat 22:00-02:00\"]",
        "[\"12-25\", \"2026-12-26\", \"02-29\"]",
    );
    times(
        guard.as_ref(),
        &[
            ("2026-12-24T12:00:00Z", true),
            // The night before: it closes at midnight, when the holiday begins.
            ("2026-12-24T22:30:00Z", true),
            ("2026-12-24T23:00:00Z", false),
            ("2026-12-25T12:00:00Z", false),
            ("2026-12-26T12:00:00Z", false),
            // The night of a holiday does not go on into the day after.
            ("2026-12-26T23:30:00Z", false),
            ("2027-12-25T12:00:00Z", false),
            ("2027-12-26T12:00:00Z", true),
            ("2028-02-29T12:00:00Z", false),
            ("2028-03-01T12:00:00Z", true),
        ],
    );
}

#[test]
fn people_are_asked_where_the_setting_says_so() {
    let settings = "kind = \"time_of_day\"\nzone = \"UTC\"\nopen = [\"thu 00:00-24:00\"]\nclosed = \"ask\"\nask = \"leads\"";
    let guard = Company::new().build(settings).unwrap();
    assert_eq!(at(guard.as_ref(), Timestamp::EPOCH), "pass");
    assert_eq!(
        at(guard.as_ref(), "1970-01-02T00:00:00Z".parse().unwrap()),
        "ask"
    );
}

#[test]
fn spans_and_holidays_are_read_strictly() {
    let good = [
        "mon 00:00-24:00",
        "mon-fri 08:00-18:00",
        "sat,sun 09:30-09:31",
        "fri-mon 22:00-06:00",
        "sun 23:00-00:00",
    ];
    for text in good {
        assert!(Span::parse(text).is_some(), "{text}");
    }
    let bad = [
        "",
        "mon",
        "08:00-18:00",
        "Mon 08:00-18:00",
        "mon 8:00-18:00",
        "mon 08:00-18:60",
        "mon 08:00-24:01",
        "mon 24:00-24:00",
        "mon 24:00-02:00",
        "mon 08:00-08:00",
        "mon  08:00-18:00",
        "mon 08:00 - 18:00",
        "mon- 08:00-18:00",
        "mon,,tue 08:00-18:00",
        "day 08:00-18:00",
        "mon 08.00-18.00",
        "mon +8:00-18:00",
        "mon 08:00-18:00 ",
    ];
    for text in bad {
        assert_eq!(Span::parse(text), None, "{text}");
    }
    assert_eq!(holiday("12-25"), Some(Holiday::Yearly(12, 25)));
    for text in [
        "",
        "25.12.",
        "2026-13-01",
        "2026-02-29",
        "02-30",
        "1-1",
        "2026-1-1",
        "+026-01-01",
        "12-25-2026",
    ] {
        assert_eq!(holiday(text), None, "{text}");
    }
    let wrong = "kind = \"time_of_day\"\nzone = \"Berlin\"\nopen = [\"always\"]\nholidays = [\"x\"]\nclosed = \"block\"\nask = \"leads\"";
    let faults = Company::new().faults(wrong);
    assert_eq!(faults.len(), 4, "{faults:?}");
    let none = "kind = \"time_of_day\"\nzone = \"UTC\"\nopen = []\nclosed = \"ask\"";
    assert_eq!(Company::new().faults(none).len(), 2);
}

proptest! {
    /// Where no clock jumps, a span is open exactly while the clock shows its hours.
    #[test]
    fn without_jumps_the_clock_alone_tells(second in 0_i64..3 * 365 * 86_400, from in 0_u32..1440, to in 0_u32..1440) {
        prop_assume!(from != to);
        let open = format!("[\"mon-sun {:02}:{:02}-{:02}:{:02}\"]", from / 60, from % 60, to / 60, to % 60);
        let guard = guard("Asia/Tokyo", &open, "[]");
        let time = Timestamp::from_micros(second * 1_000_000).unwrap();
        let shown = u32::try_from((second + 9 * 3600) % 86_400 / 60).unwrap();
        let inside = if from < to { (from..to).contains(&shown) } else { shown >= from || shown < to };
        prop_assert_eq!(at(guard.as_ref(), time), if inside { "pass" } else { "deny" });
    }

    /// Hours that lie side by side leave no hole, whatever clocks do.
    #[test]
    fn every_time_is_open_where_every_hour_is(second in 0_i64..60 * 365 * 86_400, zone in 0_usize..7) {
        let zones = ["Europe/Berlin", "America/Havana", "Africa/Cairo", "Pacific/Apia", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu"];
        let guard = guard(zones[zone], "[\"mon-sun 00:00-02:30\", \"mon-sun 02:30-24:00\"]", "[]");
        let time = Timestamp::from_micros(second * 1_000_000).unwrap();
        prop_assert_eq!(at(guard.as_ref(), time), "pass", "{} in {}", time, zones[zone]);
    }
}
