//! The public keys of an issuer of mandates, from its JWKS.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_schemas::json::parse_strict;
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::keys::PublicKey;

/// Bytes of a JWKS: a hundred RSA keys with their certificates stay below it.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;
/// Keys of one issuer: the current ones and those of past rotations.
const KEYS_MAX: usize = 100;
/// Characters of a key id: it is compared for every mandate.
const KEY_ID_CHARS_MAX: usize = 256;
/// Bits of an RSA modulus: shorter ones can be factored, longer ones only cost time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=4_096;
/// The least public exponent: smaller ones have a history of forgeries.
const RSA_EXPONENT_MIN: u64 = 65_537;
/// Members of a JWK that are private or secret: a set that holds one was not meant to be
/// published, and whoever read it can sign.
const PRIVATE_MEMBERS: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];

/// How a mandate may be signed. There is no symmetric one: whoever can verify it could
/// also sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA over P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    /// The name in a header (RFC 7518, RFC 8037).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm that a header names.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }

    fn in_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }
}

/// A JWKS cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the JWKS cannot be used: {0}")]
pub struct IssuerKeysError(&'static str);

#[derive(Clone)]
enum Material {
    /// Verified strictly: one message has one accepted signature.
    Ed(PublicKey),
    Library(DecodingKey),
}

/// One key, which fits one algorithm.
#[derive(Clone)]
pub(super) struct IssuerKey {
    id: String,
    algorithm: Algorithm,
    material: Material,
}

impl IssuerKey {
    /// Whether `signature`, as base64url, over `message` is this key's.
    pub(super) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        match &self.material {
            Material::Ed(key) => {
                let bytes = URL_SAFE_NO_PAD.decode(signature).ok();
                let bytes: Option<[u8; 64]> = bytes.and_then(|bytes| bytes.try_into().ok());
                bytes.is_some_and(|bytes| key.verifies(message, &bytes))
            }
            Material::Library(key) => {
                let algorithm = self.algorithm.in_library();
                let verified = jsonwebtoken::crypto::verify(signature, message, key, algorithm);
                verified.unwrap_or(false)
            }
        }
    }
}

/// The keys that an issuer publishes for signatures.
#[derive(Clone)]
pub struct IssuerKeys(Vec<IssuerKey>);

impl std::fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = self.0.iter().map(|key| (&key.id, key.algorithm));
        f.debug_list().entries(ids).finish()
    }
}

impl IssuerKeys {
    /// Reads a JWKS (RFC 7517). Keys of other kinds or uses, symmetric ones among them,
    /// and keys without an id are left out.
    ///
    /// # Errors
    /// When it is too long or no strict JSON, holds no usable key, an unsound one, two
    /// with one id and algorithm, or anything private.
    pub fn from_jwks(bytes: &[u8]) -> Result<Self, IssuerKeysError> {
        if bytes.len() > JWKS_BYTES_MAX {
            return Err(IssuerKeysError("it is longer than 262144 bytes"));
        }
        let read = parse_strict(bytes).ok();
        let listed = read.as_ref().and_then(|set| set.get("keys")?.as_array());
        let listed = listed.ok_or(IssuerKeysError("it is not a JSON object with `keys`"))?;
        if listed.len() > KEYS_MAX {
            return Err(IssuerKeysError("it has more than 100 keys"));
        }
        let mut keys: Vec<IssuerKey> = Vec::new();
        for jwk in listed.iter().filter_map(Value::as_object) {
            let Some(key) = read_key(jwk)? else { continue };
            if keys
                .iter()
                .any(|other| other.id == key.id && other.algorithm == key.algorithm)
            {
                return Err(IssuerKeysError("two of its keys have the same `kid`"));
            }
            keys.push(key);
        }
        match keys.is_empty() {
            true => Err(IssuerKeysError(
                "it has no key with a `kid` for EdDSA, ES256 or RS256 signatures",
            )),
            false => Ok(Self(keys)),
        }
    }

    /// The key with this id and algorithm.
    pub(super) fn find(&self, id: &str, algorithm: Algorithm) -> Option<&IssuerKey> {
        let fits = |key: &&IssuerKey| key.id == id && key.algorithm == algorithm;
        self.0.iter().find(fits)
    }
}

fn text<'j>(jwk: &'j Map<String, Value>, name: &str) -> Option<&'j str> {
    jwk.get(name).and_then(Value::as_str)
}

/// One key; `None` for one that is not ours to use.
fn read_key(jwk: &Map<String, Value>) -> Result<Option<IssuerKey>, IssuerKeysError> {
    if PRIVATE_MEMBERS.iter().any(|name| jwk.contains_key(*name)) {
        return Err(IssuerKeysError("it holds a private key; replace that key"));
    }
    let Some(id) = text(jwk, "kid").filter(|id| id.len() <= KEY_ID_CHARS_MAX) else {
        return Ok(None);
    };
    let algorithm = match (text(jwk, "kty"), text(jwk, "crv")) {
        (Some("OKP"), Some("Ed25519")) => Algorithm::EdDsa,
        (Some("EC"), Some("P-256")) => Algorithm::Es256,
        (Some("RSA"), _) => Algorithm::Rs256,
        _ => return Ok(None),
    };
    if !is_for_signatures(jwk, algorithm) {
        return Ok(None);
    }
    let material = match algorithm {
        Algorithm::EdDsa => edwards(jwk),
        Algorithm::Es256 => elliptic(jwk),
        Algorithm::Rs256 => rsa(jwk),
    };
    let material = material.ok_or(IssuerKeysError("one of its keys is not sound"))?;
    Ok(Some(IssuerKey {
        id: id.to_owned(),
        algorithm,
        material,
    }))
}

fn is_for_signatures(jwk: &Map<String, Value>, algorithm: Algorithm) -> bool {
    let named = |name: &str, word: &str| jwk.get(name).is_none_or(|value| value == word);
    let operations = jwk.get("key_ops");
    let verifies = operations.is_none_or(|all| {
        let all = all.as_array();
        all.is_some_and(|all| all.iter().any(|one| one == "verify"))
    });
    named("use", "sig") && named("alg", algorithm.as_str()) && verifies
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(jwk, name)?).ok()
}

fn edwards(jwk: &Map<String, Value>) -> Option<Material> {
    let x: [u8; 32] = bytes(jwk, "x")?.try_into().ok()?;
    PublicKey::from_bytes(&x).ok().map(Material::Ed)
}

fn elliptic(jwk: &Map<String, Value>) -> Option<Material> {
    let whole = |name: &str| bytes(jwk, name).is_some_and(|bytes| bytes.len() == 32);
    if !whole("x") || !whole("y") {
        return None;
    }
    let key = DecodingKey::from_ec_components(text(jwk, "x")?, text(jwk, "y")?).ok()?;
    // The library looks at the point when it verifies: an error is a point off the curve.
    let tried = jsonwebtoken::crypto::verify("", b"", &key, jsonwebtoken::Algorithm::ES256);
    tried.is_ok().then_some(Material::Library(key))
}

fn rsa(jwk: &Map<String, Value>) -> Option<Material> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let n = n.get(n.iter().position(|byte| *byte != 0)?..)?;
    let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
    let exponent =
        (e.len() <= 4).then(|| e.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))?;
    let odd = n.last()? % 2 == 1 && exponent % 2 == 1;
    let sound = odd && RSA_BITS.contains(&bits) && exponent >= RSA_EXPONENT_MIN;
    sound.then(|| Material::Library(DecodingKey::from_rsa_raw_components(n, &e)))
}
