//! Rotating the keys that sign permits and claim tokens, on a running system.
//!
//! A new key is published before anything is signed with it, so that nobody ever meets a
//! token with a key that is nowhere to be found; the old one stays published until whatever
//! it signed has ended. Every step replaces one file as a whole, and a rotation that was cut
//! off is completed by the next.

use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_domain::keys::{KeyError as Malformed, KeySet, SigningKey};
use countersign_domain::permit::{CLAIM_LIFE_MAX, PERMIT_LIFE_MAX};
use countersign_schemas::Timestamp;

use super::deployment::Deployment;
use super::files::{self, FileError, Lock};
use super::keys::{self, KeyError};
use crate::files as readable;

/// How much longer than its last token a retired key is kept: services follow the files
/// within a second, and the rest is for a copy that reaches another machine late.
const KEPT_EXTRA: Duration = Duration::from_secs(10 * 60);

/// What is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// Permits, by the coordinator.
    Permit,
    /// Claim tokens, by the executor.
    Claim,
}

impl Signing {
    /// Its name, of which those of its files are made.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Claim => "claim",
        }
    }

    /// The private key in `keys`.
    #[must_use]
    pub fn private(self, keys: &Path) -> PathBuf {
        keys.join(format!("{}.pem", self.name()))
    }

    /// The public keys in `keys`, a JWKS.
    #[must_use]
    pub fn public(self, keys: &Path) -> PathBuf {
        keys.join(format!("{}.jwks.json", self.name()))
    }

    /// The private key that is published and signs nothing yet.
    fn next(self, keys: &Path) -> PathBuf {
        keys.join(format!("{}.next.pem", self.name()))
    }

    /// How long what a retired key signed can count.
    fn kept(self) -> Duration {
        let life = match self {
            Self::Permit => PERMIT_LIFE_MAX,
            Self::Claim => CLAIM_LIFE_MAX,
        };
        life + KEPT_EXTRA
    }
}

impl std::str::FromStr for Signing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Permit, Self::Claim];
        let found = all.into_iter().find(|signing| signing.name() == text);
        found.ok_or_else(|| {
            format!("`{text}` is no key that is rotated: expected permit, claim or fingerprint")
        })
    }
}

/// What is done to a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStep {
    /// A new key is published and signs nothing yet: for verifiers on other machines.
    Publish,
    /// A new key signs, the published one if there is one; the old ones stay until what
    /// they signed has ended.
    Rotate,
    /// A new key signs, and what any other signed no longer counts: one was stolen.
    Replace,
    /// Keys whose time is over go; nothing else changes.
    Prune,
}

impl KeyStep {
    /// The word in `identity.changed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "published",
            Self::Rotate => "rotated",
            Self::Replace => "replaced",
            Self::Prune => "pruned",
        }
    }
}

/// What a change left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// Which keys.
    pub signing: Signing,
    /// What was done.
    pub step: KeyStep,
    /// The id of the key that signs.
    pub signs: String,
    /// The id of the key that is published to sign next.
    pub next: Option<String>,
    /// Every other key that still counts, with its end.
    pub retired: Vec<(String, Option<Timestamp>)>,
    /// The public keys, which verifiers read.
    pub jwks: PathBuf,
}

/// A signing key cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// A file cannot be written, or somebody else changes the keys.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key file cannot be used.
    #[error(transparent)]
    Unusable(#[from] readable::FileError),
    /// No key can be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The set of public keys cannot be what it should be.
    #[error("{0}; remove the ended ones with `countersign identity rotate key NAME --prune`")]
    Full(Malformed),
    /// The private key is none of the published ones.
    #[error(
        "the key in `{}` is not among the public keys beside it: restore both from one backup",
        .0.display()
    )]
    Strangers(PathBuf),
}

