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
        let files = changed(TOML, from, to);
        let text = std::str::from_utf8(&files[TOML]).unwrap();
        let elsewhere = ELSEWHERE.iter().find(|(fault, _)| fault == expected);
        let at = text.find(elsewhere.map_or(*to, |(_, at)| at)).unwrap();
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        let found = problems(&files);
        let start = format!("{TOML}:{line}: ");
        assert!(
            found
                .iter()
                .any(|told| told.contains(expected) && told.starts_with(&start)),
            "{to}: not at line {line}: {found:#?}"
        );
        assert!(
            found
                .iter()
                .all(|told| told.starts_with(&format!("{TOML}:"))),
            "{found:#?}"
        );
    }
}

/// Faults that show at another place than the one that was changed.
const ELSEWHERE: &[(&str, &str)] = &[
    ("`/free` of the input has no class", "free = { type"),
    ("which is not a number", "amount = \"/limit\""),
    ("lacks a key", "method = \"PATCH\""),
    ("can never give 9 votes", "kind = \"email_domains\""),
];

/// The problems as their places.
fn places(file: &str, text: &str) -> Vec<String> {
    let mut files = files();
    files.insert(file.to_owned(), text.into());
    let errors = Bundle::from_files(&files).unwrap_err();
    let each = errors.problems().iter().inspect(|one| {
        assert!(!one.what.is_empty() && !one.mend.is_empty(), "{one}");
    });
    // A fault in one file may show in another too.
    each.filter(|one| one.file == file)
        .map(|one| format!("{}:{}", one.file, one.line.unwrap_or_default()))
        .collect()
}

#[test]
fn every_fault_of_a_tool_is_told_at_once_each_at_its_line() {
    let text = r#"
[tools."x"]
operation = "peek"
describe = "x"
summary = 5
timeout_s = "long"
worker = { kind = "smoke" }
fields."/a" = { class = "internal", shown = "some" }
fields."/b" = { klass = "internal" }
output = { "/c" = 1 }
[tools."x".input]
type = "object"

[tools."y"]
operation = "read"
description = "x"
summary = "x"
worker = { kind = "nats" }
helper = "nobody"
groups = ["read"]
timeout_s = 0
output = { "/c" = "hidden", "d" = "public" }
[tools."y".input]
type = "object"
properties.a = { type = "sting" }
properties.b = { minLength = -1 }

[more]
"#;
    let mut expected = vec![2, 3, 4, 5, 6, 7, 8, 9, 10];
    expected.extend([19, 20, 21, 22, 22, 25, 25, 26, 26, 28]);
    let expected: Vec<String> = expected
        .iter()
        .map(|line| format!("catalog/x.toml:{line}"))
        .collect();
    assert_eq!(places("catalog/x.toml", text), expected);
    let broken = "[tools.\"x\"]\noperation = \nsummary = \"\n\n[tools\n";
    let found = places("catalog/x.toml", broken);
    assert!(
        found.len() > 1 && found[0] == "catalog/x.toml:2",
        "{found:?}"
    );
}

#[test]
fn every_fault_of_the_entities_is_told_at_once_each_at_its_line() {
    let text = r#"{
  "teams": {"help": {}, "a b": {}},
  "people": {"kim": {"teams": ["none"], "age": 3}},
  "roles": {"r": {"tier": "admin"}},
  "agents": {
    "bot": {"owners": ["lee"],
      "roles": ["q", "r"],
      "team": "none"},
    "idle": {
      "team": 5}
  },
  "more": {}
}"#;
    let expected = [2, 3, 3, 4, 6, 7, 8, 10, 12].map(|line| format!("entities.json:{line}"));
    assert_eq!(places("entities.json", text), expected);
    let twice = "{\n\"teams\": {},\n\"teams\": {}}";
    assert_eq!(places("entities.json", twice), ["entities.json:3"]);
    assert_eq!(places("entities.json", "[\n"), ["entities.json:2"]);
    assert_eq!(places("entities.json", "[]"), ["entities.json:1"]);
    assert_eq!(places("entities.json", "{}"), ["entities.json:1"; 4]);
}

#[test]
fn every_fault_of_the_policies_is_told_at_once_each_at_its_line() {
    let unread = r#"// A comment with @id("b") in it.
permit(principal, action, resource);
@id( "b" )
@because("x") @chat("no")
forbid(principal, action, resource);

@id("c") permit(principal == ?principal, action, resource);
permit(principal, action, resource);
"#;
    let expected = [2, 3, 7, 8].map(|line| format!("policies/x.cedar:{line}"));
    assert_eq!(places("policies/x.cedar", unread), expected);
    let wrong = r#"
@id("a")
permit(
  principal in Role::"wroker",
  action == Action::"doc.read",
  resource
) when {
  context.requester.verifed &&
  context.nothing == 1
};

@id("b") @ask("nobody") @because("x")
forbid(principal, action, resource);
"#;
    let found = places("policies/x.cedar", wrong);
    for line in [
        "policies/x.cedar:2",
        "policies/x.cedar:8",
        "policies/x.cedar:12",
    ] {
        assert!(found.iter().any(|place| place == line), "{line}: {found:?}");
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
        "catalog/all.toml:18:",
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
