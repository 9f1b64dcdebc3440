//! A bundle under the name of another one.

use countersign_schemas::events::{BlockedCode, Verdict};

use super::super::fixtures::{asked, item};
use super::super::name_was_used;

use Verdict::{Ask, Deny};

#[test]
fn an_approval_knows_every_intent_of_its_bundle_and_no_other() {
    let approval = asked(&[item(0, 3, Ask), item(1, 3, Deny), item(2, 3, Ask)]);
    let intent = |index| item(index, 3, Ask).intent_id;
    assert_eq!(
        [0, 1, 2, 3].map(|n| approval.is_of(intent(n))),
        [true, true, true, false]
    );
    let out = approval.left_out_item(intent(1)).unwrap();
    assert_eq!((out.index, out.code), (1, BlockedCode::PolicyDenied));
    assert!(approval.left_out_item(intent(0)).is_none());
}

#[test]
fn a_bundle_of_the_same_name_with_other_intents_asks_something_else() {
    let first = asked(&[item(0, 2, Ask), item(1, 2, Ask)]);
    let mut other = item(1, 2, Ask);
    other.intent_id = item(7, 8, Ask).intent_id;
    let second = asked(&[item(0, 2, Ask), other]);
    assert_eq!(first.id(), second.id());
    assert!(!first.asks_the_same(&second));
    let mut ended = first.clone();
    assert!(ended.cancel("no longer wanted", ended.expires_at()));
    ended.settle();
    assert!(ended.asks_the_same(&first), "also when it is settled");
}

#[test]
fn a_used_name_is_refused_in_words() {
    let (code, why) = name_was_used(&"payroll".parse().unwrap());
    assert_eq!(code, BlockedCode::InvalidInput);
    assert!(
        why.contains("payroll was used before; take a new one"),
        "{why}"
    );
}
