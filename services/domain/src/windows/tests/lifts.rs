//! How far a window goes, and what it lifts.

use countersign_schemas::events::{BundleRef, Verdict};
use countersign_schemas::limits::{WINDOW_SECONDS_MAX, WINDOW_USES_MAX};

use super::*;
use crate::approvals::fixtures::{Company, asked};

#[test]
fn limits_are_read_exactly_or_refused_in_words() {
    for (asked, fault) in [
        (limits(0, None, None), LimitFault::Seconds),
        (
            limits(WINDOW_SECONDS_MAX + 1, None, None),
            LimitFault::Seconds,
        ),
        (limits(60, Some(0), None), LimitFault::Uses),
        (
            limits(60, Some(WINDOW_USES_MAX + 1), None),
            LimitFault::Uses,
        ),
        (limits(60, None, Some("0")), LimitFault::Total),
        (limits(60, None, Some("-5")), LimitFault::Total),
        (limits(60, None, Some("1e3")), LimitFault::Total),
        (limits(60, None, Some("5 euro")), LimitFault::Total),
        (limits(60, None, Some("5  EUR")), LimitFault::Total),
        (limits(60, None, Some("EUR 5")), LimitFault::Total),
    ] {
        assert_eq!(Limits::read(&asked), Err(fault), "{asked:?}");
        assert!(!fault.to_string().is_empty());
    }
    let most = read(&limits(WINDOW_SECONDS_MAX, None, Some("500.00 EUR")));
    assert_eq!(most.max_uses, WINDOW_USES_MAX);
    assert_eq!(most.written().max_total.as_deref(), Some("500 EUR"));
    assert_eq!(Limits::read(&most.written()), Ok(most));
}

#[test]
fn the_strictest_of_all_votes_counts_and_one_without_a_window_opens_none() {
    let a = limits(600, Some(5), Some("100 EUR"));
    let b = WindowLimits {
        same_input_only: Some(true),
        ..limits(900, None, Some("99.5 EUR"))
    };
    let both = strictest([Some(&a), Some(&b)]).unwrap().unwrap();
    let expected = WindowLimits {
        same_input_only: Some(true),
        ..limits(600, Some(5), Some("99.5 EUR"))
    };
    assert_eq!(both.written(), expected);
    assert_eq!(strictest([Some(&a), None]), Ok(None));
    assert_eq!(strictest([]), Ok(None));
    let yen = limits(600, None, Some("5 JPY"));
    let plain = limits(600, None, Some("5"));
    for other in [yen, plain] {
        let mixed = strictest([Some(&a), Some(&other)]);
        assert_eq!(mixed, Err(LimitFault::Currencies));
    }
}

#[test]
fn it_lifts_what_people_agreed_to_and_nothing_else() {
    type Change = fn(&mut PolicyChecked);
    let table: [(&str, Option<Gone>, Change); 13] = [
        ("the same again", None, |_| {}),
        ("no ask", Some(Gone::NotForThis), |c| {
            c.verdict = Verdict::Allow
        }),
        ("a dry run", Some(Gone::NotForThis), |c| {
            c.dry_run = Some(true)
        }),
        ("of a bundle", Some(Gone::NotForThis), |c| {
            let id = "b".parse().unwrap();
            c.bundle = Some(BundleRef {
                id,
                size: 2,
                index: 0,
            });
        }),
        ("another agent", Some(Gone::NotForThis), |c| {
            c.agent = "crm".parse().unwrap();
        }),
        ("another tool", Some(Gone::NotForThis), |c| {
            c.tool = "mail.draft".parse().unwrap();
        }),
        ("a changed tool", Some(Gone::ToolChanged), |c| {
            c.tool_digest = None
        }),
        ("another requester", Some(Gone::Requester), |c| {
            c.requester.id = "erin".parse().unwrap();
        }),
        ("proved or not", Some(Gone::Requester), |c| {
            c.requester.verified = true
        }),
        ("no window here", Some(Gone::NotPermitted), |c| {
            c.ask.as_mut().unwrap().window_max_s = None;
        }),
        ("a shorter one only", Some(Gone::NotPermitted), |c| {
            c.ask.as_mut().unwrap().window_max_s = Some(599);
        }),
        ("two people", Some(Gone::People), |c| {
            c.ask.as_mut().unwrap().approvers = asked(&[("support", 2)]);
        }),
        ("its opener asks", Some(Gone::People), |c| {
            c.ask.as_mut().unwrap().excluded = vec![person("lee")];
        }),
    ];
    for (what, gone, change) in table {
        let mut about = numbered(2);
        change(&mut about);
        let mut window = opened(&limits(600, None, None));
        let expected = gone.map_or(Take::Taken, Take::Refused);
        assert_eq!(take(&mut window, &about), expected, "{what}");
        assert_eq!(window.used(), u32::from(gone.is_none()), "{what}");
    }
}

