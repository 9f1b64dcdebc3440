//! Manifest entries: the numbered, chained and signed list of files that is the only
//! commit point of the archive.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_schemas::digest::canonical_json;
use countersign_schemas::{Digest, Incarnation, Timestamp};
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::keys::HmacKey;

use crate::merkle::{Checkpoint, CheckpointError, Tree, verifier_key};

/// Prefix of a signer's name; the rest is the base64url public key itself, so that a name
/// can stand for one key only.
const SIGNER_PREFIX: &str = "ed25519:";
/// Where one public key in a PEM file ends.
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// An entry or a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes are not an entry in canonical JSON.
    #[error("not a manifest entry in canonical JSON")]
    Malformed,
    /// Nobody whose key is pinned signed it.
    #[error("signed by `{0}`, which is not a pinned manifest key")]
    UnknownSigner(String),
    /// The signature does not fit the bytes.
    #[error("the signature does not fit the entry")]
    BadSignature,
    /// A private key cannot be read.
    #[error(
        "the manifest key is not an Ed25519 private key in PKCS#8 PEM; make one with `countersign init`"
    )]
    BadPrivateKey,
    /// A public key cannot be read.
    #[error(
        "the pinned manifest key is not an Ed25519 public key in PEM, as in `keys/manifest.pub`"
    )]
    BadPublicKey,
}

/// What an entry does. Readers refuse a kind they do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Adds files with new rows.
    Add,
    /// Puts files in the place of others that hold the same rows.
    Replace,
}

/// Sequences of one life of a stream, all of which a file accounts for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// Server name of the stream.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: Incarnation,
    /// First sequence it accounts for.
    pub first_seq: u64,
    /// Last sequence it accounts for.
    pub last_seq: u64,
}

/// Rows that follow each other in the whole archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Leaves {
    /// Number of the first.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
}

impl Leaves {
    /// How many they are; 0 if they end before they begin.
    #[must_use]
    pub fn count(self) -> u64 {
        self.last
            .checked_sub(self.first)
            .map_or(0, |more| more.saturating_add(1))
    }
}

/// One file of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Place relative to the archive's root.
    pub path: String,
    /// Digest of its bytes.
    pub sha256: Digest,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Which messages it accounts for: one span as written, several after a compaction.
    pub spans: Vec<Span>,
    /// Which rows of the archive it holds, in their order.
    pub leaves: Vec<Leaves>,
    /// Earliest store time.
    pub min_time: Timestamp,
    /// Latest store time.
    pub max_time: Timestamp,
}

impl FileEntry {
    /// The only path that a file with these contents may have: under the hour of its rows,
    /// or under the day if they are of several hours.
    #[must_use]
    pub fn expected_path(&self) -> String {
        let hour = |time: Timestamp| time.datetime().format("date=%Y-%m-%d/hour=%H").to_string();
        let day = |time: Timestamp| time.datetime().format("date=%Y-%m-%d").to_string();
        let place = if hour(self.min_time) == hour(self.max_time) {
            hour(self.min_time)
        } else {
            day(self.min_time)
        };
        let hash: String = self.sha256.hex().chars().take(8).collect();
        let name = match (self.spans.as_slice(), self.leaves.as_slice()) {
            ([span], [_]) => format!(
                "{}.{}-{:020}-{:020}",
                span.stream, span.incarnation, span.first_seq, span.last_seq
            ),
            (_, leaves) => format!(
                "compact-{:020}-{:020}",
                leaves.first().map_or(0, |leaves| leaves.first),
                leaves.last().map_or(0, |leaves| leaves.last)
            ),
        };
        format!("archive/v1/{place}/{name}-{hash}.parquet")
    }
}

/// A file that is no longer part of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Its place relative to the archive's root.
    pub path: String,
    /// Digest of its bytes.
    pub sha256: Digest,
}

/// How far a stream is archived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Server name of the stream.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: Incarnation,
    /// Its last archived sequence.
    pub seq: u64,
    /// Keyed digest of the message there, see [`super::Stored::digest`].
    pub last_message_hmac: Digest,
}

/// What a manifest entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub n: u64,
    /// Digest of the bytes of the entry before it; absent for the first.
    pub prev: Option<Digest>,
    /// What it does.
    pub kind: EntryKind,
    /// When it was made.
    pub created: Timestamp,
    /// The files it adds, in the order of their rows.
    pub files: Vec<FileEntry>,
    /// The files whose place they take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removes: Vec<Removed>,
    /// How far each stream is archived after it.
    pub positions: Vec<Position>,
    /// The tree over all rows of the archive after it.
    pub tree: Tree,
    /// Who signed it.
    pub signer: String,
}

