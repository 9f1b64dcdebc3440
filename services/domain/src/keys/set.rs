//! Public keys trusted for one purpose, as a JWKS, and their life through rotations.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_schemas::Timestamp;
use serde::{Deserialize, Serialize};

use super::{KeyError, PublicKey};

/// Keys of one JWKS: the current one and those of past rotations still in use.
const KEYS_MAX: usize = 64;

/// Public keys that are trusted for one purpose. Rotation adds a key and keeps the old
/// ones until what they signed has expired.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Trusted>,
}

/// A key, and the second from which nothing it signed counts any more.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trusted {
    key: PublicKey,
    ends: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    kid: String,
    #[serde(rename = "use", default)]
    usage: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    /// Seconds since 1970; on retired keys only. OpenID Federation has the same member for
    /// keys of the past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

impl KeySet {
    /// A set of these keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let trusted = |key| Trusted { key, ends: None };
        Self {
            keys: keys.into_iter().map(trusted).collect(),
        }
    }

    /// Reads a JWKS.
    ///
    /// # Errors
    /// When it is not JSON, is empty or too long, or holds a key of another type or with
    /// a key id that is not its thumbprint: a set is trusted whole or not at all.
    pub fn from_jwks(text: &str) -> Result<Self, KeyError> {
        let jwks: Jwks =
            serde_json::from_str(text).map_err(|_| KeyError::Jwks("it is not a JWKS"))?;
        let keys: Result<Vec<_>, _> = jwks.keys.iter().map(read_jwk).collect();
        bounded(Self { keys: keys? })
    }

    /// The set as a JWKS.
    #[must_use]
    pub fn to_jwks(&self) -> String {
        let keys = self.keys.iter().map(write_jwk).collect();
        serde_json::to_string_pretty(&Jwks { keys }).unwrap_or_default()
    }

    /// The key with this id, retired or not.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&PublicKey> {
        let found = self.keys.iter().find(|trusted| trusted.key.id == id);
        found.map(|trusted| &trusted.key)
    }

    /// The key with this id, unless its time is over.
    #[must_use]
    pub fn trusted(&self, id: &str, now: Timestamp) -> Option<&PublicKey> {
        let found = self.keys.iter().find(|trusted| trusted.key.id == id)?;
        (!found.is_over(now)).then_some(&found.key)
    }

    /// The keys, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter().map(|trusted| &trusted.key)
    }

    /// From when nothing that the key with this id signed counts any more; `None` for the
    /// key that signs, and for one that is not in the set.
    #[must_use]
    pub fn ends(&self, id: &str) -> Option<Timestamp> {
        let found = self.keys.iter().find(|trusted| trusted.key.id == id)?;
        let ends = found.ends?;
        Timestamp::from_micros(ends.saturating_mul(1_000_000))
    }

    /// The set with `key` in it, before anything is signed with it: verifiers must know a
    /// key before they meet it.
    ///
    /// # Errors
    /// When the set is full.
    pub fn with(&self, key: PublicKey) -> Result<Self, KeyError> {
        let mut keys = self.keys.clone();
        if self.get(&key.id).is_none() {
            keys.push(Trusted { key, ends: None });
        }
        bounded(Self { keys })
    }

    /// The set once only the key called `signing` signs: each other key is kept until
    /// `ends`, or until the end that it has already.
    #[must_use]
    pub fn retiring_all_but(&self, signing: &str, ends: Timestamp) -> Self {
        let retire = |trusted: &Trusted| Trusted {
            key: trusted.key.clone(),
            ends: match trusted.key.id == signing {
                true => None,
                false => trusted.ends.or(Some(ends.seconds())),
            },
        };
        Self {
            keys: self.keys.iter().map(retire).collect(),
        }
    }

    /// The set with the key called `signing` alone: what any other key signed no longer
    /// counts.
    #[must_use]
    pub fn only(&self, signing: &str) -> Self {
        self.filtered(|trusted| trusted.key.id == signing)
    }

    /// The set without the keys whose time is over.
    #[must_use]
    pub fn without_ended(&self, now: Timestamp) -> Self {
        self.filtered(|trusted| !trusted.is_over(now))
    }

    fn filtered(&self, stays: impl Fn(&Trusted) -> bool) -> Self {
        let stays = |trusted: &&Trusted| stays(trusted);
        Self {
            keys: self.keys.iter().filter(stays).cloned().collect(),
        }
    }
}

impl Trusted {
    fn is_over(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|ends| ends <= now.seconds())
    }
}

