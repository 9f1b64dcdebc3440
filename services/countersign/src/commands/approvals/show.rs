//! One approval as a person reads it: everything that its digest covers.

use std::time::Duration;

use countersign_domain::approvals::{ApprovalView, Shown};
use countersign_schemas::Timestamp;
use countersign_schemas::events::{ApprovalItem, ApprovalKind, ApprovalState, CountedVote};
use serde_json::Value;

use super::fields::{Fields, indented};
use super::tables::{span, teams};
use crate::output::{fold, pairs};

/// One approval, everything that the person may see, folded at `columns`.
pub(super) fn one(shown: &Shown, now: Timestamp, columns: Option<usize>) -> String {
    let mut text = match &shown.view {
        Some(view) => seen(view, shown, now),
        None => unseen(shown, now),
    };
    text.push_str(&format!("\ndigest: {}\n", shown.digest));
    match columns {
        Some(columns) => fold(&text, columns),
        None => text,
    }
}

/// How it stands; a freeze stands beside that, since it ends without a trace here.
fn state(shown: &Shown) -> String {
    let state = shown.listed.state;
    match &shown.listed.frozen {
        Some(frozen) => format!("{state}, and frozen: no vote is counted. {frozen}"),
        None => state.to_string(),
    }
}

/// What only members of the teams asked see. The digest covers all of it, so all of it is
/// printed: what has no line of its own here stands at the end.
fn seen(view: &ApprovalView, shown: &Shown, now: Timestamp) -> String {
    let mut fields = Fields::of(view);
    // Not for people: it keeps values from being guessed from the digest.
    drop(fields.take("salt"));
    let mut lines = vec![
        ("approval", fields.text("approval_id")),
        ("about", fields.text("kind")),
        ("state", state(shown)),
        ("agent", fields.text("agent")),
        ("requester", requester(&mut fields)),
        ("purpose", fields.text("purpose")),
        ("session", fields.text("session_id")),
        ("asked", quorums(&mut fields)),
        ("in a chat", chat(&mut fields).to_owned()),
        ("since", fields.text("created_at")),
        ("expires", expiry(&fields.text("expires_at"), shown, now)),
        ("policy", fields.text("policy_digest")),
    ];
    lines.extend(window(&mut fields));
    lines.extend(with_a_window(&mut fields, shown));
    lines.extend(silence(&mut fields));
    lines.extend(
        fields
            .list("reasons")
            .into_iter()
            .map(|one| ("why", reason(one))),
    );
    lines.extend(
        fields
            .list("guardrails")
            .into_iter()
            .map(|one| ("checked", found(one))),
    );
    lines.extend(votes(shown));
    let mut text = pairs(&lines);
    let items = fields.list("items");
    let count = items.len();
    for (index, item) in items.into_iter().enumerate() {
        text.push_str(&seen_item(item, index, count));
    }
    text.extend(fields.list("left_out").into_iter().map(struck_out));
    let rest = fields.rest();
    if !rest.is_empty() {
        text.push('\n');
        text.push_str(&rest);
    }
    text
}

fn seen_item(mut item: Fields, index: usize, count: usize) -> String {
    let place = match count {
        1 => String::new(),
        _ => format!("{} of {count}: ", index + 1),
    };
    let (tool, operation) = (item.text("tool"), item.text("operation"));
    let lines = [
        ("intent", item.text("intent_id")),
        ("what", item.text("summary")),
        ("amount", item.text("amount")),
        ("exact input", item.text("input_digest")),
    ];
    let input = item.take("input_shown").unwrap_or_default();
    let changes = item.list("changes");
    let mut text = format!(
        "\n{place}{tool} ({operation})\n{}input:\n{}\n",
        pairs(&lines),
        indented(&input)
    );
    text.extend(
        changes
            .into_iter()
            .map(|one| format!("  {}\n", change(one))),
    );
    text.push_str(&item.rest());
    text
}

