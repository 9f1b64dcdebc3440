//! `input_match`: tells whether two intents have the same tool and input, to holders of
//! the deployment's key only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_schemas::digest::canonical_json;
use countersign_schemas::{JsonObject, Token, ToolName};
use hmac::{Hmac, Mac as _};
use serde::Serialize;
use sha2::Sha256;
use zeroize::Zeroizing;

#[derive(Serialize)]
struct Covered<'a> {
    tool: &'a ToolName,
    input: &'a JsonObject,
}

/// The deployment's key for [`MatchKey::input_match`].
#[derive(Clone)]
pub struct MatchKey {
    id: Token,
    bytes: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for MatchKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MatchKey({})", self.id)
    }
}

impl MatchKey {
    /// A key and its name.
    #[must_use]
    pub fn new(id: Token, bytes: [u8; 32]) -> Self {
        Self {
            id,
            bytes: Zeroizing::new(bytes),
        }
    }

    /// HMAC-SHA256 over the canonical JSON of `{tool, input}`, as `<key id>:<base64url>`.
    /// Without the key nobody can guess values from it.
    ///
    /// # Errors
    /// When the input has no canonical JSON form, which a strictly read input always has.
    pub fn input_match(&self, tool: &ToolName, input: &JsonObject) -> Result<String, serde_json::Error> {
        let covered = canonical_json(&Covered { tool, input })?;
        let mac = Hmac::<Sha256>::new_from_slice(self.bytes.as_slice());
        let mut mac = mac.map_err(serde::ser::Error::custom)?;
        mac.update(&covered);
        let tag = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        Ok(format!("{}:{tag}", self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_inputs_match_under_one_key_only() {
        let key = |byte| MatchKey::new("k1".parse().unwrap(), [byte; 32]);
        let tag = |key: &MatchKey, tool: &str, input| {
            let input = JsonObject::from_value(input).unwrap();
            key.input_match(&tool.parse().unwrap(), &input).unwrap()
        };
        let base = tag(&key(1), "a", json!({"x": 1, "y": 2}));
        assert!(base.starts_with("k1:"));
        assert_eq!(base, tag(&key(1), "a", json!({"y": 2.0, "x": 1})));
        assert_ne!(base, tag(&key(2), "a", json!({"x": 1, "y": 2})));
        assert_ne!(base, tag(&key(1), "b", json!({"x": 1, "y": 2})));
        assert!(!format!("{:?}", key(1)).contains("1, 1"));
    }
}
