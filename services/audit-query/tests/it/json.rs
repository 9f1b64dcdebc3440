//! JSON functions on what is redacted.

use countersign_audit_query::QueryLimits;
use countersign_audit_query::output::{self, Format};
use serde_json::{Value, json};

use crate::written::{Written, story_archive};

async fn first(written: &Written, sql: &str) -> Value {
    let archive = written.open();
    let answer = archive.query(sql, QueryLimits::default()).await;
    let answer = answer.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = output::write(&answer, Format::Json).unwrap();
    serde_json::from_slice::<Value>(&rows).unwrap()[0].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_taken_out_of_json_by_path_and_type() {
    let written = story_archive();
    let changes = "SELECT changes ->> 0 AS whole, changes -> 0 ->> 'after' AS after, \
        json_get_str(changes, 0, 'before') AS before, json_length(changes) AS n, \
        changes #>> array['0', 'resource'] AS resource FROM events \
        WHERE event = 'tool.completed'";
    let found = first(&written, changes).await;
    let whole: Value = serde_json::from_str(found["whole"].as_str().unwrap()).unwrap();
    assert_eq!(whole["field"], "state");
    assert_eq!(
        (
            &found["after"],
            &found["before"],
            &found["n"],
            &found["resource"]
        ),
        (&json!("sent"), &json!("draft"), &json!(1), &json!("mail/9"))
    );
    let input = "SELECT count(*) AS n FROM events WHERE input_redacted ? 'to' \
        AND NOT json_contains(input_redacted, 'subject')";
    assert_eq!(first(&written, input).await, json!({"n": 2}));
    let typed = r#"SELECT json_get_int('{"a":[1,2.5,true]}', 'a', 0) AS i,
        ('{"a":[1,2.5,true]}' -> 'a' -> 1)::float AS f,
        json_get_bool('{"a":[1,2.5,true]}', 'a', 2) AS b,
        json_get_json('{"a":[1,2.5,true]}', 'a') AS j,
        json_get('{"a":1}', 'b') AS none, 'no json' -> 'a' AS bad"#;
    assert_eq!(
        first(&written, typed).await,
        json!({"i": 1, "f": 2.5, "b": true, "j": "[1,2.5,true]", "none": null, "bad": null})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_arrow_finds_is_json_text_in_every_format() {
    let written = story_archive();
    let archive = written.open();
    let sql = r#"SELECT '{"a":"x"}' -> 'a' AS text, '{"a":{"b":[1]}}' -> 'a' AS object,
        '[7]' -> 0 AS number, 'kept' AS other"#;
    assert_eq!(
        first(&written, sql).await,
        json!({"text": "\"x\"", "object": "{\"b\":[1]}", "number": "7", "other": "kept"})
    );
    for statement in [
        sql,
        "SELECT input_redacted -> 'to' FROM events",
        "SELECT e.changes -> 0, e.* FROM events e JOIN actions a ON a.intent_id = e.intent_id",
        "SELECT changes -> 0 AS c, count(*) FROM events GROUP BY changes -> 0",
    ] {
        let answer = archive.query(statement, QueryLimits::default()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{statement}: {error}"));
        for format in Format::ALL {
            output::write(&answer, *format)
                .unwrap_or_else(|error| panic!("{statement} as {format:?}: {error}"));
        }
    }
}

/// Parquet has no form for them and its writer would panic.
#[tokio::test(flavor = "multi_thread")]
async fn lists_of_mixed_json_are_refused_with_the_way_out() {
    let written = story_archive();
    let archive = written.open();
    for statement in [
        "SELECT array_agg(changes -> 0) AS them FROM events",
        "SELECT make_array(changes -> 0) AS them FROM events",
        "SELECT named_struct('a', changes -> 0) AS them FROM events",
    ] {
        let answer = archive.query(statement, QueryLimits::default()).await;
        let error = answer.unwrap_err().to_string();
        assert!(error.contains("take them as text with ->>"), "{error}");
    }
    let text = "SELECT array_agg(changes ->> 0) AS them FROM events";
    let answer = archive.query(text, QueryLimits::default()).await.unwrap();
    for format in Format::ALL {
        output::write(&answer, *format).unwrap();
    }
}
