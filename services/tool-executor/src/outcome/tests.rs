//! What is told of each end.

use serde_json::json;

use super::*;
use crate::fixture;

const SECRET: &str = "jane.roe@example.com";

fn told(end: &End) -> ToolCompleted {
    let bundle = fixture::bundle();
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let raw = fixture::requested("crm.read", json!({"id": SECRET}), now);
    let approved = fixture::approved(&raw, &bundle, fixture::reference(1), now);
    let tool = fixture::tool(&bundle, "crm.read");
    let expose = ["/id".to_owned()];
    let took = Duration::from_millis(1_500);
    completed(&fixture::redactor(), tool, &expose, &approved, end, took)
}

#[test]
fn each_end_is_an_outcome_in_words() {
    let done = |value| End::Done(Some(fixture::object(value)));
    let change = json!({"resource": "contact/C-1", "field": "id", "after": "C-2"});
    let table = [
        (done(json!({})), Outcome::Succeeded, "crm.read succeeded."),
        (
            done(json!({"changes": [change]})),
            Outcome::Succeeded,
            "crm.read changed id of contact/C-1.",
        ),
        (
            done(json!({"changes": [change, change]})),
            Outcome::Succeeded,
            "crm.read made 2 changes.",
        ),
        (
            End::Done(None),
            Outcome::Succeeded,
            "crm.read succeeded, but its answer cannot be read.",
        ),
        (
            End::failed("409", "no"),
            Outcome::Failed,
            "crm.read failed: no",
        ),
        (
            End::unknown("timeout", "late"),
            Outcome::Unknown,
            "crm.read may or may not have done its work (late): people must look.",
        ),
    ];
    for (end, outcome, summary) in table {
        let told = told(&end);
        assert_eq!(
            (told.outcome, told.output_summary.as_str()),
            (outcome, summary)
        );
        assert_eq!(told.error.is_none(), outcome == Outcome::Succeeded);
        assert_eq!(told.duration_ms, 1_500);
    }
}

#[test]
fn nothing_of_a_worker_is_told_unredacted() {
    let words = format!("customer {SECRET} is unknown");
    let answer = json!({"id": SECRET, "changes": [
        {"resource": SECRET, "field": SECRET, "before": SECRET, "after": [SECRET]},
    ]});
    for end in [
        End::failed("409", words.clone()),
        End::unknown("timeout", words),
        End::Done(Some(fixture::object(answer))),
    ] {
        let told = told(&end);
        let text = serde_json::to_string(&told).unwrap();
        assert!(!text.contains("jane.roe"), "{text}");
        assert!(text.contains("email:k1:"), "{text}");
        let late = serde_json::to_string(&late(&told)).unwrap();
        assert_eq!(late, text);
    }
}
