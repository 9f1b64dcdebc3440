//! Differences between bundles, in words.

use super::support::*;
use crate::policy::{Bundle, diff};

/// What differs once `from` is replaced by `to` in one file.
fn changed(file: &str, from: &str, to: &str) -> Vec<String> {
    let old = files();
    let mut new = old.clone();
    let text = String::from_utf8(new[file].clone()).unwrap();
    assert!(text.contains(from), "{from}");
    new.insert(file.to_owned(), text.replacen(from, to, 1).into_bytes());
    let read = |files: &Files| Bundle::from_files(files).unwrap_or_else(|e| panic!("{e}"));
    let found = diff(&read(&old), &read(&new));
    let line = |d: &crate::policy::Difference| {
        format!("{:?} {:?} {}: {}", d.change, d.kind, d.name, d.words).to_lowercase()
    };
    found.iter().map(line).collect()
}

const RULES: &str = "policies/all.cedar";

/// In which file, what becomes what, and what is said of it.
const CHANGES: [(&str, &str, &str, &str); 11] = [
    (
        RULES,
        "@id(\"work\")",
        "@id(\"labour\")",
        "added rule labour: allows",
    ),
    (
        RULES,
        "@ask(\"money\")",
        "@ask(\"money & leads\")",
        "changed rule limit-asked: was `asks one of money",
    ),
    (
        RULES,
        "100.0",
        "50.0",
        "changed rule limit-asked: matches other calls",
    ),
    (
        RULES,
        "Limits are money.",
        "Money is limited.",
        "explains itself otherwise",
    ),
    (
        RULES,
        "@expires(\"2h\")",
        "@expires(\"1h\")",
        "changed rule mail-asked",
    ),
    (
        "catalog/all.toml",
        "operation = \"read\"",
        "operation = \"send\"",
        "changed tool doc.read: was read, now send",
    ),
    (
        "catalog/all.toml",
        "description = \"Sends.\"",
        "description = \"Posts.\"",
        "changed tool mail.send: its definition changed; what waits for people is asked anew",
    ),
    (
        "entities.json",
        "\"idle\"",
        "\"eager\"",
        "removed agent idle",
    ),
    (
        "entities.json",
        "{\"owners\":[\"kim\"],\"team\"",
        "{\"owners\":[\"kim\"],\"roles\":[\"worker\"],\"team\"",
        "changed agent idle: roles added: worker",
    ),
    (
        "entities.json",
        "\"kim\":{}",
        "\"kim\":{\"teams\":[\"money\"]}",
        "changed team money: members added: kim",
    ),
    (
        "entities.json",
        "\"help\":{}",
        "\"help\":{},\"new\":{}",
        "added team new: members: none",
    ),
];

#[test]
fn each_change_is_one_line_that_says_what_it_means() {
    for (file, from, to, said) in CHANGES {
        let found = changed(file, from, to);
        assert!(
            found.iter().any(|line| line.contains(said)),
            "{said}: {found:#?}"
        );
    }
}

#[test]
fn comments_and_order_are_no_difference() {
    assert!(
        changed(
            "policies/all.cedar",
            "@id(\"work\")",
            "// a note\n@id(\"work\")"
        )
        .is_empty()
    );
    assert!(
        changed(
            "catalog/all.toml",
            "operation = \"read\"",
            "operation    =  \"read\""
        )
        .is_empty()
    );
    assert_eq!(diff(&bundle(), &bundle()), []);
}
