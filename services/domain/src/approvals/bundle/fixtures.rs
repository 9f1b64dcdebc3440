//! Verdicts on the items of one bundle, for tests.

use std::time::Duration;

use countersign_schemas::Timestamp;
use countersign_schemas::events::{BundleRef, PolicyChecked, Verdict};

use super::{Added, BundleCourse, Gathering};
use crate::approvals::Approval;
use crate::approvals::fixtures::{at, checked};

pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Item `index` of the bundle `payroll` of `size`.
pub(crate) fn item(index: u32, size: u32, verdict: Verdict) -> PolicyChecked {
    let mut checked = checked();
    checked.intent_id = format!("019a0000-0000-7000-8000-0000000001{index:02x}")
        .parse()
        .unwrap();
    checked.verdict = verdict;
    checked.summary = format!("Send mail number {index}");
    checked.salt = format!("salt-{index}");
    checked.bundle = Some(BundleRef {
        id: "payroll".parse().unwrap(),
        size,
        index,
    });
    if verdict != Verdict::Ask {
        checked.ask = None;
    }
    checked
}

/// When the verdict on item `index` was stored.
pub(crate) fn stored(index: u32) -> Timestamp {
    at("10:00:00").plus(Duration::from_secs(u64::from(index)))
}

pub(crate) fn place(checked: &PolicyChecked) -> BundleRef {
    checked.bundle.clone().unwrap()
}

pub(crate) fn opened(first: &PolicyChecked, stored_at: Timestamp) -> Gathering {
    Gathering::open(first, &place(first), stored_at, PATIENCE).unwrap()
}

pub(crate) fn add(bundle: &mut Gathering, item: &PolicyChecked) -> Added {
    let at = place(item);
    bundle.add(item, &at, stored(at.index), None)
}

/// A bundle of these items, in this order.
pub(crate) fn gathered(items: &[PolicyChecked]) -> Gathering {
    let mut bundle = opened(&items[0], stored(place(&items[0]).index));
    for item in items {
        assert_eq!(add(&mut bundle, item), Added::Taken);
    }
    bundle
}

/// What people are asked about these items.
pub(crate) fn asked(items: &[PolicyChecked]) -> Approval {
    match gathered(items).course() {
        BundleCourse::Ask(approval) => *approval,
        other => panic!("{other:?}"),
    }
}
