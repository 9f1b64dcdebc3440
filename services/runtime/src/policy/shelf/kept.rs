//! Which bundles are there to go back to: a bounded list, the newest first.

use countersign_domain::policy::PACKED_BYTES_MAX;
use countersign_schemas::{Digest, PersonId, Timestamp};
use serde::{Deserialize, Serialize};

/// Bundles that are kept to go back to: a year of weekly changes.
const KEPT_MAX: usize = 52;
/// Bytes of all that are kept: half of the bucket, the other half is for uploads.
const KEPT_BYTES_MAX: usize = 2 * PACKED_BYTES_MAX;

/// A bundle that is kept, in force or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The bundle.
    pub digest: Digest,
    /// Its parts.
    pub parts: usize,
    /// The bytes of all of them.
    pub bytes: usize,
    /// Who pushed it first.
    pub operator: PersonId,
    /// When.
    pub at: Timestamp,
    /// Whether it fell off the list: nobody can go back to it, and its parts go as soon as
    /// nothing can need them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

/// The list with `kept` at its head. What falls off its end leaves, but for what is in
/// force.
pub(super) fn listed(kept: &Kept, before: Vec<Kept>, in_force: Option<Digest>) -> Vec<Kept> {
    let mut after = vec![Kept {
        leaving: false,
        ..kept.clone()
    }];
    let mut gone = Vec::new();
    let mut bytes = kept.bytes;
    for old in before.into_iter().filter(|old| old.digest != kept.digest) {
        let more = bytes.saturating_add(old.bytes);
        let fits = !old.leaving && after.len() < KEPT_MAX && more <= KEPT_BYTES_MAX;
        let leaving = !fits && Some(old.digest) != in_force;
        let entry = Kept { leaving, ..old };
        if leaving {
            gone.push(entry);
        } else {
            bytes = more;
            after.push(entry);
        }
    }
    after.append(&mut gone);
    after
}

/// The list without what is gone. What came in force again after it fell off is kept.
pub(super) fn cleared(list: &[Kept], gone: &[Digest], in_force: Digest) -> Vec<Kept> {
    let stays = list.iter().filter(|one| !gone.contains(&one.digest));
    stays
        .map(|one| Kept {
            leaving: one.leaving && one.digest != in_force,
            ..one.clone()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str, bytes: usize) -> Kept {
        Kept {
            digest: Digest::of_bytes(name.as_bytes()),
            parts: 1,
            bytes,
            operator: "kim".parse().unwrap(),
            at: Timestamp::EPOCH,
            leaving: false,
        }
    }

    fn leaving(one: &Kept) -> Kept {
        Kept {
            leaving: true,
            ..one.clone()
        }
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_bytes_and_holds_what_is_in_force() {
        let mut list = Vec::new();
        let first = kept("0", 1_000);
        for name in 0..2 * KEPT_MAX {
            let one = kept(&name.to_string(), 1_000);
            list = listed(&one, list, Some(first.digest));
            assert!(list.contains(&first), "in force");
        }
        let (gone, stays): (Vec<Kept>, Vec<Kept>) = list.into_iter().partition(|one| one.leaving);
        assert!(stays.len() <= KEPT_MAX + 1, "{}", stays.len());
        assert_eq!(gone.len() + stays.len(), 2 * KEPT_MAX, "none is forgotten");
        let newest = (2 * KEPT_MAX - 1).to_string();
        assert_eq!(stays[0].digest, Digest::of_bytes(newest.as_bytes()));

        let large = kept("large", PACKED_BYTES_MAX);
        let next = kept("b", PACKED_BYTES_MAX);
        let small = kept("c", 1);
        let after = listed(&next, vec![large.clone(), small.clone()], None);
        assert_eq!(after, [next, large.clone(), leaving(&small)]);
        let again = listed(&large, vec![large.clone()], None);
        assert_eq!(again, [large], "the same bundle stands there once");
    }

    #[test]
    fn what_leaves_comes_back_only_when_it_is_kept_again_or_in_force() {
        let (a, b, c) = (kept("a", 1), kept("b", 1), kept("c", 1));
        let list = vec![a.clone(), leaving(&b)];
        assert_eq!(
            listed(&c, list.clone(), None),
            [c.clone(), a.clone(), leaving(&b)],
            "room does not bring it back: its parts may be gone"
        );
        assert_eq!(listed(&b, list.clone(), None), [b.clone(), a.clone()]);
        assert_eq!(
            listed(&c, list.clone(), Some(b.digest)),
            [c.clone(), a.clone(), b.clone()]
        );
        assert_eq!(cleared(&list, &[], b.digest), [a.clone(), b.clone()]);
        assert_eq!(
            cleared(&list, &[b.digest], a.digest),
            std::slice::from_ref(&a)
        );
        assert_eq!(
            cleared(&list, &[], a.digest),
            list,
            "its parts are still there"
        );
    }

    #[test]
    fn a_list_of_before_is_read() {
        let digest = Digest::of_bytes(b"x");
        let old = serde_json::json!([{"digest": digest, "parts": 1, "bytes": 5, "operator": "kim",
            "at": "2026-11-22T10:00:00Z"}]);
        let read: Vec<Kept> = serde_json::from_value(old.clone()).unwrap();
        assert!(!read[0].leaving);
        assert_eq!(serde_json::to_value(&read).unwrap(), old);
    }
}