/// Does `step` to the keys for `signing` in the folder `dir` of `deployment`, at `now`.
///
/// # Errors
/// When a file cannot be used. Whatever was done by then is safe, and the same step again
/// completes it.
pub fn change_key(
    deployment: &Deployment,
    dir: &Path,
    signing: Signing,
    step: KeyStep,
    now: Timestamp,
) -> Result<KeyChange, SigningError> {
    let _lock = Lock::take(deployment.dir())?;
    let keys = Keys { dir, signing };
    let before = keys.published()?.without_ended(now);
    let old = keys.signs()?;
    if before.get(&old).is_none() {
        return Err(SigningError::Strangers(signing.private(dir)));
    }
    let after = match step {
        KeyStep::Prune => before,
        KeyStep::Publish => keys.publish(&before)?,
        KeyStep::Rotate | KeyStep::Replace => {
            let both = keys.publish(&before)?;
            let signs = keys.switch()?;
            match step {
                KeyStep::Replace => both.only(&signs),
                _ => both.retiring_all_but(&signs, now.plus(signing.kept())),
            }
        }
    };
    keys.write(&after)?;
    keys.told(step, &after)
}

/// The files of one signing key.
struct Keys<'a> {
    dir: &'a Path,
    signing: Signing,
}

impl Keys<'_> {
    fn published(&self) -> Result<KeySet, SigningError> {
        let path = self.signing.public(self.dir);
        Ok(readable::key_set("public keys", &path)?)
    }

    /// The id of the key that signs.
    fn signs(&self) -> Result<String, SigningError> {
        let path = self.signing.private(self.dir);
        let key = readable::signing_key("signing key", &path)?;
        Ok(key.id().to_owned())
    }

    /// The key that signs next, if there is one.
    fn next(&self) -> Result<Option<SigningKey>, SigningError> {
        let path = self.signing.next(self.dir);
        match path.try_exists().map_err(FileError::on("read", &path))? {
            true => Ok(Some(readable::signing_key("next signing key", &path)?)),
            false => Ok(None),
        }
    }

    /// Publishes the next key, made if there is none.
    fn publish(&self, before: &KeySet) -> Result<KeySet, SigningError> {
        let next = match self.next()? {
            Some(key) => key,
            None => self.make()?,
        };
        let with = before.with(next.public()).map_err(SigningError::Full)?;
        self.write(&with)?;
        Ok(with)
    }

    fn make(&self) -> Result<SigningKey, SigningError> {
        let made = keys::signing()?;
        let path = self.signing.next(self.dir);
        files::replace(&path, made.private_pem.as_bytes(), files::PRIVATE)?;
        Ok(readable::signing_key("next signing key", &path)?)
    }

    /// Lets the next key sign; its id.
    fn switch(&self) -> Result<String, SigningError> {
        let (next, path) = (self.signing.next(self.dir), self.signing.private(self.dir));
        files::put_in_place(&next, &path)?;
        self.signs()
    }

    fn write(&self, set: &KeySet) -> Result<(), SigningError> {
        let path = self.signing.public(self.dir);
        files::replace(&path, set.to_jwks().as_bytes(), files::PUBLIC)?;
        Ok(())
    }

    fn told(&self, step: KeyStep, set: &KeySet) -> Result<KeyChange, SigningError> {
        let signs = self.signs()?;
        let next = self.next()?.map(|key| key.id().to_owned());
        let others = set.iter().map(|key| key.id().to_owned());
        let others = others.filter(|id| *id != signs && Some(id) != next.as_ref());
        Ok(KeyChange {
            signing: self.signing,
            step,
            retired: others.map(|id| (id.clone(), set.ends(&id))).collect(),
            signs,
            next,
            jwks: self.signing.public(self.dir),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::place::Place;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    impl Place {
        fn change(&self, step: KeyStep, now: Timestamp) -> Result<KeyChange, SigningError> {
            change_key(&self.deployment, &self.keys, Signing::Permit, step, now)
        }

        fn set(&self) -> KeySet {
            let path = Signing::Permit.public(&self.keys);
            readable::key_set("public keys", &path).unwrap()
        }

        fn signs(&self) -> String {
            let path = Signing::Permit.private(&self.keys);
            let key = readable::signing_key("permit key", &path).unwrap();
            key.id().to_owned()
        }
    }

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    fn minutes(n: u64) -> Timestamp {
        now().plus(Duration::from_secs(n * 60))
    }

    #[test]
    fn a_rotation_publishes_switches_and_keeps_the_old_key_until_its_permits_ended() {
        let place = Place::new();
        let first = place.signs();
        let change = place.change(KeyStep::Rotate, now()).unwrap();
        let second = place.signs();
        assert_ne!(first, second);
        assert_eq!(
            (change.signs.as_str(), &change.next),
            (second.as_str(), &None)
        );
        assert_eq!(change.retired, [(first.clone(), Some(minutes(70)))]);
        assert_eq!(place.set().iter().count(), 2);
        assert!(place.set().trusted(&first, minutes(69)).is_some());

        let early = place.change(KeyStep::Prune, minutes(69)).unwrap();
        assert_eq!(early.retired.len(), 1);
        let late = place.change(KeyStep::Prune, minutes(70)).unwrap();
        assert_eq!(
            (late.signs.as_str(), late.retired.len()),
            (second.as_str(), 0)
        );
        let mode = |path: PathBuf| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(Signing::Permit.private(&place.keys)), 0o600);
        assert_eq!(mode(Signing::Permit.public(&place.keys)), 0o644);
        assert!(!Signing::Permit.next(&place.keys).try_exists().unwrap());
    }

    #[test]
    fn what_was_published_signs_next() {
        let place = Place::new();
        let first = place.signs();
        let published = place.change(KeyStep::Publish, now()).unwrap();
        let next = published.next.unwrap();
        assert_eq!((published.signs, place.signs()), (first.clone(), first));
        assert!(place.set().trusted(&next, now()).is_some());
        let again = place.change(KeyStep::Publish, now()).unwrap();
        assert_eq!(again.next.as_ref(), Some(&next), "one next key");
        place.change(KeyStep::Rotate, now()).unwrap();
        assert_eq!(place.signs(), next);
    }

    #[test]
    fn after_a_theft_nothing_that_the_old_keys_signed_counts() {
        let place = Place::new();
        place.change(KeyStep::Rotate, now()).unwrap();
        let change = place.change(KeyStep::Replace, now()).unwrap();
        assert_eq!(change.retired, []);
        let ids: Vec<String> = place.set().iter().map(|key| key.id().to_owned()).collect();
        assert_eq!(ids, [place.signs()]);
    }

    #[test]
    fn a_rotation_that_was_cut_off_anywhere_is_completed_by_the_next() {
        let key = |place: &Place| {
            Keys {
                dir: &place.keys,
                signing: Signing::Permit,
            }
            .make()
            .map(|key| key.id().to_owned())
            .unwrap()
        };
        // Cut off once the key was made: it is published and signs.
        let place = Place::new();
        let made = key(&place);
        place.change(KeyStep::Rotate, now()).unwrap();
        assert_eq!(place.signs(), made);
        // Cut off once it signs: the old one has no end yet, and gets one.
        let place = Place::new();
        let first = place.signs();
        key(&place);
        let keys = Keys {
            dir: &place.keys,
            signing: Signing::Permit,
        };
        keys.publish(&place.set()).unwrap();
        let second = keys.switch().unwrap();
        assert_eq!(place.set().ends(&first), None);
        place.change(KeyStep::Rotate, now()).unwrap();
        for retired in [&first, &second] {
            assert_eq!(place.set().ends(retired), Some(minutes(70)));
        }
    }

    #[test]
    fn files_that_do_not_belong_together_are_left_alone() {
        let place = Place::new();
        let other = keys::signing().unwrap();
        let path = Signing::Permit.public(&place.keys);
        fs::write(&path, &other.jwks).unwrap();
        let error = place.change(KeyStep::Rotate, now()).unwrap_err();
        assert!(matches!(error, SigningError::Strangers(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), other.jwks);
        fs::write(&path, "{").unwrap();
        let error = place.change(KeyStep::Prune, now()).unwrap_err();
        assert!(error.to_string().contains("public keys"), "{error}");
    }

    #[test]
    fn the_two_keys_have_names_and_nothing_else_has() {
        for signing in [Signing::Permit, Signing::Claim] {
            assert_eq!(signing.name().parse(), Ok(signing));
        }
        let error = "manifest".parse::<Signing>().unwrap_err();
        assert!(error.contains("permit, claim or fingerprint"), "{error}");
        let ends = now().plus(Signing::Claim.kept());
        assert_eq!(ends, now().plus(Duration::from_secs(11 * 60)));
    }
}
