//! Digests of what is kept nowhere: equal bytes have equal digests, and only the key's holder
//! can test a guess.

use countersign_schemas::Digest;

use super::Redactor;

/// Tells these digests from marks: no type has a space in its name.
const DOMAIN: &[u8] = b"a message\0";

impl Redactor {
    /// The keyed digest of a message. A plain one could be tried against every value that the
    /// message may hold.
    #[must_use]
    pub fn digest(&self, message: &[u8]) -> Digest {
        let mac = self.key.get().mac(&[DOMAIN, message]);
        Digest::of_bytes(mac.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::FingerprintKey;

    #[test]
    fn a_digest_tells_messages_apart_and_nothing_without_the_key() {
        let of = |key: u8, message: &str| {
            let redactor = Redactor::new(FingerprintKey::new("k1", [key; 32]).unwrap());
            redactor.digest(message.as_bytes())
        };
        assert_eq!(of(1, "a"), of(1, "a"));
        assert_ne!(of(1, "a"), of(1, "b"));
        assert_ne!(of(1, "a"), of(2, "a"));
        assert_ne!(of(1, "a"), Digest::of_bytes(b"a"));
    }
}
