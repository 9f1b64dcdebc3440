//! What is shown is all that is voted on.

use serde_json::json;

use super::super::tables::tests::{listed, now};
use super::*;

pub(in super::super) fn view() -> Value {
    json!({
        "approval_id": "a-019aab6e-5c00-7a10-8000-00000000c0de",
        "kind": "action",
        "items": [{
            "intent_id": "019aab6e-5c00-7a10-8000-00000000c0de",
            "tool": "billing.refund", "operation": "update",
            "summary": "Refund 120.50 EUR on invoice I-2231.",
            "input_shown": {"amount": "120.50", "note": "\u{202e}evil", "lines": [{"n": 1}]},
            "input_digest": format!("sha256:{}", "0".repeat(64)),
            "amount": "120.50",
            "changes": [{"resource": "invoice/I-2231", "field": "status", "before": "open",
                "after": "refunded"}],
        }],
        "agent": "billing", "requester": {"id": "maria@example.com", "verified": false},
        "requester_note": "claimed, not proved", "purpose": "Charged twice.",
        "session_id": "s-7",
        "reasons": [{"code": "policy_denied", "message": "Refunds need finance.",
            "policy_id": "refund-limit"}],
        "guardrails": [
            {"name": "invoice_total", "result": "pass", "message": "The lines add up."},
        ],
        "approvers": [{"team": "finance", "quorum": 2}], "chat_may_approve": false,
        "created_at": "2026-11-22T10:00:01Z", "expires_at": "2026-11-22T10:30:01Z",
        "escalation": [{"at": "2026-11-22T10:20:00Z", "team": "board",
            "instead_of": ["finance"]}],
        "reminders": ["2026-11-22T10:10:00Z"], "business_hours": ["office"],
        "policy_digest": format!("sha256:{}", "0".repeat(64)), "salt": "c2FsdA",
    })
}

pub(in super::super) fn shown(view: Option<Value>) -> Shown {
    Shown {
        listed: listed(),
        view: view.map(|view| serde_json::from_value(view).unwrap()),
        digest: crate::client::golden::<countersign_schemas::events::ApprovalRequested>().digest,
    }
}

#[test]
fn one_approval_is_told_whole_and_harmless() {
    let text = one(&shown(Some(view())), now(), None);
    assert!(!text.contains('\u{202e}'), "{text:?}");
    insta::assert_snapshot!(text);
    let text = one(&shown(None), now(), None);
    assert!(
        text.contains("redacted") && !text.contains("evil"),
        "{text}"
    );
    assert!(text.contains("This is not all"), "{text}");
}

#[test]
fn a_freeze_stands_beside_the_state() {
    let mut frozen = shown(Some(view()));
    frozen.listed.frozen = Some("An operator froze all at 10:05.".to_owned());
    for view in [frozen.view.take(), None] {
        frozen.view = view;
        let text = one(&frozen, now(), None);
        let state = "pending, and frozen: no vote is counted. An operator froze all at 10:05.";
        assert!(text.contains(state), "{text}");
    }
}

#[test]
fn several_items_are_told_one_by_one() {
    let mut several = view();
    let item = several["items"][0].clone();
    several["items"] = json!([item, item, item]);
    let text = one(&shown(Some(several)), now(), None);
    for place in ["\n1 of 3: billing.refund (update)", "\n3 of 3: billing"] {
        assert!(text.contains(place), "{text}");
    }
}

