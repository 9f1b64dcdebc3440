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
    let changed = difference(&read(name), text);
    assert!(
        changed.is_empty(),
        "{name} has changed; if that is meant, run again with COUNTERSIGN_TEST_BLESS=1 and \
         review the difference:\n{}",
        changed.join("\n")
    );
}

/// The golden text called `name`; empty where there is none yet.
pub(crate) fn read(name: &str) -> String {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance/golden");
    std::fs::read_to_string(dir.join(name)).unwrap_or_default()
}

/// Lines that only one side has.
pub(crate) fn difference(golden: &str, text: &str) -> Vec<String> {
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
