//! Golden texts: compared as a whole, written anew with `COUNTERSIGN_TEST_BLESS=1`.

use std::path::PathBuf;

/// Compares `text` with `golden/<name>`.
pub(crate) fn check(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("conformance/golden")
        .join(name);
    if std::env::var_os("COUNTERSIGN_TEST_BLESS").is_some() {
        std::fs::write(&path, text).expect("the golden text can be written");
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<String> = difference(&golden, text);
    assert!(
        changed.is_empty(),
        "{name} has changed; if that is meant, run again with COUNTERSIGN_TEST_BLESS=1 and \
         review the difference:\n{}",
        changed.join("\n")
    );
}

/// Lines that only one side has.
fn difference(golden: &str, text: &str) -> Vec<String> {
    let old: Vec<&str> = golden.lines().collect();
    let new: Vec<&str> = text.lines().collect();
    let gone = old.iter().filter(|line| !new.contains(line));
    let come = new.iter().filter(|line| !old.contains(line));
    let mut changed: Vec<String> = gone.map(|line| format!("- {line}")).collect();
    changed.extend(come.map(|line| format!("+ {line}")));
    if changed.is_empty() && golden != text {
        changed.push("the order of lines".to_owned());
    }
    changed
}

#[test]
fn one_changed_mark_is_one_changed_line() {
    assert_eq!(
        difference("a p.\nb ..\n", "a ps\nb ..\n"),
        ["- a p.", "+ a ps"]
    );
    assert!(difference("a\n", "a\n").is_empty());
    assert!(!difference("a\nb\n", "b\na\n").is_empty());
}
