//! The strict reader against tables, and against the ordinary one on any text.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn fault(text: &[u8]) -> (usize, JsonFault) {
    let error = check_strict(text).unwrap_err();
    (error.at, error.fault)
}

#[test]
fn plain_json_passes_and_is_read() {
    let text = r#" {"a": [1, -2.5e3, "x\n\u00e9\ud83d\ude00é"], "": null, "b": {"a": true}} "#;
    assert_eq!(
        parse_strict(text.as_bytes()).unwrap(),
        json!({"a": [1, -2500.0, "x\né😀é"], "": null, "b": {"a": true}})
    );
}

#[test]
fn each_fault_is_named_with_its_place() {
    let table: &[(&[u8], usize, JsonFault)] = &[
        (b"", 0, JsonFault::End),
        (b"{\"a\":", 5, JsonFault::End),
        (b"{\"a\":1} x", 8, JsonFault::Trailing),
        (b"{\"a\":\xff}", 5, JsonFault::Utf8),
        (br#"{"a":1,"a":2}"#, 7, JsonFault::DuplicateKey),
        (br#"{"a":1,"\u0061":2}"#, 7, JsonFault::DuplicateKey),
        (br#"{"a":9007199254740993}"#, 5, JsonFault::Number),
        (br#"[1e999]"#, 1, JsonFault::Number),
        (br#"["\ud800"]"#, 8, JsonFault::Text),
        (br#"["\udc00\ud800"]"#, 14, JsonFault::Text),
        (br#"["\x"]"#, 2, JsonFault::Text),
        (b"[\"a\nb\"]", 3, JsonFault::Text),
        (br#"[01]"#, 2, JsonFault::Expected("`,` or `]`")),
        (br#"[1,]"#, 3, JsonFault::Expected("a value")),
        (
            br#"{a:1}"#,
            1,
            JsonFault::Expected("a key in double quotes"),
        ),
        (br#"{"a" 1}"#, 5, JsonFault::Expected("`:`")),
        (br#"[1.]"#, 3, JsonFault::Expected("a digit")),
        (br#"[nul]"#, 1, JsonFault::Expected("null")),
        (br#"[NaN]"#, 1, JsonFault::Expected("a value")),
    ];
    for (text, at, expected) in table {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(fault(text), (*at, *expected), "{shown}");
    }
}

#[test]
fn depth_is_bounded_exactly() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(check_strict(nested(JSON_DEPTH_MAX).as_bytes()), Ok(()));
    let too_deep = nested(JSON_DEPTH_MAX + 1);
    assert_eq!(
        fault(too_deep.as_bytes()),
        (JSON_DEPTH_MAX, JsonFault::Depth)
    );
    assert!(parse_within(nested(JSON_DEPTH_MAX).as_bytes(), 1).is_err());
    assert_eq!(fault("[".repeat(1_000_000).as_bytes()).1, JsonFault::Depth);
}

#[test]
fn the_same_key_in_different_objects_is_fine() {
    assert_eq!(
        check_strict(br#"{"a":{"a":1,"b":{"a":2}},"b":[{"a":1},{"a":2}]}"#),
        Ok(())
    );
}

#[test]
fn duplicates_are_found_among_many_keys() {
    let many: Vec<String> = (0..20_000).map(|n| format!("\"k{n}\":{n}")).collect();
    let fine = format!("{{{}}}", many.join(","));
    assert_eq!(check_strict(fine.as_bytes()), Ok(()));
    for repeated in [0, 15, 16, 17, 19_999] {
        let text = format!("{{{},\"k{repeated}\":0}}", many.join(","));
        assert_eq!(fault(text.as_bytes()).1, JsonFault::DuplicateKey);
    }
    let nested = format!("{{{},\"x\":{fine},\"k3\":1}}", many.join(","));
    assert_eq!(fault(nested.as_bytes()).1, JsonFault::DuplicateKey);
}

#[test]
fn errors_hold_no_content() {
    let error = check_strict(br#"{"secret-key":1,"secret-key":2}"#).unwrap_err();
    assert!(!error.to_string().contains("secret-key"));
    assert!(error.to_string().contains("byte 16"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..24)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_writes_is_strict_and_reads_back(value in any_json()) {
        let text = serde_json::to_vec(&value).unwrap();
        prop_assert_eq!(parse_strict(&text).unwrap(), value.clone());
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        prop_assert_eq!(parse_strict(&pretty).unwrap(), value);
    }

    #[test]
    fn strict_is_a_subset_of_json(text in r#"[\[\]{}:,"\\ue0-9.+\-a-f ]{0,24}"#) {
        if check_strict(text.as_bytes()).is_ok() {
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _verdict = parse_strict(&bytes);
    }
}
