//! Texts made to be slow: four times the text may cost little more than four times the work,
//! which is counted in steps, not in time: bytes read, matches followed, candidates judged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::Value;

use super::redactor;
use crate::redact::FieldClasses;
use crate::redact::work::spent;

const BYTES: usize = 4_000;
/// Steps that a byte may cost: each of the detectors may read it in each of the forms of its
/// text, and again in every pass after a find.
const STEPS_PER_BYTE_MAX: usize = 400;

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
    assert!(four <= BYTES * 4 * STEPS_PER_BYTE_MAX, "{piece:?}: {four}");
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

/// A text in base64, so many times over.
fn in_base64(text: &str, layers: usize) -> String {
    let wrap = |text: String, _| STANDARD.encode(text);
    (0..layers).fold(text.to_owned(), wrap)
}

/// A text percent-encoded, so many times over.
fn in_percent(text: &str, layers: usize) -> String {
    let wrap = |text: String, _| text.bytes().map(|b| format!("%{b:02X}")).collect();
    (0..layers).fold(text.to_owned(), wrap)
}

/// A text in an object as JSON, so many times over.
fn in_json(text: &str, layers: usize) -> String {
    let wrap = |text: String, _| serde_json::json!({ "a": text }).to_string();
    (0..layers).fold(text.to_owned(), wrap)
}

#[test]
fn layers_of_encoding_cost_what_their_length_costs() {
    type Wrap = fn(&str, usize) -> String;
    let values = "bob@example.com 4111111111111111 GB82WEST12345698765432 ".repeat(8);
    for (name, wrap, most) in [
        ("base64", in_base64 as Wrap, 8),
        ("percent", in_percent, 4),
        ("json", in_json, 6),
    ] {
        for layers in 0..=most {
            let text = wrap(&values, layers);
            let steps = cost(&text);
            assert!(
                steps <= text.len() * STEPS_PER_BYTE_MAX,
                "{name} {layers}: {steps} for {} bytes",
                text.len()
            );
        }
    }
}

#[test]
fn long_runs_and_many_candidates_are_read_in_linear_work() {
    for piece in [
        "9",
        "4111111111111111",
        "4111-1111-1111-1111 ",
        "123-45-6789 ",
        "DE89370400440532013000 ",
        "bob@example.com ",
        "+1 415 555 2671 ",
        "10.0.0.1 ",
        "Dr. Ann Lee ",
        "12 Baker Street ",
        "api_key=a1B2c3D4e5F6g7H8 ",
        "x/y-z_",
        "aB3$",
    ] {
        check(piece);
    }
}

#[test]
fn deep_json_is_read_in_linear_work() {
    let deep = |levels: usize| {
        let wrap = |value: Value, _| serde_json::json!({ "name": value, "key": "a1B2c3D4e5F6" });
        (0..levels).fold(Value::from("4111111111111111"), wrap)
    };
    let cost = |value: &Value| {
        spent(|| {
            drop(redactor().value(value, &FieldClasses::none()));
        })
    };
    let (few, many) = (cost(&deep(15)), cost(&deep(60)));
    assert!(many <= few * 5 + 20_000, "{few} and {many}");
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
