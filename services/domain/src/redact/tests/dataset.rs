//! Recall and precision on the open tool-call set, where it is present.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::redactor;
use crate::redact::FieldClasses;
use crate::redact::detect::{Kind, scan};
use crate::redact::hints::Hints;

/// Types of the set, ours, and the least recall and precision, in percent.
const FLOORS: &[(&str, Kind, u32, u32)] = &[
    ("EMAIL_ADDRESS", Kind::Email, 99, 99),
    ("CREDIT_CARD", Kind::Card, 99, 99),
    ("IBAN_CODE", Kind::Iban, 99, 99),
    ("US_SSN", Kind::Ssn, 99, 99),
    ("IP_ADDRESS", Kind::Ip, 99, 99),
    ("PHONE_NUMBER", Kind::Phone, 82, 97),
    ("SECRET", Kind::Secret, 87, 97),
];

fn rows() -> Option<Vec<Value>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = [root.join("../shared"), root.join("../../shared")]
        .into_iter()
        .map(|shared| shared.join("data/toolcall_pii_open.jsonl.gz"))
        .find(|path| std::fs::File::open(path).is_ok())?;
    let out = Command::new("gzip").arg("-dc").arg(path).output().ok()?;
    String::from_utf8(out.stdout)
        .ok()?
        .lines()
        .map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Every string of the row with the hints of the keys above it.
fn strings(value: &Value, hints: Hints, out: &mut Vec<(String, Hints)>) {
    match value {
        Value::String(text) => out.push((text.clone(), hints)),
        Value::Array(items) => items.iter().for_each(|item| strings(item, hints, out)),
        Value::Object(members) => {
            let named = Hints::of_pair(members);
            for (key, value) in members {
                strings(value, hints.below(key, named), out);
            }
        }
        Value::Number(number) => out.push((number.to_string(), hints)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// What was found in a row: type and the covered text.
fn found(text: &str) -> Vec<(Kind, String)> {
    let mut all = Vec::new();
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => strings(&value, Hints::NONE, &mut all),
        _ => all.push((text.to_owned(), Hints::NONE)),
    }
    all.iter()
        .flat_map(|(text, hints)| {
            scan(text, *hints)
                .unwrap()
                .into_iter()
                .map(|hit| (hit.kind, text.get(hit.start..hit.end).unwrap().to_owned()))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn span_text(text: &str, span: &Value) -> String {
    let from = usize::try_from(span["start"].as_u64().unwrap()).unwrap();
    let to = usize::try_from(span["end"].as_u64().unwrap()).unwrap();
    let raw: String = text.chars().skip(from).take(to - from).collect();
    serde_json::from_str(&format!("\"{raw}\"")).unwrap_or(raw)
}

#[test]
fn recall_and_precision_on_the_open_set() {
    let Some(rows) = rows() else {
        eprintln!("skipped: ../shared/data/toolcall_pii_open.jsonl.gz is not here");
        return;
    };
    let mut counts: BTreeMap<Kind, (u32, u32, u32, u32)> = BTreeMap::new();
    for row in &rows {
        let text = row["text"].as_str().unwrap();
        let found = found(text);
        let spans: Vec<(&str, String)> = row["spans"]
            .as_array()
            .unwrap()
            .iter()
            .map(|span| (span["entity_type"].as_str().unwrap(), span_text(text, span)))
            .collect();
        for (name, kind, ..) in FLOORS {
            let count = counts.entry(*kind).or_default();
            for (_, value) in spans.iter().filter(|(entity, _)| entity == name) {
                count.1 += 1;
                let hit = found.iter().any(|(_, hit)| {
                    hit.contains(value.as_str())
                        || value.contains(hit.as_str()) && hit.len() * 10 >= value.len() * 9
                });
                count.0 += u32::from(hit);
                if !hit && std::env::var_os("SHOW_MISSES").is_some() {
                    eprintln!("missed {name} {value:?} in {text:.300}");
                }
            }
            for (_, hit) in found.iter().filter(|(found, _)| found == kind) {
                count.3 += 1;
                let right = spans
                    .iter()
                    .any(|(_, value)| value.contains(hit.as_str()) || hit.contains(value.as_str()));
                count.2 += u32::from(right);
                if !right && std::env::var_os("SHOW_MISSES").is_some() {
                    eprintln!("wrong {name} {hit:?} in {text:.300}");
                }
            }
        }
    }
    let mut short = Vec::new();
    for (name, kind, recall_min, precision_min) in FLOORS {
        let (hit, planted, right, reported) = counts[kind];
        let recall = hit * 100 / planted.max(1);
        let precision = right * 100 / reported.max(1);
        eprintln!(
            "{name}: recall {hit}/{planted} = {recall} %, precision {right}/{reported} = {precision} %"
        );
        if recall < *recall_min || precision < *precision_min {
            short.push(*name);
        }
    }
    assert!(short.is_empty(), "below the floor: {short:?}");
}

#[test]
fn a_redacted_row_of_the_open_set_passes_the_second_scan() {
    let Some(rows) = rows() else {
        eprintln!("skipped: ../shared/data/toolcall_pii_open.jsonl.gz is not here");
        return;
    };
    for row in rows {
        let text = row["text"].as_str().unwrap();
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        let out = redactor().value(&value, &FieldClasses::none());
        assert!(!redactor().rescan(&out.value), "{}", out.value);
    }
}
