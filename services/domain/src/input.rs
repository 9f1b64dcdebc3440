//! The digest that binds a permit to one exact input.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_schemas::{Digest, IntentId, JsonObject, ToolName};
use serde::Serialize;

/// The body of an input digest. Field names are part of the contract: a worker in another
/// language computes the same digest from the permit's salt.
#[derive(Serialize)]
struct Covered<'a> {
    intent_id: IntentId,
    tool: &'a ToolName,
    input: &'a JsonObject,
    salt: &'a str,
}

/// The salt of an input digest as it travels: base64url without padding.
#[must_use]
pub fn salt_text(salt: [u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(salt)
}

/// SHA-256 over the canonical JSON of `{intent_id, tool, input, salt}`.
///
/// # Errors
/// When the input has no canonical JSON form, which a strictly read input always has.
pub fn input_digest(
    intent: IntentId,
    tool: &ToolName,
    input: &JsonObject,
    salt: &str,
) -> Result<Digest, serde_json::Error> {
    Digest::of_json(&Covered {
        intent_id: intent,
        tool,
        input,
        salt,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_schemas::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    fn object(value: serde_json::Value) -> JsonObject {
        JsonObject::from_value(value).unwrap()
    }

    fn digest(intent: IntentId, tool: &str, input: &JsonObject, salt: &str) -> Digest {
        input_digest(intent, &tool.parse().unwrap(), input, salt).unwrap()
    }

    #[test]
    fn every_covered_part_changes_the_digest() {
        let intent = IntentId::new_at(Timestamp::EPOCH);
        let input = object(json!({"to": "a@example.com", "n": 1}));
        let base = digest(intent, "mail.send", &input, "s");
        let other = IntentId::new_at(Timestamp::EPOCH);
        let variants = [
            digest(other, "mail.send", &input, "s"),
            digest(intent, "mail.sent", &input, "s"),
            digest(intent, "mail.send", &object(json!({"n": 1})), "s"),
            digest(intent, "mail.send", &input, "t"),
        ];
        assert!(variants.iter().all(|variant| *variant != base));
    }

    #[test]
    fn a_fixed_case_keeps_its_digest_for_workers_in_other_languages() {
        let intent: IntentId = "019a0000-0000-7000-8000-000000000000".parse().unwrap();
        let text = r#"{"input":{"b":[1,true,null],"é":"x"},"intent_id":"019a0000-0000-7000-8000-000000000000","salt":"AAAAAAAAAAAAAAAAAAAAAA","tool":"mail.send"}"#;
        let input = object(json!({"é": "x", "b": [1.0, true, null]}));
        assert_eq!(
            digest(intent, "mail.send", &input, &salt_text([0; 16])),
            Digest::of_bytes(text.as_bytes())
        );
    }

    proptest! {
        #[test]
        fn key_order_never_matters(keys in proptest::collection::btree_map("[a-z]{1,6}", 0_i64..1000, 1..8)) {
            let intent = IntentId::new_at(Timestamp::EPOCH);
            let forward: String = keys.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect::<Vec<_>>().join(",");
            let backward: String = keys.iter().rev().map(|(k, v)| format!("\"{k}\": {v}")).collect::<Vec<_>>().join(" , ");
            let read = |text: String| object(serde_json::from_str(&format!("{{{text}}}")).unwrap());
            prop_assert_eq!(
                digest(intent, "t", &read(forward), "s"),
                digest(intent, "t", &read(backward), "s")
            );
        }
    }
}
