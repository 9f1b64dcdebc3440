//! Floors on values made by a generator of our own: other countries, phrasings, field names,
//! disguises and providers than those of the open sets, so that no rule fits only a file.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::forge::{self, Dice};
use super::measure::{Case, Planted, Scores};
use super::redactor;
use crate::redact::FieldClasses;

const ROWS: usize = 400;

type Forge = fn(&mut Dice) -> String;
const KINDS: &[(&str, Forge, usize, usize)] = &[
    ("email", forge::email, 97, 97),
    ("card", forge::card, 97, 97),
    ("iban", forge::iban, 97, 97),
    ("ssn", forge::ssn, 95, 97),
    ("ip", forge::ip, 97, 97),
    ("phone", forge::phone, 90, 90),
    ("secret", forge::secret, 97, 97),
    ("national_id", forge::national_id, 90, 90),
];

/// A case in which `value` stands once, as it is written there.
fn placed(kind: &'static str, text: String, value: &str) -> Case {
    let at = text.find(value).unwrap();
    let start = text.split_at(at).0.chars().count();
    let end = start + value.chars().count();
    Case::new(text, vec![Planted::new(kind, start, end)])
}

/// Running text and lines of logs.
fn in_text(dice: &mut Dice, value: &str) -> String {
    let frames = [
        "Could you check {} for me?",
        "Ticket 4711: the caller gave {} twice",
        "- {}",
        "| {} | open |",
        "<td>{}</td>",
        "2026-03-04T05:06:07Z WARN worker: got {} from upstream",
        "see \"{}\" below",
        "({})",
        "[{}]",
        "value={}; next",
        "a,{},b",
        "Reply to {}.",
        "{}",
        "note: {}\nsecond line",
        "q={}&page=2",
        "{} / pending",
        "*{}*",
        "wrong: {}!",
    ];
    dice.pick(&frames).replace("{}", value)
}

/// Tool calls with the value somewhere inside.
fn in_json(dice: &mut Dice, value: &str) -> String {
    let noise = forge::innocent(dice);
    let call = match dice.below(6) {
        0 => json!({"arguments": {"payload": value, "ref": noise}}),
        1 => json!({"rows": [[noise, value], ["x", 1]]}),
        2 => json!({"a": {"b": {"c": {"d": [{"e": value}]}}}, "trace": noise}),
        3 => json!({"body": json!({"inner": value, "id": noise}).to_string()}),
        4 => json!({"messages": [{"role": "user", "content": format!("Here it is: {value}")}]}),
        _ => json!({"query": format!("SELECT 1 -- {value}"), "limit": 10}),
    };
    call.to_string()
}

/// The value as JSON writes it `depth` texts deep.
fn written(value: &str, text: &str) -> String {
    let once = serde_json::to_string(value).unwrap();
    let once = once.trim_matches('"').to_owned();
    if text.contains(&once) && !text.contains("\\\"inner\\\"") {
        return once;
    }
    let twice = serde_json::to_string(&once).unwrap();
    twice.trim_matches('"').to_owned()
}

fn scores(cases: &[Case]) -> Scores {
    Scores::of(&redactor(), cases.iter())
}

#[test]
fn values_of_every_type_are_found_wherever_they_stand() {
    for (kind, forge, recall, precision) in KINDS {
        let mut dice = Dice::new(11);
        let cases: Vec<Case> = (0..ROWS)
            .map(|row| {
                let value = forge(&mut dice);
                let text = match row % 2 {
                    0 => in_text(&mut dice, &value),
                    _ => in_json(&mut dice, &value),
                };
                let value = if row % 2 == 0 {
                    value
                } else {
                    written(&value, &text)
                };
                placed(kind, text, &value)
            })
            .collect();
        let scores = scores(&cases);
        eprintln!("{scores}");
        scores.at_least(kind, *recall, *precision);
    }
}

/// A way to write a value so that it does not read as one.
type Disguise = fn(&str) -> String;

fn percent(value: &str) -> String {
    value.bytes().map(|b| format!("%{b:02x}")).collect()
}

fn percent_marks(value: &str) -> String {
    let one = |b: u8| match b {
        b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
        other => format!("%{other:02X}"),
    };
    value.bytes().map(one).collect()
}

fn zero_width(value: &str) -> String {
    let marks = [
        '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{ad}',
    ];
    let mut out = String::new();
    for (index, c) in value.chars().enumerate() {
        if index % 3 == 2 {
            out.push(marks[index % marks.len()]);
        }
        out.push(c);
    }
    out
}

fn wide(value: &str) -> String {
    let one = |c: char| match c {
        '!'..='~' => char::from_u32(u32::from(c) + 0xfee0).unwrap(),
        other => other,
    };
    value.chars().map(one).collect()
}

fn entities(value: &str) -> String {
    value
        .chars()
        .map(|c| format!("&#{};", u32::from(c)))
        .collect()
}

fn escapes(value: &str) -> String {
    let one = |c: char| format!("\\u{:04x}", u32::from(c));
    value.chars().map(one).collect()
}

