//! Texts made to be slow: four times the text may cost little more than four times the work,
//! which is counted in bytes looked at, not in time.

use proptest::prelude::*;
use serde_json::Value;

use super::redactor;
use crate::redact::FieldClasses;
use crate::redact::work::spent;

const BYTES: usize = 4_000;

/// Beginnings of everything that a detector follows.
const PIECES: &[&str] = &[
    "a",
    "1",
    "@",
    "a@",
    "a@b.",
    "1 ",
    "1-",
    "4111",
    "4111 ",
    "4 1 ",
    "GB82",
    "GB82 ",
    "AA11 AA11",
    "password",
    "password=",
    "passwordpassword_",
    "token token=",
    "auth:auth=",
    "\"key\": \"",
    "key=",
    "\\",
    "\\u0031",
    "%31",
    "%",
    "&#49;",
    "&amp;",
    "eyJ",
    "eyJh.eyJh.",
    "YWFh",
    "Ym9iQGV4YW1wbGUuY29t ",
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----",
    "://a:b",
    "https://u:p@",
    "curl -u ",
    "Authorization: ",
    "{\"a\":",
    "[[",
    "{\"k\":\"v\"}",
    "+1 ",
    "(0",
    "call 1 ",
    "::",
    "1.2.3.4 ",
    "1.",
    ":1:",
    "Mr ",
    "Mr. A ",
    "1 A St ",
    "1 Aa ",
    "Calle A ",
    "ul. ",
    "Weg 1",
    "rue ",
    "1, rue de la ",
    "tok_",
    "[email:k1:",
    "sk-",
    "ghp_",
    "\u{200b}",
    "１",
    "é",
    "AKIA",
    "aws ",
    "sig=",
    "bearer ",
    "1-1",
    "a.b",
    "A1",
    "_1",
    "999999999 ",
];

fn cost(text: &str) -> usize {
    spent(|| {
        drop(redactor().text(text));
    })
}

/// What a piece costs when it is repeated to so many bytes.
fn repeated(piece: &str, bytes: usize) -> usize {
    cost(&piece.repeat(bytes / piece.len() + 1))
}

fn check(piece: &str) {
    let (one, four) = (repeated(piece, BYTES), repeated(piece, BYTES * 4));
    assert!(four <= one * 6 + 20_000, "{piece:?}: {one} and {four}");
    assert!(four <= BYTES * 4 * 400, "{piece:?}: {four}");
}

#[test]
fn texts_made_to_be_slow_are_read_in_linear_work() {
    for piece in PIECES {
        check(piece);
    }
}

#[test]
fn json_made_to_be_slow_is_read_in_linear_work() {
    let wide = |members: usize| -> Value {
        let members = (0..members).map(|n| (format!("password{n}"), Value::from("1234567 a@b.co")));
        Value::Object(members.collect())
    };
    let nested = |times: usize| {
        let inner = serde_json::to_string(&"{\"a\":1}".repeat(times)).unwrap();
        Value::String(format!("{{\"a\":{inner}}}"))
    };
    let cost = |value: &Value| {
        spent(|| {
            drop(redactor().value(value, &FieldClasses::none()));
        })
    };
    for make in [&wide as &dyn Fn(usize) -> Value, &nested] {
        let (one, four) = (cost(&make(200)), cost(&make(800)));
        assert!(four <= one * 5 + 20_000, "{one} and {four}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_two_pieces_are_read_in_linear_work(
        one in prop_oneof!["[ -~]{1,6}", "[0-9 .:/@=-]{1,6}", "[a-zA-Z0-9_]{1,8}"],
        two in prop_oneof!["[ -~]{1,6}", Just("password=".to_owned()), Just("4111".to_owned())],
    ) {
        check(&format!("{one}{two}"));
    }
}
