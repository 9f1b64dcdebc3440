//! The tests that a bundle holds itself.

use super::support::*;
use crate::policy::{Bundle, CaseResult};

fn results(cases: &str) -> Vec<CaseResult> {
    let mut files = files();
    files.insert("tests/all.toml".to_owned(), cases.into());
    let bundle = Bundle::from_files(&files).unwrap_or_else(|errors| panic!("{errors}"));
    bundle.run_tests().unwrap()
}

fn problems(cases: &str) -> Vec<String> {
    let mut files = files();
    files.insert("tests/all.toml".to_owned(), cases.into());
    let errors = Bundle::from_files(&files).unwrap_err();
    errors.problems().iter().map(ToString::to_string).collect()
}

/// One case about the update of a contact, with `more` lines.
fn update(input: &str, more: &str) -> String {
    format!(
        "[[case]]\nname = \"one\"\nagent = \"bot\"\ntool = \"contact.update\"\ninput = {input}\n{more}\n"
    )
}

#[test]
fn a_case_that_gets_what_it_expects_passes() {
    for (input, more) in [
        (
            "{ id = \"C-1\", limit = 5 }",
            "verdict = \"allow\"\nreasons = [\"work\"]",
        ),
        (
            "'{\"id\": \"C-1\", \"limit\": 101}'",
            "verdict = \"ask\"\nreasons = [\"limit-asked\"]\nask = \"money\"",
        ),
        (
            "{ id = \"C-1\", email = \"a@b.example\" }",
            "verdict = \"ask\"\nask = { teams = \"leads:2 & money\", expires = \"2h\", chat = \"no\" }",
        ),
        (
            "{ id = \"C-1\", limit = 1001 }",
            "verdict = \"deny\"\nreasons = [\"limit-top\"]\nneeds = [\"The board.\"]",
        ),
    ] {
        let results = results(&update(input, more));
        assert_eq!(results.len(), 1);
        assert!(results[0].passed(), "{input}: {:?}", results[0].faults);
        assert_eq!(results[0].problem(), None);
    }
}

#[test]
fn every_difference_is_told_with_file_and_line() {
    let asked = "{ id = \"C-1\", email = \"a@b.example\" }";
    for (more, said) in [
        ("verdict = \"allow\"", "expected allow, got ask"),
        (
            "verdict = \"ask\"\nreasons = [\"other\"]",
            "no reason is `other`",
        ),
        (
            "verdict = \"ask\"\nneeds = [\"gold\"]",
            "no need is or says `gold`",
        ),
        (
            "verdict = \"ask\"\nask = \"leads & money\"",
            "it asks `leads:2 & money:1`",
        ),
        (
            "verdict = \"ask\"\nask = { expires = \"1h\" }",
            "people have 7200 s",
        ),
        (
            "verdict = \"ask\"\nask = { chat = \"yes\" }",
            "a chat may not approve",
        ),
    ] {
        let results = results(&format!("\n\n{}", update(asked, more)));
        let problem = results[0].problem().unwrap();
        assert_eq!(
            (problem.file.as_str(), problem.line),
            ("tests/all.toml", Some(4))
        );
        assert!(problem.what.contains(said), "{more}: {}", problem.what);
    }
    let two = update(
        asked,
        "verdict = \"deny\"\nreasons = [\"other\"]\nneeds = [\"gold\"]",
    );
    assert_eq!(results(&two)[0].faults.len(), 3, "all of them are told");
}

#[test]
fn what_a_case_does_not_say_is_judged_as_the_checker_would() {
    let unknown = "[[case]]\nname = \"x\"\nagent = \"nobody\"\ntool = \"doc.read\"\ninput = { id = \"1\" }\nverdict = \"deny\"\nreasons = [\"unknown_agent\"]\n";
    assert!(results(unknown)[0].passed());
    let stranger = unknown
        .replace("doc.read", "doc.burn")
        .replace("nobody", "bot");
    let stranger = stranger.replace("unknown_agent", "unknown_tool");
    assert!(results(&stranger)[0].passed());
}

