//! Suggestions from the record.

use std::collections::BTreeMap;

use countersign_schemas::events::Verdict;

use super::support::*;
use crate::policy::{AskHistory, VerdictCount, suggest};

const MORE: &str = r#"
@id("mail-only")
permit(principal in Role::"worker", action == Action::"mail.send", resource);
"#;

fn seen(tool: &str, verdict: Verdict, rules: &[&str]) -> VerdictCount {
    VerdictCount {
        agent: "bot".parse().unwrap(),
        tool: tool.parse().unwrap(),
        verdict,
        rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
        times: 3,
    }
}

fn unused(seen: &[VerdictCount]) -> Vec<String> {
    let bundle = with_policies(&format!("{POLICIES}{MORE}"));
    let found = suggest(&bundle, seen, &BTreeMap::new(), 5);
    found.unused.into_iter().map(|unused| unused.rule).collect()
}

#[test]
fn a_permit_is_unused_until_it_allowed_something_or_may_stand_behind_an_ask() {
    assert_eq!(unused(&[]), ["work", "mail-only"]);
    let read = seen("doc.read", Verdict::Allow, &["work"]);
    assert_eq!(unused(std::slice::from_ref(&read)), ["mail-only"]);
    let mailed = seen("mail.send", Verdict::Ask, &["approval_required"]);
    assert!(unused(&[mailed]).is_empty(), "both may stand behind it");
    let asked = seen("contact.update", Verdict::Ask, &["limit-asked"]);
    assert_eq!(unused(&[asked]), ["mail-only"]);
    let denied = seen("mail.send", Verdict::Deny, &["policy_denied"]);
    assert_eq!(
        unused(&[denied]),
        ["work", "mail-only"],
        "a deny uses nothing"
    );
}

#[test]
fn an_ask_is_always_granted_only_if_it_was_never_otherwise() {
    let bundle = bundle();
    let history = |granted, otherwise| AskHistory { granted, otherwise };
    let asked = BTreeMap::from([
        ("limit-asked".to_owned(), history(5, 0)),
        ("mail-asked".to_owned(), history(50, 1)),
        ("gone".to_owned(), history(9, 0)),
        ("work".to_owned(), history(9, 0)),
    ]);
    let found = suggest(
        &bundle,
        &[seen("doc.read", Verdict::Allow, &["work"])],
        &asked,
        5,
    );
    let rules: Vec<&str> = found
        .always_granted
        .iter()
        .map(|one| one.rule.as_str())
        .collect();
    assert_eq!(rules, ["limit-asked"]);
    assert_eq!(found.verdicts, 3);
    assert!(suggest(&bundle, &[], &asked, 6).always_granted.is_empty());
}
