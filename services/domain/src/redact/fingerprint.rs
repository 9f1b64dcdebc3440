//! Keyed fingerprints: equal values give equal marks, and only the key's holder can test a
//! guess.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::marks;

/// Bytes of the HMAC that a mark shows: 48 bits tell a deployment's values apart, and are
/// too few to be worth anything elsewhere.
const SHOWN_BYTES: usize = 6;

/// A fingerprint key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name cannot stand in a mark.
    #[error(
        "the fingerprint key's id cannot stand in a mark: use a small letter, then up to 15 small letters and digits, at most 8 of them digits"
    )]
    Id,
    /// The line is not `<key id>:<base64url of 32 bytes>`.
    #[error("the fingerprint key is not `<key id>:<base64url of 32 bytes>` on one line")]
    Form,
}

/// The secret under which values are fingerprinted, with the name that marks carry.
pub struct FingerprintKey {
    id: String,
    bytes: Zeroizing<[u8; 32]>,
}

impl FingerprintKey {
    /// A key of 32 secret bytes.
    ///
    /// # Errors
    /// If `id` cannot stand in a mark.
    pub fn new(id: &str, bytes: [u8; 32]) -> Result<Self, KeyError> {
        if !marks::is_key_id(id) {
            return Err(KeyError::Id);
        }
        Ok(Self {
            id: id.to_owned(),
            bytes: Zeroizing::new(bytes),
        })
    }

    /// Reads a key file's line, `<key id>:<base64url of 32 bytes>`.
    ///
    /// # Errors
    /// If the line has another form or the id cannot stand in a mark.
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let (id, encoded) = line.trim().split_once(':').ok_or(KeyError::Form)?;
        let decoded = URL_SAFE_NO_PAD
            .decode(encoded.trim_end_matches('='))
            .map(Zeroizing::new)
            .map_err(|_| KeyError::Form)?;
        let bytes = <[u8; 32]>::try_from(decoded.as_slice()).map_err(|_| KeyError::Form)?;
        Self::new(id, bytes)
    }

    /// The name that marks carry.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name of the epoch after this one, as `k2` after `k1`: no name comes twice, because
    /// only the newest epoch is counted on from and it is never destroyed.
    ///
    /// # Errors
    /// If the counted name cannot stand in a mark.
    pub fn next_id(&self) -> Result<String, KeyError> {
        let word = self.id.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = self.id.strip_prefix(word).unwrap_or_default();
        // A name without a number is the first.
        let number: u64 = match number.is_empty() {
            true => 1,
            false => number.parse().map_err(|_| KeyError::Id)?,
        };
        let next = format!("{word}{}", number.saturating_add(1));
        match marks::is_key_id(&next) {
            true => Ok(next),
            false => Err(KeyError::Id),
        }
    }

    /// Whether `id` can name a key.
    #[must_use]
    pub fn is_id(id: &str) -> bool {
        marks::is_key_id(id)
    }

    /// The mark of a value in canonical form.
    pub(super) fn mark(&self, kind: &str, canonical: &str) -> String {
        let sum = self.mac(&[kind.as_bytes(), &[0], canonical.as_bytes()]);
        match sum.get(..SHOWN_BYTES) {
            Some(shown) => format!("[{kind}:{}:{}]", self.id, HEXLOWER.encode(shown)),
            None => super::REDACTION_FAILED.to_owned(),
        }
    }

    /// HMAC-SHA-256 of the parts, one after the other.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> Vec<u8> {
        // HMAC takes keys of every length; should it ever refuse one, the value is gone and
        // only the correlation is lost.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.bytes.as_slice()) else {
            return Vec::new();
        };
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FingerprintKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