#[test]
fn a_broken_test_file_breaks_the_bundle_and_all_faults_are_told() {
    assert!(problems("[[case]\n")[0].starts_with("tests/all.toml:1: "));
    let unknown = problems(&update(
        "{ id = \"1\" }",
        "verdict = \"allow\"\nverdikt = 1",
    ));
    assert!(unknown[0].contains("verdikt"), "{unknown:?}");
    let bad = [
        update("3", "verdict = \"allow\""),
        update("{ id = \"1\" }", "verdict = \"allow\"\nat = \"yesterday\""),
        update("{ id = \"1\" }", "verdict = \"allow\"\nask = \"leads\""),
        update("{ id = \"1\" }", "verdict = \"ask\"\nask = \"leads:0\""),
        update("'{\"a\":1,\"a\":2}'", "verdict = \"allow\""),
    ];
    let all = problems(&bad.concat());
    assert_eq!(all.len(), bad.len(), "{all:?}");
    for (problem, line) in all.iter().zip([2, 8, 15, 22, 29]) {
        assert!(
            problem.starts_with(&format!("tests/all.toml:{line}: ")),
            "{problem}"
        );
    }
}

const MANDATED: &str = r#"
        @id("work") permit(principal in Role::"worker", action, resource);
        @id("own-case") @because("x") forbid(principal, action == Action::"contact.update", resource)
        unless {
            context.requester.verified && context has mandate &&
            context.mandate.issuer == "https://id.example" &&
            context.mandate.facts has case && context.mandate.facts.case == context.input.id
        };
        @id("seen") @ask("leads") @because("x") forbid(principal, action == Action::"mail.send", resource)
        when { context.labels.contains("pii") };"#;

/// The results of one case by those rules.
fn mandated(tool: &str, input: &str, more: &str) -> Vec<CaseResult> {
    let mut files = files();
    let catalog = CATALOG.replacen(
        "operation = \"read\"",
        "operation = \"read\"\nlabels = [\"pii\"]",
        1,
    );
    files.insert("catalog/all.toml".to_owned(), catalog.into());
    files.insert(
        "catalog/facts.toml".to_owned(),
        "[facts]\ncase = \"string\"\n".into(),
    );
    files.insert("policies/all.cedar".to_owned(), MANDATED.into());
    let case = format!(
        "[[case]]\nname = \"one\"\nagent = \"bot\"\ntool = \"{tool}\"\ninput = {input}\n{more}\n"
    );
    files.insert("tests/all.toml".to_owned(), case.into());
    let bundle = Bundle::from_files(&files).unwrap_or_else(|errors| panic!("{errors}"));
    bundle.run_tests().unwrap()
}

#[test]
fn a_case_may_bring_a_mandate_and_what_the_agent_has_seen() {
    let (update, mail) = ("{ id = \"C-1\" }", "{ to = \"a@home.example\" }");
    let mandate = |scope: &str, case: &str, issuer: &str| {
        format!(
            "mandate = {{ scope = \"{scope}\", issuer = \"{issuer}\", facts = {{ case = {case} }} }}\n"
        )
    };
    let known = "https://id.example";
    let wide = "tool:contact.update";
    for (tool, input, premise, verdict) in [
        (
            "contact.update",
            update,
            mandate(wide, "\"C-1\"", known),
            "allow",
        ),
        (
            "contact.update",
            update,
            mandate(wide, "\"C-2\"", known),
            "deny",
        ),
        ("contact.update", update, mandate(wide, "7", known), "deny"),
        (
            "contact.update",
            update,
            mandate(wide, "\"C-1\"", "https://other.example"),
            "deny",
        ),
        (
            "contact.update",
            update,
            mandate("operation:read", "\"C-1\"", known),
            "deny",
        ),
        ("contact.update", update, String::new(), "deny"),
        ("mail.send", mail, String::new(), "allow"),
        ("mail.send", mail, "labels = [\"pii\"]\n".to_owned(), "ask"),
        (
            "mail.send",
            mail,
            "labels = [\"p i i\"]\n".to_owned(),
            "deny",
        ),
    ] {
        let results = mandated(tool, input, &format!("{premise}verdict = \"{verdict}\""));
        assert!(results[0].passed(), "{premise}: {:?}", results[0].faults);
    }
}