#[test]
fn what_is_struck_out_of_a_bundle_is_told_with_its_reason() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let mut bundle = view();
    bundle["kind"] = json!("bundle");
    bundle["left_out"] = json!([{
        "index": 1, "intent_id": "019aab6e-5c00-7a10-8000-00000000c0df", "tool": "crm.erase",
        "requester": {"id": "maria", "verified": false}, "summary": "Erase a contact.",
        "input_digest": digest, "code": "policy_denied", "reason": "Nobody may erase.",
    }]);
    let mut shown = shown(Some(bundle));
    let struck = json!({
        "intent_id": "019aab6e-5c00-7a10-8000-00000000c0de", "code": "withdrawn",
        "reason": "billing withdrew it", "at": "2026-11-22T10:03:00Z",
    });
    shown.listed.struck = vec![serde_json::from_value(struck).unwrap()];
    let text = one(&shown, now(), None);
    for line in [
        "STRUCK OUT, place 1: crm.erase (policy_denied)",
        "Nobody may erase.",
        "019aab6e-5c00-7a10-8000-00000000c0de at 2026-11-22T10:03:00Z: billing withdrew it",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

/// Every place in a value where something else could stand.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                leaves(value, &format!("{path}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &format!("{path}/{index}"), found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// Something else of the same form.
fn other(value: &Value) -> Value {
    match value {
        Value::Bool(was) => json!(!was),
        Value::Number(_) => json!(7),
        Value::String(text) => json!(other_text(text)),
        other => other.clone(),
    }
}

fn other_text(text: &str) -> String {
    let words = [("action", "bundle"), ("update", "delete"), ("pass", "ask")];
    if let Some((_, other)) = words.iter().find(|(word, _)| *word == text) {
        return (*other).to_owned();
    }
    let changed = match text {
        digest if digest.starts_with("sha256:") => digest.replace('0', "1"),
        time if time.starts_with("2026-") => time.replace("2026", "2027"),
        id if id.ends_with("c0de") => id.replace("c0de", "c0df"),
        text => text.replace(|c: char| c.is_ascii_lowercase() && c > 'f', "g"),
    };
    match changed == text {
        true => format!("{text}x"),
        false => changed,
    }
}

#[test]
fn whatever_the_digest_covers_is_printed() {
    let view = view();
    let before = one(&shown(Some(view.clone())), now(), None);
    let digest = |view: &Value| {
        let view: ApprovalView = serde_json::from_value(view.clone()).unwrap();
        view.digest().unwrap()
    };
    let mut found = Vec::new();
    leaves(&view, "", &mut found);
    assert!(found.len() > 30, "{found:?}");
    for place in found {
        let mut changed = view.clone();
        let leaf = changed.pointer_mut(&place).unwrap();
        *leaf = other(leaf);
        assert_ne!(digest(&changed), digest(&view), "{place} is unchanged");
        let after = one(&shown(Some(changed)), now(), None);
        assert_eq!(after == before, place == "/salt", "{place}");
    }
}

#[test]
fn a_long_line_cannot_look_like_one_of_ours() {
    let mut long = view();
    long["purpose"] = json!(format!("x{}state: approved", " ".repeat(69)));
    let text = one(&shown(Some(long)), now(), Some(80));
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    let states = text.lines().filter(|line| line.starts_with("state:"));
    assert_eq!(states.count(), 1, "{text}");
    let folded = text.lines().find(|line| line.contains("approved"));
    assert!(folded.unwrap().starts_with("  ↳ "), "{text}");
}

#[test]
fn a_window_that_others_are_asked_for_is_told_whole() {
    let mut asked = view();
    asked["kind"] = json!("window");
    asked["items"] = json!([]);
    asked["requester"]["verified"] = json!(true);
    asked["requester_note"] = json!("proved by their own key");
    asked["window"] = json!({
        "tools": ["billing.refund"], "fields": ["status\u{202e}"],
        "limits": {"seconds": 1_800, "max_uses": 20, "max_total": "1500 EUR",
            "same_input_only": false},
        "requester": {"id": "maria@example.com", "verified": true},
    });
    let text = one(&shown(Some(asked)), now(), None);
    for part in [
        "billing.refund",
        "30m 0s from the approval on",
        "at most 20",
        "at most 1500 EUR together",
        "maria@example.com (verified true)",
        "proved by their own key",
    ] {
        assert!(text.contains(part), "`{part}` in {text}");
    }
    assert!(
        !text.contains('\u{202e}') && !text.contains("limits:"),
        "{text}"
    );
}

#[test]
fn a_yes_that_may_open_a_window_says_how() {
    let mut asked = view();
    asked["window_max_s"] = json!(3_600);
    let text = one(&shown(Some(asked)), now(), None);
    let how = "countersign window open --with a-019aab6e-5c00-7a10-8000-00000000c0de";
    assert!(text.contains(how) && text.contains("1h 0m"), "{text}");
    assert!(!text.contains("window_max_s"), "{text}");
}
