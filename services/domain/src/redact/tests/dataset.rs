//! Recall and precision on the open sets, where they are present.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::measure::{Case, Planted, Scores};
use super::redactor;
use crate::redact::FieldClasses;

/// Types of the set, ours, and the least recall and precision on plain rows, in percent.
const FLOORS: &[(&str, &str, usize, usize)] = &[
    ("EMAIL_ADDRESS", "email", 99, 99),
    ("CREDIT_CARD", "card", 99, 99),
    ("IBAN_CODE", "iban", 99, 99),
    ("US_SSN", "ssn", 99, 99),
    ("IP_ADDRESS", "ip", 99, 99),
    ("PHONE_NUMBER", "phone", 90, 97),
    ("SECRET", "secret", 95, 97),
];

fn text_of(file: &str) -> Option<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = [root.join("../shared"), root.join("../../shared")]
        .into_iter()
        .map(|shared| shared.join("data").join(file))
        .find(|path| std::fs::File::open(path).is_ok());
    let Some(path) = path else {
        eprintln!("skipped: ../shared/data/{file} is not here");
        return None;
    };
    let out = Command::new("gzip").arg("-dc").arg(path).output().ok()?;
    String::from_utf8(out.stdout).ok()
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn toolcall() -> Option<Vec<(String, Case)>> {
    let rows = text_of("toolcall_pii_open.jsonl.gz")?;
    let rows = rows.lines().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        let planted = row["spans"].as_array().unwrap().iter().filter_map(|span| {
            let kind = span["entity_type"].as_str().unwrap();
            let ours = FLOORS
                .iter()
                .find(|floor| floor.0 == kind)
                .map(|floor| floor.1);
            let ours = ours.or(match kind {
                "PERSON" => Some("person"),
                "STREET_ADDRESS" => Some("address"),
                _ => None,
            })?;
            Some(Planted::new(
                ours,
                number(&span["start"]),
                number(&span["end"]),
            ))
        });
        let obfuscation = row["obfuscation"].as_str().unwrap().to_owned();
        let text = row["text"].as_str().unwrap().to_owned();
        (obfuscation, Case::new(text, planted.collect()))
    });
    Some(rows.collect())
}

#[test]
fn recall_and_precision_on_the_open_set() {
    let Some(rows) = toolcall() else { return };
    let plain = rows
        .iter()
        .filter(|(how, _)| how == "none")
        .map(|(_, case)| case);
    let scores = Scores::of(&redactor(), plain);
    eprintln!("plain rows\n{scores}");
    for (_, ours, recall, precision) in FLOORS {
        scores.at_least(ours, *recall, *precision);
    }
    for how in ["url", "b64", "zwsp", "fullwidth"] {
        let some = rows
            .iter()
            .filter(|(one, _)| one == how)
            .map(|(_, case)| case);
        let scores = Scores::of(&redactor(), some);
        eprintln!("{how}\n{scores}");
        for (_, ours, ..) in FLOORS {
            scores.at_least(ours, 80, 90);
        }
    }
}

#[test]
fn rows_without_anything_sensitive_stay() {
    let Some(rows) = toolcall() else { return };
    let empty: Vec<&Case> = rows
        .iter()
        .map(|(_, case)| case)
        .filter(|case| case.planted.is_empty())
        .collect();
    let flagged = empty
        .iter()
        .filter(|case| {
            !redactor()
                .line(&case.text, &FieldClasses::none())
                .findings
                .is_empty()
        })
        .count();
    eprintln!("hard negatives: {flagged} of {} flagged", empty.len());
    assert!(flagged * 100 <= empty.len(), "{flagged} of {}", empty.len());
}

#[test]
fn sentences_with_planted_values_are_read() {
    let Some(text) = text_of("synth_dataset_v2.json.gz") else {
        return;
    };
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    let cases: Vec<Case> = rows
        .iter()
        .map(|row| {
            let planted = row["spans"].as_array().unwrap().iter().filter_map(|span| {
                let kind = span["entity_type"].as_str().unwrap();
                let ours = match kind {
                    "PERSON" => "person",
                    "STREET_ADDRESS" => "address",
                    _ => FLOORS.iter().find(|floor| floor.0 == kind)?.1,
                };
                let (start, end) = (&span["start_position"], &span["end_position"]);
                Some(Planted::new(ours, number(start), number(end)))
            });
            Case::new(
                row["full_text"].as_str().unwrap().to_owned(),
                planted.collect(),
            )
        })
        .collect();
    let scores = Scores::of(&redactor(), cases.iter());
    eprintln!("sentences\n{scores}");
    // Better than what Presidio finds here: card .77/1.0, IBAN .95/1.0, phone .55/.72.
    for (kind, recall, precision) in [
        ("card", 95, 99),
        ("iban", 99, 99),
        ("email", 99, 99),
        ("ssn", 99, 99),
        ("ip", 99, 99),
        ("phone", 80, 90),
    ] {
        scores.at_least(kind, recall, precision);
    }
}

#[test]
fn published_examples_of_secrets_are_found() {
    let Some(text) = text_of("secrets_open.jsonl.gz") else {
        return;
    };
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for source in ["gitleaks", "betterleaks"] {
        let of = |label: u64| {
            let some = rows.iter();
            some.filter(move |row| row["source"] == source && row["label"].as_u64() == Some(label))
        };
        let same = |one: &Value, other: &Value| {
            one["rule"] == other["rule"] && one["text"] == other["text"]
        };
        let secret = |row: &&Value| {
            let rule = row["rule"].as_str().unwrap();
            !names_no_secret(rule) && !of(0).any(|other| same(row, other))
        };
        let secrets: Vec<&Value> = of(1).filter(secret).collect();
        let found = |row: &&Value| {
            let text = row["text"].as_str().unwrap();
            let found = redactor().text(text).findings.has("secret");
            if !found && std::env::var_os("SHOW_MISSES").is_some() {
                eprintln!("{source} {}: {text:.200}", row["rule"]);
            }
            found
        };
        let (right, all) = (secrets.iter().copied().filter(found).count(), secrets.len());
        eprintln!(
            "{source}: {right} of {all} secrets found, {} of {} rows are positives, {} of {} negatives flagged",
            of(1).filter(found).count(),
            of(1).count(),
            of(0).filter(found).count(),
            of(0).count(),
        );
        assert!(right * 100 >= all * 95, "{source}");
    }
}

/// Rules that find what is no secret: the name of an account or a host, beside which one stands.
fn names_no_secret(rule: &str) -> bool {
    let rule = rule.split('.').next().unwrap();
    let other = [
        "client-id",
        "app-id",
        "cloud-name",
        "token-name",
        "-url",
        "-host",
        "planetscale-id",
    ];
    other.iter().any(|end| rule.ends_with(end))
}

#[test]
fn a_redacted_row_of_the_open_set_passes_the_second_scan() {
    let Some(rows) = toolcall() else { return };
    for (_, case) in rows {
        let value = serde_json::from_str(&case.text).unwrap_or(Value::String(case.text));
        let out = redactor().value(&value, &FieldClasses::none());
        assert!(!redactor().rescan(&out.value), "{}", out.value);
    }
}