#[test]
fn disguised_values_are_found() {
    let disguises: [(&str, Disguise); 8] = [
        ("percent", percent),
        ("percent marks", percent_marks),
        ("base64", |value| STANDARD.encode(value)),
        ("base64url", |value| URL_SAFE_NO_PAD.encode(value)),
        ("zero width", zero_width),
        ("full width", wide),
        ("entities", entities),
        ("escapes", escapes),
    ];
    for (name, disguise) in disguises {
        for (kind, forge, ..) in KINDS {
            let mut dice = Dice::new(23);
            let cases: Vec<Case> = (0..ROWS / 4)
                .map(|row| {
                    let value = disguise(&forge(&mut dice));
                    let text = match row % 2 {
                        0 => format!("please take {value} today"),
                        _ => json!({"args": {"note": value}}).to_string(),
                    };
                    let value = if row % 2 == 0 {
                        value
                    } else {
                        written(&value, &text)
                    };
                    placed(kind, text, &value)
                })
                .collect();
            let scores = scores(&cases);
            eprintln!("{name}: {scores}");
            scores.at_least(kind, 85, 85);
        }
    }
}

#[test]
fn what_only_resembles_a_value_stays() {
    let mut dice = Dice::new(5);
    let (mut flagged, mut shown) = (0, Vec::new());
    let rows = ROWS * 5;
    for row in 0..rows {
        let value = forge::innocent(&mut dice);
        let text = match row % 2 {
            0 => in_text(&mut dice, &value),
            _ => in_json(&mut dice, &value),
        };
        let findings = redactor().line(&text, &FieldClasses::none()).findings;
        if !findings.is_empty() {
            flagged += 1;
            shown.push(format!("{} in {text}", findings[0].kind));
        }
    }
    shown.truncate(20);
    eprintln!("innocent: {flagged} of {rows} flagged");
    assert!(flagged * 100 <= rows, "{flagged} of {rows}: {shown:#?}");
}

#[test]
fn keys_and_contexts_give_secrets_away() {
    let mut dice = Dice::new(31);
    let mut missed = Vec::new();
    let mut all = 0;
    for _ in 0..40 {
        let word = dice.fill("{14?}7a");
        let hex = dice.fill("{40%}");
        let plain = dice.fill("{6&}-{6&}");
        for text in [
            json!({"db": {"password": plain}}).to_string(),
            json!({"headers": {"Authorization": format!("Bearer {word}{word}")}}).to_string(),
            json!({"env": [{"name": "API_KEY", "value": word}]}).to_string(),
            json!({"clientSecret": word, "n": 1}).to_string(),
            format!("export SERVICE_TOKEN={word}"),
            format!("Server=db;User Id=sa;Password={word};Encrypt=true"),
            format!("mongodb+srv://app:{word}@cluster.example.net/x"),
            format!("DefaultEndpointsProtocol=https;AccountName=a;AccountKey={hex}{hex}=="),
            format!("curl -H 'X-Api-Key: {word}' https://api.example.com"),
            format!("password is {word}, thanks"),
            format!("https://user:{word}@example.com/path"),
            json!({"text": format!("config: {{\"apiKey\": \"{word}\"}}")}).to_string(),
        ] {
            all += 1;
            let out = redactor().line(&text, &FieldClasses::none());
            let said = out.redacted.to_string();
            if [&word, &hex, &plain]
                .iter()
                .any(|value| said.contains(value.as_str()))
            {
                missed.push(text);
            }
        }
    }
    assert!(
        missed.len() * 100 <= all * 2,
        "{} of {all}: {:#?}",
        missed.len(),
        missed.first()
    );
}

#[test]
fn keys_in_armour_are_found_whole() {
    let mut dice = Dice::new(41);
    for label in [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "DSA PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    ] {
        let pem = forge::pem(&mut dice, label);
        for text in [pem.clone(), format!("key:\n{pem}\nend")] {
            let case = placed("secret", text, &pem);
            scores(&[case]).at_least("secret", 100, 100);
        }
        let text = json!({"file": pem}).to_string();
        let value = written(&pem, &text);
        scores(&[placed("secret", text, &value)]).at_least("secret", 100, 100);
    }
    let public = forge::pem(&mut dice, "PUBLIC KEY");
    assert!(!redactor().text(&public).findings.has("secret"));
}

#[test]
fn names_and_addresses_are_found_by_their_keys() {
    let people = [
        "Aoife Ní Bhriain",
        "João da Silva Pereira",
        "Jürgen Groß",
        "Nguyễn Văn An",
        "Mary-Jane O'Neil",
    ];
    let places = [
        "Rua das Flores 12, Porto",
        "1-2-3 Shibuya, Tokyo",
        "Mannerheimintie 5 B 14",
        "44 Collins St, Melbourne",
    ];
    let named = [
        "fullName",
        "customer_name",
        "recipient",
        "cardholder",
        "patient",
        "contactName",
        "author",
    ];
    let sent = [
        "shipping_address",
        "homeAddress",
        "street",
        "billingAddress",
        "address_line",
        "deliver_to",
    ];
    let mut cases = Vec::new();
    for value in people {
        for key in named {
            let text = json!({"order": {key: value, "state": "open"}}).to_string();
            cases.push(placed("person", text, value));
        }
    }
    for value in places {
        for key in sent {
            let text = json!({"items": [{key: value, "n": 3}]}).to_string();
            cases.push(placed("address", text, value));
        }
    }
    let scores = scores(&cases);
    eprintln!("{scores}");
    scores.at_least("person", 90, 95);
    scores.at_least("address", 90, 95);
}
