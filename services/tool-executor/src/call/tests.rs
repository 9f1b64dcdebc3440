//! Reading what workers answer.

use serde_json::json;

use super::*;

#[test]
fn a_worker_that_did_its_work_did_it_whatever_it_answers() {
    let object = |value| End::Done(JsonObject::from_value(value));
    let table: [(&[u8], End); 6] = [
        (b"{\"a\": 1}", object(json!({"a": 1}))),
        (b"", object(json!({}))),
        (b" \n", object(json!({}))),
        (b"[1]", End::Done(None)),
        (b"<html>", End::Done(None)),
        (b"{\"a\": 1, \"a\": 2}", End::Done(None)),
    ];
    for (body, end) in table {
        assert_eq!(done(body), end, "{}", String::from_utf8_lossy(body));
    }
}
