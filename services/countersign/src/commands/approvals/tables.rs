//! Several approvals, or what became of them, as a table.

use std::time::Duration;

use countersign_domain::approvals::{Listed, NoVote, Shown};
use countersign_schemas::events::{
    ApprovalItem, ApprovalKind, ApprovalRequested, ApprovalState, TeamQuorum, WindowAsked,
};
use countersign_schemas::{PersonId, Timestamp, ToolName};

use super::vote::Cast;
use crate::output::Output;

/// The table of what waits, as `me` reads it.
pub(super) fn list(
    approvals: &[Listed],
    more: usize,
    me: &PersonId,
    now: Timestamp,
    output: &Output,
) -> String {
    if approvals.is_empty() {
        return "nothing waits for people".to_owned();
    }
    let head = [
        "ID", "AGENT", "TOOL", "WHAT", "ASKED", "WAITING", "LEFT", "VOTE",
    ];
    let rows: Vec<_> = approvals
        .iter()
        .map(|listed| row(listed, me, now))
        .collect();
    let mut text = output.table(&head, &rows);
    if more > 0 {
        text.push_str(&format!("\nand {more} more"));
    }
    text
}

fn row(listed: &Listed, me: &PersonId, now: Timestamp) -> Vec<String> {
    let asked = &listed.asked;
    vec![
        asked.approval_id.to_string(),
        asked.agent.to_string(),
        tools(asked),
        what(asked),
        wanted(listed, now).1,
        span(now.since(asked.created_at)),
        span(asked.expires_at.since(now)),
        vote(listed, me).to_owned(),
    ]
}

/// Whose vote it waits for.
fn vote(listed: &Listed, me: &PersonId) -> &'static str {
    let voted = listed.votes.iter().any(|vote| vote.approver == *me);
    match (&listed.frozen, listed.no_vote) {
        (Some(_), _) => "frozen",
        (None, _) if voted => "you voted",
        (None, None) if listed.may_vote => "you",
        (None, Some(NoVote::Own)) => "others: it is yours",
        (None, Some(NoVote::NotYet)) => "others: you later",
        (None, Some(NoVote::NotAsked) | None) => "others",
    }
}

/// What is about to be read or decided, one line for each thing; nothing where there is
/// only one.
pub(super) fn overview(shown: &[&Shown], now: Timestamp, output: &Output) -> String {
    let rows: Vec<_> = shown.iter().flat_map(|one| things(one, now)).collect();
    if rows.len() < 2 {
        return String::new();
    }
    let head = [
        "ID", "AGENT", "FOR", "TOOL", "WHAT", "AMOUNT", "LEFT", "NEEDS",
    ];
    output.table(&head, &rows) + "\n\n"
}

/// What is asked for, then what was left out of it before anybody was asked.
fn things(shown: &Shown, now: Timestamp) -> Vec<Vec<String>> {
    let asked = &shown.listed.asked;
    let row = |tool: String, what: &str, amount: &str, left: &str, needs: String| {
        vec![
            asked.approval_id.to_string(),
            asked.agent.to_string(),
            asked.requester.id.to_string(),
            tool,
            what.to_owned(),
            amount.to_owned(),
            left.to_owned(),
            needs,
        ]
    };
    let (left, needs) = wanted(&shown.listed, now);
    if let Some(window) = window_of(asked) {
        let amount = window.limits.max_total.as_deref().unwrap_or_default();
        return vec![row(tools(asked), &what(asked), amount, &left, needs)];
    }
    let item = |item: &ApprovalItem| {
        let mut struck = shown.listed.struck.iter();
        let struck = struck.find(|one| one.intent_id == item.intent_id);
        let needs = struck.map_or_else(
            || needs.clone(),
            |one| format!("STRUCK OUT: {}", one.struck.reason),
        );
        let tool = format!("{} ({})", item.tool, item.operation);
        let amount = item.amount.as_deref().unwrap_or_default();
        row(tool, &item.summary, amount, &left, needs)
    };
    let left_out = shown.view.iter().flat_map(|view| &view.left_out);
    let left_out = left_out.map(|one| {
        let needs = format!("STRUCK OUT: {}", one.reason);
        row(one.tool.to_string(), &one.summary, "", "", needs)
    });
    asked.items.iter().map(item).chain(left_out).collect()
}

/// How long it waits, and for whom.
fn wanted(listed: &Listed, now: Timestamp) -> (String, String) {
    if listed.state != ApprovalState::Pending {
        return (String::new(), format!("nothing: {}", listed.state));
    }
    let left = span(listed.asked.expires_at.since(now));
    let mut needs = teams(&listed.asked.approvers);
    let votes = listed.votes.len();
    if votes > 0 {
        needs.push_str(&format!("; {votes} voted"));
    }
    if listed.frozen.is_some() {
        needs.push_str("; frozen");
    }
    (left, needs)
}

/// The window that it is about, if it is about one.
fn window_of(asked: &ApprovalRequested) -> Option<&WindowAsked> {
    let of_window = asked.kind == ApprovalKind::Window;
    asked.window.as_ref().filter(|_| of_window)
}

/// What became of each vote.
pub(super) fn results(cast: &[Cast], output: &Output) -> String {
    let rows: Vec<_> = cast
        .iter()
        .map(|cast| {
            vec![
                cast.approval_id.to_string(),
                cast.vote.to_string(),
                cast.code.clone(),
                cast.state
                    .map_or_else(|| "?".to_owned(), |state| state.to_string()),
                cast.message.clone(),
            ]
        })
        .collect();
    output.table(&["ID", "VOTE", "RESULT", "STATE", ""], &rows)
}

