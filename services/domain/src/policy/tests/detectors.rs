//! Detectors of a deployment's own, from the catalog to what is archived.

use serde_json::json;

use super::support::*;
use crate::policy::Bundle;

const STAFF: &str = r#"
[detectors.staff_number]
pattern = 'NW-([0-9]{6})'
keywords = ["nw-"]
finds = ["staff NW-100008"]
leaves = ["NW-10"]
"#;

fn with(detectors: &str) -> Files {
    let mut files = files();
    files.insert("catalog/detectors.toml".to_owned(), detectors.into());
    files
}

#[test]
fn what_a_detector_of_the_catalog_finds_is_redacted() {
    let bundle = Bundle::from_files(&with(STAFF)).unwrap();
    assert!(!bundle.catalog().detectors().is_empty());
    let input = json!({"id": "c-1", "free": "for NW-100008"});
    let checked = check(&bundle, "bot", "contact.update", input.clone());
    let said = serde_json::to_string(&checked.input_redacted).unwrap();
    assert!(said.contains("[staff_number:k1:"), "{said}");
    assert!(!said.contains("100008"), "{said}");
    let without = check(&self::bundle(), "bot", "contact.update", input);
    let said = serde_json::to_string(&without.input_redacted).unwrap();
    assert!(said.contains("100008"), "{said}");
}

#[test]
fn a_detector_that_cannot_be_used_is_an_error_where_it_stands() {
    let many: String = (0..65)
        .map(|n| {
            let name: String = n.to_string().bytes().map(|b| char::from(b + 49)).collect();
            format!("[detectors.x{name}]\npattern = 'NW-[0-9]'\nfinds = ['NW-1']\n")
        })
        .collect();
    for (text, part) in [
        (
            STAFF.replace("NW-100008", "NW-1"),
            "detectors.toml:2: detector `staff_number`: the example 1 of `finds`",
        ),
        (STAFF.replace("NW-(", "NW-(("), "the pattern cannot be used"),
        (STAFF.replace("leaves", "leave"), "unknown field `leave`"),
        (
            STAFF.replace("staff_number]", "\"Staff 1\"]"),
            "is not 1 to 32 small letters",
        ),
        ("[detectors]\nx = 1".to_owned(), "detector `x`"),
        ("detectors = 1".to_owned(), "`detectors` is no table"),
        (many, "the number of detectors is more than 64"),
    ] {
        let error = Bundle::from_files(&with(&text)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let mut twice = with(STAFF);
    twice.insert("catalog/more.toml".to_owned(), STAFF.into());
    let error = Bundle::from_files(&twice).unwrap_err().to_string();
    assert!(error.contains("defined twice"), "{error}");
}
