//! What lint refuses and points out, each with its place.

use std::time::Duration;

use serde_json::json;

use super::sample::sample;
use super::support::*;
use crate::policy::{Bundle, LintFinding, LintLevel, LintLimits, lint};

fn found(files: &Files) -> Vec<LintFinding> {
    let bundle = Bundle::from_files(files).unwrap_or_else(|errors| panic!("{errors}"));
    lint(&bundle, &LintLimits::default())
}

/// The findings as `level check line`, for policies alone in their file.
fn of_policies(text: &str) -> Vec<String> {
    let mut files = files();
    files.insert("policies/all.cedar".to_owned(), text.into());
    let mine = found(&files)
        .into_iter()
        .filter(|one| one.file == "policies/all.cedar");
    mine.map(|one| {
        assert!(!one.what.is_empty() && !one.mend.is_empty());
        let line = one.line.unwrap_or_default();
        match one.level {
            LintLevel::Refused => format!("refused {} {line}", one.check),
            LintLevel::PointedOut => format!("pointed {} {line}", one.check),
        }
    })
    .collect()
}

#[test]
fn the_sample_is_clean() {
    assert_eq!(found(&sample()), []);
}

const BOUNDS: &[(&str, bool)] = &[
    ("principal, action, resource", false),
    ("principal is Agent, action, resource is Tool", false),
    ("principal in Role::\"worker\", action, resource", false),
    ("principal, action == Action::\"doc.read\", resource", false),
    (
        "principal in Role::\"worker\", action in Action::\"read\", resource",
        false,
    ),
    (
        "principal in Role::\"worker\", action in Action::\"read\", resource in ToolGroup::\"read\"",
        false,
    ),
    (
        "principal in Role::\"worker\", action, resource in ToolGroup::\"papers\"",
        false,
    ),
    (
        "principal in Role::\"worker\", action in Action::\"read\", resource in ToolGroup::\"all\"",
        false,
    ),
    (
        "principal in Role::\"worker\", action in [Action::\"read\", Action::\"create\", Action::\"update\", \
         Action::\"delete\", Action::\"send\", Action::\"execute\"], resource in ToolGroup::\"papers\"",
        false,
    ),
    (
        "principal == Agent::\"bot\", action in [Action::\"doc.read\", Action::\"mail.send\", \
         Action::\"contact.update\"], resource",
        false,
    ),
    (
        "principal == Agent::\"bot\", action in [Action::\"doc.read\", Action::\"send\", \
         Action::\"update\"], resource in ToolGroup::\"all\"",
        false,
    ),
    (
        "principal in Role::\"worker\", action == Action::\"doc.read\", resource",
        true,
    ),
    (
        "principal == Agent::\"bot\", action in [Action::\"doc.read\", Action::\"mail.send\"], resource",
        true,
    ),
    (
        "principal in Role::\"worker\", action, resource == Tool::\"doc.read\"",
        true,
    ),
    (
        "principal in Role::\"worker\", action in Action::\"read\", resource in ToolGroup::\"papers\"",
        true,
    ),
];

#[test]
fn a_permit_without_bounds_is_refused_unless_reviewed() {
    for (scope, fits) in BOUNDS {
        let with = |review: &str| {
            let mut files = files();
            let catalog = CATALOG
                .replace(
                    "operation = \"read\"\n",
                    "operation = \"read\"\ngroups = [\"papers\", \"all\"]\n",
                )
                .replace(
                    "operation = \"update\"\n",
                    "operation = \"update\"\ngroups = [\"all\"]\n",
                )
                .replace(
                    "operation = \"send\"\n",
                    "operation = \"send\"\ngroups = [\"all\"]\n",
                );
            files.insert("catalog/all.toml".to_owned(), catalog.into_bytes());
            let text = format!("\n@id(\"p\"){review}\npermit({scope});");
            files.insert("policies/all.cedar".to_owned(), text.into_bytes());
            let all = found(&files).into_iter();
            let mut bounds = all.filter(|one| ["unbounded", "review"].contains(&one.check));
            bounds.next().map(|one| {
                assert_eq!(
                    (one.level, one.line),
                    (LintLevel::Refused, Some(2)),
                    "{scope}"
                );
                one.check
            })
        };
        assert_eq!(with(""), (!fits).then_some("unbounded"), "{scope}");
        if !fits {
            assert_eq!(
                with("@reviewed(\"kim, 2026-11-02, trial, of a week\")"),
                None,
                "{scope}"
            );
            for short in ["", "kim", "kim, 2026-11-02", "kim, , because"] {
                let review = format!("@reviewed(\"{short}\")");
                assert_eq!(with(&review), Some("review"), "{scope} {short}");
            }
        }
    }
}

