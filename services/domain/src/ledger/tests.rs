//! A ledger against the plainest model of one: a map of what is open and a sum.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_schemas::events::{Charge, Verdict};
use countersign_schemas::{IntentId, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::approvals::fixtures::{at, checked};
use crate::chain::Head;

fn intent(n: u64) -> IntentId {
    format!("019a0000-0000-7000-8000-{n:012x}").parse().unwrap()
}

fn terms(amount: i64, limit: i64) -> Terms {
    Terms {
        amount: Decimal::new(amount, 2),
        limit: Decimal::new(limit, 2),
        beyond: false,
    }
}

/// A ledger with its pages, as a checker keeps it between two writes.
#[derive(Default)]
struct Kept {
    ledger: Ledger,
    pages: Pages,
    written: u64,
}

impl Kept {
    fn charge(&mut self, n: u64, terms: Terms) -> Charged {
        self.ledger.charge(intent(n), terms, &self.pages).unwrap()
    }

    fn end(&mut self, n: u64, mark: u64, ending: Ending) -> bool {
        self.ledger
            .end(intent(n), mark, ending, &self.pages)
            .unwrap()
    }

    /// What a write does: tidies, moves pages out, and reads back what it wrote.
    fn write(&mut self) {
        self.ledger.tidy(&self.pages);
        loop {
            self.written += 1;
            let key = PageKey::new(self.written.to_be_bytes());
            let Some(page) = self.ledger.spill(key.clone()) else {
                break;
            };
            assert!(page.len() <= 1_000);
            let stored = serde_json::to_vec(&page).unwrap();
            self.pages
                .insert(key, Arc::new(serde_json::from_slice(&stored).unwrap()));
        }
        self.ledger = Ledger::read(&serde_json::to_vec(&self.ledger).unwrap()).unwrap();
        let named: Vec<PageKey> = self.ledger.pages().cloned().collect();
        self.pages.retain(|key, _| named.contains(key));
    }

    fn open(&self) -> BTreeMap<IntentId, u64> {
        let entries = self.ledger.entries(&self.pages);
        entries
            .map(|(intent, entry)| (intent, entry.mark))
            .collect()
    }
}

fn fresh(mark: u64) -> Charged {
    Charged::Fresh { mark, over: false }
}

fn found(mark: u64) -> Charged {
    Charged::Found { mark, over: false }
}

#[test]
fn applying_twice_is_once_and_the_limit_is_exact() {
    let mut kept = Kept::default();
    assert_eq!(kept.charge(1, terms(60, 100)), fresh(1));
    assert_eq!(kept.charge(1, terms(60, 100)), found(1));
    assert_eq!(kept.charge(2, terms(40, 100)), fresh(2));
    let used = Decimal::new(100, 2);
    assert_eq!(kept.charge(3, terms(1, 100)), Charged::Exceeded { used });
    assert_eq!(kept.ledger.total(), used);
    // Nothing was kept of the one that did not fit.
    assert!(!kept.end(3, 3, Ending::GivenBack));
    assert!(kept.end(1, 1, Ending::GivenBack));
    assert!(!kept.end(1, 1, Ending::GivenBack), "given back twice");
    assert_eq!(kept.charge(3, terms(60, 100)), fresh(3));
    assert_eq!(kept.ledger.total(), used);
}

#[test]
fn what_was_taken_for_one_amount_lets_no_other_run() {
    let mut kept = Kept::default();
    assert_eq!(kept.charge(1, terms(1, 100)), fresh(1));
    let used = Decimal::new(1, 2);
    for other in [0, 2, 100, 1_000_000, -1] {
        let charged = kept.charge(1, terms(other, 100));
        assert_eq!(charged, Charged::Exceeded { used }, "{other}");
    }
    assert_eq!(kept.charge(2, terms(-50, 100)), Charged::Exceeded { used });
    assert_eq!(kept.charge(1, terms(1, 100)), found(1));
    assert_eq!(kept.ledger.total(), used);
}

#[test]
fn what_is_used_up_stays_in_the_total_and_its_mark_ends_nothing_else() {
    let mut kept = Kept::default();
    kept.charge(1, terms(60, 100));
    assert!(kept.end(1, 1, Ending::Kept));
    assert_eq!(
        (kept.ledger.open(), kept.ledger.total()),
        (0, Decimal::new(60, 2))
    );
    // A double: a late checker charged the same intent again. The old mark is not its own.
    assert_eq!(kept.charge(1, terms(30, 100)), fresh(2));
    assert!(!kept.end(1, 1, Ending::GivenBack));
    assert!(kept.end(1, 2, Ending::GivenBack));
    assert_eq!(kept.ledger.total(), Decimal::new(60, 2));
}

#[test]
fn only_where_people_decide_may_more_be_taken() {
    let mut kept = Kept::default();
    let asking = Terms {
        beyond: true,
        ..terms(80, 100)
    };
    assert_eq!(kept.charge(1, asking), fresh(1));
    assert_eq!(
        kept.charge(2, asking),
        Charged::Fresh {
            mark: 2,
            over: true
        }
    );
    assert_eq!(
        kept.charge(2, asking),
        Charged::Found {
            mark: 2,
            over: true
        }
    );
    assert_eq!(kept.ledger.total(), Decimal::new(160, 2));
    assert!(kept.end(2, 2, Ending::GivenBack));
    assert_eq!(kept.charge(3, terms(20, 100)), fresh(3));
}

#[test]
fn amounts_that_cannot_be_added_fit_nothing() {
    let mut kept = Kept::default();
    let huge = Terms {
        amount: Decimal::MAX,
        limit: Decimal::MAX,
        beyond: true,
    };
    assert_eq!(kept.charge(1, huge), fresh(1));
    assert_eq!(
        kept.charge(2, huge),
        Charged::Exceeded { used: Decimal::MAX }
    );
}

#[test]
fn thousands_of_open_intents_are_known_one_by_one() {
    let mut kept = Kept::default();
    let count = 9_000;
    for n in 0..count {
        assert_eq!(kept.charge(n, terms(1, 1_000_000)), fresh(n + 1));
        if n % 100 == 99 {
            kept.write();
            let head = serde_json::to_vec(&kept.ledger).unwrap();
            assert!(head.len() < 64 * 1024, "{} bytes at {n}", head.len());
        }
    }
    assert!(kept.pages.len() > 10);
    for n in 0..count {
        assert_eq!(kept.charge(n, terms(1, 1_000_000)), found(n + 1));
    }
    for n in (0..count).step_by(3) {
        assert!(kept.end(n, n + 1, Ending::GivenBack), "{n}");
        assert!(!kept.end(n, n + 1, Ending::GivenBack), "{n}");
        if n % 50 == 0 {
            kept.write();
        }
    }
    assert_eq!(kept.ledger.open(), 6_000);
    assert_eq!(kept.ledger.total(), Decimal::new(6_000, 2));
    for n in 0..count {
        let again = kept.charge(n, terms(1, 1_000_000));
        assert_eq!(matches!(again, Charged::Found { .. }), n % 3 != 0, "{n}");
    }
}

#[test]
fn a_ledger_that_can_hold_no_more_says_so() {
    let mut kept = Kept::default();
    let mut n = 0;
    let crowded = loop {
        match kept.charge(n, terms(1, i64::MAX)) {
            Charged::Fresh { .. } => n += 1,
            Charged::Found { .. } | Charged::Exceeded { .. } => panic!("{n}"),
            Charged::Crowded => break n,
        }
        if n % 200 == 0 {
            kept.write();
        }
    };
    assert!(crowded >= 20_000, "{crowded}");
    assert_eq!(
        kept.ledger.total(),
        Decimal::new(i64::try_from(crowded).unwrap(), 2)
    );
    assert_eq!(kept.charge(0, terms(1, 1)), found(1));
    assert!(kept.end(crowded - 1, crowded, Ending::Kept));
    assert_eq!(kept.charge(crowded, terms(1, i64::MAX)), fresh(crowded + 1));
}

#[test]
fn without_a_page_that_may_hold_it_nothing_is_charged() {
    let mut kept = Kept::default();
    for n in 0..300 {
        kept.charge(n, terms(1, 1_000));
    }
    kept.write();
    kept.pages.clear();
    let lost = kept.ledger.charge(intent(0), terms(1, 1_000), &kept.pages);
    assert_eq!(lost, Err(LedgerError::PageMissing));
    assert!(Ledger::read(b"{}").is_err());
}

#[test]
fn a_key_names_one_ledger_and_no_value() {
    let key = |kind, name: &str, window, start, values: &[(Dimension, Counted<'_>)]| {
        LedgerKey::new(
            kind,
            &name.parse().unwrap(),
            Duration::from_secs(window),
            start,
            values,
        )
    };
    let start: Timestamp = at("10:00:00");
    let one = Counted::One;
    let kim = [(Dimension::Requester, one("kim@x.example"))];
    let first = key("rate", "mail", 60, start, &kim);
    let text = first.to_string();
    assert!(text.starts_with("mail.") && text.ends_with(&format!(".{}", start.seconds())));
    assert_eq!(first.name(), "mail");
    assert!(!text.contains("kim"));
    assert!(
        text.split('.')
            .all(|token| token.parse::<countersign_schemas::Token>().is_ok())
    );
    assert_eq!(first, key("rate", "mail", 60, start, &kim));
    let others = [
        key("budget", "mail", 60, start, &kim),
        key("rate", "post", 60, start, &kim),
        key("rate", "mail", 61, start, &kim),
        key("rate", "mail", 60, at("10:01:00"), &kim),
        key("rate", "mail", 60, start, &[]),
        key(
            "rate",
            "mail",
            60,
            start,
            &[(Dimension::Agent, one("kim@x.example"))],
        ),
        key(
            "rate",
            "mail",
            60,
            start,
            &[(Dimension::Requester, one("lee"))],
        ),
        key(
            "rate",
            "mail",
            60,
            start,
            &[(
                Dimension::Requester,
                Counted::Unproved {
                    unproved: "kim@x.example",
                },
            )],
        ),
    ];
    for other in others {
        assert_ne!(first, other);
    }
}

#[test]
fn the_fate_of_an_entry_is_what_is_stored_of_its_intent() {
    let key = LedgerKey::new(
        "rate",
        &"mail".parse().unwrap(),
        Duration::from_secs(60),
        at("10:00:00"),
        &[],
    );
    let mut relying = checked();
    relying.charges = vec![Charge {
        ledger: key.to_string(),
        amount: "1".to_owned(),
        mark: 7,
    }];
    let denied = || {
        let mut denied = relying.clone();
        denied.verdict = Verdict::Deny;
        denied
    };
    let fate_of = |mark, checked: Option<&_>, head: &Head| fate(&key, mark, checked, head);
    assert_eq!(
        fate_of(7, None, &Head::None),
        EntryFate::Open,
        "somebody may be about to store a verdict"
    );
    assert_eq!(fate_of(7, Some(&relying), &Head::None), EntryFate::Open);
    assert_eq!(
        fate_of(8, Some(&relying), &Head::None),
        EntryFate::GivenBack,
        "a double"
    );
    assert_eq!(
        fate_of(7, Some(&denied()), &Head::None),
        EntryFate::GivenBack
    );
    assert_eq!(
        fate_of(7, Some(&checked()), &Head::None),
        EntryFate::GivenBack,
        "it took from another window"
    );
    assert_eq!(
        fate_of(7, Some(&relying), &Head::NotOurs { seq: 9 }),
        EntryFate::Open
    );
}

/// One step against the model.
#[derive(Debug, Clone)]
enum Step {
    Charge { n: u64, amount: i64 },
    GiveBack { n: u64 },
    Settle { n: u64 },
    Write,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u64..900, 0_i64..50).prop_map(|(n, amount)| Step::Charge { n, amount }),
        2 => (0_u64..900).prop_map(|n| Step::GiveBack { n }),
        2 => (0_u64..900).prop_map(|n| Step::Settle { n }),
        1 => Just(Step::Write),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_ledger_is_its_model_whatever_is_moved_to_pages(
        steps in proptest::collection::vec(step(), 1..2_000),
        limit in 100_i64..30_000,
    ) {
        let mut kept = Kept::default();
        let mut open: BTreeMap<u64, (i64, u64)> = BTreeMap::new();
        let mut total = 0;
        for step in steps {
            match step {
                Step::Charge { n, amount } => {
                    let charged = kept.charge(n, terms(amount, limit));
                    match open.get(&n) {
                        Some((held, mark)) if *held == amount => {
                            prop_assert_eq!(charged, found(*mark));
                        }
                        Some(_) => {
                            let used = Decimal::new(total, 2);
                            prop_assert_eq!(charged, Charged::Exceeded { used });
                        }
                        None if total + amount > limit => {
                            let used = Decimal::new(total, 2);
                            prop_assert_eq!(charged, Charged::Exceeded { used });
                        }
                        None => {
                            let Charged::Fresh { mark, over: false } = charged else {
                                panic!("{charged:?}");
                            };
                            open.insert(n, (amount, mark));
                            total += amount;
                        }
                    }
                }
                Step::GiveBack { n } => {
                    let entry = open.remove(&n);
                    let mark = entry.map_or(1, |(_, mark)| mark);
                    prop_assert_eq!(kept.end(n, mark, Ending::GivenBack), entry.is_some());
                    total -= entry.map_or(0, |(amount, _)| amount);
                }
                Step::Settle { n } => {
                    let entry = open.remove(&n);
                    let mark = entry.map_or(1, |(_, mark)| mark);
                    prop_assert_eq!(kept.end(n, mark, Ending::Kept), entry.is_some());
                }
                Step::Write => kept.write(),
            }
            prop_assert!(kept.ledger.total() <= Decimal::new(limit, 2));
            prop_assert_eq!(kept.ledger.total(), Decimal::new(total, 2));
        }
        kept.write();
        let expected: BTreeMap<IntentId, u64> =
            open.iter().map(|(n, (_, mark))| (intent(*n), *mark)).collect();
        prop_assert_eq!(kept.ledger.open(), expected.len());
        prop_assert_eq!(kept.open(), expected);
    }

    #[test]
    fn the_order_of_charges_that_fit_does_not_matter(
        amounts in proptest::collection::vec(0_i64..100, 1..40).prop_shuffle(),
    ) {
        let total: i64 = amounts.iter().sum();
        let sum_of = |order: Vec<(usize, &i64)>| {
            let mut kept = Kept::default();
            for (n, amount) in order {
                kept.charge(n as u64, terms(*amount, total));
            }
            (kept.ledger.total(), kept.ledger.open())
        };
        let forward = sum_of(amounts.iter().enumerate().collect());
        let backward = sum_of(amounts.iter().enumerate().rev().collect());
        prop_assert_eq!(forward, backward);
        prop_assert_eq!(forward, (Decimal::new(total, 2), amounts.len()));
    }
}
