//! What opening a window ahead of time demands, and the currency of amounts.

use std::time::Duration;

use countersign_schemas::events::Ask;
use serde_json::{Value, json};

use super::support::{POLICIES, bundle, check, files, with_policies};
use crate::policy::Bundle;

fn tools_of(names: &[&str]) -> Vec<countersign_schemas::ToolName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn agent_of(name: &str) -> countersign_schemas::AgentId {
    name.parse().unwrap()
}

fn demanded(
    bundle: &Bundle,
    agent: &str,
    tools: &[&str],
    fields: &[&str],
    seconds: u64,
) -> Result<Ask, String> {
    let tools = tools_of(tools);
    let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    let span = Duration::from_secs(seconds);
    let terms = bundle.window_terms(&agent_of(agent), &tools, &fields, span)?;
    for tool in &tools {
        let defined = bundle.catalog().tool(tool).map(crate::policy::Tool::digest);
        assert_eq!(terms.tools.get(tool), Some(&defined));
    }
    Ok(terms.ask)
}

fn teams(ask: &Ask) -> String {
    let one = |entry: &countersign_schemas::events::TeamQuorum| {
        format!("{}:{}", entry.team, entry.quorum)
    };
    ask.approvers.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn all_rules_that_a_window_may_lift_are_demanded_together() {
    let bundle = bundle();
    let ask = demanded(&bundle, "bot", &["contact.update"], &["email"], 3_600).unwrap();
    assert_eq!(teams(&ask), "leads:2 money:1", "limits have no `@window`");
    assert_eq!(ask.window_max_s, Some(3_600));
    assert!(!ask.chat_may_approve && !ask.self_allowed);
    // Nobody is known to stand behind it: one more of each.
    let orphan = demanded(&bundle, "orphan", &["contact.update"], &["email"], 60).unwrap();
    assert_eq!(teams(&orphan), "leads:3 money:2");
    let both = with_policies(
        &POLICIES.replace("@self(\"allowed\")", "@self(\"allowed\") @window(\"30m\")"),
    );
    let short = demanded(&both, "bot", &["contact.update"], &["limit"], 1_800).unwrap();
    assert_eq!(
        (teams(&short), short.window_max_s),
        ("leads:2 money:1".to_owned(), Some(1_800))
    );
    let long = demanded(&both, "bot", &["contact.update"], &["limit"], 1_801).unwrap();
    assert_eq!(
        long.window_max_s,
        Some(3_600),
        "what is too short for it is not lifted"
    );
}

#[test]
fn guardrails_count_as_rules_do() {
    let mut files = files();
    let catalog = String::from_utf8(files["catalog/all.toml"].clone()).unwrap();
    let windowed = catalog.replace("expires = \"30m\"", "expires = \"30m\"\nwindow = \"10m\"");
    files.insert("catalog/all.toml".to_owned(), windowed.into_bytes());
    let bundle = Bundle::from_files(&files).unwrap();
    let ask = demanded(&bundle, "bot", &["mail.send"], &[], 600).unwrap();
    assert_eq!(
        (teams(&ask), ask.window_max_s),
        ("leads:1".to_owned(), Some(600))
    );
    let fields = ["email"];
    let both = demanded(
        &bundle,
        "bot",
        &["mail.send", "contact.update"],
        &fields,
        600,
    )
    .unwrap();
    assert_eq!(teams(&both), "leads:2 money:1");
}

#[test]
fn what_no_window_can_lift_is_said_in_words() {
    for (agent, tools, fields, seconds, words) in [
        (
            "nobody",
            &["doc.read"][..],
            &[][..],
            60,
            "no agent `nobody`",
        ),
        (
            "bot",
            &["doc.write"][..],
            &[][..],
            60,
            "no tool `doc.write`",
        ),
        (
            "bot",
            &["doc.read"][..],
            &[][..],
            60,
            "no rule about `doc.read`",
        ),
        (
            "bot",
            &["contact.update"][..],
            &["email"][..],
            3_601,
            "3601 seconds",
        ),
        (
            "bot",
            &["contact.update"][..],
            &[][..],
            60,
            "of email, limit, pin",
        ),
        (
            "bot",
            &["contact.update"][..],
            &["name"][..],
            60,
            "of email, limit, pin",
        ),
        ("bot", &[][..], &[][..], 60, "at least one tool"),
    ] {
        let why = demanded(&bundle(), agent, tools, fields, seconds).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
}

/// The sample with a currency for `contact.update`.
fn priced(currency: &str) -> Result<Bundle, String> {
    let mut files = files();
    let catalog = files.get("catalog/all.toml").cloned().unwrap_or_default();
    let catalog = String::from_utf8(catalog).map_err(|error| error.to_string())?;
    let line = format!("amount = \"/limit\"\ncurrency = \"{currency}\"");
    let catalog = catalog.replace("amount = \"/limit\"", &line);
    files.insert("catalog/all.toml".to_owned(), catalog.into_bytes());
    Bundle::from_files(&files).map_err(|errors| errors.to_string())
}

fn told(currency: &str, input: Value) -> Option<String> {
    check(&priced(currency).unwrap(), "bot", "contact.update", input).currency
}

#[test]
fn an_amount_is_in_one_known_currency_or_in_none() {
    let input = |pin: &str| json!({"id": "C-1", "limit": 5, "pin": pin});
    assert_eq!(told("EUR", input("x")).as_deref(), Some("EUR"));
    for (pin, expected) in [
        ("USD", "USD"),
        ("usd", "unknown"),
        ("EURO", "unknown"),
        ("", "unknown"),
    ] {
        assert_eq!(told("/pin", input(pin)).as_deref(), Some(expected), "{pin}");
    }
    let absent = json!({"id": "C-1", "limit": 5});
    assert_eq!(told("/pin", absent).as_deref(), Some("unknown"));
    let plain = check(&bundle(), "bot", "contact.update", input("USD"));
    assert_eq!((plain.amount.as_deref(), plain.currency), (Some("5"), None));
}

#[test]
fn a_currency_that_cannot_be_read_is_a_fault_of_the_catalog() {
    for (currency, words) in [
        ("euro", "is no currency"),
        ("XAU", "is no currency"),
        ("/limit", "not one field of text"),
        ("/none", "/none"),
    ] {
        let error = priced(currency).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let mut files = files();
    let catalog = String::from_utf8(files["catalog/all.toml"].clone()).unwrap();
    let catalog = catalog.replace("amount = \"/limit\"", "currency = \"EUR\"");
    files.insert("catalog/all.toml".to_owned(), catalog.into_bytes());
    let error = Bundle::from_files(&files).unwrap_err().to_string();
    assert!(error.contains("`currency` but no `amount`"), "{error}");
}