#[test]
fn permits_that_together_reach_every_tool_are_pointed_out() {
    let permit = |id: &str, tool: &str, when: &str| {
        format!(
            "@id(\"{id}\")\npermit(principal in Role::\"worker\", action == Action::\"{tool}\", resource) {when};\n"
        )
    };
    let (a, b) = (permit("a", "doc.read", ""), permit("b", "mail.send", ""));
    let with = |c: &str| {
        let mut told = of_policies(&format!("{a}{b}{c}"));
        told.retain(|one| one.contains("unbounded"));
        told
    };
    assert_eq!(
        with(&permit("c", "contact.update", "")),
        ["pointed unbounded 5"]
    );
    let checked = "when { context.requester.verified }";
    assert_eq!(
        with(&permit("c", "contact.update", checked)),
        Vec::<String>::new()
    );
    let reviewed = format!(
        "@reviewed(\"kim, 2026-11-02, trial\")\n{}",
        permit("c", "contact.update", "")
    );
    assert_eq!(with(&reviewed), Vec::<String>::new());
}

const PERMIT: &str = "@id(\"work\") permit(principal in Role::\"worker\", action == Action::\"contact.update\", resource);";

#[test]
fn rules_that_never_decide_are_pointed_out() {
    let forbid = |id: &str, scope: &str, when: &str| {
        format!("\n@id(\"{id}\") @because(\"x\") forbid({scope}) {when};")
    };
    let update = "principal, action in Action::\"update\", resource";
    let contact = "principal, action == Action::\"contact.update\", resource";
    let table = [
        (forbid("a", "principal in Role::\"idle\", action, resource", ""), "pointed unreachable 2"),
        (
            forbid("a", "principal, action in Action::\"read\", resource == Tool::\"mail.send\"", ""),
            "pointed unreachable 2",
        ),
        (forbid("a", "principal, action in Action::\"read\", resource in ToolGroup::\"send\"", ""), "pointed unreachable 2"),
        (forbid("a", update, ""), "pointed shadowed 1"),
        (forbid("a", update, "when { context.requester.verified }"), ""),
        (forbid("a", update, "") + &forbid("b", contact, "when { context.requester.verified }"), "pointed shadowed 1,pointed shadowed 3"),
        (forbid("a", update, "") + &forbid("b", contact, ""), "pointed shadowed 1,pointed shadowed 3"),
        (
            "\n@id(\"more\") permit(principal == Agent::\"bot\", action == Action::\"contact.update\", resource) \
             when { context.requester.verified };".to_owned(),
            "pointed shadowed 2",
        ),
        (
            "\n@id(\"more\") permit(principal == Agent::\"idle\", action == Action::\"contact.update\", resource);"
                .to_owned(),
            "",
        ),
    ];
    for (more, expected) in table {
        let mut files = files();
        let mut entities = entities();
        entities["roles"]["idle"] = json!({});
        files.insert(
            "entities.json".to_owned(),
            entities.to_string().into_bytes(),
        );
        files.insert(
            "policies/all.cedar".to_owned(),
            format!("{PERMIT}{more}").into_bytes(),
        );
        let told: Vec<String> = found(&files)
            .into_iter()
            .filter(|one| one.file == "policies/all.cedar")
            .map(|one| format!("pointed {} {}", one.check, one.line.unwrap_or_default()))
            .collect();
        assert_eq!(told.join(","), expected, "{more}");
    }
}

