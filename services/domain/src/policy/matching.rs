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

/// A key file does not hold a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a match key is one line, `<key id>:<base64url of 32 bytes>`; `countersign init` writes one"
)]
pub struct MatchKeyError;

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
    /// Reads the one line of a key file: `<key id>:<base64url of 32 bytes>`.
    ///
    /// # Errors
    /// When the line has another form; the error holds nothing of it.
    pub fn parse(line: &str) -> Result<Self, MatchKeyError> {
        let (id, encoded) = line.trim().split_once(':').ok_or(MatchKeyError)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map(Zeroizing::new)
            .map_err(|_| MatchKeyError)?;
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| MatchKeyError)?;
        Ok(Self::new(id.parse().map_err(|_| MatchKeyError)?, bytes))
    }

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
    pub fn input_match(
        &self,
        tool: &ToolName,
        input: &JsonObject,
    ) -> Result<String, serde_json::Error> {
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

    #[test]
    fn a_key_file_is_one_line() {
        let line = format!("k1:{}\n", URL_SAFE_NO_PAD.encode([5; 32]));
        let input = JsonObject::default();
        let read = MatchKey::parse(&line).unwrap();
        let made = MatchKey::new("k1".parse().unwrap(), [5; 32]);
        let tool = "t".parse().unwrap();
        assert_eq!(
            read.input_match(&tool, &input).unwrap(),
            made.input_match(&tool, &input).unwrap()
        );
        for bad in ["", "k1", "k1:", "k1:AAAA", ":AAAA", "k 1:AAAA"] {
            assert_eq!(MatchKey::parse(bad).unwrap_err(), MatchKeyError);
        }
    }
}
