//! Approvals as people read them.

use std::time::Duration;

use countersign_domain::approvals::{ApprovalView, Listed, Shown, visible};
use countersign_schemas::events::{ApprovalItem, ApprovalRequested, CountedVote, TeamQuorum};
use countersign_schemas::{TeamId, Timestamp};

use super::vote::Cast;
use crate::output::{Output, pairs};

/// The table of what waits.
pub(super) fn list(approvals: &[Listed], more: usize, now: Timestamp, output: &Output) -> String {
    if approvals.is_empty() {
        return "nothing waits for people".to_owned();
    }
    let head = [
        "ID", "AGENT", "TOOL", "WHAT", "ASKED", "WAITING", "LEFT", "VOTE",
    ];
    let rows: Vec<_> = approvals.iter().map(|listed| row(listed, now)).collect();
    let mut text = output.table(&head, &rows);
    if more > 0 {
        text.push_str(&format!("\nand {more} more"));
    }
    text
}

fn row(listed: &Listed, now: Timestamp) -> Vec<String> {
    let asked = &listed.asked;
    let first = asked.items.first();
    let more = asked.items.len().saturating_sub(1);
    let summary = first.map(|item| item.summary.clone()).unwrap_or_default();
    vec![
        asked.approval_id.to_string(),
        asked.agent.to_string(),
        first.map(|item| item.tool.to_string()).unwrap_or_default(),
        match more {
            0 => summary,
            more => format!("{summary} (+{more})"),
        },
        teams(&asked.approvers),
        span(now.since(asked.created_at)),
        span(asked.expires_at.since(now)),
        if listed.may_vote { "you" } else { "others" }.to_owned(),
    ]
}

/// What comes if nobody decides, and which hours count.
fn silence(asked: &ApprovalRequested) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for step in &asked.escalation {
        let teams: Vec<&str> = step.instead_of.iter().map(TeamId::as_str).collect();
        let teams = teams.join(" and ");
        let text = format!("at {} {} may answer for {teams}", step.at, step.team);
        lines.push(("then", text));
    }
    let reminders: Vec<String> = asked.reminders.iter().map(ToString::to_string).collect();
    if !reminders.is_empty() {
        lines.push(("reminders", reminders.join(", ")));
    }
    if !asked.business_hours.is_empty() {
        let names = asked.business_hours.join(", ");
        lines.push(("hours", format!("only open hours of {names} were counted")));
    }
    lines
}

/// Who voted, and in whose place.
fn voter(vote: &CountedVote) -> String {
    match &vote.on_behalf_of {
        Some(person) => format!("{} for {person}", vote.approver),
        None => vote.approver.to_string(),
    }
}

/// One approval, everything that the person may see.
pub(super) fn one(shown: &Shown, now: Timestamp) -> String {
    let listed = &shown.listed;
    let asked = &listed.asked;
    let mut lines = vec![
        ("approval", asked.approval_id.to_string()),
        ("state", listed.state.to_string()),
        ("agent", asked.agent.to_string()),
        ("requester", requester(shown)),
        ("purpose", asked.purpose.clone()),
        ("asked", teams(&asked.approvers)),
        (
            "expires",
            format!(
                "{} (in {})",
                asked.expires_at,
                span(asked.expires_at.since(now))
            ),
        ),
    ];
    lines.extend(silence(asked));
    let why = asked
        .reasons
        .iter()
        .map(|reason| ("why", reason.message.clone()));
    lines.extend(why);
    lines.extend(listed.votes.iter().map(|vote| {
        let words = vote.reason.as_deref().unwrap_or_default();
        (
            "vote",
            format!("{} {} at {} {words}", voter(vote), vote.vote, vote.at),
        )
    }));
    let mut text = pairs(&lines);
    match &shown.view {
        Some(view) => text.push_str(&seen(view)),
        None => text.extend(asked.items.iter().map(unseen)),
    }
    text.push_str(&format!("\ndigest: {}\n", shown.digest));
    text
}

fn requester(shown: &Shown) -> String {
    let requester = &shown.listed.asked.requester;
    let note = match requester.verified {
        true => "proved by a mandate",
        false => "claimed, not proved",
    };
    format!("{} ({note})", requester.id)
}