impl Entry {
    /// The entry's place relative to the archive's root.
    #[must_use]
    pub fn path(n: u64) -> String {
        format!("manifest/{n:020}.json")
    }
}

/// The bytes on disk: the entry with its signature, as canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedEntry {
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
    /// Ed25519 over the canonical JSON of the entry without this field, base64url.
    pub signature: String,
}

impl SignedEntry {
    /// The canonical bytes, whose digest the next entry names.
    ///
    /// # Errors
    /// When a number has no canonical form.
    pub fn bytes(&self) -> Result<Vec<u8>, EntryError> {
        canonical_json(self).map_err(|_| EntryError::Malformed)
    }

    /// Reads an entry. Only the one canonical form is accepted, so that nothing can hide
    /// in spaces, repeated names or fields that nobody reads.
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let signed: Self = serde_json::from_slice(bytes).map_err(|_| EntryError::Malformed)?;
        if signed.bytes()? == bytes {
            Ok(signed)
        } else {
            Err(EntryError::Malformed)
        }
    }
}

/// The private key that signs entries.
#[derive(Clone)]
pub struct ManifestKey {
    key: SigningKey,
}

impl std::fmt::Debug for ManifestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ManifestKey({})", self.signer())
    }
}

impl ManifestKey {
    /// A key from its 32 secret bytes.
    #[must_use]
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(secret),
        }
    }

    /// Reads a key in PKCS#8 PEM.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn from_pem(pem: &str) -> Result<Self, EntryError> {
        SigningKey::from_pkcs8_pem(pem)
            .map(|key| Self { key })
            .map_err(|_| EntryError::BadPrivateKey)
    }

    /// The key of [`super::Stored::digest`]: whoever may write the manifest has it, and
    /// nobody who only reads.
    ///
    /// # Errors
    /// Never: its name is a constant.
    pub fn positions(&self) -> Result<HmacKey, EntryError> {
        let secret = Zeroizing::new(self.key.to_bytes());
        let mut hash = Sha256::new();
        hash.update(b"countersign manifest positions\0");
        hash.update(secret.as_slice());
        HmacKey::new("positions", hash.finalize().into()).map_err(|_| EntryError::BadPrivateKey)
    }

    /// The name under which this key signs; it holds the public key.
    #[must_use]
    pub fn signer(&self) -> String {
        signer_name(&self.key.verifying_key())
    }

    /// The public side alone, as a set of one.
    #[must_use]
    pub fn public(&self) -> ManifestPublicKeys {
        ManifestPublicKeys {
            keys: vec![self.key.verifying_key()],
        }
    }

    /// The signed checkpoint of the log `origin` when it has this tree.
    ///
    /// # Errors
    /// When the log's name cannot stand in one.
    pub fn checkpoint(&self, origin: &str, tree: &Tree) -> Result<String, CheckpointError> {
        Checkpoint::of(origin, tree).sign(&self.key)
    }

    /// Signs `entry` in this key's name.
    ///
    /// # Errors
    /// When a number has no canonical form.
    pub fn sign(&self, mut entry: Entry) -> Result<SignedEntry, EntryError> {
        entry.signer = self.signer();
        let bytes = canonical_json(&entry).map_err(|_| EntryError::Malformed)?;
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(&bytes).to_bytes());
        Ok(SignedEntry { entry, signature })
    }
}

fn signer_name(key: &VerifyingKey) -> String {
    format!("{SIGNER_PREFIX}{}", URL_SAFE_NO_PAD.encode(key.as_bytes()))
}

/// The public keys that may have signed an archive; several after a rotation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestPublicKeys {
    keys: Vec<VerifyingKey>,
}