/// An item of a bundle that will not run, whatever is decided.
fn struck_out(mut item: Fields) -> String {
    let (index, tool, code) = (item.text("index"), item.text("tool"), item.text("code"));
    let lines = [
        ("intent", item.text("intent_id")),
        ("what", item.text("summary")),
        ("why not", item.text("reason")),
        ("exact input", item.text("input_digest")),
    ];
    let lines = pairs(&lines);
    format!(
        "\nSTRUCK OUT, place {index}: {tool} ({code})\n{lines}{}",
        item.rest()
    )
}

fn requester(fields: &mut Fields) -> String {
    let mut requester = Fields::from(fields.take("requester").unwrap_or_default());
    let (id, note) = (requester.text("id"), fields.text("requester_note"));
    // What the note says in words.
    let verified = requester.take("verified") == Some(Value::Bool(true));
    match verified == note.starts_with("proved") {
        true => format!("{id} ({note})"),
        false => format!("{id} ({note}; verified: {verified})"),
    }
}

fn quorums(fields: &mut Fields) -> String {
    let each = |mut entry: Fields| {
        let (team, quorum) = (entry.text("team"), entry.text("quorum"));
        match quorum.as_str() {
            "1" => team,
            _ => format!("{team}:{quorum}"),
        }
    };
    let all: Vec<String> = fields.list("approvers").into_iter().map(each).collect();
    all.join(" & ")
}

fn chat(fields: &mut Fields) -> &'static str {
    match fields.take("chat_may_approve") {
        Some(Value::Bool(true)) => "may be decided",
        _ => "may not be decided",
    }
}

fn expiry(at: &str, shown: &Shown, now: Timestamp) -> String {
    let left = span(shown.listed.asked.expires_at.since(now));
    format!("{at} (in {left})")
}

/// `message [code, rule]`.
fn reason(mut reason: Fields) -> String {
    let (message, code) = (reason.text("message"), reason.text("code"));
    let rule = reason.text("policy_id");
    let mark = match rule.as_str() {
        "" => format!("[{code}]"),
        rule => format!("[{code}, rule {rule}]"),
    };
    with_rest(format!("{message} {mark}"), reason)
}

fn found(mut result: Fields) -> String {
    let text = format!(
        "{}: {}: {}",
        result.text("name"),
        result.text("result"),
        result.text("message")
    );
    with_rest(text, result)
}

fn change(mut change: Fields) -> String {
    let mut value = |name: &str| match change.take(name) {
        Some(Value::String(text)) => text,
        _ => "?".to_owned(),
    };
    let (before, after) = (value("before"), value("after"));
    let (resource, field) = (change.text("resource"), change.text("field"));
    with_rest(format!("{resource} {field}: {before} → {after}"), change)
}

fn with_rest(text: String, fields: Fields) -> String {
    match fields.inline().as_str() {
        "" => text,
        rest => format!("{text} ({rest})"),
    }
}

fn votes(shown: &Shown) -> Vec<(&'static str, String)> {
    let listed = &shown.listed;
    let vote = |vote: &CountedVote| {
        let words = vote.reason.as_deref().unwrap_or_default();
        let text = format!("{} {} at {} {words}", voter(vote), vote.vote, vote.at);
        ("vote", text)
    };
    let end = listed.resolution.as_ref();
    let end = end.map(|end| ("ended", format!("{} at {}", end.message, end.at)));
    let struck = listed.struck.iter().map(|item| {
        let (intent, struck) = (item.intent_id, &item.struck);
        (
            "taken out",
            format!("{intent} at {}: {}", struck.at, struck.reason),
        )
    });
    let votes = listed.votes.iter().map(vote);
    votes.chain(struck).chain(end).collect()
}

/// Who voted, and in whose place.
fn voter(vote: &CountedVote) -> String {
    match &vote.on_behalf_of {
        Some(person) => format!("{} for {person}", vote.approver),
        None => vote.approver.to_string(),
    }
}