fn tools(asked: &ApprovalRequested) -> String {
    let mut tools: Vec<&str> = match window_of(asked) {
        Some(window) => window.tools.iter().map(ToolName::as_str).collect(),
        None => asked.items.iter().map(|item| item.tool.as_str()).collect(),
    };
    tools.dedup();
    tools.join(", ")
}

fn what(asked: &ApprovalRequested) -> String {
    if let Some(window) = window_of(asked) {
        let lasts = span(Duration::from_secs(window.limits.seconds));
        return format!("a window of {lasts}: {}", asked.purpose);
    }
    let items = &asked.items;
    let first = items.first();
    let summary = first.map(|item| item.summary.clone()).unwrap_or_default();
    match items.len().saturating_sub(1) {
        0 => summary,
        more => format!("{summary} (+{more})"),
    }
}

pub(super) fn teams(approvers: &[TeamQuorum]) -> String {
    let each = |team: &TeamQuorum| match team.quorum {
        1 => team.team.to_string(),
        quorum => format!("{}:{quorum}", team.team),
    };
    approvers.iter().map(each).collect::<Vec<_>>().join(" & ")
}

/// A span in its two largest units at most: `2d 3h`, `14m`, `8s`.
pub(in crate::commands) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, minutes) => format!("{minutes}m {rest}s"),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::client::golden;
    use countersign_schemas::events::{ApprovalResolved, VoteChoice};

    pub(in super::super) fn listed() -> Listed {
        Listed {
            asked: golden(),
            state: ApprovalState::Pending,
            votes: Vec::new(),
            resolution: None,
            may_vote: true,
            no_vote: None,
            frozen: None,
            struck: Vec::new(),
        }
    }

    pub(in super::super) fn now() -> Timestamp {
        "2026-11-22T10:14:31Z".parse().unwrap()
    }

    fn several() -> Listed {
        let mut listed = listed();
        let mut other = listed.asked.items[0].clone();
        other.tool = "billing.note".parse().unwrap();
        listed.asked.items.push(other);
        listed.asked.items[0].summary = "line\u{1b}[31m two".to_owned();
        listed.may_vote = false;
        listed.no_vote = Some(NoVote::NotAsked);
        listed
    }

    #[test]
    fn spans_are_short() {
        let table = [
            (8, "8s"),
            (61, "1m 1s"),
            (3_600 * 5 + 60, "5h 1m"),
            (90_000, "1d 1h"),
        ];
        for (seconds, text) in table {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_list_says_what_waits_and_how_long() {
        let approvals = [listed(), several()];
        let list = |approvals: &[Listed], more, output: &Output| {
            list(approvals, more, &"kim".parse().unwrap(), now(), output)
        };
        let plain = list(&approvals, 3, &Output::new(false));
        let framed = list(&approvals, 0, &Output::framed(120));
        insta::assert_snapshot!(format!("{plain}\n\n{framed}"));
        let none = list(&[], 0, &Output::new(false));
        assert_eq!(none, "nothing waits for people");
    }

    #[test]
    fn the_list_says_whose_vote_it_waits_for_and_why_not_yours() {
        let told: ApprovalResolved = golden();
        let voter = &told.votes[0].approver;
        let other = "somebody".parse().unwrap();
        let no = |why| Listed {
            may_vote: false,
            no_vote: Some(why),
            ..listed()
        };
        let voted = Listed {
            votes: told.votes.clone(),
            ..listed()
        };
        let frozen = Listed {
            frozen: Some("An operator froze all.".to_owned()),
            ..voted.clone()
        };
        for (listed, me, word) in [
            (&listed(), voter, "you"),
            (&voted, voter, "you voted"),
            (&voted, &other, "you"),
            (&no(NoVote::Own), voter, "others: it is yours"),
            (&no(NoVote::NotYet), voter, "others: you later"),
            (&no(NoVote::NotAsked), voter, "others"),
            (&frozen, voter, "frozen"),
        ] {
            assert_eq!(vote(listed, me), word);
        }
        let needs = wanted(&frozen, now()).1;
        assert!(needs.ends_with("voted; frozen"), "{needs}");
    }

    #[test]
    fn what_is_about_to_be_decided_and_what_became_of_it() {
        let shown = Shown {
            listed: several(),
            view: None,
            digest: listed().asked.digest,
        };
        let over = Shown {
            listed: Listed {
                state: ApprovalState::Denied,
                ..listed()
            },
            ..shown.clone()
        };
        let output = Output::framed(140);
        let cast = |code: &str, state, message: &str| Cast {
            approval_id: listed().asked.approval_id,
            vote: VoteChoice::Approve,
            counted: code == "counted",
            code: code.to_owned(),
            message: message.to_owned(),
            state,
            failed: None,
        };
        let cast = [
            cast(
                "counted",
                Some(ApprovalState::Approved),
                "counted; it is approved",
            ),
            cast("not_found", None, "there is no such approval"),
        ];
        let text = format!(
            "{}\n\n{}",
            overview(&[&shown, &over], now(), &output),
            results(&cast, &output)
        );
        assert!(!text.contains('\u{1b}'), "{text:?}");
        insta::assert_snapshot!(text);
    }
}
