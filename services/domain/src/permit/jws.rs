//! Compact JWS with Ed25519, nothing else: algorithm, type and key are pinned, so there is
//! nothing that a token could talk its reader into.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_schemas::{Timestamp, limits};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::keys::{KeySet, SigningKey};

/// Bytes of a token: a permit with a hundred policy ids stays under 8 KiB, and it travels
/// in a header.
const TOKEN_BYTES_MAX: usize = 32 * 1024;

/// A token does not prove what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a compact JWS of ours.
    #[error("the token is not a compact JWS with the expected claims")]
    Malformed,
    /// Another kind of token, or another algorithm.
    #[error("the token's header does not say `{expected}` signed with EdDSA")]
    WrongHeader {
        /// The type that was expected.
        expected: &'static str,
    },
    /// No key with its id.
    #[error("the token is signed with a key that is not trusted here")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the token's signature does not verify")]
    BadSignature,
    /// Issued by somebody else.
    #[error("the token was issued by another deployment")]
    WrongIssuer,
    /// For something else.
    #[error("the token is for another audience")]
    WrongAudience,
    /// No longer valid.
    #[error("the token expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Not valid yet.
    #[error("the token is dated in the future; check the clocks of this machine and its issuer")]
    NotYet,
    /// Valid for longer than any token may be.
    #[error("the token is valid for longer than allowed")]
    TooLong,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// Signs tokens of one type with one key. The header is encoded once.
#[derive(Debug)]
pub(super) struct Signer {
    key: SigningKey,
    head: String,
}

impl Signer {
    pub(super) fn new(key: SigningKey, typ: &'static str) -> Self {
        // A key id is base64url: nothing in the header needs escaping.
        let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{}"}}"#, key.id());
        let head = format!("{}.", URL_SAFE_NO_PAD.encode(header));
        Self { key, head }
    }

    pub(super) fn sign<C: Serialize>(&self, claims: &C) -> Result<String, TokenError> {
        let body = serde_json::to_vec(claims).map_err(|_| TokenError::Malformed)?;
        let mut token = String::with_capacity(self.head.len() + body.len() * 4 / 3 + 96);
        token.push_str(&self.head);
        URL_SAFE_NO_PAD.encode_string(body, &mut token);
        let signature = self.key.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

/// The id of the key that a token says it is signed with; proves nothing.
pub(super) fn key_id(token: &str) -> Option<String> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (head, _) = token.split_once('.')?;
    decode::<Header>(head).ok().map(|header| header.kid)
}

/// Reads a token of type `typ` signed by one of `keys` that is trusted at `now`. Says
/// nothing about its claims.
pub(super) fn open<C: DeserializeOwned>(
    token: &str,
    typ: &'static str,
    keys: &KeySet,
    now: Timestamp,
) -> Result<C, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (head, body) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    let header: Header = decode(head)?;
    if header.alg != "EdDSA" || header.typ != typ {
        return Err(TokenError::WrongHeader { expected: typ });
    }
    let key = keys.trusted(&header.kid, now);
    let key = key.ok_or(TokenError::UnknownKey)?;
    let signature: [u8; 64] = URL_SAFE_NO_PAD
        .decode(signature)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(TokenError::Malformed)?;
    if !key.verifies(signed.as_bytes(), &signature) {
        return Err(TokenError::BadSignature);
    }
    decode(body)
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

/// Judges a token's times: not from the future, not expired, not longer than `life_max`.
pub(super) fn check_times(
    iat: i64,
    exp: i64,
    life_max: std::time::Duration,
    now: Timestamp,
) -> Result<(), TokenError> {
    let skew = i64::try_from(limits::CLOCK_SKEW_SECONDS).unwrap_or_default();
    let life_max = i64::try_from(life_max.as_secs()).unwrap_or_default();
    if iat > now.seconds().saturating_add(skew) {
        return Err(TokenError::NotYet);
    }
    if exp.saturating_sub(iat) > life_max {
        return Err(TokenError::TooLong);
    }
    if now.seconds() >= exp.saturating_add(skew) {
        let at = Timestamp::from_micros(exp.saturating_mul(1_000_000));
        return Err(TokenError::Expired {
            at: at.unwrap_or(Timestamp::EPOCH),
        });
    }
    Ok(())
}
