//! Asks that nobody answers: what policies say of reminders, further teams and open hours.

use countersign_schemas::events::{ApprovalVote, Ask, EscalationStep, VoteChoice};
use countersign_schemas::{SeqToken, TeamId, Timestamp};
use serde_json::json;

use super::support::*;
use crate::approvals::{Approval, Ballot, VoteCode};
use crate::mandate::Issuers;
use crate::policy::{Bundle, LintLevel, LintLimits, lint};

/// The ask of one update, judged at `at` by a bundle whose first rule is `mine`.
fn asked_at(mine: &str, also: &str, at: &str) -> Ask {
    let mut files = files();
    let mut entities = entities();
    entities["teams"]["board"] = json!({});
    entities["people"]["pat"] = json!({"teams": ["board"]});
    entities["calendars"] = json!({
        "office": {"zone": "Europe/Berlin", "open": ["mon-fri 09:00-17:00"]},
    });
    files.insert("entities.json".to_owned(), entities.to_string().into());
    let rule = |id: &str, annotations: &str| {
        format!(
            "@id(\"{id}\") @because(\"why\") {annotations} forbid(principal, action == \
             Action::\"contact.update\", resource);\n"
        )
    };
    let text = format!(
        "@id(\"work\") permit(principal in Role::\"worker\", action, resource);\n{}{}",
        rule("mine", mine),
        if also.is_empty() {
            String::new()
        } else {
            rule("also", also)
        },
    );
    files.insert("policies/all.cedar".to_owned(), text.into());
    let bundle = Bundle::from_files(&files).unwrap_or_else(|errors| panic!("{errors}"));
    let request = request("contact.update", json!({"id": "c", "limit": 5}));
    let issuers = Issuers::default();
    let checked = judge_at(&bundle, "bot", &request, &issuers, at.parse().unwrap());
    checked.ask.unwrap()
}

/// `after team<asked` of each step.
fn steps(ask: &Ask) -> Vec<String> {
    let word = |step: &EscalationStep| {
        let for_whom: Vec<&str> = step.instead_of.iter().map(TeamId::as_str).collect();
        format!("{} {}<{}", step.after_s, step.team, for_whom.join("+"))
    };
    ask.escalation.iter().map(word).collect()
}

const MONDAY: &str = "2026-11-23T09:00:00Z";

#[test]
fn what_comes_while_nobody_answers_stands_in_the_verdict() {
    let mine = r#"@ask("leads & money") @expires("2h") @remind("30m") @escalate("1h: board")"#;
    let ask = asked_at(mine, "", MONDAY);
    assert_eq!(ask.remind_after_s, [1_800, 3_600, 5_400]);
    assert_eq!(steps(&ask), ["3600 board<leads+money"]);
    assert!(ask.business_hours.is_empty());
}

#[test]
fn several_asks_keep_the_earliest_reminder_and_nobody_stands_in_for_whom_one_did_not_say() {
    let mine = r#"@ask("leads & money") @expires("2h") @remind("30m") @escalate("1h: board")"#;
    let also = r#"@ask("money") @expires("90m") @remind("20m")"#;
    let ask = asked_at(mine, also, MONDAY);
    assert_eq!((ask.expires_in_s, ask.remind_after_s[0]), (5_400, 1_200));
    assert_eq!(steps(&ask), ["3600 board<leads"]);
    let shorter = r#"@ask("money") @expires("30m")"#;
    let ask = asked_at(mine, shorter, MONDAY);
    assert_eq!(
        steps(&ask),
        [""; 0],
        "the board would be asked after the end"
    );
    assert_eq!(ask.remind_after_s, [0_u64; 0]);
}

#[test]
fn open_hours_become_times_of_the_clock_and_the_shorter_ask_counts() {
    let mine =
        r#"@ask("money") @expires("4h") @remind("1h") @escalate("2h: board") @hours("office")"#;
    // Monday 16:00 in Berlin: one hour is left, the next three are on Tuesday.
    let ask = asked_at(mine, "", "2026-11-23T15:00:00Z");
    let over_night = 16 * 3_600;
    assert_eq!(ask.expires_in_s, 4 * 3_600 + over_night);
    assert_eq!(ask.remind_after_s[..2], [3_600, 2 * 3_600 + over_night]);
    assert_eq!(
        steps(&ask),
        [format!("{} board<money", 2 * 3_600 + over_night)]
    );
    assert_eq!(ask.business_hours, ["office"]);
    let both = asked_at(
        mine,
        r#"@ask("money") @expires("30m")"#,
        "2026-11-23T15:00:00Z",
    );
    assert_eq!(both.expires_in_s, 1_800);
    // Saturday, with as many open hours as there are: never longer than an input is kept.
    let long = r#"@ask("money") @expires("6d") @hours("office")"#;
    assert_eq!(
        asked_at(long, "", "2026-11-28T15:00:00Z").expires_in_s,
        6 * 86_400
    );
}