/// How far a window would go that people are asked for.
fn window(fields: &mut Fields) -> Vec<(&'static str, String)> {
    let Some(asked) = fields.take("window") else {
        return Vec::new();
    };
    let mut asked = Fields::from(asked);
    let mut limits = Fields::from(asked.take("limits").unwrap_or_default());
    let seconds = limits.take("seconds").and_then(|value| value.as_u64());
    let lasts = span(Duration::from_secs(seconds.unwrap_or_default()));
    let uses = limits.text("max_uses");
    let total = match limits.text("max_total").as_str() {
        "" => "no limit".to_owned(),
        total => format!("at most {total} together"),
    };
    let same_input = limits.take("same_input_only") == Some(Value::Bool(true));
    let mut lines = vec![
        ("window for", asked.words("tools")),
        (
            "lasts",
            with_rest(format!("{lasts} from the approval on"), limits),
        ),
        ("uses", format!("at most {uses}")),
        ("total", total),
        ("may change", asked.words("fields")),
    ];
    let mut only = Fields::from(asked.take("requester").unwrap_or_default());
    let for_whom = match only.text("id").as_str() {
        "" => "anybody".to_owned(),
        id => with_rest(id.to_owned(), only),
    };
    lines.push(("on behalf of", for_whom));
    if same_input {
        lines.push(("input", "only exactly the same".to_owned()));
    }
    let rest = asked.inline();
    if !rest.is_empty() {
        lines.push(("also", rest));
    }
    lines
}

/// That a window may be opened with a yes, and how.
fn with_a_window(fields: &mut Fields, shown: &Shown) -> Option<(&'static str, String)> {
    let most = fields.take("window_max_s")?.as_u64()?;
    let (most, id) = (
        span(Duration::from_secs(most)),
        &shown.listed.asked.approval_id,
    );
    let text = format!(
        "a yes may open one of {most} at most: countersign window open --with {id} --for TIME"
    );
    Some(("window", text))
}

/// What comes if nobody decides, and which hours count.
fn silence(fields: &mut Fields) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for mut step in fields.list("escalation") {
        let (at, team) = (step.text("at"), step.text("team"));
        let text = format!("at {at} {team} may answer for {}", step.words("instead_of"));
        lines.push(("then", with_rest(text, step)));
    }
    let hours = fields.words("business_hours");
    lines.push(("reminders", fields.words("reminders")));
    if !hours.is_empty() {
        let text = format!("only open hours of {hours} were counted");
        lines.push(("hours", text));
    }
    lines
}

/// What anybody sees who may ask.
fn unseen(shown: &Shown, now: Timestamp) -> String {
    let asked = &shown.listed.asked;
    let note = match asked.requester.verified {
        true => "proved by a mandate",
        false => "claimed, not proved",
    };
    let mut lines = vec![
        ("approval", asked.approval_id.to_string()),
        ("about", asked.kind.to_string()),
        ("state", state(shown)),
        ("agent", asked.agent.to_string()),
        ("requester", format!("{} ({note})", asked.requester.id)),
        ("purpose", asked.purpose.clone()),
        ("asked", teams(&asked.approvers)),
        ("since", asked.created_at.to_string()),
        ("expires", expiry(&asked.expires_at.to_string(), shown, now)),
    ];
    if asked.kind == ApprovalKind::Window {
        lines.extend(window(&mut Fields::of(asked)));
    }
    lines.extend(silence(&mut Fields::of(asked)));
    lines.extend(asked.reasons.iter().map(|one| ("why", one.message.clone())));
    lines.extend(votes(shown));
    let mut text = pairs(&lines);
    text.extend(asked.items.iter().map(unseen_item));
    if shown.listed.state == ApprovalState::Pending && asked.kind != ApprovalKind::Window {
        text.push_str("\nThis is not all: only members of the teams asked see the input.\n");
    }
    text
}

fn unseen_item(item: &ApprovalItem) -> String {
    let input = Value::Object(item.input_redacted.0.clone());
    format!(
        "\n{} ({})\n{}input, redacted:\n{}\n",
        item.tool,
        item.operation,
        pairs(&[
            ("intent", item.intent_id.to_string()),
            ("what", item.summary.clone())
        ]),
        indented(&input)
    )
}

#[cfg(test)]
#[path = "show/tests.rs"]
pub(super) mod tests;
