//! What opening a window ahead of time demands, and the currency of amounts.

use std::time::Duration;

use countersign_schemas::SeqToken;
use countersign_schemas::events::{
    ApprovalVote, Ask, BlockedCode, VoteChoice, WindowLimits, WindowRequested,
};
use serde_json::{Value, json};

use super::support::{CATALOG, POLICIES, bundle, check, files, with_policies};
use crate::approvals::{Approval, Ballot};
use crate::policy::Bundle;
use crate::windows::{Demand, Opening, Placed};

fn tools_of(names: &[&str]) -> Vec<countersign_schemas::ToolName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn agent_of(name: &str) -> countersign_schemas::AgentId {
    name.parse().unwrap()
}

fn ten_o_clock() -> countersign_schemas::Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
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
    let terms = bundle.window_terms(&agent_of(agent), &tools, &fields, span, ten_o_clock())?;
    assert_eq!(terms.policy_digest, bundle.digest());
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

/// A window of half an hour over the e-mail addresses of contacts, granted by `voters`.
fn granted_window(bundle: &Bundle, voters: &[&str]) -> Approval {
    let (bot, tools) = (agent_of("bot"), tools_of(&["contact.update"]));
    let fields = ["email".to_owned()];
    let (at, span) = (
        "2026-11-22T10:00:00Z".parse().unwrap(),
        Duration::from_secs(1_800),
    );
    let terms = bundle
        .window_terms(&bot, &tools, &fields, span, at)
        .unwrap();
    let asked = WindowRequested {
        schema_version: 1,
        agent: bot,
        tools,
        limits: WindowLimits {
            seconds: 1_800,
            max_uses: None,
            max_total: None,
            same_input_only: None,
        },
        reason: "the move".to_owned(),
        fields: fields.to_vec(),
        requester: None,
    };
    let via = "self".parse().unwrap();
    let message = |seq| SeqToken::new("abc".parse().unwrap(), seq);
    let mut voters = voters.iter().zip(9..);
    let (first, place) = voters.next().unwrap();
    let demand = Demand::read(asked, first.parse().unwrap(), "self".parse().unwrap()).unwrap();
    let placed = Placed {
        message: &message(place),
        at,
        salt: [7; 16],
    };
    let opening = demand.open(&placed, &terms, "the move", bundle.directory());
    let Opening::Ask(mut approval) = opening.unwrap() else {
        panic!("it takes three people");
    };
    for (who, seq) in voters {
        let vote = ApprovalVote {
            schema_version: 1,
            approval_id: approval.id().clone(),
            digest: approval.digest(),
            vote: VoteChoice::Approve,
            items: None,
            window: None,
            reason: None,
        };
        let ballot = Ballot {
            approver: &who.parse().unwrap(),
            via: &via,
            message: &message(seq),
            stored_at: at,
            vote: &vote,
            reason: None,
        };
        assert!(approval.vote(&ballot, bundle.directory()).changed, "{who}");
    }
    *approval
}

#[test]
fn a_window_that_people_granted_is_judged_again_by_the_rules_in_force() {
    let before = bundle();
    let granted = granted_window(&before, &["lee", "jo", "mara"]);
    assert!(!granted.window_to_judge_again(Some(before.digest())));
    let stopped = |bundle: &Bundle| {
        assert!(granted.window_to_judge_again(Some(bundle.digest())));
        let stop = granted.stop_of_window(bundle, bundle.directory());
        stop.map(|stop| (stop.code, stop.message))
    };
    let note = with_policies(&format!("{POLICIES}\n// another bundle\n"));
    assert_eq!(stopped(&note), None);
    let fewer = with_policies(&POLICIES.replace("leads:2 & money", "leads:1 & money"));
    assert_eq!(stopped(&fewer), None, "more people than it takes now");
    let mut files = files();
    let catalog = CATALOG.replace("Updates.", "Updates, also abroad.");
    files.insert("catalog/all.toml".to_owned(), catalog.into_bytes());
    let other_tool = Bundle::from_files(&files).unwrap();
    for (bundle, code, words) in [
        (
            with_policies(&POLICIES.replace("leads:2 & money", "leads:3 & money")),
            BlockedCode::PolicyDenied,
            "others than those who approved",
        ),
        (
            with_policies(&POLICIES.replace("@window(\"1h\")", "")),
            BlockedCode::PolicyDenied,
            "no rule about `contact.update`",
        ),
        (other_tool, BlockedCode::ToolChanged, "defined anew"),
    ] {
        let (stop, why) = stopped(&bundle).unwrap();
        assert_eq!(stop, code, "{why}");
        assert!(why.contains(words), "{why}");
    }
    let waits = granted_window(&before, &["lee", "jo"]);
    assert!(!waits.window_to_judge_again(None), "nobody has granted it");
}
