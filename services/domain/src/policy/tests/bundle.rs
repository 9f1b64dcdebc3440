//! What a bundle is refused for: every problem at once, with its place.

use super::support::*;
use crate::policy::{Bundle, Worker};

fn problems(files: &Files) -> Vec<String> {
    let errors = Bundle::from_files(files).unwrap_err();
    errors.problems().iter().map(ToString::to_string).collect()
}

/// One text replaced by another in one file; exactly that must be a problem.
fn changed(file: &str, from: &str, to: &str) -> Files {
    let mut files = files();
    let text = String::from_utf8(files[file].clone()).unwrap();
    assert!(text.contains(from), "{file} does not hold {from}");
    files.insert(file.to_owned(), text.replacen(from, to, 1).into_bytes());
    files
}

#[test]
fn a_sound_bundle_loads_and_its_digest_covers_every_byte() {
    let bundle = bundle();
    assert_eq!(
        (bundle.catalog().tools().count(), bundle.policies()),
        (3, 4)
    );
    assert_eq!(bundle.digest(), super::support::bundle().digest());
    let mut tested = files();
    tested.insert("tests/a.toml".to_owned(), b"".to_vec());
    let tested = Bundle::from_files(&tested).unwrap();
    assert_ne!(tested.digest(), bundle.digest());
    let name = "contact.update".parse().unwrap();
    assert_eq!(
        tested.catalog().tool(&name).unwrap().digest(),
        bundle.catalog().tool(&name).unwrap().digest()
    );
    let other = changed("catalog/all.toml", "\"Updates.\"", "\"Updates more.\"");
    let other = Bundle::from_files(&other).unwrap();
    assert_ne!(
        other.catalog().tool(&name).unwrap().digest(),
        bundle.catalog().tool(&name).unwrap().digest()
    );
}

#[test]
fn workers_are_bound() {
    let bundle = bundle();
    let worker = |name: &str| {
        bundle
            .catalog()
            .tool(&name.parse().unwrap())
            .unwrap()
            .worker()
            .clone()
    };
    assert_eq!(worker("doc.read"), Worker::Nats);
    let Worker::Http {
        method,
        service,
        path,
    } = worker("contact.update")
    else {
        panic!("not http");
    };
    assert_eq!((method.as_str(), service.as_str()), ("PATCH", "crm"));
    let input = serde_json::json!({"id": "a/b"});
    assert_eq!(path.path(input.as_object().unwrap()).unwrap(), "/c/a%2Fb");
}

const TOML: &str = "catalog/all.toml";
const CEDAR: &str = "policies/all.cedar";

const CATALOG_FAULTS: &[(&str, &str, &str)] = &[
    (
        "operation = \"read\"",
        "operation = \"peek\"",
        "unknown variant",
    ),
    (
        "description = \"Reads.\"",
        "describe = \"Reads.\"",
        "unknown field `describe`",
    ),
    (
        "summary = \"Read {/id}\"",
        "summary = \"Read {/nope}\"",
        "which the input's schema does not have",
    ),
    (
        "summary = \"Read {/id}\"",
        "summary = \"Read {id}\"",
        "is not a JSON Pointer",
    ),
    (
        "Change {fields} of {/id}",
        "Change {/pin}",
        "shows the secret `/pin`",
    ),
    (
        "Change {fields} of {/id}",
        "Change {/frei}",
        "which has no class",
    ),
    (
        "\"/free\" = { class = \"internal\", shown = \"redacted\" }",
        "",
        "`/free` of the input has no class",
    ),
    (
        "updatable = [\"/email\", \"/limit\", \"/pin\"]",
        "updatable = []",
        "has no `updatable` fields",
    ),
    (
        "updatable = [\"/email\",",
        "updatable = [\"/emial\",",
        "which the input's schema does not have",
    ),
    (
        "additionalProperties = false",
        "additionalProperties = true",
        "takes members that it does not name",
    ),
    (
        "amount = \"/limit\"",
        "amount = \"/none\"",
        "which the input's schema does not have",
    ),
    (
        "limit = { type = \"number\" }",
        "limit = { type = \"boolean\" }",
        "which is not a number",
    ),
    (
        "class = \"secret\"",
        "class = \"hidden\"",
        "is not a field class",
    ),
    (
        "class = \"secret\"",
        "class = \"secret\", shown = \"full\"",
        "is to be shown",
    ),
    ("shown = \"domain\"", "shown = \"some\"", "unknown variant"),
    (
        "type = \"string\", maxLength = 10",
        "type = \"sting\"",
        "`input`",
    ),
    (
        "\"/mail\" = \"personal:email\"",
        "\"/mail\" = \"secret\"",
        "exposes the secret output",
    ),
    (
        "method = \"PATCH\"",
        "method = \"FETCH\"",
        "`worker.method` is unknown",
    ),
    ("service = \"crm\", ", "", "lacks a key"),
    (
        "path = \"/c/{/id}\"",
        "path = \"c/{/id}\"",
        "not an absolute path",
    ),
    (
        "helper = \"leads\"",
        "helper = \"nobody\"",
        "which is not in entities.json",
    ),
    (
        "helper = \"leads\"",
        "timeout_s = 301",
        "not between 1 and 300",
    ),
    (
        "kind = \"email_domains\"",
        "kind = \"email_domain\"",
        "unknown variant",
    ),
    (
        "known = [\"home.example\"]",
        "known = [\"*\"]",
        "which is no domain",
    ),
    ("expires = \"30m\"", "expires = \"30\"", "is not a time"),
    ("expires = \"30m\"", "expire = \"30m\"", "unknown field"),
    (
        "ask = \"leads\"",
        "ask = \"leads:9\"",
        "can never give 9 votes",
    ),
    (
        "[tools.\"doc.read\"]",
        "[tools.\"read\"]",
        "name of an operation",
    ),
    (
        "[tools.\"doc.read\"]",
        "[tools.\"doc read\"]",
        "is not a valid tool name",
    ),
    (
        "[tools.\"doc.read\"]",
        "[tool.\"doc.read\"]",
        "unknown field `tool`",
    ),
    ("[tools.\"doc.read\"]", "[tools.\"doc.read\"", "write TOML"),
];