#[test]
fn chat_votes_and_people_who_left_lift_nothing() {
    let mut chat = opened_by(&[vote("lee", "slack")], &ask(), &limits(600, None, None));
    assert_eq!(take(&mut chat, &numbered(2)), Take::Refused(Gone::People));
    let mut window = opened(&limits(600, None, None));
    let nobody = Company::default();
    let left = window.take(&numbered(2), at("10:05:00"), &nobody);
    assert_eq!(left, Take::Refused(Gone::People));
    let against = CountedVote {
        vote: VoteChoice::Deny,
        ..vote("lee", "self")
    };
    let mut denied = opened_by(&[against], &ask(), &limits(600, None, None));
    assert_eq!(take(&mut denied, &numbered(2)), Take::Refused(Gone::People));
}

#[test]
fn an_update_is_lifted_for_the_fields_that_were_shown_alone() {
    let email = changing(&["email", "phone"]);
    let window = opened_by(&[vote("lee", "self")], &email, &limits(600, None, None));
    for (fields, lifted) in [
        (&["email"][..], true),
        (&["phone", "email"][..], true),
        (&["email", "iban"][..], false),
        (&[][..], false),
    ] {
        let taken = take(&mut window.clone(), &changing(fields)) == Take::Taken;
        assert_eq!(taken, lifted, "{fields:?}");
    }
    // Of a tool that sends, changes are only told.
    let mut other = opened(&limits(600, None, None));
    let told = PolicyChecked {
        changes: Vec::new(),
        ..numbered(2)
    };
    assert_eq!(take(&mut other, &told), Take::Taken);
}

#[test]
fn the_same_input_only_means_the_same_input() {
    let same = WindowLimits {
        same_input_only: Some(true),
        ..limits(600, None, None)
    };
    let mut window = opened(&same);
    let mut other = numbered(2);
    other.input_match = "other".to_owned();
    assert_eq!(take(&mut window, &other), Take::Refused(Gone::Input));
    assert_eq!(take(&mut window, &numbered(2)), Take::Taken);
}

#[test]
fn its_time_counts_from_the_approval_and_ends_to_the_second() {
    let window = opened(&limits(600, None, None));
    assert_eq!(window.until(), at("10:10:30"));
    for (now, open) in [
        ("10:00:30", true),
        ("10:10:29.999", true),
        ("10:10:30", false),
        ("23:00:00", false),
    ] {
        let taken = window.clone().take(&numbered(2), at(now), &company());
        let expected = match open {
            true => Take::Taken,
            false => Take::Refused(Gone::Ended),
        };
        assert_eq!(taken, expected, "{now}");
    }
    let mut early = window.clone();
    assert!(!early.expire(at("10:10:29.999")));
    assert!(early.expire(at("11:00:00")) && !early.expire(at("11:00:00")));
    assert_eq!(early.end().unwrap().at, at("10:10:30"), "whoever came late");
}

#[test]
fn a_total_is_exact_and_takes_no_amount_that_it_cannot_add() {
    let mut window = opened_by(
        &[vote("lee", "self")],
        &ask(),
        &limits(600, None, Some("100.00 EUR")),
    );
    let refused = Take::Refused(Gone::Total);
    for (n, amount, currency, expected) in [
        (1, "60.10", Some("EUR"), Take::Taken),
        (2, "39.91", Some("EUR"), refused),
        (3, "1", Some("USD"), refused),
        (4, "1", None, refused),
        (5, "-60", Some("EUR"), refused),
        (6, "1e1", Some("EUR"), refused),
        (7, "0", Some("EUR"), Take::Taken),
        (8, "39.90", Some("EUR"), Take::Taken),
        (9, "0.01", Some("EUR"), refused),
    ] {
        let about = worth(n, amount, currency);
        assert_eq!(take(&mut window, &about), expected, "{amount} {currency:?}");
    }
    assert_eq!(take(&mut window, &numbered(10)), refused, "no amount known");
    let listed = window.listed(at("10:05:00"));
    assert_eq!(listed.total.as_deref(), Some("100 EUR"));
    assert_eq!(listed.total_left.as_deref(), Some("0 EUR"));
    assert!(window.give_back(intent(1)));
    assert_eq!(
        take(&mut window, &worth(9, "60.1", Some("EUR"))),
        Take::Taken
    );
}