/// What comes of a vote of `who` on what `agent` asks, in the name of `named`.
fn voted(agent: &str, named: &str, who: &str) -> (VoteCode, bool, u32) {
    let bundle = with_policies(
        "@id(\"work\") permit(principal in Role::\"worker\", action, resource);\n@id(\"ask\") \
         @because(\"why\") @ask(\"leads\") forbid(principal, action, resource);",
    );
    let mut request = request("doc.read", json!({"id": "x"}));
    request.requester.id = named.parse().unwrap();
    let checked = judge_request(&bundle, agent, &request);
    let asked_at = Timestamp::EPOCH;
    let mut approval = Approval::open(&checked, asked_at).unwrap();
    assert_eq!(approval.view().requester_note, "claimed, not proved");
    let vote = ApprovalVote {
        schema_version: 1,
        approval_id: approval.id().clone(),
        digest: approval.digest(),
        vote: VoteChoice::Approve,
        items: None,
        window: None,
        reason: None,
    };
    let (approver, via) = (who.parse().unwrap(), "self".parse().unwrap());
    let message = SeqToken::new("abc".parse().unwrap(), 1);
    let ballot = Ballot {
        approver: &approver,
        via: &via,
        message: &message,
        stored_at: asked_at,
        vote: &vote,
        reason: None,
    };
    let code = approval.vote(&ballot, bundle.directory()).code;
    (
        code,
        approval.is_pending(),
        approval.ask().approvers[0].quorum,
    )
}

#[test]
fn whomever_an_agent_names_nobody_who_may_be_behind_it_decides() {
    use VoteCode::{Counted, Excluded, NotAMember};
    // Jo uses the bot and is of the leads; Kim owns it; Lee and Mara are of the leads.
    for (agent, named, who, expected) in [
        ("bot", "jo", "jo", (Excluded, true, 1)),
        ("bot", "lee", "jo", (Excluded, true, 1)),
        ("bot", "lee", "lee", (Excluded, true, 1)),
        ("bot", "someone@home.example", "jo", (Excluded, true, 1)),
        ("bot", "lee", "mara", (Counted, false, 1)),
        ("bot", "lee", "kim", (NotAMember, true, 1)),
        // Nobody is known to stand behind it, so one more must agree.
        ("orphan", "someone@home.example", "jo", (Counted, true, 2)),
        ("orphan", "lee", "lee", (Excluded, true, 2)),
    ] {
        assert_eq!(
            voted(agent, named, who),
            expected,
            "{agent} for {named}, {who}"
        );
    }
}

/// What is wrong with a bundle whose only ask has `annotations`.
fn faults(annotations: &str) -> Vec<String> {
    let mut files = files();
    let text = format!(
        "@id(\"ask\") @because(\"why\") {annotations} forbid(principal, action, resource);"
    );
    files.insert("policies/all.cedar".to_owned(), text.into());
    let errors = Bundle::from_files(&files).unwrap_err();
    errors.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn teams_and_calendars_that_do_not_exist_are_faults_of_the_bundle() {
    for (annotations, told) in [
        (
            r#"@ask("leads") @escalate("1h: nobody")"#,
            "`nobody` is not in entities.json",
        ),
        (
            r#"@ask("leads") @escalate("1h: help")"#,
            "team `help` has 0 member(s)",
        ),
        (
            r#"@ask("leads") @hours("office")"#,
            "calendar `office` is not in entities.json",
        ),
        (r#"@ask("leads") @escalate("1h: leads")"#, "`@escalate`"),
        (r#"@ask("leads") @remind("7d")"#, "`@remind`"),
    ] {
        let all = faults(annotations);
        assert!(all.len() == 1 && all[0].contains(told), "{all:?}");
        assert!(all[0].starts_with("policies/all.cedar:1: "), "{all:?}");
    }
}

/// What lint says of a bundle with this ask and this delegation.
fn linted(annotations: &str, until: &str) -> Vec<(LintLevel, &'static str, Option<usize>)> {
    let mut files = files();
    let mut entities = entities();
    entities["people"]["lee"]["delegates"] =
        json!([{"to": "kim", "from": "2026-12-01", "until": until}]);
    files.insert("entities.json".to_owned(), entities.to_string().into());
    let text = format!(
        "@id(\"work\") permit(principal in Role::\"worker\", action == Action::\"doc.read\", \
         resource);\n\n@id(\"ask\") @because(\"why\") {annotations} forbid(principal, action == \
         Action::\"doc.read\", resource);"
    );
    files.insert("policies/all.cedar".to_owned(), text.into());
    let bundle = Bundle::from_files(&files).unwrap_or_else(|errors| panic!("{errors}"));
    let found = lint(&bundle, &LintLimits::default());
    let mine = found
        .into_iter()
        .filter(|one| ["too_late", "retention", "delegation"].contains(&one.check));
    mine.map(|one| (one.level, one.check, one.line)).collect()
}

#[test]
fn lint_refuses_what_comes_after_the_end_and_points_out_long_absences() {
    let late = (LintLevel::Refused, "too_late", Some(3));
    let fine = r#"@ask("leads") @expires("2h") @remind("1h") @escalate("119m: money")"#;
    assert_eq!(linted(fine, "2027-02-27"), []);
    let chain = r#"@ask("leads") @expires("2h") @escalate("2h: money")"#;
    assert_eq!(linted(chain, "2026-12-02"), [late]);
    assert_eq!(
        linted(r#"@ask("leads") @remind("1h")"#, "2026-12-02"),
        [late]
    );
    let away = (LintLevel::PointedOut, "delegation", Some(1));
    assert_eq!(linted(fine, "2027-02-28"), []);
    assert_eq!(linted(fine, "2027-03-01"), [away]);
}
