//! The one redaction engine as the archive's last gate.

use countersign_schemas::JsonObject;

use super::scrub::{Scrub, ScrubError, Scrubbed};
use crate::redact::{FieldClasses, Findings, Redactor};

/// The type under which the engine notes that it gave up on a value.
const FAILED: &str = "redaction_failed";

impl Scrub for Redactor {
    fn text(&self, text: &str) -> Result<Scrubbed<String>, ScrubError> {
        let clean = Redactor::text(self, text);
        scrubbed(clean.text, &clean.findings)
    }

    fn json(&self, object: &JsonObject) -> Result<Scrubbed<JsonObject>, ScrubError> {
        let clean = Redactor::json(self, object, &FieldClasses::none());
        scrubbed(clean.value, &clean.findings)
    }
}

fn scrubbed<T>(value: T, findings: &Findings) -> Result<Scrubbed<T>, ScrubError> {
    let kinds: Vec<String> = findings
        .redactions()
        .into_iter()
        .map(|finding| finding.kind)
        .collect();
    if kinds.iter().any(|kind| kind == FAILED) {
        return Err(ScrubError);
    }
    Ok(Scrubbed { value, kinds })
}

#[cfg(test)]
mod tests {
    use countersign_schemas::{Address, Stream, Timestamp};
    use serde_json::{Value, json};

    use super::*;
    use crate::archive::{Headers, Level, Row, Stored, row};
    use crate::redact::FingerprintKey;

    fn redactor() -> Redactor {
        Redactor::new(FingerprintKey::new("k1", [3; 32]).unwrap())
    }

    fn row_of(subject: &str, body: &Value) -> Row {
        let payload = body.to_string();
        let stored = Stored {
            stream: Address::parse(subject).map_or(Stream::Events, |at| at.stream()),
            incarnation: &"0000000000000".parse().unwrap(),
            seq: 1,
            stored_at: Timestamp::EPOCH,
            subject,
            headers: Headers::default(),
            payload: payload.as_bytes(),
        };
        row(&stored, &redactor())
    }

    fn samples() -> Vec<(String, Value)> {
        let all: Vec<Value> = serde_json::from_str(include_str!("message/samples.json")).unwrap();
        all.into_iter()
            .map(|mut sample| {
                let subject = sample["subject"].as_str().unwrap().to_owned();
                (subject, sample["body"].take())
            })
            .collect()
    }

    /// Puts `planted` wherever the samples have a place for it.
    fn plant(value: &mut Value, planted: &str) {
        match value {
            Value::String(text) => *text = text.replace("SECRET", planted),
            Value::Array(items) => items.iter_mut().for_each(|item| plant(item, planted)),
            Value::Object(map) => map.values_mut().for_each(|item| plant(item, planted)),
            _ => {}
        }
    }

    #[test]
    fn real_secrets_and_personal_data_are_in_no_row_and_rows_keep_their_level() {
        let planted = [
            "ghp_9qK2mZ7xTfW3vB8nR5yL1cJ6hD4sG0aPeUoI",
            "pat.smith@example.com",
            "4111 1111 1111 1111",
            "DE89370400440532013000",
        ];
        for secret in planted {
            for (subject, mut body) in samples() {
                plant(&mut body, secret);
                let row = row_of(&subject, &body);
                let text = serde_json::to_string(&row).unwrap();
                assert!(!text.contains(secret), "{subject}: {text}");
                assert_ne!(row.level, Level::Metadata, "{subject}: {text}");
            }
        }
    }

    #[test]
    fn ordinary_rows_are_not_redacted_at_all() {
        for (subject, mut body) in samples() {
            plant(&mut body, "the quarterly report");
            let row = row_of(&subject, &body);
            assert_eq!(row.redactions, [], "{subject}");
            assert_ne!(row.level, Level::Metadata, "{subject}");
        }
    }

    #[test]
    fn equal_values_correlate_over_rows_by_their_fingerprint() {
        let mail = "write to pat.smith@example.com";
        let print = |words: &str| {
            let body = json!({"scope": {}, "reason": words});
            row_of("control.freeze.lee", &body).fingerprints
        };
        assert_eq!(print(mail), print("pat.smith@example.com again"));
        assert_eq!(print(mail).len(), 1);
        assert_ne!(print(mail), print("to sam.jones@example.com"));
    }

    #[test]
    fn a_card_as_a_number_in_an_output_is_found() {
        let (subject, mut body) = samples()
            .into_iter()
            .find(|(subject, _)| subject.starts_with("tool.completed"))
            .unwrap();
        body["output"] = json!({"charged": 4_111_111_111_111_111_u64});
        let text = serde_json::to_string(&row_of(&subject, &body)).unwrap();
        assert!(!text.contains("4111111111111111"), "{text}");
    }
}