#[test]
fn asks_about_what_nobody_sees_are_pointed_out() {
    let ask = |because: &str, when: &str| {
        format!(
            "{PERMIT}\n@id(\"a\") @ask(\"leads\") @because(\"{because}\")\n\
             forbid(principal, action == Action::\"contact.update\", resource) when {{ {when} }};"
        )
    };
    let table = [
        (
            "x",
            "context.input has free && context.input.free == \"x\"",
            true,
        ),
        ("x", "context.fields.contains(\"pin\")", true),
        (
            "x",
            "[\"limit\", \"pin\"].containsAny(context.fields)",
            true,
        ),
        (
            "Someone wrote to `free`.",
            "context.requester.verified",
            true,
        ),
        (
            "x",
            "context.input has email && context.input.email == \"x\"",
            false,
        ),
        ("x", "context.fields.contains(\"limit\")", false),
        (
            "x",
            "context has amount && context.amount.greaterThan(decimal(\"1.0\"))",
            false,
        ),
        (
            "Anyone is free to do so.",
            "context.requester.verified",
            false,
        ),
    ];
    for (because, when, unseen) in table {
        let expected: &[&str] = if unseen { &["pointed unseen 2"] } else { &[] };
        assert_eq!(
            of_policies(&ask(because, when)),
            expected,
            "{because} {when}"
        );
    }
}

#[test]
fn a_guardrail_that_asks_about_a_hidden_field_is_pointed_out() {
    let mut files = files();
    let hidden = CATALOG.replace(
        "\"/to\" = { class = \"personal:email\", shown = \"full\" }",
        "\"/to\" = { class = \"personal:email\" }",
    );
    assert_ne!(hidden, CATALOG);
    files.insert("catalog/all.toml".to_owned(), hidden.into_bytes());
    let all = found(&files);
    let one = all.iter().find(|one| one.check == "unseen").unwrap();
    assert_eq!(one.file, "catalog/all.toml");
    assert!(
        one.line.is_some() && one.what.contains("`email_domains`"),
        "{one}"
    );
}

#[test]
fn asks_and_windows_end_before_the_raw_message_does() {
    let bundle = bundle();
    let of = |hours: u64| {
        let limits = LintLimits {
            raw_retention: Duration::from_secs(hours * 3600),
        };
        let mut all = lint(&bundle, &limits);
        all.retain(|one| one.check == "retention");
        assert!(
            all.iter()
                .all(|one| one.level == LintLevel::Refused && one.line.is_some())
        );
        all.into_iter().map(|one| one.what).collect::<Vec<_>>()
    };
    assert_eq!(of(2), Vec::<String>::new());
    let hour = of(1);
    assert!(
        hour.len() == 1 && hour[0].contains("`expires` of policy `mail-asked`"),
        "{hour:?}"
    );
    let none = of(0);
    for told in [
        "`window` of policy `mail-asked`",
        "`expires` of policy `limit-asked`",
        "guardrail `email_domains` of tool `mail.send`",
    ] {
        assert!(
            none.iter().any(|what| what.contains(told)),
            "{told}: {none:?}"
        );
    }
}

#[test]
fn findings_read_as_a_line_each() {
    let told: Vec<String> = found(&files()).iter().map(ToString::to_string).collect();
    let first = told
        .iter()
        .find(|line| line.contains("unbounded") || line.contains("no bound"))
        .unwrap();
    assert!(
        first.starts_with("policies/all.cedar:2: refused: permit `work` has no bound on action and resource; name the agent"),
        "{first}"
    );
}
