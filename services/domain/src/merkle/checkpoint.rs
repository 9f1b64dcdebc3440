//! What is signed about the tree: a C2SP checkpoint in a signed note, which tools that know
//! nothing of us can read.

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use signed_note::{
    Note, Signer, StandardVerifier, Verifier, VerifierList, is_key_name_valid, key_id,
    new_ed25519_verifier_key,
};
use tlog_tiles::{Checkpoint as Text, Hash};

use super::{Node, Tree};

/// Largest checkpoint that is read: three short lines and a signature of each witness.
pub const CHECKPOINT_BYTES_MAX: usize = 16 * 1024;
/// Which kind of key it is, in the identity of a note's key.
const ED25519: u8 = 1;

/// A statement about the whole tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: String,
    /// Leaves of the tree.
    pub size: u64,
    /// Its root.
    pub root: Node,
}

/// A checkpoint cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is not a checkpoint in a signed note.
    #[error("not a checkpoint in a signed note")]
    Malformed,
    /// Nobody whose key is pinned signed it.
    #[error("no pinned key has signed it, or the signature does not fit")]
    Unsigned,
    /// The name cannot stand in a checkpoint.
    #[error("the name of the log is empty or holds a space or a plus sign")]
    Name,
}

impl Checkpoint {
    /// The statement that the log `origin` now has this tree.
    #[must_use]
    pub fn of(origin: &str, tree: &Tree) -> Self {
        Self {
            origin: origin.to_owned(),
            size: tree.size(),
            root: tree.root(),
        }
    }

    /// The note with this statement, signed.
    ///
    /// # Errors
    /// When the log's name cannot stand in one.
    pub fn sign(&self, key: &SigningKey) -> Result<String, CheckpointError> {
        if !is_key_name_valid(&self.origin) {
            return Err(CheckpointError::Name);
        }
        let text = Text::new(&self.origin, self.size, Hash(self.root), "")
            .map_err(|_| CheckpointError::Name)?;
        let mut note = Note::new(&text.to_bytes(), &[]).map_err(|_| CheckpointError::Name)?;
        let signer = Key {
            name: &self.origin,
            key,
        };
        note.add_sigs(&[&signer])
            .map_err(|_| CheckpointError::Name)?;
        String::from_utf8(note.to_bytes()).map_err(|_| CheckpointError::Malformed)
    }

    /// The statement of a note that one of `keys` signed in the name of the log itself.
    /// Signatures of others may stand beside.
    ///
    /// # Errors
    /// When it is no such note.
    pub fn open(note: &str, keys: &[VerifyingKey]) -> Result<Self, CheckpointError> {
        if note.len() > CHECKPOINT_BYTES_MAX {
            return Err(CheckpointError::Malformed);
        }
        let note = Note::from_bytes(note.as_bytes()).map_err(|_| CheckpointError::Malformed)?;
        let text = Text::from_bytes(note.text()).map_err(|_| CheckpointError::Malformed)?;
        if !is_key_name_valid(text.origin()) {
            return Err(CheckpointError::Malformed);
        }
        let known: Vec<Box<dyn Verifier>> = keys
            .iter()
            .filter_map(|key| StandardVerifier::new(&verifier_key(text.origin(), key)).ok())
            .map(|key| Box::new(key) as Box<dyn Verifier>)
            .collect();
        note.verify(&VerifierList::new(known))
            .map_err(|_| CheckpointError::Unsigned)?;
        Ok(Self {
            origin: text.origin().to_owned(),
            size: text.size(),
            root: text.hash().0,
        })
    }
}

/// A key as tools for signed notes take it: `<name>+<id>+<key>`.
#[must_use]
pub fn verifier_key(origin: &str, key: &VerifyingKey) -> String {
    new_ed25519_verifier_key(origin, key)
}

/// Signs notes in the log's name.
struct Key<'a> {
    name: &'a str,
    key: &'a SigningKey,
}

impl Signer for Key<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn key_id(&self) -> u32 {
        let public = self.key.verifying_key();
        key_id(
            self.name,
            &[&[ED25519], public.as_bytes().as_slice()].concat(),
        )
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, ed25519_dalek::SignatureError> {
        Ok(self.key.try_sign(text)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32])
    }

    fn checkpoint() -> Checkpoint {
        let mut tree = Tree::default();
        tree.push([3; 32]);
        Checkpoint::of("northwind", &tree)
    }

    #[test]
    fn a_signed_checkpoint_reads_back_with_any_pinned_key() {
        let note = checkpoint().sign(&key(7)).unwrap();
        assert!(note.starts_with("northwind\n1\nAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n\n"));
        let pinned = [key(8).verifying_key(), key(7).verifying_key()];
        assert_eq!(Checkpoint::open(&note, &pinned), Ok(checkpoint()));
        let witnessed = format!("{note}\u{2014} elsewhere AAAAAAAA\n");
        assert_eq!(Checkpoint::open(&witnessed, &pinned), Ok(checkpoint()));
    }

    #[test]
    fn another_word_another_key_and_another_name_are_refused() {
        let note = checkpoint().sign(&key(7)).unwrap();
        let pinned = [key(7).verifying_key()];
        let other = checkpoint().sign(&key(8)).unwrap();
        let edited = note.replacen("\n1\n", "\n2\n", 1);
        // The line of the signature keeps the old name, so no key of the new name signed.
        let renamed = note.replacen("northwind", "southwind", 1);
        for bad in [other, edited, renamed] {
            assert_eq!(
                Checkpoint::open(&bad, &pinned),
                Err(CheckpointError::Unsigned)
            );
        }
        let huge = format!("{note}{}", " ".repeat(CHECKPOINT_BYTES_MAX));
        for bad in ["", "northwind\n1\n", &huge, note.trim_end()] {
            assert_eq!(
                Checkpoint::open(bad, &pinned),
                Err(CheckpointError::Malformed)
            );
        }
        for name in ["", "a b", "a+b", "a\nb"] {
            let named = Checkpoint {
                origin: name.to_owned(),
                ..checkpoint()
            };
            assert_eq!(named.sign(&key(7)), Err(CheckpointError::Name));
        }
    }

    #[test]
    fn a_key_is_written_as_other_tools_take_it() {
        let key = verifier_key("PeterNeumann", &key(7).verifying_key());
        assert!(key.starts_with("PeterNeumann+"), "{key}");
        StandardVerifier::new(&key).unwrap();
    }
}
