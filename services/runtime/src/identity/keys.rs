//! Making keys: nkey users, Ed25519 signing keys with their public halves, and the keyed
//! fingerprints' secrets. Every secret is made from the operating system's randomness.

use countersign_domain::keys::{HmacKey, KeySet, SigningKey};
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

/// A key cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a {what}: {reason}")]
pub struct KeyError {
    what: &'static str,
    reason: String,
}

impl KeyError {
    fn new<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |reason| Self {
            what,
            reason: reason.to_string(),
        }
    }
}

/// The key of a NATS user.
pub(super) struct UserKey {
    /// The seed, `SU…`: the credential.
    pub(super) seed: String,
    /// The public key, `U…`.
    pub(super) public: String,
}

/// Makes the key of a user.
pub(super) fn user() -> Result<UserKey, KeyError> {
    let what = "user key";
    let pair = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, random(what)?)
        .map_err(KeyError::new(what))?;
    Ok(UserKey {
        seed: pair.seed().map_err(KeyError::new(what))?,
        public: pair.public_key(),
    })
}

/// An Ed25519 key that signs permits, claims or manifest entries.
pub(super) struct SigningFiles {
    /// PKCS#8 PEM, secret.
    pub(super) private_pem: Zeroizing<String>,
    /// A JSON Web Key Set with the public key.
    pub(super) jwks: String,
    /// SubjectPublicKeyInfo PEM.
    pub(super) public_pem: String,
}

/// Makes a signing key.
pub(super) fn signing() -> Result<SigningFiles, KeyError> {
    let what = "signing key";
    let key = SigningKey::from_seed(&random(what)?);
    let public = key.public();
    let public_pem = VerifyingKey::from_bytes(&public.to_bytes())
        .map_err(KeyError::new(what))?
        .to_public_key_pem(LineEnding::LF)
        .map_err(KeyError::new(what))?;
    Ok(SigningFiles {
        private_pem: key.to_pem().map_err(KeyError::new(what))?,
        jwks: KeySet::new([public]).to_jwks(),
        public_pem,
    })
}

/// Makes a symmetric key: one line, `<key id>:<base64url of 32 bytes>`.
pub(super) fn symmetric(key_id: &str) -> Result<Zeroizing<String>, KeyError> {
    let what = "symmetric key";
    let key = HmacKey::new(key_id, random(what)?).map_err(KeyError::new(what))?;
    Ok(key.to_line())
}

fn random(what: &'static str) -> Result<[u8; 32], KeyError> {
    let mut bytes = [0_u8; 32];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(KeyError::new(what))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::pkcs8::DecodePublicKey as _;

    #[test]
    fn a_users_seed_and_public_key_belong_together() {
        let key = user().unwrap();
        let pair = nkeys::KeyPair::from_seed(&key.seed).unwrap();
        assert_eq!(pair.public_key(), key.public);
        assert!(key.seed.starts_with("SU"));
        assert_ne!(user().unwrap().public, key.public);
    }

    #[test]
    fn the_public_files_hold_the_public_half_and_nothing_else() {
        let files = signing().unwrap();
        let key = SigningKey::from_pem(&files.private_pem).unwrap();
        let public = VerifyingKey::from_public_key_pem(&files.public_pem).unwrap();
        assert_eq!(key.public().to_bytes(), public.to_bytes());
        let set = KeySet::from_jwks(&files.jwks).unwrap();
        assert_eq!(set.get(key.id()), Some(&key.public()));
        let jwks: serde_json::Value = serde_json::from_str(&files.jwks).unwrap();
        assert!(jwks["keys"][0].get("d").is_none());
    }

    #[test]
    fn symmetric_keys_are_one_line_with_their_id() {
        let line = symmetric("k1").unwrap();
        assert_eq!(HmacKey::from_line(&line).unwrap().id(), "k1");
        assert_ne!(symmetric("k1").unwrap(), line);
    }
}
