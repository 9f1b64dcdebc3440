//! What a worker says is shown only as far as the catalog, the permit and the redactor let it.

use serde_json::json;

use super::*;
use crate::fixture;
use crate::words::WORDS_CHARS_MAX;

const ALL: [&str; 3] = ["/id", "/phone", "/items/*/sku"];

fn shown(expose: &[&str], answer: Value) -> Presented {
    shown_of(json!({"note": "as agreed"}), expose, answer)
}

fn shown_of(input: Value, expose: &[&str], answer: Value) -> Presented {
    let bundle = fixture::bundle();
    let expose: Vec<String> = expose.iter().map(|&text| text.to_owned()).collect();
    let tool = fixture::tool(&bundle, "crm.read");
    let (redactor, input) = (fixture::redactor(), fixture::object(input));
    let words = Words::new(&redactor, tool, &input);
    present(&words, tool, &expose, &fixture::object(answer))
}

fn output(expose: &[&str], answer: Value) -> Value {
    shown(expose, answer)
        .output
        .map_or(Value::Null, |output| output.to_value())
}

#[test]
fn only_exposed_fields_are_kept_and_classed_ones_redacted() {
    let answer = json!({
        "id": "C-1",
        "phone": "+49 30 901820",
        "score": 7,
        "items": [{"sku": "a", "price": 3}, {"price": 4}, {"sku": "b"}],
    });
    let kept = output(&ALL, answer.clone());
    assert_eq!(kept["id"], "C-1");
    assert_eq!(kept["items"], json!([{"sku": "a"}, {}, {"sku": "b"}]));
    let phone = kept["phone"].as_str().unwrap();
    assert!(phone.starts_with("[phone:k1:"), "{phone}");
    assert!(kept.get("score").is_none());

    assert_eq!(output(&["/id"], answer.clone()), json!({"id": "C-1"}));
    assert_eq!(output(&["/score"], answer.clone()), Value::Null);
    assert_eq!(output(&[], answer), Value::Null);
}

#[test]
fn detectors_read_what_no_class_names() {
    let kept = output(&["/id"], json!({"id": "write to jane.roe@example.com"}));
    let text = kept["id"].as_str().unwrap();
    assert!(
        text.contains("[email:k1:") && !text.contains("jane.roe"),
        "{text}"
    );
}

#[test]
fn what_a_worker_was_given_comes_back_in_no_exposed_field() {
    // None of these is something that a detector would know.
    let input = json!({"email": "Okafor at work", "diagnosis": "chronic\ngrumpiness", "pin": 4711});
    let said = json!({"id": {
        "of": "for Okafor at work, of chronic\ngrumpiness",
        "json": "{\"diagnosis\": \"chronic\\ngrumpiness\"}",
        "pin": 4711,
        "other": 94_711,
        "Okafor at work": [true, "pin 4711"],
    }});
    let kept = shown_of(input, &["/id"], said).output.unwrap().to_value();
    let text = kept.to_string();
    assert!(
        !text.contains("Okafor") && !text.contains("grumpiness"),
        "{text}"
    );
    assert!(text.contains("for [email:k1:"), "{text}");
    assert_eq!(kept["id"]["other"], 94_711, "{text}");
    assert!(kept["id"]["pin"].is_string(), "{text}");
}

#[test]
fn a_field_of_another_shape_is_kept_whole_or_not_at_all() {
    assert_eq!(
        output(&ALL, json!({"id": {"deep": 1}})),
        json!({"id": {"deep": 1}})
    );
    assert_eq!(output(&ALL, json!({"items": "none"})), Value::Null);
    assert_eq!(
        output(&ALL, json!({"items": [1, null]})),
        json!({"items": []})
    );
}

#[test]
fn changes_are_redacted_by_the_class_of_their_field() {
    let presented = shown(
        &[],
        json!({"changes": [
            {"resource": "contact/C-1", "field": "email", "before": "a@example.com", "after": "b@example.com"},
            {"resource": "contact/C-1", "field": "id", "before": null, "after": "C-9"},
            {"resource": "contact/C-1", "field": "diagnosis", "after": "unclassed words"},
            {"resource": "contact/C-1"},
            "nonsense",
        ]}),
    );
    let [email, id, other] = presented.changes.as_slice() else {
        panic!("{presented:?}");
    };
    assert!(email.before.as_ref().unwrap().starts_with("[email:k1:"));
    assert_ne!(email.before, email.after);
    assert_eq!(
        (id.before.as_deref(), id.after.as_deref()),
        (None, Some("C-9"))
    );
    let hidden = other.after.as_ref().unwrap();
    assert!(
        hidden.starts_with('[') && !hidden.contains("unclassed"),
        "{hidden}"
    );
}

#[test]
fn what_a_worker_sends_is_bounded() {
    let many: Vec<Value> = (0..300)
        .map(|n| json!({"resource": "r", "field": "id", "after": format!("{n} {}", "word ".repeat(400))}))
        .collect();
    let presented = shown(&[], json!({"changes": many}));
    assert_eq!(presented.changes.len(), CHANGES_MAX);
    for change in presented.changes {
        assert!(change.after.unwrap().chars().count() <= WORDS_CHARS_MAX + 1);
    }
}
