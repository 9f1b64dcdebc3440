//! Properties over arbitrary texts and values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::redactor;
use crate::redact::FieldClasses;

fn planted() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{3,10}\\.[a-z]{3,8}@[a-z]{4,10}\\.(com|org|example)",
        "ghp_[A-Za-z0-9]{36}",
        "AKIA[A-Z2-7]{16}",
        "[0-9]{14}".prop_map(|digits| with_luhn(&format!("4{digits}"))),
        "[0-9]{14}".prop_map(|digits| with_luhn(&format!(
            "5{}",
            digits.replacen(['0', '6', '7', '8', '9'], "1", 1)
        ))),
    ]
    .prop_filter("a known prefix", |value| {
        !value.starts_with('5')
            || ["51", "52", "53", "54", "55"]
                .iter()
                .any(|head| value.starts_with(head))
    })
}

fn with_luhn(head: &str) -> String {
    (0..10)
        .map(|check| format!("{head}{check}"))
        .find(|number| {
            let sum: u32 = number
                .chars()
                .rev()
                .enumerate()
                .map(|(index, c)| {
                    let d = c.to_digit(10).unwrap();
                    if index % 2 == 0 {
                        d
                    } else {
                        d * 2 / 10 + d * 2 % 10
                    }
                })
                .sum();
            sum.is_multiple_of(10)
        })
        .unwrap()
}

/// The value as it is, and in every form that one round of decoding opens.
fn disguised(value: &str) -> Vec<String> {
    let percent: String = value.bytes().map(|b| format!("%{b:02X}")).collect();
    let escaped: String = value
        .chars()
        .map(|c| format!("\\u{:04x}", u32::from(c)))
        .collect();
    let wide: String = value
        .chars()
        .map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap())
        .collect();
    let zero: String = value.chars().flat_map(|c| [c, '\u{200b}']).collect();
    vec![
        value.to_owned(),
        percent,
        escaped,
        wide,
        zero,
        STANDARD.encode(value),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        planted().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z_@.0-9]{0,16}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_planted_value_never_survives(value in planted(), before in "[ a-z,:;]{0,20}[ ,:;]", after in "[ ,;][ a-z,;]{0,20}") {
        for form in disguised(&value) {
            let out = redactor().text(&format!("{before}{form}{after}")).text;
            prop_assert!(!out.contains(&form), "{form} in {out}");
            let out = redactor().value(&json!({"note": [form], form.clone(): 1}), &FieldClasses::none());
            prop_assert!(!out.value.to_string().contains(&form), "{form} in {}", out.value);
        }
    }

    #[test]
    fn redaction_is_idempotent(text in "\\PC{0,200}") {
        let once = redactor().text(&text).text;
        let twice = redactor().text(&once);
        prop_assert!(twice.findings.is_empty());
        prop_assert_eq!(once, twice.text);
    }

    #[test]
    fn texts_made_of_pieces_are_read_to_the_end(
        pieces in prop::collection::vec(prop_oneof![
            planted(),
            Just("password=".to_owned()),
            Just("[email:k1:000000000000]".to_owned()),
            Just("%40".to_owned()),
            Just("\\u".to_owned()),
            Just("://".to_owned()),
            "[ -~]{0,12}",
        ], 0..12)
    ) {
        let text = pieces.concat();
        let once = redactor().text(&text);
        prop_assert!(redactor().text(&once.text).findings.is_empty());
    }

    #[test]
    fn a_redacted_value_passes_the_second_scan(value in json_value()) {
        let once = redactor().value(&value, &FieldClasses::none());
        prop_assert!(!redactor().rescan(&once.value), "{}", once.value);
        let twice = redactor().value(&once.value, &FieldClasses::none());
        prop_assert_eq!(once.value, twice.value);
        prop_assert!(twice.findings.is_empty());
    }

    #[test]
    fn a_classed_field_keeps_nothing(value in json_value()) {
        let classes = super::classes(&[("/field", "secret")]);
        let out = redactor().value(&json!({"field": value}), &classes);
        let text = out.value["field"].as_str().unwrap();
        prop_assert!(text.starts_with("[secret:k1:") && text.len() == 24, "{}", text);
    }
}
