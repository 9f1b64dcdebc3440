//! Golden texts: compared as a whole, written anew with `COUNTERSIGN_TEST_BLESS=1`.

use std::path::Path;

/// Compares `text` with `golden/<name>`.
pub(super) fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/policy/tests/golden")
        .join(name);
    if std::env::var_os("COUNTERSIGN_TEST_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<String> = golden
        .lines()
        .filter(|line| !text.lines().any(|other| other == *line))
        .map(|line| format!("- {line}"))
        .chain(
            text.lines()
                .filter(|line| !golden.lines().any(|other| other == *line))
                .map(|line| format!("+ {line}")),
        )
        .collect();
    assert!(
        golden == text,
        "{name} has changed; if that is meant, run again with COUNTERSIGN_TEST_BLESS=1 and \
         review the difference:\n{}",
        changed.join("\n")
    );
}
