//! What is told of each end.

use serde_json::json;

use super::*;
use crate::fixture;

const SECRET: &str = "jane.roe@example.com";

fn told(end: &End) -> ToolCompleted {
    told_of(json!({"id": SECRET}), end)
}

fn told_of(input: serde_json::Value, end: &End) -> ToolCompleted {
    let bundle = fixture::bundle();
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let raw = fixture::requested("crm.read", input, now);
    let approved = fixture::approved(&raw, &bundle, fixture::reference(1), now);
    let tool = fixture::tool(&bundle, "crm.read");
    let expose = ["/id".to_owned()];
    let took = Duration::from_millis(1_500);
    let ran = Ran {
        tool,
        approved: &approved,
        expose: &expose,
        input: &raw.input,
    };
    completed(&fixture::redactor(), &ran, end, took)
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

#[test]
fn a_worker_cannot_say_what_it_was_given() {
    let input = json!({"id": "C-1", "email": "Okafor at work"});
    let change = json!({"resource": "mail/Okafor at work", "field": "id", "after": "C-2"});
    for end in [
        End::failed("http_409", "no mail to Okafor at work"),
        End::unknown("http_500", "lost Okafor at work"),
        End::Done(Some(fixture::object(json!({"changes": [change]})))),
    ] {
        let text = serde_json::to_string(&told_of(input.clone(), &end)).unwrap();
        assert!(!text.contains("Okafor"), "{text}");
        assert!(text.contains("email:k1:"), "{text}");
    }
}

#[test]
fn a_code_of_a_worker_carries_nothing() {
    let table = [
        (true, "409", "409"),
        (true, "closed", "closed"),
        // A card number, and a value of the input: both look like a code.
        (true, "4111111111111111", "tool_failed"),
        (true, "okafor-4711", "tool_failed"),
        // Ours is never taken for the worker's.
        (false, "timeout", "timeout"),
    ];
    for (code_is_theirs, code, expected) in table {
        let end = End::Failed(Trouble {
            code: code.to_owned(),
            code_is_theirs,
            message: "no".to_owned(),
        });
        let input = json!({"id": "C-1", "email": "okafor-4711", "why": "timeout"});
        let told = told_of(input, &end).error.unwrap();
        assert_eq!(told.code, expected);
    }
}

#[test]
fn an_answer_that_cannot_be_stored_does_not_take_the_outcome_with_it() {
    let deep = (0..63).fold(json!(1), |inside, _| json!([inside]));
    let long = "x ".repeat(OUTCOME_BYTES_MAX / 2);
    for id in [deep, json!(long)] {
        let told = told(&End::Done(Some(fixture::object(json!({"id": id})))));
        assert!(told.output.is_some());
        for encoding in [Encoding::Json, Encoding::Avro] {
            let kept = storable(told.clone(), encoding);
            assert_eq!(kept.outcome, Outcome::Succeeded);
            assert!(codec::encode(&kept, encoding).unwrap().len() < OUTCOME_BYTES_MAX);
        }
        let kept = storable(told, Encoding::Json);
        assert_eq!(kept.output, None);
        let why = "crm.read succeeded. What it answered is too large or too deep to be kept.";
        assert_eq!(kept.output_summary, why);
    }
    let small = told(&End::Done(Some(fixture::object(json!({"id": "C-1"})))));
    assert_eq!(storable(small.clone(), Encoding::Json), small);
}