#[test]
fn each_fault_of_the_catalog_is_named() {
    for (from, to, expected) in CATALOG_FAULTS {
        let found = problems(&changed(TOML, from, to));
        assert!(
            found.iter().any(|text| text.contains(expected)),
            "{to}: {found:#?}"
        );
        assert!(
            found
                .iter()
                .all(|text| text.starts_with("catalog/all.toml:")),
            "{found:#?}"
        );
    }
}

#[test]
fn each_fault_of_the_policies_is_named() {
    let table = [
        ("context.fields.contains", "context.felds.contains", "felds"),
        (
            "context has amount && context.amount",
            "context.amount",
            "amount",
        ),
        ("contains(\"email\")", "contains(1)", "mail-asked"),
        (
            "Role::\"worker\"",
            "Role::\"walker\"",
            "which does not exist",
        ),
        (
            "Action::\"contact.update\"",
            "Action::\"contact.updat\"",
            "contact.updat",
        ),
        (
            "leads:2 & money",
            "leads:2 & monye",
            "is not in entities.json",
        ),
        ("leads:2 & money", "leads:4", "can never give 4 votes"),
        ("@id(\"mail-asked\")", "@id(\"work\")", "is there twice"),
        ("@chat(\"no\")", "@chat(\"nope\")", "`@chat`"),
        ("@expires(\"2h\")", "@expired(\"2h\")", "has no meaning"),
        (
            "forbid(principal, action == ",
            "forbid(principal == ?principal, action == ",
            "template",
        ),
        ("forbid(principal", "forbid principal", "write Cedar"),
    ];
    for (from, to, expected) in table {
        let found = problems(&changed(CEDAR, from, to));
        assert!(
            found.iter().any(|text| text.contains(expected)),
            "{to}: {found:#?}"
        );
        assert!(
            found
                .iter()
                .all(|text| text.starts_with("policies/all.cedar")),
            "{found:#?}"
        );
    }
}

#[test]
fn problems_of_all_files_come_together_with_their_lines() {
    let mut files = changed(CEDAR, "@chat(\"no\")", "@chat(\"nope\")");
    files.insert(
        TOML.to_owned(),
        changed(TOML, "method = \"PATCH\"", "method = \"FETCH\"")[TOML].clone(),
    );
    files.insert("entities.json".to_owned(), b"{}".to_vec());
    files.insert("policies/old.cedar.bak".to_owned(), b"".to_vec());
    files.insert("catalog/odd.toml".to_owned(), vec![0xff]);
    let found = problems(&files);
    for start in [
        "catalog/all.toml:10:",
        "policies/all.cedar:5:",
        "entities.json:1:",
        "policies/old.cedar.bak:",
        "catalog/odd.toml:",
    ] {
        assert!(
            found.iter().any(|text| text.starts_with(start)),
            "{start}: {found:#?}"
        );
    }
    let shown = Bundle::from_files(&files).unwrap_err().to_string();
    assert!(shown.contains("problem(s)"), "{shown}");
    assert_eq!(problems(&Files::new()).len(), 1);
}

#[test]
fn secret_and_unknown_fields_are_out_of_reach_of_policies() {
    for field in ["pin", "frei"] {
        let policy = format!("context.input has {field}");
        let found = problems(&changed(
            CEDAR,
            "context.fields.contains(\"email\")",
            &format!("{policy} && context.input.{field} == \"x\""),
        ));
        assert!(found.concat().contains("mail-asked"), "{found:#?}");
    }
}
