//! Keys as they lie in files: Ed25519 signing keys (PKCS#8 PEM), their public halves as a
//! JWKS, and keyed-hash secrets as one line of text.

mod set;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ed25519_dalek::{Signer as _, VerifyingKey};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use set::KeySet;

/// Characters of a key id: it is written into every redacted value and every token.
const KEY_ID_CHARS_MAX: usize = 64;

/// A key cannot be used. Never holds any part of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The PEM is not an Ed25519 key.
    #[error("cannot read the signing key: expected an Ed25519 private key as PKCS#8 PEM")]
    Pem,
    /// The line has another form.
    #[error(
        "cannot read the secret: expected one line `<key id>:<base64url of 32 bytes>`, with a \
         key id of 1 to 64 of A-Z a-z 0-9 _ -"
    )]
    Line,
    /// The JWKS has another form.
    #[error("cannot read the public keys: {0}")]
    Jwks(&'static str),
}

/// An Ed25519 key that signs. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct SigningKey {
    inner: ed25519_dalek::SigningKey,
    id: String,
}

impl SigningKey {
    /// The key with this 32-byte seed, which must come from a secure random source.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let inner = ed25519_dalek::SigningKey::from_bytes(seed);
        let id = thumbprint(&inner.verifying_key());
        Self { inner, id }
    }

    /// Reads PKCS#8 PEM.
    ///
    /// # Errors
    /// When the text is not an Ed25519 private key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let inner =
            ed25519_dalek::SigningKey::from_pkcs8_pem(pem.trim()).map_err(|_| KeyError::Pem)?;
        let id = thumbprint(&inner.verifying_key());
        Ok(Self { inner, id })
    }

    /// The key as PKCS#8 PEM, wiped when dropped.
    ///
    /// # Errors
    /// When the key has no such form, which an Ed25519 key always has.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        self.inner
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|_| KeyError::Pem)
    }

    /// The key id: the RFC 7638 thumbprint of the public key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey {
            inner: self.inner.verifying_key(),
            id: self.id.clone(),
        }
    }

    /// Signs `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.inner.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

/// The public half of a [`SigningKey`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    inner: VerifyingKey,
    id: String,
}

impl PublicKey {
    /// The key with these 32 bytes.
    ///
    /// # Errors
    /// When they are not a point of the curve, or a weak one.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let inner = VerifyingKey::from_bytes(bytes)
            .ok()
            .filter(|key| !key.is_weak())
            .ok_or(KeyError::Jwks("a key is not an Ed25519 public key"))?;
        let id = thumbprint(&inner);
        Ok(Self { inner, id })
    }

    /// The 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.inner.to_bytes()
    }

    /// The key id: its RFC 7638 thumbprint.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether `signature` over `message` is this key's. Strict: one message has one
    /// accepted signature encoding.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.inner.verify_strict(message, &signature).is_ok()
    }
}

/// RFC 7638 over the required members of an OKP key, in their canonical order.
fn thumbprint(key: &VerifyingKey) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.to_bytes());
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
}

/// A secret for keyed hashes, with the id under which its results are known.
#[derive(Clone)]
pub struct HmacKey {
    id: String,
    secret: Zeroizing<[u8; 32]>,
}

impl HmacKey {
    /// A key from its parts.
    ///
    /// # Errors
    /// When the id is not a token.
    pub fn new(id: &str, secret: [u8; 32]) -> Result<Self, KeyError> {
        let secret = Zeroizing::new(secret);
        let fits = (1..=KEY_ID_CHARS_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !fits {
            return Err(KeyError::Line);
        }
        Ok(Self {
            id: id.to_owned(),
            secret,
        })
    }

    /// Reads `<key id>:<base64url of 32 bytes>`.
    ///
    /// # Errors
    /// When the line has another form.
    pub fn from_line(line: &str) -> Result<Self, KeyError> {
        let (id, encoded) = line.trim().split_once(':').ok_or(KeyError::Line)?;
        let decoded = Zeroizing::new(
            URL_SAFE_NO_PAD
                .decode(encoded.trim_end_matches('='))
                .map_err(|_| KeyError::Line)?,
        );
        let secret: [u8; 32] = decoded.as_slice().try_into().map_err(|_| KeyError::Line)?;
        Self::new(id, secret)
    }

    /// The line of the key's file, wiped when dropped.
    #[must_use]
    pub fn to_line(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.secret.as_slice()));
        Zeroizing::new(format!("{}:{}\n", self.id, encoded.as_str()))
    }

    /// The key id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The 32 secret bytes.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// HMAC-SHA-256 of `message`.
    #[must_use]
    pub fn mac(&self, message: &[u8]) -> [u8; 32] {
        // HMAC takes keys of every length; the error type only exists for other MACs.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.as_slice()) else {
            return [0; 32];
        };
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HmacKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprint_is_the_one_of_rfc_8037() {
        // RFC 8037, appendix A.2 and A.3.
        let x = URL_SAFE_NO_PAD
            .decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
            .unwrap();
        let key = PublicKey::from_bytes(&x.try_into().unwrap()).unwrap();
        assert_eq!(key.id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn pem_round_trips_and_other_texts_are_refused() {
        let key = SigningKey::from_seed(&[7; 32]);
        let pem = key.to_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
        let read = SigningKey::from_pem(&pem).unwrap();
        assert_eq!(read.id(), key.id());
        assert!(key.public().verifies(b"m", &read.sign(b"m")));
        assert!(!key.public().verifies(b"n", &read.sign(b"m")));
        for bad in [
            "",
            "nope",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ] {
            assert_eq!(SigningKey::from_pem(bad).unwrap_err(), KeyError::Pem);
        }
    }

    #[test]
    fn the_identity_point_is_no_key() {
        let mut weak = [0_u8; 32];
        weak[0] = 1;
        assert!(PublicKey::from_bytes(&weak).is_err());
    }

    #[test]
    fn secret_lines_round_trip_and_never_print() {
        let key = HmacKey::new("k1", [9; 32]).unwrap();
        let read = HmacKey::from_line(&key.to_line()).unwrap();
        assert_eq!(read.id(), "k1");
        assert_eq!(read.secret(), &[9; 32]);
        assert_eq!(read.mac(b"x"), key.mac(b"x"));
        assert_ne!(key.mac(b"x"), key.mac(b"y"));
        assert_eq!(format!("{key:?}"), "HmacKey(k1)");
        assert!(!format!("{:?}", SigningKey::from_seed(&[9; 32])).contains("9, 9"));
        for bad in ["", "k1", "k1:", ":AAAA", "k 1:AAAA", "k1:AAAA"] {
            assert_eq!(
                HmacKey::from_line(bad).unwrap_err(),
                KeyError::Line,
                "{bad}"
            );
        }
    }

    #[test]
    fn mac_is_hmac_sha_256() {
        // RFC 4231 pads short keys with zeros, so test case 2 fits a 32-byte key.
        let mut secret = [0_u8; 32];
        secret[..4].copy_from_slice(b"Jefe");
        let key = HmacKey::new("t", secret).unwrap();
        assert_eq!(
            data_encoding::HEXLOWER.encode(&key.mac(b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
