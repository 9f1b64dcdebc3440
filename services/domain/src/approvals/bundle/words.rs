//! Why an item is not part of its bundle, in words.

use countersign_schemas::Timestamp;
use countersign_schemas::events::{BlockedCode, BundleRef, PolicyChecked, Verdict};
use countersign_schemas::limits::BUNDLE_ITEMS_MAX;

use super::gathering::GATHERED_BYTES_MAX;

/// Missing items that are named; who sent the bundle knows the rest.
const NAMED_MAX: usize = 10;

/// Why an item cannot have the place that it claims, whatever else is in the bundle.
pub(super) fn misplaced(place: &BundleRef) -> Option<String> {
    let (id, size, index) = (&place.id, place.size, place.index);
    if size == 0 || size > BUNDLE_ITEMS_MAX {
        return Some(format!(
            "Bundle {id} claims {size} items; a bundle has 1 to {BUNDLE_ITEMS_MAX}."
        ));
    }
    (index >= size).then(|| {
        format!("It claims place {index} of bundle {id}, which has {size} items, counted from 0.")
    })
}

pub(super) fn another_size(place: &BundleRef, size: u32) -> String {
    format!(
        "It claims that bundle {} has {} items; the first item of the bundle said {size}, and \
         that stands.",
        place.id, place.size
    )
}

pub(super) fn doubled(place: &BundleRef) -> String {
    format!(
        "Another intent has place {} of bundle {} already.",
        place.index, place.id
    )
}

pub(super) fn late(place: &BundleRef, deadline: Timestamp) -> String {
    format!(
        "It came after bundle {} had ended at {deadline} without it; send the whole bundle \
         again under a new name.",
        place.id
    )
}

pub(super) fn too_large() -> String {
    format!(
        "With it the bundle would hold more than {GATHERED_BYTES_MAX} bytes, which is more than \
         people could be shown at once; send it by itself or in a smaller bundle."
    )
}

/// What came of a bundle that never became whole, and what is missing.
pub(super) fn incomplete(id: &str, size: u32, missing: &[u32], deadline: Timestamp) -> String {
    let named: Vec<String> = missing
        .iter()
        .take(NAMED_MAX)
        .map(ToString::to_string)
        .collect();
    let mut list = named.join(", ");
    if missing.len() > NAMED_MAX {
        list.push_str(&format!(" and {} more", missing.len() - NAMED_MAX));
    }
    let came = usize::try_from(size)
        .unwrap_or(usize::MAX)
        .saturating_sub(missing.len());
    format!(
        "Bundle {id} never became whole: {came} of {size} items came before {deadline}; missing \
         (counted from 0): {list}."
    )
}

/// Why a verdict leaves its item out, where it does.
pub(super) fn refusal(checked: &PolicyChecked) -> Option<(BlockedCode, String)> {
    if checked.dry_run == Some(true) {
        let why = format!("It is a dry run with the verdict `{}`.", checked.verdict);
        return Some((BlockedCode::DryRun, why));
    }
    match checked.verdict {
        Verdict::Allow => None,
        Verdict::Ask => unaskable(checked).map(|why| (BlockedCode::PolicyError, why)),
        Verdict::Deny => {
            let first = checked.reasons.first();
            let code = first
                .and_then(|reason| BlockedCode::from_word(&reason.code))
                .unwrap_or(BlockedCode::PolicyDenied);
            let why = first.map(|reason| reason.message.clone());
            Some((code, why.unwrap_or_else(|| "Policy denies it.".to_owned())))
        }
    }
}

/// Merged with others, an ask that nobody could grant would be granted by theirs.
fn unaskable(checked: &PolicyChecked) -> Option<String> {
    let grantable = checked
        .ask
        .as_ref()
        .is_some_and(super::super::open::can_be_granted);
    let whole = grantable && checked.operation.is_some();
    (!whole).then(|| {
        "People should be asked, but the verdict names no team with a quorum, or no operation."
            .to_owned()
    })
}
