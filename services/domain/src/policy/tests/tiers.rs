//! Permission tiers: who may do what, as golden matrices that the engine fills in, and
//! what a tier refuses to be.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use countersign_schemas::events::{Operation, Verdict};
use serde_json::{Value, json};

use super::golden;
use super::sample;
use super::support::{Files, check};
use crate::policy::{Bundle, Tool};

/// An input of one tool; for an update the named fields are in it.
type Input = fn(&str, &[&str]) -> Value;

/// The bundle with one more agent for each role, which has that role alone, and one
/// without any.
fn with_probes(files: &Files) -> (Bundle, Vec<(String, String)>) {
    let mut entities: Value = serde_json::from_slice(&files["entities.json"]).unwrap();
    let team = entities["teams"]
        .as_object()
        .unwrap()
        .keys()
        .next()
        .unwrap()
        .clone();
    let roles: Vec<String> = entities["roles"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let mut probes = vec![("(no role)".to_owned(), "probe".to_owned())];
    entities["agents"]["probe"] = json!({"team": team});
    for role in roles {
        let agent = format!("probe-{role}");
        entities["agents"][&agent] = json!({"roles": [role], "team": team});
        probes.push((role, agent));
    }
    let mut files = files.clone();
    files.insert(
        "entities.json".to_owned(),
        entities.to_string().into_bytes(),
    );
    let bundle = Bundle::from_files(&files).unwrap_or_else(|errors| panic!("{errors}"));
    (bundle, probes)
}

/// `+` allowed, `?` people decide, `.` denied.
fn mark(bundle: &Bundle, agent: &str, tool: &str, input: Value) -> char {
    let checked = check(bundle, agent, tool, input.clone());
    let sound = checked
        .reasons
        .iter()
        .all(|reason| reason.code != "invalid_input");
    assert!(
        sound,
        "the input of {tool} proves nothing: {input} {:?}",
        checked.reasons
    );
    match checked.verdict {
        Verdict::Allow => '+',
        Verdict::Ask => '?',
        Verdict::Deny => '.',
    }
}

fn fields(tool: &Tool) -> Vec<&str> {
    tool.updatable
        .iter()
        .map(|pointer| pointer.name())
        .collect()
}

/// One mark a tool; for an update one a field.
fn cell(bundle: &Bundle, agent: &str, tool: &Tool, input: Input) -> String {
    let name = tool.name.as_str();
    if tool.operation != Operation::Update {
        return mark(bundle, agent, name, input(name, &[])).to_string();
    }
    let each = fields(tool).into_iter();
    each.map(|field| mark(bundle, agent, name, input(name, &[field])))
        .collect()
}

fn matrix(files: &Files, input: Input) -> String {
    let (bundle, probes) = with_probes(files);
    let tools: Vec<&Tool> = bundle.catalog().tools().collect();
    let groups: BTreeSet<&str> = tools
        .iter()
        .flat_map(|tool| tool.groups.iter().map(String::as_str))
        .collect();
    let mut out = String::from(
        "What a role allows. + allowed, ? people decide, . denied; one mark a tool, in updates one a field.\n\n",
    );
    let mut head = format!("{:<18}{:<14}", "role", "group");
    for operation in Operation::ALL {
        let _ = write!(head, "{:<9}", operation.as_str());
    }
    let _ = writeln!(out, "{}", head.trim_end());
    for (role, agent) in &probes {
        for group in &groups {
            let mut line = format!("{role:<18}{group:<14}");
            for operation in Operation::ALL {
                let mine = tools
                    .iter()
                    .filter(|tool| tool.operation == *operation && tool.in_group(group));
                let cells: Vec<String> =
                    mine.map(|tool| cell(&bundle, agent, tool, input)).collect();
                let _ = write!(line, "{:<9}", cells.join(" "));
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    let _ = writeln!(out, "\nUpdates, field by field.\n");
    for tool in tools
        .iter()
        .filter(|tool| tool.operation == Operation::Update)
    {
        let names = fields(tool);
        for (role, agent) in &probes {
            let mut line = format!("{role:<18}{:<22}", tool.name.as_str());
            for field in &names {
                let one = mark(
                    &bundle,
                    agent,
                    tool.name.as_str(),
                    input(tool.name.as_str(), &[field]),
                );
                let _ = write!(line, "{field} {one}  ");
            }
            let all = mark(
                &bundle,
                agent,
                tool.name.as_str(),
                input(tool.name.as_str(), &names),
            );
            let _ = writeln!(out, "{line}all {all}");
        }
    }
    out
}

/// A company with a tool for every operation in two groups, and a role for every tier.
fn tiers() -> Files {
    let mut catalog = String::new();
    for group in ["ledger", "wiki"] {
        for operation in Operation::ALL {
            let operation = operation.as_str();
            let update = operation == "update";
            let updatable = if update {
                "updatable = [\"/title\", \"/text\", \"/owner\"]"
            } else {
                ""
            };
            let _ = write!(
                catalog,
                "[tools.\"{group}.{operation}\"]\noperation = \"{operation}\"\ndescription = \"x\"\n\
                 summary = \"x\"\ngroups = [\"{group}\"]\nworker = {{ kind = \"nats\" }}\n{updatable}\n\
                 fields = {{ \"/id\" = {{ class = \"internal\" }}, \"/title\" = {{ class = \"internal\" }}, \
                 \"/text\" = {{ class = \"internal\" }}, \"/owner\" = {{ class = \"internal\" }} }}\n\
                 [tools.\"{group}.{operation}\".input]\ntype = \"object\"\nadditionalProperties = false\n\
                 properties = {{ id = {{ type = \"string\" }}, title = {{ type = \"string\" }}, \
                 text = {{ type = \"string\" }}, owner = {{ type = \"string\" }} }}\n\n"
            );
        }
    }
    let entities = json!({
        "teams": {"help": {}}, "people": {}, "agents": {},
        "roles": {
            "read-all": {"tier": "read-only", "groups": ["ledger", "wiki"]},
            "read-wiki": {"tier": "read-only", "groups": ["wiki"]},
            "create-wiki": {"tier": "create-only", "groups": ["wiki"]},
            "update-texts": {"tier": "update-only", "fields": {
                "wiki.update": ["title", "text"], "ledger.update": ["text"]}},
            "plain": {}
        }
    });
    Files::from([
        ("catalog/all.toml".to_owned(), catalog.into_bytes()),
        (
            "entities.json".to_owned(),
            entities.to_string().into_bytes(),
        ),
    ])
}

fn plain_input(_: &str, fields: &[&str]) -> Value {
    let mut input = json!({"id": "x"});
    for field in fields {
        input[*field] = json!("new");
    }
    input
}

fn sample_input(tool: &str, fields: &[&str]) -> Value {
    let field = |name: &str| match name {
        "email" => json!("new@fabrikam.example"),
        "phone" => json!("+49 30 901820"),
        "note" => json!("calls back"),
        "portal_pin" => json!("48151623"),
        "credit_limit" => json!(100),
        _ => panic!("field `{name}` has no value here: add one"),
    };
    match tool {
        "crm.read_contact" => json!({"contact_id": "C-1042"}),
        "crm.update_contact" => {
            let mut input = json!({"contact_id": "C-1042"});
            for name in fields {
                input[*name] = field(name);
            }
            input
        }
        "docs.search" => json!({"query": "returns"}),
        "invoice.create_draft" => sample::invoice("100.00"),
        "mail.send" => json!({"to": ["kim@northwind.example"], "subject": "s", "body": "b"}),
        _ => panic!("tool `{tool}` has no input here: add one"),
    }
}

#[test]
fn what_each_tier_allows_is_the_golden_matrix() {
    golden::check("tiers.txt", &matrix(&tiers(), plain_input));
}

#[test]
fn what_each_role_of_the_sample_allows_is_the_golden_matrix() {
    golden::check("sample.txt", &matrix(&sample::sample(), sample_input));
}

#[test]
fn a_widened_permission_changes_a_mark() {
    let mut files = tiers();
    let before = matrix(&files, plain_input);
    let text = String::from_utf8(files["entities.json"].clone()).unwrap();
    let wider = text.replace("[\"text\"]", "[\"owner\",\"text\"]");
    assert_ne!(text, wider);
    files.insert("entities.json".to_owned(), wider.into_bytes());
    let after = matrix(&files, plain_input);
    let differ: Vec<&str> = after
        .lines()
        .filter(|line| !before.contains(*line))
        .collect();
    assert_eq!(differ.len(), 2, "{differ:#?}");
}

#[test]
fn a_reason_names_the_tier_and_an_update_of_nothing_is_denied() {
    let (bundle, _) = with_probes(&tiers());
    let read = check(&bundle, "probe-read-wiki", "wiki.read", json!({"id": "x"}));
    assert_eq!(
        read.reasons[0].policy_id.as_deref(),
        Some("tier.read-wiki.wiki")
    );
    assert_eq!(
        read.reasons[0].message,
        "Role `read-wiki` may read in `wiki`."
    );
    for input in [json!({}), json!({"id": "x"})] {
        let nothing = check(&bundle, "probe-update-texts", "wiki.update", input);
        assert_eq!(nothing.verdict, Verdict::Deny);
    }
}

fn faults(change: impl FnOnce(&mut Value), policy: &str) -> String {
    let mut files = tiers();
    let mut entities: Value = serde_json::from_slice(&files["entities.json"]).unwrap();
    change(&mut entities);
    files.insert(
        "entities.json".to_owned(),
        serde_json::to_vec_pretty(&entities).unwrap(),
    );
    files.insert("policies/a.cedar".to_owned(), policy.into());
    Bundle::from_files(&files).map_or_else(|errors| errors.to_string(), |_| "sound".to_owned())
}

#[test]
fn what_a_tier_cannot_be_is_refused_with_its_line() {
    let role = |role: Value| move |all: &mut Value| all["roles"]["read-wiki"] = role;
    let table = [
        (
            json!({"tier": "admin", "groups": ["wiki"]}),
            "unknown variant `admin`",
        ),
        (
            json!({"tier": "read-only"}),
            "take `groups` and nothing else",
        ),
        (
            json!({"tier": "read-only", "groups": ["read"]}),
            "in which no tool",
        ),
        (
            json!({"tier": "read-only", "groups": ["wikis"]}),
            "names group `wikis`",
        ),
        (
            json!({"tier": "update-only", "groups": ["wiki"]}),
            "takes `fields` and nothing else",
        ),
        (json!({"groups": ["wiki"]}), "stand without `tier`"),
        (
            json!({"tier": "update-only", "fields": {"wiki.update": []}}),
            "takes `fields`",
        ),
        (
            json!({"tier": "update-only", "fields": {"wiki.read": ["text"]}}),
            "does not update",
        ),
        (
            json!({"tier": "update-only", "fields": {"wiki.edit": ["text"]}}),
            "not in the catalog",
        ),
        (
            json!({"tier": "update-only", "fields": {"wiki.update": ["id"]}}),
            "cannot change",
        ),
        (
            json!({"tier": "update-only", "fields": {"wiki.update": ["tехt"]}}),
            "cannot change",
        ),
    ];
    for (row, expected) in table {
        let told = faults(role(row.clone()), "");
        assert!(told.contains(expected), "{row}: {told}");
        assert!(told.contains("entities.json:"), "no line: {told}");
    }
    assert_eq!(faults(|_| {}, ""), "sound");
}

#[test]
fn no_policy_widens_a_tier_or_takes_its_name() {
    let table = [
        (
            "@id(\"w\") permit(principal in Role::\"read-wiki\", action == Action::\"wiki.create\", resource);",
            "which has a tier",
        ),
        (
            "@id(\"w\") permit(principal, action == Action::\"wiki.create\", resource) when { principal in Role::\"read-wiki\" };",
            "which has a tier",
        ),
        (
            "@id(\"tier.read-wiki.wiki\") @because(\"x\") forbid(principal, action, resource);",
            "like those of tiers",
        ),
        (
            "@id(\"w\") permit(principal in Role::\"plain\", action == Action::\"wiki.create\", resource);",
            "sound",
        ),
        (
            "@id(\"f\") @because(\"x\") forbid(principal in Role::\"read-wiki\", action, resource);",
            "sound",
        ),
    ];
    for (policy, expected) in table {
        let told = faults(|_| {}, policy);
        assert!(told.contains(expected), "{policy}: {told}");
        assert!(
            expected == "sound" || told.contains("policies/a.cedar:1:"),
            "{told}"
        );
    }
}

#[test]
fn a_creating_tool_with_recipients_is_no_draft() {
    let mut files = sample::sample();
    let mail = String::from_utf8(files["catalog/mail.toml"].clone()).unwrap();
    let mail = mail.replace("operation = \"send\"", "operation = \"create\"");
    let mail = mail.replace("groups = [\"mail\"]", "groups = [\"invoices\"]");
    files.insert("catalog/mail.toml".to_owned(), mail.into_bytes());
    let told = Bundle::from_files(&files).unwrap_err().to_string();
    assert!(
        told.contains("`billing-desk` would let it write to people with `mail.send`"),
        "{told}"
    );
}
