//! The outside of a mandate: three parts, and a header that is believed in nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_schemas::json::parse_strict;
use serde_json::{Map, Value};

use super::{MandateError, TYPE};

/// Bytes of a mandate: with the most facts of common length it stays under 8 KiB, and it
/// travels in every intent.
pub(super) const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Header parameters that are taken. Every other one, `crit`, `jwk`, `jku` and `b64` among
/// them, asks for something that is never done here.
const HEADER_NAMES: [&str; 5] = ["alg", "typ", "kid", "x5t", "x5t#S256"];

/// A token whose signature nobody has looked at.
pub(super) struct Unverified<'t> {
    /// What is signed.
    pub(super) signed: &'t str,
    /// The signature, as base64url.
    pub(super) signature: &'t str,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl<'t> Unverified<'t> {
    /// Takes a token apart.
    pub(super) fn read(token: &'t str) -> Result<Self, MandateError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(MandateError::Long);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(MandateError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(MandateError::Malformed)?;
        Ok(Self {
            signed,
            signature,
            header: object(header)?,
            claims: object(claims)?,
        })
    }

    /// The algorithm that the header names, to be compared with what the issuer may use.
    pub(super) fn algorithm(&self) -> Option<&str> {
        self.header.get("alg").and_then(Value::as_str)
    }

    /// The id of the key that the header names.
    pub(super) fn key_id(&self) -> Result<&str, MandateError> {
        let named = self.header.get("kid").and_then(Value::as_str);
        named.ok_or(MandateError::NoKeyId)
    }

    /// Refuses another type, and parameters that are not taken.
    pub(super) fn check_header(&self) -> Result<(), MandateError> {
        let foreign = |name: &String| !HEADER_NAMES.contains(&name.as_str());
        if self.header.keys().any(foreign) {
            return Err(MandateError::ForeignHeader);
        }
        let typ = self.header.get("typ").and_then(Value::as_str);
        let typ = typ.unwrap_or_default().to_ascii_lowercase();
        // RFC 7515, 4.1.9: the prefix may be left out, and case does not count.
        match typ.strip_prefix("application/").unwrap_or(&typ) == TYPE {
            true => Ok(()),
            false => Err(MandateError::WrongType),
        }
    }

    /// What it says, proved or not.
    pub(super) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
}

fn object(part: &str) -> Result<Map<String, Value>, MandateError> {
    let bytes = URL_SAFE_NO_PAD.decode(part);
    let bytes = bytes.map_err(|_| MandateError::Malformed)?;
    match parse_strict(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(MandateError::Malformed),
    }
}
