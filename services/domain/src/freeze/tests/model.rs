//! Against a model that looks at every position.

use super::*;

#[test]
fn forgetting_a_release_never_lets_anything_run() {
    let mut freezes = Freezes::default();
    let mut seq = 0;
    for n in 0..1_010_u64 {
        let scope = of_agent(&format!("agent{n}"));
        for frozen in [true, false] {
            seq += 1;
            take(&mut freezes, seq, &applied(frozen, &scope, seq));
        }
    }
    let decision = approved();
    let target = Target::from(&decision);
    assert_eq!(freezes.voids(&target, 1), Some(Void::Forgotten));
    assert_eq!(freezes.voids(&target, seq), None);
}

/// One step of a log: which scope, which order, whether it freezes.
type Step = (usize, u64, bool);

/// Whether the intent of the fixtures is covered at each position, by the plain meaning:
/// of each scope the order that people gave last counts.
fn covered_after_each(steps: &[Step], scopes: &[FreezeScope]) -> Vec<bool> {
    let checked = checked();
    let mut last: Vec<(u64, bool)> = vec![(0, false); scopes.len()];
    let mut covered = vec![false];
    for (scope, order, frozen) in steps {
        if *order > last[*scope].0 {
            last[*scope] = (*order, *frozen);
        }
        let now = scopes
            .iter()
            .zip(&last)
            .any(|(scope, (_, frozen))| *frozen && covers(scope, &Target::from(&checked)));
        covered.push(now);
    }
    covered
}

proptest! {
    #[test]
    fn a_decision_is_void_if_it_was_covered_anywhere_since(
        mut steps in proptest::collection::vec((0_usize..4, any::<bool>()), 0..24),
        swaps in proptest::collection::vec(0_usize..24, 0..6),
        decided in 0_u64..25,
    ) {
        let scopes = [everything(), of_agent("billing"), of_tool("mail.send"), of_agent("crm")];
        let mut log: Vec<Step> = steps
            .drain(..)
            .zip(1..)
            .map(|((scope, frozen), order)| (scope, order, frozen))
            .collect();
        for at in swaps {
            if at + 1 < log.len() {
                log.swap(at, at + 1);
            }
        }
        let mut freezes = Freezes::default();
        for (seq, (scope, order, frozen)) in (1..).zip(&log) {
            take(&mut freezes, seq, &applied(*frozen, &scopes[*scope], *order));
        }
        let covered = covered_after_each(&log, &scopes);
        let checked = checked();
        let target = Target::from(&checked);
        let now = *covered.last().unwrap();
        prop_assert_eq!(freezes.covers(&target).is_some(), now);
        // Position 0 is before everything; a decision at `n` follows the message at `n`.
        let since = usize::try_from(decided).unwrap().min(log.len());
        let void = covered[since..].iter().any(|covered| *covered);
        prop_assert_eq!(freezes.voids(&target, decided).is_some(), void);
    }
}