impl ManifestPublicKeys {
    /// Reads one or several public keys in PEM (SubjectPublicKeyInfo), one after another:
    /// after a rotation the old ones stay.
    ///
    /// # Errors
    /// When the text holds anything else, or no key.
    pub fn from_pem(text: &str) -> Result<Self, EntryError> {
        let keys: Vec<VerifyingKey> = text
            .split_inclusive(PEM_END)
            .map(str::trim)
            .filter(|block| !block.is_empty())
            .map(|block| {
                VerifyingKey::from_public_key_pem(block).map_err(|_| EntryError::BadPublicKey)
            })
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(EntryError::BadPublicKey);
        }
        Ok(Self { keys })
    }

    /// Whether no key is pinned, so that signatures cannot be checked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What a signed checkpoint says, if one of these keys signed it.
    ///
    /// # Errors
    /// When it is no checkpoint, or none of them did.
    pub fn open_checkpoint(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::open(note, &self.keys)
    }

    /// The key that signed a checkpoint, as other tools for checkpoints take it.
    #[must_use]
    pub fn verifier_key(&self, note: &str) -> Option<String> {
        self.keys.iter().find_map(|key| {
            let signed = Checkpoint::open(note, std::slice::from_ref(key)).ok()?;
            Some(verifier_key(&signed.origin, key))
        })
    }

    /// Checks that one of these keys signed the entry.
    ///
    /// # Errors
    /// When the signer is not pinned or the signature does not fit.
    pub fn check(&self, signed: &SignedEntry) -> Result<(), EntryError> {
        let key = self
            .keys
            .iter()
            .find(|key| signer_name(key) == signed.entry.signer)
            .ok_or_else(|| {
                EntryError::UnknownSigner(signed.entry.signer.chars().take(60).collect())
            })?;
        let signature = URL_SAFE_NO_PAD
            .decode(&signed.signature)
            .ok()
            .and_then(|bytes| Signature::from_slice(&bytes).ok())
            .ok_or(EntryError::BadSignature)?;
        let bytes = canonical_json(&signed.entry).map_err(|_| EntryError::Malformed)?;
        key.verify(&bytes, &signature)
            .map_err(|_| EntryError::BadSignature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::pkcs8::EncodePublicKey as _;
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;

    fn entry() -> Entry {
        Entry {
            n: 1,
            prev: None,
            kind: EntryKind::Add,
            created: Timestamp::EPOCH,
            files: Vec::new(),
            removes: Vec::new(),
            positions: Vec::new(),
            tree: Tree::default(),
            signer: String::new(),
        }
    }

    #[test]
    fn a_signed_entry_reads_back_and_names_its_key() {
        let key = ManifestKey::from_bytes(&[7; 32]);
        let signed = key.sign(entry()).unwrap();
        let bytes = signed.bytes().unwrap();
        let read = SignedEntry::parse(&bytes).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.entry.signer, key.signer());
        key.public().check(&read).unwrap();
        let other = ManifestKey::from_bytes(&[8; 32]).public();
        assert!(matches!(
            other.check(&read),
            Err(EntryError::UnknownSigner(_))
        ));
    }

    #[test]
    fn only_the_canonical_form_is_an_entry() {
        let signed = ManifestKey::from_bytes(&[7; 32]).sign(entry()).unwrap();
        let text = String::from_utf8(signed.bytes().unwrap()).unwrap();
        for other in [
            text.replace(':', ": "),
            text.replacen('{', r#"{"note":"x","#, 1),
            text.replacen(r#""kind":"add""#, r#""kind":"forget""#, 1),
            String::new(),
        ] {
            assert_eq!(
                SignedEntry::parse(other.as_bytes()),
                Err(EntryError::Malformed)
            );
        }
    }

    #[test]
    fn a_changed_word_breaks_the_signature() {
        let key = ManifestKey::from_bytes(&[7; 32]);
        let mut signed = key.sign(entry()).unwrap();
        signed.entry.n = 2;
        assert_eq!(key.public().check(&signed), Err(EntryError::BadSignature));
    }

    #[test]
    fn pinned_keys_are_read_from_pem_also_after_a_rotation() {
        let pem = |byte: u8| {
            SigningKey::from_bytes(&[byte; 32])
                .verifying_key()
                .to_public_key_pem(LineEnding::LF)
                .unwrap()
        };
        let both = ManifestPublicKeys::from_pem(&(pem(7) + &pem(8))).unwrap();
        for byte in [7, 8] {
            let signed = ManifestKey::from_bytes(&[byte; 32]).sign(entry()).unwrap();
            both.check(&signed).unwrap();
        }
        for bad in ["", "ed25519:abc", &pem(7).replace("PUBLIC", "PRIVATE")] {
            assert_eq!(
                ManifestPublicKeys::from_pem(bad),
                Err(EntryError::BadPublicKey)
            );
        }
    }

    #[test]
    fn private_keys_do_not_print() {
        let key = ManifestKey::from_bytes(&[7; 32]);
        assert_eq!(format!("{key:?}"), format!("ManifestKey({})", key.signer()));
        assert_eq!(
            ManifestKey::from_pem("x").unwrap_err(),
            EntryError::BadPrivateKey
        );
    }
}