/// What only members of the teams asked see. The digest covers all of it.
fn seen(view: &ApprovalView) -> String {
    let mut text = String::new();
    for item in &view.items {
        text.push_str(&format!(
            "\n{} ({})\n{}input:\n{}\n",
            item.tool,
            item.operation,
            pairs(&[
                ("intent", item.intent_id.to_string()),
                ("what", item.summary.clone()),
                ("amount", item.amount.clone().unwrap_or_default()),
            ]),
            indented(&item.input_shown),
        ));
        text.extend(item.changes.iter().map(|change| {
            let value = |text: &Option<String>| visible(text.as_deref().unwrap_or("?"));
            let (before, after) = (value(&change.before), value(&change.after));
            format!(
                "  {} {}: {before} → {after}\n",
                change.resource, change.field
            )
        }));
    }
    text.extend(view.guardrails.iter().map(|guardrail| {
        format!(
            "{}: {} {}\n",
            guardrail.name,
            guardrail.result,
            visible(&guardrail.message)
        )
    }));
    text
}

fn unseen(item: &ApprovalItem) -> String {
    format!(
        "\n{} ({})\n{}input, redacted:\n{}\n",
        item.tool,
        item.operation,
        pairs(&[("what", item.summary.clone())]),
        indented(&item.input_redacted)
    )
}

fn indented(input: &countersign_schemas::JsonObject) -> String {
    let text = serde_json::to_string_pretty(&input.0).unwrap_or_default();
    let lines = text.lines().map(|line| format!("  {}", visible(line)));
    lines.collect::<Vec<_>>().join("\n")
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
                cast.state.to_string(),
                cast.message.clone(),
            ]
        })
        .collect();
    output.table(&["ID", "VOTE", "RESULT", "STATE", ""], &rows)
}

fn teams(approvers: &[TeamQuorum]) -> String {
    let each = |team: &TeamQuorum| match team.quorum {
        1 => team.team.to_string(),
        quorum => format!("{}:{quorum}", team.team),
    };
    approvers.iter().map(each).collect::<Vec<_>>().join(" & ")
}

/// A span in its two largest units at most: `2d 3h`, `14m`, `8s`.
fn span(span: Duration) -> String {
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
mod tests {
    use super::*;
    use serde_json::json;

    fn golden<E: countersign_schemas::Event>() -> E {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/golden");
        let file = format!("{folder}/{}/v1.json", E::NAME);
        countersign_schemas::codec::decode(&std::fs::read(file).unwrap()).unwrap()
    }

    fn listed() -> Listed {
        Listed {
            asked: golden(),
            state: countersign_schemas::events::ApprovalState::Pending,
            votes: Vec::new(),
            resolution: None,
            may_vote: true,
        }
    }

    fn now() -> Timestamp {
        "2026-11-22T10:14:31Z".parse().unwrap()
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
        let output = Output::new(false);
        let text = list(&[listed()], 3, now(), &output);
        insta::assert_snapshot!(text);
        assert_eq!(list(&[], 0, now(), &output), "nothing waits for people");
    }

    #[test]
    fn one_approval_is_told_whole_and_harmless() {
        let mut view = json!({
            "approval_id": "a-019aab6e-5c00-7a10-8000-00000000c0de",
            "kind": "action",
            "items": [{
                "intent_id": "019aab6e-5c00-7a10-8000-00000000c0de",
                "tool": "billing.refund", "operation": "update",
                "summary": "Refund 120.50 EUR on invoice I-2231.",
                "input_shown": {"amount": "120.50", "note": "\u{202e}evil"},
                "input_digest": format!("sha256:{}", "0".repeat(64)),
                "amount": "120.50",
                "changes": [{"resource": "invoice/I-2231", "field": "status", "after": "refunded"}],
            }],
            "agent": "billing", "requester": {"id": "maria@example.com", "verified": false},
            "requester_note": "claimed, not proved", "purpose": "Charged twice.",
            "reasons": [], "guardrails": [
                {"name": "invoice_total", "result": "pass", "message": "The lines add up."},
            ],
            "approvers": [{"team": "finance", "quorum": 2}], "chat_may_approve": false,
            "created_at": "2026-11-22T10:00:01Z", "expires_at": "2026-11-22T10:30:01Z",
            "policy_digest": format!("sha256:{}", "0".repeat(64)), "salt": "c2FsdA",
        });
        let shown = Shown {
            listed: listed(),
            view: Some(serde_json::from_value(view.take()).unwrap()),
            digest: golden::<countersign_schemas::events::ApprovalRequested>().digest,
        };
        let text = one(&shown, now());
        assert!(!text.contains('\u{202e}'), "{text:?}");
        insta::assert_snapshot!(text);
        let outsider = Shown {
            view: None,
            ..shown
        };
        let text = one(&outsider, now());
        assert!(
            text.contains("redacted") && !text.contains("evil"),
            "{text}"
        );
    }
}