fn bounded(set: KeySet) -> Result<KeySet, KeyError> {
    match (1..=KEYS_MAX).contains(&set.keys.len()) {
        true => Ok(set),
        false => Err(KeyError::Jwks("expected 1 to 64 keys")),
    }
}

fn write_jwk(trusted: &Trusted) -> Jwk {
    let key = &trusted.key;
    Jwk {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        x: URL_SAFE_NO_PAD.encode(key.to_bytes()),
        kid: key.id.clone(),
        usage: Some("sig".to_owned()),
        alg: Some("EdDSA".to_owned()),
        exp: trusted.ends,
    }
}

fn read_jwk(jwk: &Jwk) -> Result<Trusted, KeyError> {
    let signs = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
        && jwk.alg.as_deref().is_none_or(|alg| alg == "EdDSA");
    if jwk.kty != "OKP" || jwk.crv != "Ed25519" || !signs {
        return Err(KeyError::Jwks("a key is not for Ed25519 signatures"));
    }
    let bytes: [u8; 32] = URL_SAFE_NO_PAD
        .decode(&jwk.x)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(KeyError::Jwks("a key is not 32 bytes of base64url"))?;
    let key = PublicKey::from_bytes(&bytes)?;
    if key.id != jwk.kid {
        return Err(KeyError::Jwks(
            "a key id is not the RFC 7638 thumbprint of its key",
        ));
    }
    Ok(Trusted { key, ends: jwk.exp })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKey;

    fn key(n: u8) -> PublicKey {
        SigningKey::from_seed(&[n; 32]).public()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000).unwrap()
    }

    #[test]
    fn jwks_round_trips_with_several_keys() {
        let keys = [1_u8, 2, 3].map(key);
        let set = KeySet::new(keys.clone());
        let read = KeySet::from_jwks(&set.to_jwks()).unwrap();
        assert_eq!(read, set);
        assert_eq!(read.get(keys[1].id()), Some(&keys[1]));
        assert_eq!(read.get("other"), None);
        assert_eq!(read.iter().count(), 3);
    }

    #[test]
    fn a_jwks_is_trusted_whole_or_not_at_all() {
        let good = KeySet::new([key(1)]).to_jwks();
        for (from, to) in [
            ("OKP", "RSA"),
            ("Ed25519", "X25519"),
            ("\"sig\"", "\"enc\""),
            ("EdDSA", "HS256"),
            ("\"kid\": \"", "\"kid\": \"x"),
            ("\"x\": \"", "\"x\": \"AA"),
            ("keys", "sleutels"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert!(KeySet::from_jwks(&bad).is_err(), "{from} -> {to}");
        }
        assert!(KeySet::from_jwks(r#"{"keys":[]}"#).is_err());
    }

    #[test]
    fn a_retired_key_counts_until_its_end_and_then_goes() {
        let (old, new) = (key(1), key(2));
        let published = KeySet::new([old.clone()]).with(new.clone()).unwrap();
        assert_eq!(published.with(new.clone()).unwrap(), published, "once");
        assert!(
            published
                .trusted(old.id(), at(i64::from(u32::MAX)))
                .is_some()
        );

        let rotated = published.retiring_all_but(new.id(), at(100));
        let rotated = KeySet::from_jwks(&rotated.to_jwks()).unwrap();
        assert_eq!(rotated.ends(old.id()), Some(at(100)));
        assert_eq!(rotated.ends(new.id()), None);
        assert!(rotated.trusted(old.id(), at(99)).is_some());
        assert!(rotated.trusted(old.id(), at(100)).is_none());
        assert!(rotated.trusted(new.id(), at(100)).is_some());
        assert!(rotated.trusted("other", at(0)).is_none());

        // A second rotation does not prolong the first key.
        let third = key(3);
        let again = rotated.with(third.clone()).unwrap();
        let again = again.retiring_all_but(third.id(), at(150));
        assert_eq!(again.ends(old.id()), Some(at(100)));
        assert_eq!(again.ends(new.id()), Some(at(150)));
        let pruned = again.without_ended(at(120));
        let ids: Vec<&str> = pruned.iter().map(PublicKey::id).collect();
        assert_eq!(ids, [new.id(), third.id()]);
        assert_eq!(again.only(third.id()), KeySet::new([third]));
    }

    #[test]
    fn a_set_is_never_empty_nor_without_bound() {
        assert!(KeySet::from_jwks(r#"{"keys":[]}"#).is_err());
        let many = (0..64).map(key);
        let full = KeySet::new(many);
        assert!(KeySet::from_jwks(&full.to_jwks()).is_ok());
        assert!(full.with(key(99)).is_err());
    }
}
